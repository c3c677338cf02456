"""dlib's face recognition ResNet as an ONNX graph with a free batch size.

Only its own shape is understood: residual blocks between tags. What is not here: reading the file (`dlib_weights`).
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.inference.dlib_weights import (
    AddTagged,
    Affine,
    Convolution,
    DlibNetwork,
    Layer,
    Linear,
    Pool,
    Relu,
    Wrapper,
)

# Pinned, or the same weights would get another hash with another version of onnx.
_OPSET = 13
_IR_VERSION = 8

Shape = tuple[int, int, int]  # channels, rows, columns
Value = tuple[str, Shape]  # a tensor of the graph, without its batch dimension


def network_to_onnx(network: DlibNetwork) -> bytes:
    """The serialised model: input "face" (N, 3, size, size) float32, output "features" (N, D). Deterministic.

    UntrustedInputError where the layers do not make up a network of this kind.
    """
    *trunk, last = network.layers or (Relu(),)
    if not isinstance(last, Linear):
        raise _misfit("its last layer is not the linear one")
    face = ("face", (3, network.size_px, network.size_px))
    graph = _Graph(face)
    for layer, follower in zip(trunk, [*trunk[1:], last], strict=True):
        graph.add(layer, follower)
    dimension = graph.finish(last)
    description = helper.make_graph(
        graph.nodes,
        "dlib-face-recognition-resnet",
        [helper.make_tensor_value_info(face[0], TensorProto.FLOAT, ["batch", *face[1]])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", dimension])],
        graph.weights,
    )
    model = helper.make_model(description, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Nodes so far, and the value that flows out of the last one."""

    def __init__(self, source: Value) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._flow = source
        self._block_input: Value | None = None  # tag 1
        self._main_path: Value | None = None  # tag 2: the block's convolutions, while its shortcut is being built

    def add(self, layer: Layer, follower: Layer) -> None:
        """Append one layer of the trunk."""
        if isinstance(layer, Convolution):
            self._convolve(layer)
        elif isinstance(layer, Affine):
            self._scale(layer)
        elif isinstance(layer, Pool):
            self._pool(layer)
        elif isinstance(layer, Relu):
            self._flow = (self._node("Relu", self._flow[0]), self._flow[1])
        elif isinstance(layer, Wrapper):
            self._tag_or_skip(before_another=isinstance(follower, Wrapper))
        elif isinstance(layer, AddTagged):
            self._add_shortcut()
        else:
            raise _misfit("a linear layer before the end")

    def finish(self, layer: Linear) -> int:
        """Append the linear layer, whose result is the features; their dimension."""
        name, shape = self._flow
        inputs, dimension = layer.weights.shape
        if int(np.prod(shape)) != inputs:
            raise _misfit(f"{inputs} inputs of the linear layer for an output of {shape}")
        flat = self._node("Flatten", name, axis=1)
        weights = self._weight(layer.weights)
        self.nodes.append(helper.make_node("MatMul", [flat, weights], ["features"]))
        return int(dimension)

    def _convolve(self, layer: Convolution) -> None:
        name, shape = self._flow
        filters, channels, window, _ = layer.weights.shape
        if channels != shape[0]:
            raise _misfit(f"a convolution over {channels} channels where there are {shape[0]}")
        name = self._node(
            "Conv",
            name,
            self._weight(layer.weights),
            self._weight(layer.bias),
            kernel_shape=[window] * 2,
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
        )
        self._flow = (name, (filters, *_windowed(shape, window, layer.stride, layer.padding)))

    def _scale(self, layer: Affine) -> None:
        name, shape = self._flow
        if layer.gamma.size != shape[0]:
            raise _misfit(f"an affine layer over {layer.gamma.size} channels where there are {shape[0]}")
        scaled = self._node("Mul", name, self._weight(layer.gamma.reshape(-1, 1, 1)))
        self._flow = (self._node("Add", scaled, self._weight(layer.beta.reshape(-1, 1, 1))), shape)

    def _pool(self, layer: Pool) -> None:
        name, shape = self._flow
        if layer.padding:
            raise _misfit("a padded pool")
        if layer.window == 0 and layer.kind == "average":
            self._flow = (self._node("GlobalAveragePool", name), (shape[0], 1, 1))
            return
        operator = "MaxPool" if layer.kind == "max" else "AveragePool"
        name = self._node(operator, name, kernel_shape=[layer.window] * 2, strides=[layer.stride] * 2)
        self._flow = (name, (shape[0], *_windowed(shape, layer.window, layer.stride, 0)))

    def _tag_or_skip(self, *, before_another: bool) -> None:
        """A lone wrapper opens a block; two in a row end its main path and go back to its input."""
        if before_another:
            self._main_path = self._flow
        elif self._main_path is not None and self._block_input is not None:
            self._flow = self._block_input
        else:
            self._block_input = self._flow

    def _add_shortcut(self) -> None:
        other = self._main_path or self._block_input
        if other is None:
            raise _misfit("an addition before any tag")
        channels, rows, columns = (max(sides) for sides in zip(self._flow[1], other[1], strict=True))
        shape = (channels, rows, columns)
        self._flow = (self._node("Add", self._padded(self._flow, shape), self._padded(other, shape)), shape)
        self._main_path = self._block_input = None

    def _padded(self, value: Value, shape: Shape) -> str:
        """The value with zeros after its last channel, row and column, up to `shape`."""
        name, own = value
        missing = [wanted - has for wanted, has in zip(shape, own, strict=True)]
        if not any(missing):
            return name
        return self._node("Pad", name, self._weight(np.array([0, 0, 0, 0, 0, *missing], np.int64)))

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        # Any: as onnx types it.
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _weight(self, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _windowed(shape: Shape, window: int, stride: int, padding: int) -> tuple[int, int]:
    rows, columns = ((side + 2 * padding - window) // stride + 1 if stride else 0 for side in shape[1:])
    if min(rows, columns, window) < 1:
        raise _misfit(f"a window of {window} over {shape}")
    return rows, columns


def _misfit(what: str) -> UntrustedInputError:
    return UntrustedInputError(
        Reason.MALFORMED, f"not dlib's face recognition ResNet: {what}", fix="take the released file"
    )
