"""Recognition in footage: the rendered street for what must happen, real people for what holds up."""

from pathlib import Path

import pytest

from lfr_edge.evaluation.clips import measure_clips, read_clips
from lfr_edge.evaluation.footage import detect, measure_footage, photos_in
from lfr_edge.evaluation.tracks import measure_tracker
from lfr_edge.evaluation.truth import read_ground_truth
from lfr_edge.evaluation.variants import AS_SHIPPED
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.tracking import Tracker, TrackerLimits

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "demo"


@pytest.mark.slow
def test_on_the_street_tracks_keep_people_apart(extractor: Extractor) -> None:
    truth = read_ground_truth(DEMO)
    measured = measure_tracker(Tracker(TrackerLimits()), truth, detect(truth, extractor))
    assert (measured.people, measured.identity_switches, measured.mixed_tracks) == (12, 0, 0)
    assert measured.idf1 >= 0.99


@pytest.mark.slow
def test_on_the_street_every_listed_person_alerts_once_and_nobody_else(shared: Path, extractor: Extractor) -> None:
    photos = photos_in([DEMO / "photos", shared / "media" / "synthetic" / "lookalikes"])
    totals = measure_footage(read_ground_truth(DEMO), photos, extractor, AS_SHIPPED).totals
    assert (totals.due, totals.recognised, totals.repeated, totals.false_alerts) == (4, 4, 0, 0)


@pytest.mark.slow
def test_signers_are_found_in_their_other_clips_and_never_as_another(signers: Path, extractor: Extractor) -> None:
    clips = read_clips(signers, ROOT / "tests" / "accuracy" / "signers.json")
    measured = measure_clips(clips, extractor, AS_SHIPPED)
    assert (measured.listed, measured.strangers) == (14, 2)
    assert (measured.found, measured.false_alerts) == (14, 0)
