"""The control room's watch over the real broker: genuine alerts appear, every kind of forgery is refused."""

import json
import queue
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lfr_edge.audit.checkpoint import Checkpoint, log_origin
from lfr_edge.clock import SystemClock
from lfr_edge.control_room.watch import Event, ReceivedAlert, ReceivedPass, Refused, Watch
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.sealed import SealIdentity, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, sign
from lfr_edge.errors import Reason
from lfr_edge.messages.alert import Alert, SealedAlert, sign_and_seal
from lfr_edge.messages.examples import ALERT, JPEG, STATUS
from lfr_edge.messages.ids import uuid7
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.volunteer_pass import VolunteerPass, sign_and_seal_pass
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.sealed import publish_sealed

COMMAND = [sys.executable, "-c", "from lfr_edge.cli.main import main; raise SystemExit(main())", "control-room"]


@dataclass
class Scene:
    """A broker, a van that may publish, a control room that watches."""

    broker: LocalBroker
    van: MqttSession
    van_key: SigningKey
    room: SealIdentity
    watch: Watch
    events: "queue.Queue[Event]"

    def alert(self) -> Alert:
        now = datetime.now(timezone.utc)
        times = {"captured_at": now, "decided_at": now, "expires_at": now + timedelta(hours=1)}
        return Alert(**(dict(ALERT) | times | {"id": uuid7(), "recipients": (self.room.recipient,)}))

    def sealed(self) -> SealedAlert:
        alert = self.alert()
        return sign_and_seal(alert, self.van_key, alert.recipients)

    def outcome(self, sealed: SealedMatch) -> Event:
        publish_sealed(self.van, sealed, expiry_s=60)
        return self.events.get(timeout=5)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    van_key, room = SigningKey.generate(), SealIdentity.generate()
    events: queue.Queue[Event] = queue.Queue()
    watch = Watch(room, {"van-1": van_key.public}, events.put, SystemClock())
    (tmp_path / "broker").mkdir()
    with (
        LocalBroker(tmp_path / "broker", force="example", vans=("van-1", "van-2")) as broker,
        MqttSession(broker.broker("van-1"), "van-1") as van,
        MqttSession(broker.broker("control-room"), "control-room") as session,
    ):
        watch.subscribe(session, force="example")
        yield Scene(broker, van, van_key, room, watch, events)


def _reason(outcome: Event) -> Reason:
    assert isinstance(outcome, Refused)
    return outcome.reason


def test_a_genuine_alert_comes_through_and_a_second_delivery_is_not_shown(scene: Scene) -> None:
    sealed = scene.sealed()
    outcome = scene.outcome(sealed)
    assert isinstance(outcome, ReceivedAlert)
    assert outcome.alert.id == sealed.id
    assert not outcome.historical
    publish_sealed(scene.van, sealed, expiry_s=60)
    following = scene.outcome(scene.sealed())
    assert isinstance(following, ReceivedAlert)
    assert (scene.watch.shown, scene.watch.repeated, scene.watch.refused) == (2, 1, 0)


def test_an_alert_without_the_vans_signature_is_refused(scene: Scene) -> None:
    unsigned = sign(scene.alert().to_json(), Purpose.ALERT, [])
    forged = replace(scene.sealed(), ciphertext=seal(unsigned, [scene.room.recipient]))
    assert _reason(scene.outcome(forged)) is Reason.SIGNER_UNKNOWN


def test_an_alert_signed_by_somebody_else_is_refused(scene: Scene) -> None:
    alert = scene.alert()
    assert (
        _reason(scene.outcome(sign_and_seal(alert, SigningKey.generate(), alert.recipients))) is Reason.SIGNER_UNKNOWN
    )


def test_an_alert_replayed_under_another_id_is_refused(scene: Scene) -> None:
    sealed = scene.sealed()
    assert isinstance(scene.outcome(sealed), ReceivedAlert)
    assert _reason(scene.outcome(replace(sealed, id=uuid7()))) is Reason.OUTER_INNER_DIFFER


