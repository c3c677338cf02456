"""Open-set identification rates out of the searches of a test. Pure numbers: no pictures, no engines, no files.

The terms are those of ISO/IEC 19795-1:2021, clause 3. A search is one identification transaction (3.10): one picture of
one subject against a list of N. FNIR(N, R, T) is defined in 3.22, its R there is 1 here: the first candidate is the
only one that can become an alert. A search returns it if its score is at or above the threshold, as `pipeline.decide`
has it (the clause says "greater than").

Where nothing could be acquired the score is -inf: such a search returns nobody at any threshold, and thresholds are
finite. So failures to acquire, and of mated searches also failures to enrol, are misses in FNIR; in FPIR they are no
false positives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Search:
    """One search's outcome. `returned` is the subject first in rank, None if nothing was acquired."""

    subject: str
    mated: bool  # the subject belongs on the list, whether or not enrolment worked
    returned: str | None
    score: float  # of the first rank; -inf if nothing was acquired

    @property
    def hit(self) -> float:
        """The score with which the subject's own entry came first; -inf if it did not."""
        return self.score if self.mated and self.returned == self.subject else -math.inf


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The searches of a test as arrays. Subjects are numbers from 0, apart for mated and non-mated."""

    hits: Scores  # per mated search: `Search.hit`
    mated_first: Scores  # per mated search: the first candidate's score, whoever that is
    mated_subjects: NDArray[np.intp]
    false_scores: Scores  # per non-mated search: the first candidate's score
    nonmated_subjects: NDArray[np.intp]

    @classmethod
    def of(cls, searches: Sequence[Search]) -> "Outcomes":
        """ValueError unless there are mated and non-mated searches: a rate of none has no value."""
        mated = [search for search in searches if search.mated]
        nonmated = [search for search in searches if not search.mated]
        if not mated or not nonmated:
            raise ValueError(f"{len(mated)} mated and {len(nonmated)} non-mated searches: there must be some of both")
        return cls(
            np.array([search.hit for search in mated]),
            np.array([search.score for search in mated]),
            _numbered([search.subject for search in mated]),
            np.array([search.score for search in nonmated]),
            _numbered([search.subject for search in nonmated]),
        )


def share_at_or_above(scores: Scores, threshold: float) -> float:
    """Of these searches, the share with a score at or above the threshold. ValueError if there are none."""
    if not len(scores):
        raise ValueError("a share of no searches has no value")
    return float(np.count_nonzero(scores >= threshold)) / len(scores)


def fpir(outcomes: Outcomes, threshold: float) -> float:
    """False positive identification rate: non-mated searches that return anybody."""
    return share_at_or_above(outcomes.false_scores, threshold)


def tpir(outcomes: Outcomes, threshold: float) -> float:
    """True positive identification rate at rank 1: mated searches that return the right entry first. 1 - FNIR."""
    return share_at_or_above(outcomes.hits, threshold)


def threshold_at(false_scores: Scores, target: float) -> float:
    """The lowest threshold at which FPIR is not above `target`.

    Of searches that tie, all or none are returned: then the rate reached is below the target, never above it.
    """
    allowed = allowed_positives(target, len(false_scores))
    if allowed >= len(false_scores):
        return just_above(-math.inf)
    return just_above(float(np.sort(false_scores)[::-1][allowed]))


def allowed_positives(target: float, searches: float) -> int:
    """How many of that many searches may be positive for a rate not above `target`."""
    return math.floor(target * searches + 1e-9)  # .07 * 100 is 7.000000000000001, .29 * 100 is 28.999999999999996


def just_above(score: float) -> float:
    """The next number: the lowest threshold that this score does not reach."""
    return math.nextafter(score, math.inf)


def det(outcomes: Outcomes) -> list[tuple[float, float, float]]:
    """The detection error trade-off: (threshold, FPIR, FNIR), FPIR rising from 0.

    One point for each FPIR that the searches can show, at the lowest threshold that gives it.
    """
    distinct = np.unique(np.append(outcomes.false_scores, -math.inf))
    thresholds = [just_above(score) for score in distinct[::-1].tolist()]
    return [(threshold, fpir(outcomes, threshold), 1 - tpir(outcomes, threshold)) for threshold in thresholds]


def _numbered(subjects: Sequence[str]) -> NDArray[np.intp]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(subject, len(numbers)) for subject in subjects], np.intp)
