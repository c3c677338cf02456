# noqa: INP001 - a script
"""Measure a set's golden outputs with onnx's reference evaluator: `python engines/measure_golden.py NAME STORE`.

Writes `engines/NAME/golden.json`. Run once when a set is added or one of its models changes; needs the models in STORE.
"""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from lfr_edge.inference.manifest import EngineSet, ModelSpec
from lfr_edge.inference.parity import DETECTOR_SHAPE, EMBEDDER_COUNT, golden_batch
from lfr_edge.inference.store import EngineStore

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ORIGIN = f"onnx {onnx.__version__} ReferenceEvaluator (numpy), float32, {datetime.now(timezone.utc):%Y-%m-%d}"
_NOT_YET = {"origin": "", "detector": {}, "embedders": []}


def main(name: str, store: EngineStore) -> None:
    """Measure NAME and write its golden.json."""
    folder = Path(__file__).parent / name
    fields = tomllib.loads((folder / "manifest.toml").read_text("utf-8")) | {"golden": _NOT_YET}
    engine_set = EngineSet.model_validate_json(json.dumps(fields))
    detector = _outputs(engine_set.detector, store, golden_batch(DETECTOR_SHAPE))
    embedders = []
    for spec in engine_set.embedders:
        width, height = spec.size_px
        (features,) = _outputs(spec, store, golden_batch((EMBEDDER_COUNT, height, width, 3))).values()
        embedders.append([_digits(row) for row in features])
    golden = {
        "origin": _ORIGIN,
        "detector": {output: _digits(values) for output, values in detector.items()},
        "embedders": embedders,
    }
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n", "utf-8")


def _outputs(spec: ModelSpec, store: EngineStore, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The model's outputs by name. The pre-processing is written out here, apart from any backend's."""
    model = onnx.load_model_from_string(store.read(spec.onnx))
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        # The evaluator runs opset 9's as in training (found with CenterFace, onnx 1.23); from 14 on it does not.
        model.opset_import[0].version = max(15, model.opset_import[0].version)
    ordered = batch[..., ::-1] if spec.colour == "rgb" else batch
    planes = (ordered.astype(np.float32) - np.float32(spec.mean)) / np.float32(spec.std)
    values = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: planes.transpose(0, 3, 1, 2)})
    return dict(zip([output.name for output in model.graph.output], values, strict=True))


def _digits(values: NDArray[np.float32]) -> list[float]:
    """Seven significant digits: all that float32 has."""
    return [float(f"{value:.7g}") for value in values.ravel()]


if __name__ == "__main__":
    main(sys.argv[1], EngineStore(Path(sys.argv[2])))
