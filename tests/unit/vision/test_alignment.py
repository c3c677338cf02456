"""Umeyama's map, and the warp against a slow and obvious one."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.vision.alignment import mirror, similarity, warp

_RNG = np.random.default_rng(7)
_PICTURE = _RNG.integers(0, 256, (96, 160, 3), dtype=np.uint8)
_IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def _umeyama(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The paper's formula with singular values, equations 39 to 43."""
    source_middle, target_middle = source.mean(0), target.mean(0)
    covariance = (target - target_middle).T @ (source - source_middle) / len(source)
    u, d, v = np.linalg.svd(covariance)
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    turn = u @ sign @ v
    scale = np.trace(np.diag(d) @ sign) / ((source - source_middle) ** 2).sum() * len(source)
    return np.column_stack([scale * turn, target_middle - scale * turn @ source_middle])


def _warp_slowly(picture: NDArray[np.uint8], matrix: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixel by pixel in float64, on a picture with a border of zeros."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    framed = np.pad(picture, ((1, 1), (1, 1), (0, 0))).astype(float)
    out = np.zeros((*shape, 3), np.uint8)
    for row in range(shape[0]):
        for column in range(shape[1]):
            x, y, _ = inverse @ [column, row, 1]
            if not (-1 < x < picture.shape[1] and -1 < y < picture.shape[0]):
                continue
            left, top = math.floor(x), math.floor(y)
            u, v = x - left, y - top
            block = framed[top + 1 : top + 3, left + 1 : left + 3]
            mixed = (block[0, 0] * (1 - u) + block[0, 1] * u) * (1 - v) + (block[1, 0] * (1 - u) + block[1, 1] * u) * v
            out[row, column] = np.floor(mixed + 0.5)
    return out


def _map(scale: float, degrees: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    along, across = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return np.array([[along, -across, shift[0]], [across, along, shift[1]]])


@given(st.floats(0.1, 10), st.floats(-180, 180), st.floats(-500, 500), st.floats(-500, 500))
def test_a_known_similarity_is_found_again(scale: float, degrees: float, x: float, y: float) -> None:
    source = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
    matrix = _map(scale, degrees, (x, y))
    assert np.allclose(similarity(source, source @ matrix[:, :2].T + matrix[:, 2]), matrix, atol=1e-8)


def test_noisy_landmarks_give_umeyamas_answer(template: NDArray[np.float64]) -> None:
    for _ in range(50):
        source = template * 0.4 + _RNG.normal(0, 4, (5, 2)) + [300, 200]
        assert np.allclose(similarity(source, template), _umeyama(source, template), atol=1e-9)


def test_a_mirrored_face_is_not_reflected_back(template: NDArray[np.float64]) -> None:
    matrix = similarity(template * [-1, 1], template)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_landmarks_in_one_place_give_the_zero_map(template: NDArray[np.float64]) -> None:
    assert not similarity(np.full((5, 2), 40.0), template).any()
    assert not similarity(np.full((5, 2), np.nan), template).any()


@pytest.mark.parametrize(
    "matrix",
    [
        _IDENTITY,
        _map(1, 0, (0.5, 0)),
        _map(0.3, 12, (10, 5)),
        _map(2.7, -35, (-80, 20)),
        _map(1, 180, (100, 90)),
        np.array([[1.3, 0.1, -20], [0.05, 0.6, 9]]),
    ],
)
def test_warp_agrees_with_the_slow_one(matrix: NDArray[np.float64], arena: Arena) -> None:
    out = np.full((48, 56, 3), 77, np.uint8)
    warp(_PICTURE, matrix, out=out, workspace=arena)
    difference = np.abs(out.astype(int) - _warp_slowly(_PICTURE, matrix, (48, 56)))
    assert difference.max() <= 1  # float32 against float64, at a rounding edge
    assert (difference > 0).mean() < 0.002


def test_the_identity_is_a_copy(arena: Arena) -> None:
    out = np.zeros((96, 160, 3), np.uint8)
    warp(_PICTURE, _IDENTITY, out=out, workspace=arena)
    assert np.array_equal(out, _PICTURE)


def test_outside_the_picture_is_black(arena: Arena) -> None:
    out = np.full((20, 20, 3), 9, np.uint8)
    warp(_PICTURE, _map(1, 0, (10, 0)), out=out, workspace=arena)
    assert not out[:, :10].any()
    assert np.array_equal(out[:, 10:], _PICTURE[:20, :10])


def test_the_padding_of_a_picture_is_never_shown(arena: Arena) -> None:
    padded = np.full((96, 192, 3), 255, np.uint8)
    padded[:90, :160] = _PICTURE[:90]
    out, alone = np.zeros((60, 60, 3), np.uint8), np.zeros((60, 60, 3), np.uint8)
    matrix = _map(1.1, 3, (-130.3, -60.7))  # the lower right corner
    warp(padded[:90, :160], matrix, out=out, workspace=arena)
    warp(np.ascontiguousarray(_PICTURE[:90]), matrix, out=alone, workspace=arena)
    assert np.array_equal(out, alone)
    assert alone[:20, :20].any()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(width=64), min_size=6, max_size=6))
def test_no_map_makes_warp_raise(arena: Arena, numbers: list[float]) -> None:
    out = np.zeros((8, 8, 3), np.uint8)
    warp(_PICTURE, np.array(numbers).reshape(2, 3), out=out, workspace=arena)


@pytest.mark.parametrize(
    "matrix", [np.zeros((2, 3)), np.full((2, 3), np.nan), np.full((2, 3), np.inf), np.array([[1, 2, 0], [2, 4, 0.0]])]
)
def test_a_map_without_an_inverse_gives_a_black_crop(matrix: NDArray[np.float64], arena: Arena) -> None:
    out = np.full((8, 8, 3), 9, np.uint8)
    warp(_PICTURE, matrix, out=out, workspace=arena)
    assert not out.any()


def test_a_picture_of_one_row_gives_a_black_crop(arena: Arena) -> None:
    out = np.full((8, 8, 3), 9, np.uint8)
    warp(_PICTURE[:1], _IDENTITY, out=out, workspace=arena)
    assert not out.any()


def test_mirror_exchanges_left_and_right() -> None:
    out = np.empty_like(_PICTURE)
    mirror(_PICTURE, out=out)
    assert np.array_equal(out, _PICTURE[:, ::-1])


def test_aligning_a_face_puts_no_pixel_on_the_heap(
    arena: Arena, template: NDArray[np.float64], heap: Callable[[Callable[[], object]], tuple[int, int]]
) -> None:
    padded = np.zeros((736, 1280, 3), np.uint8)
    out, mirrored = np.zeros((112, 112, 3), np.uint8), np.zeros((112, 112, 3), np.uint8)
    matrix = similarity(template * 0.7 + [400, 300], template)
    for action in (
        lambda: warp(padded[:720], matrix, out=out, workspace=arena),
        lambda: mirror(out, out=mirrored),
    ):
        largest_array, peak = heap(action)
        assert largest_array < 512
        assert peak < 8_192  # python objects; one more casting buffer would be too much


def test_the_heap_watch_sees_a_temporary_and_a_casting_buffer(
    heap: Callable[[Callable[[], object]], tuple[int, int]],
) -> None:
    crop, wide = np.ones((112, 112, 3), np.uint8), np.ones((112, 112, 3), np.float32)
    largest_array, _ = heap(lambda: np.multiply(wide, wide))
    assert largest_array == wide.nbytes
    largest_array, peak = heap(lambda: np.multiply(wide, crop, out=wide, casting="unsafe"))
    assert largest_array < 512
    assert peak > 8_192
