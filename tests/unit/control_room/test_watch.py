"""The watch without a broker: what is shown, once, and what is refused."""

import json
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from lfr_edge.clock import ManualClock
from lfr_edge.control_room import saving
from lfr_edge.control_room.display import block, json_line
from lfr_edge.control_room.watch import Event, ReceivedAlert, ReceivedPass, Refused, Watch
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.messages.alert import Alert, sign_and_seal
from lfr_edge.messages.examples import ALERT, JPEG, VOLUNTEER_PASS
from lfr_edge.messages.ids import uuid7
from lfr_edge.messages.volunteer_pass import VolunteerPass, sign_and_seal_pass
from lfr_edge.transport.packets import Incoming

ROOM, VAN = SealIdentity.generate(), SigningKey.generate()
ADDRESSED = Alert(**(dict(ALERT) | {"recipients": (ROOM.recipient,)}))
CIPHERTEXT = sign_and_seal(ADDRESSED, VAN, ADDRESSED.recipients).ciphertext
GENUINE = Incoming(
    topic="lfr/v1/example/van-1/alert",
    payload=CIPHERTEXT,
    properties={
        "specversion": "1.0",
        "id": ADDRESSED.id,
        "source": "lfr/v1/example/van-1",
        "type": "lfr-edge.alert.v1",
        "time": ADDRESSED.decided_at.isoformat(),
        "subject": ADDRESSED.order,
        "datacontenttype": "application/vnd.lfr-edge.alert+age",
    },
)


PASSED = VolunteerPass(**(dict(VOLUNTEER_PASS) | {"recipients": (ROOM.recipient,)}))
GENUINE_PASS = Incoming(
    topic="lfr/v1/example/van-1/test-pass",
    payload=sign_and_seal_pass(PASSED, VAN, PASSED.recipients).ciphertext,
    properties={
        **GENUINE.properties,
        "id": PASSED.id,
        "type": "lfr-edge.test-pass.v1",
        "time": PASSED.decided_at.isoformat(),
        "datacontenttype": "application/vnd.lfr-edge.test-pass+age",
    },
)


class Watched:
    """A watch and what it showed."""

    def __init__(self, late: timedelta = timedelta(seconds=1)) -> None:
        self.events: list[Event] = []
        clock = ManualClock(ADDRESSED.captured_at + late)
        self.watch = Watch(ROOM, {"van-1": VAN.public}, self.events.append, clock)


def _with(**properties: str) -> Incoming:
    return replace(GENUINE, properties={**GENUINE.properties, **properties})


def _printed(event: Event) -> str:
    terminal = Console(width=200, no_color=True)
    with terminal.capture() as captured:
        terminal.print(block(event))
    return captured.get()


def test_a_genuine_alert_is_shown() -> None:
    watched = Watched()
    watched.watch.receive(GENUINE)
    (event,) = watched.events
    assert isinstance(event, ReceivedAlert)
    assert event.alert == ADDRESSED
    assert not event.historical


@pytest.mark.parametrize(("seconds", "historical"), [(60, False), (60.001, True), (-5, False)])
def test_an_alert_is_historical_by_its_signed_time(seconds: float, *, historical: bool) -> None:
    watched = Watched(late=timedelta(seconds=seconds))
    watched.watch.receive(GENUINE)
    (event,) = watched.events
    assert isinstance(event, ReceivedAlert)
    assert event.historical is historical


@pytest.mark.parametrize("days", [1, 300])
def test_an_alert_that_comes_after_its_expiry_is_not_shown_even_as_historical(days: float) -> None:
    watched = Watched(late=timedelta(days=days, seconds=1))
    watched.watch.receive(GENUINE)
    (event,) = watched.events
    assert isinstance(event, Refused)
    assert event.reason is Reason.EXPIRED
    assert "REFUSED (expired)" in _printed(event)


@pytest.mark.parametrize(
    ("seconds", "told"), [(5, "0.0 s ago"), (5.5, "5.5 s IN THE FUTURE"), (7200, "2 h 0 min IN THE FUTURE")]
)
def test_an_alert_from_the_future_is_marked(seconds: float, told: str) -> None:
    watched = Watched(late=timedelta(seconds=-seconds))
    watched.watch.receive(GENUINE)
    (event,) = watched.events
    assert told in _printed(event)
    assert json.loads(json_line(event))["clock_ahead"] is (seconds > 5)


def test_an_alert_that_comes_again_is_shown_once() -> None:
    watched = Watched()
    for _ in range(3):
        watched.watch.receive(GENUINE)
    assert len(watched.events) == 1
    assert (watched.watch.shown, watched.watch.repeated, watched.watch.refused) == (1, 2, 0)


def test_a_forgery_under_an_id_does_not_hide_the_genuine_alert_of_that_id() -> None:
    watched = Watched()
    watched.watch.receive(replace(GENUINE, payload=b"forged"))
    watched.watch.receive(GENUINE)
    refused, shown = watched.events
    assert isinstance(refused, Refused)
    assert isinstance(shown, ReceivedAlert)


