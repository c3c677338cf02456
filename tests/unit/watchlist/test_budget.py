"""The budget of false alerts: against numbers worked out by hand, and never more hopeful than what was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfr_edge.errors import PolicyError, Reason
from lfr_edge.messages.examples import ORDER
from lfr_edge.messages.order import BudgetAcceptance, Order
from lfr_edge.watchlist.budget import Calibration, check_budget, expect

LFW = Calibration(300, 1000, ((0.364, 0.097), (0.412, 0.029), (0.441, 0.01), (0.458, 0.003), (0.462, 0.001)))


def order(threshold: float, *, templates: int = 300, faces: int = 10_000, **changes: object) -> Order:
    return ORDER.model_copy(
        update={"threshold": threshold, "template_count": templates, "expected_faces": faces, **changes}
    )


def test_at_a_measured_point_it_is_the_measured_rate_and_one_more_stranger() -> None:
    expected = expect(order(0.441), LFW)
    assert expected.per_face == pytest.approx(11 / 1002)
    assert expected.false_alerts == pytest.approx(10_000 * 11 / 1002)
    # Clopper-Pearson for 10 of 1,000 (published tables: 0.48 % to 1.83 %)
    assert expected.low == pytest.approx(48.05, abs=0.1)
    assert expected.high == pytest.approx(183.1, abs=0.1)
    assert not expected.extrapolated


def test_between_points_it_lies_between_their_rates() -> None:
    expected = expect(order(0.4265), LFW)
    assert expected.per_face == pytest.approx((30 * 11) ** 0.5 / 1002)


def test_above_the_highest_point_it_falls_as_slowly_as_ever_measured_and_the_upper_end_not_at_all() -> None:
    at_the_end, beyond = expect(order(0.462), LFW), expect(order(0.54), LFW)
    slowest = (98 / 30) ** (1 / (0.412 - 0.364))  # the fall per unit of threshold between the first two points
    assert beyond.per_face == pytest.approx(at_the_end.per_face / slowest**0.078, rel=1e-3)
    assert at_the_end.high == pytest.approx(55.6, abs=0.1)  # 0.56 % for one of 1,000
    assert beyond.high == pytest.approx(at_the_end.high)
    assert beyond.low == 0
    assert beyond.extrapolated


def test_below_everything_measured_every_face_is_a_false_alert() -> None:
    assert expect(order(0.3), LFW).per_face == 1


@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_lower_threshold_or_more_templates_never_promises_fewer(
    one: float, other: float, few: int, many: int
) -> None:
    low, high = sorted((one, other))
    few, many = sorted((few, many))
    assert expect(order(low, templates=many), LFW).per_face >= expect(order(high, templates=few), LFW).per_face
    assert expect(order(low, templates=many), LFW).high >= expect(order(high, templates=few), LFW).high - 1e-6


@pytest.mark.parametrize("points", [(), ((0.5, 0.0),), ((0.5, 0.01),)])
def test_a_meagre_calibration_promises_nothing(points: tuple[tuple[float, float], ...]) -> None:
    assert expect(order(0.6, templates=300), Calibration(300, 100, points)).per_face > 0.009


def test_the_same_shares_of_more_strangers_say_more() -> None:
    few, many = (expect(order(0.54), Calibration(300, strangers, LFW.points)) for strangers in (1000, 10_000))
    assert many.per_face < few.per_face
    assert many.high < few.high


def test_every_template_counts_however_many_entries_they_are_of() -> None:
    once, five_photos_each = order(0.54), order(0.54, templates=1500, list_size=300)
    assert expect(five_photos_each, LFW).per_face == pytest.approx(5 * expect(once, LFW).per_face, rel=1e-2)


def test_one_in_a_thousand_faces_is_the_limit() -> None:
    assert ORDER.budget == 0.001
    within = check_budget(order(0.54, templates=1000), LFW)
    assert within.per_face < 0.001
    with pytest.raises(PolicyError, match="above its budget of 1 false alert in 1,000 faces") as refused:
        check_budget(order(0.54, templates=17_000), LFW)
    assert refused.value.reason is Reason.BUDGET_EXCEEDED


def test_an_excess_that_somebody_accepted_in_the_order_passes() -> None:
    accepted = order(0.54, templates=17_000, budget_accepted=BudgetAcceptance(by="Supt A. Example", why="short window"))
    assert check_budget(accepted, LFW).per_face > 0.001
