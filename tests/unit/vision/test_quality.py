"""What makes a face better or worse for a comparison."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.quality import Quality, measure, promise

_SIZE = {"width_px": 1280, "height_px": 720}


def _face(
    template: NDArray[np.float64], scale: float = 1.0, at: tuple[float, float] = (600, 300), confidence: float = 0.9
) -> Detection:
    landmarks = (template - [56, 72]) * scale + at
    box = Box(at[0] - 50 * scale, at[1] - 60 * scale, at[0] + 50 * scale, at[1] + 60 * scale)
    return Detection(box, landmarks, confidence)


def _texture(smooth_px: int = 1) -> NDArray[np.uint8]:
    """Noise with detail of about that size, the same contrast throughout."""
    noise = np.random.default_rng(5).normal(size=(112, 112))
    for axis in (0, 1):
        noise = sum(np.roll(noise, shift, axis) for shift in range(smooth_px))
    values = np.clip(128 + 30 * noise / noise.std(), 0, 255)
    return np.repeat(values[..., np.newaxis], 3, axis=2).astype(np.uint8)


def test_blur_lowers_sharpness_and_value(template: NDArray[np.float64], arena: Arena) -> None:
    measured = [measure(_face(template), _texture(px), **_SIZE, arena=arena) for px in (2, 5, 12)]
    assert measured[0].sharpness > measured[1].sharpness > measured[2].sharpness
    assert measured[0].value > measured[1].value > measured[2].value


def test_less_light_does_not_change_sharpness_or_exposure(template: NDArray[np.float64], arena: Arena) -> None:
    bright = _texture(5)
    dark = (bright * 0.5).astype(np.uint8)
    first, second = (measure(_face(template), crop, **_SIZE, arena=arena) for crop in (bright, dark))
    assert second.sharpness == pytest.approx(first.sharpness, abs=0.02)
    assert second.exposure == pytest.approx(first.exposure, abs=0.02)


def test_channel_order_does_not_matter(template: NDArray[np.float64], arena: Arena) -> None:
    crop = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    swapped = np.ascontiguousarray(crop[..., ::-1])
    assert measure(_face(template), crop, **_SIZE, arena=arena) == measure(
        _face(template), swapped, **_SIZE, arena=arena
    )


def test_exposure_is_the_share_of_pixels_neither_black_nor_white(template: NDArray[np.float64], arena: Arena) -> None:
    crop = np.full((112, 112, 3), 100, np.uint8)
    crop[:28] = 0
    crop[-28:] = 255
    assert measure(_face(template), crop, **_SIZE, arena=arena).exposure == 0.5


def test_the_borders_of_the_crop_add_no_detail(template: NDArray[np.float64], arena: Arena) -> None:
    ramp = np.repeat(np.linspace(20, 230, 112)[np.newaxis, :, np.newaxis], 3, axis=2)
    crop = np.repeat(ramp, 112, axis=0).astype(np.uint8)  # left and right differ most, and nothing else does
    assert measure(_face(template), crop, **_SIZE, arena=arena).sharpness < 0.2


def test_small_turned_hidden_and_unsure_faces_are_worth_less(template: NDArray[np.float64], arena: Arena) -> None:
    crop = _texture(2)
    turned = _face(template)
    turned.landmarks_px[2, 0] += 14
    best = measure(_face(template), crop, **_SIZE, arena=arena)
    for worse in (
        _face(template, scale=0.3),
        turned,
        _face(template, at=(20, 300)),
        _face(template, confidence=0.65),
    ):
        assert measure(worse, crop, **_SIZE, arena=arena).value < best.value
    assert 0 < best.value <= 1


def test_visible_is_the_share_inside_the_picture(template: NDArray[np.float64], arena: Arena) -> None:
    def visible(x: float, y: float) -> float:
        return measure(_face(template, at=(x, y)), _texture(), **_SIZE, arena=arena).visible

    assert visible(600, 300) == 1
    assert visible(1280, 300) == pytest.approx(0.5, abs=0.05)
    assert visible(0, 0) == pytest.approx(0.25, abs=0.05)
    assert visible(-500, 300) == 0


def test_yaw_and_pitch_follow_the_nose(template: NDArray[np.float64], arena: Arena) -> None:
    def pose(x: float, y: float) -> Quality:
        face = _face(template)
        face.landmarks_px[2] += (x, y)
        return measure(face, _texture(), **_SIZE, arena=arena)

    assert abs(pose(0, 0).yaw) < 5
    assert abs(pose(0, 0).pitch) < 10
    assert pose(10, 0).yaw > 20
    assert pose(-10, 0).yaw < -20
    assert pose(0, -10).pitch > pose(0, 0).pitch > pose(0, 10).pitch


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(np.float64, (5, 2), elements=st.floats(-1e4, 1e4)),
    hnp.arrays(np.uint8, (12, 10, 3)),
    st.floats(0, 1),
)
def test_value_is_in_0_to_1_for_any_face(
    arena: Arena, landmarks: NDArray[np.float64], crop: NDArray[np.uint8], confidence: float
) -> None:
    quality = measure(Detection(Box(0, 0, 10, 10), landmarks, confidence), crop, **_SIZE, arena=arena)
    assert 0 <= quality.value <= 1
    promised = promise(Detection(Box(0, 0, 10, 10), landmarks, confidence), **_SIZE)
    assert quality.value**2 - 1e-9 <= promised <= 1


def test_promise_orders_faces_without_their_pixels(template: NDArray[np.float64]) -> None:
    turned, nodding = _face(template), _face(template)
    turned.landmarks_px[2, 0] += 14
    nodding.landmarks_px[2, 1] += 14
    best = promise(_face(template), **_SIZE)
    worse = (
        turned,
        nodding,
        _face(template, scale=0.3),
        _face(template, at=(20, 300)),
        _face(template, confidence=0.8),
    )
    assert all(promise(face, **_SIZE) < best for face in worse)
    assert best > 0.75


def test_an_unstable_or_weak_answer_of_the_embedder_lowers_the_value(
    template: NDArray[np.float64], arena: Arena
) -> None:
    face = measure(_face(template), _texture(2), **_SIZE, arena=arena)
    unstable, weak = replace(face, stability=0.5), replace(face, magnitude=0.5)
    assert unstable.value == pytest.approx(weak.value) == pytest.approx(face.value / 2**0.5)


def test_light_does_not_change_the_value(template: NDArray[np.float64], arena: Arena) -> None:
    # Measures of brightness would rank darker skin lower: half of this face is black, and lost.
    face = measure(_face(template), _texture(2), **_SIZE, arena=arena)
    assert replace(face, exposure=0.5).value == face.value


def test_measuring_puts_no_pixel_on_the_heap(
    template: NDArray[np.float64], arena: Arena, heap: Callable[[Callable[[], object]], tuple[int, int]]
) -> None:
    face, crop = _face(template), _texture()
    largest_array, peak = heap(lambda: measure(face, crop, **_SIZE, arena=arena))
    assert largest_array < 512
    assert peak < 8_192


def test_angles_agree_with_rendered_heads(
    street: list[tuple[list[Detection], list[dict[str, Any]]]], arena: Arena
) -> None:
    errors = []
    for faces, people in street:
        for face in faces:
            for person in people:
                gap = np.abs(face.landmarks_px[:2] - np.array(person["eyes"])).max() / person["iod"]
                if person["iod"] >= 25 and person["visible"] > 0.7 and gap < 0.5:
                    quality = measure(face, _texture(), **_SIZE, arena=arena)
                    errors.append((quality.yaw - person["yaw"], quality.pitch - person["pitch"]))
    yaw, pitch = np.sqrt(np.square(errors).mean(axis=0))
    assert len(errors) >= 25
    assert yaw < 8
    assert pitch < 10
