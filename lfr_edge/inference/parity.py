"""Whether a backend computes what the engine set was measured with: golden pictures through it, against golden outputs.

The pictures are made by integer arithmetic, the same on every machine, and show nobody. The outputs in `golden.json`
were computed by another implementation than any backend here: onnx's reference evaluator, in numpy.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.port import BatchShape, InferenceEngine

# float32 backends differ by summation order: the worst cosine seen is 0.99999999. FP16 plans get their own bound.
FLOAT32_BOUND = 0.99999

_CELL_PX = 7  # coarse blocks: a network for pictures answers noise with almost nothing
DETECTOR_SHAPE: BatchShape = (1, 32, 64, 3)  # not square, so that swapped sides show
EMBEDDER_COUNT = 3


def golden_batch(shape: BatchShape) -> NDArray[np.uint8]:
    """The golden pictures of this shape, BGR."""
    sample, row, column, channel = np.indices(shape, dtype=np.uint32)
    cell = (row // _CELL_PX) * 89 + (column // _CELL_PX) * 97 + sample * 101 + channel * 103
    mixed = (cell * np.uint32(2654435761)) >> np.uint32(24)  # Knuth's multiplicative hash: one of 256 values per cell
    shaded = mixed + (row * 3 + column * 2) % 61
    return np.ascontiguousarray(shaded % 256, dtype=np.uint8)


def worst_cosine(engine_set: EngineSet, detector: InferenceEngine, embedders: Sequence[InferenceEngine]) -> float:
    """The lowest cosine between golden and computed outputs: per detector output, per embedder and picture."""
    outputs = _run(detector, golden_batch(DETECTOR_SHAPE))
    cosines = [cosine_of(outputs[name], golden) for name, golden in engine_set.golden.detector.items()]
    for spec, golden_rows, engine in zip(engine_set.embedders, engine_set.golden.embedders, embedders, strict=True):
        width, height = spec.size_px
        features = _run(engine, golden_batch((len(golden_rows), height, width, 3)))[engine.output_names[0]]
        cosines += [cosine_of(row, golden) for row, golden in zip(features, golden_rows, strict=True)]
    return min(cosines)


def _run(engine: InferenceEngine, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
    count, height, width, channels = batch.shape
    shapes = engine.output_shapes((count, height, width, channels))
    outputs = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
    engine.infer(batch, outputs)
    return outputs


def cosine_of(computed: NDArray[np.float32], golden: Sequence[float]) -> float:
    """Cosine in [-1, 1]; -1 where sizes differ or nothing was computed, so that a broken backend cannot pass."""
    a, b = computed.ravel().astype(np.float64), np.asarray(golden)
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b)) if a.size == b.size else 0.0
    # Written so that a NaN or an infinity among the outputs, which makes the length one, does not pass either.
    return float(a @ b) / lengths if 0 < lengths < math.inf else -1.0
