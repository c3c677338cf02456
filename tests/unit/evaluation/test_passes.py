"""Passes and alerts: who was due, who was found, and what the counts can know."""

from pathlib import Path

import pytest

from lfr_edge.evaluation.intervals import most_events
from lfr_edge.evaluation.passes import Pass, PassMeasures, SeenAlert, measure_passes, passes_of
from lfr_edge.evaluation.truth import Film, GroundTruth, TrueFace
from lfr_edge.vision.geometry import Box

FPS = 10
BOX = Box(0, 0, 10, 10)


def street(**where: list[tuple[int, int, float]]) -> GroundTruth:
    """Person -> (first, last picture, inter-eye px) of each appearance, 100 pictures in all."""
    pictures = [
        tuple(
            TrueFace(person, BOX, size_px, 1.0)
            for person, appearances in where.items()
            for first, last, size_px in appearances
            if first <= number <= last
        )
        for number in range(100)
    ]
    return GroundTruth(Film(Path("none"), FPS), "0" * 64, tuple(pictures))


def alert(picture: int, entry: str, shows: str | None) -> SeenAlert:
    return SeenAlert(picture, entry, shows, 0.6, 2)


def results(truth: GroundTruth, listed: set[str], *alerts: SeenAlert) -> tuple[list[Pass], PassMeasures]:
    passes = passes_of(truth, listed, alerts)
    return passes, measure_passes(truth, passes, alerts)


def test_a_listed_person_who_comes_near_is_due_and_found_in_so_many_seconds() -> None:
    (one,), totals = results(street(ann=[(0, 19, 10), (20, 40, 30)]), {"ann"}, alert(25, "ann", "ann"))
    assert (one.due, one.usable_s, one.decided_after_s) == (True, 2.1, 0.5)
    assert (totals.passes, totals.due, totals.recognised, totals.false_alerts) == (1, 1, 1, 0)


def test_half_a_second_of_usable_pictures_makes_due_less_does_not() -> None:
    assert results(street(ann=[(0, 4, 25)]), {"ann"})[0][0].due
    assert not results(street(ann=[(0, 3, 25)]), {"ann"})[0][0].due
    assert not results(street(ann=[(0, 50, 24.9)]), {"ann"})[0][0].due
    assert not results(street(ann=[(0, 50, 30)]), set())[0][0].due


def test_a_pass_without_an_alert_is_a_miss() -> None:
    (one,), totals = results(street(ann=[(0, 40, 30)]), {"ann"})
    assert (one.alerts, one.decided_after_s) == (0, None)
    assert (totals.due, totals.recognised, totals.decided_after_median_s) == (1, 0, None)


def test_who_is_gone_for_more_than_a_second_comes_back_as_another_pass() -> None:
    passes, totals = results(
        street(ann=[(0, 20, 30), (30, 40, 30), (60, 70, 30)]), {"ann"}, alert(5, "ann", "ann"), alert(65, "ann", "ann")
    )
    assert [(one.first_picture, one.last_picture, one.alerts) for one in passes] == [(0, 40, 1), (60, 70, 1)]
    assert (totals.recognised, totals.repeated) == (2, 0)


def test_a_second_alert_in_one_pass_is_a_repeat() -> None:
    _, totals = results(street(ann=[(0, 40, 30)]), {"ann"}, alert(5, "ann", "ann"), alert(15, "ann", "ann"))
    assert (totals.recognised, totals.repeated, totals.false_alerts) == (1, 1, 0)


@pytest.mark.parametrize("shows", ["bob", None])
def test_an_alert_that_shows_another_or_nobody_is_false_even_while_its_entry_is_there(shows: str | None) -> None:
    _, totals = results(street(ann=[(0, 40, 30)], bob=[(0, 40, 30)]), {"ann"}, alert(5, "ann", shows))
    assert (totals.recognised, totals.false_alerts) == (0, 1)
    assert totals.false_alerts_per_hour == pytest.approx(360)  # one in ten seconds
    assert totals.false_alerts_per_1000_faces == 500


def test_an_alert_about_somebody_far_away_counts_as_early() -> None:
    (one,), totals = results(street(ann=[(0, 40, 15)]), {"ann"}, alert(5, "ann", "ann"))
    assert (totals.due, totals.recognised, totals.recognised_early, one.decided_after_s) == (0, 0, 1, None)


def test_an_alert_before_the_first_usable_sighting_took_negative_time() -> None:
    (one,), _ = results(street(ann=[(0, 19, 20), (20, 40, 30)]), {"ann"}, alert(15, "ann", "ann"))
    assert one.decided_after_s == -0.5


def test_no_false_alert_in_few_passes_means_little() -> None:
    _, totals = results(street(ann=[(0, 40, 30)]), set())
    assert totals.false_alerts_per_1000_faces == 0
    assert totals.false_alerts_per_1000_faces_at_most == pytest.approx(2996, abs=1)  # three in one pass
    assert totals.false_alerts_per_hour_at_most == pytest.approx(2.996 * 360, abs=1)


@pytest.mark.parametrize(("seen", "expected"), [(0, 2.9957), (1, 4.7439), (10, 16.9622)])  # chi-square tables
def test_the_poisson_limit_is_that_of_the_tables(seen: int, expected: float) -> None:
    assert most_events(seen) == pytest.approx(expected, abs=1e-3)
