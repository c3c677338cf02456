"""Features of one face: aligned as the manifest says, averaged over the mirror image, joined over the embedders."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.biometrics.retention import FRAME
from lfr_edge.inference.fake import FakeEngine
from lfr_edge.inference.manifest import EmbedderSpec, load_engine_set
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.quality import Quality

SIDE_PX = 160
LANDMARKS_PX = np.array([[60.0, 70.0], [101.0, 66.0], [82.0, 92.0], [67.0, 117.0], [101.0, 114.0]])
DOT = 250
_SLOPE = np.linspace(30, 220, SIDE_PX)
# Light from above and a little from the right: a mirror image is alike, and not the same.
BLURRED = np.repeat((_SLOPE[:, None] + _SLOPE / 4)[..., None] * 0.8, 3, axis=2).astype(np.uint8)
NOISE = np.random.default_rng(3).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)


class Keeping(FakeEngine):
    """Keeps the aligned faces that it was given."""

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        self.batch = batch.copy()
        super().infer(batch, out)


class Overflowing(FakeEngine):
    """Answers every face with infinities, as a network in 16 bits may."""

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        super().infer(batch, out)
        out["features"].fill(np.inf)


@pytest.fixture
def arena() -> Iterator[Arena]:
    """An arena that must have everything back at the end of the test."""
    arena = Arena(16 << 20, memory_lock=FakeMemoryLock(allow=False))
    yield arena
    assert arena.leased_bytes == 0


def spec(*, stretched: bool = False, mirrored: bool = True, grid: int = 8) -> EmbedderSpec:
    """One of the duo's two embedders, with the length of `FakeEngine`'s features."""
    released = load_engine_set("yunet-duo").embedders[stretched]
    return released.model_copy(update={"mirrored": mirrored, "dimension": 3 * grid * grid})


def embed(
    arena: Arena,
    picture: NDArray[np.uint8],
    *embedders: tuple[EmbedderSpec, FakeEngine],
    landmarks_px: NDArray[np.float64] = LANDMARKS_PX,
) -> NDArray[np.float32]:
    """The features (D,) of the picture's one face."""
    return embed_and_judge(arena, picture, *embedders, landmarks_px=landmarks_px)[0]


def embed_and_judge(
    arena: Arena,
    picture: NDArray[np.uint8],
    *embedders: tuple[EmbedderSpec, FakeEngine],
    landmarks_px: NDArray[np.float64] = LANDMARKS_PX,
) -> tuple[NDArray[np.float32], Quality]:
    """The same and the face's quality."""
    engine_set = load_engine_set("yunet-duo").model_copy(update={"embedders": tuple(one for one, _ in embedders)})
    extractor = Extractor(engine_set, FakeEngine(), [engine for _, engine in embedders], arena)
    out = np.full((1, extractor.dimension), np.nan, np.float32)
    image = Image.blank(arena, FRAME, SIDE_PX, SIDE_PX)
    with image.lease:
        np.copyto(image.pixels, picture)
        (quality,) = extractor.embed(image, [Detection(Box(40, 40, 120, 140), landmarks_px, 0.9)], out=out)
    row: NDArray[np.float32] = out[0]
    return row, quality


def test_the_cosine_of_joined_features_is_the_mean_of_the_embedders(arena: Arena) -> None:
    first, second = (spec(), FakeEngine()), (spec(stretched=True, grid=4), FakeEngine(size_px=(128, 128), grid=4))
    pictures = NOISE, np.roll(NOISE, 9, axis=1) // 2
    apart = [np.dot(*(embed(arena, picture, one) for picture in pictures)) for one in (first, second)]
    a, b = (embed(arena, picture, first, second) for picture in pictures)
    assert abs(apart[0] - apart[1]) > 0.01
    assert np.dot(a, b) == pytest.approx(sum(apart) / 2, abs=1e-6)
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-6)


