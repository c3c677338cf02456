import hashlib
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.inference.parity import DETECTOR_SHAPE, golden_batch, worst_cosine


class ReplayingEngine:
    """Answers with given outputs, whatever it is asked."""

    def __init__(self, outputs: Mapping[str, NDArray[np.float32]]) -> None:
        self.outputs = dict(outputs)
        self.output_names = tuple(outputs)

    def output_shapes(self, batch_shape: tuple[int, int, int, int]) -> dict[str, tuple[int, ...]]:
        del batch_shape
        return {name: output.shape for name, output in self.outputs.items()}

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        del batch
        for name, output in self.outputs.items():
            out[name][:] = output

    def forget(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def engine_set() -> EngineSet:
    return load_engine_set("yunet-mobilefacenet")


@pytest.fixture
def detector(engine_set: EngineSet) -> ReplayingEngine:
    return ReplayingEngine({name: np.asarray(rows, np.float32) for name, rows in engine_set.golden.detector.items()})


@pytest.fixture
def embedder(engine_set: EngineSet) -> ReplayingEngine:
    return ReplayingEngine({"features": np.asarray(engine_set.golden.embedders[0], np.float32)})


def test_golden_pictures_are_the_same_on_every_machine() -> None:
    digest = hashlib.sha256(golden_batch((3, 112, 112, 3)).tobytes() + golden_batch(DETECTOR_SHAPE).tobytes())
    assert digest.hexdigest() == "79d08a4d4e2132154d79ef88d04219d42d6cc828d9f85367264cf2d26c044f04"


def test_golden_pictures_differ_from_each_other_and_from_their_mirror_images() -> None:
    first, second, _ = golden_batch((3, 112, 112, 3))
    for other in (second, first[:, ::-1], first[::-1], first[:, :, ::-1], first.transpose(1, 0, 2)):
        assert np.abs(first.astype(int) - other).mean() > 20


def test_golden_outputs_agree_with_themselves(
    engine_set: EngineSet, detector: ReplayingEngine, embedder: ReplayingEngine
) -> None:
    assert worst_cosine(engine_set, detector, [embedder]) == pytest.approx(1, abs=1e-6)


def test_one_wrong_picture_of_an_embedder_is_found(
    engine_set: EngineSet, detector: ReplayingEngine, embedder: ReplayingEngine
) -> None:
    embedder.outputs["features"][2] = embedder.outputs["features"][1]
    assert worst_cosine(engine_set, detector, [embedder]) < 0.99


def test_one_wrong_output_of_a_detector_is_found(
    engine_set: EngineSet, detector: ReplayingEngine, embedder: ReplayingEngine
) -> None:
    detector.outputs["kps_8"] = detector.outputs["kps_8"][::-1]
    assert worst_cosine(engine_set, detector, [embedder]) < 0.99


@pytest.mark.parametrize("broken", [np.nan, 0.0, np.inf])
def test_a_backend_that_computes_nothing_does_not_pass(
    engine_set: EngineSet, detector: ReplayingEngine, embedder: ReplayingEngine, broken: float
) -> None:
    embedder.outputs["features"][0] = broken
    assert worst_cosine(engine_set, detector, [embedder]) == -1
