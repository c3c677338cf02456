import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.errors import ConfigError

onnx = pytest.importorskip("onnx")

from lfr_edge.inference.quantise import quantised  # noqa: E402 - needs onnx

RANGES = {"picture": (0.0, 255.0), "inside": (-8.0, 6.0)}


def constant(name: str, values: NDArray[np.float32]) -> object:
    return onnx.TensorProto(name=name, dims=values.shape, data_type=onnx.TensorProto.FLOAT, raw_data=values.tobytes())


@pytest.fixture(scope="module")
def float32() -> bytes:
    """Two convolutions in a row and an Unsqueeze, as old as YuNet's export."""
    values = np.random.default_rng(7)
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    first = (values.normal(size=(4, 3, 3, 3)) / 500).astype("<f4")
    first[3] = 0  # a channel that computes nothing
    graph = onnx.helper.make_graph(
        [
            make("Conv", ["picture", "first"], ["inside"], pads=[1, 1, 1, 1]),
            make("Conv", ["inside", "second"], ["folded"]),
            make("Unsqueeze", ["folded"], ["result"], axes=[0]),
        ],
        "network",
        [info("picture", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [info("result", onnx.TensorProto.FLOAT, [1, "n", 2, "h", "w"])],
        [constant("first", first), constant("second", values.normal(size=(2, 4, 1, 1)).astype("<f4"))],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=6)
    return bytes(model.SerializeToString(deterministic=True))


def computed(content: bytes) -> NDArray[np.float32]:
    reference = pytest.importorskip("onnx.reference")
    model = onnx.ModelProto.FromString(content)
    if model.opset_import[0].version == 13:
        model.opset_import[0].version = 21  # onnx's evaluator knows these operators from 19 on; they compute the same
    picture = np.random.default_rng(8).integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    (result,) = reference.ReferenceEvaluator(model).run(None, {"picture": picture})
    return np.asarray(result, np.float32)


def operators(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.ModelProto.FromString(content).graph.node]


def test_the_same_file_and_ranges_give_the_same_bytes_with_every_onnx(float32: bytes) -> None:
    assert hashlib.sha256(float32).hexdigest()[:16] == "a4494e4b09f7533f"
    assert hashlib.sha256(quantised(float32, RANGES)).hexdigest()[:16] == "9e1c47326e7cd5b6"


def test_the_result_is_a_valid_model_that_computes_nearly_the_same(float32: bytes) -> None:
    made = quantised(float32, RANGES)
    onnx.checker.check_model(onnx.ModelProto.FromString(made), full_check=True)
    expected, found = computed(float32), computed(made)
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_weights_are_stored_in_8_bits(float32: bytes) -> None:
    model = onnx.ModelProto.FromString(quantised(float32, RANGES))
    kinds = {weight.name: weight.data_type for weight in model.graph.initializer}
    assert kinds["first_steps"] == kinds["second_steps"] == onnx.TensorProto.INT8
    assert "first" not in kinds


def test_whole_numbers_from_0_to_255_lose_nothing(float32: bytes) -> None:
    model = onnx.ModelProto.FromString(quantised(float32, RANGES))
    constants = {weight.name: onnx.numpy_helper.to_array(weight) for weight in model.graph.initializer}
    assert constants["picture_scale"] == 1
    assert constants["picture_zero"].dtype == np.uint8


def test_a_convolution_without_a_range_stays_float32(float32: bytes) -> None:
    made = quantised(float32, {"picture": RANGES["picture"]})
    assert operators(made).count("DequantizeLinear") == 2
    assert operators(quantised(float32, RANGES)).count("DequantizeLinear") == 4


def test_ranges_that_are_too_small_change_the_result(float32: bytes) -> None:
    made = quantised(float32, {**RANGES, "inside": (-0.5, 0.5)})
    assert np.abs(computed(made) - computed(float32)).max() > 0.2 * np.abs(computed(float32)).max()


@pytest.mark.parametrize("name", ["nonesuch", "folded"])
def test_a_range_that_no_convolution_reads_is_refused(float32: bytes, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        quantised(float32, {**RANGES, name: (0.0, 1.0)})
