"""Boxes and their overlap."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfr_edge.vision.geometry import Box, encloses, grown, intersection, intersection_over_union

_EDGES = st.floats(-1e4, 1e4)
_BOXES = st.builds(Box, _EDGES, _EDGES, _EDGES, _EDGES)


def test_overlap_by_hand() -> None:
    assert intersection_over_union(Box(0, 0, 4, 4), Box(2, 0, 6, 4)) == 8 / 24
    assert intersection(Box(0, 0, 4, 4), Box(2, 1, 6, 3)) == Box(2, 1, 4, 3)
    assert intersection_over_union(Box(0, 0, 4, 4), Box(4, 0, 8, 4)) == 0


@given(_BOXES, _BOXES)
def test_overlap_is_symmetric_and_in_0_to_1(a: Box, b: Box) -> None:
    assert intersection_over_union(a, b) == intersection_over_union(b, a)
    assert 0 <= intersection_over_union(a, b) <= 1


def test_a_box_without_area_overlaps_nothing_not_even_itself() -> None:
    swapped = Box(4, 4, 0, 0)
    assert swapped.area == 0
    assert intersection_over_union(swapped, swapped) == 0
    assert intersection_over_union(Box(math.nan, 0, 4, 4), Box(0, 0, 4, 4)) == 0


def test_growing_adds_on_every_side() -> None:
    assert grown(Box(10, 20, 20, 40), 0.1) == Box(9, 18, 21, 42)


TRIANGLE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [(0.1, 0.1, True), (0.9, 0.05, True), (0.6, 0.6, False), (-0.1, 0.5, False), (0.5, 1.5, False)],
)
def test_a_polygon_encloses_what_is_inside_it(x: float, y: float, *, inside: bool) -> None:
    assert encloses(TRIANGLE, x, y) is inside
    assert encloses(TRIANGLE[::-1], x, y) is inside


def test_a_hollow_in_the_polygon_is_outside() -> None:
    arrow = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.3), (0.0, 1.0))
    assert encloses(arrow, 0.1, 0.7)
    assert not encloses(arrow, 0.5, 0.7)
