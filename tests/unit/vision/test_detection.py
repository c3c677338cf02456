"""Decoding by hand-computed priors, hostile numbers, and the real detector on rendered people."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lfr_edge.vision.detection import DecodeLimits, Detection, decode
from lfr_edge.vision.geometry import Box

_LIMITS = DecodeLimits(confidence=0.6, nms_iou=0.45, width_px=100, height_px=60)  # padded: 128 x 64
_Planes = dict[str, NDArray[np.float32]]


def _yunet_planes(width: int = 128, height: int = 64) -> _Planes:
    planes = {}
    for stride in (8, 16, 32):
        places = width // stride * (height // stride)
        for name, depth in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            planes[f"{name}_{stride}"] = np.zeros((places, depth), np.float32)
    return planes


def _centerface_planes(width: int = 128, height: int = 64) -> _Planes:
    shape = (height // 4, width // 4)
    return {
        name: np.zeros((depth, *shape), np.float32) for name, depth in (("537", 1), ("538", 2), ("539", 2), ("540", 10))
    }


def _put_yunet(planes: _Planes, stride: int, place: int, confidence: float) -> None:
    """A face with its centre at the prior, four strides wide and high."""
    planes[f"cls_{stride}"][place] = confidence
    planes[f"obj_{stride}"][place] = confidence
    planes[f"bbox_{stride}"][place] = [0, 0, math.log(4), math.log(4)]
    planes[f"kps_{stride}"][place] = [-1, -1, 1, -1, 0, 0, -0.5, 1, 0.5, 1]


def test_yunet_by_hand() -> None:
    planes = _yunet_planes()
    planes["cls_8"][3 * 16 + 5] = 0.9  # row 3, column 5 of 16: the columns of the padded picture
    planes["obj_8"][3 * 16 + 5] = 0.4
    planes["bbox_8"][3 * 16 + 5] = [0.5, -0.25, math.log(3), math.log(2)]
    planes["kps_8"][3 * 16 + 5] = [-0.5, -0.5, 1.5, -0.5, 0.5, 0, -0.25, 0.5, 1.25, 0.5]
    (face,) = decode("yunet", planes, limits=DecodeLimits(0.55, 0.45, 100, 60))
    assert face.confidence == pytest.approx(0.6, abs=1e-6)  # sqrt(.9 * .4)
    assert face.box_px == pytest.approx((40 + 4 - 12, 24 - 2 - 8, 40 + 4 + 12, 24 - 2 + 8), abs=1e-4)
    assert face.landmarks_px == pytest.approx(np.array([[36, 20], [52, 20], [44, 24], [38, 28], [50, 28]]), abs=1e-4)
    assert face.inter_eye_px == pytest.approx(16)


def test_centerface_by_hand() -> None:
    planes = _centerface_planes()
    planes["537"][0, 5, 7] = 0.75
    planes["538"][:, 5, 7] = [math.log(5), math.log(4)]  # height 20, width 16
    planes["539"][:, 5, 7] = [0.25, -0.5]  # down, left
    planes["540"][:, 5, 7] = [0.4, 0.25, 0.4, 0.75, 0.6, 0.5, 0.8, 0.3, 0.8, 0.7]  # y, x
    (face,) = decode("centerface", planes, limits=_LIMITS)
    assert face.confidence == 0.75
    assert face.box_px == pytest.approx((28 - 8, 23 - 10, 28 + 8, 23 + 10), abs=1e-4)
    expected = [[24, 21], [32, 21], [28, 25], [24.8, 29], [31.2, 29]]
    assert face.landmarks_px == pytest.approx(np.array(expected), abs=1e-4)


def test_faces_come_most_confident_first_and_duplicates_go() -> None:
    planes = _yunet_planes()
    _put_yunet(planes, 8, 3 * 16 + 4, 0.7)
    _put_yunet(planes, 8, 3 * 16 + 10, 0.8)
    _put_yunet(planes, 8, 3 * 16 + 11, 0.9)  # one place beside the last: overlaps by .6
    faces = decode("yunet", planes, limits=_LIMITS)
    assert [round(face.confidence, 3) for face in faces] == [0.9, 0.7]


def test_a_face_has_the_mean_landmarks_of_all_candidates_that_see_it() -> None:
    planes = _yunet_planes()
    _put_yunet(planes, 8, 3 * 16 + 10, 0.8)
    _put_yunet(planes, 8, 3 * 16 + 11, 0.9)
    planes["bbox_8"][3 * 16 + 11, 0] = -1  # the same box, seen from the next place
    planes["kps_8"][3 * 16 + 11] += 0.5  # with the place itself: 12 px to the right of the other's, and 4 px down
    (face,) = decode("yunet", planes, limits=_LIMITS)
    assert round(face.confidence, 3) == 0.9
    first = np.array([[72, 16], [88, 16], [80, 24], [76, 32], [84, 32]])
    assert face.landmarks_px == pytest.approx(first + np.array([6, 2]), abs=1e-4)


def test_a_suppressed_neighbour_leaves_a_faces_landmarks_alone() -> None:
    planes, alone = _yunet_planes(), _yunet_planes()
    _put_yunet(alone, 8, 3 * 16 + 11, 0.9)
    _put_yunet(planes, 8, 3 * 16 + 11, 0.9)
    _put_yunet(planes, 8, 3 * 16 + 10, 0.8)  # overlaps by .6
    (face,), (expected,) = decode("yunet", planes, limits=_LIMITS), decode("yunet", alone, limits=_LIMITS)
    assert np.array_equal(face.landmarks_px, expected.landmarks_px)


def test_equally_confident_faces_keep_the_order_of_their_places() -> None:
    planes = _yunet_planes()
    for place in range(7 * 16):
        _put_yunet(planes, 8, place, 0.75)
        planes["bbox_8"][place, 2:] = 0  # as large as the stride: none overlap
        planes["kps_8"][place] /= 4
    faces = decode("yunet", planes, limits=_LIMITS)
    places = [(face.box_px.top, face.box_px.left) for face in faces]
    assert len(places) >= 80
    assert places == sorted(places)


def test_boxes_are_clipped_to_the_picture_without_its_padding() -> None:
    planes = _yunet_planes()
    _put_yunet(planes, 8, 12, 0.9)  # x = 96, y = 0
    (face,) = decode("yunet", planes, limits=_LIMITS)
    assert face.box_px == pytest.approx((80, 0, 100, 16), abs=1e-4)
    assert face.landmarks_px[0] == pytest.approx((88, -8))


def test_suppression_counts_boxes_as_clipped() -> None:
    planes = _yunet_planes()
    _put_yunet(planes, 32, 3, 0.9)  # 128 px high around y = 0
    _put_yunet(planes, 32, 3 + 4, 0.8)
    planes["bbox_32"][3 + 4, 1] = 1  # the same around y = 64: a third in common, all of it inside the picture
    assert [round(face.confidence, 3) for face in decode("yunet", planes, limits=_LIMITS)] == [0.9]


def test_a_face_that_lies_in_the_padding_is_none() -> None:
    planes = _yunet_planes()
    _put_yunet(planes, 8, 15, 0.9)
    planes["bbox_8"][15, 2:] = 0  # 8 px wide around x = 120 of 100
    assert decode("yunet", planes, limits=_LIMITS) == []


def test_landmarks_in_one_place_are_no_face() -> None:
    planes = _yunet_planes()
    _put_yunet(planes, 8, 40, 0.9)
    planes["kps_8"][40] = 0
    assert decode("yunet", planes, limits=_LIMITS) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("name", ["cls_8", "bbox_8", "kps_8"])
def test_a_number_that_is_none_is_no_face_and_hides_no_other(name: str, value: float) -> None:
    planes = _yunet_planes()
    _put_yunet(planes, 8, 40, 0.9)
    _put_yunet(planes, 8, 3 * 16 + 2, 0.8)
    planes[name][40, -1] = value
    assert [round(face.confidence, 3) for face in decode("yunet", planes, limits=_LIMITS)] == [0.8]


_FLOATS = st.floats(width=32) | st.sampled_from([0.0, 0.75, 1.0, -1.0, 80.0])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_outputs_make_decode_raise(data: st.DataObject) -> None:
    kind: Literal["yunet", "centerface"] = data.draw(st.sampled_from(["yunet", "centerface"]))
    planes = _yunet_planes(64, 32) if kind == "yunet" else _centerface_planes(64, 32)
    for name, plane in planes.items():
        planes[name] = data.draw(hnp.arrays(np.float32, plane.shape, elements=_FLOATS, fill=_FLOATS))
    for face in decode(kind, planes, limits=DecodeLimits(0.6, 0.45, 50, 30)):
        assert np.isfinite(face.landmarks_px).all()
        assert 0 <= face.box_px.left < face.box_px.right <= 50
        assert 0 <= face.box_px.top < face.box_px.bottom <= 30
        assert 0.6 <= face.confidence <= 1


def test_planes_of_another_picture_are_our_bug() -> None:
    with pytest.raises(RuntimeError, match="cls_8"):
        decode("yunet", _yunet_planes(256, 64), limits=_LIMITS)
    with pytest.raises(RuntimeError, match="537"):
        decode("centerface", _centerface_planes(256, 64), limits=_LIMITS)


def test_a_picture_full_of_noise_is_decoded_in_bounded_work() -> None:
    planes = _yunet_planes(1280, 736)
    for plane in planes.values():
        plane.fill(0.99)
    faces = decode("yunet", planes, limits=DecodeLimits(0.6, 0.45, 1280, 720))
    assert len(faces) <= 1500


def test_the_same_outputs_give_the_same_faces() -> None:
    def faces() -> list[tuple[Box, float]]:
        noise = np.random.default_rng(3)
        planes = {name: noise.random(plane.shape, np.float32) for name, plane in _yunet_planes().items()}
        return [(face.box_px, face.confidence) for face in decode("yunet", planes, limits=_LIMITS)]

    assert faces() == faces() != []


@pytest.mark.parametrize("kind", ["yunet", "centerface"])
def test_decoding_puts_no_plane_on_the_heap(
    kind: Literal["yunet", "centerface"], heap: Callable[[Callable[[], object]], tuple[int, int]]
) -> None:
    planes = _yunet_planes(1280, 736) if kind == "yunet" else _centerface_planes(1280, 736)

    def fill_and_decode() -> list[Detection]:
        if kind == "yunet":
            _put_yunet(planes, 8, 5000, 0.9)
            _put_yunet(planes, 16, 900, 0.9)
        else:
            planes["537"][0, 50, 60] = 0.9
            planes["540"][:, 50, 60] = [0.4, 0.25, 0.4, 0.75, 0.6, 0.5, 0.8, 0.3, 0.8, 0.7]
        return decode(kind, planes, limits=DecodeLimits(0.6, 0.45, 1280, 720))

    assert fill_and_decode()
    largest_array, peak = heap(fill_and_decode)
    assert largest_array <= 2048  # where faces are, of 2048 places at a time
    assert peak < 40_000  # geometry of two faces in numpy's own buffers; the planes are 1.2 and 3.5 MB


def test_yunet_finds_the_rendered_people(street: list[tuple[list[Detection], list[dict[str, Any]]]]) -> None:
    expected, errors, invented = 0, [], 0
    for faces, people in street:
        for person in people:
            if person["iod"] >= 25 and person["visible"] > 0.7:
                expected += 1
                errors += [error for face in faces if (error := _eye_error(face, person)) < 0.5]
        invented += sum(all(_eye_error(face, person) > 1 for person in people) for face in faces)
    assert expected >= 25
    assert len(errors) == expected  # every one of them, and once
    assert np.median(errors) < 0.15  # of the inter-eye distance; the truth is eyeball centres
    assert invented == 0


def _eye_error(face: Detection, person: dict[str, Any]) -> float:
    gaps = face.landmarks_px[:2] - np.array(person["eyes"])
    return float(np.hypot(gaps[:, 0], gaps[:, 1]).mean()) / float(person["iod"])
