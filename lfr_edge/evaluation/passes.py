"""Alerts against the truth of a clip: who should have raised one, who did, when, and who should not have.

A pass is one person's way through the picture, from first to last appearance; who is gone for longer than a second
comes back as another pass, as for the tracker. A pass should be recognised if the person is on the list and is usable
(`truth.TrueFace`) for half a second in all. An alert is about the person whom its context picture shows; it is false
if that is not the person of its entry.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from lfr_edge.evaluation.intervals import most_events
from lfr_edge.evaluation.truth import GroundTruth

_GONE_S = 1.0
_USABLE_S = 0.5


@dataclass(frozen=True, slots=True)
class SeenAlert:
    """One alert of a run."""

    picture: int
    entry: str
    shows: str | None  # person; None if nobody who is there
    score: float
    faces: int  # samples fused


@dataclass(frozen=True, slots=True)
class Pass:
    """One person's way through the picture."""

    person: str
    listed: bool
    first_picture: int
    last_picture: int
    usable_s: float
    alerts: int  # right ones
    decided_after_s: float | None  # from the first usable sighting to the first alert; negative if before it

    @property
    def due(self) -> bool:
        """Whether an alert has to come."""
        return self.listed and self.usable_s >= _USABLE_S


@dataclass(frozen=True, slots=True)
class PassMeasures:
    """The passes of a clip in numbers. Faces are passes: people who walked by, as a force counts them."""

    passes: int
    due: int
    recognised: int  # of those due
    recognised_early: int  # listed, not due, and recognised
    repeated: int  # alerts beyond the first of a pass
    false_alerts: int
    hours: float  # of footage
    false_alerts_per_hour: float
    false_alerts_per_hour_at_most: float  # with 95 % confidence, if false alerts were independent of each other
    false_alerts_per_1000_faces: float
    false_alerts_per_1000_faces_at_most: float
    decided_after_s: tuple[float, ...]  # of every recognised pass that was ever usable, sorted
    decided_after_median_s: float | None


def passes_of(truth: GroundTruth, listed: set[str], alerts: Sequence[SeenAlert]) -> list[Pass]:
    """Every pass of the clip, in order of appearance."""
    appearances: dict[str, list[int]] = defaultdict(list)
    usable: dict[str, list[int]] = defaultdict(list)
    for picture, faces in enumerate(truth.pictures):
        for face in faces:
            appearances[face.person].append(picture)
            if face.usable:
                usable[face.person].append(picture)
    passes = []
    for person, pictures in appearances.items():
        for first, last in _without_gaps(pictures, round(_GONE_S * truth.fps)):
            clear = [picture for picture in usable[person] if first <= picture <= last]
            right = [
                alert.picture
                for alert in alerts
                if alert.shows == person == alert.entry and first <= alert.picture <= last
            ]
            after_s = (right[0] - clear[0]) / truth.fps if right and clear else None
            usable_s = len(clear) / truth.fps
            passes.append(Pass(person, person in listed, first, last, usable_s, len(right), after_s))
    return sorted(passes, key=lambda one: (one.first_picture, one.person))


def measure_passes(truth: GroundTruth, passes: Sequence[Pass], alerts: Sequence[SeenAlert]) -> PassMeasures:
    """Count. There must be passes."""
    hours = len(truth.pictures) / truth.fps / 3600
    due = [one for one in passes if one.due]
    wrong = sum(alert.shows != alert.entry for alert in alerts)
    times_s = sorted(one.decided_after_s for one in passes if one.decided_after_s is not None)
    return PassMeasures(
        passes=len(passes),
        due=len(due),
        recognised=sum(one.alerts > 0 for one in due),
        recognised_early=sum(one.alerts > 0 for one in passes if not one.due),
        repeated=sum(max(one.alerts - 1, 0) for one in passes),
        false_alerts=wrong,
        hours=hours,
        false_alerts_per_hour=wrong / hours,
        false_alerts_per_hour_at_most=most_events(wrong) / hours,
        false_alerts_per_1000_faces=1000 * wrong / len(passes),
        false_alerts_per_1000_faces_at_most=1000 * most_events(wrong) / len(passes),
        decided_after_s=tuple(times_s),
        decided_after_median_s=median(times_s) if times_s else None,
    )


def _without_gaps(pictures: Sequence[int], longest: int) -> list[tuple[int, int]]:
    """First and last of each run of picture numbers that are no more than `longest` apart."""
    ends = [before for before, after in pairwise(pictures) if after - before > longest]
    starts = [after for before, after in pairwise(pictures) if after - before > longest]
    return list(zip([pictures[0], *starts], [*ends, pictures[-1]], strict=True))
