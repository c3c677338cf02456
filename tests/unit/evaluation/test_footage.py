"""Footage through the real recogniser: coloured squares walk by, and what is counted is what happened."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from support.clips import write_pictures
from support.square_faces import SIDE_PX, FakeExtractor, picture

from lfr_edge.biometrics.arena import Arena
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.evaluation.clips import Clips, measure_clips, read_clips
from lfr_edge.evaluation.footage import FootageMeasures, measure_footage, photos_in
from lfr_edge.evaluation.truth import read_ground_truth
from lfr_edge.evaluation.variants import AS_SHIPPED, OF_FOOTAGE, Variant
from lfr_edge.pipeline.decide import Rule
from lfr_edge.pipeline.tracks import Track

FPS = 10
ANN, BOB, CAT = 1, 2, 3
Faces = Sequence[tuple[int, int, int]]


def true_face(person: str, column: int) -> dict[str, Any]:
    left = column * SIDE_PX
    eyes = [[left + 15, 21], [left + 45, 21]]
    looks = {"iod": 30.0, "yaw": 0.0, "pitch": 0.0, "visible": 1.0, "blink": 0.0}
    return {"id": person, "box": [left, 0, SIDE_PX, SIDE_PX], "eyes": eyes, **looks}


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Ann stands on the left in every picture, Bob on the right from the tenth on."""
    shown = [[(0, ANN, 10), *([(2, BOB, 10)] if number >= 10 else [])] for number in range(30)]
    faces = [[true_face("ann", 0), *([true_face("bob", 2)] if number >= 10 else [])] for number in range(len(shown))]
    truth = {
        "about": "squares",
        "notes": "",
        "video": {"file": "pictures", "width": 3 * SIDE_PX, "height": SIDE_PX, "fps": FPS, "frames": len(shown)},
        "people": [],
        "frames": [{"i": number, "faces": there} for number, there in enumerate(faces)],
    }
    write_pictures(tmp_path / "pictures", [picture(*faces) for faces in shown])
    (tmp_path / "ground_truth.json").write_text(json.dumps(truth), "utf-8")
    return tmp_path


@pytest.fixture
def measured(street: Path, extractor: FakeExtractor) -> Callable[..., FootageMeasures]:
    def measure(variant: Any = AS_SHIPPED, **photos: Faces) -> FootageMeasures:
        folder = street / "photos"
        folder.mkdir(exist_ok=True)
        for person, faces in photos.items():
            Pillow.fromarray(picture(*faces)).save(folder / f"{person}.png")
        return measure_footage(read_ground_truth(street), photos_in([folder]), extractor, variant)

    return measure


def test_who_is_listed_alerts_once_and_the_other_does_not(
    measured: Callable[..., FootageMeasures],
) -> None:
    result = measured(ann=[(1, ANN, 0)], cat=[(1, CAT, 0)])
    totals = result.totals
    assert (totals.passes, totals.due, totals.recognised, totals.repeated, totals.false_alerts) == (2, 1, 1, 0, 0)
    (alert,) = result.alerts
    assert (alert.entry, alert.shows, alert.score) == ("ann", "ann", pytest.approx(0.995, abs=1e-3))
    assert totals.decided_after_s == (0.2,)  # followed from the second picture, confirmed with the third
    assert (result.tracking.tracks, result.tracking.identity_switches) == (2, 0)


def test_an_alert_about_a_look_alike_is_false(measured: Callable[..., FootageMeasures]) -> None:
    result = measured(ann=[(1, ANN, 0)], cat=[(1, BOB, 0)])
    assert {(alert.entry, alert.shows) for alert in result.alerts} == {("ann", "ann"), ("cat", "bob")}
    assert (result.totals.recognised, result.totals.false_alerts) == (1, 1)


def test_a_rule_that_asks_for_more_faces_decides_later(measured: Callable[..., FootageMeasures]) -> None:
    (later,) = (variant for variant in OF_FOOTAGE if variant.name == "confirmation 4")
    assert measured(later, ann=[(1, ANN, 0)]).totals.decided_after_s == (0.4,)


def variant_of(name: str) -> Variant:
    (variant,) = (variant for variant in OF_FOOTAGE if variant.name == name)
    return variant


