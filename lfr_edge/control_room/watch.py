"""A passive view of alerts and test passes: verified, opened, each shown once. It acknowledges nothing, keeps nothing.

How what is shown looks is `display`'s business, keeping pictures is `saving`'s.
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
from lfr_edge.messages.volunteer_pass import VolunteerPass, open_pass
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming
from lfr_edge.transport.sealed import receive_alert, receive_pass

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
class ReceivedPass:
    """A genuine test pass: a volunteer was recognised. Nobody is to do anything."""

    volunteer_pass: VolunteerPass
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that came as an alert or a test pass and is none. Its content is not here: nobody vouches for it."""

    reason: Reason
    message: str
    received_at: datetime


Event = ReceivedAlert | ReceivedPass | Refused


class Watch:
    """Turns messages into what a person may see; `show` gets each alert and test pass once, and each refusal.

    `van_keys` maps the ids of our vans to their public keys. The counts are for the end of the watch.
    """

    def __init__(
        self,
        identity: SealIdentity,
        van_keys: Mapping[str, VerifyKey],
        show: Callable[[Event], None],
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._van_keys = van_keys
        self._show = show
        self._clock = clock
        # Ids of genuine ones only: a stranger cannot make these grow.
        self._alerts: set[str] = set()
        self._passes: set[str] = set()
        self.refused = 0
        self.repeated = 0

    @property
    def shown(self) -> int:
        """Genuine alerts so far, repetitions not counted."""
        return len(self._alerts)

    @property
    def test_passes(self) -> int:
        """Genuine test passes so far, repetitions not counted."""
        return len(self._passes)

    def subscribe(self, session: MqttSession, *, force: str | None = None) -> None:
        """Receive the alerts and test passes of one force, or of all that the broker lets us read."""
        session.subscribe(topic_filter(Channel.ALERT, force=force), self.receive)
        session.subscribe(topic_filter(Channel.TEST_PASS, force=force), self.receive_pass)

    def receive(self, untrusted: Incoming) -> None:
        """Check one message of the alerts' topic and show what it is."""
        now = self._clock.utc()
        try:
            alert = open_alert(receive_alert(untrusted), self._identity, self._van_keys, now=now)
        except UntrustedInputError as error:
            self._refuse(error, now)
            return
        historical = now - alert.captured_at > HISTORICAL_AFTER
        self._show_once(ReceivedAlert(alert, now, historical=historical), alert.id, self._alerts)

    def receive_pass(self, untrusted: Incoming) -> None:
        """Check one message of the test passes' topic and show what it is."""
        now = self._clock.utc()
        try:
            passed = open_pass(receive_pass(untrusted), self._identity, self._van_keys, now=now)
        except UntrustedInputError as error:
            self._refuse(error, now)
            return
        self._show_once(ReceivedPass(passed, now), passed.id, self._passes)

    def _refuse(self, error: UntrustedInputError, now: datetime) -> None:
        self.refused += 1
        self._show(Refused(error.reason, error.message, now))

    def _show_once(self, event: Event, match_id: str, shown: set[str]) -> None:
        if match_id in shown:
            self.repeated += 1
            return
        self._show(event)
        shown.add(match_id)
