"""Every evidence sealer makes one alert of one match, and leaves nothing of the pictures behind in itself.

What is in the van's alerts, and who can open them: `tests/unit/adapters/test_evidence.py`.
"""

import gc
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from lfr_edge.adapters.evidence import JpegEvidenceSealer
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.biometrics.retention import EVIDENCE
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.evaluation.playing import Recorder
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.messages.examples import JPEG, ORDER
from lfr_edge.pipeline.evidence import EvidenceSealer, Match
from lfr_edge.pipeline.frame_source import FakeFrameSource
from lfr_edge.van.period_log import LoggedSealer
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.pictures import PictureStore, write_pictures
from lfr_edge.watchlist.references import Candidate
from lfr_edge.watchlist.span import Span

CLOCK = ManualClock()


@pytest.fixture
def arena() -> Arena:
    return Arena(16 << 20, memory_lock=FakeMemoryLock(allow=False))


def _match(picture: PictureMember) -> Match:
    entry = Entry(
        id="W-0042",
        category="wanted",
        response="red",
        legal_basis="test",
        source="rendered",
        captured=date(2026, 1, 1),
        picture=picture,
    )
    return Match(Candidate(entry, 1, 0.7), None, 3, "north", CLOCK.utc() - timedelta(milliseconds=40))


@pytest.fixture(params=["jpeg", "logged", "recorder"])
def bench(request: pytest.FixtureRequest, arena: Arena, tmp_path: Path) -> Iterator[tuple[EvidenceSealer, Match]]:
    """A sealer, and a match that it can seal."""
    path = tmp_path / "pictures.bin"
    with path.open("w+b") as file:
        match = _match(write_pictures(file, [("W-0042", JPEG)])["W-0042"])
        file.flush()
        if request.param != "recorder":
            pictures = PictureStore(Span(file, 0, file.tell()))
            room = SealIdentity.generate()
            order = ORDER.model_copy(update={"recipients": (room.recipient,)})
            engine_set = load_engine_set("yunet-mobilefacenet")
            sealer = JpegEvidenceSealer("van-1", order, engine_set, pictures, SigningKey.generate(), CLOCK)
            logged = LoggedSealer(sealer, order, engine_set, lambda _: None)
            yield logged if request.param == "logged" else sealer, match
            return
        recorder = Recorder(lambda _frame, _context: None)
        recorder.frame = FakeFrameSource("north", [np.zeros((8, 8, 3), np.uint8)], arena, CLOCK).read()
        assert recorder.frame is not None
        yield recorder, match
        recorder.frame.release()


def test_nothing_is_kept_or_changed_of_the_pictures(bench: tuple[EvidenceSealer, Match], arena: Arena) -> None:
    sealer, match = bench
    before = arena.leased_bytes
    with arena.lease(EVIDENCE, (60, 40, 3)) as sample, arena.lease(EVIDENCE, (72, 128, 3)) as context:
        sample.array[:], context.array[:] = 200, 128
        sealer.seal(match, sample.array, context.array)
        assert (sample.array == 200).all()
        assert (context.array == 128).all()
        gc.collect()  # leaving the block finds a kept view
    assert arena.leased_bytes == before


def test_each_alert_has_an_id_of_its_own_and_the_time_of_its_match(
    bench: tuple[EvidenceSealer, Match], arena: Arena
) -> None:
    sealer, match = bench
    with arena.lease(EVIDENCE, (60, 40, 3)) as sample, arena.lease(EVIDENCE, (72, 128, 3)) as context:
        first, second = (sealer.seal(match, sample.array, context.array) for _ in range(2))
    assert first.id < second.id
    for alert in (first, second):
        assert alert.time.utcoffset() == timedelta(0)
        assert match.captured_at <= alert.time <= CLOCK.utc()
