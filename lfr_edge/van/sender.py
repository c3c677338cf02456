"""The alert sender: the one thread that takes alerts from the outbox to the broker, and notes that they left.

An entry follows the broker's acknowledgement, so that no alert waits for its own. Killed in between, the van sends the
alert again and notes it then; an alert has two entries only if it left twice and the disk was full or the power gone.
"""

import logging
import threading
from collections.abc import Callable

from lfr_edge.audit.events import AlertSent
from lfr_edge.clock import Clock
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.pipeline.outbox import Outbox, Pending
from lfr_edge.pipeline.ports import AlertPublisher

_LOG = logging.getLogger(__name__)

# Between two tries while the broker is away, and the longest an expired row stays when nothing else happens.
_RETRY_S = 1.0


class Sender:
    """Publishes in order. What was not taken is tried again; after a reconnect everything unexpired is sent again.

    `note` gives an entry to the log, and says whether it is on the disk.
    """

    def __init__(
        self, outbox: Outbox, publisher: AlertPublisher, clock: Clock, note: Callable[[AlertSent], bool]
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._note = note
        self._news = threading.Event()
        self._stop = threading.Event()
        self._sent = 0  # the outbox's sequence number up to which this connection has everything
        self._connection = 0
        self._complained = False

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._news.set()

    def stop(self) -> None:
        """End after the try that is under way; what is left stays in the outbox."""
        self._stop.set()
        self._news.set()

    def run(self) -> None:
        """Send until told to stop, then what is left, if the broker takes it."""
        while not self._stop.is_set():
            self._news.clear()
            self._outbox.expire(self._clock.utc())
            if not self.drain():
                self._stop.wait(_RETRY_S)
            else:
                self._news.wait(_RETRY_S)
        if not self.drain():
            _LOG.warning("alerts wait in the outbox for the next start")

    def drain(self) -> bool:
        """Publish everything this connection has not had; False if the broker did not take it."""
        if self._publisher.connection != self._connection:
            self._connection, self._sent = self._publisher.connection, 0
        while (pending := self._outbox.next_after(self._sent)) is not None:
            try:
                self._publisher.publish(pending.alert, pending.expires_at)
            except DeviceError as error:
                # That the broker is away, the bus says once; here is what it does not like about an alert.
                if error.reason is Reason.BROKER_REFUSED and not self._complained:
                    _LOG.warning("alerts wait in the outbox: %s", error)
                    self._complained = True
                return False
            if self._complained:
                _LOG.info("alerts are sent again")
            self._complained = False
            self._sent = pending.sequence
            if pending.unlogged and self._note(_sent(pending)):
                self._outbox.logged(pending.sequence)
        return True


def _sent(pending: Pending) -> AlertSent:
    """What the log says of it."""
    alert = pending.alert
    return AlertSent(
        by="system:lfr-edge",
        why="an officer has to check the match",
        alert=alert.id,
        order=alert.order,
        recipients=pending.unlogged,
    )
