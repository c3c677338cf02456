"""A reader for dlib's serialised networks (.dat), as far as the face recognition ResNet uses the format.

The format, from dlib's `serialize.h` and `dnn/core.h`: an integer is a byte (sign in bit 7, length in the low four
bits) and that many little-endian bytes; a float is an integer mantissa and an integer exponent of two; a tensor is
version 2, four dimensions and little-endian float32. A network is nested from the last layer to the first: each layer's
version, down to the input; then, on the way back, each layer's kind and values, its flags and its training tensors. A
tag or a skip is a version alone, and its number is not in the file.

The file is untrusted: nothing is allocated that the bytes at hand do not cover; what is not understood is refused.
What is not here: what the layers compute (`dlib_graph`).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfr_edge.errors import Reason, UntrustedInputError

_MAX_LAYERS = 1024
_LOSS_VERSION, _WRAPPER_VERSION, _LAYER_VERSION, _FIRST_LAYER_VERSION = 1, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Convolution:
    """weights (out, in, rows, columns), bias (out,)."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class Affine:
    """x * gamma + beta per channel: what training's batch normalisation became."""

    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum or average over a square window; window 0 means everything."""

    kind: str  # "max" or "average"
    window: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True, slots=True)
class AddTagged:
    """Adds the output of an earlier, tagged layer; the smaller of the two is padded with zeros."""


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A tag (remembers its input) or a skip (goes back to a tag): the file does not say which."""


@dataclass(frozen=True, slots=True)
class Linear:
    """x @ weights, weights (in, out), no bias."""

    weights: NDArray[np.float32]


Layer = Convolution | Affine | Pool | Relu | AddTagged | Wrapper | Linear


@dataclass(frozen=True, slots=True)
class DlibNetwork:
    """From input to output. The input is RGB, (x - mean) / 256, `size_px` square."""

    mean: tuple[float, float, float]
    size_px: int
    layers: tuple[Layer, ...]


def read_network(untrusted: bytes) -> DlibNetwork:
    """The network in the file. UntrustedInputError if it is not one of this kind, whole and with nothing after it."""
    reader = _Reader(untrusted)
    reader.expect(_LOSS_VERSION, "the loss layer's version")
    _expect_kind(reader, "loss_metric_2")
    reader.number()  # margin and distance threshold: training's and dlib's own, ours are the engine set's
    reader.number()
    versions = _versions(reader)
    _expect_kind(reader, "input_rgb_image_sized")
    mean = (reader.number(), reader.number(), reader.number())
    size_px = reader.integer()
    reader.expect(size_px, "the input's second side")
    layers: list[Layer] = []
    for version in reversed(versions):
        if version == _WRAPPER_VERSION:
            layers.append(Wrapper())
            continue
        layers.append(_layer(reader))
        reader.skip_training_state()
        if version == _FIRST_LAYER_VERSION:
            reader.integer()  # sample expansion
    if reader.remaining:
        raise _malformed(f"{reader.remaining} bytes after its end")
    return DlibNetwork(mean, size_px, tuple(layers))


def _versions(reader: "_Reader") -> list[int]:
    """Versions from the last layer to the first; the first one's is distinct."""
    versions: list[int] = []
    while len(versions) < _MAX_LAYERS:
        version = reader.integer()
        if version not in {_WRAPPER_VERSION, _LAYER_VERSION, _FIRST_LAYER_VERSION}:
            raise _malformed(f"layer version {version}")
        versions.append(version)
        if version == _FIRST_LAYER_VERSION:
            return versions
    raise _malformed(f"more than {_MAX_LAYERS} layers")


def _layer(reader: "_Reader") -> Layer:
    kind = reader.text()
    if kind == "con_4":
        return _convolution(reader)
    if kind == "affine_":
        return _affine(reader)
    if kind in {"max_pool_2", "avg_pool_2"}:
        window, stride, padding = (reader.square(f"{kind} {what}") for what in ("window", "stride", "padding"))
        return Pool("max" if kind == "max_pool_2" else "average", window, stride, padding)
    if kind == "relu_":
        return Relu()
    if kind == "add_prev_":
        return AddTagged()
    if kind == "fc_2":
        return _linear(reader)
    raise _malformed(f"a layer of the unknown kind {kind!r}")


