"""The registry: only grows, and shows it when somebody changed it."""

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import pytest

from lfr_edge.audit.log import AuditLog
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, PolicyError, UntrustedInputError
from lfr_edge.messages.examples import RECIPIENT
from lfr_edge.office.desk import Journal
from lfr_edge.office.registry import FiledReceipt, Registry, SealedList

NOW = datetime(2026, 6, 1, 9, tzinfo=timezone.utc)


def sealed(
    order: str, *entries: str, van: str = "van-1", days: int = 0, key: str = RECIPIENT, lasting: bool = True
) -> SealedList:
    return SealedList(
        at=NOW,
        force="example",
        order=order,
        vans=(van,),
        recipients=(key,),
        lasting=lasting,
        not_before=NOW + timedelta(days=days),
        not_after=NOW + timedelta(days=days, hours=18),  # into the next day
        watchlist_sha256="1" * 64,
        references_sha256="2" * 64,
        workspace="3" * 64,
        entries=entries,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    signer = NoteSigner("lfr-edge/example/office", SigningKey.generate())
    return Journal(tmp_path / "office.log", signer, ManualClock(NOW), "person:J. Clerk", "deployment 17")


@pytest.fixture
def registry(tmp_path: Path, journal: Journal) -> Registry:
    return Registry(tmp_path / "registry.jsonl", journal)


def test_it_says_on_which_lists_an_id_was(registry: Registry) -> None:
    assert registry.lists_with("E-1") == []
    registry.append(sealed("one", "E-1", "E-2"))
    registry.append(sealed("two", "E-2", days=7))
    assert [line.order for line in registry.lists_with("E-2")] == ["one", "two"]
    assert [line.order for line in registry.lists_with("E-1")] == ["one"]
    days = {day: [line.order for line in registry.lists_with("E-2", date(2026, 6, day))] for day in (1, 2, 3, 8, 9)}
    assert days == {1: ["one"], 2: ["one"], 3: [], 8: ["two"], 9: ["two"]}


def test_it_says_which_vans_owe_a_receipt(registry: Registry) -> None:
    registry.append(sealed("one", "E-1"))
    registry.append(sealed("one", "E-1", van="van-2"))
    assert registry.receipts_owed("one") == ["van-1", "van-2"]
    registry.append(FiledReceipt(at=NOW, order="one", van="van-2", receipt_sha256="4" * 64, level="key-destroyed"))
    registry.append(FiledReceipt(at=NOW, order="other", van="van-1", receipt_sha256="4" * 64, level="key-destroyed"))
    assert registry.receipts_owed("one") == ["van-1"]


def test_it_is_its_owners_only(registry: Registry, tmp_path: Path) -> None:
    registry.append(sealed("one", "E-1"))
    assert (tmp_path / "registry.jsonl").stat().st_mode & 0o777 == 0o600


def chained_anew(lines: list[bytes]) -> list[bytes]:
    """As who can write the file would do it: another id, and every digest computed again."""
    changed, previous = [], b"0" * 64
    for line in lines:
        text = line.replace(b"E-1", b"E-9")
        text = text[: text.index(b'"previous":"')] + b'"previous":"' + previous + b'"}\n'
        changed.append(text)
        previous = sha256(text[:-1]).hexdigest().encode()
    return changed


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "changed": lambda lines: [lines[0].replace(b"E-1", b"E-9"), *lines[1:]],
    "dropped-first": lambda lines: lines[1:],
    "dropped-middle": lambda lines: [lines[0], lines[2]],
    "swapped": lambda lines: [lines[0], lines[2], lines[1]],
    "doubled": lambda lines: [lines[0], lines[0], *lines[1:]],
    "garbage": lambda lines: [*lines, b"garbage\n"],
    "blank": lambda lines: [*lines, b"\n"],
    "dropped-last": lambda lines: lines[:-1],
    "torn-last": lambda lines: [*lines[:-1], lines[-1][:-1]],
    "emptied": lambda _: [],
    "chained-anew": chained_anew,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_and_nothing_is_added_to_it(registry: Registry, tmp_path: Path, change: str) -> None:
    path = tmp_path / "registry.jsonl"
    for number in range(3):
        registry.append(sealed(f"order-{number}", "E-1"))
    path.write_bytes(b"".join(CHANGES[change](path.read_bytes().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(UntrustedInputError, match="was changed: line"):
        registry.lists_with("E-1")
    with pytest.raises(UntrustedInputError):
        registry.append(sealed("more", "E-1"))
    assert path.read_bytes() == before


def test_a_write_that_was_interrupted_at_any_byte_is_cut_off_by_the_next(
    registry: Registry, journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "registry.jsonl"
    registry.append(sealed("one", "E-1"))
    one = path.read_bytes()
    with (
        AuditLog.open(journal.path, journal.signer, journal.clock),
        pytest.raises(ConfigError, match="another process"),
    ):
        registry.append(sealed("two", "E-1"))  # its line is written, and not logged
    both = path.read_bytes()
    assert len(both) > len(one)
    for end in range(len(one), len(both) + 1):
        path.write_bytes(both[:end])
        assert [line.order for line in registry.lists_with("E-1")] == ["one"]
    registry.append(sealed("two", "E-1"))
    assert path.read_bytes() == both
    assert [line.order for line in registry.lists_with("E-1")] == ["one", "two"]


def test_a_registry_whose_log_is_gone_is_not_believed(registry: Registry, journal: Journal) -> None:
    registry.append(sealed("one", "E-1"))
    registry.append(sealed("two", "E-1"))
    journal.path.unlink()
    with pytest.raises(UntrustedInputError, match="line 2 is not the one"):
        registry.lines()


def test_a_log_that_was_changed_vouches_for_nothing(registry: Registry, journal: Journal) -> None:
    registry.append(sealed("one", "E-1"))
    content = journal.path.read_bytes()
    journal.path.write_bytes(content.replace(b"deployment 17", b"deployment 18"))
    with pytest.raises(UntrustedInputError):
        registry.lines()


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_two_who_seal_at_once_never_use_one_prekey(
    journal: Journal, tmp_path: Path, *, first: bool, second: bool
) -> None:
    """Both looked for an unused one before either wrote; the lock decides."""
    key = SealIdentity.generate().recipient
    one, other = (Registry(tmp_path / "registry.jsonl", journal) for _ in range(2))
    assert one.used_recipients() == other.used_recipients() == set()
    one.append(sealed("one", "E-1", key=key, lasting=first))
    with pytest.raises(PolicyError, match="was used for order 'one'"):
        other.append(sealed("two", "E-1", key=key, lasting=second))
    assert [line.order for line in other.lists_with("E-1")] == ["one"]


def test_a_lasting_key_is_used_for_every_order_of_its_van(registry: Registry) -> None:
    registry.append(sealed("one", "E-1"))
    registry.append(sealed("two", "E-1"))
    assert [line.order for line in registry.lists_with("E-1")] == ["one", "two"]
