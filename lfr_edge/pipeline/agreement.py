"""The parity gate of variants: whether a less precise set sees on this machine what its float32 set sees.

A variant carries its float32 set's contract: templates made by one are compared with features of the other. So a
golden picture, rendered people who do not exist, goes through the variant's own detector, alignment and embedders, and
what comes out is compared with what the float32 set made of the same picture. INT8 arithmetic differs between
processors (those without VNNI may saturate), which is why this is measured where the variant runs. What is not here:
parity of float32 backends (`inference.parity`), and accuracy (`evaluation`).
"""

import hashlib
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import WORKSPACE
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, PICTURE_FILE, GoldenFaces, Variant
from lfr_edge.pipeline.extract import Extractor

# The golden picture's worst face has .990 in INT8. Without VNNI, where sums of products saturate, it has .978. On LFW
# (1,862 faces) the former's mean is .996, 5 % are below .992, and it finds as many people with float32 templates.
LEAST_COSINE = 0.985
# Mean distance of the five landmarks, in shares of the inter-eye distance. INT8 on LFW: median .009, 5 % above .017.
MOST_LANDMARK_SHIFT = 0.04


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a variant's view of the golden picture is from the float32 set's, at its worst face."""

    missed: int
    extra: int
    landmark_shift: float
    cosine: float

    @property
    def is_enough(self) -> bool:
        """Whether the variant may stand for the float32 set."""
        same_faces = self.missed == self.extra == 0
        return same_faces and self.landmark_shift <= MOST_LANDMARK_SHIFT and self.cosine >= LEAST_COSINE


def agreement(extractor: Extractor, expected: GoldenFaces, picture: NDArray[np.uint8]) -> Agreement:
    """Compare what the extractor makes of the golden picture with what the float32 set made of it."""
    seen = faces_of(extractor, picture)
    missed, shift, cosine = 0, 0.0, 1.0
    for golden in expected.faces:
        there = np.asarray(golden.landmarks_px)
        inter_eye_px = math.dist(*golden.landmarks_px[:2])
        shifts = [float(np.hypot(*(landmarks - there).T).mean()) / inter_eye_px for landmarks, _ in seen]
        nearest = min(range(len(seen)), key=shifts.__getitem__, default=None)
        if nearest is None or shifts[nearest] > 1:  # no face that this one could be
            missed += 1
            continue
        shift = max(shift, shifts[nearest])
        cosine = min(cosine, float(seen[nearest][1] @ np.asarray(golden.features)))
    return Agreement(missed, len(seen) - (len(expected.faces) - missed), shift, cosine)


def faces_of(extractor: Extractor, picture: NDArray[np.uint8]) -> list[tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Landmarks and features of every face in a picture that shows nobody: they leave the leased memory."""
    with image_of(picture, extractor.arena) as image:
        detections = extractor.detect(image)
        features = np.zeros((len(detections), extractor.dimension), np.float32)
        if detections:
            extractor.embed(image, detections, out=features)
    return [(face.landmarks_px, row) for face, row in zip(detections, features, strict=True)]


@contextmanager
def image_of(picture: NDArray[np.uint8], arena: Arena) -> Iterator[Image]:
    """An (H, W, 3) BGR array as a leased image."""
    height, width = picture.shape[:2]
    image = Image.blank(arena, WORKSPACE, width, height)
    with image.lease:
        np.copyto(image.pixels, picture)
        yield image


def golden_picture(variant: Variant, manifests: Path = DEFAULT_MANIFESTS) -> NDArray[np.uint8]:
    """The golden picture of the variant's set. ConfigError unless it is the one that was measured."""
    path = manifests / variant.of / PICTURE_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path}: {error.strerror}", fix="restore the set's files as released"
        ) from error
    if hashlib.sha256(content).hexdigest() != variant.golden.picture_sha256:
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path} is another picture than was measured", fix="restore the file as released"
        )
    picture: NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
    return picture
