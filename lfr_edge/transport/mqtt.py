"""One MQTT 5 session over mutual TLS that stays up, and says so when it does not.

What is sent with QoS 1 is either acknowledged by the broker with a good reason code, or the caller gets an error: there
is no queue in here, because the outbox is one that survives a power cut. What is sent with QoS 0 waits for nothing, not
even for somebody else's acknowledgement. Handlers run on the session's own thread and must not publish. A handler that
raises, or a subscription that is lost on reconnection, fails every later call.
"""

import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paho.mqtt.client import (
    Client,
    ConnectFlags,
    DisconnectFlags,
    MQTTMessage,
    MQTTv5,
    topic_matches_sub,
)
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lfr_edge.errors import DeviceError, LfrEdgeError, Reason
from lfr_edge.messages.alert import LARGEST_CIPHERTEXT_BYTES
from lfr_edge.transport.packets import Incoming, empty_properties, pack, unpack
from lfr_edge.transport.tls import Broker, client_context, explain

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

_LOG = logging.getLogger(__name__)

TIMEOUT_S = 10.0
"""For the broker's answer to anything."""
LARGEST_PACKET_BYTES = LARGEST_CIPHERTEXT_BYTES + (64 << 10)
"""An alert with its topic and properties. The broker may send us nothing larger: paho collects a packet in memory."""
_KEEPALIVE_S = 15
_BACK_OFF_S = (1, 30)
# How long the broker keeps our subscriptions and what they collect while the network is away.
_SESSION_EXPIRY_S = 3600


@dataclass(frozen=True, slots=True)
class Retained:
    """A payload that the broker keeps for a topic."""

    topic: str
    payload: bytes


Handler = Callable[[Incoming], None]


