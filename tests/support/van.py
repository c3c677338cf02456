"""A real van for tests: the daemon in its own process, a real broker, and what the control room hears."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from lfr_edge.cli.demo_scene import CONTROL_ROOM, FORCE, VAN, Footage, Scene, rows_of, set_the_scene, write_config
from lfr_edge.clock import SystemClock
from lfr_edge.control_room.watch import Event, ReceivedAlert, Watch
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.status import Health, Status
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.office.listing import Row
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming
from lfr_edge.watchlist.entries import Particulars

THE_DAEMON = ("-m", "lfr_edge.cli.main")


@dataclass
class Van:
    """One running daemon, and everything that came over the bus from it."""

    scene: Scene
    log_file: Path
    process: "subprocess.Popen[bytes]"
    events: list[Event] = field(default_factory=list)
    health: list[Health] = field(default_factory=list)
    status: list[Status] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)

    @property
    def alerts(self) -> list[ReceivedAlert]:
        """Genuine alerts so far."""
        return [event for event in self.events if isinstance(event, ReceivedAlert)]

    @property
    def log(self) -> str:
        """What the daemon has written so far."""
        return self.log_file.read_text("utf-8", errors="replace")

    def frames_read(self) -> int:
        """As its last health message says."""
        return self.health[-1].cameras[0].frames_read if self.health else 0

    def wait(self, until: Callable[[], object], seconds: float = 60) -> None:
        """Return when `until` holds; fail if it does not in time or the daemon is gone before."""
        deadline = time.monotonic() + seconds
        while not until():
            assert self.process.poll() is None or until(), self.log
            assert time.monotonic() < deadline, f"nothing happened\n{self.log}"
            time.sleep(0.05)

    @contextmanager
    def frozen(self) -> Iterator[int]:
        """Its pid, stopped in its tracks."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield self.process.pid
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Tell it to end; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def as_volunteer(row: Row) -> Row:
    """The same person, on the blue list."""
    stated = dict(row.particulars) | {
        "category": "volunteer",
        "response": "test-pass",
        "legal_basis": "consent",
        "rationale": "agreed in writing to walk past on the day of the test",
        "expires": date(2099, 1, 1),
    }
    return replace(row, particulars=Particulars(**stated))


@contextmanager
def running_van(
    folder: Path,
    engine_set: EngineSet,
    store: EngineStore,
    footage: Footage,
    *,
    rows: Sequence[Row] | None = None,
    program: Sequence[str] = THE_DAEMON,
) -> Iterator[Van]:
    """The daemon playing `footage`, until it ends or the block does."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = set_the_scene(folder, list(rows) if rows is not None else rows_of(None), engine_set, store)
    (folder / "broker").mkdir()
    with LocalBroker(folder / "broker", force=FORCE, vans=[VAN], control_rooms=[CONTROL_ROOM]) as broker:
        config = write_config(scene, footage, broker, store)
        with MqttSession(broker.broker(CONTROL_ROOM), CONTROL_ROOM) as session:
            command = [sys.executable, *program, "run", "--config", config, "--package", scene.package]
            log_file = folder / "van.log"
            with log_file.open("wb") as log:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
            van = Van(scene, log_file, process)
            _listen(van, session)
            try:
                yield van
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()


def _listen(van: Van, session: MqttSession) -> None:
    watch = Watch(van.scene.identity, {VAN: van.scene.van_key.public}, van.events.append, SystemClock())

    def health(incoming: Incoming) -> None:
        van.payloads.append(incoming.payload)
        van.health.append(Health.from_untrusted(incoming.payload))

    def status(incoming: Incoming) -> None:
        van.payloads.append(incoming.payload)
        van.status.append(Status.from_untrusted(incoming.payload))

    watch.subscribe(session)
    session.subscribe(topic_filter(Channel.HEALTH), health)
    session.subscribe(topic_filter(Channel.STATUS), status)
