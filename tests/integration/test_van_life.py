"""The daemon beside a broker that is late, dies or refuses, and its ends: told to, killed, by a fault of its own."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.rehearsal import SUPPORT, ControlRoom, Daemon, control_room, copied, daemon, local_broker, photo_clip

from lfr_edge.cli.demo_scene import Footage, Scene, write_config
from lfr_edge.crypto.throwaway import ThrowawayCa
from lfr_edge.inference.store import EngineStore
from lfr_edge.transport.local_broker import LocalBroker

FIRST, SECOND = "P25", "P03"
ALERT = re.compile(r" alert [0-9a-f-]{36}$", re.MULTILINE)


@dataclass
class Street:
    """A van's folder, its broker, not yet started, and a clip in which two listed people stand for two seconds each."""

    scene: Scene
    broker: LocalBroker
    store: EngineStore
    clip: Path

    @property
    def config(self) -> Path:
        return self.scene.folder / "van.toml"

    def show(self, source: str) -> None:
        """Point the camera at something else."""
        write_config(self.scene, Footage(source, "live", frozenset()), self.broker, self.store)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    appearances = {FIRST: (0.5, 2.5), SECOND: (12.0, 14.0)}
    return photo_clip(tmp_path_factory.mktemp("clip") / "street.mp4", appearances, 90)


@pytest.fixture
def street(tmp_path: Path, clip: Path, two_listed: Scene, engine_store: EngineStore) -> Iterator[Street]:
    scene = copied(two_listed, tmp_path / "van")
    street = Street(scene, local_broker(scene.folder / "broker"), engine_store, clip)
    street.show(str(clip))
    yield street
    street.broker.stop()


@contextmanager
def listened_to(street: Street, van: Daemon) -> Iterator[ControlRoom]:
    """Broker and control room, who hears the first that the van says: what a broker took is not said again to it."""
    van.process.send_signal(signal.SIGSTOP)
    try:
        with street.broker, control_room(street.scene, street.broker) as room:
            van.process.send_signal(signal.SIGCONT)
            yield room
    finally:
        van.process.send_signal(signal.SIGCONT)


def test_alerts_wait_for_a_broker_that_is_late_or_dies_and_none_is_lost(street: Street) -> None:
    with daemon(street.config, street.scene.package) as van:
        van.wait(lambda: ALERT.search(van.log))
        van.wait(lambda: "no broker: nothing listens at 127.0.0.1" in van.log)
        with listened_to(street, van) as room:
            van.wait(lambda: room.entries == [FIRST])
            assert room.states(1) == ["live"]
        process = street.broker._process
        assert process is None, "the broker is gone, and forgets everything"
        van.wait(lambda: len(ALERT.findall(van.log)) == 2)
        van.wait(lambda: van.log.count("no broker: ") == 2)
        with listened_to(street, van) as room:
            van.wait(lambda: room.entries == [FIRST, SECOND])
            van.wait(lambda: room.states(1) == ["live"])
            assert room.repeated == 0, "this control room saw the first for the first time"
            assert van.stop() == 0
        assert van.log.count("no broker: ") == 2, "said once for each absence, not with each attempt"
        assert van.log.count("connected to the broker") == 2
        assert van.log.count("WARNING") == 2, van.log


def test_a_broker_killed_and_restarted_gets_everything_again_under_the_same_ids(street: Street) -> None:
    with (
        street.broker,
        daemon(street.config, street.scene.package) as van,
        control_room(street.scene, street.broker) as room,
    ):
        van.wait(lambda: room.entries == [FIRST])
        assert street.broker._process is not None
        street.broker._process.kill()
        street.broker.stop()
        street.broker.start()
        van.wait(lambda: room.repeated == 1)
        van.wait(lambda: room.entries == [FIRST, SECOND])
        assert len(room.events) == 2
        assert van.stop() == 0


def test_sigterm_ends_the_van_in_seconds_and_its_status_stays(street: Street) -> None:
    with street.broker, control_room(street.scene, street.broker) as room:
        with daemon(street.config, street.scene.package) as van:
            van.wait(lambda: room.entries == [FIRST])
            started = time.monotonic()
            assert van.stop() == 0
            assert time.monotonic() - started < 8, "a few seconds, on a busy machine"
        time.sleep(1.0)  # a last will would come now
        assert room.states(1) == ["live", "ended"]
        with control_room(street.scene, street.broker) as late:
            van.wait(lambda: late.status)
            assert late.states(1) == ["ended"], "retained"


def test_a_killed_van_is_said_to_be_offline_and_sends_again_when_it_is_back(street: Street) -> None:
    with street.broker, control_room(street.scene, street.broker) as room:
        with daemon(street.config, street.scene.package) as van:
            van.wait(lambda: room.entries == [FIRST])
            van.process.kill()
            van.process.wait()
        deadline = time.monotonic() + 10
        while room.states(1) != ["live", "offline"] and time.monotonic() < deadline:
            time.sleep(0.05)
        street.show("rtsp://127.0.0.1:1/nothing")
        with daemon(street.config, street.scene.package) as van:
            van.wait(lambda: room.repeated == 1)
            van.wait(lambda: room.states(2) == ["live"])
            assert room.entries == [FIRST]
            assert van.stop() == 0
        assert room.states(2) == ["live", "ended"]
        assert room.states(1) == ["live", "offline"]


