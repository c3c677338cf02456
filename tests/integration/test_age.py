"""The watchlist is an ordinary age file: Debian's `age` opens ours, and we open what it made."""

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.crypto.sealed import SealIdentity, seal, seal_stream
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.watchlist.container import read_watchlist, write_watchlist
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.package import open_package, write_package

CONTRACT = "c0" * 32
DIMENSION = 128
Age = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def age() -> Age:
    """Debian's `age`; `LFR_EDGE_AGE` names another binary."""
    binary = os.environ.get("LFR_EDGE_AGE") or shutil.which("age")
    if binary is None:
        pytest.skip("needs the command age (apt-get install age)")

    def run(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([binary, *map(str, arguments)], input=given, capture_output=True, check=False, timeout=60)

    return run


@pytest.fixture
def identity(tmp_path: Path) -> SealIdentity:
    """The van's key, and its file `van.key`."""
    identity = SealIdentity.generate()
    identity.to_file(tmp_path / "van.key")
    return identity


@pytest.fixture(scope="module")
def payload() -> bytes:
    """400 entries, 200 KB of templates: several of age's chunks."""
    rows = np.random.default_rng(7).standard_normal((400, DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    picture = PictureMember(offset=0, length=16, key="00" * 32)
    entries = tuple(
        Entry(
            id=f"W-{number}",
            category="wanted",
            response="red",
            legal_basis="test",
            source="made up",
            captured=date(2026, 1, 1),
            picture=picture,
        )
        for number in range(400)
    )
    return write_watchlist(entries, rows, np.arange(400, dtype=np.int32), contract=CONTRACT)


def test_age_opens_the_watchlist_of_a_package_and_finds_exactly_the_payload(
    age: Age, identity: SealIdentity, payload: bytes, tmp_path: Path
) -> None:
    sealed = io.BytesIO()
    seal_stream(io.BytesIO(payload), sealed, [identity.recipient])
    write_package(tmp_path / "sent.lfrd", b"{}", sealed, io.BytesIO(b""))
    with open_package(tmp_path / "sent.lfrd") as package:
        (tmp_path / "watchlist.age").write_bytes(package.watchlist().read())
    opened = age("--decrypt", "--identity", tmp_path / "van.key", tmp_path / "watchlist.age")
    assert (opened.returncode, opened.stderr) == (0, b"")
    assert opened.stdout == payload


def test_age_does_not_open_it_with_another_key(
    age: Age, identity: SealIdentity, payload: bytes, tmp_path: Path
) -> None:
    sealed = io.BytesIO()
    seal_stream(io.BytesIO(payload), sealed, [identity.recipient])
    SealIdentity.generate().to_file(tmp_path / "other.key")
    opened = age("--decrypt", "--identity", tmp_path / "other.key", given=sealed.getvalue())
    assert opened.returncode != 0
    assert opened.stdout == b""


def test_a_watchlist_that_age_sealed_loads(age: Age, identity: SealIdentity, payload: bytes) -> None:
    sealed = age("--encrypt", "--recipient", identity.recipient, given=payload)
    assert sealed.returncode == 0, sealed.stderr
    arena = Arena(1 << 22)
    watchlist = read_watchlist(io.BytesIO(sealed.stdout), identity, arena, contract=CONTRACT, dimension=DIMENSION)
    assert (len(watchlist), watchlist.template_count, watchlist.dimension) == (400, 400, DIMENSION)
    start = payload.index(watchlist._templates.array[0].tobytes())
    assert payload[start : start + 4 * 400 * DIMENSION] == watchlist._templates.array.tobytes()
    watchlist.wipe()
    assert arena.leased_bytes == 0


def test_age_opens_both_layers_of_a_list_with_a_share_one_after_the_other(
    age: Age, identity: SealIdentity, payload: bytes, tmp_path: Path
) -> None:
    share = SealIdentity.generate()
    share.to_file(tmp_path / "share.txt")
    sealed = seal(seal(payload, [share.recipient]), [identity.recipient])
    outer = age("--decrypt", "--identity", tmp_path / "van.key", given=sealed)
    assert outer.returncode == 0, outer.stderr
    assert age("--decrypt", "--identity", tmp_path / "van.key", given=outer.stdout).returncode != 0
    opened = age("--decrypt", "--identity", tmp_path / "share.txt", given=outer.stdout)
    assert opened.stdout == payload


def test_a_watchlist_that_age_sealed_twice_loads(age: Age, identity: SealIdentity, payload: bytes) -> None:
    share = SealIdentity.generate()
    inner = age("--encrypt", "--recipient", share.recipient, given=payload)
    sealed = age("--encrypt", "--recipient", identity.recipient, given=inner.stdout)
    assert sealed.returncode == 0, sealed.stderr
    expected = {"contract": CONTRACT, "dimension": DIMENSION}
    watchlist = read_watchlist(io.BytesIO(sealed.stdout), identity, Arena(1 << 22), **expected, share=share)
    assert (len(watchlist), watchlist.template_count) == (400, 400)
    watchlist.wipe()


@pytest.mark.parametrize("options", [["--armor"], ["--recipient", "other"]], ids=["armoured", "to-another"])
def test_what_age_made_in_another_way_is_refused(
    age: Age, identity: SealIdentity, payload: bytes, options: list[str]
) -> None:
    recipients = ["--recipient", identity.recipient] if options == ["--armor"] else []
    options = [SealIdentity.generate().recipient if option == "other" else option for option in options]
    sealed = age("--encrypt", *options, *recipients, given=payload)
    assert sealed.returncode == 0, sealed.stderr
    arena = Arena(1 << 22)
    with pytest.raises(UntrustedInputError) as refused:
        read_watchlist(io.BytesIO(sealed.stdout), identity, arena, contract=CONTRACT, dimension=DIMENSION)
    assert refused.value.reason is Reason.DECRYPTION_FAILED
    assert arena.leased_bytes == 0
