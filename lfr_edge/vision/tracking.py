"""Who is who from picture to picture, by place and motion alone: no pixels, no features.

Theory of operation. Every track predicts its place at constant velocity. Pairs of a track and a detection that are
near enough are taken by cost, cheapest first. What is left over among the detections is a track to be; it is reported
once it was seen `confirm_after` times, so that a single false detection never is one; if its size jumps, as no face's
does, it has to be steady for a while first. Where one detection is left for two tracks that it fits almost alike, one
person hides the other: it moves the track that it fits best, but it is not reported, so that nobody's features are
fused with somebody else's face. A track that is not seen coasts for `lost_after_s`; none lives longer than
`longest_s`, then its person goes on as a new track (the retention table's row `track`). Distances are in face sizes
and times in seconds, so that nothing depends on the frame rate. The order of the detections does not matter.

Where somebody disappears and somebody else appears at the place where the first was expected, geometry cannot tell:
who looks at the faces calls `split`.

Compared with ByteTrack, OC-SORT, buffered IoU and norfair: docs/recognition.md. Taking the cheapest pairs first was
better than the assignment of least total cost: 248 switches against 275 (about 480 generated people, 5 pictures/s).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box

_NS_PER_S = 1_000_000_000

# A face is about 0.16 m wide: a runner does 25 of its widths in a second, and a walker turns within half a second.
_REACH_AT_REST = 0.6  # face sizes: detector jitter, and nodding
_REACH_NEW_PER_S = 15.0  # face sizes per second while the velocity is unknown
_REACH_KNOWN_PER_S = 1.0  # the same once it is known
_LARGEST_SCALE_CHANGE = 1.5  # between two sightings; 1.34 was the largest of 3,030 on the street clip
# In the cost: a tenth larger is as unlikely as a fifth of a face farther away. On generated streets that this was not
# chosen on, 475 people, 5 pictures/s: 218 switches and 33 mixed tracks; with 1.0, and 1.8 above, 233 and 40.
_SCALE_WEIGHT = 2.0
_VELOCITY_SETTLES_S = 0.12  # time constant of the velocity estimate
_LEAST_INTERVAL_S = 0.03  # of the first estimate: pictures closer together may have been held up, and show more motion
_CONTESTED = 0.4  # cost; two faces that are both detected are no nearer than this (suppression at an overlap of .45)
# Faces keep their size from picture to picture: 99 of 100 within 1.12 on the street clip, within 1.05 on the signers'.
# What a detector takes for a face may not: the clip's longest false one changed by 1.24, 1.34, 1.31, 1.12, 1.35, 1.08.
_STEADY_SCALE = 1.15
_STEADY_SCALE_PER_S = 0.5  # logarithm: towards the camera, from 3 m, at walking speed
_STEADY_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class TrackerLimits:
    """How long a track lives, and how often it is seen before it counts."""

    lost_after_s: float = 1.0
    longest_s: float = 10.0
    confirm_after: int = 2


@dataclass(frozen=True, slots=True)
class TrackerStep:
    """What one picture did: detections of confirmed tracks, and the confirmed tracks that are over."""

    matched: list[tuple[int, Detection]]
    ended: list[int]


class Tracker:
    """The tracks of one camera. Ids count up from 1 and are never used again."""

    def __init__(self, limits: TrackerLimits) -> None:
        self._limits = limits
        self._tracks: list[_Track] = []
        self._last_id = 0

    def update(self, detections: Sequence[Detection], now_ns: int, *, glance: bool = False) -> TrackerStep:
        """Take the detections of the picture captured at `now_ns` (monotonic).

        What was found at a glance moves tracks, and neither begins nor confirms one.
        """
        ended = self.expire(now_ns)
        matched = []
        free = sorted(detections, key=lambda detection: (_centre(detection.box_px).real, detection.box_px))
        for track, detection, contested in self._pairs(free, now_ns):
            free.remove(detection)
            track.see(detection.box_px, now_ns)
            track.is_confirmed |= not glance and track.is_steady(self._limits.confirm_after)
            if track.is_confirmed and not contested:
                track.is_reported = True
                matched.append((track.track_id, detection))
        if not glance:
            self._tracks.extend(_Track(self._next_id(), detection.box_px, now_ns) for detection in free)
        return TrackerStep(matched, ended)

    def expire(self, now_ns: int) -> list[int]:
        """End what was not seen for too long or lives too long; call it too when no picture comes.

        The ids that were reported before and are over. Who is still in view goes on under a new id.
        """
        ended = []
        for track in tuple(self._tracks):
            lost = now_ns - track.seen_ns > self._limits.lost_after_s * _NS_PER_S
            old = now_ns - track.born_ns > self._limits.longest_s * _NS_PER_S
            if (lost or old) and track.is_reported:
                ended.append(track.track_id)
            if lost:
                self._tracks.remove(track)
            elif old:
                track.begin_again(self._next_id(), now_ns)
        return ended

    def split(self, track_id: int) -> int:
        """The face last reported for this track is somebody else's: its new id. The old one is over.

        The old id is not among `ended` later: whoever calls this ends it. RuntimeError if no such track was reported.
        """
        for track in self._tracks:
            if track.track_id == track_id and track.is_reported:
                track.begin_again(self._next_id(), track.seen_ns)
                track.is_reported = True
                track.forget_velocity()
                return track.track_id
        raise RuntimeError(f"there is no track {track_id} to split")

    def _pairs(self, detections: Sequence[Detection], now_ns: int) -> list[tuple["_Track", Detection, bool]]:
        """Tracks, the detections they go on with, cheapest pair first, and whether another track contests that.

        `detections` are sorted by the x of their centres.
        """
        costs = sorted(self._possible(detections, now_ns))
        pairs: dict[int, int] = {}
        limits: dict[int, float] = {}  # by detection: up to which cost it is contested
        for cost, place, index in costs:
            if place not in pairs and index not in limits:
                pairs[place] = index
                limits[index] = cost + _CONTESTED
        contested = {
            index
            for cost, place, index in costs
            if place not in pairs and cost < limits[index] and self._tracks[place].is_confirmed
        }
        return [(self._tracks[place], detections[index], index in contested) for place, index in pairs.items()]

    def _possible(self, detections: Sequence[Detection], now_ns: int) -> Iterator[tuple[float, int, int]]:
        """Cost, place of the track, index of the detection; only of those that can be the same face.

        A crowd has many pairs and few that are near: the others are not looked at.
        """
        centres_x = [_centre(detection.box_px).real for detection in detections]
        for place, track in enumerate(self._tracks):
            guess = track.guess(now_ns)
            farthest_px = guess.reach * _LARGEST_SCALE_CHANGE * guess.size_px
            first = bisect_left(centres_x, guess.where.real - farthest_px)
            end = bisect_right(centres_x, guess.where.real + farthest_px)
            for index in range(first, end):
                cost = guess.cost(detections[index].box_px)
                if cost is not None:
                    yield cost, place, index

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


@dataclass(frozen=True, slots=True)
class _Guess:
    """Where a track is expected, how large, and how many face sizes it may be off."""

    where: complex
    size_px: float
    reach: float

    def cost(self, box: Box) -> float | None:
        """How badly the box fits, in face sizes; None if it cannot be the same face."""
        size_px = _size_px(box)
        if not (0 < size_px < math.inf and 0 < self.size_px < math.inf):
            return None
        scale_change = max(size_px / self.size_px, self.size_px / size_px)
        off = _centre(box) - self.where
        distance = math.hypot(off.real, off.imag) / max(size_px, self.size_px)
        if distance <= self.reach and scale_change <= _LARGEST_SCALE_CHANGE:
            return distance + _SCALE_WEIGHT * math.log(scale_change)
        return None


class _Track:
    """One person in view: where, how large, how fast."""

    __slots__ = (
        "_jumped_ns",
        "_size_px",
        "_steady_sightings",
        "_velocity",
        "_where",
        "born_ns",
        "is_confirmed",
        "is_reported",
        "seen_ns",
        "track_id",
    )

    def __init__(self, track_id: int, box: Box, now_ns: int) -> None:
        self.track_id = track_id
        self.born_ns = self.seen_ns = now_ns
        self._steady_sightings = 1
        self._jumped_ns: int | None = None  # when its size last did
        self.is_confirmed = self.is_reported = False
        self._where, self._size_px = _centre(box), _size_px(box)
        self._velocity: complex | None = None  # pixels per second; None while unknown

    def begin_again(self, track_id: int, now_ns: int) -> None:
        """Go on as somebody new, at the same place and speed."""
        self.track_id = track_id
        self.born_ns = now_ns
        self.is_reported = False

    def forget_velocity(self) -> None:
        """It was somebody else's."""
        self._velocity = None

    def see(self, box: Box, now_ns: int) -> None:
        """Take a detection as this track's."""
        passed_s = max(now_ns - self.seen_ns, 0) / _NS_PER_S
        where, size_px = _centre(box), _size_px(box)
        if self._velocity is None:
            self._velocity = (where - self._where) / max(passed_s, _LEAST_INTERVAL_S)
        elif passed_s > 0:
            measured = (where - self._where) / passed_s
            self._velocity += (1 - math.exp(-passed_s / _VELOCITY_SETTLES_S)) * (measured - self._velocity)
        steady = abs(math.log(size_px / self._size_px)) <= math.log(_STEADY_SCALE) + _STEADY_SCALE_PER_S * passed_s
        if steady:
            self._steady_sightings += 1
        else:
            self._steady_sightings, self._jumped_ns = 1, now_ns
        self._where, self._size_px, self.seen_ns = where, size_px, now_ns

    def is_steady(self, sightings: int) -> bool:
        """Whether it was seen so often, and long enough, at about the same size."""
        long_enough = self._jumped_ns is None or self.seen_ns - self._jumped_ns >= _STEADY_AGAIN_S * _NS_PER_S
        return long_enough and self._steady_sightings >= sightings

    def guess(self, now_ns: int) -> _Guess:
        """What is expected of it now."""
        passed_s = max(now_ns - self.seen_ns, 0) / _NS_PER_S
        reach_per_s = _REACH_NEW_PER_S if self._velocity is None else _REACH_KNOWN_PER_S
        where = self._where + (self._velocity or 0j) * passed_s
        return _Guess(where, self._size_px, _REACH_AT_REST + reach_per_s * passed_s)


def _centre(box: Box) -> complex:
    return complex((box.left + box.right) / 2, (box.top + box.bottom) / 2)


def _size_px(box: Box) -> float:
    return math.sqrt(box.area)
