"""A signed statement of the time, for a van whose clock and mark disagree: the way back after a clock that ran ahead.

It answers a challenge that the van made a moment ago, and that only that van knows: an old statement proves nothing.
"""

from collections.abc import Sequence
from typing import Literal

from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify
from lfr_edge.messages.fields import Challenge, Identifier, Message, Text, UtcTime


class ClockStatement(Message):
    """What time it is, in the word of those who sign orders."""

    version: Literal[1] = 1
    force: Identifier
    van: Identifier
    challenge: Challenge
    at: UtcTime
    """When it was signed, by a clock that the signers trust."""
    by: Text
    why: Text


def sign_statement(statement: ClockStatement, keys: Sequence[SigningKey]) -> bytes:
    """The statement, signed by each key."""
    return sign(statement.to_json(), Purpose.CLOCK, keys)


def open_statement(untrusted: bytes, trusted: Sequence[VerifyKey], *, threshold: int) -> ClockStatement:
    """The statement, if enough different trusted keys signed it; else UntrustedInputError."""
    return ClockStatement.from_untrusted(verify(untrusted, Purpose.CLOCK, trusted, threshold=threshold))