class MqttSession:
    """Connects as `client_id`, reconnects with back-off, restores subscriptions and retained messages.

    `will` is what the broker publishes, retained, when we vanish.
    """

    def __init__(self, broker: Broker, client_id: str, *, will: Retained | None = None) -> None:
        self._broker = broker
        self._handlers: dict[str, Handler] = {}
        self._retained: dict[str, bytes] = {}
        self._one_request = threading.Lock()  # held while a caller waits for an answer, never by the session's thread
        self._changed = threading.Condition()  # guards what follows
        self._connected = False
        self._connections = 0
        self._closed = False
        self._answered = False
        self._problem: DeviceError | None = None
        self._failure: Exception | None = None
        self._answers: dict[int, Sequence[ReasonCode]] | None = None  # message id -> answer; None: nobody waits for one
        self._restored: dict[int, str] = {}  # message id -> what was sent again after a reconnection
        self._thread: threading.Thread | None = None
        self._client = self._configured_client(client_id, client_context(broker.tls), will)

    def _configured_client(self, client_id: str, context: ssl.SSLContext, will: Retained | None) -> Client:
        """A paho client with our callbacks; nothing is connected yet."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5)
        client.tls_set_context(context)
        client.reconnect_delay_set(*_BACK_OFF_S)
        # One request at a time: the limit would only count those that we gave up.
        client.max_inflight_messages_set(0)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_pre_connect = self._on_pre_connect
        client.on_socket_open = _without_delay
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def connect(self) -> None:
        """Connect and wait for the broker's answer; DeviceError says what is wrong, and nothing is left running."""
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._problem or self._failure, TIMEOUT_S)
            connected, problem = self._connected, self._problem
        if not connected:
            self.close()
            self.check()
            raise problem or explain(TimeoutError(), self._broker)

    def start(self) -> None:
        """Connect in the background and keep trying: a van goes on without its broker; `problem` says why."""
        properties = empty_properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = _SESSION_EXPIRY_S
        properties.MaximumPacketSize = LARGEST_PACKET_BYTES
        self._client.connect_async(self._broker.host, self._broker.port, _KEEPALIVE_S, properties=properties)
        self._client.loop_start()

    def close(self) -> None:
        """Leave the broker in good order: no last will is sent, nothing is kept for us there. Idempotent."""
        with self._changed:
            self._closed = True
        properties = empty_properties(PacketTypes.DISCONNECT)
        properties.SessionExpiryInterval = 0
        self._client.drop_out_messages()
        self._client.disconnect(properties=properties)
        self._client.loop_stop()

    def __enter__(self) -> "MqttSession":
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and we have not lost it since."""
        with self._changed:
            return self._connected

    @property
    def connections(self) -> int:
        """How often the broker has accepted us: a new number means that it may have forgotten what it was given."""
        with self._changed:
            return self._connections

    @property
    def problem(self) -> DeviceError | None:
        """Why nothing gets through, as far as known: no connection, or one on which nothing is acknowledged."""
        with self._changed:
            return self._problem

    def check(self) -> None:
        """Raise what a handler raised, or what was lost on reconnection."""
        with self._changed:
            failure = self._failure
            ended = self._thread is not None and not self._thread.is_alive() and not self._closed
        if failure is not None:
            raise failure
        if ended:
            raise RuntimeError("the MQTT loop has ended")

    def wait(self, seconds: float) -> None:
        """Sleep, but raise as `check` does, and at once, when something fails."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure, seconds)
        self.check()

    def wait_connected(self, seconds: float) -> bool:
        """Sleep until connected, for so long at the most; the answer is `connected`."""
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._failure, seconds)
        self.check()
        return self.connected

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        expiry_s: int | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Send; with QoS 1, return only once the broker has it. DeviceError if it does not, or refuses.

        A retained payload is remembered, even if this fails, and sent again after each reconnection: by then the
        broker has published our last will in its place.
        """
        if retain:
            self._retained[topic] = payload
        packed = pack(expiry_s, properties or {})
        what = f"publishing on {topic}"
        self._check_caller()
        if qos == 0:
            with self._changed:
                self._check_connected(what)
            self._client.publish(topic, payload, qos, retain, packed)
            return
        answers = self._request(lambda: self._client.publish(topic, payload, qos, retain, packed).mid, what)
        self._raise_if_refused(answers, what)

    def subscribe(self, topic_filter: str, handler: Handler) -> None:
        """Receive with QoS 1 from now on, also after reconnections; DeviceError if the broker refuses."""
        self._handlers[topic_filter] = handler
        what = f"subscribing to {topic_filter}"
        self._check_caller()
        answers = self._request(lambda: self._client.subscribe(topic_filter, qos=1)[1] or 0, what)
        self._raise_if_refused(answers, what)

    def _check_caller(self) -> None:
        """Raise what `check` does, and for a call from a handler, which would wait for itself."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a handler must not publish or subscribe: it would wait for itself")
        self.check()

    def _check_connected(self, what: str) -> None:
        """DeviceError without a connection. The caller holds `_changed`."""
        if not self._connected:
            raise self._problem or self._lost(what)

    def _request(self, send: Callable[[], int], what: str) -> Sequence[ReasonCode]:
        """Send one packet and return the broker's reason codes; DeviceError if it gives none."""
        with self._one_request:
            with self._changed:
                self._check_connected(what)
                answers = self._answers = {}
            # Not under the condition: paho calls us back while it holds a lock that sending needs.
            message_id = send()
            with self._changed:
                self._changed.wait_for(lambda: message_id in answers or not self._connected, TIMEOUT_S)
                self._answers = None
                lost = None if message_id in answers else self._lost(what)
                if self._connected:
                    self._note(lost)
            if lost is not None:
                # The caller sends again if it wants to; paho must not do so as well.
                self._client.drop_out_messages()
                raise lost
            return answers[message_id]

    def _note(self, problem: DeviceError | None) -> None:
        """Say, once each time, that a connected broker no longer or again acknowledges. The caller holds `_changed`."""
        if problem is not None and self._problem is None:
            _LOG.warning("%s", problem)
        elif problem is None and self._problem is not None:
            _LOG.info("the broker at %s acknowledges again", self._broker)
        self._problem = problem

    def _lost(self, what: str) -> DeviceError:
        """The error for an answer that did not come."""
        return DeviceError(
            Reason.BROKER_UNREACHABLE,
            f"{what}: the broker at {self._broker} did not acknowledge",
            fix="check the connection; it is tried again by itself",
        )

    def _raise_if_refused(self, answers: Sequence[ReasonCode], what: str) -> None:
        """DeviceError for the first reason code that is an error."""
        for answer in answers:
            # A subscription granted with QoS 0 (Success is its name there) would lose messages unnoticed.
            downgraded = answer.packetType == PacketTypes.SUBACK and answer.value == 0
            if answer.is_failure or downgraded:
                why = "QoS 0 only" if downgraded else str(answer)
                raise DeviceError(
                    Reason.BROKER_REFUSED,
                    f"{what}: the broker at {self._broker} refuses ({why})",
                    fix="check what the broker's access list allows this certificate",
                )

    def _fail(self, error: Exception) -> None:
        """Keep the first failure of our own thread for whoever calls next."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    # Callbacks, on paho's thread.

    def _on_pre_connect(self, _client: Client, _userdata: object) -> None:
        with self._changed:
            self._thread = threading.current_thread()
            self._answered = False

    def _on_connect_fail(self, _client: Client, _userdata: object) -> None:
        # paho calls this while it handles the exception, and does not pass it on.
        error = sys.exc_info()[1]
        problem = explain(error if isinstance(error, OSError) else OSError(), self._broker)
        self._set_problem(problem)

    def _on_connect(
        self, client: Client, _userdata: object, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        with self._changed:
            self._answered = True
        if code.is_failure:
            fix = "check this client's id and certificate on the broker"
            text = f"the broker at {self._broker} refuses us ({code})"
            self._set_problem(DeviceError(Reason.BROKER_REFUSED, text, fix=fix))
            return
        restored: dict[int, str] = {}
        for topic_filter in list(self._handlers):
            message_id = client.subscribe(topic_filter, qos=1)[1]
            if message_id is not None:
                restored[message_id] = f"subscribing again to {topic_filter}"
        for topic, payload in list(self._retained.items()):
            restored[client.publish(topic, payload, qos=1, retain=True).mid] = f"publishing again on {topic}"
        with self._changed:
            self._restored = restored
            self._connected, self._problem = True, None
            self._connections += 1
            self._changed.notify_all()

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not self._answered:
            # TLS 1.3 tells a client only after its own handshake that the server did not like its certificate.
            problem = DeviceError(
                Reason.BROKER_REFUSED,
                f"the broker at {self._broker} closes the connection without an answer",
                fix=f"check that its CA issued {self._broker.tls.cert} and that this is still valid",
            )
        elif flags.is_disconnect_packet_from_server:
            problem = DeviceError(
                Reason.BROKER_UNREACHABLE,
                f"the broker at {self._broker} sent us away ({code})",
                fix="if it says 'Session taken over', two machines use one client id",
            )
        else:
            problem = explain(OSError("the connection was lost"), self._broker)
        self._set_problem(problem)

    def _set_problem(self, problem: DeviceError) -> None:
        with self._changed:
            self._connected, self._problem = False, problem
            self._changed.notify_all()

    def _on_publish(
        self, _client: Client, _userdata: object, message_id: int, code: ReasonCode, _properties: Properties
    ) -> None:
        self._take_answers(message_id, [code])

    def _on_subscribe(
        self, _client: Client, _userdata: object, message_id: int, codes: list[ReasonCode], _properties: Properties
    ) -> None:
        self._take_answers(message_id, codes)

    def _take_answers(self, message_id: int, codes: Sequence[ReasonCode]) -> None:
        with self._changed:
            what = self._restored.pop(message_id, None)
            if what is None:
                if self._answers is not None:  # paho reports what went out with QoS 0 as well
                    self._answers[message_id] = codes
                    self._changed.notify_all()
                return
        try:
            self._raise_if_refused(codes, what)
        except LfrEdgeError as error:
            if codes[0].packetType == PacketTypes.SUBACK:  # whoever listens must know that nothing comes any more
                self._fail(error)
            else:  # the broker goes on showing our last will in its place: wrong, but alerts still go out
                _LOG.warning("%s", error)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        try:
            incoming = unpack(message)
            for topic_filter, handler in list(self._handlers.items()):
                if topic_matches_sub(topic_filter, incoming.topic):
                    handler(incoming)
        except Exception as error:  # noqa: BLE001 - top of a thread: kept for whoever calls next, never swallowed
            self._fail(error)


def _without_delay(_client: Client, _userdata: object, connection: "SocketLike") -> None:
    """Send small packets at once: without it each acknowledged alert takes 44 ms (measured, 20 kB over TLS)."""
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
