"""Signed commands from afar. Today there is one: end this deployment.

A stop names its order, never expires and may come any number of times: whoever keeps one can do no more with it than
was meant. So it needs neither a nonce nor a clock.
"""

from collections.abc import Sequence
from typing import Literal

from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify
from lfr_edge.messages.fields import Digest, Identifier, Message, Text, UtcTime


class StopCommand(Message):
    """End one deployment on one van."""

    version: Literal[1] = 1
    force: Identifier
    van: Identifier
    order: Identifier
    revoke: bool
    """Whether alerts that were not delivered are to be deleted too."""
    by: Text
    """Who decided it."""
    why: Text


class CommandResult(Message):
    """The van's answer. Not signed: what proves the end is the erasure receipt."""

    version: Literal[1] = 1
    force: Identifier
    van: Identifier
    command_sha256: Digest
    """Of the command as it came."""
    outcome: Literal["done", "refused"]
    reason: Identifier | None = None
    loaded: Identifier | None = None
    """Another order, which the van holds all the same, and may see under."""
    at: UtcTime

    def to_json(self) -> bytes:
        """As before there was `loaded`, where that has nothing to say: an earlier control room reads it too."""
        return self.model_dump_json(exclude={"loaded"} if self.loaded is None else None).encode()


def sign_command(command: StopCommand, key: SigningKey) -> bytes:
    """The command, signed."""
    return sign(command.to_json(), Purpose.COMMAND, [key])


def open_command(untrusted: bytes, trusted: Sequence[VerifyKey]) -> StopCommand:
    """The command, if one of the trusted keys signed it; else UntrustedInputError."""
    return StopCommand.from_untrusted(verify(untrusted, Purpose.COMMAND, trusted))
