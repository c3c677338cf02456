"""How well a tracker keeps people apart: its tracks against the truth, for any object with `Tracker`'s interface.

| measure | is |
|---|---|
| identity switches | a person's track id is another than when last seen (as in CLEAR MOT) |
| fragmentations | a person's track stops while he is usable, and somebody's goes on for him later |
| false tracks | tracks of whose sightings less than half show anybody |
| mixed tracks | tracks longer than a second that show more than one person |
| IDF1 | 2 IDTP / (true + reported sightings), tracks assigned to people one to one (Ristani et al. 2016) |

Switches, fragmentations and mixed tracks count every sighting that shows somebody. IDF1 counts usable faces: reported
faces that are smaller or hidden are neither right nor wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from lfr_edge.evaluation.pairing import largest_total, pair
from lfr_edge.evaluation.truth import GroundTruth
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.tracking import TrackerStep

_LONG_S = 1.0


class FollowsFaces(Protocol):
    """What a tracker has to offer to be measured."""

    def update(self, detections: Sequence[Detection], now_ns: int) -> TrackerStep:
        """Take the detections of the picture captured at `now_ns`."""
        ...


@dataclass(frozen=True, slots=True)
class TrackMeasures:
    """See the table above."""

    people: int
    tracks: int
    identity_switches: int
    fragmentations: int
    false_tracks: int
    mixed_tracks: int
    idf1: float


@dataclass(frozen=True, slots=True)
class _Sighting:
    picture: int
    track: int
    person: str | None
    usable: bool  # of nobody: True, because it is wrong


def measure_tracker(
    tracker: FollowsFaces, truth: GroundTruth, detections: Sequence[Sequence[Detection]]
) -> TrackMeasures:
    """Let the tracker follow the clip's detections, picture by picture at the clip's rate, and compare."""
    sightings: list[_Sighting] = []
    for picture, (faces, found) in enumerate(zip(truth.pictures, detections, strict=True)):
        matched = tracker.update(found, round(picture / truth.fps * 1e9)).matched
        pairs = pair(faces, [detection.box_px for _, detection in matched])
        for place, (track, _) in enumerate(matched):
            face = faces[pairs[place]] if place in pairs else None
            person, usable = (face.person, face.usable) if face else (None, True)
            sightings.append(_Sighting(picture, track, person, usable))
    return _measures(truth, sightings)


def _measures(truth: GroundTruth, sightings: Sequence[_Sighting]) -> TrackMeasures:
    by_person: dict[str, list[_Sighting]] = defaultdict(list)
    by_track: dict[int, list[_Sighting]] = defaultdict(list)
    for sighting in sightings:
        by_track[sighting.track].append(sighting)
        if sighting.person is not None:
            by_person[sighting.person].append(sighting)
    usable = {(picture, face.person) for picture, faces in enumerate(truth.pictures) for face in faces if face.usable}
    long = _LONG_S * truth.fps
    return TrackMeasures(
        people=len({face.person for faces in truth.pictures for face in faces}),
        tracks=len(by_track),
        identity_switches=sum(
            before.track != after.track for seen in by_person.values() for before, after in pairwise(seen)
        ),
        fragmentations=sum(
            any((picture, person) in usable for picture in range(before.picture + 1, after.picture))
            for person, seen in by_person.items()
            for before, after in pairwise(seen)
        ),
        false_tracks=sum(2 * sum(s.person is not None for s in seen) < len(seen) for seen in by_track.values()),
        mixed_tracks=sum(
            seen[-1].picture - seen[0].picture > long and len({s.person for s in seen} - {None}) > 1
            for seen in by_track.values()
        ),
        idf1=_idf1(len(usable), [sighting for sighting in sightings if sighting.usable]),
    )


def _idf1(true_sightings: int, reported: Sequence[_Sighting]) -> float:
    together = Counter((s.person, s.track) for s in reported if s.person is not None)
    people = {person: row for row, person in enumerate(sorted({str(person) for person, _ in together}))}
    tracks = {track: column for column, track in enumerate(sorted({track for _, track in together}))}
    weights = np.zeros((len(people), len(tracks)))
    for (person, track), pictures in together.items():
        weights[people[str(person)], tracks[track]] = pictures
    both = true_sightings + len(reported)
    return 2 * largest_total(weights) / both if both else 1.0
