"""Key files on disk: written once, whole or not at all, and never over another one.

What is in them is the business of `sealed` and `signing`; nothing here protects them by more than file permissions.
"""

from pathlib import Path

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import PRIVATE, PUBLIC, new_file

__all__ = ["PRIVATE", "PUBLIC", "read", "write_new"]

# Far above any key, far below what would hurt: a wrong path may name a video.
_LARGEST_BYTES = 64 * 1024


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a key file that did not exist before; the directory must exist."""
    with new_file(path, mode=mode) as file:
        file.write(content)


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
