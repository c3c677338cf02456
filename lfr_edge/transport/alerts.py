"""How a sealed alert travels: age ciphertext as payload, CloudEvents 1.0 attributes as MQTT 5 properties.

QoS 1, never retained. Nothing is opened here: what arrives is outside data until `messages.alert.open_alert` returns.
"""

import json
from typing import Literal

from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.fields import Identifier, Message, MessageId, Text, UtcTime
from lfr_edge.messages.topics import Channel, Topic, parse_topic
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming


class AlertEvent(Message):
    """The CloudEvents attributes of an alert; those that others add are ignored."""

    specversion: Literal["1.0"] = "1.0"
    id: MessageId
    source: Text
    """The van, as the start of its topics."""
    type: Literal["lfr-edge.alert.v1"] = "lfr-edge.alert.v1"
    time: UtcTime
    subject: Identifier
    """The order."""
    datacontenttype: Literal["application/vnd.lfr-edge.alert+age"] = "application/vnd.lfr-edge.alert+age"


def publish_alert(session: MqttSession, alert: SealedAlert, *, expiry_s: int) -> None:
    """Hand the alert to the broker; returns once it has it, DeviceError if not."""
    event = AlertEvent(id=alert.id, source=_source(alert.force, alert.van), time=alert.time, subject=alert.order)
    session.publish(
        str(Topic(alert.force, alert.van, Channel.ALERT)),
        alert.ciphertext,
        qos=1,
        expiry_s=expiry_s,
        properties=event.model_dump(mode="json"),
    )


def receive_alert(untrusted: Incoming) -> SealedAlert:
    """The outside of an alert, checked for form only; UntrustedInputError if it has none."""
    topic = parse_topic(untrusted.topic)
    known = {name: value for name, value in untrusted.properties.items() if name in AlertEvent.model_fields}
    event = AlertEvent.from_untrusted(json.dumps(known).encode())
    if topic.channel is not Channel.ALERT or event.source != _source(topic.force, topic.van):
        raise UntrustedInputError(
            Reason.OUTER_INNER_DIFFER,
            "an alert came on a topic that is not its van's",
            fix="check who publishes under lfr/v1",
        )
    return SealedAlert(
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
