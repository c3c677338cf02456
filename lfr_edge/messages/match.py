"""What an alert and a test pass have in common: a match that a van states, signs, and seals to the control rooms.

Outside the seal stand only id, time, van, force and order: what a broker needs to deliver and a subscriber to
acknowledge. A seal says nothing about its sender, so nothing outside is believed until the inside agrees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, model_validator

from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.fields import (
    Digest,
    Distinct,
    EntryId,
    Identifier,
    Message,
    MessageId,
    Recipient,
    Score,
    UtcTime,
)
from lfr_edge.messages.topics import Channel

LONGEST_EXPIRY = timedelta(hours=24)
"""After it nothing of a deployment may be acted on; an order may say less."""

_Stated = TypeVar("_Stated", bound="StatedMatch")
_Sealed = TypeVar("_Sealed", bound="SealedMatch")


class StatedMatch(Message):
    """Which entry, how well, where, when, and under what."""

    noun: ClassVar[str]
    purpose: ClassVar[Purpose]
    largest_ciphertext_bytes: ClassVar[int]

    version: Literal[1] = 1
    id: MessageId
    van: Identifier
    force: Identifier
    order: Identifier
    entry: EntryId
    score: Score
    threshold: Score
    margin: Annotated[float, Field(ge=0, le=2)] | None
    """Distance to the next candidate; None where the list has one entry."""
    camera: Identifier
    captured_at: UtcTime
    decided_at: UtcTime
    expires_at: UtcTime
    """From then on nobody may be shown it, however it comes."""
    engine_set: Digest
    watchlist_sha256: Digest
    recipients: Annotated[tuple[Recipient, ...], Field(min_length=1), Distinct]

    @model_validator(mode="after")
    def _check_expiry(self: _Stated) -> _Stated:  # noqa: PYI019 - typing.Self needs Python 3.11
        if not timedelta(0) < self.expires_at - self.decided_at <= LONGEST_EXPIRY:
            raise ValueError("expires_at must be later than decided_at, by 24 hours at the most")
        return self


@dataclass(frozen=True, slots=True)
class SealedMatch:
    """A match as it travels. Received ones are outside data until `open_match` returns."""

    channel: ClassVar[Channel]

    id: str
    time: datetime
    """When the van decided."""
    van: str
    force: str
    order: str
    ciphertext: bytes


def seal_match(stated: StatedMatch, kind: type[_Sealed], key: SigningKey, recipients: Sequence[str]) -> _Sealed:
    """What was stated, signed by the van's key and sealed to exactly the recipients that it names."""
    if tuple(recipients) != stated.recipients:
        raise RuntimeError(f"{stated.noun} is sealed to other recipients than it names")
    return kind(
        id=stated.id,
        time=stated.decided_at,
        van=stated.van,
        force=stated.force,
        order=stated.order,
        ciphertext=seal(sign(stated.to_json(), stated.purpose, [key]), recipients),
    )


def open_match(
    untrusted: SealedMatch, kind: type[_Stated], identity: SealIdentity, trusted: Mapping[str, VerifyKey], now: datetime
) -> _Stated:
    """What that van stated, if it signed it, for us, it has not expired, and the outside says what the inside says.

    `trusted` maps van ids to their keys. Raises UntrustedInputError.
    """
    if len(untrusted.ciphertext) > kind.largest_ciphertext_bytes:
        raise UntrustedInputError(Reason.MALFORMED, f"{kind.noun} is too large", fix="check what the van sends")
    van_key = trusted.get(untrusted.van)
    if van_key is None:
        raise UntrustedInputError(
            Reason.SIGNER_UNKNOWN,
            f"{kind.noun} comes from a van without a trusted key",
            fix="give that van's public key, if it is one of yours",
        )
    envelope = open_sealed(untrusted.ciphertext, identity)
    stated = kind.from_untrusted(verify(envelope, kind.purpose, [van_key]))
    inside = (stated.id, stated.decided_at, stated.van, stated.force, stated.order)
    if inside != (untrusted.id, untrusted.time, untrusted.van, untrusted.force, untrusted.order):
        raise UntrustedInputError(
            Reason.OUTER_INNER_DIFFER,
            f"{kind.noun} says something else outside than inside",
            fix="find out who can publish on this topic",
        )
    # Without this, whoever may open one could seal the signed inside again, to somebody it was not meant for.
    if identity.recipient not in stated.recipients:
        raise UntrustedInputError(
            Reason.WRONG_RECIPIENT,
            f"{kind.noun} was sealed to us, but its van did not mean us",
            fix="find out which control room passed it on",
        )
    # The broker's expiry is not signed: whoever kept one could send it again at any time.
    if stated.expires_at <= now:
        raise UntrustedInputError(
            Reason.EXPIRED,
            f"{kind.noun} came after it had expired",
            fix="check this machine's clock; if it is right, find out who sends old ones",
        )
    return stated