@pytest.mark.parametrize(
    ("untrusted", "reason"),
    [
        (_with(id=uuid7()), Reason.OUTER_INNER_DIFFER),
        (_with(subject="another"), Reason.OUTER_INNER_DIFFER),
        (_with(time="2026-06-20T09:12:00Z"), Reason.OUTER_INNER_DIFFER),
        (_with(source="lfr/v1/example/van-2"), Reason.OUTER_INNER_DIFFER),
        (replace(GENUINE, topic="lfr/v1/example/van-2/alert"), Reason.OUTER_INNER_DIFFER),
        (
            replace(_with(source="lfr/v1/example/van-2"), topic="lfr/v1/example/van-2/alert"),
            Reason.SIGNER_UNKNOWN,
        ),
        (_with(type="lfr-edge.alert.v2"), Reason.MALFORMED),
        (_with(time="yesterday"), Reason.MALFORMED),
        (_with(id="../../etc"), Reason.MALFORMED),
        (replace(GENUINE, properties={}), Reason.MALFORMED),
        (replace(GENUINE, topic="lfr/v1/example/van-1/status"), Reason.OUTER_INNER_DIFFER),
        (replace(GENUINE, topic="elsewhere"), Reason.MALFORMED),
        (replace(GENUINE, payload=b""), Reason.TRUNCATED),
        (replace(GENUINE, payload=CIPHERTEXT[:-1]), Reason.DECRYPTION_FAILED),
    ],
)
def test_what_is_no_genuine_alert_is_refused_with_its_reason(untrusted: Incoming, reason: Reason) -> None:
    watched = Watched()
    watched.watch.receive(untrusted)
    (event,) = watched.events
    assert isinstance(event, Refused)
    assert event.reason is reason
    assert (watched.watch.shown, watched.watch.refused) == (0, 1)


@given(payload=st.binary(max_size=300), properties=st.dictionaries(st.text(max_size=10), st.text(max_size=30)))
@settings(max_examples=60, deadline=None)
def test_garbage_from_the_bus_is_refused_and_never_crashes(payload: bytes, properties: dict[str, str]) -> None:
    watched = Watched()
    watched.watch.receive(replace(GENUINE, payload=payload, properties={**GENUINE.properties, **properties}))
    watched.watch.receive(replace(GENUINE, payload=payload, properties=properties))
    assert watched.watch.refused == 2


def test_a_test_pass_is_shown_once_as_what_it_is() -> None:
    watched = Watched(timedelta(minutes=3))
    for _ in range(2):
        watched.watch.receive_pass(GENUINE_PASS)
    (event,) = watched.events
    assert isinstance(event, ReceivedPass)
    assert event.volunteer_pass == PASSED
    assert (watched.watch.test_passes, watched.watch.shown, watched.watch.repeated) == (1, 0, 1)
    text = _printed(event)
    for expected in (
        "test pass, no alert: nothing to do",
        "volunteer B-0003",
        "0.660",
        "0.350 ahead",
        "north",
        PASSED.id,
    ):
        assert expected in text
    for alarming in ("possible match", "response", "HISTORICAL"):
        assert alarming not in text
    told = json.loads(json_line(event))
    assert (told["kind"], told["entry"], told["statement"]) == ("test-pass", "B-0003", "test pass")


@pytest.mark.parametrize(
    ("untrusted", "reason"),
    [
        (replace(GENUINE_PASS, topic="lfr/v1/example/van-1/alert"), Reason.OUTER_INNER_DIFFER),
        (replace(GENUINE_PASS, topic="lfr/v1/example/van-2/test-pass"), Reason.OUTER_INNER_DIFFER),
        (replace(GENUINE_PASS, properties={**GENUINE_PASS.properties, "id": uuid7()}), Reason.OUTER_INNER_DIFFER),
        (replace(GENUINE_PASS, payload=b""), Reason.TRUNCATED),
        (replace(GENUINE_PASS, payload=CIPHERTEXT), Reason.SIGNATURE_INVALID),
        (GENUINE, Reason.MALFORMED),
    ],
)
def test_what_is_no_genuine_test_pass_is_refused_with_its_reason(untrusted: Incoming, reason: Reason) -> None:
    watched = Watched(timedelta(minutes=3))
    watched.watch.receive_pass(untrusted)
    (event,) = watched.events
    assert isinstance(event, Refused)
    assert event.reason is reason
    assert (watched.watch.test_passes, watched.watch.refused) == (0, 1)


def test_a_test_pass_on_the_alerts_topic_is_refused_whatever_it_says_of_itself() -> None:
    watched = Watched(timedelta(minutes=3))
    watched.watch.receive(replace(GENUINE_PASS, topic="lfr/v1/example/van-1/alert"))
    outside = {**GENUINE_PASS.properties, "type": "lfr-edge.alert.v1"}
    outside["datacontenttype"] = GENUINE.properties["datacontenttype"]
    watched.watch.receive(replace(GENUINE_PASS, topic="lfr/v1/example/van-1/alert", properties=outside))
    assert [event.reason for event in watched.events if isinstance(event, Refused)] == [
        Reason.MALFORMED,
        Reason.SIGNATURE_INVALID,
    ]
    assert watched.watch.shown == 0


