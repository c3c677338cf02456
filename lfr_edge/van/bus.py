"""What this van says on the bus: alerts, test passes, its status with a last will, and aggregates once a second."""

import logging
import math
import threading
from contextlib import suppress
from datetime import datetime

from lfr_edge.clock import Clock
from lfr_edge.config import BrokerConfig
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.status import Health, Status
from lfr_edge.messages.topics import Channel, Topic
from lfr_edge.transport.mqtt import MqttSession, Retained
from lfr_edge.transport.sealed import publish_sealed
from lfr_edge.transport.tls import Broker, TlsFiles
from lfr_edge.van.authority import Authority
from lfr_edge.van.commands import Commands

_LOG = logging.getLogger(__name__)

_PATIENCE_NS = 2_000_000_000  # before the log says that there is no broker
_CHECKPOINT_EVERY_NS = 60_000_000_000  # a live van's log may grow every second (decision 0018)


class Bus:
    """An `AlertPublisher`, and the van's voice. Connects in the background: a van works on without its broker."""

    def __init__(
        self, config: BrokerConfig, force: str, status: Status, clock: Clock, authority: Authority | None = None
    ) -> None:
        """`status` is the first one; when we vanish, the broker publishes it as `offline`, without a checkpoint."""
        self._authority = authority
        self._listening = False
        self._clock = clock
        self._saying = threading.Lock()  # a status is said before the next one is made: the newest is the retained one
        self._status = status
        self._force = force
        self._connected: bool | None = None  # as last said in the log
        self._started_ns = 0
        self._checkpoint_said_ns = clock.monotonic_ns()
        self._session = MqttSession(
            Broker(config.host, config.port, TlsFiles(config.ca, config.certificate, config.key)),
            status.van,
            will=Retained(self._topic(Channel.STATUS), self._changed_to("offline").to_json()),
        )

    def start(self) -> None:
        """Connect in the background, and go on trying: nobody waits for a broker."""
        self._started_ns = self._clock.monotonic_ns()
        self._session.start()

    @property
    def connection(self) -> int:
        """See `AlertPublisher`."""
        return self._session.connections

    def publish(self, sealed: SealedMatch, expires_at: datetime) -> None:
        """See `AlertPublisher`."""
        left_s = math.ceil((expires_at - self._clock.utc()).total_seconds())
        publish_sealed(self._session, sealed, expiry_s=max(left_s, 1))

    def announce(self, state: str, *, blind: str | None = None, order: str | None = None) -> None:
        """Publish the van's new state, now or with the next connection; `blind` is why it does not see.

        `order` is the one that holds, if that is another one now. Thread-safe.
        """
        with self._saying:
            if order is not None:
                self._status = self._status.model_copy(update={"order": order})
            self._status = self._changed_to(state, blind).model_copy(update={"checkpoint": self._checkpoint()})
            self._checkpoint_said_ns = self._clock.monotonic_ns()
            self._say_status()

    def _say_status(self) -> None:
        try:
            self._session.publish(self._topic(Channel.STATUS), self._status.to_json(), qos=1, retain=True)
        except DeviceError as error:
            # While the broker is away, the session keeps the status, and says it when the broker is back.
            if error.reason is Reason.BROKER_REFUSED and self._connected:
                _LOG.warning("the control room does not see this van: %s", error)

    def publish_receipt(self, receipt: bytes) -> None:
        """Hand an erasure receipt to the broker; DeviceError if it does not take it."""
        self._session.publish(self._topic(Channel.ERASURE), receipt, qos=1)

    def report(self, health: Health) -> None:
        """Publish aggregates; of interest only now.

        Takes the occasion to listen for commands, to answer them, and to say how far the log has grown.
        """
        self._notice_connection()
        commands = self._authority.commands if self._authority is not None else None
        if commands is not None and self._session.connected:
            with suppress(DeviceError):  # with the next report then
                self._listen_and_answer(commands)
        with suppress(DeviceError):
            self._session.publish(self._topic(Channel.HEALTH), health.to_json(), qos=0)
            self._say_checkpoint(_CHECKPOINT_EVERY_NS)

    def _say_checkpoint(self, apart_ns: int) -> None:
        """Say a newer checkpoint, if the last one was said so long ago.

        With QoS 0: whoever reports must not wait for a broker that hangs, because nobody else asks whether the van may
        still see. What is lost with a connection is said again with the next one.
        """
        if not self._saying.acquire(blocking=False):
            return  # whoever announces says the newest
        try:
            now_ns, checkpoint = self._clock.monotonic_ns(), self._checkpoint()
            if checkpoint == self._status.checkpoint or now_ns - self._checkpoint_said_ns < apart_ns:
                return
            self._checkpoint_said_ns = now_ns
            self._status = self._status.model_copy(update={"checkpoint": checkpoint})
            self._session.publish(self._topic(Channel.STATUS), self._status.to_json(), qos=0, retain=True)
        finally:
            self._saying.release()

    def _checkpoint(self) -> str | None:
        note = self._authority.checkpoint if self._authority is not None else None
        return None if note is None else note.decode()

    def _listen_and_answer(self, commands: Commands) -> None:
        if not self._listening:
            self._session.subscribe(self._topic(Channel.COMMAND), lambda incoming: commands.receive(incoming.payload))
            self._listening = True
        while (answer := commands.next_answer()) is not None:
            self._session.publish(self._topic(Channel.COMMAND_RESULT), answer.to_json(), qos=1)
            commands.answered(answer)

    def close(self) -> None:
        """Leave in good order: the last status stays, with the newest checkpoint; no last will is sent."""
        with suppress(DeviceError):
            self._say_checkpoint(0)
        self._session.close()

    def _notice_connection(self) -> None:
        """Say in the log, once each time, that the broker is away or back."""
        connected = self._session.connected
        early = self._connected is None and self._clock.monotonic_ns() - self._started_ns < _PATIENCE_NS
        if connected is self._connected or (early and not connected):
            return
        self._connected = connected
        if connected:
            _LOG.info("connected to the broker")
        else:
            _LOG.warning("no broker: %s; alerts wait in the outbox", self._session.problem or "no answer")

    def _changed_to(self, state: str, blind: str | None = None) -> Status:
        changes = {"state": state, "since": self._clock.utc(), "blind": blind}
        return Status.model_validate({**self._status.model_dump(), **changes})

    def _topic(self, channel: Channel) -> str:
        return str(Topic(self._force, self._status.van, channel))
