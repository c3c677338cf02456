"""A variant from its float32 models to the parity gate, with the released files."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.cli.main import main
from lfr_edge.errors import ConfigError
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, load_engine_set
from lfr_edge.inference.store import EngineStore

BASE, VARIANT, HALF = "yunet-mobilefacenet", "yunet-mobilefacenet-int8", "yunet-mobilefacenet-bf16"

OPEN = """
import sys
from pathlib import Path
from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.errors import ConfigError
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.store import EngineStore

try:
    open_extractor(load_engine_set(sys.argv[1]), EngineStore(Path(sys.argv[2])), Arena(64 << 20), threads=1).close()
    print("open")
except ConfigError as error:
    print(error)
"""


def cpu_flags() -> set[str]:
    return set(Path("/proc/cpuinfo").read_text("utf-8").split())


def opened(name: str, store: EngineStore, instructions: str) -> str:
    """What a process that has no later instructions than these says to the set."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, name, store.root],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": instructions},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "store")


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    for name in (BASE, VARIANT):
        shutil.copytree(DEFAULT_MANIFESTS / name, tmp_path / "manifests" / name)
    return tmp_path / "manifests"


@pytest.fixture
def vnni() -> None:
    if not {"avx512_vnni", "avx_vnni"} & cpu_flags():
        pytest.skip("needs a processor with VNNI: without it sums of products saturate, and the gate refuses")


def test_a_variant_is_made_of_the_float32_models(shared: Path, store: EngineStore) -> None:
    variant = load_engine_set(VARIANT)
    store.fetch(variant, [shared / "models"])
    store.verify(variant)
    assert len(store.read(variant.detector.onnx)) < 0.5 * (shared / "models" / "yunet_n_dynamic.onnx").stat().st_size


def test_a_variant_is_made_of_the_float32_models_in_the_store(shared: Path, store: EngineStore) -> None:
    store.fetch(load_engine_set(BASE), [shared / "models"])
    came_from = store.fetch(load_engine_set(VARIANT))
    assert all(where.startswith(str(store.root)) for where in came_from.values())


def test_a_damaged_float32_model_makes_no_variant(shared: Path, tmp_path: Path, store: EngineStore) -> None:
    models = shutil.copytree(shared / "models", tmp_path / "models")
    content = bytearray((models / "yunet_n_dynamic.onnx").read_bytes())
    content[1000] ^= 1
    (models / "yunet_n_dynamic.onnx").write_bytes(content)
    (tmp_path / "engines").mkdir()
    variant = load_engine_set(VARIANT)
    offline = variant.detector.onnx.source.model_copy(update={"urls": ()})
    onnx = variant.detector.onnx.model_copy(update={"source": offline})
    detector = variant.detector.model_copy(update={"onnx": onnx})
    with pytest.raises(ConfigError, match="another file than the manifest's"):
        store.fetch(variant.model_copy(update={"detector": detector}), [models])
    assert not list((store.root / "onnx").iterdir())


@pytest.mark.usefixtures("vnni")
def test_the_gate_passes_the_released_variant(
    shared: Path, store: EngineStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.fetch(load_engine_set(VARIANT), [shared / "models"])
    assert main(["engines", "verify", VARIANT, "--store", str(store.root)]) == 0
    assert "golden faces: 12, 0 missed, 0 too many" in capsys.readouterr().out


def test_the_gate_passes_bfloat16_and_sees_that_it_is_not_float32(
    shared: Path, store: EngineStore, capsys: pytest.CaptureFixture[str]
) -> None:
    if not {"avx512_bf16", "amx_bf16"} & cpu_flags():
        pytest.skip("needs a processor with bfloat16")
    store.fetch(load_engine_set(HALF), [shared / "models"])
    assert main(["engines", "verify", HALF, "--store", str(store.root)]) == 0
    cosine = re.search(r"worst cosine (0\.\d+)", capsys.readouterr().out)
    assert cosine is not None
    assert 0.99 < float(cosine[1]) < 0.9999


def test_int8_does_not_open_without_vnni(shared: Path, store: EngineStore) -> None:
    if "avx512bw" not in cpu_flags():
        pytest.skip("needs a processor with AVX-512: without VNNI, that is where sums of products saturate")
    store.fetch(load_engine_set(VARIANT), [shared / "models"])
    refused = f"on this machine {VARIANT} does not see what {BASE} sees; use {BASE}; INT8 needs a processor with VNNI\n"
    assert opened(VARIANT, store, "AVX512_CORE") == refused
    if "avx512_vnni" in cpu_flags():
        assert opened(VARIANT, store, "DEFAULT") == "open\n"


def test_bfloat16_does_not_open_where_it_cannot_be_computed(shared: Path, store: EngineStore) -> None:
    if "avx2" not in cpu_flags():
        pytest.skip("needs an x86-64 processor with AVX2")
    store.fetch(load_engine_set(HALF), [shared / "models"])
    refused = opened(HALF, store, "AVX2")
    assert refused.startswith(f"on this machine {HALF} cannot be computed (OpenVINO failed on yunet_n_dynamic.onnx")
    assert refused.endswith("bfloat16 needs a processor that has it (avx512_bf16 or amx_bf16)\n")


@pytest.mark.parametrize(("part", "factor"), [("detector", 0.5), ("detector", 4), ("embedders", 0.5), ("embedders", 4)])
def test_the_gate_refuses_a_coarser_variant(
    part: str, factor: float, shared: Path, store: EngineStore, manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Ranges of a half cut the strongest responses off; four times wider ones leave 6 bits.
    from lfr_edge.inference.quantise import quantised  # noqa: PLC0415 - needs onnx

    path = manifests / VARIANT / "ranges.json"
    measured = json.loads(path.read_text("utf-8"))
    ranges = measured[part] if part == "detector" else measured[part][0]
    ranges.update({name: [least * factor, greatest * factor] for name, (least, greatest) in ranges.items()})
    path.write_text(json.dumps(measured), "utf-8")
    onnx = load_engine_set(VARIANT).detector.onnx
    onnx = onnx if part == "detector" else load_engine_set(VARIANT).embedders[0].onnx
    assert onnx.int8 is not None
    made = quantised((shared / "models" / onnx.int8.float32_file).read_bytes(), ranges)
    manifest = manifests / VARIANT / "manifest.toml"
    renamed = manifest.read_text("utf-8").replace(onnx.sha256, hashlib.sha256(made).hexdigest())
    manifest.write_text(renamed, "utf-8")
    coarser = load_engine_set(VARIANT, manifests)
    store.fetch(coarser, [shared / "models"])
    assert main(["engines", "verify", VARIANT, "--store", str(store.root), "--manifests", str(manifests)]) == 2
    assert f"does not see what {BASE} sees" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=f"does not see what {BASE} sees"):
        open_extractor(coarser, store, Arena(64 << 20), threads=1)


def test_another_golden_picture_is_refused(
    shared: Path, store: EngineStore, manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.fetch(load_engine_set(VARIANT), [shared / "models"])
    path = manifests / BASE / "faces.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert main(["engines", "verify", VARIANT, "--store", str(store.root), "--manifests", str(manifests)]) == 2
    assert "is another picture than was measured" in capsys.readouterr().err
