"""Who is who: crossing, missed pictures, slow cameras, and the ends of tracks."""

import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box, intersection_over_union
from lfr_edge.vision.tracking import Tracker, TrackerLimits

_LANDMARKS = np.zeros((5, 2))


def _face(x: float, y: float, size: float = 60.0) -> Detection:
    return Detection(Box(x - size / 2, y - size / 2, x + size / 2, y + size / 2), _LANDMARKS, 0.9)


def _follow(pictures: Iterable[tuple[float, dict[str, Detection]]]) -> tuple[dict[int, list[str]], list[int]]:
    """The names that each track was given, and the tracks that ended, for pictures of (second, name -> face)."""
    tracker = Tracker(TrackerLimits())
    tracks: dict[int, list[str]] = defaultdict(list)
    ended: list[int] = []
    for second, faces in pictures:
        names = {id(face): name for name, face in faces.items()}
        step = tracker.update(list(faces.values()), round(second * 1e9))
        ended += step.ended
        for track_id, face in step.matched:
            tracks[track_id].append(names[id(face)])
    return tracks, ended


def _crossing(rate: float, rear_size: float, drop: float) -> list[tuple[float, dict[str, Detection]]]:
    """Two walk past each other; while they overlap the detector finds the one in front only."""
    dice = random.Random(4)  # noqa: S311 - not a secret
    pictures = []
    for number in range(int(4 * rate)):
        second = number / rate
        jitter = [dice.gauss(0, 1) for _ in range(4)]
        front = _face(300 + 120 * second + jitter[0], 200 + jitter[1])
        rear = _face(780 - 120 * second + jitter[2], 200 + jitter[3], rear_size)
        faces = {"front": front}
        if intersection_over_union(front.box_px, rear.box_px) < 0.2:
            faces["rear"] = rear
        pictures.append((second, {name: face for name, face in faces.items() if dice.random() >= drop}))
    return pictures


@pytest.mark.parametrize("rate", [25, 10, 5])
@pytest.mark.parametrize("rear_size", [60, 48])
@pytest.mark.parametrize("drop", [0.0, 0.15])
def test_two_who_cross_keep_their_tracks(rate: float, rear_size: float, drop: float) -> None:
    tracks, ended = _follow(_crossing(rate, rear_size, drop))
    assert sorted("".join(sorted(set(names))) for names in tracks.values()) == ["front", "rear"]
    assert ended == []


@pytest.mark.parametrize("rate", [25, 5])
def test_a_walker_is_one_track_at_any_frame_rate(rate: float) -> None:
    # 1.4 m/s across the view: nine face widths in a second
    tracks, _ = _follow((n / rate, {"a": _face(100 + 540 * n / rate, 300)}) for n in range(int(2 * rate)))
    assert len(tracks) == 1


def test_a_face_that_could_be_either_of_two_is_nobodys() -> None:
    tracks, _ = _follow(
        (n / 25, {"a": _face(500, 300), "b": _face(540, 300)} if n < 20 else {"one of them": _face(520, 300)})
        for n in range(30)
    )
    assert sorted("".join(set(names)) for names in tracks.values()) == ["a", "b"]


def test_who_is_alone_again_is_reported_again() -> None:
    # b is hidden for good: once its track is over, nobody contests a
    tracks, ended = _follow(
        (n / 25, {"a": _face(500, 300)} | ({"b": _face(525, 300)} if n < 20 else {})) for n in range(60)
    )
    assert [set(names) for names in tracks.values()] == [{"a"}, {"b"}]
    assert ended == [2]
    assert len(tracks[1]) >= 30


def test_ten_missed_pictures_do_not_break_a_track() -> None:
    seen = [n for n in range(60) if not 20 <= n < 30]
    tracks, ended = _follow((n / 25, {"a": _face(100 + 8 * n, 300)}) for n in seen)
    assert len(tracks) == 1
    assert ended == []


def test_a_single_false_detection_is_never_a_track() -> None:
    tracks, ended = _follow((n / 25, {"ghost": _face(500, 300)} if n == 5 else {}) for n in range(60))
    assert tracks == {}
    assert ended == []


def test_somebody_far_away_is_somebody_else() -> None:
    tracks, _ = _follow((n / 25, {"a" if n < 20 else "b": _face(100 if n < 20 else 500, 300)}) for n in range(40))
    assert [set(names) for names in tracks.values()] == [{"a"}, {"b"}]


