"""From a picture to faces and features, with engines that are no networks: what is found, and what is given back.

What features are made of (alignment, mirroring, joining) is in `test_extract`.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image, Rows
from lfr_edge.biometrics.retention import FRAME
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.inference.fake import FakeEngine
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.port import BatchShape
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box

WIDTH_PX, HEIGHT_PX = 320, 224
FACES = ((60.0, 60.0), (200.0, 120.0))  # middles
STRIDES = (8, 16, 32)


class FakeDetector:
    """YuNet's planes for the faces it was told of."""

    lanes = 2
    output_names = tuple(f"{plane}_{stride}" for plane in ("cls", "obj", "bbox", "kps") for stride in STRIDES)

    def __init__(self, middles: Sequence[tuple[float, float]]) -> None:
        self._middles = middles
        self.calls: list[str] = []
        self.under_way = 0
        self.fault: DeviceError | None = None

    def output_shapes(self, batch_shape: BatchShape) -> dict[str, tuple[int, ...]]:
        count, height, width, _ = batch_shape
        depth = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
        return {
            f"{plane}_{stride}": (count, (height // stride) * (width // stride), channels)
            for plane, channels in depth.items()
            for stride in STRIDES
        }

    def start(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> "FakePending":
        self.under_way += 1
        return FakePending(self, batch, out)

    def compute(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        self.under_way -= 1
        if self.fault is not None:
            raise self.fault
        for array in out.values():
            array.fill(0)
        columns = batch.shape[2] // 16
        for x, y in self._middles:
            column, row = int(x // 16), int(y // 16)
            place = (0, row * columns + column)
            out["cls_16"][place] = out["obj_16"][place] = 0.9
            out["bbox_16"][place] = (x / 16 - column, y / 16 - row, math.log(3), math.log(4))
            points = [(-10, -8), (10, -8), (0, 0), (-8, 10), (8, 10)]
            out["kps_16"][place] = [
                value / 16 for dx, dy in points for value in (x + dx - 16 * column, y + dy - 16 * row)
            ]

    def forget(self) -> None:
        self.calls.append("forget")

    def close(self) -> None:
        self.calls.append("close")


class FakePending:
    """Computes when it is waited for."""

    def __init__(
        self, detector: FakeDetector, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]
    ) -> None:
        self._compute: Callable[[], None] | None = lambda: detector.compute(batch, out)

    def wait(self) -> None:
        compute, self._compute = self._compute, None
        if compute is not None:
            compute()


class FakeGlancer(FakeDetector):
    """The same planes of the picture's half: places and sizes are half."""

    def output_shapes(self, batch_shape: BatchShape) -> dict[str, tuple[int, ...]]:
        count, height, width, channels = batch_shape
        return super().output_shapes((count, -(-height // 64) * 32, -(-width // 64) * 32, channels))

    def compute(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        super().compute(batch[:, ::2, ::2], out)


def extractor(
    arena: Arena, *grids: int, detector: FakeDetector | None = None, glancer: FakeDetector | None = None
) -> Extractor:
    """The default set with a FakeEngine for each grid, whose features have 3 * grid * grid values."""
    real = load_engine_set("yunet-mobilefacenet")
    embedders = tuple(real.embedders[0].model_copy(update={"dimension": 3 * grid * grid}) for grid in grids)
    engines = [FakeEngine(grid=grid) for grid in grids]
    fake_set = real.model_copy(update={"embedders": embedders})
    return Extractor(fake_set, detector or FakeDetector(FACES), engines, arena, glancer)


@pytest.fixture
def image(arena: Arena) -> Image:
    image = Image.blank(arena, FRAME, WIDTH_PX, HEIGHT_PX)
    image.pixels[:] = np.random.default_rng(3).integers(20, 235, image.pixels.shape, dtype=np.uint8)
    return image


def features_of(subject: Extractor, image: Image, detections: Sequence[Detection]) -> NDArray[np.float32]:
    out = np.full((len(detections), subject.dimension), np.nan, np.float32)
    assert len(subject.embed(image, detections, out=out)) == len(detections)
    return out


def test_what_the_detector_finds_comes_with_box_and_landmarks(arena: Arena, image: Image) -> None:
    found = sorted(extractor(arena, 4).detect(image), key=lambda detection: detection.box_px.left)
    assert [detection.box_px for detection in found] == [
        pytest.approx(Box(x - 24, y - 32, x + 24, y + 32), abs=1e-3) for x, y in FACES
    ]
    assert [detection.inter_eye_px for detection in found] == pytest.approx([20, 20], abs=1e-3)


def test_a_glance_finds_the_same_faces_in_the_pictures_own_pixels(arena: Arena) -> None:
    middles = ((70.0, 90.0), (200.0, 120.0))
    subject = extractor(arena, 4, glancer=FakeGlancer([(x / 2, y / 2) for x, y in middles]))
    for size_px in ((WIDTH_PX, HEIGHT_PX), (WIDTH_PX - 5, HEIGHT_PX - 1)):
        with Image.blank(arena, FRAME, *size_px).lease as lease:
            found = subject.detect(Image(lease, *size_px), glance=True)
        assert sorted(detection.box_px for detection in found) == [
            pytest.approx(Box(x - 48, y - 64, x + 48, y + 64), abs=1e-3) for x, y in middles
        ]
        assert [detection.inter_eye_px for detection in found] == pytest.approx([40, 40], abs=1e-3)


def test_what_is_found_in_some_rows_is_said_in_the_pictures_own_pixels(arena: Arena, image: Image) -> None:
    detector = FakeDetector([(60.0, 60.0)])
    subject = extractor(arena, 4, detector=detector)
    with image.lease, subject.start(image, rows=Rows(96, 224)) as search:
        (found,) = search.faces()
    assert found.box_px == pytest.approx(Box(36, 124, 84, 188), abs=1e-3)
    assert found.landmarks_px[2] == pytest.approx([60, 156], abs=1e-3)


def test_without_a_detector_for_them_there_are_no_glances(arena: Arena, image: Image) -> None:
    with pytest.raises(RuntimeError, match="glances"), image.lease:
        extractor(arena, 4).start(image, glance=True)


def test_what_was_seen_last_in_another_way_is_forgotten(arena: Arena, image: Image) -> None:
    """Nobody knows whether another glance, or another full look, follows."""
    detector, glancer = FakeDetector(FACES), FakeGlancer(())
    subject = extractor(arena, 4, detector=detector, glancer=glancer)
    for glance in (True, False):
        subject.detect(image, glance=glance)
    subject.forget_remains()
    assert (detector.calls, glancer.calls) == ([], ["forget"])
    subject.forget_remains()
    assert (detector.calls, glancer.calls) == ([], ["forget"]), "there is nothing left to forget"
    subject.detect(image, glance=True)
    subject.forget_remains()
    assert (detector.calls, glancer.calls) == (["forget"], ["forget"])
    subject.close()
    assert glancer.calls[-2:] == ["forget", "close"]
    image.release()


def test_a_picture_without_faces_has_none(arena: Arena, image: Image) -> None:
    assert extractor(arena, 4, detector=FakeDetector(())).detect(image) == []


def test_two_pictures_are_searched_at_once_and_each_gets_its_own_faces(arena: Arena, image: Image) -> None:
    detector = FakeDetector(FACES)
    subject = extractor(arena, 4, detector=detector)
    clipped = Image.blank(arena, FRAME, 210, HEIGHT_PX)  # a face reaches beyond it
    assert subject.lanes == 2
    with image.lease, clipped.lease:
        expected = [[face.box_px for face in subject.detect(picture)] for picture in (image, clipped)]
        with subject.start(image) as first, subject.start(clipped) as second:
            assert detector.under_way == 2
            second.wait()
            assert [[face.box_px for face in search.faces()] for search in (first, second)] == expected
    assert expected[0] != expected[1]
    assert arena.leased_bytes == 0


def test_an_abandoned_search_is_waited_for_and_wiped(arena: Arena, image: Image) -> None:
    detector = FakeDetector(FACES)
    with extractor(arena, 4, detector=detector).start(image):
        assert arena.leased_bytes > image.padded.nbytes
    assert detector.under_way == 0
    image.release()
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_a_search_that_fails_says_so_and_is_wiped(arena: Arena, image: Image) -> None:
    detector = FakeDetector(FACES)
    subject = extractor(arena, 4, detector=detector)
    detector.fault = DeviceError(Reason.ENGINE_FAILED, "the graph is broken", fix="mend it")
    with pytest.raises(DeviceError, match="broken"), image.lease, subject.start(image) as search:
        search.faces()
    assert not arena._held
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_every_row_has_length_one_however_many_embedders_there_are(arena: Arena, image: Image) -> None:
    for grids in ((4,), (4, 8)):
        subject = extractor(arena, *grids)
        features = features_of(subject, image, subject.detect(image))
        assert features.shape == (2, sum(3 * grid * grid for grid in grids))
        assert np.linalg.norm(features, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_a_row_depends_on_its_own_face_only(arena: Arena, image: Image) -> None:
    subject = extractor(arena, 4)
    first, second = subject.detect(image)
    both = features_of(subject, image, [first, second])
    assert features_of(subject, image, [second])[0] == pytest.approx(both[1], abs=1e-6)
    assert abs(float(both[0] @ both[1])) < 0.9


def test_features_that_are_useless_become_zeros_and_match_nobody(arena: Arena, image: Image) -> None:
    image.pixels.fill(77)  # FakeEngine's features of one colour are all zero
    subject = extractor(arena, 4, 8)
    assert not features_of(subject, image, subject.detect(image)).any()


def test_quality_is_measured_on_each_face_of_the_picture(arena: Arena, image: Image) -> None:
    image.pixels[:, 150:] = 0  # the second face is dark
    subject = extractor(arena, 4)
    faces = sorted(subject.detect(image), key=lambda detection: detection.box_px.left)
    light, dark = subject.embed(image, faces, out=np.zeros((2, subject.dimension), np.float32))
    assert light.inter_eye_px == pytest.approx(20, abs=1e-3)
    assert light.exposure > 0.9
    assert dark.exposure < 0.1
    assert light.value > dark.value


def test_nothing_stays_leased_but_the_picture(arena: Arena, image: Image) -> None:
    subject = extractor(arena, 4, 8)
    features_of(subject, image, subject.detect(image))
    image.release()
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_nothing_stays_leased_when_an_engine_fails(arena: Arena, image: Image) -> None:
    subject = extractor(arena, 4)
    faces = subject.detect(image)
    subject.close()
    with pytest.raises(RuntimeError, match="closed"):
        features_of(subject, image, faces)
    image.release()
    assert not arena._held
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_close_forgets_and_then_frees_every_engine(arena: Arena) -> None:
    detector = FakeDetector(())
    extractor(arena, 4, detector=detector).close()
    assert detector.calls == ["forget", "close"]


def test_only_what_the_next_inference_would_not_overwrite_is_forgotten(arena: Arena, image: Image) -> None:
    detector = FakeDetector(FACES)
    subject = extractor(arena, 4, detector=detector)
    subject.detect(image)
    subject.forget_remains()
    assert detector.calls == [], "the next picture of the only size overwrites this one"
    other = Image.blank(arena, FRAME, WIDTH_PX + 64, HEIGHT_PX)
    subject.detect(image)
    subject.detect(other)
    subject.forget_remains()
    assert detector.calls == ["forget"]
    other.release()
    image.release()


def test_the_last_picture_of_a_camera_that_went_is_forgotten(arena: Arena, image: Image) -> None:
    """Its size may change exactly between two calls: then nothing since the last one shows that there were two."""
    detector = FakeDetector(FACES)
    subject = extractor(arena, 4, detector=detector)
    subject.detect(image)
    subject.forget_remains()
    other = Image.blank(arena, FRAME, WIDTH_PX + 64, HEIGHT_PX)
    subject.detect(other)
    subject.forget_remains()
    assert detector.calls == ["forget"]
    subject.detect(other)
    subject.forget_remains()
    assert detector.calls == ["forget"], "one size again"
    other.release()
    image.release()
