"""`lfr-edge demo`: the whole product on one machine, from a street clip to alerts at a control room.

Enrols, seals, starts a real broker, the real daemon in its own process and the real watcher, and says who was missed.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from rich.console import Console
from rich.live import Live

from lfr_edge.cli.demo_page import page
from lfr_edge.cli.demo_scene import (
    CONTROL_ROOM,
    FORCE,
    VAN,
    Footage,
    Scene,
    choose_engine_set,
    footage,
    rows_of,
    set_the_scene,
    write_config,
)
from lfr_edge.cli.demo_show import Outcome, closing_table, live_view
from lfr_edge.clock import SystemClock
from lfr_edge.control_room.watch import Event, ReceivedAlert, Watch
from lfr_edge.errors import ConfigError, DeviceError, Reason
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.status import Health, Status
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession

_POLL_S = 0.25
_STOP_S = 20.0
_LAST_WORD_S = 2.0
_EXIT_WRONG = 1
_VAN_LOG = "van.log"
# Ended, or stopped before it could end in order: Ctrl-C reaches it too when it is pressed in a terminal.
_EXITS_OF_A_VAN = (0, 130, -signal.SIGINT, -signal.SIGTERM)

_say = Console(stderr=True, highlight=False)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    parser.add_argument("--once", action="store_true", help="no live view; end with one JSON line")
    parser.add_argument("--clip", type=Path, help="a video of your own")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photos of your own, one person each")
    parser.add_argument("--camera", help="a camera instead: /dev/video0 or rtsp://...; ends with Ctrl-C")
    parser.add_argument("--engine-set", metavar="NAME", help="this one, instead of the best that can be had")
    parser.add_argument("--full-speed", action="store_true", help="every picture, as fast as this machine can")
    parser.add_argument("--store", type=Path, default=Path(".cache/engines"), help="engine sets (default: %(default)s)")
    parser.add_argument(
        "--page", type=Path, default=Path("build/demo/alerts.html"), help="the alerts' pictures (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """0 if everybody expected alerted once and nobody else did, 1 if not."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else van, broker and temporary files would stay
    _make_room(options.page)
    rows = rows_of(options.photos)
    shown = footage(options.clip, options.camera, rows, full_speed=options.full_speed)
    store = EngineStore(options.store.resolve())
    engine_set, why_not_preferred = choose_engine_set(store, options.engine_set, _say.print)
    if why_not_preferred:
        _say.print(f"[bold yellow]Taking the engine set {engine_set.name} instead:[/] {why_not_preferred}")
    with TemporaryDirectory(prefix="lfr-edge-demo-") as name:
        folder = Path(name)
        _say.print(f"enrolling {len(rows)} photos with {engine_set.name}, sealing the deployment package")
        scene = set_the_scene(folder, rows, engine_set, store)
        outcome = _play(scene, shown, store, live=not options.once)
    options.page.write_text(page(outcome, SystemClock().utc()), "utf-8")
    _say.print(closing_table(outcome))
    _say.print(f"the alerts' pictures: {options.page}")
    if options.once:
        print(json.dumps(outcome.as_json()))
    return _EXIT_WRONG if outcome.missed or outcome.unexpected else 0


def _make_room(page_file: Path) -> None:
    """The page's folder, before anybody waits for the page."""
    try:
        page_file.parent.mkdir(parents=True, exist_ok=True)
        page_file.touch()
    except OSError as error:
        raise ConfigError(
            Reason.VALUE_INVALID, f"{page_file} cannot be written: {error.strerror}", fix="name another with --page"
        ) from error


def _play(scene: Scene, shown: Footage, store: EngineStore, *, live: bool) -> Outcome:
    """Broker, watcher and van, until the footage ends or somebody presses Ctrl-C."""
    events: list[Event] = []
    health: list[Health] = []
    states: list[str] = []
    broker_folder = scene.folder / "broker"
    broker_folder.mkdir()
    with LocalBroker(broker_folder, force=FORCE, vans=[VAN], control_rooms=[CONTROL_ROOM]) as broker:
        config = write_config(scene, shown, broker, store)
        watch = Watch(scene.identity, {VAN: scene.van_key.public}, events.append, SystemClock())
        with MqttSession(broker.broker(CONTROL_ROOM), CONTROL_ROOM) as session:
            watch.subscribe(session, force=FORCE)
            session.subscribe(
                topic_filter(Channel.HEALTH, force=FORCE, van=VAN),
                lambda incoming: health.append(Health.from_untrusted(incoming.payload)),
            )
            session.subscribe(
                topic_filter(Channel.STATUS, force=FORCE, van=VAN),
                lambda incoming: states.append(Status.from_untrusted(incoming.payload).state),
            )
            with (
                _van(scene, config) as process,
                (scene.folder / _VAN_LOG).open(encoding="utf-8", errors="replace") as log,
                _screen(live=live) as screen,
            ):
                while process.poll() is None:
                    session.wait(_POLL_S)
                    _echo_warnings(log)
                    if screen is not None:
                        screen.update(live_view(scene, shown, events, health))
                _echo_warnings(log)
            _wait_for_the_last_word(session, states)
    alerts = tuple(event for event in events if isinstance(event, ReceivedAlert))
    return Outcome(scene.engine_set.name, tuple(sorted(shown.expected)), alerts, watch.refused, tuple(health))


def _echo_warnings(log: TextIO) -> None:
    """What the van warns of, such as a camera that does not answer, since the last call."""
    for line in log:
        level, _, rest = line.rstrip().partition(" ")
        if level == "WARNING":
            print(f"van: {rest.partition(': ')[2]}", file=sys.stderr)  # not by `_say`: the live view redirects stderr


def _wait_for_the_last_word(session: MqttSession, states: list[str]) -> None:
    """The broker delivers in order: once the van has said that it ended, every alert of it is here."""
    for _ in range(round(_LAST_WORD_S / _POLL_S)):
        if "ended" in states:
            return
        session.wait(_POLL_S)


@contextmanager
def _van(scene: Scene, config: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The daemon in its own process; stopped like systemd would. DeviceError with its last words if it failed."""
    log = scene.folder / _VAN_LOG
    command: list[str | Path] = [sys.executable, "-m", "lfr_edge.cli.main", "run", "--config", config]
    command += ["--package", scene.package]
    with log.open("wb") as log_file, subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log_file) as process:
        try:
            yield process
        except KeyboardInterrupt:
            _say.print("stopping the van")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
    if process.returncode not in _EXITS_OF_A_VAN:
        last_words = log.read_text("utf-8", errors="replace").strip().splitlines()[-4:]
        raise DeviceError(Reason.ENGINE_FAILED, "the van ended badly: " + " | ".join(last_words), fix="see its message")


@contextmanager
def _screen(*, live: bool) -> Iterator[Live | None]:
    """The live view, or nothing where nobody looks."""
    if not live:
        yield None
        return
    with Live(console=Console(), refresh_per_second=4) as screen:
        yield screen
