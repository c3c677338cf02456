"""Files that are written whole or not at all, and survive a power cut."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from lfr_edge.errors import ConfigError, Reason

PRIVATE = 0o600
PUBLIC = 0o644


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
        raise ConfigError(
            Reason.FILE_EXISTS, f"{path} exists already", fix="choose another name, or move it away first"
        ) from error
    except OSError as error:
        raise ConfigError(
            Reason.FILE_UNWRITABLE, f"{path} cannot be written: {error.strerror}", fix="check its folder and the disk"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make names that were added to the folder or changed in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
