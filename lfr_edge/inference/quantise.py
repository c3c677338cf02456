"""INT8 of a float32 ONNX file: convolutions take whole numbers of 8 bits, in ranges that were measured beforehand.

Pure surgery on the graph: QuantizeLinear and DequantizeLinear before each convolution whose input has a range, and its
weights stored as 8 bits, one scale for each output channel. A convolution whose input has none stays float32. There is
nothing to calibrate, so the same file and ranges give the same bytes everywhere, which the manifest pins by hash. What
is not here: where ranges come from (`engines/measure_variant.py`), and whether the result is good enough to stand for
the float32 model (`pipeline.agreement`). Imported only when a variant is made, because it needs onnx.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from lfr_edge.errors import ConfigError, Reason

_PER_CHANNEL_SINCE = (13, 7)  # opset and IR version that know scales by channel


def quantised(float32: bytes, ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """The INT8 file. `ranges` are the least and greatest value of tensors that convolutions read, by name.

    `float32` is a checked file. ConfigError if no convolution reads a tensor that has a range.
    """
    model = onnx.ModelProto.FromString(float32)
    _raise_opset(model)
    weights = {weight.name: weight for weight in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[0] in ranges:
            read, weight = node.input[:2]
            if read not in done:
                nodes.extend(_rounded(model.graph, read, ranges[read]))
                done.add(read)
            nodes.append(_restored_weights(model.graph, weights[weight]))
            node.input[0], node.input[1] = f"{read}_int8", f"{weight}_int8"
        nodes.append(node)
    if unread := sorted(set(ranges) - done):
        raise ConfigError(
            Reason.VALUE_INVALID, f"no convolution reads {unread[0]}", fix="restore the set's files as released"
        )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString(deterministic=True))


def _raise_opset(model: onnx.ModelProto) -> None:
    opset, ir_version = _PER_CHANNEL_SINCE
    model.ir_version = max(ir_version, model.ir_version)
    if model.opset_import[0].version >= opset:
        return
    model.opset_import[0].version = opset
    for node in model.graph.node:
        if node.op_type == "Unsqueeze":  # its axes are an input since 13; no other operator of our models changed
            axes = np.array(node.attribute[0].ints, "<i8")
            del node.attribute[:]
            node.input.append(_constant(model.graph, f"{node.output[0]}_axes", axes))


def _rounded(graph: onnx.GraphProto, name: str, bounds: tuple[float, float]) -> list[onnx.NodeProto]:
    """Two nodes that make `NAME_int8` of a tensor: the nearest of 256 steps, 0 one of them."""
    least, greatest = bounds
    unsigned = least >= 0  # after a ReLU: all 256 steps above 0
    step = np.float32(greatest) / np.float32(255) if unsigned else np.float32(max(-least, greatest)) / np.float32(127)
    scale = _constant(graph, f"{name}_scale", np.asarray(step, "<f4"))
    zero = _constant(graph, f"{name}_zero", np.zeros((), np.uint8 if unsigned else np.int8))
    make = onnx.helper.make_node
    return [
        make("QuantizeLinear", [name, scale, zero], [f"{name}_steps"], name=f"{name}_steps"),
        make("DequantizeLinear", [f"{name}_steps", scale, zero], [f"{name}_int8"], name=f"{name}_int8"),
    ]


def _restored_weights(graph: onnx.GraphProto, weight: onnx.TensorProto) -> onnx.NodeProto:
    """Replace float32 weights by steps; the node that makes `NAME_int8` of them again."""
    values: NDArray[np.float32] = onnx.numpy_helper.to_array(weight)
    name = weight.name
    per_channel = (-1,) + (1,) * (values.ndim - 1)
    scales = np.abs(values).reshape(len(values), -1).max(axis=1) / np.float32(127)
    scales[scales == 0] = 1  # a channel of zeros
    steps = np.rint(values / scales.reshape(per_channel)).astype(np.int8)
    graph.initializer.remove(weight)
    inputs = [
        _constant(graph, f"{name}_steps", steps),
        _constant(graph, f"{name}_scale", scales.astype("<f4")),
        _constant(graph, f"{name}_zero", np.zeros(len(values), np.int8)),
    ]
    return onnx.helper.make_node("DequantizeLinear", inputs, [f"{name}_int8"], name=f"{name}_int8", axis=0)


def _constant(graph: onnx.GraphProto, name: str, values: NDArray[np.generic]) -> str:
    # Not numpy_helper.from_array: how it stores an array is onnx's choice, and our bytes are pinned.
    kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    graph.initializer.append(onnx.TensorProto(name=name, dims=values.shape, data_type=kind, raw_data=values.tobytes()))
    return name
