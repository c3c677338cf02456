"""Intervals: they are about people, they know what never happened, and they are the same every time."""

import math

import numpy as np
import pytest

from lfr_edge.evaluation.intervals import Estimate, Resampling, rule_of_three
from lfr_edge.evaluation.metrics import Outcomes, Search, threshold_at, tpir


def found(number: int, score: float) -> Search:
    return Search(f"p{number}", mated=True, returned=f"p{number}", score=score)


def stranger(number: int, score: float) -> Search:
    return Search(f"x{number}", mated=False, returned="p0", score=score)


def a_test(*, people: int, each: int, strangers: int = 400) -> Outcomes:
    """Every fifth person is missed in every picture; strangers' scores lie evenly in [0, 1)."""
    mated = [found(person, 0.9 if person % 5 else 0.1) for person in range(people) for _ in range(each)]
    return Outcomes.of(
        [*mated, *(Search(f"x{n}", mated=False, returned="p0", score=n / strangers) for n in range(strangers))]
    )


def test_the_interval_of_a_share_is_about_that_of_the_binomial() -> None:
    estimate = Resampling(a_test(people=100, each=1)).tpir(0.5)
    expected = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert estimate.value == 0.8
    assert estimate.low == pytest.approx(0.8 - expected, abs=0.02)
    assert estimate.high == pytest.approx(0.8 + expected, abs=0.02)


def test_more_pictures_of_the_same_people_do_not_narrow_it() -> None:
    once, often = (Resampling(a_test(people=100, each=each)).tpir(0.5) for each in (1, 9))
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.1)


def test_more_people_do() -> None:
    few, many = (Resampling(a_test(people=people, each=1)).tpir(0.5) for people in (100, 900))
    assert many.high - many.low == pytest.approx((few.high - few.low) / 3, rel=0.15)


def test_what_never_happened_gets_the_rule_of_three() -> None:
    resampling = Resampling(a_test(people=100, each=1, strangers=300))
    assert resampling.fpir(2.0) == Estimate(0.0, 0.0, 0.01)
    assert resampling.fpir(-1.0) == Estimate(1.0, 0.99, 1.0)


def test_one_subject_can_say_nothing() -> None:
    assert rule_of_three(1) == 1
    assert Resampling(a_test(people=1, each=50)).tpir(0.0) == Estimate(1.0, 0.0, 1.0)


def test_it_is_the_same_every_time_and_in_any_order() -> None:
    outcomes = a_test(people=50, each=2)
    first, second = Resampling(outcomes), Resampling(outcomes)
    assert (first.tpir(0.5), first.fpir(0.97)) == tuple(reversed((second.fpir(0.97), second.tpir(0.5))))


def test_the_rate_at_a_target_is_that_at_the_threshold_chosen_for_it() -> None:
    outcomes = a_test(people=100, each=1)
    for target in (0.1, 0.01, 0.0025, 1.0):
        expected = tpir(outcomes, threshold_at(outcomes.false_scores, target))
        assert Resampling(outcomes).tpir_at(target).value == expected


def test_choosing_the_threshold_on_the_test_widens_the_interval() -> None:
    random = np.random.default_rng(5)
    mated = [
        Search(f"p{n}", mated=True, returned=f"p{n}", score=score) for n, score in enumerate(random.normal(2, 1, 300))
    ]
    strangers = [
        Search(f"x{n}", mated=False, returned="p0", score=score) for n, score in enumerate(random.normal(0, 1, 100))
    ]
    outcomes = Outcomes.of([*mated, *strangers])
    resampling = Resampling(outcomes)
    chosen, given = resampling.tpir_at(0.05), resampling.tpir(threshold_at(outcomes.false_scores, 0.05))
    assert chosen.value == given.value
    assert chosen.high - chosen.low > 1.5 * (given.high - given.low)


def test_a_replicate_chooses_its_threshold_as_the_whole_test_does() -> None:
    # Every subject alike: whoever is drawn, the rates are the same.
    searches = [found(number, score) for number in range(40) for score in (0.2, 0.8)]
    searches += [stranger(number, score) for number in range(40) for score in (0.1, 0.5)]
    assert Resampling(Outcomes.of(searches)).tpir_at(0.25) == Estimate(0.5, 0.5, 0.5)
