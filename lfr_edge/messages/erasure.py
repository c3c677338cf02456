"""The erasure receipt: a van's signed word that a list is gone, how far that reaches, and what it cannot know."""

from typing import Annotated, Literal

from pydantic import Field

from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify
from lfr_edge.messages.fields import Digest, Distinct, Identifier, Message, UtcTime

Level = Literal["files-removed", "key-destroyed", "disk-opens-nothing"]
Unverified = Literal["old-blocks", "wrapping-key-on-disk", "deployment-key-kept", "share-elsewhere", "old-heap"]


class ErasureReceipt(Message):
    """What became of one deployment on one van."""

    version: Literal[1] = 1
    force: Identifier
    van: Identifier
    order: Identifier
    order_sha256: Digest
    """Of `order.json` as it was loaded, signatures included."""
    watchlist_sha256: Digest
    cause: Identifier
    """Why it ended: `window-over`, `stop`, `revoke`, `not-authorised`, `files-over`, `replaced`."""
    erased_at: UtcTime
    level: Level
    """`key-destroyed`: the list's only key was overwritten and removed. `disk-opens-nothing`: that too, and the list
    was sealed to a share besides that was never on a disk of the van. `files-removed`: the package was removed, but the
    key that opens it is one that the van keeps."""
    unverified: Annotated[tuple[Unverified, ...], Field(max_length=100), Distinct]
    """What the van could not make sure of."""


def sign_receipt(receipt: ErasureReceipt, key: SigningKey) -> bytes:
    """The receipt, signed with the van's key."""
    return sign(receipt.to_json(), Purpose.ERASURE, [key])


def open_receipt(untrusted: bytes, van_key: VerifyKey) -> ErasureReceipt:
    """The receipt, if this van signed it; else UntrustedInputError."""
    return ErasureReceipt.from_untrusted(verify(untrusted, Purpose.ERASURE, [van_key]))
