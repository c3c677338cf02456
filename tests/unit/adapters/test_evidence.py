"""The sanctioned copy out: what is in a sealed alert, who can open it, and that nothing else keeps the pictures."""

import gc
import io
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydantic import ValidationError

from lfr_edge.adapters.evidence import JpegEvidenceSealer
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import EVIDENCE
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import UntrustedInputError
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.messages.alert import Alert, open_alert
from lfr_edge.messages.examples import ALERT, JPEG, ORDER
from lfr_edge.messages.volunteer_pass import open_pass
from lfr_edge.pipeline.evidence import Match
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.pictures import PictureStore, write_pictures
from lfr_edge.watchlist.references import Candidate
from lfr_edge.watchlist.span import Span

CLOCK = ManualClock()


class Bench:
    """One sealer, the control room that reads it, and a match."""

    def __init__(self) -> None:
        file = io.BytesIO()
        members = write_pictures(file, [("W-0042", JPEG)])
        self.file = file
        entry = Entry(
            id="W-0042",
            category="wanted",
            response="red",
            legal_basis="test",
            source="rendered",
            captured=date(2026, 1, 1),
            picture=members["W-0042"],
        )
        self.control_room, self.key = SealIdentity.generate(), SigningKey.generate()
        self.order = ORDER.model_copy(update={"recipients": (self.control_room.recipient,), "alert_expiry_h": 2.0})
        self.match = Match(Candidate(entry, 1, 0.7), None, 3, "north", CLOCK.utc())

    def sealer(self, pictures: PictureStore) -> JpegEvidenceSealer:
        engine_set = load_engine_set("yunet-mobilefacenet")
        return JpegEvidenceSealer("van-1", self.order, engine_set, pictures, self.key, CLOCK)

    def seal(self, pictures: PictureStore, sample_shape: tuple[int, ...] = (60, 40, 3)) -> Alert:
        sealer, arena = self.sealer(pictures), Arena(16 << 20)
        with arena.lease(EVIDENCE, sample_shape) as sample, arena.lease(EVIDENCE, (720, 1280, 3)) as context:
            sample.array[:] = (10, 60, 200)  # BGR: a red
            context.array[:] = 128
            sealed = sealer.seal(self.match, sample.array, context.array)  # leaving the block would find a kept view
        gc.collect()
        assert arena.leased_bytes == 0
        return open_alert(sealed, self.control_room, {"van-1": self.key.public}, now=CLOCK.utc())


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def pictures(bench: Bench, tmp_path: Path) -> Iterator[PictureStore]:
    path = tmp_path / "pictures.bin"
    path.write_bytes(bench.file.getvalue())
    with path.open("rb") as file:
        yield PictureStore(Span(file, 0, path.stat().st_size))


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(Pillow.open(io.BytesIO(jpeg)))


def test_the_control_room_sees_the_match_and_its_pictures(bench: Bench, pictures: PictureStore) -> None:
    alert = bench.seal(pictures)
    assert (alert.entry, alert.score, alert.faces, alert.camera) == ("W-0042", 0.7, 3, "north")
    assert alert.margin is None
    assert alert.order == bench.order.id
    assert alert.expires_at - alert.decided_at == timedelta(hours=2)
    assert alert.reference == JPEG
    red, green, blue = decoded(alert.sample).reshape(-1, 3).mean(axis=0)
    assert (round(red, -1), round(green, -1), round(blue, -1)) == (200, 60, 10)


def test_the_score_may_be_lowered_and_the_margin_is_of_cosines(bench: Bench, pictures: PictureStore) -> None:
    entry = bench.match.candidate.entry
    first, second = Candidate(entry, 1, 0.75, 0.05), Candidate(entry.model_copy(update={"id": "W-7"}), 2, 0.5, 0.04)
    bench.match = Match(first, second, 3, "north", CLOCK.utc())
    alert = bench.seal(pictures)
    assert (alert.score, alert.margin) == (pytest.approx(0.7), 0.25)


def test_a_large_sample_is_made_smaller_in_proportion(bench: Bench, pictures: PictureStore) -> None:
    assert decoded(bench.seal(pictures, (1600, 1200, 3)).sample).shape == (640, 480, 3)
    assert decoded(bench.seal(pictures).context).shape == (540, 960, 3)


def test_every_alert_has_an_id_and_a_token_of_its_own(bench: Bench, pictures: PictureStore) -> None:
    first, second = bench.seal(pictures), bench.seal(pictures)
    assert first.id < second.id
    assert first.ack_token != second.ack_token


def test_a_picture_of_another_entry_is_never_shown(bench: Bench, pictures: PictureStore) -> None:
    other = bench.match.candidate.entry.model_copy(update={"id": "W-0043"})
    bench.match = Match(Candidate(other, 1, 0.7), None, 3, "north", CLOCK.utc())
    with pytest.raises(UntrustedInputError):
        bench.seal(pictures)


def volunteers_match(bench: Bench) -> Match:
    entry = Entry(
        **(
            dict(bench.match.candidate.entry)
            | {"response": "test-pass", "rationale": "agreed", "expires": date(2027, 1, 1), "picture": None}
        )
    )
    return Match(Candidate(entry, 1, 0.75, 0.05), Candidate(entry, 2, 0.5), 3, "north", CLOCK.utc())


def test_a_volunteers_match_can_never_be_sealed_as_an_alert(bench: Bench, pictures: PictureStore) -> None:
    bench.match = volunteers_match(bench)
    with pytest.raises(RuntimeError, match="about to become an alert"):
        bench.seal(pictures)
    with pytest.raises(RuntimeError, match="volunteer"):
        pictures.open(bench.match.candidate.entry)
    with pytest.raises(ValidationError, match="response"):
        Alert(**(dict(ALERT) | {"response": bench.match.candidate.entry.response}))


def test_a_match_that_is_no_volunteers_can_never_be_sealed_as_a_test_pass(bench: Bench, pictures: PictureStore) -> None:
    with pytest.raises(RuntimeError, match="no volunteer"):
        bench.sealer(pictures).seal_pass(bench.match)


def test_a_test_pass_says_what_the_rate_is_counted_from(bench: Bench, pictures: PictureStore) -> None:
    sealed = bench.sealer(pictures).seal_pass(volunteers_match(bench))
    passed = open_pass(sealed, bench.control_room, {"van-1": bench.key.public}, now=CLOCK.utc())
    assert (passed.entry, passed.camera, passed.statement) == ("W-0042", "north", "test pass")
    assert (passed.score, passed.margin, passed.threshold) == (pytest.approx(0.7), 0.25, bench.order.threshold)
    assert passed.expires_at - passed.decided_at == timedelta(hours=2)
    assert passed.watchlist_sha256 == bench.order.watchlist_sha256
