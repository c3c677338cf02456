import json
import shutil
from pathlib import Path

import pytest

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, EngineSet, engine_set_names, load_engine_set

DEFAULT, VARIANT = "yunet-mobilefacenet", "yunet-mobilefacenet-int8"
NAMES = ("centerface-dlib29", "yunet-duo", DEFAULT, f"{DEFAULT}-bf16", VARIANT)


def changed(engine_set: EngineSet, path: str, value: object) -> EngineSet:
    """The set with one value replaced, validated again."""
    fields = json.loads(engine_set.model_dump_json())
    *parents, last = path.split(".")
    node = fields
    for part in parents:
        node = node[int(part)] if part.isdigit() else node[part]
    assert last in node
    node[last] = value
    return EngineSet.model_validate_json(json.dumps(fields))


@pytest.fixture
def engine_set() -> EngineSet:
    return load_engine_set("yunet-mobilefacenet")


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    shutil.copytree(DEFAULT_MANIFESTS / DEFAULT, tmp_path / DEFAULT)
    return tmp_path


def test_the_released_sets_load() -> None:
    assert engine_set_names() == NAMES
    for name, dimensions in zip(NAMES, ([128], [128, 256], [128], [128], [128]), strict=True):
        engine_set = load_engine_set(name)
        assert [embedder.dimension for embedder in engine_set.embedders] == dimensions
        assert engine_set.dimension == sum(dimensions)
        assert [len(rows) for rows in engine_set.golden.embedders] == [3] * len(dimensions)


def test_the_released_contracts_never_change() -> None:
    # A watchlist made under another contract is refused: changing one of these is a release decision.
    contracts = {name: load_engine_set(name).contract for name in NAMES if load_engine_set(name).variant is None}
    assert contracts == {
        "centerface-dlib29": "a64463be15fa1d6fb356295413664a208f98783336f56dbf6020d26aca25fc3e",
        "yunet-duo": "0bdd961852a61fd45245e8b614434d64349423397f750b160b6f8b87d0b13bed",
        "yunet-mobilefacenet": "deaa61b58d05e0f7fcd3fcb74f4294d858a813ab1d2c2df479c1bbed975273e0",
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("embedders.0.onnx.sha256", "0" * 64),
        ("embedders.0.colour", "bgr"),
        ("embedders.0.mean", [1.0, 2.0, 3.0]),
        ("embedders.0.std", [1.0, 2.0, 3.0]),
        ("embedders.0.size_px", [112, 128]),
        ("embedders.0.canvas_px", [96, 112]),
        ("embedders.0.template_px", [[0.0, 0.0]] * 5),
        ("embedders.0.mirrored", False),
        ("embedders.0.dimension", 64),
    ],
)
def test_what_changes_features_changes_contract_and_digest(engine_set: EngineSet, path: str, value: object) -> None:
    other = changed(engine_set, path, value)
    assert other.contract != engine_set.contract
    assert other.digest != engine_set.digest


def test_an_embedder_without_a_canvas_of_its_own_is_not_stretched(engine_set: EngineSet) -> None:
    (embedder,) = engine_set.embedders
    assert embedder.stretch == (1.0, 1.0)
    assert changed(engine_set, "embedders.0.canvas_px", [96, 56]).embedders[0].stretch == (112 / 96, 2.0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "another"),
        ("threshold", 0.6),
        ("threshold_floor", 0.3),
        ("threshold_origin", "measured elsewhere"),
        ("detector.confidence_threshold", 0.1),
        ("detector.nms_iou", 0.1),
        ("embedders.0.onnx.file", "renamed.onnx"),
        ("embedders.0.typical_length", 12.5),
        ("embedders.0.onnx.source.urls", []),
        ("calibration.list_size", 1000),
        ("calibration.strangers", 4000),
        ("golden.origin", "measured elsewhere"),
    ],
)
def test_what_leaves_features_alone_changes_the_digest_only(engine_set: EngineSet, path: str, value: object) -> None:
    other = changed(engine_set, path, value)
    assert other.contract == engine_set.contract
    assert other.digest != engine_set.digest


def test_an_unknown_set_is_refused_with_the_known_names(manifests: Path) -> None:
    for name in ("nonesuch", "../yunet-mobilefacenet", ""):
        with pytest.raises(ConfigError, match="yunet-mobilefacenet") as refused:
            load_engine_set(name, manifests)
        assert refused.value.reason is Reason.FILE_MISSING


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("threshold = 0.54", "threshold = 0.4", "threshold is below threshold_floor"),
        ("threshold = 0.54", 'threshold = "high"', "threshold: "),
        ("threshold = 0.54", "threshold = nan", "threshold: "),
        ("threshold = 0.54", "threshold = 0.54\nextra = 1", "extra: "),
        ('file = "mobilefacenet_b.onnx"', 'file = "../../etc/passwd"', "embedders.0.onnx.file: "),
        ('"https://raw', '"http://raw', "urls.0: "),
        ("size_px = [112, 112]", "size_px = [112]", "embedders.0.size_px.1: "),
        ("size_px = [112, 112]", "size_px = [112, 112]\ncanvas_px = [112, 112]", "embedders.0: "),
        ("[detector]", "[detector", "manifest.toml: "),
        ('transform = "mobilefacenet-batch"', "", "without a transform"),
        ('name = "yunet-mobilefacenet"', 'name = "another"', "its folder's name"),
    ],
)
def test_a_malformed_manifest_is_refused_naming_the_key(manifests: Path, old: str, new: str, complaint: str) -> None:
    path = manifests / DEFAULT / "manifest.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_engine_set(DEFAULT, manifests)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [None, "", "[1]", '{"origin": ""}', "\udcff"])
