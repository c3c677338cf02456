"""Engine sets on a CPU, with OpenVINO: the office, tests, the demo, and vans without an NVIDIA GPU.

Every graph computes on one thread; an engine with two lanes has two graphs, whose pictures are computed side by side.
Measured for YuNet at 1280x736 (two cores, core-milliseconds a picture): one graph on two threads 33, on one thread 24,
because two threads wait for each other in each of its seventy layers; compiled for just this picture size 20, because
only then OpenVINO takes the pixels as they lie. So a detector has its lanes for each size. An embedder gains nothing
from that (2.4 a face either way) and has one lane, for batches of any length.

OpenVINO keeps each graph's last activations (row OPENVINO of the retention table); `forget` overwrites them. That is
why a lane is a graph of its own, and not a stream of a common one: no stream can be told to forget.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfr_edge.adapters.openvino_graph import compiled, failed, output_names, ov
from lfr_edge.errors import DeviceError
from lfr_edge.inference.manifest import DetectorSpec, EmbedderSpec, EngineSet, ModelSpec
from lfr_edge.inference.port import BatchShape, InferenceEngine, Pending, check_batch, check_outputs
from lfr_edge.inference.store import EngineStore

# As many pictures side by side as there are cores in the machines that this backend is for.
DEFAULT_LANES = 2
# A van's cameras have few sizes, photos have many. A lane takes 45 MB at 1280x720, and .15 s to compile.
_MOST_SIZES = 8


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a batch must be: fixed (height, width), or both multiples of `stride`."""

    size_px: tuple[int, int] | None
    stride: int

    def check(self, shape: BatchShape) -> None:
        """ValueError for a batch that the model does not take."""
        _, height, width, channels = shape
        fixed = self.size_px is None or self.size_px == (height, width)
        if min(shape) < 1 or channels != 3 or height % self.stride or width % self.stride or not fixed:
            wanted = self.size_px or (f"a multiple of {self.stride}",) * 2
            raise ValueError(f"this model takes (N, {wanted[0]}, {wanted[1]}, 3), not {shape}")

    def compiled_for(self, shape: BatchShape) -> tuple[int, int, int]:
        """(N, H, W) of the graph that takes this batch."""
        return shape[:3] if self.size_px is None else (-1, *self.size_px)


def open_detector(engine_set: EngineSet, store: EngineStore, *, lanes: int = DEFAULT_LANES) -> InferenceEngine:
    """The set's detector, any number of pictures of any size that is a multiple of its stride."""
    detector: DetectorSpec = engine_set.detector
    return OpenVinoEngine(detector, _Limits(None, detector.stride), store, lanes=lanes)


def open_embedder(embedder: EmbedderSpec, store: EngineStore) -> InferenceEngine:
    """One embedder of a set, any number of aligned faces."""
    width, height = embedder.size_px
    return OpenVinoEngine(embedder, _Limits((height, width), 1), store, lanes=1)


