# noqa: INP001 - a script
"""Measure what an INT8 variant needs: `python engines/measure_variant.py BASE NAME STORE PHOTOS CLIP...`.

Writes `engines/NAME/ranges.json`, and prints the hashes for its manifest; writes `engines/BASE/faces.npy` and
`faces.json` if there are none yet. Ranges are the least and greatest value of each tensor over all photos and over
pictures of the clips. The golden picture shows rendered people of the folder PHOTOS: it goes into the repository, so it
must show nobody. Needs BASE in STORE, verified.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import av
import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.inference.manifest import PICTURE_FILE, EmbedderSpec, ModelSpec, load_engine_set
from lfr_edge.inference.quantise import quantised
from lfr_edge.inference.store import EngineStore
from lfr_edge.pipeline.agreement import faces_of, image_of
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision import alignment

# Left in float32. Detector: the last convolution of each head, one to ten channels, that INT8 does not make faster.
# MobileFaceNet: its last two; with them in INT8 the features' mean cosine to float32 is .9970, without .9988 (LFW).
_HEAD_CHANNELS = 16  # heads have fewer
_EMBEDDER_LAST = 2

_EVERY = 40  # pictures of a clip are alike
_TILE_PX, _COLUMNS, _INTER_EYE_PX = 112, 4, (24, 30, 36, 42)  # of the golden picture
_FACES = 12

_Picture = NDArray[np.uint8]
_Ranges = dict[str, tuple[float, float]]


def main(base: str, name: str, store: EngineStore, photos: Path, clips: Sequence[Path]) -> None:
    """Measure NAME as a variant of BASE."""
    engine_set = load_engine_set(base)
    extractor = open_extractor(engine_set, store, Arena(256 << 20), threads=2)
    folder = Path(__file__).parent
    stills = [picture for path in sorted(photos.glob("*.jpg")) for picture in _pictures(path, 1)]
    pictures = [*stills, *(picture for clip in clips for picture in _pictures(clip, _EVERY))]
    ranges = [_ranges(engine_set.detector, store, _last_of_heads, (_padded(picture) for picture in pictures))]
    for spec in engine_set.embedders:
        faces = (crop for picture in pictures for crop in _crops(spec, extractor, picture))
        ranges.append(_ranges(spec, store, _last, faces))
    origin = f"least and greatest value over {len(pictures)} pictures; {_seen_with()}"
    _write(folder / name / "ranges.json", {"origin": origin, "detector": ranges[0], "embedders": ranges[1:]})
    if not (folder / base / PICTURE_FILE).exists():
        _write_golden(folder / base, extractor, stills)
    for spec, bounds in zip((engine_set.detector, *engine_set.embedders), ranges, strict=True):
        digest = hashlib.sha256(quantised(store.read(spec.onnx), bounds)).hexdigest()
        print(spec.onnx.file, "in INT8: sha256", digest)  # noqa: T201 - for the manifest, by hand


def _write_golden(folder: Path, extractor: Extractor, stills: Sequence[_Picture]) -> None:
    golden = np.ascontiguousarray(_golden_picture(extractor, stills))
    np.save(folder / PICTURE_FILE, golden)
    faces = [
        {"landmarks_px": landmarks.round(3).tolist(), "features": [float(f"{value:.6g}") for value in features]}
        for landmarks, features in faces_of(extractor, golden)
    ]
    digest = hashlib.sha256((folder / PICTURE_FILE).read_bytes()).hexdigest()
    _write(folder / "faces.json", {"origin": _seen_with(), "picture_sha256": digest, "faces": faces})


def _seen_with() -> str:
    return f"OpenVINO {ov.__version__}, float32, {datetime.now(timezone.utc):%Y-%m-%d}"


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", "utf-8")


def _ranges(
    spec: ModelSpec, store: EngineStore, kept: Callable[[onnx.GraphProto], set[str]], pictures: Iterable[_Picture]
) -> _Ranges:
    """Least and greatest value of every tensor that a convolution reads, but for those that are to stay float32."""
    model = onnx.load_model_from_string(store.read(spec.onnx))
    graph = model.graph
    read = [node.input[0] for node in graph.node if node.op_type == "Conv"]
    names = [name for name in dict.fromkeys(read) if name not in kept(graph)]
    taken = [name for name in names if name != graph.input[0].name]
    del graph.output[:]
    graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in taken)
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    bounds: dict[str, list[float]] = {name: [0.0, 0.0] for name in names}
    for picture in pictures:
        ordered = picture[..., ::-1] if spec.colour == "rgb" else picture
        planes = ((ordered.astype(np.float32) - np.float32(spec.mean)) / np.float32(spec.std)).transpose(2, 0, 1)
        values: Mapping[str, NDArray[np.float32]] = {
            graph.input[0].name: planes,
            **dict(zip(taken, compiled([planes[np.newaxis]]).values(), strict=True)),
        }
        for name, bound in bounds.items():
            bound[:] = min(bound[0], float(values[name].min())), max(bound[1], float(values[name].max()))
    return {name: (float(f"{least:.4g}"), float(f"{greatest:.4g}")) for name, (least, greatest) in bounds.items()}


def _last_of_heads(graph: onnx.GraphProto) -> set[str]:
    """What the last convolution of each head reads: the result of another one, of few channels."""
    makers = {output: node.op_type for node in graph.node for output in node.output}
    return {
        node.input[0]
        for node in graph.node
        if node.op_type == "Conv" and makers.get(node.input[0]) == "Conv" and _channels(graph, node) < _HEAD_CHANNELS
    }


def _channels(graph: onnx.GraphProto, node: onnx.NodeProto) -> int:
    return next(int(weight.dims[0]) for weight in graph.initializer if weight.name == node.input[1])


def _last(graph: onnx.GraphProto) -> set[str]:
    return {node.input[0] for node in [node for node in graph.node if node.op_type == "Conv"][-_EMBEDDER_LAST:]}


def _pictures(path: Path, every: int) -> Iterator[_Picture]:
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % every == every // 2:
                yield frame.to_ndarray(format="bgr24")


def _padded(picture: _Picture) -> _Picture:
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, -height % 32), (0, -width % 32), (0, 0)))


def _crops(spec: EmbedderSpec, extractor: Extractor, picture: _Picture) -> Iterator[_Picture]:
    width, height = spec.size_px
    with image_of(picture, extractor.arena) as image:
        for detection in extractor.detect(image):
            crop = np.empty((height, width, 3), np.uint8)
            on_canvas = alignment.similarity(detection.landmarks_px, np.asarray(spec.template_px))
            alignment.warp(
                image.pixels, alignment.stretched(on_canvas, spec.stretch), out=crop, workspace=extractor.arena
            )
            yield crop
            yield np.ascontiguousarray(crop[:, ::-1])


def _golden_picture(extractor: Extractor, stills: Sequence[_Picture]) -> _Picture:
    """Rows of faces, each cut out and scaled so that its eyes are as far apart as `_INTER_EYE_PX` says."""
    tiles = []
    for index, still in enumerate(stills[:_FACES]):
        with image_of(still, extractor.arena) as image:
            face = extractor.detect(image)[0]
            scale = _INTER_EYE_PX[index % len(_INTER_EYE_PX)] / face.inter_eye_px
            middle = face.landmarks_px.mean(axis=0) * scale
            tile = np.empty((_TILE_PX, _TILE_PX, 3), np.uint8)
            to_tile = np.array([[scale, 0, _TILE_PX / 2 - middle[0]], [0, scale, _TILE_PX / 2 - middle[1]]])
            alignment.warp(image.pixels, to_tile, out=tile, workspace=extractor.arena)
        tiles.append(tile)
    return np.concatenate(
        [np.concatenate(tiles[start : start + _COLUMNS], axis=1) for start in range(0, len(tiles), _COLUMNS)]
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], EngineStore(Path(sys.argv[3])), Path(sys.argv[4]), [Path(x) for x in sys.argv[5:]])