def test_the_stretched_face_has_its_landmarks_on_the_stretched_template(arena: Arena) -> None:
    wanted = np.array([[0.3156, 0.4616], [0.6826, 0.4616], [0.5003, 0.6405], [0.3495, 0.8247], [0.6534, 0.8247]]) * 128
    upright = np.array([[30.3, 51.7], [65.5, 51.7], [48.0, 71.7], [33.5, 92.4], [62.7, 92.4]]) + 30.0
    picture = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    for column, row in np.rint(upright).astype(int):
        picture[row - 1 : row + 2, column - 1 : column + 2] = DOT
    engine = Keeping(size_px=(128, 128))
    embed(arena, picture, (spec(stretched=True, mirrored=False), engine), landmarks_px=upright)
    (face,) = engine.batch
    for column, row in wanted:
        rows, columns = np.indices(face.shape[:2])
        near = np.hypot(rows - row, columns - column) < 8
        light = face[..., 0] * near
        assert (light * rows).sum() / light.sum() == pytest.approx(row, abs=1.0)
        assert (light * columns).sum() / light.sum() == pytest.approx(column, abs=1.0)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_mirrored_face_has_the_same_features_if_and_only_if_the_manifest_averages(
    arena: Arena,
    mirrored: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    # The other way round, left and right of the landmarks exchange their names too.
    exchanged = (LANDMARKS_PX * [-1, 1] + [SIDE_PX - 1, 0])[[1, 0, 2, 4, 3]]
    symmetric = spec(mirrored=mirrored)
    template = np.array(symmetric.template_px)
    template = (template + (template * [-1, 1] + [111, 0])[[1, 0, 2, 4, 3]]) / 2
    symmetric = symmetric.model_copy(update={"template_px": tuple(map(tuple, template.tolist()))})
    plain = embed(arena, NOISE, (symmetric, FakeEngine()))
    turned = embed(arena, NOISE[:, ::-1], (symmetric, FakeEngine()), landmarks_px=exchanged)
    assert bool(np.dot(plain, turned) > 0.999) is mirrored


def test_features_that_are_no_numbers_become_zeros(arena: Arena) -> None:
    assert not embed(arena, NOISE, (spec(), Overflowing())).any()


def symmetric_spec(*, mirrored: bool = True) -> EmbedderSpec:
    """With a template that its mirror image is equal to."""
    released = spec(mirrored=mirrored)
    template = np.array(released.template_px)
    template = (template + (template * [-1, 1] + [111, 0])[[1, 0, 2, 4, 3]]) / 2
    return released.model_copy(update={"template_px": tuple(map(tuple, template.tolist()))})


def quality_of(arena: Arena, picture: NDArray[np.uint8], embedder: EmbedderSpec) -> Quality:
    """Of a face that lies straight on the template."""
    upright = np.array(embedder.template_px) + (SIDE_PX - 112) // 2
    return embed_and_judge(arena, picture, (embedder, FakeEngine()), landmarks_px=upright)[1]


def test_a_face_that_disagrees_with_its_mirror_image_is_worth_less(arena: Arena) -> None:
    embedder = symmetric_spec()
    alike = ((NOISE.astype(int) + NOISE[:, ::-1]) // 2).astype(np.uint8)
    nearly = ((alike.astype(int) * 9 + NOISE) // 10).astype(np.uint8)
    same, near, not_at_all = (quality_of(arena, picture, embedder) for picture in (alike, nearly, NOISE))
    assert same.stability == pytest.approx(1, abs=0.01)
    assert same.stability > near.stability > not_at_all.stability > 0
    assert same.value > near.value > not_at_all.value > 0


def test_stability_is_the_share_of_the_way_from_the_threshold_to_1(arena: Arena) -> None:
    embedder = symmetric_spec()
    plain, turned = (
        embed(arena, picture, (embedder.model_copy(update={"mirrored": False}), FakeEngine()), landmarks_px=upright)
        for upright in [np.array(embedder.template_px) + (SIDE_PX - 112) // 2]
        for picture in (BLURRED, BLURRED[:, ::-1])
    )
    threshold = load_engine_set("yunet-duo").threshold
    share = (float(plain @ turned) - threshold) / (1 - threshold)
    assert quality_of(arena, BLURRED, embedder).stability == pytest.approx(share, abs=0.01)


def test_without_a_mirror_image_stability_says_nothing(arena: Arena) -> None:
    assert quality_of(arena, NOISE, symmetric_spec(mirrored=False)).stability == 1


def test_magnitude_is_the_length_of_the_features_over_a_portraits(arena: Arena) -> None:
    embedder = symmetric_spec()
    full, half = (quality_of(arena, picture, embedder).magnitude for picture in (BLURRED, BLURRED // 2))
    assert half == pytest.approx(full / 2, rel=0.05)
    assert embedder.typical_length is not None
    shorter = embedder.model_copy(update={"typical_length": embedder.typical_length / 4})
    assert quality_of(arena, BLURRED, shorter).magnitude == pytest.approx(4 * full)
    unknown = embedder.model_copy(update={"typical_length": None})
    assert quality_of(arena, BLURRED, unknown).magnitude == 1
