"""Variants of an engine set: the same people alert, from a list that the float32 set made."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.evaluation.faces import FaceReader, watchlist_of
from lfr_edge.evaluation.footage import detect, measure_detection, photos_in
from lfr_edge.evaluation.playing import Recorder, play, shown_in
from lfr_edge.evaluation.truth import read_ground_truth
from lfr_edge.evaluation.variants import AS_SHIPPED
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.pipeline.extract import Extractor

DEMO = Path(__file__).parents[2] / "examples" / "demo"
NEEDS = {
    "yunet-mobilefacenet-bf16": {"avx512_bf16", "amx_bf16"},
    "yunet-mobilefacenet-int8": {"avx512_vnni", "avx_vnni"},
}


@pytest.fixture(params=sorted(NEEDS))
def variant(request: pytest.FixtureRequest, engine_store: EngineStore, shared: Path) -> Iterator[Extractor]:
    needed = NEEDS[request.param]
    if not needed & set(Path("/proc/cpuinfo").read_text("utf-8").split()):
        pytest.skip(f"needs a processor with {' or '.join(sorted(needed))}")
    engine_set = load_engine_set(request.param)
    engine_store.fetch(engine_set, [shared / "models"])
    extractor = open_extractor(engine_set, engine_store, Arena(128 << 20), threads=2)
    yield extractor
    extractor.close()


@pytest.mark.slow
def test_the_same_people_alert_from_a_list_that_the_float32_set_made(
    shared: Path, extractor: Extractor, variant: Extractor
) -> None:
    truth = read_ground_truth(DEMO)
    reader = FaceReader(extractor)
    photos = photos_in([DEMO / "photos", shared / "media" / "synthetic" / "lookalikes"])
    faces = {person: face for person, path in photos.items() if (face := reader.read(path)) is not None}

    def alerts(of: Extractor) -> list[tuple[str, str | None]]:
        recorder = Recorder(lambda frame, context: shown_in(context, frame, truth.pictures[frame.sequence]))
        watchlist = watchlist_of([face.features for face in faces.values()], of, list(faces))
        try:
            play(truth.film, of, watchlist, AS_SHIPPED, recorder)
        finally:
            watchlist.wipe()
        return [(alert.entry, alert.shows) for alert in recorder.alerts]

    expected = alerts(extractor)
    assert len(expected) == 4
    assert alerts(variant) == expected


@pytest.mark.slow
def test_as_many_faces_are_found(extractor: Extractor, variant: Extractor) -> None:
    truth = read_ground_truth(DEMO)
    float32, other = (measure_detection(truth, detect(truth, each)) for each in (extractor, variant))
    there = sum(part.faces for part in float32.recall)
    found, expected = (sum(part.found for part in each.recall) for each in (other, float32))
    assert there > 1000
    assert found >= expected - 0.005 * there
    assert other.false_detections <= float32.false_detections + 0.005 * there
