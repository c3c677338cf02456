"""What the van's log hears of a period of recognition."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.audit.fields import Event
from lfr_edge.clock import ManualClock
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.examples import ORDER
from lfr_edge.messages.ids import uuid7
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.evidence import Match
from lfr_edge.van.period_log import CameraLog, LoggedSealer
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.references import Candidate

SET = load_engine_set("yunet-mobilefacenet")
CLOCK = ManualClock()
PIXELS = np.zeros((4, 4, 3), np.uint8)


class FakeSealer:
    """Seals nothing; or fails."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.alert = SealedAlert(uuid7(), CLOCK.utc(), "van-1", ORDER.force, ORDER.id, b"sealed")
        self.test_pass = SealedPass(uuid7(), CLOCK.utc(), "van-1", ORDER.force, ORDER.id, b"sealed")

    def seal(self, _match: Match, _sample: NDArray[Any], _context: NDArray[Any]) -> SealedAlert:
        if self.fault:
            raise self.fault
        return self.alert

    def seal_pass(self, _match: Match) -> SealedPass:
        if self.fault:
            raise self.fault
        return self.test_pass


def entry(identifier: str) -> Entry:
    return Entry(
        id=identifier,
        category="wanted",
        response="red",
        legal_basis="test",
        source="rendered",
        captured=date(2026, 1, 1),
        picture=PictureMember(offset=0, length=1, key="0" * 64),
    )


def test_an_alert_is_noted_with_what_was_compared_and_whom_it_was_nearly_taken_for() -> None:
    noted: list[Event] = []
    sealer = FakeSealer()
    first, second = Candidate(entry("W-1"), 1, 0.7, 0.05), Candidate(entry("W-2"), 2, 0.4)
    match = Match(first, second, 3, "north", CLOCK.utc())
    assert LoggedSealer(sealer, ORDER, SET, noted.append).seal(match, PIXELS, PIXELS) is sealer.alert
    (event,) = noted
    assert event.model_dump(include={"alert", "entry", "runner_up", "score", "margin", "samples", "camera"}) == {
        "alert": sealer.alert.id,
        "entry": "W-1",
        "runner_up": "W-2",
        "score": "0.6500",
        "margin": "0.3000",
        "samples": 3,
        "camera": "north",
    }


def test_a_test_pass_is_noted_as_one_and_not_as_an_alert() -> None:
    noted: list[Event] = []
    sealer = FakeSealer()
    match = Match(Candidate(entry("B-1"), 1, 0.7, 0.05), Candidate(entry("W-2"), 2, 0.4), 3, "north", CLOCK.utc())
    assert LoggedSealer(sealer, ORDER, SET, noted.append).seal_pass(match) is sealer.test_pass
    (event,) = noted
    told = event.model_dump(include={"kind", "test_pass", "entry", "score", "camera"})
    assert told == {
        "kind": "test-pass",
        "test_pass": sealer.test_pass.id,
        "entry": "B-1",
        "score": "0.6500",
        "camera": "north",
    }
    sealer.fault = ValueError("no key")
    with pytest.raises(ValueError, match="no key"):
        LoggedSealer(sealer, ORDER, SET, noted.append).seal_pass(match)
    assert noted == [event]


def test_an_alert_that_could_not_be_sealed_is_not_noted() -> None:
    noted: list[Event] = []
    sealer = FakeSealer()
    sealer.fault = ValueError("no picture")
    match = Match(Candidate(entry("W-1"), 1, 0.7), None, 3, "north", CLOCK.utc())
    with pytest.raises(ValueError, match="no picture"):
        LoggedSealer(sealer, ORDER, SET, noted.append).seal(match, PIXELS, PIXELS)
    assert noted == []


def test_a_camera_is_noted_when_it_is_lost_and_when_it_is_back_and_not_in_between() -> None:
    noted: list[Any] = []
    north, south = SimpleNamespace(last_error=""), SimpleNamespace(last_error="")
    log = CameraLog({"north": north, "south": south}, "order-1", noted.append)  # type: ignore[dict-item]  # all it asks
    for error in ("", "timed out", "refused", "", ""):
        north.last_error = error
        log.look()
    assert [(event.camera, event.seeing, event.order) for event in noted] == [
        ("north", False, "order-1"),
        ("north", True, "order-1"),
    ]
