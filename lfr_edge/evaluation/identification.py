"""Open-set identification on a data set of stills: enrol the gallery, search every probe, report the rates.

Who cannot be enrolled is not on the list, and every search for him is a miss; a probe without a face returns nobody.
Both are counted. The gallery picture and the probe are read alike, by the van's own extractor, and searched by the
van's own search.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.evaluation.dataset import DataSet, subject_of
from lfr_edge.evaluation.faces import Face, FaceReader, watchlist_of
from lfr_edge.evaluation.intervals import Estimate, Resampling
from lfr_edge.evaluation.metrics import Outcomes, Search, det, just_above, threshold_at
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.pipeline.extract import Extractor

TARGETS = (0.1, 0.01, 0.001)  # of FPIR


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The rates at one threshold. TPIR is at rank 1; FNIR is 1 - TPIR."""

    name: str
    threshold: float
    fpir: Estimate
    tpir: Estimate
    mated_as_another: int  # mated searches that return somebody else first


@dataclass(frozen=True, slots=True)
class Identification:
    """What was measured. Failures to enrol and to acquire are misses in TPIR and in rank 1."""

    list_size: int  # N: enrolled
    failures_to_enrol: int
    mated_searches: int
    mated_subjects: int
    nonmated_searches: int
    nonmated_subjects: int
    failures_to_acquire: int
    pictures_with_others: int  # where the most central face was taken
    rank_1: Estimate
    points: tuple[OperatingPoint, ...]
    det: tuple[tuple[float, float, float], ...]  # threshold, FPIR, FNIR
    milliseconds_per_face: float  # detection and embedding, medians of this run: information, not a benchmark


def identify(data: DataSet, extractor: Extractor, *, lowered: bool = True) -> Identification:
    """Measure. UntrustedInputError if a picture of the set cannot be read, or nobody can be enrolled.

    Unless `lowered`, scores are plain cosines.
    """
    reader = FaceReader(extractor)
    gallery = {subject: reader.read(data.images / path) for subject, path in data.split.gallery}
    probes = [(subject, True, path) for subject, paths in data.split.mated for path in paths]
    probes += [(subject_of(path), False, path) for path in data.split.nonmated]
    faces = [reader.read(data.images / path) for _, _, path in probes]
    enrolled = {subject: face for subject, face in gallery.items() if face is not None}
    people = [(subject, mated) for subject, mated, _ in probes]
    outcomes = Outcomes.of(_search_all(people, faces, enrolled, extractor, lowered=lowered))
    resampling = Resampling(outcomes)
    return Identification(
        list_size=len(enrolled),
        failures_to_enrol=len(gallery) - len(enrolled),
        mated_searches=len(outcomes.hits),
        mated_subjects=len(np.unique(outcomes.mated_subjects)),
        nonmated_searches=len(outcomes.false_scores),
        nonmated_subjects=len(np.unique(outcomes.nonmated_subjects)),
        failures_to_acquire=faces.count(None),
        pictures_with_others=sum(face is not None and face.others > 0 for face in (*gallery.values(), *faces)),
        rank_1=resampling.tpir(just_above(-math.inf)),
        points=_operating_points(outcomes, resampling, extractor.engine_set),
        det=tuple(det(outcomes)),
        milliseconds_per_face=reader.cost.per_face_ms,
    )


def _search_all(
    people: Sequence[tuple[str, bool]],
    faces: Sequence[Face | None],
    enrolled: Mapping[str, Face],
    extractor: Extractor,
    *,
    lowered: bool,
) -> list[Search]:
    if not enrolled:
        raise UntrustedInputError(
            Reason.SAMPLE_UNUSABLE, "no face was found in any gallery picture", fix="check the pictures and the split"
        )
    subjects = dict(zip((f"s{number}" for number in range(len(enrolled))), enrolled, strict=True))
    templates = [face.features for face in enrolled.values()]
    watchlist = watchlist_of(templates, extractor, list(subjects), lowered=lowered)
    scores = np.empty(watchlist.template_count, np.float32)
    searches = []
    for (subject, mated), face in zip(people, faces, strict=True):
        if face is None:
            searches.append(Search(subject, mated, None, -math.inf))
        else:
            first, _ = watchlist.search(face.features, scores=scores)
            searches.append(Search(subject, mated, subjects[first.entry.id], first.score))
    watchlist.wipe()
    return searches


def _operating_points(outcomes: Outcomes, resampling: Resampling, engine_set: EngineSet) -> tuple[OperatingPoint, ...]:
    """At the target rates, with the threshold chosen on these searches; and at the engine set's own thresholds."""
    chosen = [
        (f"FPIR {100 * target:g} %", threshold_at(outcomes.false_scores, target), resampling.tpir_at(target))
        for target in TARGETS
    ]
    given = [
        (name, threshold, resampling.tpir(threshold))
        for name, threshold in (("recommended", engine_set.threshold), ("floor", engine_set.threshold_floor))
    ]
    return tuple(
        OperatingPoint(name, threshold, resampling.fpir(threshold), found, _as_another(outcomes, threshold))
        for name, threshold, found in (*chosen, *given)
    )


def _as_another(outcomes: Outcomes, threshold: float) -> int:
    return int(np.count_nonzero((outcomes.mated_first >= threshold) & (outcomes.hits < threshold)))
