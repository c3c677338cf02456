"""Prekeys: public halves of keys for one deployment each, which a van gives to the watchlist office in advance.

A prekey has no name but its recipient, which an order names for each van.
"""

from typing import Annotated, Literal

from pydantic import Field

from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify
from lfr_edge.messages.fields import Distinct, Identifier, Message, Recipient, UtcTime


class Prekey(Message):
    """One key for one deployment."""

    recipient: Recipient
    expires_at: UtcTime
    """The van destroys its private half then, unless a loaded deployment needs it."""


class Prekeys(Message):
    """A van's stock, as the office is to know it."""

    version: Literal[1] = 1
    force: Identifier
    van: Identifier
    made_at: UtcTime
    prekeys: Annotated[tuple[Prekey, ...], Field(min_length=1, max_length=1000), Distinct]


def sign_prekeys(prekeys: Prekeys, key: SigningKey) -> bytes:
    """The file for the office, signed with the van's key."""
    return sign(prekeys.to_json(), Purpose.PREKEY, [key])


def open_prekeys(untrusted: bytes, van_key: VerifyKey) -> Prekeys:
    """The stock, if this van signed it; else UntrustedInputError."""
    return Prekeys.from_untrusted(verify(untrusted, Purpose.PREKEY, [van_key]))
