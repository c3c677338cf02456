"""The blue list with the real daemon and the real broker: a volunteer who walks past is a test pass, never an alert."""

import base64
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support.rehearsal import local_broker, photo_clip
from support.van import as_volunteer

from lfr_edge.audit.events import AlertDecided, AlertsErased, PassDecided, PassSent, PeriodEnded
from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.cli.demo_scene import CAMERA, CONTROL_ROOM, VAN, Footage, Scene, rows_of, set_the_scene, write_config
from lfr_edge.clock import SystemClock
from lfr_edge.control_room.watch import ReceivedAlert, ReceivedPass, Watch
from lfr_edge.crypto.sealed import open_sealed
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.status import Health
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming
from lfr_edge.van.control import Order, Reply, ask

VOLUNTEER, WANTED = "P25", "P03"
# The order's cool-down is 60 s: as an alert, the second walk would not be seen.
WALKS = {VOLUNTEER: (0.5, 2.5, 12.0, 14.0), WANTED: (6.0, 8.0)}


@dataclass
class Site:
    """A van whose list holds a volunteer and somebody wanted, and what came over the bus from it."""

    scene: Scene
    broker: LocalBroker
    control: Path
    process: "subprocess.Popen[bytes] | None" = None
    came: list[Incoming] = field(default_factory=list)
    """Everything on the two topics, as the broker delivered it."""
    shown: list[object] = field(default_factory=list)
    health: list[Health] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.scene.folder / "state"

    @property
    def log(self) -> str:
        return (self.scene.folder / "van.log").read_text("utf-8", errors="replace")

    @property
    def passes(self) -> list[ReceivedPass]:
        return [event for event in self.shown if isinstance(event, ReceivedPass)]

    @property
    def alerts(self) -> list[ReceivedAlert]:
        return [event for event in self.shown if isinstance(event, ReceivedAlert)]

    def start(self) -> None:
        with (self.scene.folder / "van.log").open("ab") as log:
            command = [sys.executable, "-m", "lfr_edge.cli.main", "run", "--config", self.scene.folder / "van.toml"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        self.wait(self.control.exists)
        self.wait(lambda: self.ask("status"))

    def end(self) -> None:
        assert self.process is not None
        self.wait(lambda: " ended, blind: " in self.log)  # in its new process
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.log
        verify_log(self.state / "audit.log", self.scene.van_key.public)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, do: str, package: Path | None = None) -> Reply:
        return ask(self.control, Order.model_validate({"do": do}), package)

    def wait(self, until: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def events(self, kind: type[Any]) -> list[Any]:
        """Any: each kind of event has fields of its own."""
        with (self.state / "audit.log").open("rb") as file:
            return [entry.event for entry in unverified_entries(file) if isinstance(entry.event, kind)]

    def waiting(self) -> dict[str, int]:
        """Rows of the outbox."""
        with closing(sqlite3.connect(self.state / "outbox.sqlite")) as database:
            tables = ("alert", "test_pass", "unlogged_test_pass")
            return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}  # noqa: S608


@pytest.fixture
def site(tmp_path: Path, engine_set: EngineSet, engine_store: EngineStore) -> Iterator[Site]:
    folder = tmp_path / "van"
    folder.mkdir()
    listed = {row.particulars.id: row for row in rows_of(None)}
    rows = [as_volunteer(listed[VOLUNTEER]), listed[WANTED]]
    scene = set_the_scene(folder, rows, engine_set, engine_store)
    broker = local_broker(folder / "broker")
    clip = photo_clip(tmp_path / "street.mp4", WALKS, 17)
    config = write_config(scene, Footage(str(clip), "live", frozenset()), broker, engine_store)
    with TemporaryDirectory(prefix="lfr-") as short:
        made = Site(scene, broker, Path(short) / "control.sock")
        config.write_text(f'control = "{made.control}"\n{config.read_text("utf-8")}', "utf-8")
        try:
            yield made
        finally:
            made.kill()
            made.broker.stop()


@contextmanager
def control_room(site: Site) -> Iterator[None]:
    """Somebody who watches, and somebody who notes what comes on which topic."""
    watch = Watch(site.scene.identity, {VAN: site.scene.van_key.public}, site.shown.append, SystemClock())
    with site.broker, MqttSession(site.broker.broker(CONTROL_ROOM), "watch") as watching:
        watch.subscribe(watching)
        with MqttSession(site.broker.broker(CONTROL_ROOM), "notes") as notes:
            for channel in (Channel.ALERT, Channel.TEST_PASS):
                notes.subscribe(topic_filter(channel), site.came.append)
            notes.subscribe(
                topic_filter(Channel.HEALTH), lambda message: site.health.append(Health.from_untrusted(message.payload))
            )
            yield
            notes.check()
        watching.check()
    assert watch.refused == 0


def test_each_walk_of_a_volunteer_is_a_test_pass_and_only_the_wanted_alert(site: Site) -> None:
    with control_room(site):
        site.start()
        site.ask("load", site.scene.package)
        site.wait(lambda: site.ask("status").state == "ended", 90)
        site.wait(lambda: len(site.shown) >= 3)
        site.wait(lambda: (site.state / "audit.log").read_bytes().count(b'"kind":"test-pass-sent"') >= 2)
        time.sleep(1)  # for what should not come
        site.end()

    topics = {(message.topic.rpartition("/")[2], message.properties["id"]) for message in site.came}
    assert sorted(topic for topic, _ in topics) == ["alert", "test-pass", "test-pass"]
    assert [event.alert.entry for event in site.alerts] == [WANTED]
    passes = [event.volunteer_pass for event in site.passes]
    assert [(one.entry, one.camera) for one in passes] == [(VOLUNTEER, CAMERA)] * 2
    assert all(one.score >= one.threshold and one.margin is not None for one in passes)
    assert 5 < (passes[1].captured_at - passes[0].captured_at).total_seconds() < 60

    for message in site.came:
        opened = open_sealed(message.payload, site.scene.identity)
        inside = base64.b64decode(json.loads(opened)["payload"])
        is_alert = message.topic.endswith("/alert")
        assert (VOLUNTEER.encode() in inside.partition(b'"runner_up"')[0]) is not is_alert
        assert (b"/9j/" in inside) is is_alert, "a picture"

    assert [event.test_pass for event in site.events(PassDecided)] == [one.id for one in passes]
    assert {event.test_pass for event in site.events(PassSent)} == {one.id for one in passes}
    assert [event.entry for event in site.events(AlertDecided)] == [WANTED]
    (ended,) = site.events(PeriodEnded)
    assert (ended.alerts, ended.test_passes) == (1, 2)
    assert max(health.alerts for health in site.health) == 1
    assert VOLUNTEER not in site.log


def test_a_test_pass_survives_a_killed_van_and_is_deleted_when_the_order_is_revoked(site: Site) -> None:
    site.start()
    site.ask("load", site.scene.package)
    site.wait(lambda: " test-pass " in site.log)
    decided = site.events(PassDecided)[0].test_pass
    site.kill()
    assert site.waiting()["test_pass"] == 1
    with control_room(site):
        site.start()
        site.wait(lambda: site.passes)
        assert site.passes[0].volunteer_pass.id == decided, "the same, not another walk"
        site.wait(lambda: site.events(PassSent))
    assert site.waiting()["test_pass"] > 0, "that the broker has it is not enough"
    site.ask("revoke")
    site.wait(lambda: site.ask("status").erased)
    site.end()
    assert site.waiting() == {"alert": 0, "test_pass": 0, "unlogged_test_pass": 0}
    (erased,) = site.events(AlertsErased)
    assert erased.test_passes >= 1
