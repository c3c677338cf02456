"""Reference pictures, each sealed alone under its own key: an alert opens the one it shows, and no other.

The keys travel inside the sealed watchlist (`entries.PictureMember`); the sealed pictures follow each other in
`pictures.bin` without any structure of their own.
"""

from collections.abc import Iterable
from typing import BinaryIO

from lfr_edge.crypto.sealed import new_member_key, open_member, seal_member
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.span import Span


def write_pictures(writer: BinaryIO, pictures: Iterable[tuple[str, bytes]]) -> dict[str, PictureMember]:
    """Seal (entry id, JPEG) pairs one after another; by entry id, where each lies and what opens it."""
    members: dict[str, PictureMember] = {}
    offset = 0
    for entry_id, jpeg in pictures:
        key = new_member_key()
        sealed = seal_member(jpeg, key, associated=entry_id.encode())
        writer.write(sealed)
        members[entry_id] = PictureMember(offset=offset, length=len(sealed), key=key.hex())
        offset += len(sealed)
    return members


class PictureStore:
    """The sealed pictures of one deployment."""

    def __init__(self, pictures: Span) -> None:
        self._pictures = pictures

    def require(self, entries: Iterable[Entry]) -> None:
        """UntrustedInputError unless each picture lies within; whether it opens shows when an alert needs it."""
        for entry in entries:
            member = entry.picture  # none of a volunteer
            if member is not None and member.offset + member.length > self._pictures.length:
                raise UntrustedInputError(
                    Reason.MALFORMED,
                    f"the picture of entry '{entry.id}' lies outside of pictures.bin",
                    fix="ask the watchlist office for a new package",
                )

    def open(self, entry: Entry) -> bytes:
        """The entry's picture as JPEG. UntrustedInputError if it is not the one that was sealed for this entry."""
        member = entry.picture
        if member is None:
            raise RuntimeError("a volunteer's picture was asked for, and there is none")
        sealed = self._pictures.read_at(member.offset, member.length)
        return open_member(sealed, bytes.fromhex(member.key), associated=entry.id.encode())
