"""Ending a deployment from the control room: the signed command, sent again until the van answers."""

import hashlib
import threading
import time

from lfr_edge.errors import DeviceError, LfrEdgeError, Reason, UntrustedInputError
from lfr_edge.messages.command import CommandResult
from lfr_edge.messages.topics import Channel, Topic
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming

_AGAIN_S = 2.0


def stop(session: MqttSession, command: bytes, *, force: str, van: str, patience_s: float) -> CommandResult:
    """The van's answer to the signed command. DeviceError if none comes: the van is away, or the broker refuses."""
    digest = hashlib.sha256(command).hexdigest()
    answers: list[CommandResult] = []
    answered = threading.Event()

    def receive(incoming: Incoming) -> None:
        try:
            result = CommandResult.from_untrusted(incoming.payload)
        except UntrustedInputError:
            return  # who writes nonsense there does not end our waiting
        if (result.force, result.van, result.command_sha256) == (force, van, digest):
            answers.append(result)
            answered.set()

    session.subscribe(str(Topic(force, van, Channel.COMMAND_RESULT)), receive)
    deadline = time.monotonic() + patience_s
    problem: LfrEdgeError | None = None
    while not answered.is_set() and time.monotonic() < deadline:
        try:
            session.publish(str(Topic(force, van, Channel.COMMAND)), command, qos=1)
        except DeviceError as error:
            problem = error
        answered.wait(min(_AGAIN_S, max(deadline - time.monotonic(), 0)))
    if not answers:
        raise problem or DeviceError(
            Reason.SOURCE_UNREADABLE,
            f"van '{van}' does not answer",
            fix="ask its crew to stop it there (lfr-edge deployment stop), and send this again",
        )
    return answers[0]
