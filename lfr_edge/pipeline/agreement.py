"""The parity gate of variants: whether a less precise set sees on this machine what its float32 set sees.

A variant carries its float32 set's contract: templates made by one are compared with features of the other. So a
golden picture, rendered people who do not exist, goes through the variant's own detector, alignment and embedders, and
what comes out is compared with what the float32 set made of the same picture. INT8 arithmetic differs between
processors (those without VNNI may saturate), which is why this is measured where the variant runs, whenever it is
opened (`adapters.engines`). What is not here: parity of float32 backends (`inference.parity`), and accuracy
(`evaluation`).
"""

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import WORKSPACE
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.inference.manifest import EngineSet, GoldenFace, GoldenFaces, Variant
from lfr_edge.inference.parity import cosine_of
from lfr_edge.pipeline.extract import Extractor

# The golden picture's worst face has .990 in INT8. Without VNNI, where sums of products saturate, it has .978. On LFW
# (1,862 faces) the former's mean is .996, 5 % are below .992, and it finds as many people with float32 templates.
LEAST_COSINE = 0.985
# Mean distance of the five landmarks, in shares of the inter-eye distance. INT8 on LFW: median .009, 5 % above .017.
MOST_LANDMARK_SHIFT = 0.04

_SAME_FACE = 1.0  # landmarks farther away than that, in the same shares, are of somebody else

_Landmarks = NDArray[np.float64]
_Features = NDArray[np.float32]


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
    pairs = _pairs(expected, [landmarks for landmarks, _ in seen])
    return Agreement(
        missed=len(expected.faces) - len(pairs),
        extra=len(seen) - len(pairs),
        landmark_shift=max((shift for shift, _, _ in pairs), default=0.0),
        cosine=min((cosine_of(seen[there][1], expected.faces[here].features) for _, here, there in pairs), default=1.0),
    )


def require_agreement(engine_set: EngineSet, variant: Variant, found: Agreement) -> None:
    """ConfigError unless what was found is enough."""
    if not found.is_enough:
        raise unfit(engine_set, variant, f"does not see what {variant.of} sees")


def unfit(engine_set: EngineSet, variant: Variant, fault: str) -> ConfigError:
    """The error for a variant that this machine cannot use; the fix names what its arithmetic needs."""
    models = (engine_set.detector, *engine_set.embedders)
    needs = []
    if any(model.onnx.int8 for model in models):
        needs.append("INT8 needs a processor with VNNI")
    if any(model.precision == "bfloat16" for model in models):
        needs.append("bfloat16 needs a processor that has it (avx512_bf16 or amx_bf16)")
    return ConfigError(
        Reason.ENGINE_FAILED,
        f"on this machine {engine_set.name} {fault}",
        fix="; ".join([f"use {variant.of}", *needs]),
    )


def _pairs(expected: GoldenFaces, seen: Sequence[_Landmarks]) -> list[tuple[float, int, int]]:
    """Shift, golden face and seen face of those that are the same, each at most once: the nearest find each other."""
    shifts = [
        (_shift(golden, landmarks), here, there)
        for here, golden in enumerate(expected.faces)
        for there, landmarks in enumerate(seen)
    ]
    pairs: list[tuple[float, int, int]] = []
    # A shift that is not a number is not within the bound: such landmarks are nobody's.
    for shift, here, there in sorted(each for each in shifts if each[0] <= _SAME_FACE):
        if all(here != other_here and there != other_there for _, other_here, other_there in pairs):
            pairs.append((shift, here, there))
    return pairs


def _shift(golden: GoldenFace, landmarks: _Landmarks) -> float:
    """Mean distance of the landmarks, in shares of the golden face's inter-eye distance."""
    distances = np.hypot(*(landmarks - np.asarray(golden.landmarks_px)).T)
    return float(distances.mean()) / math.dist(*golden.landmarks_px[:2])


def faces_of(extractor: Extractor, picture: NDArray[np.uint8]) -> list[tuple[_Landmarks, _Features]]:
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


def golden_picture(variant: Variant) -> NDArray[np.uint8]:
    """The golden picture of the variant's set. ConfigError unless it is the one that was measured."""
    path = variant.picture
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
