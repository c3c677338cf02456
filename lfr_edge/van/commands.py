"""Commands that come over the bus: checked, carried out, answered.

They come on the bus's own thread, which must not publish: answers wait here until the van next speaks.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence

from lfr_edge.clock import Clock
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.errors import LfrEdgeError, PolicyError, Reason
from lfr_edge.messages.command import CommandResult, StopCommand, open_command

_LOG = logging.getLogger(__name__)

_LARGEST_BYTES = 16 * 1024
_MOST_ANSWERS = 100  # whoever floods us gets fewer

CarryOut = Callable[[StopCommand], str | None]
"""Returns when the van's record says so: another order, if one is loaded all the same. PolicyError if it may not."""


class Commands:
    """The van's ear for signed commands. Thread-safe."""

    def __init__(self, force: str, van: str, trusted: Sequence[VerifyKey], carry_out: CarryOut, clock: Clock) -> None:
        self._force = force
        self._van = van
        self._trusted = trusted
        self._carry_out = carry_out
        self._clock = clock
        self._answers: deque[CommandResult] = deque(maxlen=_MOST_ANSWERS)

    def receive(self, untrusted: bytes) -> None:
        """Do what it says, if it is signed by somebody whom this van trusts, and meant for this van."""
        reason: Reason | None = None
        loaded: str | None = None
        try:
            loaded = self._carry_out(self._checked(untrusted))
        except LfrEdgeError as refusal:
            reason = refusal.reason
            _LOG.warning("a command was refused: %s", refusal)
        answer = CommandResult(
            force=self._force,
            van=self._van,
            command_sha256=hashlib.sha256(untrusted).hexdigest(),
            outcome="refused" if reason else "done",
            reason=reason.value if reason else None,
            loaded=loaded,
            at=self._clock.utc(),
        )
        self._answers.append(answer)

    def next_answer(self) -> CommandResult | None:
        """The oldest answer that was not given yet."""
        return self._answers[0] if self._answers else None

    def answered(self, answer: CommandResult) -> None:
        """It was given."""
        if self._answers and self._answers[0] is answer:
            self._answers.popleft()

    def _checked(self, untrusted: bytes) -> StopCommand:
        if len(untrusted) > _LARGEST_BYTES:
            raise PolicyError(Reason.MALFORMED, "a command is too large", fix="find out who sends to this van")
        if not self._trusted:
            raise PolicyError(
                Reason.SIGNER_UNKNOWN,
                "this van takes commands from nobody",
                fix="name keys as keys.trusted_commanders in its configuration",
            )
        command = open_command(untrusted, self._trusted)
        if (command.force, command.van) != (self._force, self._van):
            raise PolicyError(Reason.WRONG_VAN, "a command is meant for another van", fix="send it to that one")
        return command
