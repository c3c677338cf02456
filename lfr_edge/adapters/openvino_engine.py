"""Engine sets on a CPU, with OpenVINO: the office, tests, the demo, and vans without an NVIDIA GPU.

The compiled graph takes the picture as it is, uint8 BGR rows, and does colour order, layout and normalisation inside:
no float picture exists in our memory. One dynamic compilation serves every picture size: measured equal to one per size
(YuNet 1280x736, 1 thread, 2-core VM: 23.1 and 22.9 ms), so there is none per size to manage.

OpenVINO keeps its last activations (row OPENVINO of the retention table); `forget` overwrites them.
"""

import fcntl
import functools
import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfr_edge.errors import ConfigError, DeviceError, Reason
from lfr_edge.inference.manifest import DetectorSpec, EmbedderSpec, EngineSet, ModelSpec
from lfr_edge.inference.port import BatchShape, InferenceEngine, check_batch, check_outputs
from lfr_edge.inference.store import EngineStore

try:
    import openvino as ov
    from openvino.preprocess import ColorFormat, PrePostProcessor
except ModuleNotFoundError as missing:
    raise ConfigError(
        Reason.DEPENDENCY_MISSING, "OpenVINO is not installed", fix="install lfr-edge with the extra 'cpu'"
    ) from missing

# Two cores, two other busy threads (capture, sender): more than two gain nothing on the machines this backend is for.
DEFAULT_THREADS = 2


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


def open_detector(engine_set: EngineSet, store: EngineStore, *, threads: int = DEFAULT_THREADS) -> InferenceEngine:
    """The set's detector, any number of pictures of any size that is a multiple of its stride."""
    detector: DetectorSpec = engine_set.detector
    return OpenVinoEngine(detector, _Limits(None, detector.stride), store, threads=threads)


def open_embedder(embedder: EmbedderSpec, store: EngineStore, *, threads: int = DEFAULT_THREADS) -> InferenceEngine:
    """One embedder of a set, any number of aligned faces."""
    width, height = embedder.size_px
    return OpenVinoEngine(embedder, _Limits((height, width), 1), store, threads=threads)


class OpenVinoEngine:
    """One compiled model and one inference request. DeviceError where OpenVINO fails."""

    def __init__(self, spec: ModelSpec, limits: _Limits, store: EngineStore, *, threads: int) -> None:
        weights = store.read(spec.onnx)
        self._limits = limits
        self._file = spec.onnx.file
        self._zeros = np.zeros(0, np.uint8)  # a blank batch as large as any so far; only ever read
        self._shapes: dict[BatchShape, dict[str, tuple[int, ...]]] = {}
        self._largest: BatchShape = (1, *(limits.size_px or (limits.stride, limits.stride)), 3)
        try:
            model = _with_preprocessing(weights, spec, limits)
            compiled = _compile(model, threads=threads, cache=store.compiled)
            self._request: ov.InferRequest | None = compiled.create_infer_request()
        except (RuntimeError, OSError) as error:
            raise _failed(self._file, error) from error
        # The model's own names: compiling adds others to an output, and then any of them comes first.
        self._names = tuple(output.get_any_name() for output in model.outputs)
        # What the request holds between calls, instead of the caller's memory. OpenVINO grows the outputs as it needs.
        self._parked_input = ov.Tensor(ov.Type.u8, ov.Shape(self._largest))
        self._parked_outputs = [
            ov.Tensor(ov.Type.f32, ov.Shape([0] * len(output.partial_shape))) for output in compiled.outputs
        ]
        self._park()

    @property
    def output_names(self) -> tuple[str, ...]:
        """The model's outputs, in its own order."""
        return self._names

    def output_shapes(self, batch_shape: BatchShape) -> dict[str, tuple[int, ...]]:
        """Shapes of the float32 outputs; the first call per shape runs a zero inference."""
        if batch_shape not in self._shapes:
            self._limits.check(batch_shape)
            self._run_on_zeros(batch_shape)
            shapes = [tuple(tensor.shape) for tensor in self._parked_outputs]
            self._shapes[batch_shape] = dict(zip(self._names, shapes, strict=True))
        return self._shapes[batch_shape]

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        """Run the model on `batch` and write every output into `out`; the port's contract."""
        check_batch(batch)
        count, height, width, channels = batch.shape
        shape = (count, height, width, channels)
        check_outputs(out, self.output_shapes(shape))
        request = self._open_request()
        self._largest = max(self._largest, shape, key=math.prod)
        try:
            request.set_input_tensor(ov.Tensor(batch, shared_memory=True))
            for index, name in enumerate(self._names):
                request.set_output_tensor(index, ov.Tensor(out[name], shared_memory=True))
            self._run(request)
        finally:
            self._park()

    def forget(self) -> None:
        """Overwrite the activations of everything since the last call."""
        self._run_on_zeros(self._largest)
        self._largest = min(self._largest, tuple(self._parked_input.shape), key=math.prod)

    def close(self) -> None:
        """Forget and free the model. Idempotent."""
        if self._request is not None:
            self.forget()
            self._request = None

    def _open_request(self) -> ov.InferRequest:
        if self._request is None:
            raise RuntimeError("the engine is closed")
        return self._request

    def _run_on_zeros(self, shape: BatchShape) -> None:
        request = self._open_request()
        length = math.prod(shape)
        if self._zeros.size < length:
            self._zeros = np.zeros(length, np.uint8)
        try:
            request.set_input_tensor(ov.Tensor(self._zeros[:length].reshape(shape), shared_memory=True))
            self._run(request)
        finally:
            self._park()

    def _run(self, request: ov.InferRequest) -> None:
        try:
            # Not infer(): that one builds a dictionary of copies of every output.
            request.start_async()
            request.wait()
        except RuntimeError as error:
            raise _failed(self._file, error) from error

    def _park(self) -> None:
        request = self._open_request()
        request.set_input_tensor(self._parked_input)
        for index, tensor in enumerate(self._parked_outputs):
            request.set_output_tensor(index, tensor)


