"""The deployment package `NAME.lfrd`: a tar of exactly `order.json`, `watchlist.age` and `pictures.bin`.

Any tar program lists it, but only one spelling is read back: every header must be byte for byte the one that `_header`
makes of its name and size. So links, devices, other names, duplicates and extensions need no rules of their own.
Nothing is extracted: a `Package` hands out readers of the file that it checked. Whether the order is signed, and what
it says, is for `messages.order`.
"""

import hashlib
import os
import shutil
import tarfile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.files import new_file
from lfr_edge.watchlist.pictures import PictureStore
from lfr_edge.watchlist.span import HashedSpan, Span

_ORDER, _WATCHLIST, _PICTURES = "order.json", "watchlist.age", "pictures.bin"
_BLOCK = tarfile.BLOCKSIZE
_SIZE_FIELD = slice(124, 135)  # POSIX.1-1988 ustar: eleven octal digits, so 8 GiB at most
_END = bytes(2 * _BLOCK)
_LARGEST_BYTES = {_ORDER: 1 << 20, _WATCHLIST: 8 << 30, _PICTURES: 8 << 30}
_CHUNK = 1 << 20


class Package:
    """An open package, its form checked and its digests known. A context manager; closing it ends its readers."""

    def __init__(self, file: BinaryIO, order: bytes, watchlist: tuple[int, int], pictures: tuple[int, int]) -> None:
        """`watchlist` and `pictures` are the members' offsets and lengths."""
        self._file = file
        self._watchlist = watchlist
        self.order = order
        self.pictures = PictureStore(Span(file, *pictures))
        self.watchlist_sha256 = sha256_of(Span(file, *watchlist))
        self.pictures_sha256 = sha256_of(Span(file, *pictures))

    def watchlist(self) -> HashedSpan:
        """A reader of the sealed watchlist, from its beginning."""
        return HashedSpan(self._file, *self._watchlist)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "Package":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_package(path: Path) -> Package:
    """Check the package's form and hash its members. None of it is to be believed before the order is verified."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"the package {path} cannot be read: {error.strerror}", fix="check the path"
        ) from error
    try:
        order, watchlist, pictures = _members(file)
        return Package(file, Span(file, *order).read(), watchlist, pictures)
    except BaseException:
        file.close()
        raise


def write_package(path: Path, order: bytes, watchlist: BinaryIO, pictures: BinaryIO) -> None:
    """Write the package whole or not at all; never over another file."""
    with new_file(path) as file:
        for name, member in ((_ORDER, BytesIO(order)), (_WATCHLIST, watchlist), (_PICTURES, pictures)):
            length = member.seek(0, os.SEEK_END)
            member.seek(0)
            file.write(_header(name, length))
            shutil.copyfileobj(member, file, _CHUNK)
            file.write(bytes(-length % _BLOCK))
        file.write(_END)


def replace_order(path: Path, order: bytes) -> None:
    """Put another `order.json` into a package, the other members as they are; the file is whole at every moment."""
    with path.open("rb") as old:
        (_, watchlist, _) = _members(old)
        old.seek(watchlist[0] - _BLOCK)
        with new_file(path, replace=True) as file:
            file.write(_header(_ORDER, len(order)) + order + bytes(-len(order) % _BLOCK))
            shutil.copyfileobj(old, file, _CHUNK)


def sha256_of(reader: Span | BinaryIO) -> str:
    """SHA-256 of what is left in the reader, streamed; hexadecimal, as in the order."""
    digest = hashlib.sha256()
    while chunk := reader.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _header(name: str, length: int) -> bytes:
    # No time, no owner: two packages of the same content are the same file.
    member = tarfile.TarInfo(name)
    member.size, member.mode = length, 0o600
    return member.tobuf(tarfile.USTAR_FORMAT)


def _members(file: BinaryIO) -> list[tuple[int, int]]:
    """Offset and length of the three members' data."""
    whole = Span(file, 0, os.fstat(file.fileno()).st_size)
    members = []
    offset = 0
    for name in (_ORDER, _WATCHLIST, _PICTURES):
        length = _length_of_member(whole.read_at(offset, _BLOCK), name)
        padding = -length % _BLOCK
        members.append((offset + _BLOCK, length))
        offset += _BLOCK + length + padding
        if not whole.read_at(offset - 1, 1):
            raise _refused(Reason.TRUNCATED, f"it ends inside {name}")
        if any(whole.read_at(offset - padding, padding)):
            raise _refused(Reason.MALFORMED, f"something is hidden behind {name}")
    end = whole.read_at(offset, len(_END) + 1)
    if len(end) < len(_END):
        raise _refused(Reason.TRUNCATED, "its end is missing")
    if end != _END:
        raise _refused(Reason.MALFORMED, "something follows its last member")
    return members


def _length_of_member(untrusted_header: bytes, name: str) -> int:
    if len(untrusted_header) < _BLOCK:
        raise _refused(Reason.TRUNCATED, f"it ends before {name}")
    try:
        length = int(untrusted_header[_SIZE_FIELD], 8)
        genuine = untrusted_header == _header(name, length)
    except ValueError:
        genuine = False
    if genuine and length <= _LARGEST_BYTES[name]:
        return length
    raise _refused(Reason.MALFORMED, f"{name} is not where it belongs, or not a plain file of its size")


def _refused(reason: Reason, what: str) -> UntrustedInputError:
    return UntrustedInputError(
        reason, f"the deployment package is damaged: {what}", fix="copy it again from the watchlist office"
    )