def test_an_alert_of_another_order_than_it_says_outside_is_refused(scene: Scene) -> None:
    assert _reason(scene.outcome(replace(scene.sealed(), order="another"))) is Reason.OUTER_INNER_DIFFER


def test_an_alert_for_another_control_room_is_refused(scene: Scene) -> None:
    alert = Alert(**(dict(scene.alert()) | {"recipients": (SealIdentity.generate().recipient,)}))
    assert _reason(scene.outcome(sign_and_seal(alert, scene.van_key, alert.recipients))) is Reason.DECRYPTION_FAILED


def test_another_van_that_passes_an_alert_on_as_its_own_is_refused(scene: Scene) -> None:
    sealed = scene.sealed()
    with MqttSession(scene.broker.broker("van-2"), "van-2") as other:
        publish_sealed(other, replace(sealed, van="van-2"), expiry_s=60)
        assert _reason(scene.events.get(timeout=5)) is Reason.SIGNER_UNKNOWN


@pytest.fixture
def arguments(scene: Scene, tmp_path: Path) -> list[str]:
    """The command line of a watch in this scene."""
    scene.room.to_file(tmp_path / "room.key")
    scene.van_key.public.to_file(tmp_path / "van-1.pub")
    files = scene.broker.client_files("control-room")
    where = ["--broker", f"127.0.0.1:{scene.broker.port}", "--ca", str(files.ca), "--cert", str(files.cert)]
    who = ["--key", str(files.key), "--identity", str(tmp_path / "room.key")]
    return ["watch", *where, *who, "--van-key", f"van-1={tmp_path / 'van-1.pub'}"]


def _started(arguments: list[str]) -> "subprocess.Popen[str]":
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "watching alerts of van-1" in process.stderr.readline()
    return process


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_json_saves_pictures_and_ends_in_good_order(
    scene: Scene, arguments: list[str], tmp_path: Path, ending: signal.Signals
) -> None:
    process = _started([*arguments, "--json", "--save", str(tmp_path / "alerts")])
    with process:
        sealed = scene.sealed()
        publish_sealed(scene.van, sealed, expiry_s=60)
        publish_sealed(scene.van, replace(sealed, id=uuid7()), expiry_s=60)
        assert process.stdout is not None
        shown, refused = json.loads(process.stdout.readline()), json.loads(process.stdout.readline())
        process.send_signal(ending)
        rest, errors = process.communicate(timeout=10)
    assert (shown["kind"], shown["id"], shown["historical"]) == ("alert", sealed.id, False)
    assert (refused["kind"], refused["reason"]) == ("refused", "outer-inner-differ")
    assert (tmp_path / "alerts" / sealed.id / "reference.jpg").read_bytes() == JPEG
    assert (process.returncode, rest) == (0, "")
    assert errors == "alerts: 1, test passes: 0, repeated: 0, refused: 1\n"


def test_a_test_pass_arrives_as_one_and_leaves_nothing_behind(
    scene: Scene, arguments: list[str], tmp_path: Path
) -> None:
    alert = scene.alert()
    addressed = {name: value for name, value in alert if name in VolunteerPass.model_fields and name != "statement"}
    passed = VolunteerPass(**addressed)
    sealed = sign_and_seal_pass(passed, scene.van_key, passed.recipients)
    process = _started([*arguments, "--json", "--save", str(tmp_path / "alerts")])
    with process:
        event = scene.outcome(sealed)
        assert isinstance(event, ReceivedPass)
        assert event.volunteer_pass == passed
        assert process.stdout is not None
        shown = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (shown["kind"], shown["id"], shown["statement"]) == ("test-pass", passed.id, "test pass")
    assert errors == "alerts: 0, test passes: 1, repeated: 0, refused: 0\n"
    assert list((tmp_path / "alerts").iterdir()) == []


