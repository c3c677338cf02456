"""An office without weights: photos are plain colours, and a fake extractor reads faces out of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from support.clerk import BEFORE, Clerk

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.cli.main import main
from lfr_edge.clock import ManualClock, SystemClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.quality import Quality

HEADER = "id,photo,category,response,legal_basis,source,captured,rationale,expires"


class FakeExtractor:
    """Reads the top left pixel: red = how many faces, green = pixels between the eyes, blue = who it is."""

    def __init__(self, engine_set: EngineSet) -> None:
        self.engine_set = engine_set
        self.dimension = engine_set.dimension
        self.forgotten = 0

    def detect(self, image: Image) -> list[Detection]:
        _, inter_eye_px, faces = image.pixels[0, 0].tolist()
        landmarks = np.array([[10, 10], [10 + inter_eye_px, 10], [20, 20], [12, 30], [28, 30]], np.float64)
        return [Detection(Box(5, 5, 5 + 2 * inter_eye_px, 60), landmarks, 0.9) for _ in range(faces)]

    def embed(self, image: Image, detections: Sequence[Detection], *, out: NDArray[np.float32]) -> list[Quality]:
        who = int(image.pixels[0, 0, 0])
        random = np.random.default_rng(who // 2)  # 2n and 2n + 1 are twins
        out[0] = random.standard_normal(self.dimension)
        if who % 2:
            out[0, 0] += 1
        out[0] *= float(who > 0) / np.linalg.norm(out[0])
        return [Quality(d.inter_eye_px, 0.9, 1.0, 0.0, 0.0, d.confidence, 1.0) for d in detections]

    def forget(self) -> None:
        self.forgotten += 1

    def close(self) -> None:
        self.forget()


@pytest.fixture
def arena() -> Arena:
    return Arena(8 << 20)


@pytest.fixture(scope="session")
def engine_set() -> EngineSet:
    return load_engine_set("yunet-mobilefacenet")


@pytest.fixture
def extractor(engine_set: EngineSet) -> FakeExtractor:
    return FakeExtractor(engine_set)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def photo(photos: Path) -> Callable[..., str]:
    """Make a photo; returns its name."""

    def make(name: str, *, faces: int = 1, inter_eye_px: int = 60, who: int = 2) -> str:
        Pillow.new("RGB", (160, 120), (faces, inter_eye_px, who)).save(photos / name)
        return name

    return make


@pytest.fixture
def listing(tmp_path: Path) -> Callable[..., Path]:
    """Write a list; returns its path."""

    def make(*lines: str, header: str = HEADER) -> Path:
        path = tmp_path / "list.csv"
        path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
        return path

    return make


@pytest.fixture
def measured() -> list[int]:
    """How many photos each run of the engines measured."""
    return []


@pytest.fixture
def clerk(
    tmp_path: Path,
    photos: Path,
    photo: Callable[..., str],
    extractor: Any,
    measured: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> Clerk:
    def opened(*_: object, **__: object) -> Any:
        measured.append(0)
        return extractor

    detect = extractor.detect

    def counted(image: Any) -> Any:
        measured[-1] += 1
        return detect(image)

    extractor.detect = counted
    monkeypatch.setattr("lfr_edge.cli.office_enrol.open_extractor", opened)
    clock = ManualClock(BEFORE)
    monkeypatch.setattr(SystemClock, "utc", lambda _: clock.utc())
    assert main(["office", "setup", "--force", "example", "--out", str(tmp_path / "desk"), "--no-passphrase"]) == 0
    for who in (2, 4, 6):
        photo(f"{who}.png", who=who)
    desk = Clerk(tmp_path, photos, SealIdentity.generate().recipient, clock)
    desk.write_list("E-2,2.png", "E-4,4.png", "E-6,6.png")
    return desk