def test_another_size_at_the_same_place_is_somebody_else() -> None:
    tracks, _ = _follow(
        (n / 25, {"a": _face(100, 300, 40)} if n < 20 else {"b": _face(100, 300, 90)}) for n in range(40)
    )
    assert [set(names) for names in tracks.values()] == [{"a"}, {"b"}]


def test_of_two_near_each_other_size_tells_who_is_who() -> None:
    # after a missed picture each is a little nearer to where the other was
    still = [(n / 25, {"a": _face(500, 300, 80), "b": _face(530, 300, 50)}) for n in range(20)]
    moved = {"a": _face(516, 300, 80), "b": _face(514, 300, 50)}
    tracks, _ = _follow([*still, (21 / 25, moved)])
    assert [set(names) for names in tracks.values()] == [{"a"}, {"b"}]


def test_who_is_unseen_for_a_second_is_over_and_comes_back_as_a_new_track() -> None:
    tracks, ended = _follow((n / 25, {"a": _face(100, 300)} if n < 20 or n > 50 else {}) for n in range(80))
    assert len(tracks) == 2
    assert ended == [min(tracks)]


def test_a_track_ends_without_pictures_too() -> None:
    tracker = Tracker(TrackerLimits())
    tracker.update([_face(100, 300)], 0)
    ((track_id, _),) = tracker.update([_face(100, 300)], 40_000_000).matched
    assert tracker.expire(1_040_000_000) == []
    assert tracker.expire(1_040_000_001) == [track_id]
    assert tracker.expire(9_000_000_000) == []


def test_after_the_longest_time_a_person_is_a_new_track_without_a_gap() -> None:
    tracks, ended = _follow((n / 25, {"a": _face(100, 300)}) for n in range(25 * 25))
    assert len(tracks) == 3
    assert ended == sorted(tracks)[:2]
    assert sum(len(names) for names in tracks.values()) == 25 * 25 - 1  # all but the first sighting
    assert max(len(names) for names in tracks.values()) <= 25 * 10 + 1


def test_no_track_is_reported_again_after_its_end() -> None:
    tracker = Tracker(TrackerLimits(lost_after_s=0.1, longest_s=0.5))
    dice = random.Random(2)  # noqa: S311 - not a secret
    over: set[int] = set()
    known: set[int] = set()
    for number in range(400):
        faces = [
            _face(dice.uniform(0, 800), dice.uniform(0, 600), dice.uniform(20, 200)) for _ in range(dice.randrange(6))
        ]
        step = tracker.update(faces, number * 40_000_000)
        over |= set(step.ended)
        known |= {track_id for track_id, _ in step.matched}
        assert over <= known  # who was never reported does not end
        assert not over & {track_id for track_id, _ in step.matched}
    assert len(over) > 20


_NUMBERS = st.floats(-1e5, 1e5)


@given(
    st.lists(st.tuples(st.lists(st.builds(_face, _NUMBERS, _NUMBERS, _NUMBERS), max_size=4), st.integers(0, 10**10)))
)
def test_no_boxes_and_no_clock_make_the_tracker_raise(pictures: Sequence[tuple[list[Detection], int]]) -> None:
    tracker = Tracker(TrackerLimits())
    for faces, now_ns in pictures:
        matched = [id(face) for _, face in tracker.update(faces, now_ns).matched]
        assert len(matched) == len(set(matched))


def test_the_same_pictures_give_the_same_tracks() -> None:
    assert _follow(_crossing(25, 48, 0.15)) == _follow(_crossing(25, 48, 0.15))


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize(("jitter", "drop"), [(0.0, 0.0), (0.02, 0.1)])
def test_the_rendered_street_has_one_track_per_person(shared: Path, every: int, jitter: float, drop: float) -> None:
    frames = json.loads((shared / "media/synthetic/ground_truth.json").read_text())["frames"]
    dice = random.Random(1)  # noqa: S311 - not a secret

    def faces(people: list[dict[str, object]]) -> dict[str, Detection]:
        found = {}
        for person in people:
            x, y, width, height = person["box"]  # type: ignore[misc]
            edges = [edge + dice.gauss(0, jitter * width) for edge in (x, y, x + width, y + height)]
            if person["visible"] >= 0.3 and dice.random() >= drop:  # type: ignore[operator]
                found[str(person["id"])] = Detection(Box(*edges), _LANDMARKS, 0.9)
        return found

    tracks, _ = _follow((frame["i"] / 25, faces(frame["faces"])) for frame in frames[::every])
    switches = sum(before != after for names in tracks.values() for before, after in itertools.pairwise(names))
    people = Counter(names[0] for names in tracks.values())
    assert switches == 0
    assert len(people) == 12
    assert max(people.values()) == 1
