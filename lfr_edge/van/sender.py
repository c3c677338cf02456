"""The sender: the one thread that takes alerts and test passes from the outbox to the broker, and notes that they left.

A test pass leaves when no alert is left to send. An entry follows the broker's acknowledgement, so that no alert waits
for its own. Killed in between, the van sends the alert again and notes it then; an alert has two entries only if it
left twice and the disk was full or the power gone.
"""

import logging
import threading
from collections.abc import Callable

from lfr_edge.audit.events import AlertSent, PassSent
from lfr_edge.clock import Clock
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.outbox import Outbox, Pending
from lfr_edge.pipeline.ports import AlertPublisher

_LOG = logging.getLogger(__name__)

# Between two tries while the broker is away, and the longest an expired row stays when nothing else happens.
_RETRY_S = 1.0

_ALERTS_FIRST: tuple[type[SealedMatch], ...] = (SealedAlert, SealedPass)


class Sender:
    """Publishes in order. What was not taken is tried again; after a reconnect everything unexpired is sent again.

    `note` gives an entry to the log, and says whether it is on the disk. `beside` sends what else there is, after the
    alerts, once a second at least.
    """

    def __init__(
        self,
        outbox: Outbox,
        publisher: AlertPublisher,
        clock: Clock,
        note: Callable[[AlertSent | PassSent], bool],
        beside: Callable[[], None] = lambda: None,
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._note = note
        self._beside = beside
        self._news = threading.Event()
        self._stop = threading.Event()
        # The outbox's sequence number up to which this connection has everything of a kind.
        self._sent = dict.fromkeys(_ALERTS_FIRST, 0)
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
            self.drain()
            self._beside()
            self._news.wait(_RETRY_S)  # also after a refusal: an alert waits for no test pass
        if not self.drain() and (left := self._next()) is not None:
            _LOG.warning("%s wait in the outbox for the next start", _plural(left))

    def drain(self) -> bool:
        """Publish everything this connection has not had; False if the broker did not take it."""
        if self._publisher.connection != self._connection:
            self._connection, self._sent = self._publisher.connection, dict.fromkeys(_ALERTS_FIRST, 0)
        while (pending := self._next()) is not None:
            try:
                self._publisher.publish(pending.sealed, pending.expires_at)
            except DeviceError as error:
                # That the broker is away, the bus says once; here is what it does not like.
                if error.reason is Reason.BROKER_REFUSED and not self._complained:
                    _LOG.warning("%s wait in the outbox: %s", _plural(pending), error)
                    self._complained = True
                return False
            if self._complained:
                _LOG.info("%s are sent again", _plural(pending))
            self._complained = False
            self._sent[type(pending.sealed)] = pending.sequence
            if pending.unlogged and self._note(_sent(pending)):
                self._outbox.logged(pending)
        return True

    def _next(self) -> Pending[SealedMatch] | None:
        """What is to leave next: looked for anew each time, so that an alert overtakes test passes."""
        found = (self._outbox.next_after(kind, self._sent[kind]) for kind in _ALERTS_FIRST)
        return next((pending for pending in found if pending is not None), None)


def _plural(pending: Pending[SealedMatch]) -> str:
    return "test passes" if isinstance(pending.sealed, SealedPass) else "alerts"


def _sent(pending: Pending[SealedMatch]) -> AlertSent | PassSent:
    """What the log says of it."""
    sealed, by = pending.sealed, "system:lfr-edge"
    if isinstance(sealed, SealedPass):
        why = "the recognition rate is measured with volunteers"
        return PassSent(by=by, why=why, test_pass=sealed.id, order=sealed.order, recipients=pending.unlogged)
    why = "an officer has to check the match"
    return AlertSent(by=by, why=why, alert=sealed.id, order=sealed.order, recipients=pending.unlogged)
