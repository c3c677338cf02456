"""MQTT 5 messages in our terms, and back."""

from collections.abc import Mapping
from dataclasses import dataclass

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

# CloudEvents' MQTT binding (1.0.2, section 3.1.1) puts this attribute into a field of its own, not the user properties.
_CONTENT_TYPE = "datacontenttype"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message from the broker: outside data, all of it."""

    topic: str
    payload: bytes
    properties: Mapping[str, str]


def empty_properties(packet_type: int) -> Properties:
    """An empty set of MQTT 5 properties for that packet."""
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho leaves this one untyped


def pack(expiry_s: int | None, properties: Mapping[str, str]) -> Properties:
    """MQTT's properties of a PUBLISH."""
    packed = empty_properties(PacketTypes.PUBLISH)
    if expiry_s is not None:
        packed.MessageExpiryInterval = expiry_s
    if _CONTENT_TYPE in properties:
        packed.ContentType = properties[_CONTENT_TYPE]
    pairs = [(name, value) for name, value in properties.items() if name != _CONTENT_TYPE]
    if pairs:
        packed.UserProperty = pairs
    return packed


def unpack(message: MQTTMessage) -> Incoming:
    """The message in our terms."""
    packed = message.properties
    properties = dict(getattr(packed, "UserProperty", []))
    content_type = getattr(packed, "ContentType", None)
    if content_type is not None:
        properties[_CONTENT_TYPE] = content_type
    return Incoming(message.topic, bytes(message.payload), properties)
