"""Key files on disk: written once, whole or not at all, and never over another one.

What is in them is the business of `sealed` and `signing`; nothing here protects them by more than file permissions.
"""

import os
import tempfile
from pathlib import Path

from lfr_edge.errors import ConfigError, Reason

PRIVATE = 0o600
PUBLIC = 0o644
# Far above any key, far below what would hurt: a wrong path may name a video.
_LARGEST_BYTES = 64 * 1024


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that did not exist before, atomically and synced to disk; the directory must exist."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be written: {error.strerror}", fix="create its directory first"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # link() refuses to replace, rename() would not.
        os.link(temporary, path)
    except FileExistsError as error:
        raise ConfigError(
            Reason.FILE_EXISTS, f"{path} already exists", fix="move it away first; keys are never overwritten"
        ) from error
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be written: {error.strerror}", fix="free or change the disk"
        ) from error
    finally:
        Path(temporary).unlink()
    _sync_directory(path.parent)


def read(path: Path) -> bytes:
    """The file's content; a key file is small, anything else is refused unread."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="check the path and its permissions"
        ) from error
    if len(content) > _LARGEST_BYTES:
        raise ConfigError(Reason.FILE_MALFORMED, f"{path} is too large for a key", fix="give the key file")
    return content


def _sync_directory(path: Path) -> None:
    """Make a new name in the directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
