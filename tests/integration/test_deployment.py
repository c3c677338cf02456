"""A deployment's life with the real daemon: loaded, live, stopped, erased; killed and started again."""

import hashlib
import io
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.rehearsal import local_broker, photo_clip

from lfr_edge.audit.events import AlertSent
from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.cli.demo_scene import CONTROL_ROOM, Footage, Scene, rows_of, set_the_scene, write_config
from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.crypto.signing import SigningKey, VerifyKey
from lfr_edge.errors import LfrEdgeError, Reason
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.erasure import ErasureReceipt, open_receipt
from lfr_edge.messages.order import Order as DeploymentOrder
from lfr_edge.messages.order import open_order, sign_order
from lfr_edge.messages.prekey import open_prekeys
from lfr_edge.messages.status import Status
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.van.control import Order, Reply, ask
from lfr_edge.watchlist.package import write_package

AWAY = "rtsp://127.0.0.1:1/nothing"
CLI = (sys.executable, "-m", "lfr_edge.cli.main")


@dataclass
class Van:
    """A van's folder and its daemon."""

    scene: Scene
    broker: LocalBroker
    store: EngineStore
    control: Path
    process: "subprocess.Popen[bytes] | None" = None
    receipts: list[ErasureReceipt] = field(default_factory=list)
    status: list[Status] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.scene.folder

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> str:
        return (self.folder / "van.log").read_text("utf-8", errors="replace")

    def point_at(self, source: str) -> None:
        config = write_config(self.scene, Footage(source, "live", frozenset()), self.broker, self.store)
        config.write_text(f'control = "{self.control}"\n{config.read_text("utf-8")}', "utf-8")

    def start(self) -> None:
        with (self.folder / "van.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*CLI, "run", "--config", self.folder / "van.toml"], stdin=subprocess.DEVNULL, stderr=log
            )

    def ask(self, do: str, package: Path | None = None) -> Reply:
        return ask(self.control, Order.model_validate({"do": do}), package)

    def command(self, *arguments: str | Path) -> str:
        command = [*CLI, "deployment", *arguments, "--config", self.folder / "van.toml"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def wait(self, until: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def is_live(self) -> bool:
        return self.ask("status").state == "live" and " live: order" in self.log.rpartition("armed")[2]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def seal_to(self, recipient: str) -> None:
        """The demo's package again, for another key: the office's work with a prekey."""
        with tarfile.open(self.scene.package) as tar:
            members = [tar.extractfile(name) for name in ("order.json", "watchlist.age", "pictures.bin")]
            order, watchlist, pictures = (member.read() for member in members if member is not None)
        plaintext = open_sealed(watchlist, SealIdentity.from_file(self.folder / "deployment.age"))
        sealed = seal(plaintext, [recipient])
        genuine = open_order(order, [VerifyKey.from_file(self.folder / "order.pub")])
        vans = (genuine.vans[0].model_copy(update={"recipient": recipient}),)
        changes = {"vans": vans, "watchlist_sha256": hashlib.sha256(sealed).hexdigest()}
        officer = SigningKey.generate()
        for path in (self.folder / "order.pub", self.scene.package):
            path.unlink()
        officer.public.to_file(self.folder / "order.pub")
        signed = sign_order(DeploymentOrder(**{**dict(genuine), **changes}), [officer])
        write_package(self.scene.package, signed, io.BytesIO(sealed), io.BytesIO(pictures))

    def events(self) -> list[str]:
        path = self.state / "audit.log"
        verify_log(path, self.scene.van_key.public)
        with path.open("rb") as file:
            return [entry.event.kind for entry in unverified_entries(file)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, engine_set: EngineSet, engine_store: EngineStore) -> Scene:
    folder = tmp_path_factory.mktemp("scene") / "van"
    folder.mkdir()
    rows = [row for row in rows_of(None) if row.particulars.id in {"P25", "P03"}]
    return set_the_scene(folder, rows, engine_set, engine_store)


@pytest.fixture
def van(tmp_path: Path, original: Scene, engine_store: EngineStore) -> Iterator[Van]:
    folder = tmp_path / "van"
    shutil.copytree(original.folder, folder)
    scene = Scene(
        folder,
        original.engine_set,
        original.identity,
        original.van_key,
        folder / original.package.name,
        original.entries,
    )
    with TemporaryDirectory(prefix="lfr-") as short:
        made = Van(scene, local_broker(folder / "broker"), engine_store, Path(short) / "control.sock")
        made.point_at(AWAY)
        try:
            yield made
        finally:
            if made.process is not None and made.process.poll() is None:
                made.kill()
            made.broker.stop()


@contextmanager
def listening(van: Van) -> Iterator[None]:
    """The control room."""
    key = van.scene.van_key.public
    with van.broker, MqttSession(van.broker.broker(CONTROL_ROOM), CONTROL_ROOM) as session:
        session.subscribe(
            topic_filter(Channel.ERASURE), lambda message: van.receipts.append(open_receipt(message.payload, key))
        )
        session.subscribe(
            topic_filter(Channel.STATUS), lambda message: van.status.append(Status.from_untrusted(message.payload))
        )
        yield
        session.check()


def assert_witnessed(van: Van) -> None:
    """Every state was said with a checkpoint of the log as it is, and the last one covers all but the very end."""
    said = [status.checkpoint for status in van.status if status.checkpoint is not None]
    assert len(said) >= len([status for status in van.status if status.state != "offline"])
    verify_log(van.state / "audit.log", van.scene.van_key.public, [note.encode() for note in said])
    covered = int(said[-1].splitlines()[1])  # a van that leaves in good order says it once more
    assert van.events()[covered:] == ["stopped"]


def test_loaded_live_stopped_and_erased_in_seconds(van: Van) -> None:
    with listening(van):
        van.start()
        van.wait(lambda: van.status and van.status[-1].blind == "no-order")
        assert van.command("status").startswith("idle, blind: no-order\n")

        van.command("prekeys", "--count", "1", "--out", van.folder / "prekeys.json")
        office = open_prekeys((van.folder / "prekeys.json").read_bytes(), van.scene.van_key.public)
        van.seal_to(office.prekeys[0].recipient)
        (van.folder / "deployment.age").unlink()

        started = time.monotonic()
        assert van.ask("load", van.scene.package).order == "demo-deployment"
        van.wait(lambda: " live: order demo-deployment" in van.log)
        to_live_s = time.monotonic() - started
        van.wait(lambda: any(status.state == "live" for status in van.status))

        started = time.monotonic()
        assert van.ask("stop").state == "ended"
        to_blind_s = time.monotonic() - started
        assert to_live_s < 2, "measured: 0.8 s"
        assert to_blind_s < 1, "measured: 0.2 s"
        van.wait(lambda: van.receipts and van.status[-1].state == "ended")
        assert (van.receipts[0].cause, van.receipts[0].level) == ("stop", "key-destroyed")
        assert list((van.state / "deployment").iterdir()) == list((van.state / "prekeys").iterdir()) == []
        with pytest.raises(LfrEdgeError) as refused:
            van.ask("load", van.scene.package)
        assert refused.value.reason is Reason.ORDER_ENDED
        assert van.command("stop").startswith("ended"), "again, and nothing happens"
        assert van.end() == 0
    assert "Traceback" not in van.log
    kinds = van.events()
    assert_witnessed(van)
    for kind in ("prekeys-made", "deployment-loaded", "period-began", "period-ended", "deployment-erased"):
        assert kinds.count(kind) == 1, kinds
    assert kinds[-1] == "stopped"


def test_a_van_killed_while_live_is_live_again_and_one_killed_after_its_end_is_not(van: Van) -> None:
    van.start()
    van.wait(lambda: van.ask("status").state == "idle")
    van.ask("load", van.scene.package)
    van.wait(lambda: van.log.count(" live: order") == 1)
    van.kill()
    van.start()
    van.wait(lambda: van.log.count(" live: order") == 2)
    van.ask("stop")
    van.kill()
    van.start()
    van.wait(lambda: van.ask("status").erased)
    assert van.end() == 0
    kinds = van.events()
    assert kinds.count("period-began") == kinds.count("period-ended") == 2
    assert kinds.count("deployment-loaded") == 1
    assert "deployment-erased" in kinds


def test_a_restart_keeps_the_deployment_and_revoking_deletes_what_was_not_delivered(van: Van, tmp_path: Path) -> None:
    van.point_at(str(photo_clip(tmp_path / "street.mp4", {"P25": (0.5, 59.0)}, 60)))
    van.start()
    van.wait(lambda: van.ask("status").state == "idle")
    van.ask("load", van.scene.package)
    van.wait(lambda: " alert " in van.log)
    assert van.end() == 0
    van.start()
    van.wait(lambda: van.log.count(" live: order") == 2)
    assert alerts_waiting(van) > 0
    assert van.ask("revoke").state == "ended"
    van.wait(lambda: van.ask("status").erased)
    assert alerts_waiting(van) == 0
    assert van.end() == 0
    kinds = van.events()
    assert kinds.count("alert-decided") == van.log.count(" alert "), "every alert, also those that were deleted"
    assert "alerts-erased" in kinds
    assert kinds.count("period-ended") == 2


def test_an_alert_that_leaves_when_the_van_is_blind_again_is_in_the_log_with_its_recipients(
    van: Van, tmp_path: Path
) -> None:
    van.point_at(str(photo_clip(tmp_path / "street.mp4", {"P25": (0.5, 59.0)}, 60)))
    van.start()
    van.wait(lambda: van.ask("status").state == "idle")
    van.ask("load", van.scene.package)
    van.wait(lambda: " alert " in van.log)
    van.ask("stop")
    van.wait(lambda: van.ask("status").erased)
    assert "alert-sent" not in van.events(), "there is no broker"
    with listening(van):
        van.wait(lambda: b'"alert-sent"' in (van.state / "audit.log").read_bytes())
        assert van.end() == 0
    kinds = van.events()
    assert kinds.count("alert-sent") == kinds.count("alert-decided") == van.log.count(" alert ")
    assert kinds.index("deployment-erased") < kinds.index("alert-sent")
    with (van.state / "audit.log").open("rb") as file:
        sent = [entry.event for entry in unverified_entries(file) if isinstance(entry.event, AlertSent)]
    assert {event.recipients for event in sent} == {(van.scene.identity.recipient,)}
    assert {event.order for event in sent} == {"demo-deployment"}


def test_the_control_room_ends_a_deployment_with_a_signed_command_and_gets_the_receipt(van: Van) -> None:
    commander = SigningKey.generate()
    commander.to_file(van.folder / "command.key")
    commander.public.to_file(van.folder / "command.pub")
    config = (van.folder / "van.toml").read_text("utf-8")
    trusting = config.replace("[keys]", '[keys]\ntrusted_commanders = ["command.pub"]')
    (van.folder / "van.toml").write_text(trusting, "utf-8")
    with listening(van):
        van.start()
        van.wait(lambda: van.ask("status").state == "idle")
        van.ask("load", van.scene.package)
        van.wait(lambda: any(status.state == "live" for status in van.status))
        files = van.broker.client_files(CONTROL_ROOM)
        where = ["--broker", f"{van.broker.host}:{van.broker.port}", "--ca", files.ca, "--cert", files.cert]
        what = ["--key", files.key, "--command-key", van.folder / "command.key", "--force", "demo", "--van", "van-1"]
        who = ["--order", "demo-deployment", "--by", "Insp B. Example", "--why", "operation ended", "--revoke"]
        told = subprocess.run(
            [*CLI, "control-room", "stop", *where, *what, *who], capture_output=True, text=True, check=False
        )
        assert (told.returncode, told.stdout) == (0, "van-1: done\n"), told.stderr
        van.wait(lambda: van.receipts)
        assert van.receipts[0].cause == "revoke"
        assert van.end() == 0
    assert "command-received" in van.events()


def alerts_waiting(van: Van) -> int:
    with closing(sqlite3.connect(van.state / "outbox.sqlite")) as database:
        return int(database.execute("SELECT count(*) FROM alert").fetchone()[0])


def test_a_second_daemon_does_not_start_beside_the_first(van: Van) -> None:
    van.start()
    van.wait(lambda: van.ask("status").state == "idle")
    command = [*CLI, "run", "--config", van.folder / "van.toml"]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "another process writes the log" in second.stderr
    assert van.ask("status").state == "idle"
    assert van.end() == 0
