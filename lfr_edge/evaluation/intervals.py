"""What a test of finite size can know: 95 % intervals of the rates, by resampling its subjects. Seeded.

One person's pictures resemble each other, so people are drawn, not pictures: mated and non-mated subjects apart, with
replacement, `REPLICATES` times; a subject drawn twice counts with all its searches twice. The list stays as it is, so
nothing is said about another list. Where a threshold was chosen on the same searches, it is chosen anew in every
replicate: the interval then knows that the threshold is an estimate too.

Resampling knows nothing of what never happened. A rate that is 0 or 1 in the test gets the rule of three instead: after
n subjects without an event, its rate is below 3/n with 95 % confidence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfr_edge.evaluation.metrics import Outcomes, Scores, allowed_positives, just_above, share_at_or_above

REPLICATES = 2000
_SEED = 19795
_TAILS = (2.5, 97.5)  # percentiles


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate as measured, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Resampling:
    """The replicates of one test. The same outcomes give the same intervals, whatever was asked before."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        random = np.random.default_rng(_SEED)
        self._mated = _drawn(random, outcomes.mated_subjects)
        self._nonmated = _drawn(random, outcomes.nonmated_subjects)

    def tpir(self, threshold: float) -> Estimate:
        """Of the true positive identification rate at a threshold that was given beforehand."""
        return self.mated_share(self._outcomes.hits >= threshold)

    def fpir(self, threshold: float) -> Estimate:
        """Of the false positive identification rate at a threshold that was given beforehand."""
        positive = self._outcomes.false_scores >= threshold
        return _estimate(positive, self._nonmated, self._outcomes.nonmated_subjects)

    def mated_share(self, counted: NDArray[np.bool_]) -> Estimate:
        """Of the share of mated searches for which `counted` holds."""
        return _estimate(counted, self._mated, self._outcomes.mated_subjects)

    def tpir_at(self, target: float) -> Estimate:
        """Of the true positive identification rate where FPIR is not above `target`, threshold chosen in the test."""
        descending = np.argsort(-self._outcomes.false_scores, kind="stable")
        false_scores = self._outcomes.false_scores[descending]
        order = np.argsort(-self._outcomes.hits, kind="stable")
        hits = self._outcomes.hits[order]
        rates = [
            _tpir_of_replicate(hits, mated[order], _threshold(false_scores, nonmated[descending], target))
            for mated, nonmated in zip(self._mated, self._nonmated, strict=True)
        ]
        measured = share_at_or_above(hits, _threshold(false_scores, np.ones(len(false_scores), np.int64), target))
        return _with_tails(measured, rates, len(np.unique(self._outcomes.mated_subjects)))


def rule_of_three(subjects: int) -> float:
    """The rate that is exceeded with less than 5 % probability if `subjects` trials show no event."""
    return min(3 / subjects, 1.0)


def most_events(seen: int) -> float:
    """The expected number of events that would show as few as `seen` with 5 % probability (Poisson, one-sided)."""
    low, high = 0.0, seen + 10 * math.sqrt(seen + 1)
    while high - low > 1e-6:
        middle = (low + high) / 2
        so_few = math.exp(-middle) * sum(middle**number / math.factorial(number) for number in range(seen + 1))
        low, high = (middle, high) if so_few > 0.05 else (low, middle)
    return high


def _drawn(random: np.random.Generator, subjects: NDArray[np.intp]) -> NDArray[np.int64]:
    """(replicates, searches): how often each search counts."""
    people = int(subjects.max()) + 1
    times = random.multinomial(people, np.full(people, 1 / people), size=REPLICATES)
    return times[:, subjects]


def _estimate(counted: NDArray[np.bool_], weights: NDArray[np.int64], subjects: NDArray[np.intp]) -> Estimate:
    rates = (weights @ counted) / weights.sum(axis=1)
    return _with_tails(float(counted.mean()), rates, len(np.unique(subjects)))


def _with_tails(value: float, rates: Sequence[float] | Scores, subjects: int) -> Estimate:
    if value == 0:
        return Estimate(0.0, 0.0, rule_of_three(subjects))
    if value == 1:
        return Estimate(1.0, 1 - rule_of_three(subjects), 1.0)
    low, high = np.percentile(rates, _TAILS)
    return Estimate(value, float(low), float(high))


def _threshold(descending: Scores, weights: NDArray[np.int64], target: float) -> float:
    """`metrics.threshold_at` for searches that count several times."""
    counted = np.cumsum(weights)
    first_too_many = int(np.searchsorted(counted, allowed_positives(target, float(counted[-1])), side="right"))
    return just_above(float(descending[first_too_many])) if first_too_many < len(descending) else just_above(-math.inf)


def _tpir_of_replicate(descending: Scores, weights: NDArray[np.int64], threshold: float) -> float:
    positive = int(np.searchsorted(-descending, -threshold, side="right"))
    return float(weights[:positive].sum() / weights.sum())
