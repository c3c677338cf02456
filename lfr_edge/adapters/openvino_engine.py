"""Engine sets on a CPU, with OpenVINO: the office, tests, the demo, and vans without an NVIDIA GPU.

Every graph computes on one thread, and only batches of one length and one size; an engine with two lanes has two
graphs, whose pictures are computed side by side. Measured for YuNet at 1280x736 (two cores, core-milliseconds a
picture): one graph on two threads 33, on one thread 24, because two threads wait for each other in each of its seventy
layers; compiled for just this picture size 20, because only then OpenVINO takes the pixels as they lie. So a detector
has its lanes for each size. An embedder has one lane, for one face and its mirror image: a graph for batches of any
length takes 6 % longer a face, and keeps what is left of a longer batch behind a shorter one.

OpenVINO keeps each graph's last activations (row OPENVINO of the retention table); `forget` overwrites them. That is
why a lane is a graph of its own, and not a stream of a common one: no stream can be told to forget.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfr_edge.adapters.openvino_graph import compiled, failed, output_names, ov
from lfr_edge.errors import DeviceError
from lfr_edge.inference.manifest import DetectorSpec, EmbedderSpec, EngineSet, ModelSpec
from lfr_edge.inference.port import REQUESTS_PER_LANE, BatchShape, InferenceEngine, Pending, check_batch, check_outputs
from lfr_edge.inference.store import EngineStore

# As many pictures side by side as there are cores in the machines that this backend is for.
DEFAULT_LANES = 2
# A van's cameras have few sizes, photos have many. A lane takes 45 MB at 1280x720, and .15 s to compile.
_MOST_SIZES = 8

_CompiledFor = tuple[int, int, int]  # (N, H, W)


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a batch must be: fixed (height, width), or both multiples of `stride`. And how much is computed at once."""

    size_px: tuple[int, int] | None
    stride: int
    at_once: int
    halved: bool = False  # the model sees pictures at half their size

    def check(self, shape: BatchShape) -> None:
        """ValueError for a batch that the model does not take."""
        _, height, width, channels = shape
        fixed = self.size_px is None or self.size_px == (height, width)
        if min(shape) < 1 or channels != 3 or height % self.stride or width % self.stride or not fixed:
            wanted = self.size_px or (f"a multiple of {self.stride}",) * 2
            raise ValueError(f"this model takes (N, {wanted[0]}, {wanted[1]}, 3), not {shape}")

    def compiled_for(self, shape: BatchShape) -> _CompiledFor:
        """(N, H, W) of the graph that takes this batch, N at a time."""
        count, height, width, _ = shape
        return min(count, self.at_once), height, width


def open_detector(
    engine_set: EngineSet, store: EngineStore, *, lanes: int = DEFAULT_LANES, halved: bool = False
) -> InferenceEngine:
    """The set's detector, any number of pictures of any size that is a multiple of its stride.

    `halved`, it takes the same pictures, sees each at half its size, and its outputs are of that.
    """
    detector: DetectorSpec = engine_set.detector
    return OpenVinoEngine(detector, _Limits(None, detector.stride, 1, halved=halved), store, lanes=lanes)


def open_embedder(embedder: EmbedderSpec, store: EngineStore) -> InferenceEngine:
    """One embedder of a set, any number of aligned faces."""
    width, height = embedder.size_px
    return OpenVinoEngine(embedder, _Limits((height, width), 1, 2 if embedder.mirrored else 1), store, lanes=1)


