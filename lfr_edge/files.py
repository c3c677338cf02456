"""Files that are written whole or not at all, and survive a power cut."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from lfr_edge.errors import ConfigError, Reason

PRIVATE = 0o600
PUBLIC = 0o644


def require_new(path: Path) -> None:
    """ConfigError if no file or folder can be made there: for saying so before what takes long, not after it."""
    folder = path.parent
    try:
        taken, has_folder = path.exists(), folder.is_dir()
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    if taken:
        raise _taken(path)
    if not has_folder:
        raise ConfigError(Reason.FILE_MISSING, f"there is no folder {folder}", fix="make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, os.strerror(errno.EACCES))


@contextmanager
def new_file(path: Path, *, mode: int = PRIVATE, replace: bool = False) -> Iterator[BinaryIO]:
    """A file that appears at `path`, synced to disk, only if the block ends well.

    Its folder must exist. ConfigError if it cannot be written, or exists already and is not to be replaced.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                yield cast(BinaryIO, file)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)  # rename() would replace
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise _unwritable(path, error.strerror) from error


def sync_folder(folder: Path) -> None:
    """Make names that were added to the folder or changed in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _taken(path: Path) -> ConfigError:
    return ConfigError(Reason.FILE_EXISTS, f"{path} exists already", fix="choose another name, or move it away first")


def _unwritable(path: Path, why: str | None) -> ConfigError:
    return ConfigError(Reason.FILE_UNWRITABLE, f"{path} cannot be written: {why}", fix="check its folder and the disk")