def test_a_broker_that_does_not_know_our_certificate_is_reported_and_waited_out(street: Street, tmp_path: Path) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    certificate, key = ThrowawayCa(strangers).issue_client("van-1")
    files = street.broker.client_files("van-1")
    with street.broker, control_room(street.scene, street.broker) as room:
        text = street.config.read_text("utf-8")
        text = text.replace(str(files.cert), str(certificate)).replace(str(files.key), str(key))
        street.config.write_text(text, "utf-8")
        with daemon(street.config, street.scene.package) as van:
            van.wait(lambda: ALERT.search(van.log))
            time.sleep(2)  # some more attempts
            assert van.log.count("no broker: the broker at 127.0.0.1") == 1
            assert f"check that its CA issued {certificate}" in van.log
            assert van.stop() == 0
        assert "alerts wait in the outbox for the next start" in van.log
        assert "Traceback" not in van.log
        assert room.status == []


def test_a_broker_whose_access_list_refuses_us_is_reported_and_waited_out(street: Street) -> None:
    access_list = street.config.parent / "broker" / "access.list"
    access_list.write_text(access_list.read_text("ascii").replace("user van-1", "user van-2"), "ascii")
    with street.broker, daemon(street.config, street.scene.package) as van:
        van.wait(lambda: "alerts wait in the outbox: publishing on lfr/v1/demo/van-1/alert" in van.log)
        assert "publishing again on lfr/v1/demo/van-1/status" in van.log
        time.sleep(2)  # some more attempts
        assert van.log.count("refuses (Not authorized); check what the broker's access list allows") == 2, van.log
        assert van.stop() == 0
    assert "Traceback" not in van.log


def test_a_camera_that_is_away_is_reported_without_its_password_and_waited_out(street: Street) -> None:
    with socket.socket() as closed, street.broker, control_room(street.scene, street.broker) as room:
        closed.bind(("127.0.0.1", 0))
        street.show(f"rtsp://user:Pa55word@127.0.0.1:{closed.getsockname()[1]}/Pa55word")
        with daemon(street.config, street.scene.package) as van:
            van.wait(lambda: "WARNING lfr_edge.van.stages: camera street: " in van.log)
            van.wait(lambda: room.health and not room.health[-1].cameras[0].connected)
            time.sleep(6)  # one more read's worth of attempts
            assert van.log.count("WARNING") == 1, van.log
            assert room.states(1) == ["live"]
            assert van.stop() == 0
    assert "Pa55word" not in van.log + van.output
    assert not any(b"Pa55word" in status.to_json() for status in (*room.status, *room.health))


@pytest.mark.slow
def test_a_broker_that_hangs_delays_the_end_and_is_no_fault(street: Street) -> None:
    with street.broker, daemon(street.config, street.scene.package) as van:
        van.wait(lambda: "connected to the broker" in van.log)
        assert street.broker._process is not None
        street.broker._process.send_signal(signal.SIGSTOP)
        try:
            van.wait(lambda: ALERT.search(van.log))
            van.process.send_signal(signal.SIGTERM)
            van.wait(lambda: "blind: " in van.log, 5)  # the broker's answer would take ten seconds
            assert van.stop(60) == 0
        finally:
            street.broker._process.send_signal(signal.SIGCONT)


def test_sigint_is_a_normal_end_too_and_further_signals_change_nothing(street: Street) -> None:
    street.show("rtsp://127.0.0.1:1/nothing")
    with street.broker, daemon(street.config, street.scene.package) as van:
        van.wait(lambda: " live: " in van.log)
        van.process.send_signal(signal.SIGINT)
        while van.process.poll() is None:
            van.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert van.process.returncode == 0, van.log


@pytest.mark.parametrize("fault", ["start", "recognise", "capture", "send"])
def test_a_stage_that_fails_ends_the_van_with_everything_closed_and_wiped(street: Street, fault: str) -> None:
    with street.broker, control_room(street.scene, street.broker) as room:
        program, environment = (str(SUPPORT / "broken_van.py"),), {"PLANTED_FAULT": fault}
        with daemon(street.config, street.scene.package, program=program, environment=environment) as van:
            assert van.process.wait(60) == 1
        assert json.loads(van.output) == {"arena_is_zero": True, "clip_is_open": False, "package_is_open": False}
        assert room.states(1) == ["live", "offline"]
    (failed,) = re.findall(r"ERROR .*: stage (\S+) failed", van.log)
    assert failed.partition("-")[0] == ("recognise" if fault == "start" else fault)
    assert van.log.count("Traceback") == 1
    assert not re.search(r"array\(|\[ *\d+[ ,]|\\x|\b(P25|P03)\b", van.log), van.log


def test_a_lease_held_too_long_ends_the_van_with_everything_closed_and_wiped(street: Street) -> None:
    with street.broker, control_room(street.scene, street.broker) as room:
        program, environment = (str(SUPPORT / "broken_van.py"),), {"PLANTED_FAULT": "lease"}
        with daemon(street.config, street.scene.package, program=program, environment=environment) as van:
            assert van.process.wait(60) == 1
        assert json.loads(van.output) == {"arena_is_zero": True, "clip_is_open": False, "package_is_open": False}
        assert room.states(1) == ["live", "offline"]
    assert "ERROR lfr_edge.van.daemon: held past its deadline: frame\n" in van.log
    assert "Traceback" not in van.log
