"""Test pictures without real faces, and an extractor that reads from the pixels who is in them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from support.face_search import FakeFaceSearch

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image, Rows
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.quality import Quality

SIDE_PX = 60  # of one face in a test picture: 30 px between the eyes


class FakeExtractor:
    """Every square of one colour on black is a face: red says who, green how far from typical, blue how sharp."""

    def __init__(self, engine_set: EngineSet, arena: Arena) -> None:
        self.engine_set = engine_set
        self.arena = arena
        self.dimension = engine_set.dimension

    def start(self, image: Image, *, glance: bool = False, rows: Rows | None = None) -> FakeFaceSearch:
        del glance, rows
        return FakeFaceSearch(lambda: self.detect(image))

    def detect(self, image: Image) -> list[Detection]:
        corners = [
            (x, y)
            for y in range(0, image.height_px, SIDE_PX)
            for x in range(0, image.width_px, SIDE_PX)
            if image.pixels[y, x].any()
        ]
        return [face_at(x, y) for x, y in corners]

    def embed(self, image: Image, detections: Sequence[Detection], *, out: NDArray[np.float32]) -> list[Quality]:
        qualities = []
        for row, detection in zip(out, detections, strict=True):
            sharp, far, who = image.pixels[int(detection.box_px.top), int(detection.box_px.left)].tolist()
            row[:] = 0
            row[who] = np.cos(far / 100)
            row[-1] = np.sin(far / 100)
            qualities.append(Quality(20.0, sharp / 255, 1.0, 0.0, 0.0, 1.0, 1.0))
        return qualities

    def prepare(self, most_faces: int) -> None:
        """Nothing to prepare."""

    def forget(self) -> None:
        """Nothing is kept."""

    def forget_remains(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


def face_at(x: float, y: float) -> Detection:
    """A detection of SIDE_PX, its top left corner there."""
    landmarks = np.add([[15, 21], [45, 21], [30, 33], [18, 45], [42, 45]], (x, y), dtype=float)
    return Detection(Box(x, y, x + SIDE_PX, y + SIDE_PX), landmarks, 0.9)


def picture(*faces: tuple[int, int, int], columns: int = 3, sharp: int = 255) -> NDArray[np.uint8]:
    """(SIDE_PX, columns * SIDE_PX, 3) RGB with (column, who, how far from typical) of each face; who from 1."""
    pixels = np.zeros((SIDE_PX, columns * SIDE_PX, 3), np.uint8)
    for column, who, far in faces:
        pixels[:, column * SIDE_PX : (column + 1) * SIDE_PX] = (who, far, sharp)
    return pixels
