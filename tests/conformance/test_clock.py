"""Every clock keeps the port's promises."""

from datetime import timedelta

import pytest

from lfr_edge.clock import Clock, ManualClock, SystemClock


@pytest.fixture(params=[SystemClock, ManualClock], ids=["system", "manual"])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def test_wall_time_is_utc(clock: Clock) -> None:
    assert clock.utc().utcoffset() == timedelta(0)


def test_monotonic_time_never_goes_back(clock: Clock) -> None:
    readings = [clock.monotonic_ns() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_manual_clock_moves_both_times_together() -> None:
    clock = ManualClock()
    wall, monotonic_ns = clock.utc(), clock.monotonic_ns()
    clock.advance(1.5)
    assert clock.utc() - wall == timedelta(seconds=1.5)
    assert clock.monotonic_ns() - monotonic_ns == 1_500_000_000