def test_each_way_to_choose_faces_has_its_cost(measured: Callable[..., FootageMeasures]) -> None:
    # Ann alerts with her second face, and is looked at once a second then. Bob, a stranger, is followed in 19 pictures,
    # 100 ms apart.
    assert measured(ann=[(1, ANN, 0)]).embeddings_per_pass == (4 + 5) / 2
    assert measured(variant_of("a face every 120 ms embedded")).embeddings_per_pass == (4 + 10) / 2
    assert measured(variant_of("every face embedded")).embeddings_per_pass == (4 + 19) / 2


@pytest.fixture
def track_of(arena: Arena) -> Iterator[Callable[[str], Track]]:
    tracks = []

    def make(variant: str) -> Track:
        kind = variant_of(variant).recogniser.track_type  # type: ignore[attr-defined]
        tracks.append(kind(2, arena))
        return tracks[-1]

    yield make
    for track in tracks:
        track.release()


@pytest.mark.parametrize(
    ("variant", "probes"),
    [
        ("unweighted fusion", [[1, 0], [0.5**0.5, 0.5**0.5], [0.2**0.5, 0.8**0.5]]),
        ("no fusion: the best face alone", [[1, 0], [0, 1], [0, 1]]),
    ],
)
def test_other_fusions_are_what_their_names_say(
    track_of: Callable[[str], Track], variant: str, probes: list[list[float]]
) -> None:
    track = track_of(variant)
    faces = ([1, 0], 0.5), ([0, 1], 0.9), ([0, 1], 0.7)
    for number, ((face, quality), probe) in enumerate(zip(faces, probes, strict=True), 1):
        features = np.array(face, np.float32)
        track.best_quality = max(track.best_quality, quality)
        track.fuse(features, quality)
        assert features == pytest.approx(probe, abs=1e-6)
        assert track.faces == number


def test_without_the_early_rule_few_faces_need_no_more_than_many() -> None:
    rule = Rule(threshold=0.5, margin=0.1, confirmation=3, cooldown_s=7)
    changed = variant_of("few faces need no more than many").rule(rule)
    assert {changed.required(faces) for faces in range(1, 20)} == {0.5}
    assert (changed.threshold, changed.margin, changed.confirmation, changed.cooldown_s) == (0.5, 0.1, 3, 7)


def test_recall_counts_by_inter_eye_distance(measured: Callable[..., FootageMeasures]) -> None:
    detection = measured(ann=[(1, ANN, 0)]).detection
    assert [(recall.from_px, recall.faces, recall.found) for recall in detection.recall if recall.faces] == [
        (25, 50, 50)
    ]
    assert detection.false_detections == 0


def test_who_cannot_be_enrolled_is_counted_and_missed(measured: Callable[..., FootageMeasures]) -> None:
    result = measured(ann=[], bob=[(1, BOB, 0)])
    assert (result.failures_to_enrol, result.list_size, result.totals.due, result.totals.recognised) == (1, 1, 2, 1)


def test_photos_without_any_face_are_refused(measured: Callable[..., FootageMeasures]) -> None:
    with pytest.raises(UntrustedInputError, match="no face was found in any photo"):
        measured(ann=[])


def test_a_truth_about_another_clip_is_refused(street: Path, measured: Callable[..., FootageMeasures]) -> None:
    (street / "pictures" / "029.png").unlink()
    with pytest.raises(ConfigError, match="29 pictures, its ground truth 30"):
        measured(ann=[(1, ANN, 0)])


def test_a_malformed_truth_names_the_field(street: Path) -> None:
    path = street / "ground_truth.json"
    path.write_text(path.read_text("utf-8").replace('"iod": 30.0', '"iod": "large"', 1), "utf-8")
    with pytest.raises(ConfigError, match=r"frames\.0\.faces\.0\.iod"):
        read_ground_truth(street)


def test_two_photos_of_one_person_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Pillow.new("RGB", (9, 9)).save(tmp_path / folder / "ann.png")
    with pytest.raises(ConfigError, match="are both of 'ann'") as refused:
        photos_in([tmp_path / "one", tmp_path / "two"])
    assert refused.value.reason is Reason.VALUE_INVALID


