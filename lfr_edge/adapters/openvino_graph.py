"""One model as OpenVINO compiles it: what is put before it, and how it is to be computed.

Running it is not here (`openvino_engine`).
"""

import functools

import numpy as np

from lfr_edge.biometrics.image import padded_px
from lfr_edge.errors import ConfigError, DeviceError, Reason
from lfr_edge.inference.manifest import ModelSpec

try:
    import openvino as ov
    from openvino import opset13 as ops
    from openvino.passes import ConstantFolding, Manager
except ModuleNotFoundError as missing:
    raise ConfigError(
        Reason.DEPENDENCY_MISSING, "OpenVINO is not installed", fix="install lfr-edge with the extra 'cpu'"
    ) from missing

__all__ = ["compiled", "failed", "output_names", "ov"]

_ON_ONE_THREAD = {
    "NUM_STREAMS": "1",
    "INFERENCE_NUM_THREADS": "1",
    "ENABLE_CPU_PINNING": "NO",  # every graph would be pinned to the same core
}

_PRECISION = {"float32": "f32", "bfloat16": "bf16"}


def output_names(weights: bytes) -> tuple[str, ...]:
    """The model's own: compiling gives an output others, and then any of them comes first. RuntimeError as below."""
    return tuple(output.get_any_name() for output in _core().read_model(weights).outputs)


def compiled(weights: bytes, spec: ModelSpec, shape: tuple[int, int, int], *, halved: bool = False) -> ov.CompiledModel:
    """The model for the CPU, on one thread; RuntimeError if OpenVINO fails.

    It takes uint8 (N, H, 3 * W), rows of BGR pixels; `shape` is (N, H, W), N may be -1 for any. `halved`, it sees each
    picture at half its size, and its outputs are of that.
    """
    options = {**_ON_ONE_THREAD, "INFERENCE_PRECISION_HINT": _PRECISION[spec.precision]}
    model = _with_preprocessing(weights, spec, shape)
    return _core().compile_model(_halved(model, shape[1:]) if halved else model, "CPU", options)


@functools.cache
def _core() -> ov.Core:
    """One for the process's life.

    Each core's CPU plugin gives the compiling thread a signal stack and unmaps it with the core (OpenVINO 2026.4,
    seen with strace): the next signal in that thread, a Ctrl-C, would be a SIGSEGV.
    """
    return ov.Core()


def _with_preprocessing(weights: bytes, spec: ModelSpec, shape: tuple[int, int, int]) -> ov.Model:
    """Rows of BGR bytes to the model's planes.

    The bytes come as whole rows because pixels would be turned to planes as bytes, and back for the first convolution:
    a fifth of the detector's time. A reshape after the conversion keeps OpenVINO from that; for a size it knows, it
    then sees that the planes are what the convolution wants as pixels, and turns nothing.
    """
    count, height, width = shape
    model = _core().read_model(weights)
    (planes,) = model.inputs
    model.reshape({planes: ov.PartialShape([count, 3, height, width])})
    rows = ops.parameter(ov.PartialShape([count, height, 3 * width]), ov.Type.u8, name="rows")
    pixels = ops.convert(rows, "f32")
    pixels = ops.reshape(pixels, ops.constant([count, height, width, 3], ov.Type.i64), special_zero=False)
    if spec.colour == "rgb":
        pixels = ops.gather(pixels, ops.constant([2, 1, 0], ov.Type.i64), ops.constant(3, ov.Type.i64))
    if any(spec.mean) or set(spec.std) != {1.0}:
        centred = ops.subtract(pixels, ops.constant(list(spec.mean), ov.Type.f32))
        pixels = ops.divide(centred, ops.constant(list(spec.std), ov.Type.f32))
    turned = ops.transpose(pixels, ops.constant([0, 3, 1, 2], ov.Type.i64))
    for consumer in planes.get_target_inputs():
        consumer.replace_source_output(turned.output(0))
    return ov.Model(model.get_results(), [rows], spec.onnx.file)


def _halved(model: ov.Model, size_px: tuple[int, int]) -> ov.Model:
    """The same model of the picture's half: the means of two by two pixels, and zeros up to multiples of 32.

    No picture is made smaller: the first convolution, which has a step of 2, reads the full picture with its weights
    spread over twice as many pixels each way and a step of 4. That is the same sum.
    """
    folding = Manager()
    folding.register_pass(ConstantFolding())  # what computes shapes and weights becomes weights
    folding.run_passes(model)
    first = next(node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution")
    said = first.get_attributes()
    kernel = first.input(1).get_source_output().get_node().data
    if said["strides"] != [2, 2] or said["dilations"] != [1, 1]:
        raise RuntimeError(f"the first convolution of {model.get_name()} has steps of {said['strides']}, not 2")
    spread = np.kron(kernel, np.full((1, 1, 2, 2), 1 / 4, kernel.dtype))
    begins = [2 * pad for pad in said["pads_begin"]]
    ends = [
        2 * (padded_px(side // 2) + begin + end) - side - 2 * begin
        for side, begin, end in zip(size_px, said["pads_begin"], said["pads_end"], strict=True)
    ]
    pixels = first.input(0).get_source_output()
    weights = ops.constant(spread)
    first.output(0).replace(ops.convolution(pixels, weights, [4, 4], begins, ends, [1, 1]).output(0))
    return ov.Model(model.get_results(), model.get_parameters(), model.get_friendly_name())


def failed(file: str, error: RuntimeError | OSError) -> DeviceError:
    """OpenVINO's error as ours: its last line says what is wrong."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else "no reason given"
    return DeviceError(
        Reason.ENGINE_FAILED, f"OpenVINO failed on {file}: {reason}", fix="run 'lfr-edge engines verify'"
    )