def test_attributes_that_others_add_are_ignored() -> None:
    watched = Watched()
    watched.watch.receive(_with(traceparent="00-1-2-00"))
    assert watched.watch.shown == 1


def test_an_alert_that_could_not_be_shown_is_not_taken_for_shown() -> None:
    def full_disk(_event: object) -> None:
        raise OSError(28, "No space left on device")

    watch = Watch(ROOM, {"van-1": VAN.public}, full_disk, ManualClock())
    with pytest.raises(OSError, match="No space"):
        watch.receive(GENUINE)
    assert watch.shown == 0


def _received(**change: object) -> ReceivedAlert:
    alert = Alert(**(dict(ADDRESSED) | change))
    return ReceivedAlert(alert, alert.captured_at + timedelta(hours=2, minutes=5), historical=True)


def test_the_block_says_what_an_operator_needs_and_only_that_it_is_possible() -> None:
    text = _printed(_received())
    for expected in ("possible match", "red", "W-0042", "wanted on warrant", "0.620", "0.500", "0.310", "W-0007"):
        assert expected in text
    for expected in ("north", "High Street", "van-1", ALERT.id, "HISTORICAL", "2 h 5 min ago"):
        assert expected in text
    assert ALERT.ack_token not in text


def test_a_list_of_one_has_no_next_candidate() -> None:
    assert "no other candidate" in _printed(_received(margin=None, runner_up=None))


def test_markup_in_a_category_is_shown_as_it_is() -> None:
    assert "[red]wanted[/red]" in _printed(_received(category="[red]wanted[/red]"))


def test_json_is_one_line_without_pictures_or_token() -> None:
    line = json_line(_received())
    assert "\n" not in line
    told = json.loads(line)
    assert (told["kind"], told["historical"], told["entry"], told["score"]) == ("alert", True, "W-0042", 0.62)
    assert not told.keys() & {"sample", "reference", "context", "ack_token"}
    assert ALERT.ack_token not in line


@pytest.mark.parametrize("character", sorted(c for c in map(chr, range(0x3000)) if len(f"a{c}b".splitlines()) > 1))
def test_no_text_can_split_a_line_of_json(character: str) -> None:
    with pytest.raises(ValidationError):
        _received(place=f"High{character}Street")


def test_a_refusal_is_shown_without_anything_of_its_content() -> None:
    watched = Watched()
    watched.watch.receive(_with(id=uuid7()))
    (event,) = watched.events
    assert "REFUSED (outer-inner-differ)" in _printed(event)
    told = json.loads(json_line(event))
    assert told.keys() == {"kind", "reason", "message", "received_at"}
    assert "W-0042" not in _printed(event) + json_line(event)


def test_a_saved_alert_is_complete_and_only_the_owners(tmp_path: Path) -> None:
    saved = saving.save(_received(), tmp_path)
    assert saved == tmp_path / ALERT.id
    assert {path.name for path in saved.iterdir()} == {"alert.json", "sample.jpg", "reference.jpg", "context.jpg"}
    assert (saved / "context.jpg").read_bytes() == JPEG
    assert json.loads((saved / "alert.json").read_text())["entry"] == "W-0042"
    assert ALERT.ack_token not in (saved / "alert.json").read_text()
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved.iterdir()} == {0o600}
    assert list(tmp_path.iterdir()) == [saved]


def test_saving_again_leaves_what_is_there(tmp_path: Path) -> None:
    saving.save(_received(), tmp_path)
    saving.save(_received(entry="W-9999"), tmp_path)
    assert json.loads((tmp_path / ALERT.id / "alert.json").read_text())["entry"] == "W-0042"
    assert len(list(tmp_path.iterdir())) == 1


def test_another_watcher_that_saves_at_the_same_time_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def overtaken(unfinished: Path, destination: Path) -> Path:
        monkeypatch.undo()
        saving.save(_received(), tmp_path)
        return rename(unfinished, destination)

    monkeypatch.setattr(Path, "rename", overtaken)
    assert saving.save(_received(entry="W-9999"), tmp_path) == tmp_path / ALERT.id
    assert json.loads((tmp_path / ALERT.id / "alert.json").read_text())["entry"] == "W-0042"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def failing(handle: int) -> None:
        if synced:
            raise OSError(28, "No space left on device")
        synced.append(handle)

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(ConfigError, match="No space"):
        saving.save(_received(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/alerts"):
        saving.prepare(tmp_path / "file" / "alerts")


def test_watching_loads_neither_numpy_nor_an_engine() -> None:
    code = "import sys, lfr_edge.control_room.watch; sys.exit(bool({'numpy', 'openvino', 'av'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)
