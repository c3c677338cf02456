"""Where alerts and test passes go: the `AlertPublisher` port and its fake. Others stand with what they speak of."""

from datetime import datetime
from typing import Protocol

from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.match import SealedMatch


class AlertPublisher(Protocol):
    """The bus, as the sender sees it."""

    @property
    def connection(self) -> int:
        """Counts connections: another number means that the broker may have forgotten what it was given before."""
        ...

    def publish(self, sealed: SealedMatch, expires_at: datetime) -> None:
        """Return once the broker has taken it, on its kind's topic. DeviceError if not; the caller tries again."""
        ...


class FakePublisher:
    """Keeps what is published, or refuses as told."""

    def __init__(self) -> None:
        self.connection = 1
        self.reachable = True
        self.published: list[SealedMatch] = []

    def publish(self, sealed: SealedMatch, expires_at: datetime) -> None:
        """Take it."""
        del expires_at
        if not self.reachable:
            raise DeviceError(Reason.BROKER_UNREACHABLE, "the broker is away", fix="none needed: this is a test")
        self.published.append(sealed)