class OpenVinoEngine:
    """One model in several lanes, the second made when it is first needed. DeviceError where OpenVINO fails."""

    def __init__(self, spec: ModelSpec, limits: _Limits, store: EngineStore, *, lanes: int) -> None:
        self.lanes = lanes
        self._spec = spec
        self._limits = limits
        self._weights = store.read(spec.onnx)
        self._shapes: dict[BatchShape, dict[str, tuple[int, ...]]] = {}
        # By what they are compiled for, last used last; in each, next to be used first.
        self._compiled: dict[tuple[int, int, int], deque[_Lane]] = {}
        self._closed = False
        try:
            self._names = output_names(self._weights)
        except (RuntimeError, OSError) as error:
            raise failed(spec.onnx.file, error) from error

    @property
    def output_names(self) -> tuple[str, ...]:
        """The model's outputs, in its own order."""
        return self._names

    def output_shapes(self, batch_shape: BatchShape) -> dict[str, tuple[int, ...]]:
        """Shapes of the float32 outputs; the first call per shape compiles if need be, and runs zero inferences."""
        self._check_open()
        if batch_shape not in self._shapes:
            self._limits.check(batch_shape)
            shapes = self._lanes_for(batch_shape)[0].shapes_for(batch_shape)
            self._shapes[batch_shape] = dict(zip(self._names, shapes, strict=True))
        return self._shapes[batch_shape]

    def start(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> Pending:
        """Begin to run the model on `batch`; the port's contract."""
        self._check_open()
        check_batch(batch)
        count, height, width, channels = batch.shape
        shape = (count, height, width, channels)
        check_outputs(out, self.output_shapes(shape))
        if sum(lane.busy for lane in self._every_lane()) == self.lanes:
            raise RuntimeError(f"{self.lanes} batches are under way already")
        lanes = self._lanes_for(shape)
        if all(lane.busy for lane in lanes):
            lanes.appendleft(_Lane(self._weights, self._spec, self._limits.compiled_for(shape)))
        while lanes[0].busy:
            lanes.rotate(-1)
        lane = lanes[0]
        lanes.rotate(-1)  # in turns, so that what each one keeps is soon overwritten
        return lane.start(batch, [out[name] for name in self._names])

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        """Run the model on `batch` and write every output into `out`."""
        self.start(batch, out).wait()

    def forget(self) -> None:
        """Overwrite the activations of everything since the last call; what is under way is finished first."""
        self._check_open()
        for lane in self._every_lane():
            lane.forget()

    def close(self) -> None:
        """Forget and free the graphs. Idempotent."""
        if not self._closed:
            self.forget()
        self._compiled.clear()
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the engine is closed")

    def _every_lane(self) -> Iterator["_Lane"]:
        return (lane for lanes in self._compiled.values() for lane in lanes)

    def _lanes_for(self, shape: BatchShape) -> deque["_Lane"]:
        key = self._limits.compiled_for(shape)
        lanes = self._compiled.pop(key, None)
        if lanes is None:
            self._make_room()
            lanes = deque([_Lane(self._weights, self._spec, key)])
        self._compiled[key] = lanes
        return lanes

    def _make_room(self) -> None:
        if len(self._compiled) < _MOST_SIZES:
            return
        longest_unused = next(iter(self._compiled))
        for lane in self._compiled.pop(longest_unused):
            lane.forget()
        self._shapes.pop((*longest_unused, 3))


class _Lane:
    """One graph and one request: the next inference overwrites what it keeps, as far as that is as large."""

    def __init__(self, weights: bytes, spec: ModelSpec, compiled_for: tuple[int, int, int]) -> None:
        self._file = spec.onnx.file
        self._under_way: _Pending | None = None
        self._to_forget: BatchShape | None = None  # the largest since the last time
        self._zeros = np.zeros(0, np.uint8)  # a blank batch as large as any so far; only ever read
        _, height, width = compiled_for
        try:
            graph = compiled(weights, spec, compiled_for)
            self._request = graph.create_infer_request()
        except (RuntimeError, OSError) as error:
            raise failed(self._file, error) from error
        # What the request holds between calls, instead of the caller's memory. OpenVINO grows the outputs as it needs.
        self._parked_input = ov.Tensor(ov.Type.u8, ov.Shape([max(compiled_for[0], 1), height, 3 * width]))
        self._parked_outputs = [ov.Tensor(ov.Type.f32, _shape_now(output.partial_shape)) for output in graph.outputs]
        self._park()

    @property
    def busy(self) -> bool:
        """Whether a batch is under way."""
        return self._under_way is not None

    def shapes_for(self, shape: BatchShape) -> list[tuple[int, ...]]:
        """Shapes of the outputs for such a batch, by running one of zeros."""
        self._run_on_zeros(shape)
        return [tuple(tensor.shape) for tensor in self._parked_outputs]

    def start(self, batch: NDArray[np.uint8], outputs: Sequence[NDArray[np.float32]]) -> "_Pending":
        """Begin to compute `outputs`, in the model's own order."""
        count, height, width, channels = batch.shape
        self._to_forget = max(self._to_forget or (0, 0, 0, 0), (count, height, width, channels), key=math.prod)
        try:
            self._set_input(batch)
            for index, output in enumerate(outputs):
                self._request.set_output_tensor(index, ov.Tensor(output, shared_memory=True))
            self._request.start_async()
        except RuntimeError as error:
            self._park()
            raise failed(self._file, error) from error
        self._under_way = _Pending(self, (batch, *outputs))
        return self._under_way

    def finish(self, pending: "_Pending") -> None:
        """Wait until this batch is done, if it is the one under way; its failure is kept for its own `wait`."""
        if self._under_way is not pending:
            return
        try:
            self._request.wait()
        except RuntimeError as error:
            pending.failure = failed(self._file, error)
        finally:
            self._under_way = None
            pending.arrays = ()
            self._park()

    def forget(self) -> None:
        """Overwrite the activations of everything since the last call."""
        if self._to_forget is not None:
            self._run_on_zeros(self._to_forget)
        self._to_forget = None

    def _run_on_zeros(self, shape: BatchShape) -> None:
        if self._under_way is not None:
            self.finish(self._under_way)
        length = math.prod(shape)
        if self._zeros.size < length:
            self._zeros = np.zeros(length, np.uint8)
        try:
            self._set_input(self._zeros[:length].reshape(shape))
            # Not infer(): that one builds a dictionary of copies of every output.
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            raise failed(self._file, error) from error
        finally:
            self._park()

    def _set_input(self, batch: NDArray[np.uint8]) -> None:
        count, height, _, _ = batch.shape
        self._request.set_input_tensor(ov.Tensor(batch.reshape(count, height, -1), shared_memory=True))

    def _park(self) -> None:
        self._request.set_input_tensor(self._parked_input)
        for index, tensor in enumerate(self._parked_outputs):
            self._request.set_output_tensor(index, tensor)


class _Pending:
    """See `Pending`."""

    def __init__(self, lane: _Lane, arrays: tuple[NDArray[Any], ...]) -> None:
        self.failure: DeviceError | None = None
        # OpenVINO's shared tensors do not keep what they share. Any: uint8 in, float32 out.
        self.arrays = arrays
        self._lane = lane

    def wait(self) -> None:
        """Return when every output is written."""
        self._lane.finish(self)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure


def _shape_now(shape: ov.PartialShape) -> ov.Shape:
    """The shape, without extent where it is not known."""
    return shape.to_shape() if shape.is_static else ov.Shape([0] * len(shape))
