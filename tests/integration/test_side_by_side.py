"""Two pictures under way at once, with real engines: the same alerts as one at a time, and nothing is left over."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.adapters.engines import open_extractor
from lfr_edge.adapters.photos import read_photo
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import FRAME, TEMPLATES
from lfr_edge.cli.demo_scene import CLIP
from lfr_edge.clock import ManualClock, SystemClock
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.decide import Decider, Rule
from lfr_edge.pipeline.evidence import Match
from lfr_edge.pipeline.frame_source import Frame
from lfr_edge.pipeline.mailbox import Mailbox
from lfr_edge.pipeline.recognise import Recogniser, Step, View
from lfr_edge.van.stages import Recognition, capture
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.references import Watchlist

LISTED = ("P03", "P33", "P56", "P57")
PICTURES = 260


class Street(AvCamera):
    """The demo's clip, its pictures 40 ms apart however fast they are read."""

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None or frame.sequence < PICTURES:
            return frame and replace(frame, captured_ns=frame.sequence * 40_000_000)
        frame.release()
        return None


class Noting:
    """An `EvidenceSealer` that notes who matched, and how well."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, int]] = []  # whose, and over how many faces
        self.scores: list[float] = []

    def seal(self, match: Match, sample: object, context: object) -> SealedAlert:
        del sample, context
        self.alerts.append((match.candidate.entry.id, match.faces))
        self.scores.append(match.candidate.score)
        return SealedAlert(f"id-{len(self.alerts)}", match.captured_at, "van-1", "force-1", "order-1", b"sealed")

    def seal_pass(self, match: Match) -> SealedPass:
        raise AssertionError(f"{match.candidate.entry.id} is no volunteer")


@pytest.fixture
def arena() -> Iterator[Arena]:
    """An arena that must have everything back, wiped, at the end of the test."""
    arena = Arena(96 << 20)
    yield arena
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


def parts(
    engine_set: EngineSet, engine_store: EngineStore, arena: Arena, *, lanes: int
) -> tuple[Any, Watchlist, Decider, Noting, dict[str, View]]:
    """What a recogniser is made of; four people of the clip are listed."""
    extractor = open_extractor(engine_set, engine_store, arena, threads=lanes)
    templates = arena.lease(TEMPLATES, (len(LISTED), extractor.dimension), np.float32)
    for row, name in enumerate(LISTED):
        photo = read_photo(CLIP.parent / "photos" / f"{name}.jpg", arena, FRAME)
        with photo.lease:
            extractor.embed(photo, extractor.detect(photo)[:1], out=templates.array[row : row + 1])
    picture = PictureMember(offset=0, length=16, key="00" * 32)
    entries = tuple(Entry.model_construct(id=name, response="red", picture=picture) for name in LISTED)
    watchlist = Watchlist(entries, templates, np.arange(len(LISTED), dtype=np.int32))
    decider = Decider(Rule(engine_set.threshold, margin=0.05, confirmation=2, cooldown_s=60.0))
    return extractor, watchlist, decider, Noting(), {"north": View(), "south": View(), "west": View()}


def street(arena: Arena, camera: str) -> Street:
    return Street(CameraSettings(camera, str(CLIP), "full-speed"), arena, SystemClock())


def test_two_at_once_alert_as_one_at_a_time(engine_set: EngineSet, engine_store: EngineStore, arena: Arena) -> None:
    extractor, watchlist, decider, noting, views = parts(engine_set, engine_store, arena, lanes=1)
    recogniser, camera = Recogniser(extractor, watchlist, decider, noting, views), street(arena, "north")
    while (frame := camera.read()) is not None:
        recogniser.step(frame)
    camera.close()
    recogniser.close()
    watchlist.wipe()
    expected, counts = noting, recogniser.counts

    extractor, watchlist, decider, noting, views = parts(engine_set, engine_store, arena, lanes=2)
    recogniser = Recogniser(extractor, watchlist, decider, noting, views)
    mailbox = Mailbox(views, lossless=views)
    recognition = Recognition(recogniser, mailbox, ManualClock(), lambda _alert: None)
    running = threading.Thread(target=recognition.run)
    running.start()
    capture("north", street(arena, "north"), mailbox, threading.Event())
    recognition.finish()
    running.join(60)
    watchlist.wipe()
    assert len(expected.alerts) >= 2
    assert noting.alerts == expected.alerts
    assert noting.scores == pytest.approx(expected.scores, abs=1e-4)
    assert recogniser.counts == counts


class FailingRecogniser(Recogniser):
    """Fails at its first picture while others are under way."""

    started = 0

    def start(self, frame: Frame) -> Step:
        self.started += 1
        return super().start(frame)

    def finish(self, _step: Step) -> list[SealedMatch]:
        assert self.started == 3
        raise ZeroDivisionError("a fault")


def test_a_fault_leaves_nothing_of_the_pictures_under_way(
    engine_set: EngineSet, engine_store: EngineStore, arena: Arena
) -> None:
    extractor, watchlist, decider, noting, views = parts(engine_set, engine_store, arena, lanes=2)
    recogniser = FailingRecogniser(extractor, watchlist, decider, noting, views)
    mailbox = Mailbox(views, lossless=views)
    for name in views:
        camera = street(arena, name)
        frame = camera.read()
        assert frame is not None
        mailbox.put(frame)
        camera.close()
    with pytest.raises(ZeroDivisionError):
        Recognition(recogniser, mailbox, ManualClock(), lambda _alert: None).run()
    watchlist.wipe()
