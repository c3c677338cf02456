"""Which pictures are looked at in full, and what glances may do."""

from collections.abc import Callable
from typing import Any

import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Rows
from lfr_edge.pipeline.looks import GLANCES_SUFFICE_PX, Look, Looks
from lfr_edge.pipeline.recognise import View

# The conftest's Street and Person: importlib mode has no name to import them by.
Street = Any
Person = Any

FULL = Look(glance=False, decides=True)
GLANCE = Look(glance=True, decides=False)
_MS = 1_000_000


def looked_at(looks: Looks, pictures: int, *, every_ms: int = 40) -> list[Look]:
    return [looks.next(number * every_ms * _MS) for number in range(pictures)]


def test_by_default_every_look_is_full() -> None:
    assert looked_at(Looks(20.0, 1), 5) == [FULL] * 5


def test_of_so_many_pictures_one_is_looked_at_in_full() -> None:
    assert looked_at(Looks(20.0, 3), 7) == [FULL, GLANCE, GLANCE, FULL, GLANCE, GLANCE, FULL]


@pytest.mark.parametrize(("every_ms", "full"), [(100, 4), (150, 8), (400, 8)])
def test_a_slow_camera_is_not_left_without_full_looks(every_ms: int, full: int) -> None:
    assert looked_at(Looks(20.0, 5), 8, every_ms=every_ms).count(FULL) == full


def test_while_somebody_is_to_be_decided_on_every_look_is_full() -> None:
    looks = Looks(20.0, 3)
    looks.next(0)
    looks.urgent = True
    assert [looks.next(number * 40 * _MS) for number in (1, 2)] == [FULL, FULL]
    looks.urgent = False
    assert [looks.next(number * 40 * _MS) for number in (3, 4, 5)] == [GLANCE, GLANCE, FULL]


def test_where_only_large_faces_count_glances_decide() -> None:
    assert looked_at(Looks(GLANCES_SUFFICE_PX, 1), 3) == [Look(glance=True, decides=True)] * 3
    assert looked_at(Looks(GLANCES_SUFFICE_PX - 0.1, 1), 3) == [FULL] * 3


@pytest.fixture
def glancing(arena: Arena, street_with: Callable[..., Street]) -> Street:
    return street_with(arena, north=View(full_look_every=3))


def test_engines_are_made_ready_for_the_looks_that_will_be(glancing: Street, street: Street) -> None:
    for subject in (glancing, street):
        subject.recogniser.prepare("north", 320, 256)
    everything = Rows(0, 256)
    assert glancing.extractor.prepared == [(everything, False), (everything, True)]
    assert street.extractor.prepared == [(everything, False)]


def test_a_listed_person_alerts_as_soon_as_with_full_looks_alone(glancing: Street, person: Person) -> None:
    """The first look finds somebody new: every look is full until he is decided on."""
    assert [glancing.see(person("ann")) for _ in range(30)] == [[], [], ["ann"], *[[]] * 27]
    assert glancing.extractor.glances[:3] == [False] * 3
    assert glancing.extractor.glances.count(True) == 18


def test_who_comes_at_a_glance_is_looked_at_in_full_next(glancing: Street, person: Person) -> None:
    glancing.see()
    alerts = [glancing.see(person("ann")) for _ in range(4)]
    assert glancing.extractor.glances == [False, True, False, False, False]
    assert alerts == [[], [], [], ["ann"]]


def test_a_glance_compares_nobody_and_keeps_who_is_in_view(glancing: Street, person: Person) -> None:
    at_a_glance = []
    for _ in range(60):
        before = len(glancing.extractor.embedded)
        glancing.see(person("somebody"))
        if glancing.extractor.glances[-1]:
            at_a_glance.append(len(glancing.extractor.embedded) - before)
    assert at_a_glance == [0] * 38
    assert glancing.extractor.embedded
    assert glancing.recogniser.counts.tracks == glancing.recogniser.tracks_in_view == 1


def test_a_face_that_only_glances_see_is_nobody(glancing: Street, person: Person) -> None:
    """A false face of the smaller picture: it is never compared."""
    for _ in range(40):
        due = glancing.recogniser._looks["north"]
        next_is_full = due.urgent or due._glances == 2 or due._full_ns is None
        glancing.see(*([] if next_is_full else [person("ann")]))
    assert True in glancing.extractor.glances
    assert glancing.extractor.embedded == []
    assert glancing.recogniser.tracks_in_view == 0
