"""When a comparison becomes a match."""

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfr_edge.pipeline.decide import RIPE_FACES, Decider, Rule, Streak
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.references import Candidate

RULE = Rule(threshold=0.5, margin=0.05, confirmation=2, cooldown_s=60)


def candidate(entry_id: str, cosine: float, rank: int = 1, *, lowering: float = 0.0) -> Candidate:
    entry = Entry(
        id=entry_id,
        category="wanted",
        response="red",
        legal_basis="test",
        source="rendered",
        captured=date(2026, 1, 1),
        picture=PictureMember(offset=0, length=16, key="00" * 32),
    )
    return Candidate(entry, rank, cosine, lowering)


def test_a_match_needs_as_many_confirmations_in_a_row_as_the_order_says() -> None:
    decider, streak = Decider(RULE), Streak()
    assert not decider.confirms(streak, RIPE_FACES, candidate("a", 0.9), candidate("b", 0.1, 2))
    assert decider.confirms(streak, RIPE_FACES, candidate("a", 0.9), candidate("b", 0.1, 2))


def test_another_entry_in_between_starts_over() -> None:
    decider, streak = Decider(RULE), Streak()
    for entry in ("a", "b", "a"):
        assert not decider.confirms(streak, RIPE_FACES, candidate(entry, 0.9), None)
    assert decider.confirms(streak, RIPE_FACES, candidate("a", 0.9), None)


def test_a_score_under_the_threshold_starts_over() -> None:
    decider, streak = Decider(RULE), Streak()
    for score in (0.9, 0.49999, 0.9):
        assert not decider.confirms(streak, RIPE_FACES, candidate("a", score), None)


def test_the_threshold_itself_is_enough() -> None:
    assert Decider(Rule(0.5, 0.0, 1, 0)).confirms(Streak(), RIPE_FACES, candidate("a", 0.5), candidate("b", 0.5, 2))


def test_a_few_faces_must_score_higher_than_many() -> None:
    required = [RULE.required(faces) for faces in range(1, RIPE_FACES + 5)]
    assert required == sorted(required, reverse=True)
    assert required[0] == pytest.approx(0.5 + 0.15 * 0.5)
    assert required[RIPE_FACES - 1 :] == [0.5] * 5


def test_a_doubtful_match_waits_until_it_is_ripe() -> None:
    decider = Decider(Rule(0.5, 0.0, 1, 0))
    confirmed = [decider.confirms(Streak(), faces, candidate("a", 0.51), None) for faces in range(1, RIPE_FACES + 1)]
    assert confirmed == [False] * (RIPE_FACES - 1) + [True]
    assert decider.confirms(Streak(), 1, candidate("a", 0.6), None)


def test_short_of_a_match_is_how_many_perfect_faces_would_lift_the_mean_to_the_threshold() -> None:
    for faces, score in ((1, 0.1), (4, 0.45), (20, -0.3)):
        missing = RULE.short_of(faces, score)
        assert (faces * score + missing * 1.0) / (faces + missing) == pytest.approx(RULE.threshold)
    assert RULE.short_of(9, 0.5) == RULE.short_of(9, 0.8) == 0
    assert Rule(1.0, 0.0, 1, 0).short_of(1, 0.9) == math.inf


def test_a_runner_up_within_the_margin_is_no_match() -> None:
    decider = Decider(Rule(0.5, 0.05, 1, 0))
    assert not decider.confirms(Streak(), RIPE_FACES, candidate("a", 0.80), candidate("b", 0.76, 2))
    assert decider.confirms(Streak(), RIPE_FACES, candidate("a", 0.80), candidate("b", 0.74, 2))


def test_a_lowered_winner_is_held_back_and_nobody_else_put_in_its_place() -> None:
    decider = Decider(Rule(0.55, 0.05, 1, 0))
    winner, other = candidate("b", 0.719, lowering=0.2), candidate("a", 0.634, 2)
    assert not decider.confirms(Streak(), RIPE_FACES, winner, other)
    assert decider.confirms(Streak(), RIPE_FACES, candidate("b", 0.719, lowering=0.16), other)


def test_a_lowered_runner_up_still_counts_within_the_margin() -> None:
    decider = Decider(Rule(0.55, 0.05, 1, 0))
    runner_up = candidate("b", 0.654, 2, lowering=0.05)
    assert not decider.confirms(Streak(), RIPE_FACES, candidate("a", 0.683), runner_up)


_SOME = st.floats(-1, 1)
_LESS = st.floats(0, 0.5)


@given(_SOME, _SOME, _LESS, _LESS, st.floats(-1, 1), st.floats(0, 0.3), st.integers(1, 12))
def test_a_match_of_lowered_scores_is_a_match_by_the_cosine_alone(
    one: float, other: float, less_one: float, less_other: float, threshold: float, margin: float, faces: int
) -> None:
    decider = Decider(Rule(threshold, margin, 1, 0))
    best, next_best = max(one, other), min(one, other)
    lowered, by_cosine = Streak(), Streak()
    first, second = candidate("a", best, lowering=less_one), candidate("b", next_best, 2, lowering=less_other)
    if decider.confirms(lowered, faces, first, second):
        assert decider.confirms(by_cosine, faces, candidate("a", best), candidate("b", next_best, 2))
        assert lowered.entry == by_cosine.entry


@pytest.mark.parametrize("score", [float("nan"), float("-inf")])
def test_a_score_that_is_no_number_never_matches(score: float) -> None:
    assert not Decider(Rule(-1.0, 0.0, 1, 0)).confirms(Streak(), RIPE_FACES, candidate("a", score), None)


def test_the_cool_down_holds_back_the_same_entry_only() -> None:
    decider = Decider(RULE)
    assert decider.may_alert("a", 0)
    assert decider.may_alert("b", 1)
    assert not decider.may_alert("a", int(59.9e9))
    assert decider.may_alert("a", int(60e9))
