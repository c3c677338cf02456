"""The alert: a match that a person must adjudicate. How it is signed and sealed is `match`'s."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey
from lfr_edge.messages.fields import Digest, EntryId, Jpeg, Text
from lfr_edge.messages.match import SealedMatch, StatedMatch, open_match, seal_match
from lfr_edge.messages.topics import Channel

# Three JPEGs of 1 MiB each, in base64 twice (JSON inside DSSE), and room for the rest.
LARGEST_CIPHERTEXT_BYTES = 6 << 20

Response = Literal["red", "amber", "green"]
"""What officers are to do."""


class Alert(StatedMatch):
    """What the control room reads. `statement` is the claim, and the whole of it: a score never decides."""

    noun = "an alert"
    purpose = Purpose.ALERT
    largest_ciphertext_bytes = LARGEST_CIPHERTEXT_BYTES

    category: Text
    response: Response
    runner_up: EntryId | None
    faces: Annotated[int, Field(ge=1)]
    """Samples of the track whose features were fused."""
    place: Text
    contract: Digest
    statement: Literal["possible match"] = "possible match"
    sample: Jpeg
    reference: Jpeg
    context: Jpeg
    """The scene, everything outside the matched person's box obscured."""
    ack_token: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(repr=False)
    """Proof, given back in an acknowledgement, that somebody opened this alert."""


@dataclass(frozen=True, slots=True)
class SealedAlert(SealedMatch):
    """An alert as it travels. Received ones are outside data until `open_alert` returns."""

    channel: ClassVar[Channel] = Channel.ALERT


def sign_and_seal(alert: Alert, key: SigningKey, recipients: Sequence[str]) -> SealedAlert:
    """The alert, signed by the van's key and sealed to exactly the recipients that it names."""
    return seal_match(alert, SealedAlert, key, recipients)


def open_alert(
    untrusted: SealedAlert, identity: SealIdentity, trusted: Mapping[str, VerifyKey], *, now: datetime
) -> Alert:
    """The alert, if it is genuine, for us, and has not expired: see `open_match`. Raises UntrustedInputError."""
    return open_match(untrusted, Alert, identity, trusted, now)
