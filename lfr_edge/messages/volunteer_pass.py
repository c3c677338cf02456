"""The test pass: a volunteer walked past and was recognised. Never an alert, and never a picture.

It holds what the recognition rate is counted from, and nothing more. Its signature is for another purpose than an
alert's, and it is another message: neither can be taken for the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey
from lfr_edge.messages.match import SealedMatch, StatedMatch, open_match, seal_match
from lfr_edge.messages.topics import Channel


class VolunteerPass(StatedMatch):
    """A match with a volunteer's entry, by the same rule as everybody's."""

    noun = "a test pass"
    purpose = Purpose.TEST_PASS
    # To 64 control rooms it takes 13 kB. No room for a picture.
    largest_ciphertext_bytes = 32 << 10

    statement: Literal["test pass"] = "test pass"


@dataclass(frozen=True, slots=True)
class SealedPass(SealedMatch):
    """A test pass as it travels. Received ones are outside data until `open_pass` returns."""

    channel: ClassVar[Channel] = Channel.TEST_PASS


def sign_and_seal_pass(stated: VolunteerPass, key: SigningKey, recipients: Sequence[str]) -> SealedPass:
    """The test pass, signed by the van's key and sealed to exactly the recipients that it names."""
    return seal_match(stated, SealedPass, key, recipients)


def open_pass(
    untrusted: SealedPass, identity: SealIdentity, trusted: Mapping[str, VerifyKey], *, now: datetime
) -> VolunteerPass:
    """The test pass, if it is genuine, for us, and has not expired: see `open_match`. Raises UntrustedInputError."""
    return open_match(untrusted, VolunteerPass, identity, trusted, now)
