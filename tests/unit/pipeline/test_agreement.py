"""What the parity gate of variants lets through: two golden faces, and an extractor that sees what the test says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.errors import ConfigError
from lfr_edge.inference.manifest import EngineSet, GoldenFace, GoldenFaces, Variant, load_engine_set
from lfr_edge.pipeline.agreement import Agreement, agreement, require_agreement
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box

PICTURE = np.zeros((32, 64, 3), np.uint8)
EYES_PX = 10.0  # apart
FACE = ((0.0, 0.0), (EYES_PX, 0.0), (5.0, 5.0), (2.0, 9.0), (8.0, 9.0))
Seen = tuple[float, Sequence[float]]  # x of the left eye, features


def golden(*lefts: float) -> GoldenFaces:
    """Faces side by side; the features of each are an axis of their own."""
    faces = [
        GoldenFace(landmarks_px=cast(Any, tuple((x + left, y) for x, y in FACE)), features=tuple(map(float, row)))
        for left, row in zip(lefts, np.eye(len(lefts)), strict=True)
    ]
    return GoldenFaces(origin="made up", picture_sha256="0" * 64, faces=tuple(faces))


class SeeingExtractor:
    """Finds what it was made with."""

    def __init__(self, *seen: Seen) -> None:
        self.arena = Arena(1 << 20, memory_lock=FakeMemoryLock(allow=False))
        self.dimension = 2
        self._seen = seen

    def detect(self, _image: Image) -> list[Detection]:
        return [Detection(Box(0, 0, 1, 1), np.add(FACE, (left, 0)), 0.9) for left, _ in self._seen]

    def embed(self, _image: Image, detections: Sequence[Detection], *, out: NDArray[np.float32]) -> None:
        assert len(detections) == len(self._seen)
        out[:] = [features for _, features in self._seen]


def found(expected: GoldenFaces, *seen: Seen) -> Agreement:
    return agreement(cast(Extractor, SeeingExtractor(*seen)), expected, PICTURE)


def test_the_same_faces_in_any_order_agree() -> None:
    same = found(golden(0, 30), (30.1, (0, 1)), (0, (1, 0)))
    assert same.is_enough
    assert (same.missed, same.extra, same.cosine) == (0, 0, 1)
    assert same.landmark_shift == pytest.approx(0.1 / EYES_PX)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_do_not_agree(value: float) -> None:
    assert not found(golden(0, 30), (0, (1, 0)), (30, (value, 1))).is_enough


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_landmarks_that_are_no_numbers_are_of_nobody(value: float) -> None:
    broken = found(golden(0, 30), (value, (0, 1)), (0, (1, 0)))
    assert (broken.missed, broken.extra) == (1, 1)
    assert not broken.is_enough


def test_features_that_are_too_long_are_no_more_alike() -> None:
    assert found(golden(0, 30), (0, (1, 0)), (30, (9, 9))).cosine == pytest.approx(0.5**0.5)


def test_a_face_stands_for_one_golden_face_only() -> None:
    # The second is nearest to both, and a third is elsewhere: as many as there should be.
    once = found(golden(0, 4), (1, (1, 0)), (60, (0, 1)))
    assert (once.missed, once.extra) == (1, 1)


def test_the_nearest_find_each_other_first() -> None:
    near = found(golden(0, 4), (3.9, (0, 1)), (0.1, (1, 0)))
    assert near.landmark_shift == pytest.approx(0.1 / EYES_PX)
    assert near.is_enough


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("yunet-mobilefacenet-int8", "use yunet-mobilefacenet; INT8 needs a processor with VNNI"),
        (
            "yunet-mobilefacenet-bf16",
            "use yunet-mobilefacenet; bfloat16 needs a processor that has it (avx512_bf16 or amx_bf16)",
        ),
    ],
)
def test_a_refusal_says_what_this_arithmetic_needs(name: str, fix: str) -> None:
    engine_set: EngineSet = load_engine_set(name)
    variant = engine_set.variant
    assert isinstance(variant, Variant)
    assert variant.picture.is_file()
    with pytest.raises(ConfigError) as refused:
        require_agreement(engine_set, variant, Agreement(missed=0, extra=0, landmark_shift=0.01, cosine=0.98))
    assert refused.value.fix == fix
    require_agreement(engine_set, variant, Agreement(missed=0, extra=0, landmark_shift=0.01, cosine=0.99))


def test_where_the_golden_picture_lies_is_in_no_digest(tmp_path: Path) -> None:
    engine_set = load_engine_set("yunet-mobilefacenet-int8")
    variant = engine_set.variant
    assert variant is not None
    moved = engine_set.model_copy(update={"variant": variant.model_copy(update={"picture": tmp_path})})
    assert moved.digest == engine_set.digest