class OpenVinoEngine:
    """One model in several lanes, the second made when it is first needed. DeviceError where OpenVINO fails."""

    def __init__(self, spec: ModelSpec, limits: _Limits, store: EngineStore, *, lanes: int) -> None:
        self.lanes = lanes
        self._spec = spec
        self._limits = limits
        self._weights = store.read(spec.onnx)
        self._shapes: dict[BatchShape, dict[str, tuple[int, ...]]] = {}
        # By what they are compiled for, last used last; in each, next to be used first.
        self._graphs: dict[_CompiledFor, deque[_Graph]] = {}
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
            shapes = self._graphs_for(batch_shape)[0].output_shapes
            self._shapes[batch_shape] = {
                name: (batch_shape[0], *shape[1:]) for name, shape in zip(self._names, shapes, strict=True)
            }
        return self._shapes[batch_shape]

    def prepare(self, batch_shape: BatchShape) -> None:
        """Compile for every lane, and run an inference of zeros in it."""
        self.output_shapes(batch_shape)
        graphs = self._graphs_for(batch_shape)
        while len(graphs) < self.lanes:
            graphs.append(self._graph(self._limits.compiled_for(batch_shape)))

    def start(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> Pending:
        """Begin to run the model on `batch`; the port's contract."""
        self._check_open()
        check_batch(batch)
        count, height, width, channels = batch.shape
        shape = (count, height, width, channels)
        check_outputs(out, self.output_shapes(shape))
        under_way = sum(graph.under_way for graph in self._every_graph())
        if under_way == REQUESTS_PER_LANE * self.lanes:
            raise RuntimeError(f"{under_way} batches are under way already")
        graphs = self._graphs_for(shape)
        if len(graphs) < self.lanes and all(graph.under_way for graph in graphs):
            graphs.appendleft(self._graph(self._limits.compiled_for(shape)))
        graph = min(graphs, key=lambda graph: graph.under_way)  # of equals the first
        graphs.remove(graph)
        graphs.append(graph)  # in turns, so that what each one keeps is soon overwritten
        return graph.start(batch, [out[name] for name in self._names])

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        """Run the model on `batch` and write every output into `out`."""
        self.start(batch, out).wait()

    def forget(self) -> None:
        """Overwrite the activations of everything since the last call; what is under way is finished first."""
        self._check_open()
        with ExitStack() as all_of_them:  # also the others, if one fails
            for graph in self._every_graph():
                all_of_them.callback(graph.forget)

    def close(self) -> None:
        """Forget and free the graphs. Idempotent."""
        try:
            if not self._closed:
                self.forget()
        finally:
            self._graphs.clear()
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the engine is closed")

    def _every_graph(self) -> Iterator["_Graph"]:
        return (graph for graphs in self._graphs.values() for graph in graphs)

    def _graphs_for(self, shape: BatchShape) -> deque["_Graph"]:
        key = self._limits.compiled_for(shape)
        graphs = self._graphs.pop(key, None)
        if graphs is None:
            self._make_room()
            graphs = deque([self._graph(key)])
        self._graphs[key] = graphs
        return graphs

    def _graph(self, compiled_for: _CompiledFor) -> "_Graph":
        return _Graph(self._weights, self._spec, compiled_for, halved=self._limits.halved)

    def _make_room(self) -> None:
        if len(self._graphs) < _MOST_SIZES:
            return
        for graph in self._graphs.pop(next(iter(self._graphs))):  # longest unused
            graph.forget()
        self._shapes.clear()


class _Graph:
    """One compiled graph, computing one request after the other: each overwrites all that the last one left."""

    def __init__(self, weights: bytes, spec: ModelSpec, compiled_for: _CompiledFor, *, halved: bool) -> None:
        self._file = spec.onnx.file
        self._count, height, width = compiled_for
        self._under_way: deque[_Pending] = deque()  # the oldest first
        self._idle: list[ov.InferRequest] = []
        self._remembers = False
        try:
            graph = compiled(weights, spec, compiled_for, halved=halved)
            self._idle = [graph.create_infer_request() for _ in range(REQUESTS_PER_LANE)]
        except (RuntimeError, OSError) as error:
            raise failed(self._file, error) from error
        # What a request is given to forget. The zeros are only ever read.
        self._zeros = np.zeros((self._count, height, 3 * width), np.uint8)
        self._outputs_of_zeros = [ov.Tensor(ov.Type.f32, output.shape) for output in graph.outputs]
        self._run_on_zeros()

    @property
    def under_way(self) -> int:
        """How many batches are."""
        return len(self._under_way)

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """For a batch as long as the graph takes, in the model's own order."""
        return [tuple(tensor.shape) for tensor in self._outputs_of_zeros]

    def start(self, batch: NDArray[np.uint8], outputs: Sequence[NDArray[np.float32]]) -> "_Pending":
        """Begin to compute `outputs`, in the model's own order."""
        pending = _Pending(self, self._idle.pop(), [batch, *outputs])
        self._under_way.append(pending)
        try:
            self._begin(pending)
        except RuntimeError as error:
            self._let_go(pending)
            raise failed(self._file, error) from error
        return pending

    def finish(self, pending: "_Pending") -> None:
        """Wait until this batch is done, if it is under way; its failure is kept for its own `wait`."""
        if pending not in self._under_way:
            return
        try:
            pending.request.wait()
            while pending.begun < len(pending.arrays[0]):
                self._begin(pending)
                pending.request.wait()
        except RuntimeError as error:
            pending.failure = failed(self._file, error)
        finally:
            self._let_go(pending)

    def forget(self) -> None:
        """Overwrite the activations of everything since the last call."""
        while self._under_way:
            self.finish(self._under_way[0])
        if self._remembers:
            self._run_on_zeros()
        self._remembers = False

    def _begin(self, pending: "_Pending") -> None:
        """Start the next rows of the batch; the last ones may overlap with those before."""
        self._remembers = True
        length = len(pending.arrays[0])
        end = min(pending.begun + self._count, length)
        rows = slice(end - self._count, end)
        batch, *outputs = pending.arrays if length == self._count else [array[rows] for array in pending.arrays]
        pending.request.set_input_tensor(_shared(batch.reshape(self._zeros.shape)))
        for index, output in enumerate(outputs):
            pending.request.set_output_tensor(index, _shared(output))
        pending.request.start_async()
        pending.begun = end

    def _let_go(self, pending: "_Pending") -> None:
        """The request still knows where the arrays were: nobody starts it before it is given others."""
        pending.arrays = ()
        self._under_way.remove(pending)
        self._idle.append(pending.request)

    def _run_on_zeros(self) -> None:
        request = self._idle[0]
        try:
            request.set_input_tensor(_shared(self._zeros))
            for index, tensor in enumerate(self._outputs_of_zeros):
                request.set_output_tensor(index, tensor)
            # Not infer(): that one builds a dictionary of copies of every output.
            request.start_async()
            request.wait()
        except RuntimeError as error:
            raise failed(self._file, error) from error


class _Pending:
    """See `Pending`."""

    def __init__(self, graph: _Graph, request: ov.InferRequest, arrays: Sequence[NDArray[Any]]) -> None:
        self.failure: DeviceError | None = None
        self.request = request
        # Batch and outputs: OpenVINO's shared tensors do not keep what they share. Any: uint8 in, float32 out.
        self.arrays = arrays
        self.begun = 0  # rows of the batch
        self._graph = graph

    def wait(self) -> None:
        """Return when every output is written."""
        self._graph.finish(self)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure


def _shared(array: NDArray[Any]) -> ov.Tensor:
    return ov.Tensor(array, shared_memory=True)
