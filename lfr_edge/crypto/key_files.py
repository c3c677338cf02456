"""Key files on disk: written once, whole or not at all, and never over another one.

What is in them is the business of `sealed` and `signing`. A private one may be locked with a passphrase: then the file
is an age file (scrypt), which `age --decrypt` opens too. Otherwise file permissions are all that protects it.
"""

from collections.abc import Callable
from pathlib import Path

from pyrage import DecryptError, passphrase  # type: ignore[import-untyped]  # it ships no types

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import PRIVATE, PUBLIC, new_file

__all__ = ["PRIVATE", "PUBLIC", "AskPassphrase", "read", "read_private", "write_new", "write_private"]

AskPassphrase = Callable[[Path], str]
"""Asks the person for the passphrase of this file."""

_LOCKED = b"age-encryption.org/v1\n-> scrypt "

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


def write_private(path: Path, content: bytes, *, locked_with: str | None = None) -> None:
    """Write a private key that did not exist before, for its owner only; locked if there is a passphrase."""
    content = content if locked_with is None else bytes(passphrase.encrypt(content, locked_with))
    write_new(path, content, mode=PRIVATE)


def read_private(path: Path, ask: AskPassphrase | None = None) -> bytes:
    """A private key's content; asks for the passphrase if it is locked. ConfigError if that does not open it."""
    content = read(path)
    if not content.startswith(_LOCKED):
        return content
    if ask is None:
        raise ConfigError(
            Reason.DECRYPTION_FAILED,
            f"{path} is locked with a passphrase, and nobody can be asked here",
            fix="give a key that is not locked",
        )
    try:
        return bytes(passphrase.decrypt(content, ask(path)))
    except DecryptError as error:
        raise ConfigError(
            Reason.DECRYPTION_FAILED, f"this passphrase does not open {path}", fix="try again; it cannot be recovered"
        ) from error
