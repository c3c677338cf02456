"""Enrolment: photos into templates, reference pictures, quality, and a warning of look-alikes.

Whatever is wrong with any photo is found in one run and returned; only a result without problems can be kept.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfr_edge.adapters.photos import read_photo
from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.retention import TEMPLATES
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.office.listing import Problem, Row, duplicates
from lfr_edge.office.photos import reference_picture
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.quality import Quality
from lfr_edge.watchlist.entries import Particulars

# Share of genuine comparisons above 0.45 by the smaller inter-eye distance (LFW, YuNet + MobileFaceNet): 18 px .90,
# 24 px .92, 32 px .93. The probe is small often enough; the reference need not be.
_LEAST_INTER_EYE_PX = 24.0
_BLOCK = 1024  # rows of the score matrix at a time


@dataclass(frozen=True, slots=True)
class Enrolled:
    """One person, ready to be sealed. The template is the row of the same index."""

    particulars: Particulars
    photo: str
    quality: Quality
    picture_jpeg: bytes


@dataclass(frozen=True, slots=True)
class LookAlike:
    """Two entries so alike that either may be taken for the other. `score` is a cosine."""

    first: str
    second: str
    score: float


@dataclass(frozen=True, slots=True)
class EnrolResult:
    """What a run of `enrol` made. Owns the templates' lease: (N, D) float32, N entries. A context manager."""

    engine_set: EngineSet
    enrolled: tuple[Enrolled, ...]
    templates: Lease
    look_alikes: tuple[LookAlike, ...]
    problems: tuple[Problem, ...]

    def __enter__(self) -> "EnrolResult":
        return self

    def __exit__(self, *error: object) -> None:
        self.templates.release()


def enrol(rows: Sequence[Row], extractor: Extractor, arena: Arena) -> EnrolResult:
    """Make a template and a reference picture of every photo; what cannot be used is a problem, not an exception."""
    with ExitStack() as unless_done:
        templates = arena.lease(TEMPLATES, (len(rows), extractor.dimension), np.float32)
        unless_done.enter_context(templates)
        outcomes = [
            _enrol_one(row, extractor, arena, out=templates.array[index : index + 1]) for index, row in enumerate(rows)
        ]
        extractor.forget()
        enrolled = tuple(outcome for outcome in outcomes if isinstance(outcome, Enrolled))
        unusable = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
        problems = tuple(sorted([*unusable, *duplicates(rows)], key=lambda problem: problem.line))
        ids = [row.particulars.id for row in rows]
        look_alikes = () if problems else find_look_alikes(ids, templates.array, extractor.engine_set.threshold)
        unless_done.pop_all()
    return EnrolResult(extractor.engine_set, enrolled, templates, look_alikes, problems)


def _enrol_one(row: Row, extractor: Extractor, arena: Arena, *, out: NDArray[np.float32]) -> Enrolled | Problem:
    """Template into `out` (1, D)."""
    try:
        image = read_photo(row.photo, arena, TEMPLATES)
        with image.lease:
            face = _only_face(extractor.detect(image))
            (quality,) = extractor.embed(image, [face], out=out)
            if not out.any():
                raise _unusable("the face could not be measured", "give another photo")
            return Enrolled(row.particulars, row.photo.name, quality, reference_picture(image, face.box_px))
    except UntrustedInputError as error:
        return Problem(row.line, f"{row.particulars.id} ({row.photo.name})", error.message, error.fix)


def _only_face(detections: Sequence[Detection]) -> Detection:
    if not detections:
        raise _unusable("no face was found", "give a photo that shows the face from the front")
    if len(detections) > 1:
        sizes = ", ".join(f"{face.box_px.width:.0f}x{face.box_px.height:.0f}" for face in detections)
        raise _unusable(f"{len(detections)} faces were found ({sizes} px)", "crop it to the one person")
    (face,) = detections
    if face.inter_eye_px < _LEAST_INTER_EYE_PX:
        what = f"the face is too small ({face.inter_eye_px:.0f} px between the eyes, of a photo read at 640 px)"
        raise _unusable(what, f"give a closer photo, or crop it: at least {_LEAST_INTER_EYE_PX:.0f} px are needed")
    return face


def _unusable(what: str, fix: str) -> UntrustedInputError:
    return UntrustedInputError(Reason.SAMPLE_UNUSABLE, what, fix=fix)


def find_look_alikes(ids: Sequence[str], templates: NDArray[np.float32], threshold: float) -> tuple[LookAlike, ...]:
    """Every pair with a score at or above `threshold`, most alike first."""
    pairs = []
    for start in range(0, len(ids), _BLOCK):
        scores = templates[start : start + _BLOCK] @ templates.T
        for row, column in np.argwhere(scores >= threshold).tolist():
            if start + row < column:
                pairs.append(LookAlike(ids[start + row], ids[column], float(scores[row, column])))
    return tuple(sorted(pairs, key=lambda pair: -pair.score))
