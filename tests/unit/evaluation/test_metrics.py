"""Identification rates: by hand, by property, and against the definition written out naively."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfr_edge.evaluation.metrics import (
    Outcomes,
    Search,
    det,
    fpir,
    just_above,
    share_at_or_above,
    threshold_at,
    tpir,
)

NOTHING = -math.inf
AT_ANY_SCORE = just_above(NOTHING)


def found(score: float, subject: str = "a") -> Search:
    return Search(subject, mated=True, returned=subject, score=score)


def as_another(score: float, subject: str = "a") -> Search:
    return Search(subject, mated=True, returned="somebody else", score=score)


def stranger(score: float, subject: str = "x") -> Search:
    return Search(subject, mated=False, returned="a", score=score)


def not_acquired(*, mated: bool) -> Search:
    return Search("a" if mated else "x", mated=mated, returned=None, score=NOTHING)


def test_the_rates_of_a_small_test_are_those_worked_out_by_hand() -> None:
    mated = [found(0.9), found(0.6), found(0.3), as_another(0.7), not_acquired(mated=True)]
    nonmated = [stranger(0.65), stranger(0.5), stranger(0.2), not_acquired(mated=False)]
    outcomes = Outcomes.of([*mated, *nonmated])
    assert (fpir(outcomes, 0.6), tpir(outcomes, 0.6)) == (1 / 4, 2 / 5)
    assert (fpir(outcomes, 0.1), tpir(outcomes, 0.1)) == (3 / 4, 3 / 5)
    assert tpir(outcomes, AT_ANY_SCORE) == 3 / 5


def test_a_score_at_the_threshold_is_returned() -> None:
    outcomes = Outcomes.of([found(0.5), stranger(0.5)])
    assert (fpir(outcomes, 0.5), tpir(outcomes, 0.5)) == (1, 1)
    assert (fpir(outcomes, just_above(0.5)), tpir(outcomes, just_above(0.5))) == (0, 0)


def test_the_threshold_for_a_target_lets_through_as_many_as_it_allows() -> None:
    scores = Outcomes.of([found(1), *(stranger(score / 10) for score in range(10))]).false_scores
    assert [share_at_or_above(scores, threshold_at(scores, target)) for target in (0, 0.1, 0.19, 0.2, 0.3)] == [
        0,
        0.1,
        0.1,
        0.2,
        0.3,
    ]
    assert threshold_at(scores, 0.1) == just_above(0.8)


def test_strangers_who_tie_are_let_through_together_or_not_at_all() -> None:
    scores = Outcomes.of([found(1), *(stranger(score) for score in (0.7, 0.7, 0.7, 0.1))]).false_scores
    assert share_at_or_above(scores, threshold_at(scores, 0.5)) == 0
    assert share_at_or_above(scores, threshold_at(scores, 0.75)) == 0.75


def test_who_was_not_acquired_is_not_returned_at_any_threshold() -> None:
    outcomes = Outcomes.of([not_acquired(mated=True), not_acquired(mated=False), not_acquired(mated=False)])
    for target in (0, 0.5, 1):
        threshold = threshold_at(outcomes.false_scores, target)
        assert (fpir(outcomes, threshold), tpir(outcomes, threshold)) == (0, 0)
    assert tpir(outcomes, AT_ANY_SCORE) == 0
    assert [(rate, missed) for _, rate, missed in det(outcomes)] == [(0, 1)]


@pytest.mark.parametrize("searches", [[], [found(0.5)], [stranger(0.5)]])
def test_a_test_without_both_kinds_of_searches_has_no_rates(searches: list[Search]) -> None:
    with pytest.raises(ValueError, match="some of both"):
        Outcomes.of(searches)


def test_a_share_of_no_searches_has_no_value() -> None:
    with pytest.raises(ValueError, match="no searches"):
        share_at_or_above(Outcomes.of([found(1), stranger(0)]).hits[:0], 0.5)


# Few different scores, so that ties are common.
SCORES = st.one_of(st.sampled_from([NOTHING, -0.5, 0.0, 0.25, 0.5]), st.floats(-1, 1))
SEARCHES = st.lists(
    st.builds(
        Search,
        subject=st.sampled_from("abc"),
        mated=st.booleans(),
        returned=st.sampled_from(["a", "b", "c"]),
        score=SCORES,
    ),
    max_size=30,
).map(lambda some: [*some, found(0.4), stranger(0.3)])


@given(SEARCHES, st.floats(-1, 1), st.floats(0, 1))
def test_a_higher_threshold_never_raises_a_rate(searches: list[Search], threshold: float, more: float) -> None:
    outcomes = Outcomes.of(searches)
    assert fpir(outcomes, threshold + more) <= fpir(outcomes, threshold)
    assert tpir(outcomes, threshold + more) <= tpir(outcomes, threshold) <= tpir(outcomes, AT_ANY_SCORE)


@given(SEARCHES, st.floats(-1, 1))
def test_the_rates_are_those_of_the_definition(searches: list[Search], threshold: float) -> None:
    mated = [search for search in searches if search.mated]
    nonmated = [search for search in searches if not search.mated]
    right = sum(1 for search in mated if search.returned == search.subject and search.score >= threshold)
    returned = sum(1 for search in nonmated if search.score >= threshold)
    outcomes = Outcomes.of(searches)
    assert tpir(outcomes, threshold) == right / len(mated)
    assert fpir(outcomes, threshold) == returned / len(nonmated)


@given(SEARCHES, st.integers(0, 1000).map(lambda mille: mille / 1000))
def test_no_lower_threshold_keeps_the_target(searches: list[Search], target: float) -> None:
    outcomes = Outcomes.of(searches)
    threshold = threshold_at(outcomes.false_scores, target)
    assert fpir(outcomes, threshold) <= target
    lower = [score for score in outcomes.false_scores.tolist() if NOTHING < score < threshold]
    assert all(fpir(outcomes, score) > target for score in lower)


@given(SEARCHES, st.integers(0, 1000).map(lambda mille: mille / 1000))
def test_the_trade_off_at_a_target_is_what_is_reported_there(searches: list[Search], target: float) -> None:
    outcomes = Outcomes.of(searches)
    threshold = threshold_at(outcomes.false_scores, target)
    reached = [point for point in det(outcomes) if point[1] <= target]
    assert reached[-1] == (threshold, fpir(outcomes, threshold), 1 - tpir(outcomes, threshold))


@given(SEARCHES)
def test_the_trade_off_starts_at_no_false_positive_and_loses_misses_as_it_gains_them(searches: list[Search]) -> None:
    points = det(Outcomes.of(searches))
    assert points[0][1] == 0
    for (threshold, rate, missed), (lower, higher_rate, fewer_missed) in pairwise(points):
        assert lower < threshold
        assert rate < higher_rate
        assert missed >= fewer_missed
