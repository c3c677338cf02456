"""Topics of the bus: `lfr/v1/{force}/{van}/CHANNEL`, of an acknowledgement `.../ack/{alert id}`."""

import re
from dataclasses import dataclass
from enum import Enum

from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.fields import IDENTIFIER

_ROOT = "lfr/v1"


class Channel(Enum):
    """What a topic carries; an acknowledgement's topic goes on with the alert's id."""

    ALERT = "alert"
    TEST_PASS = "test-pass"  # noqa: S105 - no password
    STATUS = "status"
    HEALTH = "health"
    ERASURE = "erasure"
    COMMAND = "command"
    COMMAND_RESULT = "command-result"
    ACK = "ack"


_TOPIC = re.compile(
    rf"{_ROOT}/(?P<force>{IDENTIFIER})/(?P<van>{IDENTIFIER})/"
    rf"(?:(?P<channel>alert|test-pass|status|health|erasure|command|command-result)|ack/(?P<alert>{IDENTIFIER}))"
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed topic; `alert` is the alert's id for ACK, None otherwise."""

    force: str
    van: str
    channel: Channel
    alert: str | None = None

    def __post_init__(self) -> None:
        if _TOPIC.fullmatch(str(self)) is None:
            raise RuntimeError("a topic was built from something that is no id")

    def __str__(self) -> str:
        """The topic as the broker knows it."""
        path = f"{_ROOT}/{self.force}/{self.van}/{self.channel.value}"
        return path if self.alert is None else f"{path}/{self.alert}"


def parse_topic(untrusted_topic: str) -> Topic:
    """The topic's parts, or UntrustedInputError."""
    parts = _TOPIC.fullmatch(untrusted_topic)
    if parts is None:
        raise UntrustedInputError(
            Reason.MALFORMED, "a message came on a topic that is not ours", fix="check who publishes under lfr/v1"
        )
    channel = Channel(parts["channel"] or "ack")
    return Topic(parts["force"], parts["van"], channel, parts["alert"])


def topic_filter(channel: Channel, *, force: str | None = None, van: str | None = None) -> str:
    """What to subscribe to; None means every force or every van."""
    last = "/+" if channel is Channel.ACK else ""
    return f"{_ROOT}/{force or '+'}/{van or '+'}/{channel.value}{last}"
