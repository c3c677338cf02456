"""The folder that holds references between enrolment and sealing: entries, templates, pictures, report.

In this first form it is plain: its owner's eyes only (0700), and to be deleted after sealing. Written whole or not at
all. What the package holds is decided in `seal`.
"""

import errno
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.messages.fields import Digest, Message
from lfr_edge.office.enrol import EnrolResult
from lfr_edge.watchlist.entries import Particulars

_ENTRIES, _TEMPLATES, _REPORT, _PICTURES = "entries.json", "templates.npy", "report.json", "pictures"


class _Index(Message):
    """`entries.json`: the people, in the order of the templates' rows."""

    engine_set: str
    contract: Digest
    entries: tuple[Particulars, ...]


@dataclass(frozen=True, slots=True)
class Workspace:
    """References as they were enrolled, read back."""

    engine_set: str
    contract: str
    entries: tuple[Particulars, ...]
    templates: NDArray[np.float32]
    folder: Path

    def picture(self, entry_id: str) -> bytes:
        """The entry's reference picture as JPEG."""
        return _read(self.folder / _PICTURES / f"{entry_id}.jpg")


def check_new(folder: Path) -> None:
    """ConfigError unless `save` may make this folder."""
    try:
        taken, has_parent = folder.exists(), folder.parent.is_dir()
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error
    if taken:
        raise ConfigError(Reason.FILE_EXISTS, f"{folder} exists already", fix="choose another, or delete it")
    if not has_parent:
        raise ConfigError(Reason.FILE_MISSING, f"there is no folder {folder.parent}", fix="make it first")
    if not os.access(folder.parent, os.W_OK | os.X_OK):  # said now, not when all photos are enrolled
        raise _unwritable(folder, os.strerror(errno.EACCES))


def save(result: EnrolResult, folder: Path) -> None:
    """Write the references to a new folder. ConfigError if any photo had a problem, or the folder exists."""
    if result.problems:
        raise ConfigError(
            Reason.SAMPLE_UNUSABLE, f"{len(result.problems)} photos cannot be used", fix="mend them and enrol again"
        )
    check_new(folder)
    try:
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))  # mode 0700
        try:
            _write(result, unfinished)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished)
            raise
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error


def load(folder: Path) -> Workspace:
    """Read what `save` wrote. ConfigError if it is not there, UntrustedInputError if it is not what was written."""
    try:
        index = _Index.from_untrusted(_read(folder / _ENTRIES))
        with (folder / _TEMPLATES).open("rb") as file:
            templates = np.load(file, allow_pickle=False)
    except OSError as error:
        raise _missing(folder / _TEMPLATES, error) from error
    except (UntrustedInputError, ValueError, EOFError) as error:
        raise _damaged(folder) from error
    if templates.dtype != np.float32 or templates.ndim != 2 or len(templates) != len(index.entries):
        raise _damaged(folder)
    return Workspace(index.engine_set, index.contract, index.entries, templates, folder)


def _write(result: EnrolResult, folder: Path) -> None:
    index = _Index(
        engine_set=result.engine_set.name,
        contract=result.engine_set.contract,
        entries=tuple(person.particulars for person in result.enrolled),
    )
    (folder / _ENTRIES).write_bytes(index.to_json())
    np.save(folder / _TEMPLATES, result.templates.array)
    (folder / _PICTURES).mkdir()
    for person in result.enrolled:
        (folder / _PICTURES / f"{person.particulars.id}.jpg").write_bytes(person.picture_jpeg)
    (folder / _REPORT).write_text(_report(result), "utf-8")


def _report(result: EnrolResult) -> str:
    """For people and their tools to look at before sealing; nothing here reads it."""
    photos = [
        {"id": person.particulars.id, "photo": person.photo, **asdict(person.quality), "value": person.quality.value}
        for person in result.enrolled
    ]
    engine_set = result.engine_set
    content = {
        "engine_set": engine_set.name,
        "threshold": engine_set.threshold,
        "photos": photos,
        "look_alikes": [asdict(pair) for pair in result.look_alikes],
    }
    return json.dumps(content, indent=2) + "\n"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _missing(path, error) from error


def _unwritable(folder: Path, why: str | None) -> ConfigError:
    return ConfigError(
        Reason.FILE_UNWRITABLE, f"{folder} cannot be written: {why}", fix="check the path, its permissions and the disk"
    )


def _missing(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="give the folder that `office enrol` made"
    )


def _damaged(folder: Path) -> UntrustedInputError:
    return UntrustedInputError(Reason.MALFORMED, f"the references in {folder} are damaged", fix="enrol again")
