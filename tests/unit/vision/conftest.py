"""What the vision tests share: an arena, a template, and the street as a detector sees it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.heap import HeapUse, heap_use

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.vision.detection import DecodeLimits, Detection, decode

TEMPLATE_PX = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


@pytest.fixture
def heap() -> HeapUse:
    return heap_use


@pytest.fixture
def template() -> NDArray[np.float64]:
    return TEMPLATE_PX.copy()


@pytest.fixture
def arena() -> Iterator[Arena]:
    """An arena that must have everything back at the end of the test."""
    arena = Arena(16 << 20, memory_lock=FakeMemoryLock(allow=False))
    yield arena
    assert arena.leased_bytes == 0


@pytest.fixture(scope="session")
def street(shared: Path) -> list[tuple[list[Detection], list[dict[str, Any]]]]:
    """What YuNet finds in every fortieth picture of the rendered street, and who is there (ground_truth.json)."""
    av = pytest.importorskip("av")
    openvino = pytest.importorskip("openvino")
    truth = json.loads((shared / "media/synthetic/ground_truth.json").read_text())["frames"]
    core = openvino.Core()
    model = core.compile_model(core.read_model(shared / "models/yunet_n_dynamic.onnx"), "CPU")
    names = [next(name for name in output.get_names() if "_" in name) for output in model.outputs]
    pictures = []
    with av.open(str(shared / "media/synthetic/street_clip.mp4")) as clip:
        for index, frame in enumerate(clip.decode(video=0)):
            if index % 40 == 0:
                padded = np.zeros((736, 1280, 3), np.float32)
                padded[:720] = frame.to_ndarray(format="bgr24")
                results = model(np.ascontiguousarray(padded.transpose(2, 0, 1)[np.newaxis]))
                planes = {name: results[place][0].copy() for place, name in enumerate(names)}
                faces = decode("yunet", planes, limits=DecodeLimits(0.6, 0.45, 1280, 720))
                pictures.append((faces, truth[index]["faces"]))
    return pictures
