"""What an engine set is: its models by hash, the numbers that make features comparable, and the two digests over them.

A set lives in `engines/NAME/`: `manifest.toml` for people to read and review, `golden.json` with measured outputs for
the parity check. A set may instead be a variant of another: the same models in less precise and faster arithmetic,
everything else the other's, the contract too. What is not here: the weights (`store` has them) and how a model is run
(`port`, `adapters`).
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lfr_edge.errors import ConfigError, Reason

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A checkout has a link there to its engines/, an installed package the files themselves.
DEFAULT_MANIFESTS = (Path(__file__).parents[1] / "engines").resolve()

PICTURE_FILE = "faces.npy"  # the golden picture for a set's variants: (H, W, 3) uint8 BGR

# Every decode in `vision` yields this order, and every template is written in it. "Left" is the picture's left.
LANDMARK_ORDER = ("left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner")
# Each embedder's features have length 1 before they are joined, and the whole has length 1 again: the cosine of two
# wholes is the mean of the embedders' cosines.
JOINING = "normalise each, concatenate, normalise"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
SetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Point = tuple[float, float]
Triple = tuple[float, float, float]
Size = tuple[Annotated[int, Field(gt=0, le=1024)], Annotated[int, Field(gt=0, le=1024)]]  # width, height
Score = Annotated[float, Field(ge=-1, le=1)]
Precision = Literal["float32", "bfloat16"]
Ranges = Annotated[dict[str, tuple[float, float]], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class PackageSource(_Strict):
    """A file inside a Python distribution, whose own hash is known: pip checks it before it runs anything of it."""

    name: FileName
    version: FileName
    distribution_sha256: Sha256
    member: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$")]


class Source(_Strict):
    """The file as its authors publish it, where it can be had, and what makes our ONNX file of it."""

    file: FileName
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0, le=1 << 30)]
    transform: Literal["mobilefacenet-batch", "centerface-dynamic", "dlib-to-onnx"] | None = None
    package: PackageSource | None = None
    urls: tuple[Annotated[str, Field(pattern=r"^https://[^@\s]+$")], ...] = ()


class Int8(_Strict):
    """The float32 file that an INT8 file is made of, and how: the least and greatest value of tensors, by name."""

    float32_file: FileName
    float32_sha256: Sha256
    ranges: Ranges


class OnnxFile(_Strict):
    """One ONNX file, named by its hash: float32, or INT8 made of it."""

    file: FileName
    sha256: Sha256
    licence: str
    origin: str
    source: Source
    int8: Int8 | None = None

    @model_validator(mode="after")
    def _untransformed_is_itself(self) -> "OnnxFile":
        if self.source.transform is None and self.source.sha256 != self.float32_sha256:
            raise ValueError("without a transform, source.sha256 is the file's own")
        return self

    @property
    def float32_sha256(self) -> str:
        """The hash of the float32 file, which defines what is computed."""
        return self.sha256 if self.int8 is None else self.int8.float32_sha256


class ModelSpec(_Strict):
    """What every model wants of its input, NCHW, (x - mean) / std for x in 0..255, in this colour order."""

    onnx: OnnxFile
    precision: Precision = "float32"  # of what is not INT8
    colour: Literal["bgr", "rgb"]
    mean: Triple
    std: Triple


class DetectorSpec(ModelSpec):
    """A face detector with five landmarks; `decode` names the function in `vision` that reads its outputs."""

    decode: Literal["yunet", "centerface"]
    confidence_threshold: Share
    nms_iou: Share
    stride: Annotated[int, Field(gt=0, le=128)]  # height and width are multiples of it


class EmbedderSpec(ModelSpec):
    """An embedder: aligned face in, one row of features out, not normalised.

    The face is turned and scaled, never distorted, until its landmarks fit the template. An embedder that was trained
    on distorted faces has the template on a canvas of another shape, which is then stretched to `size_px`.
    """

    size_px: Size
    canvas_px: Size | None = None  # without it, size_px
    template_px: tuple[Point, Point, Point, Point, Point]  # where the landmarks go on the canvas, in LANDMARK_ORDER
    dimension: Annotated[int, Field(gt=0, le=4096)]
    mirrored: bool  # features are the mean over the face and its mirror image, then normalised
    # Of a portrait's features before they are normalised (median of LFW). Absent where the length says nothing of how
    # usable a face is: networks trained on distances alone.
    typical_length: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _canvas_has_a_size_of_its_own(self) -> "EmbedderSpec":
        if self.canvas_px == self.size_px:  # the same thing in two spellings would have two contracts
            raise ValueError("canvas_px is size_px: leave it out")
        return self

    @property
    def stretch(self) -> Point:
        """Factors along x and y from the canvas to the embedder's picture."""
        (width, height), (canvas_width, canvas_height) = self.size_px, self.canvas_px or self.size_px
        return width / canvas_width, height / canvas_height


