"""How sealed alerts and test passes travel: age ciphertext as payload, CloudEvents 1.0 attributes as MQTT 5 properties.

QoS 1, never retained, each kind on a topic of its own. Nothing is opened here: what arrives is outside data until
`messages.alert.open_alert` or `messages.volunteer_pass.open_pass` returns.
"""

import json
from typing import Literal, TypeVar

from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.fields import Identifier, Message, MessageId, Text, UtcTime
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.topics import Channel, Topic, parse_topic
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming

_Sealed = TypeVar("_Sealed", bound=SealedMatch)


class SealedEvent(Message):
    """The CloudEvents attributes of both; those that others add are ignored."""

    specversion: Literal["1.0"] = "1.0"
    id: MessageId
    source: Text
    """The van, as the start of its topics."""
    time: UtcTime
    subject: Identifier
    """The order."""


class AlertEvent(SealedEvent):
    """The CloudEvents attributes of an alert."""

    type: Literal["lfr-edge.alert.v1"] = "lfr-edge.alert.v1"
    datacontenttype: Literal["application/vnd.lfr-edge.alert+age"] = "application/vnd.lfr-edge.alert+age"


class PassEvent(SealedEvent):
    """The CloudEvents attributes of a test pass."""

    type: Literal["lfr-edge.test-pass.v1"] = "lfr-edge.test-pass.v1"
    datacontenttype: Literal["application/vnd.lfr-edge.test-pass+age"] = "application/vnd.lfr-edge.test-pass+age"


_EVENTS: dict[Channel, type[SealedEvent]] = {Channel.ALERT: AlertEvent, Channel.TEST_PASS: PassEvent}


def publish_sealed(session: MqttSession, sealed: SealedMatch, *, expiry_s: int) -> None:
    """Hand it to the broker; returns once it has it, DeviceError if not."""
    source = _source(sealed.force, sealed.van)
    event = _EVENTS[sealed.channel](id=sealed.id, source=source, time=sealed.time, subject=sealed.order)
    session.publish(
        str(Topic(sealed.force, sealed.van, sealed.channel)),
        sealed.ciphertext,
        qos=1,
        expiry_s=expiry_s,
        properties=event.model_dump(mode="json"),
    )


def receive_alert(untrusted: Incoming) -> SealedAlert:
    """The outside of an alert, checked for form only; UntrustedInputError if it has none."""
    return _receive(untrusted, SealedAlert)


def receive_pass(untrusted: Incoming) -> SealedPass:
    """The outside of a test pass, checked for form only; UntrustedInputError if it has none."""
    return _receive(untrusted, SealedPass)


def _receive(untrusted: Incoming, kind: type[_Sealed]) -> _Sealed:
    topic, model = parse_topic(untrusted.topic), _EVENTS[kind.channel]
    known = {name: value for name, value in untrusted.properties.items() if name in model.model_fields}
    event = model.from_untrusted(json.dumps(known).encode())
    if topic.channel is not kind.channel or event.source != _source(topic.force, topic.van):
        raise UntrustedInputError(
            Reason.OUTER_INNER_DIFFER,
            "an alert or a test pass came on a topic that is not its own or its van's",
            fix="check who publishes under lfr/v1",
        )
    return kind(
        id=event.id,
        time=event.time,
        van=topic.van,
        force=topic.force,
        order=event.subject,
        ciphertext=untrusted.payload,
    )


def _source(force: str, van: str) -> str:
    """CloudEvents' source: a URI reference."""
    return f"lfr/v1/{force}/{van}"
