"""What makes our ONNX files of the authors' files: named in manifests, deterministic, their results pinned by hash.

This module, `dlib_graph` and `quantise` are the only importers of onnx; they are imported only when one of them runs.
"""

from collections.abc import Callable, Mapping

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # it has no stubs, and one name is used

from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.inference.dlib_graph import network_to_onnx
from lfr_edge.inference.dlib_weights import read_network


def mobilefacenet_batch(untrusted: bytes) -> bytes:
    """MobileFaceNet with a free batch size: its authors export a batch of one that ends in Reshape to (1, -1)."""
    model = _parsed(untrusted)
    if [node.op_type for node in model.graph.node[-2:]] != ["Constant", "Reshape"]:
        raise _misfit("it does not end in Constant and Reshape")
    reshape = model.graph.node.pop()
    model.graph.node.pop()
    model.graph.node.append(onnx.helper.make_node("Flatten", reshape.input[:1], reshape.output, name="flat", axis=1))
    _name_dimensions(model, ("batch",))
    return bytes(model.SerializeToString(deterministic=True))


def centerface_dynamic(untrusted: bytes) -> bytes:
    """CenterFace for any number of pictures of any size: its authors export 10 pictures of 32x32. The nodes fit any."""
    model = _parsed(untrusted)
    weights = {weight.name for weight in model.graph.initializer}
    pictures = [value for value in model.graph.input if value.name not in weights]
    if len(pictures) != 1:
        raise _misfit(f"it has {len(pictures)} inputs")
    # Weights listed as inputs may be overwritten by a caller, which keeps backends from folding them.
    del model.graph.input[:]
    model.graph.input.extend(pictures)
    _name_dimensions(model, ("batch", None, "height", "width"))
    return bytes(model.SerializeToString(deterministic=True))


def dlib_to_onnx(untrusted: bytes) -> bytes:
    """The face recognition ResNet of dlib, rebuilt from its .dat file."""
    return network_to_onnx(read_network(untrusted))


TRANSFORMS: Mapping[str, Callable[[bytes], bytes]] = {
    "mobilefacenet-batch": mobilefacenet_batch,
    "centerface-dynamic": centerface_dynamic,
    "dlib-to-onnx": dlib_to_onnx,
}


def _name_dimensions(model: onnx.ModelProto, names: tuple[str | None, ...]) -> None:
    """Set the leading dimensions free. An output's height and width are not the input's: they get its name in front."""
    for value in (*model.graph.input, *model.graph.output):
        is_output = value.name not in {picture.name for picture in model.graph.input}
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if name is not None:
                dimension.dim_param = f"{value.name}_{name}" if is_output and name != "batch" else name


def _parsed(untrusted: bytes) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(untrusted)
    except DecodeError as error:
        raise _misfit("it is not ONNX") from error
    return model


def _misfit(what: str) -> UntrustedInputError:
    return UntrustedInputError(
        Reason.MALFORMED, f"not the file that this is made of: {what}", fix="take the released file"
    )
