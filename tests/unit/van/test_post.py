"""What a blind van says of itself, and when it says it again."""

from datetime import datetime, timezone

import pytest

from lfr_edge.clock import ManualClock
from lfr_edge.errors import Reason
from lfr_edge.van.post import Post


class NotedBus:
    """What was announced."""

    def __init__(self) -> None:
        self.announced: list[tuple[str, str | None]] = []

    def announce(self, state: str, blind: str | None) -> None:
        self.announced.append((state, blind))


def test_the_bus_hears_of_another_first_reason_and_the_log_of_any(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bus, clock = NotedBus(), ManualClock(datetime(2026, 6, 20, tzinfo=timezone.utc))
    post = Post.__new__(Post)  # its broker, outbox and sender are not asked for anything
    post.__dict__ |= {"_bus": bus, "_clock": clock, "_reported_ns": clock.monotonic_ns()}
    post.__dict__ |= {"_logged": None, "_announced": None}
    doubt, locked = Reason.CLOCK_BEHIND, Reason.UNLOCK_REQUIRED
    for blind in ((doubt, locked), (doubt, locked), (doubt,), (locked,), ()):
        post.say("armed", blind)
    assert bus.announced == [("armed", "clock-behind"), ("armed", "unlock-required"), ("armed", None)]
    assert [record.getMessage() for record in caplog.records] == [
        "armed, blind: clock-behind, unlock-required",
        "armed, blind: clock-behind",
        "armed, blind: unlock-required",
        "armed, blind: not yet decided",
    ]
