"""A part of an open file, read by position: several may share one file, and one thread may read each."""

import hashlib
import io
import os
from typing import BinaryIO

_CHUNK = 1 << 20


class Span(io.RawIOBase):
    """A reader of `length` bytes from `offset`; never of what lies around them. The file stays its owner's."""

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        super().__init__()
        self._file = file
        self._offset = offset
        self._length = length
        self._position = 0

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return self._length

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, all that are left if `size` is negative; empty at the end."""
        data = self.read_at(self._position, self._length if size < 0 else size)
        self._position += len(data)
        return data

    def read_at(self, position: int, size: int) -> bytes:
        """Up to `size` bytes from `position`, wherever `read` stands."""
        within = max(0, min(size, self._length - position))
        # A position far behind the end would be too large a number for the system call.
        return os.pread(self._file.fileno(), within, self._offset + position) if within else b""


class HashedSpan(Span):
    """A span that knows the digest of what was read from it: of these very bytes, whatever the file holds later."""

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        super().__init__(file, offset, length)
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As `Span.read`."""
        data = super().read(size)
        self._digest.update(data)
        return data

    def sha256_to_end(self) -> str:
        """SHA-256 of everything read, after reading what is left; 64 hexadecimal digits."""
        while self.read(_CHUNK):
            pass
        return self._digest.hexdigest()