def test_golden_values_that_are_none_are_refused(manifests: Path, content: str | None) -> None:
    path = manifests / DEFAULT / "golden.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as refused:
        load_engine_set(DEFAULT, manifests)
    assert refused.value.reason is Reason.FILE_MALFORMED


@pytest.fixture
def variant_manifests(manifests: Path) -> Path:
    shutil.copytree(DEFAULT_MANIFESTS / VARIANT, manifests / VARIANT)
    return manifests


def test_a_variant_has_the_contract_of_its_set_and_a_digest_of_its_own() -> None:
    base, variant = load_engine_set(DEFAULT), load_engine_set(VARIANT)
    assert variant.contract == base.contract
    assert variant.digest != base.digest
    assert variant.detector.onnx.sha256 != base.detector.onnx.sha256 == variant.detector.onnx.float32_sha256
    assert (variant.threshold, variant.threshold_floor) == (base.threshold, base.threshold_floor)


def test_a_variant_in_another_precision_has_the_same_files_and_a_digest_of_its_own() -> None:
    base, variant = load_engine_set(DEFAULT), load_engine_set(f"{DEFAULT}-bf16")
    assert variant.contract == base.contract
    assert variant.digest != base.digest
    assert variant.onnx_files == base.onnx_files
    assert {model.precision for model in (variant.detector, *variant.embedders)} == {"bfloat16"}


def test_a_variant_of_a_changed_set_changes_with_it(variant_manifests: Path) -> None:
    before = load_engine_set(VARIANT, variant_manifests)
    path = variant_manifests / DEFAULT / "manifest.toml"
    path.write_text(path.read_text("utf-8").replace("size_px = [112, 112]", "size_px = [112, 128]", 1), "utf-8")
    after = load_engine_set(VARIANT, variant_manifests)
    assert after.contract == load_engine_set(DEFAULT, variant_manifests).contract != before.contract


@pytest.mark.parametrize("part", ["detector", "embedders"])
def test_other_ranges_change_a_variants_digest_and_not_its_contract(variant_manifests: Path, part: str) -> None:
    before = load_engine_set(VARIANT, variant_manifests)
    path = variant_manifests / VARIANT / "ranges.json"
    measured = json.loads(path.read_text("utf-8"))
    ranges = measured[part] if part == "detector" else measured[part][0]
    ranges[next(iter(ranges))] = [0.0, 1.0]
    path.write_text(json.dumps(measured), "utf-8")
    after = load_engine_set(VARIANT, variant_manifests)
    assert after.contract == before.contract
    assert after.digest != before.digest


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('variant_of = "yunet-mobilefacenet"', 'variant_of = "yunet-mobilefacenet-int8-2"', "is a variant itself"),
        ('variant_of = "yunet-mobilefacenet"', 'variant_of = "nonesuch"', "no engine set 'nonesuch'"),
        ("variant_of", "threshold = 0.3\nvariant_of", "threshold: "),
        ("[[embedders]]", "[[embedders]]\n[[embedders]]", "has 1"),
        ("[embedders.int8]", "[embedders.other]", "embedders.0.other: "),
        ("[detector.int8]", '[detector]\nprecision = "float16"\n[detector.int8]', "detector.precision: "),
        ("[detector.int8]", "[detector.other]", "detector.other: "),
    ],
)
def test_a_variant_that_is_none_is_refused(variant_manifests: Path, old: str, new: str, complaint: str) -> None:
    second = variant_manifests / "yunet-mobilefacenet-int8-2"
    shutil.copytree(DEFAULT_MANIFESTS / VARIANT, second)
    (second / "manifest.toml").write_text(
        (second / "manifest.toml").read_text("utf-8").replace(VARIANT, second.name), "utf-8"
    )
    path = variant_manifests / VARIANT / "manifest.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_engine_set(VARIANT, variant_manifests)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(("part", "value"), [("detector", None), ("embedders", [None]), ("embedders", [])])
def test_int8_without_ranges_is_refused(variant_manifests: Path, part: str, value: object) -> None:
    path = variant_manifests / VARIANT / "ranges.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), part: value}), "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_engine_set(VARIANT, variant_manifests)
    assert refused.value.reason is Reason.FILE_MALFORMED


def test_ranges_without_int8_are_refused(variant_manifests: Path) -> None:
    path = variant_manifests / VARIANT / "manifest.toml"
    text = path.read_text("utf-8")
    path.write_text(text[: text.index("[embedders.int8]")], "utf-8")
    with pytest.raises(ConfigError, match="INT8 needs a file and ranges"):
        load_engine_set(VARIANT, variant_manifests)
