"""Who is who from picture to picture, by place and motion alone: no pixels, no features.

Theory of operation. Every track predicts its place at constant velocity. Pairs of a track and a detection that are
near enough are taken by cost, cheapest first. What is left over among the detections is a track to be; it is reported
once it was seen `confirm_after` times, so that a single false detection never is one. Where one detection is left for
two tracks that it fits almost alike, one person hides the other: it moves the track that it fits best, but it is not
reported, so that nobody's features are fused with somebody else's face. A track that is not seen coasts for
`lost_after_s`; none lives longer than `longest_s`, then its person goes on as a new track (the retention table's row
`track`). Distances are in face sizes and times in seconds, so that nothing depends on the frame rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box

_NS_PER_S = 1_000_000_000

# A face is about 0.16 m wide: a runner does 25 of its widths in a second, and a walker turns within half a second.
_REACH_AT_REST = 0.6  # face sizes: detector jitter, and nodding
_REACH_NEW_PER_S = 15.0  # face sizes per second while the velocity is unknown
_REACH_KNOWN_PER_S = 1.0  # the same once it is known
_LARGEST_SCALE_CHANGE = 1.8  # between two sightings
_VELOCITY_SETTLES_S = 0.12  # time constant of the velocity estimate
_CONTESTED = 0.4  # cost; two faces that are both detected are no nearer than this (suppression at an overlap of .45)


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

    def update(self, detections: Sequence[Detection], now_ns: int) -> TrackerStep:
        """Take the detections of the picture captured at `now_ns` (monotonic)."""
        ended = self.expire(now_ns)
        matched = []
        free = set(range(len(detections)))
        for track, index, contested in self._pairs(detections, now_ns):
            free.discard(index)
            track.see(detections[index].box_px, now_ns)
            if self._is_confirmed(track) and not contested:
                track.is_reported = True
                matched.append((track.track_id, detections[index]))
        self._tracks.extend(_Track(self._next_id(), detections[index].box_px, now_ns) for index in sorted(free))
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

    def _pairs(self, detections: Sequence[Detection], now_ns: int) -> list[tuple["_Track", int, bool]]:
        """Tracks, the detections they go on with, cheapest pair first, and whether another track contests that."""
        costs = sorted(
            (cost, place, index)
            for place, track in enumerate(self._tracks)
            for index, detection in enumerate(detections)
            if (cost := track.cost(detection.box_px, now_ns)) is not None
        )
        pairs: dict[int, int] = {}
        limits: dict[int, float] = {}  # by detection: up to which cost it is contested
        for cost, place, index in costs:
            if place not in pairs and index not in limits:
                pairs[place] = index
                limits[index] = cost + _CONTESTED
        contested = {
            index
            for cost, place, index in costs
            if place not in pairs and cost < limits[index] and self._is_confirmed(self._tracks[place])
        }
        return [(self._tracks[place], index, index in contested) for place, index in pairs.items()]

    def _is_confirmed(self, track: "_Track") -> bool:
        return track.sightings >= self._limits.confirm_after

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


class _Track:
    """One person in view: where, how large, how fast."""

    __slots__ = ("_size_px", "_velocity", "_where", "born_ns", "is_reported", "seen_ns", "sightings", "track_id")

    def __init__(self, track_id: int, box: Box, now_ns: int) -> None:
        self.track_id = track_id
        self.born_ns = self.seen_ns = now_ns
        self.sightings = 1
        self.is_reported = False
        self._where, self._size_px = _centre(box), _size_px(box)
        self._velocity = 0j  # pixels per second

    def begin_again(self, track_id: int, now_ns: int) -> None:
        """Go on as somebody new, at the same place and speed."""
        self.track_id = track_id
        self.born_ns = now_ns
        self.is_reported = False

    def see(self, box: Box, now_ns: int) -> None:
        """Take a detection as this track's."""
        passed_s = (now_ns - self.seen_ns) / _NS_PER_S
        if passed_s > 0:
            measured = (_centre(box) - self._where) / passed_s
            gain = 1.0 if self.sightings == 1 else 1 - math.exp(-passed_s / _VELOCITY_SETTLES_S)
            self._velocity += gain * (measured - self._velocity)
        self._where, self._size_px = _centre(box), _size_px(box)
        self.seen_ns = now_ns
        self.sightings += 1

    def cost(self, box: Box, now_ns: int) -> float | None:
        """How badly the box fits what this track predicts, in face sizes; None if it cannot be the same face."""
        passed_s = (now_ns - self.seen_ns) / _NS_PER_S
        size_px = _size_px(box)
        if size_px <= 0 or self._size_px <= 0:
            return None
        scale_change = max(size_px / self._size_px, self._size_px / size_px)
        distance = abs(_centre(box) - self._where - self._velocity * passed_s) / max(size_px, self._size_px)
        reach_per_s = _REACH_NEW_PER_S if self.sightings == 1 else _REACH_KNOWN_PER_S
        if distance > _REACH_AT_REST + reach_per_s * passed_s or scale_change > _LARGEST_SCALE_CHANGE:
            return None
        return distance + math.log(scale_change)


def _centre(box: Box) -> complex:
    return complex((box.left + box.right) / 2, (box.top + box.bottom) / 2)


def _size_px(box: Box) -> float:
    return math.sqrt(box.area)
