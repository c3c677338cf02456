"""The van's stock of one-time deployment keys: private halves, wrapped, a file each, destroyed after use.

A file is there or it is not: there is no list that could disagree with the folder.
"""

import base64
import logging
import os
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.wrapping import WrappingKey
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.files import new_file, sync_folder
from lfr_edge.messages.fields import Message, Recipient, UtcTime
from lfr_edge.messages.prekey import Prekey

_LOG = logging.getLogger(__name__)

LIFETIME = timedelta(days=90)
LOW_STOCK = 3
_LARGEST_BYTES = 16 * 1024
_SUFFIX = ".prekey"


class _Stored(Message):
    """One file of the stock."""

    recipient: Recipient
    expires_at: UtcTime
    wrapped: str
    """base64 of the private half, bound to recipient and expiry."""

    @property
    def associated(self) -> bytes:
        return _associated(self.recipient, self.expires_at)


class PrekeyStock:
    """The folder of prekeys and the key that they are wrapped with, both made with the first prekey."""

    def __init__(self, folder: Path, wrapping_key: Path) -> None:
        self._folder = folder
        self._wrapping_key = wrapping_key

    def make(self, count: int, now: datetime) -> tuple[Prekey, ...]:
        """New prekeys; their public halves."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wrapping = WrappingKey.made_at(self._wrapping_key)
        made = []
        for _ in range(count):
            identity = SealIdentity.generate()
            prekey = Prekey(recipient=identity.recipient, expires_at=now + LIFETIME)
            wrapped = wrapping.wrap(identity.to_bytes(), associated=_associated(prekey.recipient, prekey.expires_at))
            stored = _Stored(**dict(prekey), wrapped=base64.b64encode(wrapped).decode("ascii"))
            with new_file(self._file_of(prekey.recipient)) as file:
                file.write(stored.to_json())
            made.append(prekey)
        return tuple(made)

    def __len__(self) -> int:
        return sum(1 for _ in self._files())

    def identity(self, recipient: str) -> SealIdentity | None:
        """The private half; None if it is not in stock, or not any more."""
        path = self._file_of(recipient)
        if not path.exists():
            return None
        stored = _read(path)
        if stored.recipient != recipient:
            raise _damaged(path)
        wrapping = WrappingKey.from_file(self._wrapping_key)
        try:
            wrapped = base64.b64decode(stored.wrapped, validate=True)
        except ValueError:
            raise _damaged(path) from None
        return SealIdentity.from_bytes(wrapping.unwrap(wrapped, associated=stored.associated), path)

    def destroy(self, recipient: str) -> bool:
        """Overwrite and remove it; False if it was not there. What the disk keeps of old blocks is out of reach."""
        path = self._file_of(recipient)
        found = path.exists()
        if found:
            _overwrite(path)
            path.unlink()
        if self._folder.is_dir():
            sync_folder(self._folder)
        return found

    def expire(self, now: datetime, *, keep: Collection[str]) -> int:
        """Destroy what is too old, or damaged, but for those in use; returns how many."""
        kept = {self._file_of(recipient) for recipient in keep}
        expired = [path for path in self._files() if path not in kept and _is_over(path, now)]
        for path in expired:
            self.destroy(path.name.removesuffix(_SUFFIX))
        return len(expired)

    def _files(self) -> Iterator[Path]:
        return self._folder.glob(f"*{_SUFFIX}")  # not those still being written: their names begin with a dot

    def _file_of(self, recipient: str) -> Path:
        return self._folder / f"{recipient}{_SUFFIX}"


def _associated(recipient: str, expires_at: datetime) -> bytes:
    return f"lfr-edge prekey {recipient} {expires_at.isoformat()}".encode("ascii")


def _read(path: Path) -> _Stored:
    try:
        with path.open("rb") as file:
            return _Stored.from_untrusted(file.read(_LARGEST_BYTES))
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="check its permissions and the disk"
        ) from error
    except UntrustedInputError as error:
        raise _damaged(path) from error


def _is_over(path: Path, now: datetime) -> bool:
    """A damaged file is one that was being destroyed when the power failed: of no use, and to go."""
    try:
        return _read(path).expires_at <= now
    except ConfigError as error:
        _LOG.warning("%s", error)
        return error.reason is Reason.FILE_MALFORMED


def _damaged(path: Path) -> ConfigError:
    return ConfigError(Reason.FILE_MALFORMED, f"{path} is damaged", fix="delete it, and have another key used")


def _overwrite(path: Path) -> None:
    with path.open("r+b", buffering=0) as file:
        file.write(bytes(os.fstat(file.fileno()).st_size))
        os.fsync(file.fileno())
