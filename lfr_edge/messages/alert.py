"""The alert: a match that a person must adjudicate, signed by the van and sealed to the control rooms.

Outside the seal stand only id, time, van, force and order: what a broker needs to deliver and a subscriber to
acknowledge. A seal says nothing about its sender, so nothing outside is believed until the inside agrees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.fields import (
    Digest,
    Distinct,
    EntryId,
    Identifier,
    Jpeg,
    Message,
    MessageId,
    Recipient,
    Score,
    Text,
    UtcTime,
)

# Three JPEGs of 1 MiB each, in base64 twice (JSON inside DSSE), and room for the rest.
LARGEST_CIPHERTEXT_BYTES = 6 << 20

LONGEST_EXPIRY = timedelta(hours=24)
"""After it nothing of a deployment may be acted on; an order may say less."""


class Alert(Message):
    """What the control room reads. `statement` is the claim, and the whole of it: a score never decides."""

    version: Literal[1] = 1
    id: MessageId
    van: Identifier
    force: Identifier
    order: Identifier
    entry: EntryId
    category: Text
    response: Literal["red", "amber", "green"]
    score: Score
    threshold: Score
    margin: Annotated[float, Field(ge=0, le=2)] | None
    """Distance to the next candidate; None where the list has one entry."""
    runner_up: EntryId | None
    faces: Annotated[int, Field(ge=1)]
    """Samples of the track whose features were fused."""
    camera: Identifier
    captured_at: UtcTime
    decided_at: UtcTime
    expires_at: UtcTime
    """From then on nobody may be shown it, however it comes."""
    place: Text
    contract: Digest
    engine_set: Digest
    watchlist_sha256: Digest
    recipients: Annotated[tuple[Recipient, ...], Field(min_length=1), Distinct]
    statement: Literal["possible match"] = "possible match"
    sample: Jpeg
    reference: Jpeg
    context: Jpeg
    """The scene, everything outside the matched person's box obscured."""
    ack_token: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(repr=False)
    """Proof, given back in an acknowledgement, that somebody opened this alert."""

    @model_validator(mode="after")
    def _check_expiry(self) -> "Alert":
        if not timedelta(0) < self.expires_at - self.decided_at <= LONGEST_EXPIRY:
            raise ValueError("expires_at must be later than decided_at, by 24 hours at the most")
        return self


@dataclass(frozen=True, slots=True)
class SealedAlert:
    """An alert as it travels. Received ones are outside data until `open_alert` returns."""

    id: str
    time: datetime
    """When the van decided."""
    van: str
    force: str
    order: str
    ciphertext: bytes


def sign_and_seal(alert: Alert, key: SigningKey, recipients: Sequence[str]) -> SealedAlert:
    """The alert, signed by the van's key and sealed to exactly the recipients that it names."""
    if tuple(recipients) != alert.recipients:
        raise RuntimeError("an alert is sealed to other recipients than it names")
    return SealedAlert(
        id=alert.id,
        time=alert.decided_at,
        van=alert.van,
        force=alert.force,
        order=alert.order,
        ciphertext=seal(sign(alert.to_json(), Purpose.ALERT, [key]), recipients),
    )


def open_alert(
    untrusted: SealedAlert, identity: SealIdentity, trusted: Mapping[str, VerifyKey], *, now: datetime
) -> Alert:
    """The alert, if that van signed it, for us, it has not expired, and the outside says what the inside says.

    `trusted` maps van ids to their keys. Raises UntrustedInputError.
    """
    if len(untrusted.ciphertext) > LARGEST_CIPHERTEXT_BYTES:
        raise UntrustedInputError(Reason.MALFORMED, "an alert is too large", fix="check what the van sends")
    van_key = trusted.get(untrusted.van)
    if van_key is None:
        raise UntrustedInputError(
            Reason.SIGNER_UNKNOWN,
            "an alert comes from a van without a trusted key",
            fix="give that van's public key, if it is one of yours",
        )
    envelope = open_sealed(untrusted.ciphertext, identity)
    alert = Alert.from_untrusted(verify(envelope, Purpose.ALERT, [van_key]))
    inside = (alert.id, alert.decided_at, alert.van, alert.force, alert.order)
    if inside != (untrusted.id, untrusted.time, untrusted.van, untrusted.force, untrusted.order):
        raise UntrustedInputError(
            Reason.OUTER_INNER_DIFFER,
            "an alert says something else outside than inside",
            fix="find out who can publish on this topic",
        )
    # Without this, whoever may open an alert could seal the signed inside again, to somebody it was not meant for.
    if identity.recipient not in alert.recipients:
        raise UntrustedInputError(
            Reason.WRONG_RECIPIENT,
            "an alert was sealed to us, but its van did not mean us",
            fix="find out which control room passed it on",
        )
    # The broker's expiry is not signed: whoever kept an alert could send it again at any time.
    if alert.expires_at <= now:
        raise UntrustedInputError(
            Reason.EXPIRED,
            "an alert came after it had expired",
            fix="check this machine's clock; if it is right, find out who sends old alerts",
        )
    return alert
