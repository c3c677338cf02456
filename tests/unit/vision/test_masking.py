"""R11 as information: what of the others can still be in the picture."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.masking import GREY, obscure_outside

_SHAPE = (144, 256, 3)
_BLOCK = 18
_KEEP = Box(100, 40, 140, 90)


def _picture(seed: int = 1, shape: tuple[int, int, int] = _SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _obscured(
    picture: NDArray[np.uint8], arena: Arena, keep: Box = _KEEP, others: Sequence[Box] = ()
) -> NDArray[np.uint8]:
    result = picture.copy()
    obscure_outside(result, keep, others, arena=arena)
    return result


def test_the_kept_box_is_untouched(arena: Arena) -> None:
    picture = _picture()
    assert np.array_equal(_obscured(picture, arena)[40:90, 100:140], picture[40:90, 100:140])


@pytest.mark.parametrize("keep", [_KEEP, Box(100.4, 41.2, 139.5, 88.9), Box(-5, -5, 30, 20), Box(200, 100, 900, 900)])
def test_everywhere_outside_the_kept_box_is_as_if_nothing_were_kept(keep: Box, arena: Arena) -> None:
    result, nothing_kept = _obscured(_picture(), arena, keep), _obscured(_picture(), arena, keep=Box(0, 0, 0, 0))
    rows = slice(max(math.floor(keep.top), 0), math.ceil(keep.bottom))
    columns = slice(max(math.floor(keep.left), 0), math.ceil(keep.right))
    assert not np.array_equal(result[rows, columns], nothing_kept[rows, columns])
    result[rows, columns] = nothing_kept[rows, columns]
    assert np.array_equal(result, nothing_kept)


_OTHERS = [
    Box(10, 10, 40, 50),  # apart
    Box(130, 60, 180, 120),  # overlaps the kept box
    Box(110, 50, 122, 64),  # behind, inside the kept box
    Box(-20, 100, 30, 170),  # partly outside the picture
]


@pytest.mark.parametrize("other", _OTHERS)
def test_no_pixel_of_another_face_changes_any_byte(other: Box, arena: Arena) -> None:
    first, second = _picture(), _picture()
    rows, columns = slice(max(int(other.top), 0), int(other.bottom)), slice(max(int(other.left), 0), int(other.right))
    second[rows, columns] = _picture(seed=2)[rows, columns]
    assert not np.array_equal(first, second)
    assert np.array_equal(_obscured(first, arena, others=_OTHERS), _obscured(second, arena, others=_OTHERS))


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-300, 500), min_size=8, max_size=8))
def test_no_pixel_of_another_face_matters_wherever_it_is(arena: Arena, edges: list[float]) -> None:
    left, right, keep_left, keep_right = (*sorted(edges[:2]), *sorted(edges[2:4]))
    top, bottom, keep_top, keep_bottom = (*sorted(edges[4:6]), *sorted(edges[6:]))
    other, keep = Box(left, top, right, bottom), Box(keep_left, keep_top, keep_right, keep_bottom)
    twin = Box(keep_left, keep_top, keep_right, keep_bottom)
    first, second = _picture(), _picture()
    rows, columns = (
        slice(max(math.floor(top), 0), max(math.ceil(bottom), 0)),
        slice(max(math.floor(left), 0), max(math.ceil(right), 0)),
    )
    second[rows, columns] = 0
    results = [_obscured(picture, arena, keep, [other, twin]) for picture in (first, second)]
    overlap = _iou(other, keep)
    assert overlap > 0.6 or np.array_equal(*results)


def _iou(a: Box, b: Box) -> float:
    width, height = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(width, 0) * max(height, 0)
    union = a.width * a.height + b.width * b.height - shared
    return shared / union if union else 0.0


def test_another_face_in_the_kept_box_is_grey(arena: Arena) -> None:
    result = _obscured(_picture(), arena, others=[Box(130, 60, 180, 120)])
    assert (result[60:90, 130:140] == GREY).all()


def test_the_matched_face_found_twice_stays(arena: Arena) -> None:
    picture = _picture()
    result = _obscured(picture, arena, others=[Box(102, 42, 141, 91)])
    assert np.array_equal(result[40:90, 100:140], picture[40:90, 100:140])


def test_outside_there_is_one_colour_per_block(arena: Arena) -> None:
    result = _obscured(_picture(), arena, keep=Box(0, 0, 0, 0))
    colours = np.unique(result.reshape(-1, 3), axis=0)
    assert len(colours) <= (144 // _BLOCK) * (256 // _BLOCK)


def test_no_block_is_smaller_than_an_eighth_of_the_height_nor_than_another_face(arena: Arena) -> None:
    for others, least in (([], _BLOCK), ([Box(10, 10, 40, 60)], 50), ([Box(0, 0, 250, 30)], 250)):
        result = _obscured(_picture(), arena, keep=Box(0, 0, 0, 0), others=others)
        for line in (result[:, 0], result[0, :]):
            (changes,) = np.nonzero((line[1:] != line[:-1]).any(axis=1))
            runs = np.diff([0, *(changes + 1), len(line)])
            assert runs.min() >= min(least, len(line))


def test_a_face_that_nobody_found_leaves_at_most_four_colours(arena: Arena) -> None:
    first, second = _picture(), _picture()
    second[50:68, 170:188] = _picture(seed=3)[50:68, 170:188]  # as large as a block
    difference = (_obscured(first, arena) != _obscured(second, arena)).any(axis=2)
    touched = _obscured(second, arena)[difference]
    assert len(np.unique(touched, axis=0)) <= 4


def test_a_block_shows_the_mean_of_its_pixels(arena: Arena) -> None:
    picture = _picture()
    result = _obscured(picture, arena, keep=Box(0, 0, 0, 0))
    right = 256 // (256 // _BLOCK)
    assert np.array_equal(result[0, 0], np.floor(picture[:_BLOCK, :right].reshape(-1, 3).mean(axis=0)).astype(np.uint8))


_NONE = Box(math.nan, 0, 10, 10)


@pytest.mark.parametrize(
    "keep", [Box(0, 0, 0, 0), Box(300, 20, 400, 60), Box(-50, -50, -10, -10), Box(90, 90, 10, 10), _NONE]
)
def test_a_box_that_shows_nothing_keeps_nothing(keep: Box, arena: Arena) -> None:
    first, second = _picture(), _picture()
    second[40, 100] += 1  # one pixel by one is lost in any mean
    assert np.array_equal(_obscured(first, arena, keep), _obscured(second, arena, keep))


def test_another_box_with_numbers_that_are_none_hides_everything(arena: Arena) -> None:
    for other in (_NONE, Box(0, 0, math.inf, 10)):
        assert (_obscured(_picture(), arena, others=[other]) == GREY).all()


def test_a_picture_smaller_than_eight_pixels_is_no_error(arena: Arena) -> None:
    for shape in ((1, 1, 3), (5, 3, 3), (7, 200, 3)):
        _obscured(_picture(shape=shape), arena)


def test_obscuring_puts_no_pixel_on_the_heap(
    arena: Arena, heap: Callable[[Callable[[], object]], tuple[int, int]]
) -> None:
    padded = np.full((736, 1280, 3), 99, np.uint8)
    others = [Box(10, 10, 80, 90), Box(300, 300, 420, 420)]
    largest_array, peak = heap(lambda: obscure_outside(padded[:720], Box(250, 250, 350, 400), others, arena=arena))
    assert largest_array < 512
    assert peak < 8_192
