"""Tracks of what the default detector finds in the rendered street, and of real people."""

from pathlib import Path

import pytest

from lfr_edge.evaluation.footage import detect, measure_detection
from lfr_edge.evaluation.playing import pictures
from lfr_edge.evaluation.scenes import slower
from lfr_edge.evaluation.tracks import measure_tracker
from lfr_edge.evaluation.truth import Film, GroundTruth, read_ground_truth
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.tracking import Tracker, TrackerLimits

DEMO = Path(__file__).parents[2] / "examples" / "demo"


@pytest.fixture(scope="module")
def truth() -> GroundTruth:
    """Who is where in the street clip."""
    return read_ground_truth(DEMO)


@pytest.fixture(scope="module")
def found(truth: GroundTruth, extractor: Extractor) -> list[list[Detection]]:
    """What the detector finds in it."""
    return detect(truth, extractor)


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 2])
def test_nobody_on_the_street_is_taken_for_another(
    truth: GroundTruth, found: list[list[Detection]], every: int
) -> None:
    measured = measure_tracker(Tracker(TrackerLimits()), slower(truth, every), found[::every])
    assert (measured.people, measured.identity_switches, measured.mixed_tracks) == (12, 0, 0)
    assert measured.fragmentations == 0
    assert measured.idf1 >= 0.99


@pytest.mark.slow
def test_false_detections_that_change_in_size_make_no_track(truth: GroundTruth, found: list[list[Detection]]) -> None:
    assert measure_detection(truth, found).false_detections >= 6
    assert measure_tracker(Tracker(TrackerLimits()), truth, found).false_tracks == 0


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["again", "book", "eat", "hungry"])
def test_a_signer_is_one_track(signers: Path, extractor: Extractor, clip: str) -> None:
    tracker, tracks = Tracker(TrackerLimits()), set()
    with pictures(Film(signers / f"{clip}.mkv", 25.0), extractor.arena) as frames:
        for frame in frames:
            with frame.image.lease:
                detections = extractor.detect(frame.image)
            tracks |= {number for number, _ in tracker.update(detections, frame.captured_ns).matched}
    assert len(tracks) == 1
