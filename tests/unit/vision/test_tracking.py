"""Who is who: crossing, missed pictures, slow cameras, the ends of tracks, and what always holds."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfr_edge.evaluation.scenes import Detector, detected, hard_scenes, slower, truth_of
from lfr_edge.evaluation.tracks import measure_tracker
from lfr_edge.evaluation.truth import read_ground_truth
from lfr_edge.vision import tracking
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box, intersection_over_union
from lfr_edge.vision.tracking import Tracker, TrackerLimits

_DEMO = Path(__file__).parents[3] / "examples" / "demo"
_LANDMARKS = np.zeros((5, 2))
_PICTURE_NS = 40_000_000


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


def test_a_flickering_false_detection_is_never_a_track() -> None:
    sizes = [53, 66, 49, 64, 72, 53, 64]  # of what a detector saw in the street clip for a quarter of a second
    tracks, _ = _follow((n / 25, {"ghost": _face(500, 300, sizes[n])} if n < 7 else {}) for n in range(20))
    assert tracks == {}


def test_who_was_unsteady_at_first_counts_once_steady() -> None:
    tracks, _ = _follow((n / 25, {"a": _face(500, 300, 60 if n else 45)}) for n in range(10))
    assert [len(names) for names in tracks.values()] == [6]


@pytest.mark.parametrize("rate", [25, 5])
def test_who_runs_towards_the_camera_counts_from_the_second_sighting(rate: float) -> None:
    # 4 m/s from 8 m away
    tracks, _ = _follow((n / rate, {"a": _face(500, 300, 480 / (8 - 4 * n / rate))}) for n in range(3))
    assert [len(names) for names in tracks.values()] == [2]


def _tracker_with_one(*, sightings: int = 10) -> tuple[Tracker, int]:
    """A tracker that follows somebody to the right, 10 px per picture."""
    tracker = Tracker(TrackerLimits())
    for n in range(sightings):
        step = tracker.update([_face(100 + 10 * n, 300)], n * _PICTURE_NS)
    return tracker, step.matched[0][0]


def test_who_is_split_goes_on_under_a_new_number_at_once() -> None:
    tracker, track_id = _tracker_with_one()
    new_id = tracker.split(track_id)
    assert new_id > track_id
    step = tracker.update([_face(200, 300)], 10 * _PICTURE_NS)
    assert [number for number, _ in step.matched] == [new_id]
    assert step.ended == []


def test_a_split_track_is_over_and_its_new_one_ends_later() -> None:
    tracker, track_id = _tracker_with_one()
    new_id = tracker.split(track_id)
    with pytest.raises(RuntimeError, match="no track"):
        tracker.split(track_id)
    assert tracker.expire(60 * _PICTURE_NS) == [new_id]


def test_the_time_of_a_split_track_starts_again() -> None:
    tracker, track_id = _tracker_with_one(sightings=250)
    new_id = tracker.split(track_id)
    numbers = {
        number for n in range(250, 490) for number, _ in tracker.update([_face(2600, 300)], n * _PICTURE_NS).matched
    }
    assert numbers == {new_id}


def test_nothing_is_known_of_how_fast_the_other_one_walks() -> None:
    tracker, track_id = _tracker_with_one()
    new_id = tracker.split(track_id)
    # he walks the other way: half a second later he is ten faces from where the first would be
    step = tracker.update([_face(-250, 300)], (9 + 12) * _PICTURE_NS)
    assert [number for number, _ in step.matched] == [new_id]


def test_a_track_that_was_never_reported_cannot_be_split() -> None:
    tracker = Tracker(TrackerLimits())
    tracker.update([_face(100, 300)], 0)
    with pytest.raises(RuntimeError, match="no track 1 to split"):
        tracker.split(1)


def test_somebody_new_in_pictures_that_come_at_once_is_one_track() -> None:
    tracks, _ = _follow(((n / 25 if n > 5 else 0.2 + n / 1000), {"a": _face(100 + 20 * n, 300)}) for n in range(30))
    assert len(tracks) == 1


def test_a_crowd_is_not_compared_with_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    cost = tracking._Guess.cost

    def counted(guess: tracking._Guess, box: Box) -> float | None:
        nonlocal compared
        compared += 1
        return cost(guess, box)

    monkeypatch.setattr(tracking._Guess, "cost", counted)
    crowd = [_face(19 * n, 40 * (n % 10), 30) for n in range(100)]
    tracker = Tracker(TrackerLimits())
    for n in range(3):
        tracker.update(crowd, n * _PICTURE_NS)
    assert 200 <= compared < 2 * 100 * 10


_PLACES = st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from([50, 60, 90]))
_PASSED_NS = st.sampled_from([0, 1, _PICTURE_NS, _PICTURE_NS, _PICTURE_NS, 5 * _PICTURE_NS, 2 * 10**9])
_PICTURES = st.lists(
    st.tuples(_PASSED_NS, st.lists(_PLACES, max_size=5, unique=True)), max_size=60
)  # few places, so that they meet; a clock that may stand still or jump
_LIMITS = TrackerLimits(lost_after_s=0.3, longest_s=0.9)

Pictures = list[tuple[int, list[tuple[int, int, int]]]]


def _played(pictures: Pictures, *, backwards: bool = False) -> list[tuple[int, list[tuple[int, Box]], list[int]]]:
    """For each picture its time, the boxes that were reported with their tracks, and the tracks that ended."""
    tracker, now_ns, steps = Tracker(_LIMITS), 0, []
    for passed_ns, places in pictures:
        now_ns += passed_ns
        faces = [_face(40 * column, 70 * row, size) for column, row, size in places]
        step = tracker.update(faces[::-1] if backwards else faces, now_ns)
        steps.append((now_ns, sorted((number, face.box_px) for number, face in step.matched), step.ended))
    return steps


@given(_PICTURES)
def test_no_number_is_used_after_its_end_and_none_twice_in_a_picture(pictures: Pictures) -> None:
    over: set[int] = set()
    for _, matched, ended in _played(pictures):
        numbers = [number for number, _ in matched]
        boxes = [box for _, box in matched]
        assert len(set(ended)) == len(ended)
        assert not over & set(ended)
        over |= set(ended)
        assert len(set(numbers)) == len(numbers)
        assert len(set(boxes)) == len(boxes)
        assert not over & set(numbers)


@given(_PICTURES)
def test_no_track_lives_longer_than_the_limits(pictures: Pictures) -> None:
    first_ns: dict[int, int] = {}
    before_ns = 0
    for now_ns, matched, _ in _played(pictures):
        for number, _ in matched:
            assert now_ns - first_ns.setdefault(number, now_ns) <= _LIMITS.longest_s * 1e9
            if now_ns - before_ns > _LIMITS.lost_after_s * 1e9:
                assert first_ns[number] == now_ns
        before_ns = now_ns


@given(_PICTURES)
def test_everything_reported_ends_once_nobody_is_there(pictures: Pictures) -> None:
    steps = _played([*pictures, (10**9, [])])
    reported = {number for _, matched, _ in steps for number, _ in matched}
    assert reported == {number for _, _, ended in steps for number in ended}


@given(_PICTURES)
def test_the_order_of_the_detections_does_not_matter(pictures: Pictures) -> None:
    assert _played(pictures) == _played(pictures, backwards=True)


@given(_PICTURES, _PICTURES)
def test_the_cameras_do_not_know_of_each_other(here: Pictures, there: Pictures) -> None:
    alone = _played(here)
    _played(there)
    assert _played(here) == alone


_NUMBERS = st.one_of(st.floats(-1e5, 1e5), st.sampled_from([0.0, 1e-300, 1e150, 1e300, -1e300, 1.7e308, -1.7e308]))
_BOXES = st.builds(Box, _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS)


@given(st.lists(st.tuples(st.lists(_BOXES, max_size=4), st.integers(0, 10**10))))
def test_no_boxes_and_no_clock_make_the_tracker_raise(pictures: Sequence[tuple[list[Box], int]]) -> None:
    tracker = Tracker(TrackerLimits())
    for boxes, now_ns in pictures:
        twice = [Detection(box, _LANDMARKS, 0.9) for box in boxes for _ in range(2)]
        matched = [id(face) for _, face in tracker.update(twice, now_ns).matched]
        tracker.update(twice, now_ns + _PICTURE_NS)
        assert len(matched) == len(set(matched))


def test_the_same_pictures_give_the_same_tracks() -> None:
    assert _follow(_crossing(25, 48, 0.15)) == _follow(_crossing(25, 48, 0.15))


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(("shake", "missing"), [(0.0, 0.0), (0.02, 0.1)])
def test_the_rendered_street_has_one_track_per_person(every: int, shake: float, missing: float) -> None:
    truth = read_ground_truth(_DEMO)
    found = detected(truth, Detector(shake, missing, least_visible=0.3, false_per_s=0), seed=1)
    measured = measure_tracker(Tracker(TrackerLimits()), slower(truth, every), found[::every])
    assert (measured.people, measured.tracks, measured.identity_switches, measured.mixed_tracks) == (12, 12, 0, 0)


@pytest.mark.parametrize("what", ["two paths cross", "stop and turn", "side by side"])
def test_in_hard_scenes_nobody_is_taken_for_another(what: str) -> None:
    for number, scene in enumerate(hard_scenes(seed=5)[what]):
        truth = truth_of(scene)
        measured = measure_tracker(Tracker(TrackerLimits()), truth, detected(truth, Detector(), seed=number))
        assert (measured.identity_switches, measured.mixed_tracks) == (0, 0), number