class CalibrationPoint(_Strict):
    """What was measured at one threshold."""

    threshold: Score
    fpir: Share
    tpir: Share


class Calibration(_Strict):
    """False and true positive identification rates by threshold, of cosines, and the data they come from."""

    origin: str
    list_size: Annotated[int, Field(gt=0)]
    """Entries, with one template each."""
    strangers: Annotated[int, Field(gt=0)]
    """Searches for people who are not listed: what the false positive rates are shares of."""
    points: tuple[CalibrationPoint, ...]


class Golden(_Strict):
    """Measured outputs for `parity.golden_batch`: the detector's by name, each embedder's one row per picture."""

    origin: str
    detector: dict[str, tuple[float, ...]]
    embedders: tuple[tuple[tuple[float, ...], ...], ...]


class GoldenFace(_Strict):
    """One face of the golden picture, as the float32 set sees it."""

    landmarks_px: tuple[Point, Point, Point, Point, Point]
    features: tuple[float, ...]


class GoldenFaces(_Strict):
    """What a set sees in its golden picture of rendered people: a variant must see the same."""

    origin: str
    picture_sha256: Sha256  # of PICTURE_FILE in its folder
    faces: Annotated[tuple[GoldenFace, ...], Field(min_length=1)]


class Variant(_Strict):
    """Which set another one is a variant of, and what it must agree with before it may stand for that one."""

    of: SetName
    golden: GoldenFaces
    picture: Annotated[Path, Field(exclude=True)]  # the golden one: where it is belongs to no digest, its hash does


class EngineSet(_Strict):
    """A detector and one or more embedders that were measured together."""

    name: SetName
    detector: DetectorSpec
    embedders: Annotated[tuple[EmbedderSpec, ...], Field(min_length=1)]
    threshold: Score  # recommended
    threshold_floor: Score  # an order below it is refused
    threshold_origin: str
    calibration: Calibration
    golden: Golden
    variant: Variant | None = None  # of another set, whose the golden values are then

    @model_validator(mode="after")
    def _threshold_is_above_its_floor(self) -> "EngineSet":
        if self.threshold < self.threshold_floor:
            raise ValueError("threshold is below threshold_floor")
        return self

    @property
    def contract(self) -> str:
        """Digest over what makes features comparable, nothing else: a watchlist made under another one is refused."""
        # Named one by one: a field added later must not make old watchlists foreign unless it is meant to.
        comparable = {"colour", "mean", "std", "size_px", "canvas_px", "template_px", "dimension", "mirrored"}
        embedders = [
            {
                "onnx_sha256": embedder.onnx.float32_sha256,
                **embedder.model_dump(mode="json", include=comparable, exclude_none=True),
            }
            for embedder in self.embedders
        ]
        return _digest({"contract": 1, "landmarks": LANDMARK_ORDER, "joining": JOINING, "embedders": embedders})

    @property
    def digest(self) -> str:
        """Digest over everything: detector, sources, calibration, thresholds and golden values included."""
        return _digest({"engine_set": 1, "contract": self.contract, **self.model_dump(mode="json")})

    @property
    def dimension(self) -> int:
        """Length of the joined features."""
        return sum(embedder.dimension for embedder in self.embedders)

    @property
    def onnx_files(self) -> tuple[OnnxFile, ...]:
        """Every model of the set, detector first."""
        return (self.detector.onnx, *(embedder.onnx for embedder in self.embedders))