def _convolution(reader: "_Reader") -> Convolution:
    values = reader.tensor()
    filters = reader.integer()
    window, stride, padding = (reader.square(f"convolution {what}") for what in ("window", "stride", "padding"))
    shape, bias_shape = reader.alias(), reader.alias()
    for _ in range(4):
        reader.number()  # learning rates and weight decays
    if shape != (filters, shape[1], window, window) or bias_shape != (1, filters, 1, 1):
        raise _malformed(f"a convolution whose shapes {shape} and {bias_shape} differ from its {filters} filters")
    weights, bias = _split(values, math.prod(shape), filters)
    return Convolution(weights.reshape(shape), bias, stride, padding)


def _affine(reader: "_Reader") -> Affine:
    values = reader.tensor()
    shape, beta_shape = reader.alias(), reader.alias()
    reader.expect(0, "the affine layer's mode (per channel)")
    if shape != (1, shape[1], 1, 1) or beta_shape != shape:
        raise _malformed(f"an affine layer of the shapes {shape} and {beta_shape}")
    return Affine(*_split(values, shape[1], shape[1]))


def _linear(reader: "_Reader") -> Linear:
    outputs, inputs = reader.integer(), reader.integer()
    values = reader.tensor()
    shape, bias_shape = reader.alias(), reader.alias()
    reader.expect(1, "the linear layer's mode (no bias)")
    for _ in range(4):
        reader.number()  # learning rates and weight decays
    if shape != (inputs, outputs, 1, 1) or any(bias_shape):
        raise _malformed(f"a linear layer of the shapes {shape} and {bias_shape}")
    weights, _ = _split(values, inputs * outputs, 0)
    return Linear(weights.reshape(inputs, outputs))


def _split(values: NDArray[np.float32], first: int, second: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if values.size != first + second:
        raise _malformed(f"{values.size} values where {first + second} belong")
    return values[:first], values[first:]


def _expect_kind(reader: "_Reader", kind: str) -> None:
    found = reader.text()
    if found != kind:
        raise _malformed(f"{found!r} where {kind!r} belongs")


class _Reader:
    """A cursor over the bytes; every step is bounded by what is left."""

    def __init__(self, untrusted: bytes) -> None:
        self._bytes = memoryview(untrusted)
        self._at = 0

    @property
    def remaining(self) -> int:
        """Bytes that are left."""
        return len(self._bytes) - self._at

    def integer(self) -> int:
        """Dlib's integer: a byte of sign and length, then so many bytes, least significant first."""
        head = self._take(1)[0]
        length = head & 0x0F
        if head & 0x70 or length > 8:
            raise _malformed(f"no integer at byte {self._at - 1}")
        value = int.from_bytes(self._take(length), "little")
        return -value if head & 0x80 else value

    def expect(self, value: int, what: str) -> None:
        """Refuse anything but this integer."""
        found = self.integer()
        if found != value:
            raise _malformed(f"{what} is {found}, not {value}")

    def square(self, what: str) -> int:
        """Two equal sides."""
        side = self._count()
        self.expect(side, what)
        return side

    def number(self) -> float:
        """Dlib's float: two integers, mantissa and binary exponent."""
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > 1024:  # dlib's marks for infinity and not-a-number are 32000 and above
            raise _malformed("a number that is not finite")
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError as error:
            raise _malformed("a number out of range") from error

    def text(self) -> str:
        """A short name behind its length."""
        length = self._count()
        if length > 64:
            raise _malformed(f"a name of {length} bytes")
        return bytes(self._take(length)).decode("ascii", errors="replace")

    def alias(self) -> tuple[int, int, int, int]:
        """The shape of a view into a layer's values."""
        self.expect(1, "a tensor view's version")
        return self._shape()

    def tensor(self) -> NDArray[np.float32]:
        """All values, flat."""
        self.expect(2, "a tensor's version")
        values = np.frombuffer(self._take(4 * math.prod(self._shape())), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise _malformed("weights that are not finite")
        return values

    def skip_training_state(self) -> None:
        """Three flags, then gradients and cached outputs, which trained networks leave empty."""
        self._take(3)
        for _ in range(3):
            self.tensor()

    def _shape(self) -> tuple[int, int, int, int]:
        return self._count(), self._count(), self._count(), self._count()

    def _count(self) -> int:
        value = self.integer()
        if not 0 <= value <= 1 << 24:
            raise _malformed(f"a size of {value}")
        return value

    def _take(self, length: int) -> memoryview:
        if length > self.remaining:
            raise _malformed(f"{length} bytes wanted at byte {self._at}, {self.remaining} left", Reason.TRUNCATED)
        self._at += length
        return self._bytes[self._at - length : self._at]


def _malformed(what: str, reason: Reason = Reason.MALFORMED) -> UntrustedInputError:
    return UntrustedInputError(reason, f"not a dlib face recognition network: {what}", fix="take the released file")