@functools.cache
def _core() -> ov.Core:
    """One for the process's life.

    Each core's CPU plugin gives the compiling thread a signal stack and unmaps it with the core (OpenVINO 2026.4,
    seen with strace): the next signal in that thread, a Ctrl-C, would be a SIGSEGV.
    """
    return ov.Core()


def _with_preprocessing(weights: bytes, spec: ModelSpec, limits: _Limits) -> ov.Model:
    """The model, taking (N, H, W, 3) BGR uint8."""
    steps = PrePostProcessor(_core().read_model(weights))
    picture = steps.input()
    height, width = limits.size_px or (-1, -1)
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    picture.tensor().set_shape(ov.PartialShape([-1, height, width, 3]))
    picture.model().set_layout(ov.Layout("NCHW"))
    if spec.colour == "rgb":
        picture.preprocess().convert_color(ColorFormat.RGB)
    picture.preprocess().convert_element_type(ov.Type.f32).mean(list(spec.mean)).scale(list(spec.std))
    return steps.build()


def _compile(model: ov.Model, *, threads: int, cache: Path) -> ov.CompiledModel:
    """For float32 on the CPU, one picture at a time as fast as can be."""
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(threads),
    }
    # A daemon may not write where an administrator keeps the models: it then compiles anew, .1 s for the default set.
    if not os.access(cache, os.W_OK):
        return _core().compile_model(model, "CPU", options)
    with (cache / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # or another process would drop what this one has not hashed yet
        _drop_damaged(cache)
        compiled = _core().compile_model(model, "CPU", {**options, "CACHE_DIR": str(cache)})
        for blob in cache.glob("*.blob"):
            blob.with_suffix(".sha256").write_text(_sha256(blob), "ascii")
    return compiled


def _drop_damaged(cache: Path) -> None:
    """Delete every cached model that is not as it was written: OpenVINO would run it (1 kB of zeros: cosine 0.92)."""
    for blob in cache.glob("*.blob"):
        written = blob.with_suffix(".sha256")
        if not written.exists() or written.read_text("ascii") != _sha256(blob):
            blob.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _failed(file: str, error: RuntimeError | OSError) -> DeviceError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else "no reason given"
    return DeviceError(
        Reason.ENGINE_FAILED, f"OpenVINO failed on {file}: {reason}", fix="run 'lfr-edge engines verify'"
    )
