"""The wall clock is believed as far as boot clock and mark agree; time never passes more slowly than the boot clock."""

from datetime import datetime, timedelta, timezone

import pytest

from lfr_edge.errors import Reason
from lfr_edge.van.clocks import SystemClocks
from lfr_edge.van.trusted_time import TOLERANCE, Anchor, Reading, believe, recovered

NOON = datetime(2026, 6, 20, 12, tzinfo=timezone.utc)
YEAR = timedelta(days=365)
HOUR = timedelta(hours=1)
ANCHOR = Anchor(mark=NOON, boot_id="boot-1", boot_s=100.0, synchronised=True)


def reading(wall: datetime, boot_s: float, boot_id: str = "boot-1", *, synchronised: bool = True) -> Reading:
    return Reading(wall, boot_s, boot_id, synchronised)


def test_clocks_that_agree_are_believed_and_move_the_mark() -> None:
    time = believe(ANCHOR, reading(NOON + HOUR, 3700))
    assert (time.doubt, time.no_earlier, time.anchor.mark) == (None, NOON + HOUR, NOON + HOUR)


@pytest.mark.parametrize("jump", [YEAR, HOUR, TOLERANCE * 2])
def test_a_jump_ahead_of_the_boot_clock_is_doubted_and_does_not_move_the_mark(jump: timedelta) -> None:
    time = believe(ANCHOR, reading(NOON + jump, 101))
    assert (time.doubt, time.anchor.mark) == (Reason.CLOCK_AHEAD, NOON + timedelta(seconds=1))
    assert believe(time.anchor, reading(NOON + timedelta(seconds=9), 109)).doubt is None, "put right, it is believed"


@pytest.mark.parametrize("jump", [YEAR, HOUR, TOLERANCE * 2])
@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
def test_a_jump_back_is_doubted_and_time_goes_on(jump: timedelta, boot_id: str) -> None:
    time = believe(ANCHOR, reading(NOON - jump, 160, boot_id))
    passed_s = 60 if boot_id == "boot-1" else 160
    assert (time.doubt, time.no_earlier) == (Reason.CLOCK_BEHIND, NOON + timedelta(seconds=passed_s))


def test_a_stopped_wall_clock_does_not_stop_time() -> None:
    assert believe(ANCHOR, reading(NOON, 100 + 86_400)).no_earlier == NOON + timedelta(days=1)


def test_after_another_boot_a_synchronised_clock_is_believed_however_long_the_van_was_off() -> None:
    time = believe(ANCHOR, reading(NOON + 5 * HOUR, 12, "boot-2"))
    assert (time.doubt, time.no_earlier) == (None, NOON + 5 * HOUR)


def test_the_first_synchronisation_of_a_boot_may_step_the_clock() -> None:
    early = believe(ANCHOR, reading(NOON + timedelta(minutes=1), 10, "boot-2", synchronised=False))
    assert early.doubt is Reason.CLOCK_UNSYNCHRONISED
    assert believe(early.anchor, reading(NOON + HOUR, 20, "boot-2")).doubt is None


def test_without_synchronisation_the_clock_is_doubted_unless_waived() -> None:
    unsynchronised = reading(NOON + timedelta(seconds=5), 105, synchronised=False)
    assert believe(ANCHOR, unsynchronised).doubt is Reason.CLOCK_UNSYNCHRONISED
    assert believe(ANCHOR, unsynchronised, waive_synchronisation=True).doubt is None


@pytest.mark.parametrize("wall", [datetime(1970, 1, 1, tzinfo=timezone.utc), NOON + 50 * YEAR])
def test_nonsense_at_the_first_start_is_not_remembered(wall: datetime) -> None:
    time = believe(None, reading(wall, 10, synchronised=False))
    assert time.doubt is not None
    assert believe(time.anchor, reading(NOON, 20)).doubt is None


@pytest.mark.parametrize(("latest", "mark"), [(None, NOON), (NOON + HOUR, NOON + HOUR), (NOON - HOUR, NOON)])
def test_one_leap_moves_the_mark_no_further_than_an_order_in_hand_lasts(
    latest: datetime | None, mark: datetime
) -> None:
    leap = believe(ANCHOR, reading(NOON + 20 * YEAR, 0, "boot-2"), latest=latest)
    assert (leap.doubt, leap.no_earlier, leap.anchor.mark) == (None, NOON + 20 * YEAR, mark)
    later = believe(leap.anchor, reading(NOON + 2 * HOUR, 60, "boot-2"), latest=NOON + 6 * HOUR)
    assert (later.doubt, later.anchor.mark) == (None, NOON + 2 * HOUR), "put right, it is believed and remembered"


def test_an_unsynchronised_clock_moves_no_mark_where_it_is_believed() -> None:
    unsynchronised = reading(NOON + 20 * YEAR, 10, "boot-2", synchronised=False)
    time = believe(ANCHOR, unsynchronised, latest=NOON + 20 * YEAR, waive_synchronisation=True)
    assert (time.doubt, time.no_earlier) == (None, NOON + 20 * YEAR)
    assert (time.anchor.mark, time.anchor.synchronised) == (NOON + timedelta(seconds=10), False)


def test_after_a_statement_of_the_time_the_clock_must_agree_with_it() -> None:
    poisoned = believe(ANCHOR, reading(NOON + YEAR, 12, "boot-2"), latest=NOON + YEAR).anchor
    assert believe(poisoned, reading(NOON + HOUR, 20, "boot-2")).doubt is Reason.CLOCK_BEHIND
    asked, now = reading(NOON + HOUR, 30, "boot-2"), reading(NOON + HOUR, 90, "boot-2")
    anchor = recovered(NOON + HOUR, asked, now)
    assert anchor.mark == NOON + HOUR + timedelta(seconds=60)
    assert believe(anchor, reading(NOON + HOUR + timedelta(seconds=70), 100, "boot-2")).doubt is None
    assert believe(anchor, reading(NOON + YEAR, 100, "boot-2")).doubt is Reason.CLOCK_AHEAD


def test_the_machines_clocks_can_be_read() -> None:
    first, second = SystemClocks().read(), SystemClocks().read()
    assert first.boot_id == second.boot_id
    assert 0 < first.boot_s <= second.boot_s