def test_the_command_keeps_the_vans_checkpoints_and_shows_what_contradicts_them(
    scene: Scene, arguments: list[str], tmp_path: Path
) -> None:
    signer = NoteSigner(log_origin("example", "van-1"), scene.van_key)
    notes = [Checkpoint(signer.name, size, root * 32).sign(signer) for size, root in ((3, b"a"), (4, b"b"), (4, b"c"))]

    def say(note: bytes) -> None:
        status = STATUS.model_copy(update={"checkpoint": note.decode()})
        scene.van.publish("lfr/v1/example/van-1/status", status.to_json(), qos=1, retain=True)

    say(notes[0])  # retained: who comes later hears of it
    process = _started([*arguments, "--json", "--witness", str(tmp_path / "witness")])
    file = tmp_path / "witness" / "example" / "van-1.checkpoints"
    with process:
        deadline = time.monotonic() + 10
        while not file.exists() or file.read_bytes() != notes[0]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        say(notes[1])
        say(notes[2])
        assert process.stdout is not None
        doubt = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
    assert (doubt["kind"], doubt["reason"], rest) == ("doubtful-log", "digest-mismatch", "")
    assert "two different logs of 4 entries" in doubt["message"]
    assert file.read_bytes() == b"".join(notes)
    assert errors == "alerts: 0, test passes: 0, repeated: 0, refused: 0, checkpoints kept: 3\n"


def test_a_witness_that_cannot_write_says_so_and_the_alerts_go_on(
    scene: Scene, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "witness" / "example" / "van-1.checkpoints").mkdir(parents=True)
    signer = NoteSigner(log_origin("example", "van-1"), scene.van_key)
    status = STATUS.model_copy(update={"checkpoint": Checkpoint(signer.name, 3, b"a" * 32).sign(signer).decode()})
    process = _started([*arguments, "--json", "--witness", str(tmp_path / "witness")])
    with process:
        assert process.stdout is not None
        for _ in range(2):
            scene.van.publish("lfr/v1/example/van-1/status", status.to_json(), qos=1)
        doubt = json.loads(process.stdout.readline())
        publish_sealed(scene.van, scene.sealed(), expiry_s=60)
        alert = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert (doubt["kind"], doubt["reason"], alert["kind"]) == ("doubtful-log", "file-unwritable", "alert")
    assert process.returncode == 0


def test_the_command_prints_a_block_for_people(scene: Scene, arguments: list[str]) -> None:
    process = _started(arguments)
    with process:
        publish_sealed(scene.van, scene.sealed(), expiry_s=60)
        assert process.stdout is not None
        assert "possible match, response red" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 0


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_command_ends_quietly_when_nobody_reads_it_any_more(
    scene: Scene, arguments: list[str], form: list[str]
) -> None:
    process = _started([*arguments, *form])
    with process:
        assert process.stdout is not None
        process.stdout.close()
        publish_sealed(scene.van, scene.sealed(), expiry_s=60)
        assert process.wait(timeout=10) == 141
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--broker", "127.0.0.1", "no address"),
        ("--broker", "127.0.0.1:99999", "no address"),
        ("--broker", "127.0.0.1:1", "nothing listens at 127.0.0.1:1"),
        ("--identity", "absent.key", "absent.key"),
        ("--ca", "absent.pem", "absent.pem"),
        ("--van-key", "van-1", "VAN=FILE"),
        ("--van-key", "van-1=absent.pub", "absent.pub"),
        ("--force", "+/#", "is no id"),
        ("--save", "/dev/null/alerts", "/dev/null/alerts"),
        ("--witness", "/dev/null/witness", "/dev/null/witness"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_clear_error(
    arguments: list[str], option: str, value: str, expected: str
) -> None:
    if option in arguments:
        arguments[arguments.index(option) + 1] = value
    else:
        arguments += [option, value]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "fix:" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_keygen_makes_a_pair_once(tmp_path: Path) -> None:
    command = [*COMMAND, "keygen", "--out", str(tmp_path / "keys")]
    subprocess.run(command, check=True, capture_output=True)
    private, public = tmp_path / "keys" / "control-room.key", tmp_path / "keys" / "control-room.recipient"
    assert SealIdentity.from_file(private).recipient == public.read_text().strip()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert private.read_bytes() == before
