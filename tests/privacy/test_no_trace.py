"""A passer-by leaves nothing: the real daemon, a face that is on no list, and a search through everything it wrote.

Nor does a volunteer's face: recognised, it becomes a test pass without a picture, and is forgotten like any other.

The face is rendered and the clip lossless, so that its pixel rows are known to the byte. While it is in view the scan
must find it where the retention table says that it is; after the rows' deadlines, with the camera still running, it
must find nothing, anywhere. The same scan of a daemon with planted faults must find those.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from support.memory import Trace, traces
from support.van import THE_DAEMON, Van, as_volunteer, running_van

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import TABLE, TEMPLATES, TRACK
from lfr_edge.cli.demo_scene import EXAMPLES, Footage, rows_of
from lfr_edge.clock import SystemClock
from lfr_edge.control_room.watch import ReceivedPass
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.vision import alignment

PASSER_BY, COMPANION = "P25", "P24"
FPS, SEEN_S, AFTER_S = 25, 8, 60
# The longest any row may keep a face that has gone: a track ends 1 s after it was last seen; its other bound, 11 s, is
# for a face that stays.
DEADLINE_S = max(row.bound_s for row in TABLE if row.bound_s is not None and row is not TRACK) + 1.0
SLACK_S = 1.5  # a busy machine


@dataclass(frozen=True)
class Canary:
    """What to look for."""

    clip: Path
    needles: dict[str, bytes]
    features: dict[str, NDArray[Any]]


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "somebody-stays"])
def canary(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    engine_set: EngineSet,
    engine_store: EngineStore,
) -> Canary:
    clip = _write_clip(tmp_path_factory.mktemp("canary") / "passer-by.mkv", somebody_stays=request.param)
    arena = Arena(64 << 20)
    extractor = open_extractor(engine_set, engine_store, arena, threads=2)
    camera = AvCamera(CameraSettings("street", str(clip), "full-speed"), arena, SystemClock())
    frame = camera.read()
    assert frame is not None
    face = min(extractor.detect(frame.image), key=lambda found: found.box_px.left)
    pixels = np.array(frame.image.pixels)
    joined = np.zeros((1, extractor.dimension), np.float32)
    extractor.embed(frame.image, [face], out=joined)
    embedder = engine_set.embedders[0]
    crop = np.zeros((embedder.size_px[1], embedder.size_px[0], 3), np.uint8)
    matrix = alignment.similarity(face.landmarks_px, np.asarray(embedder.template_px))
    alignment.warp(frame.image.pixels, matrix, out=crop, workspace=arena)
    frame.release()
    camera.close()
    extractor.close()
    x, y = (int(value) for value in face.landmarks_px[2])  # around the nose tip
    middle = crop.shape[0] // 2
    needles = {
        "picture": pixels[y, x - 12 : x + 12].tobytes(),
        "picture, float": pixels[y, x - 12 : x + 12, 0].astype(np.float32).tobytes(),
        "luma": _luma_row(clip, x, y),
        "aligned face": crop[middle, middle - 12 : middle + 12].tobytes(),
    }
    for name, needle in needles.items():
        assert len(set(needle)) > 8, f"{name} is too plain to be a canary"
    row = (crop[middle, :, 1] - embedder.mean[1]).astype(np.float32)  # green: in the middle of RGB and of BGR
    return Canary(clip, needles, {"features": joined[0], "aligned face, normalised": row})


def _write_clip(path: Path, *, somebody_stays: bool) -> Path:
    """The passer-by for SEEN_S seconds, then the same street without for AFTER_S; lossless H.264.

    A companion who stays has the larger face, so that the passer-by comes second in every batch.
    """
    noise = np.random.default_rng(7).integers(90, 150, (480, 640, 3), dtype=np.uint8)
    if somebody_stays:
        _paste(noise, COMPANION, 320, (300, 360))
    with_face = noise.copy()
    _paste(with_face, PASSER_BY, 20, (260, 312))
    with av.open(str(path), "w") as container:
        options = {"qp": "0", "preset": "ultrafast", "g": "25"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for index in range(FPS * (SEEN_S + AFTER_S)):
            picture = with_face if index < FPS * SEEN_S else noise
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def _paste(street: NDArray[np.uint8], person: str, left: int, size_px: tuple[int, int]) -> None:
    photo = np.asarray(Pillow.open(EXAMPLES / "photos" / f"{person}.jpg").convert("RGB").resize(size_px))
    grain = np.random.default_rng(8).integers(0, 12, photo.shape, dtype=np.uint8)
    street[60 : 60 + size_px[1], left : left + size_px[0]] = np.minimum(photo, 243) + grain


def _luma_row(clip: Path, x: int, y: int) -> bytes:
    with av.open(str(clip)) as container:
        plane = next(container.decode(video=0)).planes[0]
        start = y * plane.line_size + x - 16
        return bytes(plane)[start : start + 32]


@pytest.fixture
def van_with_passer_by(
    request: pytest.FixtureRequest, tmp_path: Path, canary: Canary, engine_set: EngineSet, engine_store: EngineStore
) -> Iterator[Van]:
    rows = [row for row in rows_of(None) if row.particulars.id not in (PASSER_BY, COMPANION)]
    footage = Footage(str(canary.clip), "live", frozenset())
    program = getattr(request, "param", THE_DAEMON)
    with running_van(tmp_path / "van", engine_set, engine_store, footage, rows=rows, program=program) as van:
        yield van


@pytest.fixture
def van_with_volunteer(
    tmp_path: Path, canary: Canary, engine_set: EngineSet, engine_store: EngineStore
) -> Iterator[Van]:
    listed = {row.particulars.id: row for row in rows_of(None) if row.particulars.id != COMPANION}
    # Enrolled from a narrower picture than that in the clip: the template, which stays, scores .87 with the probe, and
    # the scan finds what scores .95.
    photo = Pillow.open(EXAMPLES / "photos" / f"{PASSER_BY}.jpg")
    photo.resize((photo.width * 7 // 10, photo.height)).save(tmp_path / "volunteer.png")
    listed[PASSER_BY] = as_volunteer(replace(listed[PASSER_BY], photo=tmp_path / "volunteer.png"))
    footage = Footage(str(canary.clip), "live", frozenset())
    with running_van(tmp_path / "van", engine_set, engine_store, footage, rows=list(listed.values())) as van:
        yield van


def scan(van: Van, canary: Canary) -> list[Trace]:
    with van.frozen() as pid:
        return traces(pid, canary.needles, canary.features)


def wait_until_forgotten(van: Van) -> None:
    van.wait(lambda: van.frames_read() > FPS * SEEN_S)
    time.sleep(DEADLINE_S + SLACK_S)
    assert van.process.poll() is None, "the camera must still be running"


def test_a_passer_by_is_nowhere_after_the_deadlines(van_with_passer_by: Van, canary: Canary) -> None:
    van = van_with_passer_by
    nothing_is_left(van, canary)
    assert van.events == []


@pytest.mark.parametrize(
    "canary",
    [pytest.param(False, marks=pytest.mark.slow, id="alone"), pytest.param(True, id="somebody-stays")],
    indirect=True,
)
def test_a_volunteer_who_was_recognised_is_nowhere_after_the_deadlines_but_in_a_test_pass(
    van_with_volunteer: Van, canary: Canary
) -> None:
    van = van_with_volunteer
    nothing_is_left(van, canary)
    assert [type(event) for event in van.events] == [ReceivedPass] * len(van.events) != []
    (entry,) = {event.volunteer_pass.entry for event in van.events if isinstance(event, ReceivedPass)}
    assert entry == PASSER_BY


def nothing_is_left(van: Van, canary: Canary) -> None:
    """While the face is in view it is found; after the deadlines it is nowhere, and was written nowhere."""
    van.wait(lambda: van.health and van.health[-1].tracks > 0 and van.frames_read() > FPS)
    seen = {trace.what for trace in scan(van, canary)}
    assert {"luma", "features"} <= seen, f"the scan must find what is in view; it found only {seen}"

    wait_until_forgotten(van)
    assert scan(van, canary) == []

    assert van.stop() == 0, van.log
    assert van.health[-1].faces_detected > 0
    state = van.scene.folder / "state"
    assert {path.name for path in state.iterdir()} <= {"outbox.sqlite", "outbox.sqlite-wal", "outbox.sqlite-shm"}
    written = [path.read_bytes() for path in state.iterdir()] + [van.log_file.read_bytes(), *van.payloads]
    for content in written:
        assert b"\xff\xd8\xff" not in content, "a JPEG was written"
        assert not [name for name, needle in canary.needles.items() if needle in content]
    assert PASSER_BY not in van.log


@pytest.mark.parametrize(
    "van_with_passer_by", [(str(Path(__file__).parents[1] / "support/leaky_van.py"),)], indirect=True
)
def test_the_same_scan_finds_a_planted_leak(van_with_passer_by: Van, canary: Canary) -> None:
    van = van_with_passer_by
    wait_until_forgotten(van)
    found = {trace.what for trace in scan(van, canary)}
    assert {"picture", "features"} <= found


def test_templates_are_the_only_row_without_a_deadline() -> None:
    assert [row for row in TABLE if row.bound_s is None] == [TEMPLATES]
