"""Another order takes over between two pictures: who is in view is not lost, and nothing found before counts."""

from collections.abc import Callable
from typing import Any

import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.pipeline.recognise import View

# As in test_recognise.
Street = Any
Person = Any


def test_who_is_in_view_alerts_under_the_order_whose_list_says_so(street: Street, person: Person) -> None:
    people = person("ann", 20), person("bob", 120)
    street.take_over("ann")
    assert [street.see(*people) for _ in range(10)][2:] == [["ann"], *[[]] * 7]
    street.take_over("bob")
    assert [street.see(*people) for _ in range(10)] == [[], ["bob"], *[[]] * 8]
    assert street.recogniser.counts.tracks == 2, "nobody was lost and found again"
    (match,) = street.sealer.matches
    assert match.faces > 2, "what is known of who this is stays"


def test_comparisons_with_the_old_list_do_not_count(street: Street, person: Person) -> None:
    for _ in range(2):
        assert street.see(person("ann")) == []  # the second one is compared, and agrees
    street.take_over("ann", "bob")
    assert [street.see(person("ann")) for _ in range(3)] == [[], ["ann"], []]


def test_an_order_that_asks_for_more_comparisons_gets_them_at_once(street: Street, person: Person) -> None:
    for _ in range(10):
        street.see(person("ann"))
    street.take_over("ann", confirmation=4)
    assert [street.see(person("ann")) for _ in range(5)] == [[], [], [], ["ann"], []]


def test_who_is_in_view_is_looked_at_in_full_at_once(
    street_with: Callable[..., Street], arena: Arena, person: Person
) -> None:
    """Else glances that fall due would compare nobody, and the new order's alert would come later."""
    street = street_with(arena, north=View(full_look_every=4))
    while street.extractor.glances[-2:] != [False, True]:
        street.see(person("ann"))
    street.take_over("bob", "ann")
    assert [street.see(person("ann")) for _ in range(2)] == [[], ["ann"]]
    assert street.extractor.glances[-2:] == [False, False]


def test_somebody_on_both_lists_alerts_once_more_whatever_the_cool_down_before(street: Street, person: Person) -> None:
    assert [street.see(person("ann")) for _ in range(3)][-1] == ["ann"]
    street.take_over("ann", "cy")
    assert [who for _ in range(30) for who in street.see(person("ann"))] == ["ann"]


def test_an_alert_shows_no_picture_of_before(street: Street, person: Person) -> None:
    for _ in range(4):
        street.see(person("ann", confidence=0.95))
    assert street.held == ["track", "track"], "features and sample"
    street.take_over("ann")
    assert street.held == ["track"]
    assert [street.see(person("ann", confidence=0.7)) for _ in range(2)][-1] == ["ann"]
    assert len(street.sealer.samples) == 1


def test_whoever_comes_later_is_compared_with_the_new_list_alone(street: Street, person: Person) -> None:
    street.see(person("cy"))
    street.take_over("bob")
    assert [who for _ in range(10) for who in street.see(person("ann", 20), person("bob", 120))] == ["bob"]


def test_the_old_list_is_not_used_any_more(street: Street, person: Person) -> None:
    old = street.listed
    street.see(person("ann"))
    street.take_over("ann")
    with pytest.raises(RuntimeError, match="released"):
        _ = old.dimension
    assert [who for _ in range(3) for who in street.see(person("ann"))] == ["ann"]