@pytest.fixture
def clips(tmp_path: Path) -> Callable[..., Clips]:
    def make(**people: list[list[Faces]]) -> Clips:
        names: dict[str, list[str]] = {}
        for person, films in people.items():
            names[person] = [f"{person}{number}" for number in range(len(films))]
            for name, film in zip(names[person], films, strict=True):
                # The sharpest picture comes last.
                write_pictures(
                    tmp_path / name,
                    [picture(*faces, sharp=100 + number) for number, faces in enumerate(film)],
                )
        (tmp_path / "list.json").write_text(json.dumps({"fps": FPS, "people": names}), "utf-8")
        return read_clips(tmp_path, tmp_path / "list.json")

    return make


def still(who: int, far: int, pictures: int = 10) -> list[Faces]:
    return [[(1, who, far)]] * pictures


def test_each_clip_is_searched_with_the_others(clips: Callable[..., Clips], extractor: FakeExtractor) -> None:
    result = measure_clips(
        clips(
            ann=[still(ANN, 0), still(ANN, 10), still(ANN, 20)],
            bob=[still(BOB, 0), still(BOB, 10)],
            cat=[still(CAT, 0)],
        ),
        extractor,
        AS_SHIPPED,
    )
    pairs = [(showing.clip, showing.listed_from) for showing in result.showings]
    assert [pair for pair in pairs if pair[0].startswith("ann")] == [
        ("ann0", "ann1"),
        ("ann0", "ann2"),
        ("ann1", "ann0"),
        ("ann1", "ann2"),
        ("ann2", "ann0"),
        ("ann2", "ann1"),
    ]
    assert pairs[6:] == [("bob0", "bob1"), ("bob1", "bob0"), ("cat0", None)]
    assert (result.listed, result.found, result.strangers, result.false_alerts, result.repeated) == (8, 8, 1, 0, 0)
    assert result.genuine.comparisons == (6 + 2) * 10
    assert result.impostor.comparisons == (3 * 3 + 2 * 4 + 1 * 5) * 10
    assert (result.equal_error_rate, result.genuine.lowest > result.impostor.highest) == (0, True)


def test_a_stranger_who_looks_listed_is_a_false_alert(clips: Callable[..., Clips], extractor: FakeExtractor) -> None:
    result = measure_clips(clips(ann=[still(ANN, 0), still(ANN, 10)], cat=[still(ANN, 60)]), extractor, AS_SHIPPED)
    assert (result.found, result.false_alerts) == (2, 1)
    assert [(showing.clip, showing.found) for showing in result.showings if showing.false_alerts] == [("cat0", False)]


def test_the_template_is_the_sharpest_face_of_its_clip(clips: Callable[..., Clips], extractor: FakeExtractor) -> None:
    turning = [[(1, ANN, 150)]] * 9 + [[(1, ANN, 0)]]
    result = measure_clips(clips(ann=[turning, still(ANN, 0)], bob=[still(BOB, 0)]), extractor, AS_SHIPPED)
    found = {showing.clip: bool(showing.alerts) for showing in result.showings}
    assert found["ann1"], "enrolled from the last picture of ann0"


def test_a_clip_without_a_face_is_named(clips: Callable[..., Clips], extractor: FakeExtractor) -> None:
    with pytest.raises(UntrustedInputError, match=r"no face was found in .*bob0"):
        measure_clips(clips(ann=[still(ANN, 0)], bob=[[[], []]]), extractor, AS_SHIPPED)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"fps": 0, "people": {"a": ["x"], "b": ["y"]}}', "fps"),
        ('{"fps": 9, "people": {"a": ["x"]}}', "people"),
        ('{"fps": 9, "people": {"a": [], "b": ["y"]}}', "people.a"),
        ('{"fps": 9, "people": {"a": ["x"], "b": ["y"]}}', "x is not there"),
        ("no JSON", "Invalid JSON"),
    ],
)
def test_a_wrong_list_of_clips_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "list.json").write_text(content, "utf-8")
    with pytest.raises(ConfigError) as refused:
        read_clips(tmp_path, tmp_path / "list.json")
    assert complaint in refused.value.message


def test_without_mirrored_averaging_the_contract_is_another(extractor: FakeExtractor) -> None:
    (plain,) = (variant for variant in OF_FOOTAGE if variant.name == "without mirrored averaging")
    changed = plain.engine_set(extractor.engine_set)
    assert not any(embedder.mirrored for embedder in changed.embedders)
    assert changed.contract != extractor.engine_set.contract
    assert replace(AS_SHIPPED).engine_set(extractor.engine_set) == extractor.engine_set
