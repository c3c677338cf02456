"""While a face is recognised, no array outside the arena is the size of a face, of features, or of a picture."""

import numpy as np
import pytest
from support.heap import Allocation, allocations

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import TEMPLATES
from lfr_edge.cli.demo_scene import CLIP
from lfr_edge.clock import SystemClock
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.decide import Decider, Rule
from lfr_edge.pipeline.evidence import Match
from lfr_edge.pipeline.frame_source import Frame
from lfr_edge.pipeline.recognise import Recogniser, View
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.references import Watchlist

# Features of the smallest engine set are 128 float32. Below that is geometry: boxes, landmarks, counts.
SMALLEST_FEATURES_BYTES = 512
ENTRIES = 5000
# Where boxes, landmarks and confidences of all candidates are gathered before suppression: numbers about places only.
GEOMETRY = {"detection.py"}
STEPS = 40


class NobodyMatches:
    """An `EvidenceSealer` for a list of noise."""

    def seal(self, match: Match, sample: object, context: object) -> SealedAlert:
        del sample, context
        raise AssertionError(f"noise matched with {match.candidate.score}")

    def seal_pass(self, match: Match) -> SealedPass:
        raise AssertionError(f"noise matched with {match.candidate.score}")


@pytest.fixture(scope="module", params=[1, 3], ids=["full-looks", "glances"])
def recorded(
    request: pytest.FixtureRequest, engine_set: EngineSet, engine_store: EngineStore
) -> tuple[list[Allocation], int]:
    """Everything that recognising STEPS pictures of the street allocates, and how many faces were embedded."""
    arena = Arena(160 << 20)
    extractor = open_extractor(engine_set, engine_store, arena, threads=2)
    decider = Decider(Rule(threshold=0.9, margin=0.0, confirmation=2, cooldown_s=60.0))
    watchlist = _noise(arena, extractor.dimension)
    recogniser = Recogniser(
        extractor, watchlist, decider, NobodyMatches(), {"street": View(full_look_every=request.param)}
    )
    camera = AvCamera(CameraSettings("street", str(CLIP), "full-speed"), arena, SystemClock())
    seen: list[Allocation] = []
    for index in range(2 * STEPS):
        frame = camera.read()
        assert frame is not None
        timed = Frame(frame.camera, frame.sequence, index * 40_000_000, frame.captured_at, frame.image)
        if index < STEPS:  # the first inference of each shape fills the engines' tables of shapes
            recogniser.step(timed)
        else:
            seen += allocations(lambda timed=timed: recogniser.step(timed))  # type: ignore[misc]
    embeddings = recogniser.counts.embeddings
    camera.close()
    recogniser.close()
    return seen, embeddings


def _noise(arena: Arena, dimension: int) -> Watchlist:
    templates = arena.lease(TEMPLATES, (ENTRIES, dimension), np.float32)
    random = np.random.default_rng(1).normal(size=(ENTRIES, dimension)).astype(np.float32)
    templates.array[:] = random / np.linalg.norm(random, axis=1, keepdims=True)
    entry = Entry.model_construct(id="nobody", picture=PictureMember(offset=0, length=16, key="00" * 32))
    return Watchlist((entry,) * ENTRIES, templates, np.arange(ENTRIES, dtype=np.int32))


def test_the_steps_recognised_faces(recorded: tuple[list[Allocation], int]) -> None:
    assert recorded[1] > STEPS / 4


def test_only_geometry_is_allocated(recorded: tuple[list[Allocation], int]) -> None:
    large = {a for a in recorded[0] if a.size >= SMALLEST_FEATURES_BYTES and a.file not in GEOMETRY}
    assert not large


def test_a_planted_copy_is_recorded() -> None:
    face = np.zeros((112, 112, 3), np.uint8)
    (copied,) = allocations(face.copy)
    assert copied.size == face.nbytes


def test_reading_a_picture_allocates_no_picture() -> None:
    arena = Arena(32 << 20)
    camera = AvCamera(CameraSettings("street", str(CLIP), "full-speed"), arena, SystemClock())
    first = camera.read()
    assert first is not None
    first.release()

    def read() -> None:
        frame = camera.read()
        assert frame is not None
        frame.release()

    assert not [a for a in allocations(read) if a.size >= SMALLEST_FEATURES_BYTES]
    camera.close()
