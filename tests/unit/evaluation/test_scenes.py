"""Generated streets: what the camera sees of them is what a camera would see."""

import pytest

from lfr_edge.evaluation.scenes import Detector, Scene, Walker, detected, hard_scenes, slower, truth_of
from lfr_edge.evaluation.truth import GroundTruth, TrueFace

PERFECT = Detector(shake=0.0, missing=0.0, least_visible=0.5, false_per_s=0.0)


def standing(name: str, x: float, z: float) -> Walker:
    return Walker(name, ((0.0, x, z), (1.0, x, z)))


def seen(*walkers: Walker, columns: tuple[tuple[float, float, float], ...] = ()) -> dict[str, TrueFace]:
    """Who is in the first picture."""
    truth = truth_of(Scene("test", 1.0, walkers, columns))
    return {face.person: face for face in truth.pictures[0]}


def test_who_is_nearer_is_larger_and_lower_in_the_picture() -> None:
    faces = seen(standing("near", -0.5, 4.0), standing("far", 0.5, 8.0))
    near, far = faces["near"], faces["far"]
    assert near.box_px.width == pytest.approx(2 * far.box_px.width)
    assert near.inter_eye_px == pytest.approx(2 * far.inter_eye_px)
    assert near.box_px.top > far.box_px.top
    assert near.visible == far.visible == pytest.approx(1.0)


def test_a_person_hides_who_is_behind_and_not_who_is_in_front() -> None:
    faces = seen(standing("front", 0.0, 4.0), standing("rear", 0.0, 4.6))
    assert faces["front"].visible == pytest.approx(1.0)
    assert faces["rear"].visible < 0.5


def test_a_column_hides_everything_behind_it() -> None:
    faces = seen(standing("behind", 0.0, 6.0), standing("before", 0.0, 4.0), columns=((0.0, 5.0, 1.0),))
    assert faces["behind"].visible == 0
    assert faces["before"].visible == pytest.approx(1.0)


def test_who_walks_out_of_the_picture_is_gone() -> None:
    truth = truth_of(Scene("leaving", 6.0, (Walker("a", ((0.0, 0.0, 5.0), (6.0, 6.0, 5.0))),)))
    there = [bool(faces) for faces in truth.pictures]
    assert there[0]
    assert not there[-1]
    assert there == sorted(there, reverse=True)


def test_a_perfect_detector_finds_every_open_face_where_it_is() -> None:
    truth = truth_of(hard_scenes(seed=1)["two paths cross"][5])
    for faces, found in zip(truth.pictures, detected(truth, PERFECT, seed=1), strict=True):
        assert {detection.box_px for detection in found} <= {face.box_px for face in faces}
        assert len(found) >= sum(face.visible > 0.95 for face in faces) - 1  # two that overlap may be found as one


def _two_alone() -> GroundTruth:
    walkers = tuple(Walker(name, ((0.0, x, 6.0), (40.0, x, 6.0))) for name, x in (("a", -0.5), ("b", 0.5)))
    return truth_of(Scene("two", 40.0, walkers))


def test_a_detector_misses_its_share() -> None:
    truth = _two_alone()
    found = sum(map(len, detected(truth, Detector(missing=0.2, false_per_s=0.0), seed=1)))
    assert found / (2 * len(truth.pictures)) == pytest.approx(0.8, abs=0.03)


def test_false_detections_last_one_to_five_pictures() -> None:
    nobody = truth_of(Scene("empty", 400.0, ()))
    counts = [len(found) for found in detected(nobody, Detector(false_per_s=0.2), seed=1)]
    assert sum(counts) / 3 == pytest.approx(80, rel=0.25)


def test_a_slower_camera_sees_the_same_pictures_more_rarely() -> None:
    truth = _two_alone()
    slow = slower(truth, 5)
    assert slow.fps == 5
    assert slow.pictures == truth.pictures[::5]


def test_the_same_seed_is_the_same_street() -> None:
    assert hard_scenes(seed=3) == hard_scenes(seed=3)
    truth = _two_alone()
    once, again = (detected(truth, Detector(), seed=3) for _ in range(2))
    assert [[face.box_px for face in faces] for faces in once] == [[face.box_px for face in faces] for faces in again]
