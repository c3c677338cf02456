"""The face of one test picture as features, what that cost, and lists made of such faces.

Test subjects have agreed to be measured, or their data set says so; a passer-by's face never comes here.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lfr_edge.adapters.photos import read_photo
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import TEMPLATES, WORKSPACE
from lfr_edge.errors import UntrustedInputError
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.quality import Quality
from lfr_edge.watchlist.crowding import lowering
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.references import Watchlist

Features = NDArray[np.float32]

_NO_PICTURE = PictureMember(offset=0, length=1, key="0" * 64)  # nothing here is ever shown to anybody


@dataclass(slots=True)
class Cost:
    """What detecting in each picture and embedding each face took. For information: the machine may be shared."""

    detect_ms: list[float] = field(default_factory=list)
    embed_ms: list[float] = field(default_factory=list)

    @property
    def per_face_ms(self) -> float:
        """Medians of both, added; 0 before the first."""
        return sum(median(times) for times in (self.detect_ms, self.embed_ms) if times)


@dataclass(frozen=True, slots=True)
class Face:
    """What was measured of one picture."""

    features: Features  # (D,) float32, length 1
    quality: Quality
    others: int  # other faces that were found in the picture


def most_central(detections: Sequence[Detection], image: Image) -> Detection:
    """The face whose box has its centre nearest to the picture's: in LFW the one that the label is about."""
    middle = complex(image.width_px, image.height_px) / 2

    def distance(detection: Detection) -> float:
        box = detection.box_px
        return abs(complex(box.left + box.right, box.top + box.bottom) / 2 - middle)

    return min(detections, key=distance)


def most_confident(detections: Sequence[Detection], image: Image) -> Detection:
    """The detector's first: in footage of one person the others are hands."""
    del image
    return detections[0]


class FaceReader:
    """Reads the one face that counts of each picture, as `choose` says. Counts what it costs."""

    def __init__(
        self, extractor: Extractor, choose: Callable[[Sequence[Detection], Image], Detection] = most_central
    ) -> None:
        self.cost = Cost()
        self._extractor = extractor
        self._choose = choose

    def read(self, path: Path) -> Face | None:
        """The face of a photo; None if no face was found that could be measured. UntrustedInputError if it is none."""
        try:
            image = read_photo(path, self._extractor.arena, WORKSPACE)
        except UntrustedInputError as error:
            raise UntrustedInputError(error.reason, f"{path}: {error.message}", fix=error.fix) from error
        with image.lease:
            return self.measure(image)

    def measure(self, image: Image) -> Face | None:
        """The same of a picture in memory."""
        started = time.perf_counter()
        detections = self._extractor.detect(image)
        detected = time.perf_counter()
        self.cost.detect_ms.append((detected - started) * 1e3)
        if not detections:
            return None
        features = np.zeros((1, self._extractor.dimension), np.float32)
        (quality,) = self._extractor.embed(image, [self._choose(detections, image)], out=features)
        self.cost.embed_ms.append((time.perf_counter() - detected) * 1e3)
        return Face(features[0], quality, len(detections) - 1) if features.any() else None


def watchlist_of(
    templates: Sequence[Features], extractor: Extractor, ids: Sequence[str], *, lowered: bool = True
) -> Watchlist:
    """A list with one template per entry, its scores lowered as in a van or not at all. Owns its leases: `wipe` it."""
    lease = extractor.arena.lease(TEMPLATES, (len(templates), extractor.dimension), np.float32)
    np.stack(templates, out=lease.array)
    entry_of_template = np.arange(len(templates), dtype=np.int32)
    subtracted = lowering(lease.array, entry_of_template, extractor.arena) if lowered else None
    return Watchlist(tuple(_entry(entry) for entry in ids), lease, entry_of_template, subtracted)


def _entry(entry: str) -> Entry:
    return Entry(
        id=entry,
        category="test subject",
        response="green",
        legal_basis="test of accuracy",
        source="test data",
        captured=date(2000, 1, 1),
        picture=_NO_PICTURE,
    )
