"""Time as a port: wall clock for people and deadlines, monotonic clock for durations."""

import time
from datetime import datetime, timedelta, timezone
from typing import Protocol


class Clock(Protocol):
    """What the system may ask about time."""

    def utc(self) -> datetime:
        """Wall clock, timezone-aware UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary start that never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def utc(self) -> datetime:
        """Wall clock, timezone-aware UTC."""
        return datetime.now(timezone.utc)

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC in nanoseconds."""
        return time.monotonic_ns()


class ManualClock:
    """A clock that moves only when a test tells it to."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)) -> None:
        self._utc = start
        self._monotonic_ns = 1_000_000_000

    def utc(self) -> datetime:
        """The time last set."""
        return self._utc

    def monotonic_ns(self) -> int:
        """The nanoseconds last set."""
        return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._utc += timedelta(seconds=seconds)
        self._monotonic_ns += round(seconds * 1e9)
