"""What time it is, as far as this van may believe it. Pure; reading the clocks is `clocks`.

Three witnesses: the wall clock, the boot clock (which nobody sets, and which dies with a boot), and a mark on disk: the
latest time that was ever remembered. Time never passes more slowly than the boot clock says, so that no clock that is
set back or stopped makes a deployment longer; and a wall clock that disagrees with both is doubted, which blinds the
van until it is right again, but ends nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from lfr_edge.errors import Reason
from lfr_edge.messages.fields import Message, Text, UtcTime

TOLERANCE = timedelta(seconds=30)
"""More than a quartz drifts in a day, less than what a time daemon puts right in one step."""

_FLOOR = datetime(2026, 1, 1, tzinfo=timezone.utc)  # no van runs this software earlier


@dataclass(frozen=True, slots=True)
class Reading:
    """All clocks at one moment."""

    wall: datetime
    boot_s: float  # since this boot, sleep included
    boot_id: str
    synchronised: bool  # does the system say that its wall clock follows a time source


class Anchor(Message):
    """What is remembered of time, on disk."""

    mark: UtcTime
    """No earlier than this: the latest time that was believed and remembered, carried on by the boot clock."""
    boot_id: Text
    boot_s: float
    """The boot clock when it was the mark."""
    synchronised: bool
    """Was a synchronised wall clock believed in this boot: from then on it may not run ahead of the boot clock."""


@dataclass(frozen=True, slots=True)
class Time:
    """What follows from the clocks."""

    no_earlier: datetime
    """Certain: so much time has passed at least."""
    doubt: Reason | None
    """Why the wall clock is not believed; without a doubt, it is `no_earlier` now."""
    anchor: Anchor


def recovered(at: datetime, asked: Reading, now: Reading) -> Anchor:
    """The anchor after a statement of the time, which was signed between two readings of one boot.

    The latest time that it can be now: what was asked for first, and signed at once, is as old as the question.
    """
    if asked.boot_id != now.boot_id:
        raise RuntimeError("a statement does not outlive a boot")
    mark = at + timedelta(seconds=now.boot_s - asked.boot_s)
    return Anchor(mark=mark, boot_id=now.boot_id, boot_s=now.boot_s, synchronised=True)


def believe(
    anchor: Anchor | None, reading: Reading, *, latest: datetime | None = None, waive_synchronisation: bool = False
) -> Time:
    """Judge the clocks; with no anchor, this is the first time the van ever starts.

    What is believed is remembered only if the system calls it synchronised, and never beyond `latest`: the end of the
    order in hand, which people signed. Without an order there is nothing to say which leap is sound.
    """
    if anchor is None:
        anchor = Anchor(mark=_FLOOR, boot_id="none", boot_s=0.0, synchronised=False)
    same_boot = anchor.boot_id == reading.boot_id
    # The mark is older than a later boot: all of that boot has passed since.
    passed_s = reading.boot_s - anchor.boot_s if same_boot else reading.boot_s
    certain = anchor.mark + timedelta(seconds=max(passed_s, 0))
    bound = same_boot and anchor.synchronised
    doubt: Reason | None = None
    if reading.wall < certain - TOLERANCE:
        doubt = Reason.CLOCK_BEHIND
    elif bound and reading.wall > certain + TOLERANCE:
        doubt = Reason.CLOCK_AHEAD
    elif not reading.synchronised and not waive_synchronisation:
        doubt = Reason.CLOCK_UNSYNCHRONISED
    no_earlier = certain if doubt else max(certain, reading.wall)
    mark = certain
    if doubt is None and reading.synchronised:
        if bound:
            mark = no_earlier
        elif latest is not None:
            mark = max(certain, min(no_earlier, latest))
            bound = mark == no_earlier
    moved = Anchor(mark=mark, boot_id=reading.boot_id, boot_s=reading.boot_s, synchronised=bound)
    return Time(no_earlier, doubt, moved)
