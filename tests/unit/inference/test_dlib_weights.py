"""A tiny network in dlib's format, written here from the format's description, read back and run."""

import contextlib
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfr_edge.errors import LfrEdgeError, UntrustedInputError
from lfr_edge.inference.dlib_graph import network_to_onnx
from lfr_edge.inference.dlib_weights import AddTagged, Affine, Convolution, Linear, Pool, Wrapper, read_network

onnx_reference = pytest.importorskip("onnx.reference")

Array = NDArray[np.float32]
SIZE_PX = 9
_TRAINING_STATE = b"110" + 3 * (b"\x01\x02" + 4 * b"\x01\x00")


def integer(value: int) -> bytes:
    magnitude = abs(value)
    digits = magnitude.to_bytes(max(1, -(-magnitude.bit_length() // 8)), "little")
    return bytes([len(digits) | (0x80 if value < 0 else 0)]) + digits


def number(value: float) -> bytes:
    mantissa, exponent = math.frexp(value)
    return integer(int(mantissa * 2**24)) + integer(exponent - 24)


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode("ascii")


def sizes(*values: int) -> bytes:
    return b"".join(integer(value) for value in values)


def tensor(values: Sequence[float] | Array) -> bytes:
    flat = np.asarray(values, "<f4").ravel()
    return integer(2) + sizes(flat.size, 1, 1, 1) + flat.tobytes()


def convolution(weights: Array, bias: Array, stride: int, padding: int) -> bytes:
    filters, _, window, _ = weights.shape
    return (
        text("con_4")
        + tensor(np.concatenate([weights.ravel(), bias]))
        + sizes(filters, window, window, stride, stride, padding, padding)
        + integer(1)
        + sizes(*weights.shape)
        + integer(1)
        + sizes(1, filters, 1, 1)
        + 4 * number(1.0)
    )


def affine(gamma: Array, beta: Array) -> bytes:
    view = integer(1) + sizes(1, gamma.size, 1, 1)
    return text("affine_") + tensor(np.concatenate([gamma, beta])) + 2 * view + integer(0)


def pool(kind: str, window: int, stride: int) -> bytes:
    return text(kind) + sizes(window, window, stride, stride, 0, 0)


def linear(weights: Array) -> bytes:
    inputs, outputs = weights.shape
    views = integer(1) + sizes(inputs, outputs, 1, 1) + integer(1) + sizes(0, 0, 0, 0)
    return text("fc_2") + sizes(outputs, inputs) + tensor(weights) + views + integer(1) + 4 * number(1.0)


def network(layers: Sequence[bytes | None]) -> bytes:
    """From input to output; None is a tag or a skip."""
    versions = [3 if index == 0 else 1 if layer is None else 2 for index, layer in enumerate(layers)]
    head = integer(1) + text("loss_metric_2") + number(0.04) + number(0.6)
    head += sizes(*reversed(versions)) + text("input_rgb_image_sized")
    head += number(122.75) + number(117.0) + number(104.25) + sizes(SIZE_PX, SIZE_PX)
    body = b""
    for index, layer in enumerate(layers):
        if layer is not None:
            body += layer + _TRAINING_STATE + (integer(1) if index == 0 else b"")
    return head + body


_random = np.random.default_rng(29)


def values(*shape: int) -> Array:
    return _random.normal(size=shape).astype(np.float32)


STEM, STEM_BIAS, GAMMA, BETA = values(4, 3, 3, 3), values(4), values(4), values(4)
INNER, INNER_BIAS = values(4, 4, 3, 3), values(4)
DOWN, DOWN_BIAS = values(6, 4, 3, 3), values(6)
LAST = values(6, 5)

RELU, ADD, WRAPPER = text("relu_"), text("add_prev_"), None
LAYERS = [
    convolution(STEM, STEM_BIAS, 2, 0),  # 9 -> 4
    affine(GAMMA, BETA),
    RELU,
    pool("max_pool_2", 1, 1),
    WRAPPER,  # tag 1
    convolution(INNER, INNER_BIAS, 1, 1),
    ADD,
    WRAPPER,  # tag 1
    convolution(DOWN, DOWN_BIAS, 2, 0),  # 4 -> 1
    WRAPPER,  # tag 2
    WRAPPER,  # skip 1
    pool("avg_pool_2", 2, 2),  # 4 -> 2
    ADD,  # 6 channels of 1x1, and 4 of 2x2
    text("avg_pool_2") + sizes(0, 0, 1, 1, 0, 0),
    linear(LAST),
]
FILE = network(LAYERS)


def convolved(x: Array, weights: Array, bias: Array, stride: int, padding: int) -> Array:
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    side = (x.shape[1] - weights.shape[2]) // stride + 1
    out = np.empty((weights.shape[0], side, side), np.float32)
    for row in range(side):
        for column in range(side):
            patch = x[:, row * stride :, column * stride :][:, : weights.shape[2], : weights.shape[3]]
            out[:, row, column] = np.tensordot(weights, patch, 3) + bias
    return out


def expected_features(x: Array) -> Array:
    x = convolved(x, STEM, STEM_BIAS, 2, 0)
    x = np.maximum(x * GAMMA[:, None, None] + BETA[:, None, None], 0)
    x = x + convolved(x, INNER, INNER_BIAS, 1, 1)
    total = np.zeros((6, 2, 2), np.float32)  # zeros beyond the smaller one's channels, rows and columns
    total[:, :1, :1] += convolved(x, DOWN, DOWN_BIAS, 2, 0)
    total[:4] += x.reshape(4, 2, 2, 2, 2).mean(axis=(2, 4))
    features: Array = total.mean(axis=(1, 2)) @ LAST
    return features


def test_a_network_is_read_completely() -> None:
    read = read_network(FILE)
    assert read.mean == (122.75, 117.0, 104.25)
    assert read.size_px == SIZE_PX
    assert [type(layer) for layer in read.layers[:2]] == [Convolution, Affine]
    assert [type(layer) for layer in read.layers[-7:]] == [Convolution, Wrapper, Wrapper, Pool, AddTagged, Pool, Linear]
    stem = read.layers[0]
    assert isinstance(stem, Convolution)
    np.testing.assert_array_equal(stem.weights, STEM)
    np.testing.assert_array_equal(stem.bias, STEM_BIAS)


def test_the_graph_computes_what_the_layers_mean() -> None:
    faces = values(2, 3, SIZE_PX, SIZE_PX)
    (features,) = onnx_reference.ReferenceEvaluator(network_to_onnx(read_network(FILE))).run(None, {"face": faces})
    np.testing.assert_allclose(features, [expected_features(face) for face in faces], rtol=1e-4, atol=1e-5)


def test_the_same_weights_give_the_same_bytes() -> None:
    assert network_to_onnx(read_network(FILE)) == network_to_onnx(read_network(FILE))


@pytest.mark.parametrize("cut", [0, 1, 40, 100, len(FILE) // 2, len(FILE) - 1])
def test_a_truncated_file_is_refused(cut: int) -> None:
    with pytest.raises(UntrustedInputError):
        read_network(FILE[:cut])


def test_a_byte_too_many_is_refused() -> None:
    with pytest.raises(UntrustedInputError, match="1 bytes after its end"):
        read_network(FILE + b"\0")


def test_sizes_that_the_file_does_not_cover_allocate_nothing() -> None:
    huge = integer(2) + 4 * integer(1 << 24)
    with pytest.raises(UntrustedInputError, match="bytes wanted"):
        read_network(network([text("con_4") + huge]))


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (text("bn_con2"), "unknown kind"),
        (
            convolution(STEM, STEM_BIAS, 2, 0).replace(STEM_BIAS.tobytes(), np.full(4, np.nan, "<f4").tobytes()),
            "finite",
        ),
        (text("con_4") + tensor(STEM[:1]) + convolution(STEM, STEM_BIAS, 2, 0)[-60:], "not a dlib"),
        (text("avg_pool_2") + sizes(2, 3, 1, 1, 0, 0), "window is 3, not 2"),
        (integer(65) + b"x" * 65, "a name of 65 bytes"),
        (b"\x75", "no integer"),
    ],
)
def test_a_layer_that_is_none_is_refused(layer: bytes, why: str) -> None:
    with pytest.raises(UntrustedInputError, match=why):
        read_network(network([layer]))


def test_endless_layers_are_refused() -> None:
    head = integer(1) + text("loss_metric_2") + number(0.04) + number(0.6)
    with pytest.raises(UntrustedInputError, match="more than 1024 layers"):
        read_network(head + 5000 * integer(2))


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        (LAYERS[:-1], "last layer"),
        ([LAYERS[0], linear(values(7, 5))], "7 inputs"),
        ([LAYERS[0], ADD, LAYERS[-1]], "before any tag"),
        ([LAYERS[0], LAYERS[-1], LAYERS[-1]], "before the end"),
        ([convolution(DOWN, DOWN_BIAS, 2, 0), LAYERS[-1]], "4 channels where there are 3"),
        ([LAYERS[0], affine(values(5), values(5)), LAYERS[-1]], "5 channels where there are 4"),
        ([LAYERS[0], pool("max_pool_2", 5, 1), LAYERS[-1]], "a window of 5"),
        ([LAYERS[0], pool("max_pool_2", 1, 0), LAYERS[-1]], "a window of 1"),
        ([LAYERS[0], text("avg_pool_2") + sizes(2, 2, 1, 1, 1, 1), LAYERS[-1]], "padded pool"),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(layers: list[bytes | None], why: str) -> None:
    with pytest.raises(UntrustedInputError, match=why):
        network_to_onnx(read_network(network(layers)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_the_bytes_the_answer_is_a_model_or_one_clear_error(data: st.DataObject) -> None:
    mutated = bytearray(FILE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(LfrEdgeError):
        assert len(network_to_onnx(read_network(bytes(mutated)))) < 1 << 20
