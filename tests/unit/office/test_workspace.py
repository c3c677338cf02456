"""The workspace: what was put in comes out, encrypted in between, and damage is seen."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import ConfigError, LfrEdgeError
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.office import workspace
from lfr_edge.office.assess import Finding, Verdict
from lfr_edge.office.enrol import Photo
from lfr_edge.office.listing import Row
from lfr_edge.office.workspace import Workspace
from lfr_edge.vision.quality import Quality
from lfr_edge.watchlist.entries import Particulars

QUALITY = Quality(61.5, 0.9, 1.0, -3.0, 4.0, 0.95, 1.0, 0.8, 1.1)
PERSON = Particulars(
    id="E-1",
    category="wanted",
    response="red",
    legal_basis="PACE s.64A",
    source="custody",
    captured=date(2025, 3, 1),
    under_18=True,
    under_18_rationale="at risk",
)


def good(number: int) -> Photo:
    template = np.eye(128, dtype=np.float32)[number].tobytes()
    return Photo(f"{number:064x}", Verdict.ACCEPT, (), QUALITY, b"\xff\xd8\xff" + bytes([number]), template)


def row(entry: str, line: int) -> Row:
    return Row(line, PERSON.model_copy(update={"id": entry}), Path(f"{entry}.jpg"))


@pytest.fixture
def office() -> SealIdentity:
    return SealIdentity.generate()


@pytest.fixture
def work(tmp_path: Path, office: SealIdentity, engine_set: EngineSet) -> Workspace:
    made = workspace.create(tmp_path / "work", office, engine_set)
    refused = Photo("f" * 64, Verdict.REFUSE, (Finding("no face", "another"),), None, b"", b"")
    made.add([good(1), refused])
    made.add([replace(good(2), verdict=Verdict.WARN, findings=(Finding("blurred", "sharper"),)), good(3)])
    made.finish(
        [row("E-1", 2), row("E-2", 3), row("E-2", 4)],
        [made.photos[f"{number:064x}"] for number in (1, 2)] + [refused],
        "9" * 64,
    )
    return made


def test_what_was_put_in_comes_out(work: Workspace, office: SealIdentity, engine_set: EngineSet) -> None:
    again = workspace.open_workspace(work.folder, office)
    assert again.photos == work.photos
    assert again.rows() == work.rows()
    assert (again.engine_set, again.contract) == (engine_set.name, engine_set.contract)
    references = again.references()
    assert [entry.id for entry in references.entries] == ["E-1", "E-2"]
    assert references.entries[0] == PERSON
    assert references.sha256 == work.references().sha256


def test_photos_of_nobody_on_the_list_are_erased(work: Workspace) -> None:
    assert f"{3:064x}" not in work.photos
    assert len(work.photos) == 3
    work.finish([row("E-1", 2)], [work.photos[f"{1:064x}"]], "9" * 64)
    assert [path.name for path in sorted(work.folder.glob("0*"))] == ["000001.age"]
    assert list(work.photos) == [f"{1:064x}"]


def test_another_offices_key_opens_nothing(work: Workspace) -> None:
    with pytest.raises(ConfigError, match="does not open with this office's key"):
        workspace.open_workspace(work.folder, SealIdentity.generate())


def test_without_its_key_it_is_closed_for_ever(work: Workspace, office: SealIdentity) -> None:
    identity = workspace.workspace_id(work.folder)
    workspace.destroy_key(work.folder)
    workspace.destroy_key(work.folder)
    with pytest.raises(ConfigError, match=r"key\.age cannot be read"):
        workspace.open_workspace(work.folder, office)
    assert workspace.workspace_id(work.folder) == identity
    workspace.remove(work.folder)
    assert not work.folder.exists()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "key-flipped": lambda folder: flip(folder / "key.age"),
    "key-gone": lambda folder: (folder / "key.age").unlink(),
    "photos-flipped": lambda folder: flip(folder / "000001.age"),
    "photos-cut": lambda folder: (folder / "000002.age").write_bytes((folder / "000002.age").read_bytes()[:-9]),
    "photos-empty": lambda folder: (folder / "000002.age").write_bytes(b""),
    "photos-gone": lambda folder: (folder / "000002.age").unlink(),
    "index-flipped": lambda folder: flip(folder / "index.age"),
    "index-gone": lambda folder: (folder / "index.age").unlink(),
    "index-is-photos": lambda folder: (folder / "index.age").write_bytes((folder / "000001.age").read_bytes()),
    "photos-are-index": lambda folder: (folder / "000001.age").write_bytes((folder / "index.age").read_bytes()),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_clear_error(work: Workspace, office: SealIdentity, name: str) -> None:
    DAMAGE[name](work.folder)
    with pytest.raises(LfrEdgeError, match="work"):
        workspace.open_workspace(work.folder, office).references()


def test_a_workspace_is_never_made_over_something(tmp_path: Path, office: SealIdentity, engine_set: EngineSet) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        workspace.create(tmp_path / "taken", office, engine_set)
    with pytest.raises(ConfigError, match="no folder"):
        workspace.create(tmp_path / "nowhere" / "work", office, engine_set)
