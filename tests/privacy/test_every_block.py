"""After the end nothing brings the list back: not every block that was ever written, not all keys, not the memory.

A real daemon lives through a deployment while each of its writes below the state folder is recorded. Then an attacker
has all of them, also what was overwritten and deleted; the package as the office sent it; every key file of the van;
and the memory of the process that follows. With `unlock` the list stays shut. Without it the same attacker opens it:
that shows that this test can find what it looks for, and it is why docs/deployment.md says who can.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from support import recording
from support.bech32 import secret_bytes
from support.deployed_van import DeployedVan, deployed_van
from support.memory import contents

from lfr_edge.cli.demo_scene import Scene
from lfr_edge.clock import SystemClock
from lfr_edge.crypto.sealed import SealIdentity, open_sealed
from lfr_edge.errors import ConfigError, UntrustedInputError
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.prekey import open_prekeys
from lfr_edge.van.prekeys import PrekeyStock
from lfr_edge.watchlist.package import open_package

_SECRET = re.compile(rb"AGE-SECRET-KEY-1[A-Z0-9]{58}")
_STORED = re.compile(rb'\{"recipient":"(age1[a-z0-9]{58})"[^{}]*"wrapped":"[^"]+"\}')
_KEY_BYTES = 32


@dataclass(frozen=True)
class Loot:
    """What the attacker has."""

    blocks: list[bytes]
    package: Path
    keys: list[bytes]
    memory: list[bytes]

    @property
    def everything(self) -> list[bytes]:
        return [*self.blocks, *self.keys, *self.memory, self.package.read_bytes()]


def prekeys_in(loot: Loot, folder: Path) -> list[SealIdentity]:
    """Every stored prekey that was ever written, unwrapped with every key that could be the wrapping key."""
    found = []
    stored = {match[1].decode(): match[0] for block in loot.blocks for match in _STORED.finditer(block)}
    wrapping_keys = {key for key in (*loot.keys, *loot.blocks) if len(key) == _KEY_BYTES}
    for number, (recipient, content) in enumerate(stored.items()):
        for other, key in enumerate(wrapping_keys):
            place = folder / f"{number}-{other}"
            place.mkdir(parents=True)
            (place / f"{recipient}.prekey").write_bytes(content)
            (place / "wrapping.key").write_bytes(key)
            with contextlib.suppress(ConfigError):
                identity = PrekeyStock(place, place / "wrapping.key").identity(recipient)
                assert identity is not None
                found.append(identity)
    return found


def opened(sealed: bytes, identities: list[SealIdentity]) -> bytes | None:
    for identity in identities:
        with contextlib.suppress(UntrustedInputError):
            return open_sealed(sealed, identity)
    return None


def attack(loot: Loot, folder: Path) -> tuple[int, bytes | None]:
    """How many layers could be opened, and what the last one held."""
    spelt_out = {secret for content in loot.everything for secret in _SECRET.findall(content)}
    identities = [SealIdentity.from_secret(secret.decode()) for secret in spelt_out] + prekeys_in(loot, folder)
    with open_package(loot.package) as package:
        content: bytes | None = package.watchlist().read()
    layers = 0
    while content is not None and content.startswith(b"age-encryption.org/"):
        inside = opened(content, identities)
        layers += inside is not None
        content = inside
    return layers, content


def templates_in(container: bytes, dimension: int) -> dict[str, bytes]:
    """A part of each template: 64 bytes of its middle."""
    start = 8 + int.from_bytes(container[:8], "little")
    rows = np.frombuffer(container, np.float32, offset=start)[: 2 * dimension].reshape(2, dimension)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    return {f"template {number}": row.tobytes()[128:192] for number, row in enumerate(rows)}


def found_in(everything: list[bytes], needles: Mapping[str, bytes]) -> set[str]:
    return {name for name, needle in needles.items() if any(needle in content for content in everything)}


def secrets_of(name: str, identity: SealIdentity) -> dict[str, bytes]:
    text = identity.secret.encode()
    return {f"{name}, text": text, f"{name}, half of it": text[20:52], f"{name}, raw": secret_bytes(identity)[:16]}


@pytest.fixture
def van(tmp_path: Path, two_listed: Scene, engine_store: EngineStore) -> Iterator[DeployedVan]:
    if why := recording.missing():
        pytest.skip(why)
    with deployed_van(tmp_path / "van", two_listed, engine_store) as made:
        yield made


@dataclass(frozen=True)
class Story:
    """A deployment from loading to its end, and what is left of it."""

    loot: Loot
    recording: recording.Recording
    container: bytes
    dimension: int
    said: list[bytes]
    """What the van and its commands wrote elsewhere."""
    while_live: set[str]
    """What the same search found in the memory of the van while it saw."""


def live_through(van: DeployedVan, trace: Path, share: SealIdentity | None, *, sees: bool = True) -> Story:
    """From the first start to the end; a van that never `sees` is stopped before its window."""
    van.start(under=recording.recorder(trace))
    van.wait(lambda: van.ask("status").state == "idle")
    van.command("prekeys", "--count", "2", "--out", van.folder / "prekeys.json")
    office = open_prekeys((van.folder / "prekeys.json").read_bytes(), van.scene.van_key.public)
    later = {} if sees else {"not_before": SystemClock().utc() + timedelta(hours=1)}
    container = van.seal_to(office.prekeys[0].recipient, share, **later)
    (van.folder / "deployment.age").unlink()
    said = [van.command("load", van.scene.package)]
    if share is not None:
        assert "blind: unlock-required" in said[0]
        said.append(van.command("unlock", "--share", "-", given=share.secret + "\n"))
    van.wait(lambda: " live: order" in van.log or not sees)
    dimension = van.scene.engine_set.dimension
    needles = templates_in(container, dimension) | ({} if share is None else secrets_of("share", share))
    assert van.process is not None
    while_live = found_in(list(contents(van.process.pid)), needles)
    said.append(van.command("stop"))
    van.wait(lambda: van.started() == 2 and van.ask("status").erased)
    memory = list(contents(van.process.pid))
    keys = [path.read_bytes() for path in (*van.folder.glob("*.key"), *van.state.glob("*.key"))]
    assert van.end() == 0
    seen = recording.recorded(trace, van.process.pid, van.state)
    loot = Loot(seen.blocks, van.scene.package, keys, memory)
    spoken = [*map(str.encode, said), van.log.encode(), (van.state / "audit.log").read_bytes()]
    return Story(loot, seen, container, dimension, spoken, while_live)


def require_complete(story: Story, state: Path) -> None:
    """Nothing was written past the recorder."""
    assert {Path(name).name for name in story.recording.mapped} <= {"outbox.sqlite-shm"}, (
        "indexes of frames, no content"
    )
    left = [path for path in state.rglob("*") if path.is_file()]
    assert {"audit.log", "deployment.json", "outbox.sqlite", "wrapping.key"} <= {path.name for path in left}
    for path in left:
        assert story.recording.explains(path.read_bytes()), path
    with open_package(story.loot.package) as package:
        assert any(package.order in block for block in story.loot.blocks), "the van's copy, which is deleted"


@pytest.mark.parametrize("sees", [True, False], ids=["that-saw", "stopped-before-its-window"])
def test_with_unlock_nothing_that_was_ever_written_and_no_key_and_no_memory_opens_the_list(
    van: DeployedVan,
    tmp_path: Path,
    sees: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    share = SealIdentity.generate()
    story = live_through(van, tmp_path / "trace", share, sees=sees)
    require_complete(story, van.state)
    needles = templates_in(story.container, story.dimension) | secrets_of("share", share)
    there = {"share, text", *(["template 0", "template 1"] if sees else [])}
    assert story.while_live >= there, "the search finds what is there"

    layers, content = attack(story.loot, tmp_path / "attack")
    assert (layers, content) == (1, None), "the prekey is found in old blocks, and the inner layer stays shut"
    assert found_in([*story.loot.everything, *story.said], needles) == set()


def test_without_unlock_the_same_attacker_opens_the_list_from_old_blocks_and_the_wrapping_key(
    van: DeployedVan, tmp_path: Path
) -> None:
    story = live_through(van, tmp_path / "trace", None)
    require_complete(story, van.state)
    layers, content = attack(story.loot, tmp_path / "attack")
    assert (layers, content) == (1, story.container)

    files = [path.read_bytes() for path in van.state.rglob("*") if path.is_file()]
    only_files = Loot(files, story.loot.package, story.loot.keys, story.loot.memory)
    assert attack(only_files, tmp_path / "files") == (0, None), "what files are left opens nothing"
    without_key = Loot([block for block in story.loot.blocks if len(block) != _KEY_BYTES], story.loot.package, [], [])
    assert attack(without_key, tmp_path / "no-key") == (0, None), "nor do old blocks without the wrapping key"
    templates = templates_in(story.container, story.dimension)
    assert found_in([*story.loot.everything, *story.said], templates) == set(), "no template was ever written"


def test_the_attacker_with_the_share_opens_what_unlock_shut(van: DeployedVan, tmp_path: Path) -> None:
    """So that a fault of the attack is no proof of safety."""
    share = SealIdentity.generate()
    story = live_through(van, tmp_path / "trace", share)
    with_share = Loot([*story.loot.blocks, share.secret.encode()], story.loot.package, story.loot.keys, [])
    assert attack(with_share, tmp_path / "attack") == (2, story.container)
