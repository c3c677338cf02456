"""Where alerts go: the `AlertPublisher` port and its fake. The other ports stand with what they speak of."""

from datetime import datetime
from typing import Protocol

from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.alert import SealedAlert


class AlertPublisher(Protocol):
    """The bus, as the sender sees it."""

    @property
    def connection(self) -> int:
        """Counts connections: another number means that the broker may have forgotten what it was given before."""
        ...

    def publish(self, alert: SealedAlert, expires_at: datetime) -> None:
        """Return once the broker has taken the alert. DeviceError if it did not, or is away; the caller tries again."""
        ...


class FakePublisher:
    """Keeps what is published, or refuses as told."""

    def __init__(self) -> None:
        self.connection = 1
        self.reachable = True
        self.published: list[SealedAlert] = []

    def publish(self, alert: SealedAlert, expires_at: datetime) -> None:
        """Take the alert."""
        del expires_at
        if not self.reachable:
            raise DeviceError(Reason.BROKER_UNREACHABLE, "the broker is away", fix="none needed: this is a test")
        self.published.append(alert)
