"""The van's parts for tests that start, stop and kill them: daemon, broker and control room, each in its own block."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import numpy as np
from PIL import Image as Pillow

from lfr_edge.cli.demo_scene import CONTROL_ROOM, EXAMPLES, FORCE, VAN, Scene
from lfr_edge.clock import SystemClock
from lfr_edge.control_room.watch import Event, ReceivedAlert, Watch
from lfr_edge.messages.status import Health, Status
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession

THE_DAEMON = ("-m", "lfr_edge.cli.main")
SUPPORT = Path(__file__).parent
CLIP_FPS = 10


@dataclass
class ControlRoom:
    """What has come over the bus since it was opened."""

    events: list[Event] = field(default_factory=list)
    health: list[Health] = field(default_factory=list)
    status: list[Status] = field(default_factory=list)
    watch: Watch | None = None

    @property
    def entries(self) -> list[str]:
        """Who alerted, in order, each alert once."""
        return [event.alert.entry for event in self.events if isinstance(event, ReceivedAlert)]

    @property
    def repeated(self) -> int:
        """Alerts that came again with the same id."""
        assert self.watch is not None
        return self.watch.repeated

    def states(self, session: int) -> list[str]:
        """What that run of the daemon has said of itself, or the broker for it."""
        return [status.state for status in self.status if status.session == session]


@contextmanager
def control_room(scene: Scene, broker: LocalBroker) -> Iterator[ControlRoom]:
    """A subscriber to everything that the van says."""
    room = ControlRoom()
    room.watch = Watch(scene.identity, {VAN: scene.van_key.public}, room.events.append, SystemClock())
    with MqttSession(broker.broker(CONTROL_ROOM), CONTROL_ROOM) as session:
        session.subscribe(
            topic_filter(Channel.STATUS), lambda message: room.status.append(Status.from_untrusted(message.payload))
        )
        session.subscribe(
            topic_filter(Channel.HEALTH), lambda message: room.health.append(Health.from_untrusted(message.payload))
        )
        room.watch.subscribe(session)
        yield room
        session.check()


def copied(scene: Scene, folder: Path) -> Scene:
    """The same scene in another folder, which is made."""
    shutil.copytree(scene.folder, folder)
    return replace(scene, folder=folder, package=folder / scene.package.name)


def local_broker(folder: Path) -> LocalBroker:
    """The demo's broker, not yet started; its port and files are known afterwards."""
    folder.mkdir(parents=True)
    broker = LocalBroker(folder, force=FORCE, vans=[VAN], control_rooms=[CONTROL_ROOM])
    broker.start()
    broker.stop()
    return broker


@dataclass
class Daemon:
    """One running daemon."""

    process: "subprocess.Popen[bytes]"
    log_file: Path
    output_file: Path

    @property
    def log(self) -> str:
        """What it has written to standard error."""
        return self.log_file.read_text("utf-8", errors="replace")

    @property
    def output(self) -> str:
        """What it has written to standard output."""
        return self.output_file.read_text("utf-8", errors="replace")

    def wait(self, until: Callable[[], object], seconds: float = 60) -> None:
        """Return when `until` holds; fail if it does not in time, or the daemon is gone before."""
        deadline = time.monotonic() + seconds
        while not until():
            assert self.process.poll() is None or until(), self.log
            assert time.monotonic() < deadline, f"nothing happened\n{self.log}"
            time.sleep(0.05)

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM, as systemd does; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def daemon(
    config: Path, package: Path, *, program: Sequence[str] = THE_DAEMON, environment: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """`lfr-edge run`, or a `program` that is it with faults planted; killed when the block ends."""
    number = len(list(config.parent.glob("daemon-*.log")))
    log_file, output_file = (config.parent / f"daemon-{number}.{kind}" for kind in ("log", "out"))
    with log_file.open("wb") as log, output_file.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *program, "run", "--config", str(config), "--package", str(package)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield Daemon(process, log_file, output_file)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def photo_clip(path: Path, appearances: Mapping[str, Sequence[float]], seconds: float) -> Path:
    """An empty street where the demo's people stand still from one second to another, and from a third to a fourth."""
    noise = np.random.default_rng(7).integers(90, 150, (480, 640, 3), dtype=np.uint8)
    people = {
        name: np.asarray(Pillow.open(EXAMPLES / "photos" / f"{name}.jpg").convert("RGB").resize((240, 300)))
        for name in appearances
    }
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=CLIP_FPS, options={"preset": "ultrafast", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for index in range(round(seconds * CLIP_FPS)):
            picture = noise.copy()
            for name, changes_s in appearances.items():
                if sum(change_s <= index / CLIP_FPS for change_s in changes_s) % 2:
                    picture[90:390, 200:440] = people[name]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
