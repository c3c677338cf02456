import hashlib
from pathlib import Path

import numpy as np
import pytest

from lfr_edge.errors import UntrustedInputError
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.transforms import TRANSFORMS, centerface_dynamic, mobilefacenet_batch

onnx = pytest.importorskip("onnx")


def as_published(released: bytes) -> bytes:
    """What the authors of MobileFaceNet published, rebuilt from our file by undoing the transform."""
    model = onnx.ModelProto.FromString(released)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    flatten = model.graph.node.pop()
    shape = onnx.TensorProto(dims=[2], data_type=onnx.TensorProto.INT64, raw_data=np.array([1, -1], "<i8").tobytes())
    constant = onnx.helper.make_node("Constant", [], ["/Constant_output_0"], name="/Constant", value=shape)
    reshape = onnx.helper.make_node(
        "Reshape", [flatten.input[0], "/Constant_output_0"], ["output0"], name="/Reshape", allowzero=0
    )
    model.graph.node.extend([constant, reshape])
    return bytes(model.SerializeToString(deterministic=True))


def test_the_authors_mobilefacenet_becomes_the_released_file_to_the_byte(shared: Path) -> None:
    onnx_file = load_engine_set("yunet-mobilefacenet").embedders[0].onnx
    released = (shared / "models" / onnx_file.file).read_bytes()
    published = as_published(released)
    assert hashlib.sha256(published).hexdigest() == onnx_file.source.sha256
    assert len(published) == onnx_file.source.size_bytes
    assert mobilefacenet_batch(published) == released


def fixed_size_detector() -> bytes:
    """Like CenterFace's export: fixed sizes, and a weight listed as an input."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["picture", "weight"], ["537"])],
        "detector",
        [
            helper.make_tensor_value_info("picture", kind, [10, 3, 32, 32]),
            helper.make_tensor_value_info("weight", kind, [1, 3, 1, 1]),
        ],
        [helper.make_tensor_value_info("537", kind, [10, 1, 32, 32])],
        [weight],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)]).SerializeToString())


def test_a_detector_of_fixed_size_takes_any_size() -> None:
    model = onnx.ModelProto.FromString(centerface_dynamic(fixed_size_detector()))
    assert [value.name for value in model.graph.input] == ["picture"]
    sizes = [
        [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert sizes == [["batch", 3, "height", "width"], ["batch", 1, "537_height", "537_width"]]


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
@pytest.mark.parametrize("content", [b"", b"no model", b"\x08", bytes(100)])
def test_what_is_not_the_authors_file_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(UntrustedInputError, match="not "):
        TRANSFORMS[name](content)


def test_every_transform_that_a_manifest_names_exists() -> None:
    named = {
        onnx_file.source.transform
        for name in ("yunet-mobilefacenet", "centerface-dlib29")
        for onnx_file in load_engine_set(name).onnx_files
    }
    assert named - {None} == set(TRANSFORMS)
