"""How many false alerts a deployment must expect, and whether that is within its budget (R4).

    false alerts per face = 1 - (1 - FPIR) ** (templates of this list / size of the calibrated list)

which is comparisons x false match rate of one comparison, as long as that is small. The calibrated list has one
template per entry; an entry with five photos is compared five times, and counts as five.

FPIR at the order's threshold comes from the engine set's calibration. What that can know is little, and the interval
says so:

- Each point is a count of strangers in one test. The interval is the exact binomial one (Clopper, Pearson, 1934),
  95 %; the expected value counts one false match more than was seen (Laplace's rule), so that it is never zero.
- Between points, the logarithm is interpolated. Below the lowest, every face counts as a false alert.
- Above the highest point nothing was measured. The expected value falls there as slowly as it did in the slowest part
  that was measured; the tail of scores of strangers falls faster and faster, unless twins and wrong labels hold it up.
  The upper end of the interval does not fall at all, the lower end is zero (docs/decisions/0012).

None of it knows the street: calibration is on stills of many cameras, and strangers before one camera are more alike.
The points are of cosines: repeated comparisons of a face (`confirmation`) and lowered scores (`crowding`) make false
alerts rarer, and are not counted. The table of the test with volunteers on site is the better source, once there is
one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lfr_edge.errors import PolicyError, Reason
from lfr_edge.messages.order import Order

_TAIL = 0.025  # each side of a 95 % interval


@dataclass(frozen=True, slots=True)
class Calibration:
    """What an engine set's test measured: (threshold, FPIR) pairs, thresholds rising.

    `list_size` is of entries with one template each; `strangers` is how many people who are not listed were sought.
    """

    list_size: int
    strangers: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Expectation:
    """False alerts of one deployment: expected, and the ends of what the calibration cannot exclude."""

    per_face: float
    false_alerts: float
    low: float
    high: float
    extrapolated: bool  # nothing was measured at so high a threshold

    def __str__(self) -> str:
        alerts = f"{self.false_alerts:.3g} false alerts expected ({self.low:.2g} to {self.high:.3g} cannot be excluded)"
        return f"{alerts}, 1 in {1 / self.per_face:,.0f} faces" if self.per_face > 0 else alerts


@dataclass(frozen=True, slots=True)
class _Rate:
    expected: float
    low: float
    high: float


def expect(order: Order, calibration: Calibration) -> Expectation:
    """The false alerts to expect of an order: of its number of templates, threshold and expected faces."""
    rate, extrapolated = _rate_at(order.threshold, calibration)
    expected, low, high = (
        _per_face(value, calibration.list_size, order.template_count) for value in (rate.expected, rate.low, rate.high)
    )
    faces = order.expected_faces
    return Expectation(expected, expected * faces, low * faces, high * faces, extrapolated)


def check_budget(order: Order, calibration: Calibration) -> Expectation:
    """The same; PolicyError if it is above the order's budget and nobody accepted that in the order."""
    expectation = expect(order, calibration)
    if expectation.per_face > order.budget and order.budget_accepted is None:
        raise PolicyError(
            Reason.BUDGET_EXCEEDED,
            f"order '{order.id}' is above its budget of 1 false alert in {1 / order.budget:,.0f} faces: with"
            f" {order.template_count} templates at threshold {order.threshold:g}, {expectation}",
            fix="raise the threshold, shorten the list, or say in its [budget_accepted] who accepts it and why",
        )
    return expectation


def _per_face(rate: float, calibrated: int, templates: int) -> float:
    """False alerts per face with so many `templates`, from the rate with the `calibrated` number."""
    if rate >= 1:
        return 1.0
    return -math.expm1(math.log1p(-rate) * templates / calibrated)


def _rate_at(threshold: float, calibration: Calibration) -> tuple[_Rate, bool]:
    """FPIR at the threshold, and whether that is above everything measured."""
    points = [(at, _known(rate, calibration.strangers)) for at, rate in sorted(calibration.points)]
    if not points or threshold < points[0][0]:
        return _Rate(1.0, 1.0, 1.0), False
    for (start, below), (end, above) in pairwise(points):
        if threshold <= end:
            share = (threshold - start) / (end - start)
            return _between(below, above, share), False
    last_at, last = points[-1]
    slope = _slowest_fall([(at, rate.expected) for at, rate in points])
    return _Rate(last.expected * math.exp(-slope * (threshold - last_at)), 0.0, last.high), threshold > last_at


def _between(below: _Rate, above: _Rate, share: float) -> _Rate:
    expected, high = (
        math.exp((1 - share) * math.log(one) + share * math.log(other))
        for one, other in ((below.expected, above.expected), (below.high, above.high))
    )
    # The lower end may be zero, which has no logarithm.
    return _Rate(expected, min(below.low, above.low), high)


def _slowest_fall(points: Sequence[tuple[float, float]]) -> float:
    """The least steepness of the logarithm between neighbours, never negative; 0 with one point."""
    falls = [
        (math.log(rate) - math.log(next_rate)) / (end - start) for (start, rate), (end, next_rate) in pairwise(points)
    ]
    return max(min(falls, default=0.0), 0.0)


def _known(rate: float, strangers: int) -> _Rate:
    """What `strangers` searches with this share of false positives say of the true rate."""
    seen = round(rate * strangers)
    low = _solve(lambda p: 1 - _binomial_below(seen, strangers, p), _TAIL) if seen else 0.0
    high = _solve(lambda p: 1 - _binomial_below(seen + 1, strangers, p), 1 - _TAIL) if seen < strangers else 1.0
    return _Rate((seen + 1) / (strangers + 2), low, high)


def _binomial_below(seen: int, trials: int, rate: float) -> float:
    """The probability of fewer than `seen` events in `trials`."""
    if rate <= 0 or rate >= 1:
        return float(rate <= 0 < seen or trials < seen)
    whole = math.lgamma(trials + 1)
    return min(
        math.fsum(
            math.exp(
                whole
                - math.lgamma(count + 1)
                - math.lgamma(trials - count + 1)
                + count * math.log(rate)
                + (trials - count) * math.log1p(-rate)
            )
            for count in range(seen)
        ),
        1.0,
    )


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Where a function that rises over [0, 1] reaches the target."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2