def engine_set_names(manifests: Path = DEFAULT_MANIFESTS) -> tuple[str, ...]:
    """The sets that have a manifest here, sorted."""
    return tuple(sorted(path.parent.name for path in manifests.glob("*/manifest.toml")))


def load_engine_set(name: str, manifests: Path = DEFAULT_MANIFESTS) -> EngineSet:
    """The checked set NAME. ConfigError if there is none, or if its manifest is not one."""
    names = engine_set_names(manifests)
    if name not in names:
        known = ", ".join(names) or "none"
        raise ConfigError(
            Reason.FILE_MISSING, f"no engine set '{name}' in {manifests}", fix=f"name one of the sets there: {known}"
        )
    path = manifests / name / "manifest.toml"
    try:
        fields = tomllib.loads(path.read_text("utf-8"))
        # Through JSON, because strict validation then takes an array for a tuple and still nothing else.
        if "variant_of" in fields:
            engine_set = _variant(_VariantManifest.model_validate_json(json.dumps(fields)), manifests)
        else:
            fields["golden"] = json.loads(path.with_name("golden.json").read_text("utf-8"))
            engine_set = EngineSet.model_validate_json(json.dumps(fields))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path}: {_first_complaint(error)}", fix="restore the set's files as released"
        ) from error
    if engine_set.name != name:
        raise ConfigError(
            Reason.VALUE_INVALID, f"{path}: name is '{engine_set.name}'", fix=f"it must be its folder's name, '{name}'"
        )
    return engine_set


class _Int8File(_Strict):
    file: FileName
    sha256: Sha256
    origin: str


class _VariantModel(_Strict):
    precision: Precision = "float32"
    int8: _Int8File | None = None


class _VariantManifest(_Strict):
    """A variant's `manifest.toml`."""

    name: SetName
    variant_of: SetName
    detector: _VariantModel
    embedders: tuple[_VariantModel, ...]


class _VariantRanges(_Strict):
    """A variant's `ranges.json`, where any of its models is in INT8."""

    origin: str
    detector: Ranges | None = None
    embedders: tuple[Ranges | None, ...] = ()


def _variant(manifest: _VariantManifest, manifests: Path) -> EngineSet:
    """The set that the manifest is a variant of, with its models in other arithmetic."""
    base = load_engine_set(manifest.variant_of, manifests)
    if base.variant is not None:
        raise ValueError(f"variant_of: '{base.name}' is a variant itself")
    models = (manifest.detector, *manifest.embedders)
    if len(models) != len(base.onnx_files):
        raise ValueError(f"embedders: '{base.name}' has {len(base.embedders)}")
    ranges: tuple[dict[str, tuple[float, float]] | None, ...] = (None,) * len(models)
    if any(model.int8 for model in models):
        text = (manifests / manifest.name / "ranges.json").read_text("utf-8")
        measured = _VariantRanges.model_validate_json(text)
        ranges = (measured.detector, *measured.embedders)
    specs = (base.detector, *base.embedders)
    detector, *embedders = (_less_precise(*each) for each in zip(specs, models, ranges, strict=True))
    text = (manifests / base.name / "faces.json").read_text("utf-8")
    golden = GoldenFaces.model_validate_json(text)
    variant = Variant(of=base.name, golden=golden, picture=manifests / base.name / PICTURE_FILE)
    update = {"name": manifest.name, "detector": detector, "embedders": tuple(embedders), "variant": variant}
    return base.model_copy(update=update)


def _less_precise(spec: ModelSpec, model: _VariantModel, ranges: dict[str, tuple[float, float]] | None) -> ModelSpec:
    onnx, file = spec.onnx, model.int8
    if (file is None) != (ranges is None):
        raise ValueError(f"{onnx.file}: INT8 needs a file and ranges")
    if file is not None and ranges is not None:
        int8 = Int8(float32_file=onnx.file, float32_sha256=onnx.sha256, ranges=ranges)
        named = {"file": file.file, "sha256": file.sha256, "origin": file.origin}
        onnx = onnx.model_copy(update={**named, "int8": int8})
    return spec.model_copy(update={"onnx": onnx, "precision": model.precision})


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _first_complaint(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
