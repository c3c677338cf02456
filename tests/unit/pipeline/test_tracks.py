"""What is remembered of one person in view, and that it goes."""

import math

import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import FRAME, TRACK
from lfr_edge.pipeline.tracks import LONGEST_REST, REST_NS, REST_PICTURES, Track
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.masking import GREY


@pytest.fixture
def image(arena: Arena) -> Image:
    image = Image.blank(arena, FRAME, 100, 80)
    image.pixels[:] = np.arange(100, dtype=np.uint8)[:, np.newaxis]
    return image


def unit(*values: float) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def test_the_probe_is_the_weighted_mean_of_the_faces(arena: Arena) -> None:
    track = Track(3, arena)
    first, second = unit(1, 0, 0), unit(0, 1, 0)
    track.fuse(first, 0.9)
    assert first == pytest.approx([1, 0, 0])
    track.fuse(second, 0.8)
    assert second == pytest.approx(unit(0.9**8, 0.8**8, 0))
    assert track.faces == 2


def test_a_face_of_no_quality_changes_nothing(arena: Arena) -> None:
    track = Track(3, arena)
    track.fuse(unit(1, 2, 3), 0.5)
    useless = unit(-3, 2, -1)
    track.fuse(useless, 0.0)
    assert useless == pytest.approx(unit(1, 2, 3))


def test_faces_of_no_quality_alone_make_no_probe_and_no_error(arena: Arena) -> None:
    track, useless = Track(3, arena), unit(1, 2, 3)
    track.fuse(useless, 0.0)
    assert not useless.any()


def test_the_next_face_is_due_when_as_long_has_passed_as_is_missing_to_a_match(arena: Arena) -> None:
    track = Track(3, arena)
    for short_of, rest in ((0.0, 1), (0.5, 1), (2.0, 2), (5.5, 5.5), (50.0, LONGEST_REST), (math.inf, LONGEST_REST)):
        track.note_embedded(10**9, 100, 0.5)
        track.rest_while(short_of)
        assert not track.is_due(10**9 + round(rest * REST_NS) - 1, 101, 0.5)
        assert track.is_due(10**9 + round(rest * REST_NS), 101, 0.5)
        assert not track.is_due(10**9, 100 + math.ceil(rest * REST_PICTURES) - 1, 0.5)
        assert track.is_due(10**9, 100 + math.ceil(rest * REST_PICTURES), 0.5)


def test_a_face_clearly_better_than_the_best_so_far_is_due_at_once(arena: Arena) -> None:
    track = Track(3, arena)
    for promise in (0.5, 0.8, 0.4):  # the latest is not the best
        track.note_embedded(10**9, 100, promise)
    track.rest_while(5.0)
    assert not track.is_due(10**9, 101, 0.83)
    assert track.is_due(10**9, 101, 0.85)


def test_after_one_doubtful_face_a_settled_track_rests_as_long_as_before(arena: Arena) -> None:
    track = Track(2, arena)
    track.fuse(unit(1, 0), 1.0)
    track.settle()
    rests = []
    for face in (unit(1, 0), unit(0, 1), unit(1, 0)):
        track.resembles(face, 0.5)
        rests.append(track.rest)
    assert rests == [LONGEST_REST, 1.0, LONGEST_REST]
    track.release()


@pytest.mark.parametrize(
    ("box", "columns", "rows"),
    [
        (Box(10.2, 20.7, 19.5, 29.0), range(10, 20), 9),
        (Box(-15, -5, 10, 10), range(10), 10),
        (Box(90, 70, 130, 95), range(90, 100), 10),
    ],
)
def test_the_sample_is_the_box_in_whole_pixels_inside_the_picture(
    arena: Arena, image: Image, box: Box, columns: range, rows: int
) -> None:
    track = Track(3, arena)
    track.keep_sample(image, box, [])
    assert track.sample is not None
    assert track.sample.array.shape == (rows, len(columns), 3)
    assert (track.sample.array[..., 0] == np.array(columns)).all()
    assert track.sample.row is TRACK


def test_a_box_outside_the_picture_is_no_sample(arena: Arena, image: Image) -> None:
    track = Track(3, arena)
    assert not track.keep_sample(image, Box(120, 10, 150, 40), [])
    assert track.sample is None


def test_other_people_in_the_box_are_covered(arena: Arena, image: Image) -> None:
    track = Track(3, arena)
    track.keep_sample(image, Box(10, 10, 50, 50), [Box(40, 30, 70, 60), Box(0, 0, 5, 5)])
    assert track.sample is not None
    assert (track.sample.array[20:, 30:] == GREY).all()
    assert (track.sample.array[:10, :20, 0] == np.arange(10, 30)).all()


def test_a_better_sample_replaces_and_wipes_the_one_before(arena: Arena, image: Image) -> None:
    track = Track(3, arena)
    track.keep_sample(image, Box(10, 10, 50, 50), [])
    track.keep_sample(image, Box(60, 10, 80, 30), [])
    samples = [lease for lease in arena._held.values() if lease.row is TRACK and lease.array.ndim == 3]
    assert [lease.array.shape for lease in samples] == [(20, 20, 3)]


def test_release_wipes_everything_and_may_come_twice(arena: Arena, image: Image) -> None:
    track = Track(3, arena)
    track.keep_sample(image, Box(10, 10, 50, 50), [])
    track.fuse(unit(1, 2, 3), 0.5)
    image.release()
    track.release()
    track.release()
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()
