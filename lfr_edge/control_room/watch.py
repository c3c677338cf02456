"""A passive view of alerts: verified, opened, each shown once. It acknowledges nothing and keeps nothing.

How a shown alert looks is `display`'s business, keeping pictures is `saving`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lfr_edge.clock import Clock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.alert import Alert, open_alert
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.transport.alerts import receive_alert
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming

HISTORICAL_AFTER = timedelta(seconds=60)
"""By then the person has walked on: nobody should be sent after an alert that is older."""

CLOCKS_AGREE_WITHIN = timedelta(seconds=5)
"""Both sides keep NTP time; a van further ahead would pass off an old alert as a fresh one."""


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """A genuine alert; `historical` comes from its signed time, not from when it was delivered."""

    alert: Alert
    received_at: datetime
    historical: bool

    @property
    def clock_ahead(self) -> bool:
        """Whether it was taken later than now: then the van's clock, or ours, is wrong, and so is every age."""
        return self.alert.captured_at - self.received_at > CLOCKS_AGREE_WITHIN


@dataclass(frozen=True, slots=True)
class RefusedAlert:
    """Something that came as an alert and is none. Its content is not here, because nobody vouches for it."""

    reason: Reason
    message: str
    received_at: datetime


class Watch:
    """Turns messages into what a person may see; `show` gets each alert once, and each refusal.

    `van_keys` maps the ids of our vans to their public keys. The counts are for the end of the watch.
    """

    def __init__(
        self,
        identity: SealIdentity,
        van_keys: Mapping[str, VerifyKey],
        show: Callable[[ReceivedAlert | RefusedAlert], None],
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._van_keys = van_keys
        self._show = show
        self._clock = clock
        self._shown: set[str] = set()  # ids of genuine alerts only: a stranger cannot make it grow
        self.refused = 0
        self.repeated = 0

    @property
    def shown(self) -> int:
        """Genuine alerts so far, repetitions not counted."""
        return len(self._shown)

    def subscribe(self, session: MqttSession, *, force: str | None = None) -> None:
        """Receive the alerts of one force, or of all that the broker lets us read."""
        session.subscribe(topic_filter(Channel.ALERT, force=force), self.receive)

    def receive(self, untrusted: Incoming) -> None:
        """Check one message and show what it is."""
        now = self._clock.utc()
        try:
            alert = open_alert(receive_alert(untrusted), self._identity, self._van_keys, now=now)
        except UntrustedInputError as error:
            self.refused += 1
            self._show(RefusedAlert(error.reason, error.message, now))
            return
        if alert.id in self._shown:
            self.repeated += 1
            return
        self._show(ReceivedAlert(alert, now, historical=now - alert.captured_at > HISTORICAL_AFTER))
        self._shown.add(alert.id)
