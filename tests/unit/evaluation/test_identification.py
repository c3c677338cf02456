"""Open-set identification: a data set of coloured squares whose rates can be worked out by hand."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from support.square_faces import FakeExtractor, picture

from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.evaluation.dataset import DataSet, read_data_set
from lfr_edge.evaluation.identification import identify

Faces = Sequence[tuple[int, int, int]]
SPLIT: dict[str, Any] = {
    "gallery": [["ann", "ann/1.png"], ["bob", "bob/1.png"]],
    "mated": [["ann", ["ann/2.png", "ann/3.png"]], ["bob", ["bob/2.png"]]],
    "nonmated": ["cat/1.png", "dan/1.png"],
}
# Column, who, how far from typical (hundredths of a radian).
PICTURES: dict[str, Faces] = {
    "ann/1.png": [(1, 1, 0)],
    "ann/2.png": [(1, 1, 20)],
    "ann/3.png": [(0, 1, 100), (2, 2, 0)],
    "bob/1.png": [(1, 2, 0)],
    "bob/2.png": [(1, 2, 60), (0, 1, 0)],
    "cat/1.png": [(1, 3, 0)],
    "dan/1.png": [(1, 1, 110)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(pictures: Mapping[str, Faces] = PICTURES, split: object = SPLIT) -> Path:
        for name, faces in pictures.items():
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(picture(*faces)).save(path)
        (tmp_path / "split.json").write_text(json.dumps(split), "utf-8")
        return tmp_path

    return make


@pytest.fixture
def data(folder: Callable[..., Path]) -> DataSet:
    return read_data_set(folder())


def test_the_rates_are_those_worked_out_by_hand(data: DataSet, extractor: FakeExtractor) -> None:
    # Found at cos 0.2 = .98 and cos 0.6 = .83; ann/3 ties in distance, and the first face is hers, at cos 1 = .54.
    measured = identify(data, extractor)
    assert (measured.list_size, measured.mated_searches, measured.mated_subjects) == (2, 3, 2)
    assert (measured.failures_to_enrol, measured.failures_to_acquire, measured.pictures_with_others) == (0, 0, 2)
    recommended = next(point for point in measured.points if point.name == "recommended")
    assert recommended.threshold == extractor.engine_set.threshold == 0.54
    assert (recommended.tpir.value, recommended.fpir.value) == (1, 0)
    strict = next(point for point in measured.points if point.name == "FPIR 0.1 %")
    assert strict.threshold == pytest.approx(np.cos(1.1))
    assert (strict.tpir.value, strict.fpir.value, measured.rank_1.value) == (1, 0, 1)


def test_who_cannot_be_enrolled_is_a_miss_and_not_on_the_list(
    folder: Callable[..., Path], extractor: FakeExtractor
) -> None:
    measured = identify(read_data_set(folder({**PICTURES, "bob/1.png": []})), extractor)
    assert (measured.list_size, measured.failures_to_enrol) == (1, 1)
    assert measured.rank_1.value == 2 / 3


def test_a_probe_without_a_face_is_a_miss(folder: Callable[..., Path], extractor: FakeExtractor) -> None:
    measured = identify(read_data_set(folder({**PICTURES, "ann/2.png": [], "dan/1.png": []})), extractor)
    assert measured.failures_to_acquire == 2
    assert measured.rank_1.value == 2 / 3
    assert {point.fpir.value for point in measured.points} == {0}


def test_a_mated_search_that_returns_another_is_counted(folder: Callable[..., Path], extractor: FakeExtractor) -> None:
    measured = identify(read_data_set(folder({**PICTURES, "ann/2.png": [(1, 2, 0)]})), extractor)
    recommended = next(point for point in measured.points if point.name == "recommended")
    assert (recommended.tpir.value, recommended.mated_as_another) == (2 / 3, 1)


def test_bystanders_are_left_out_wherever_they_stand(folder: Callable[..., Path], extractor: FakeExtractor) -> None:
    alone, beside = (
        identify(read_data_set(folder({**PICTURES, "cat/1.png": faces})), extractor).points
        for faces in ([(1, 3, 0)], [(0, 1, 0), (1, 3, 0), (2, 2, 0)])
    )
    assert alone == beside


def test_a_gallery_without_any_face_is_refused(folder: Callable[..., Path], extractor: FakeExtractor) -> None:
    with pytest.raises(UntrustedInputError, match="no face was found in any gallery picture"):
        identify(read_data_set(folder({**PICTURES, "ann/1.png": [], "bob/1.png": []})), extractor)


def test_a_damaged_picture_is_named(data: DataSet, extractor: FakeExtractor) -> None:
    (data.images / "dan" / "1.png").write_bytes(b"no picture")
    with pytest.raises(UntrustedInputError, match=r"dan/1\.png: it is not a JPEG") as refused:
        identify(data, extractor)
    assert refused.value.reason is Reason.SAMPLE_UNUSABLE


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"gallery": []}, "gallery: Tuple should have at least 1 item"),
        ({"nonmated": []}, "nonmated: Tuple should have at least 1 item"),
        ({"gallery": [["ann", "ann/1.png"], ["ann", "bob/1.png"]]}, "a subject is in the gallery twice"),
        ({"mated": [["eve", ["ann/2.png"]]]}, "'eve' is mated but not in the gallery"),
        ({"nonmated": ["bob/2.png"]}, "'bob' is non-mated but in the gallery"),
        ({"mated": [["ann", ["ann/1.png"]]]}, "a picture is both enrolled and searched for"),
        ({"nonmated": ["../secret/1.png"]}, "is not SUBJECT/PICTURE"),
        ({"nonmated": ["/etc/passwd"]}, "is not SUBJECT/PICTURE"),
        ({"probes": []}, "probes: Extra inputs are not permitted"),
    ],
)
def test_an_inconsistent_split_is_refused(folder: Callable[..., Path], change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_data_set(folder(split={**SPLIT, **change}))
    assert refused.value.reason is Reason.FILE_MALFORMED
    assert complaint in refused.value.message


def test_a_missing_picture_is_named_before_anything_is_measured(folder: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"eve/1\.png is not there"):
        read_data_set(folder(split={**SPLIT, "nonmated": ["eve/1.png"]}))


def test_a_folder_without_a_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"split\.json: No such file"):
        read_data_set(tmp_path)


@pytest.mark.parametrize("lowered", [True, False])
def test_scores_are_lowered_as_in_a_van_unless_told_otherwise(
    folder: Callable[..., Path], extractor: FakeExtractor, *, lowered: bool
) -> None:
    # Eight of sixteen resemble each other; the stranger looks exactly like one of them.
    pictures = {f"p{who}/1.png": [(1, who, 80 if who <= 8 else 0)] for who in range(1, 17)}
    pictures |= {"p1/2.png": [(1, 1, 80)], "cat/1.png": [(1, 2, 80)]}
    split = {
        "gallery": [[f"p{who}", f"p{who}/1.png"] for who in range(1, 17)],
        "mated": [["p1", ["p1/2.png"]]],
        "nonmated": ["cat/1.png"],
    }
    measured = identify(read_data_set(folder(pictures, split)), extractor, lowered=lowered)
    strict = next(point for point in measured.points if point.name == "FPIR 0.1 %")
    assert (strict.threshold < 0.95) == lowered
