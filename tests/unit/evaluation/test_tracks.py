"""Tracker measures: each on a small street where it can be counted by hand; the assignment against brute force."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from support.square_faces import SIDE_PX, face_at

from lfr_edge.evaluation.pairing import largest_total, pair
from lfr_edge.evaluation.tracks import TrackMeasures, measure_tracker
from lfr_edge.evaluation.truth import Film, GroundTruth, TrueFace
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.tracking import Tracker, TrackerLimits, TrackerStep

FPS = 10
PLACES = {"ann": 0, "bob": 100, "nobody": 300}


class Scripted:
    """A tracker that reports what the test says: per picture, person -> track."""

    def __init__(self, script: list[dict[str, int]]) -> None:
        self._script = iter(script)

    def update(self, detections: list[Detection], now_ns: int) -> TrackerStep:
        del detections, now_ns
        return TrackerStep([(track, face_at(PLACES[who], 0)) for who, track in next(self._script).items()], [])


def true_face(person: str, *, usable: bool = True) -> TrueFace:
    left = PLACES[person]
    return TrueFace(person, Box(left, 0, left + SIDE_PX, SIDE_PX), 30.0, 1.0 if usable else 0.2)


def truth_of(pictures: list[tuple[TrueFace, ...]]) -> GroundTruth:
    return GroundTruth(Film(Path("none"), FPS), "0" * 64, tuple(pictures))


def measured(script: list[dict[str, int]], *, hidden: range = range(0)) -> TrackMeasures:
    """Ann and Bob stand there in every picture; Ann is hidden in some."""
    truth = [(true_face("ann", usable=number not in hidden), true_face("bob")) for number in range(len(script))]
    return measure_tracker(Scripted(script), truth_of(truth), [[] for _ in script])


def test_two_people_followed_throughout() -> None:
    assert measured([{"ann": 1, "bob": 2}] * 20) == TrackMeasures(2, 2, 0, 0, 0, 0, 1.0)


def test_a_new_id_for_the_same_person_is_a_switch() -> None:
    result = measured([{"ann": 1, "bob": 2}] * 10 + [{"ann": 3, "bob": 2}] * 10)
    assert (result.identity_switches, result.fragmentations, result.mixed_tracks) == (1, 0, 0)
    assert result.idf1 == pytest.approx(30 / 40)  # Ann is assigned one of her tracks, ten of her sightings are lost


def test_a_swap_is_two_switches_and_two_mixed_tracks() -> None:
    result = measured([{"ann": 1, "bob": 2}] * 10 + [{"ann": 2, "bob": 1}] * 10)
    assert (result.identity_switches, result.mixed_tracks, result.false_tracks) == (2, 2, 0)
    assert result.idf1 == pytest.approx(20 / 40)


def test_a_swap_within_tracks_of_a_second_is_not_counted_as_mixed() -> None:
    assert measured([{"ann": 1, "bob": 2}] * 5 + [{"ann": 2, "bob": 1}] * 5).mixed_tracks == 0


def test_a_gap_while_usable_is_a_fragmentation() -> None:
    script = [{"ann": 1, "bob": 2}] * 5 + [{"bob": 2}] * 3 + [{"ann": 1, "bob": 2}] * 5
    result = measured(script)
    assert (result.fragmentations, result.identity_switches) == (1, 0)
    assert result.idf1 == pytest.approx(2 * 23 / (26 + 23))


def test_a_gap_while_hidden_is_none_and_costs_nothing() -> None:
    script = [{"ann": 1, "bob": 2}] * 5 + [{"bob": 2}] * 3 + [{"ann": 1, "bob": 2}] * 5
    result = measured(script, hidden=range(5, 8))
    assert (result.fragmentations, result.idf1) == (0, 1.0)


def test_being_followed_while_hidden_is_neither_right_nor_wrong() -> None:
    assert measured([{"ann": 1, "bob": 2}] * 10, hidden=range(3, 6)).idf1 == 1.0


def test_a_track_of_nobody_is_false_and_costs_idf1() -> None:
    result = measured([{"ann": 1, "bob": 2, "nobody": 3}] * 10)
    assert (result.tracks, result.false_tracks) == (3, 1)
    assert result.idf1 == pytest.approx(40 / 50)


def test_a_clip_without_anybody_is_followed_perfectly_by_silence() -> None:
    assert measure_tracker(Scripted([{}, {}]), truth_of([(), ()]), [[], []]).idf1 == 1.0


def test_the_products_own_tracker_can_be_measured() -> None:
    pictures = [(true_face("ann"), true_face("bob"))] * 20
    detections = [[face_at(PLACES["ann"], 0), face_at(PLACES["bob"], 0)]] * 20
    result = measure_tracker(Tracker(TrackerLimits(confirm_after=2)), truth_of(pictures), detections)
    assert (result.tracks, result.identity_switches, result.false_tracks) == (2, 0, 0)
    assert result.idf1 == pytest.approx(2 * 38 / (40 + 38))  # reported from the second sighting on


def test_pairs_are_one_to_one_largest_overlap_first() -> None:
    truth = [true_face("ann"), true_face("bob")]
    boxes = [Box(24, 0, 84, 60), Box(6, 0, 66, 60), Box(300, 0, 360, 60), Box(100, 0, 160, 60)]
    assert pair(truth, boxes) == {1: 0, 3: 1}


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.integers(0, 9).map(float))
    )
)
def test_the_assignment_is_the_best_of_all(weights: NDArray[np.float64]) -> None:
    wide = weights if weights.shape[0] <= weights.shape[1] else weights.T
    best = max(
        sum(wide[row, column] for row, column in enumerate(columns))
        for columns in permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert largest_total(weights) == best
