"""A van with a record, for tests that load, stop and kill its deployment: folder, real daemon, real broker."""

import hashlib
import io
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from support.rehearsal import copied, local_broker
from support.swap import require_no_swap

from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.cli.demo_scene import CONTROL_ROOM, Footage, Scene, write_config
from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.crypto.signing import SigningKey, VerifyKey
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.erasure import ErasureReceipt, open_receipt
from lfr_edge.messages.order import Order as DeploymentOrder
from lfr_edge.messages.order import open_order, sign_order
from lfr_edge.messages.status import Status
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.van.control import Order, Reply, ask
from lfr_edge.watchlist.package import write_package

AWAY = "rtsp://127.0.0.1:1/nothing"
CLI = (sys.executable, "-m", "lfr_edge.cli.main")


@dataclass
class DeployedVan:
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

    def start(self, program: Sequence[str] = CLI, under: Sequence[str | Path] = ()) -> None:
        """The daemon, or a `program` that is it with something planted; `under` another command."""
        command = [*under, *program, "run", "--config", self.folder / "van.toml"]
        with (self.folder / "van.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)

    def ask(self, do: str, package: Path | None = None) -> Reply:
        return ask(self.control, Order.model_validate({"do": do}), package)

    def command(self, *arguments: str | Path, given: str = "") -> str:
        command = [*CLI, "deployment", *arguments, "--config", self.folder / "van.toml"]
        return subprocess.run(command, check=True, capture_output=True, text=True, input=given).stdout

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

    def seal_to(self, recipient: str, share: SealIdentity | None = None, **changes: object) -> bytes:
        """The demo's package again, for another key: the office's work with a prekey. What the list is, opened."""
        with tarfile.open(self.scene.package) as tar:
            members = [tar.extractfile(name) for name in ("order.json", "watchlist.age", "pictures.bin")]
            order, watchlist, pictures = (member.read() for member in members if member is not None)
        plaintext = open_sealed(watchlist, SealIdentity.from_file(self.folder / "deployment.age"))
        inside = plaintext if share is None else seal(plaintext, [share.recipient])
        sealed = seal(inside, [recipient])
        genuine = open_order(order, [VerifyKey.from_file(self.folder / "order.pub")])
        vans = (genuine.vans[0].model_copy(update={"recipient": recipient}),)
        changes |= {"vans": vans, "watchlist_sha256": hashlib.sha256(sealed).hexdigest()}
        if share is not None:
            require_no_swap()
            changes |= {"unlock": "required", "unlock_recipient": share.recipient, "no_swap": True}
        officer = SigningKey.generate()
        for path in (self.folder / "order.pub", self.scene.package):
            path.unlink()
        officer.public.to_file(self.folder / "order.pub")
        signed = sign_order(DeploymentOrder(**{**dict(genuine), **changes}), [officer])
        write_package(self.scene.package, signed, io.BytesIO(sealed), io.BytesIO(pictures))
        return plaintext

    def started(self) -> int:
        """How many programs there were, the running one included; the log may be being written."""
        return (self.state / "audit.log").read_bytes().count(b'"kind":"started"')

    def events(self) -> list[str]:
        path = self.state / "audit.log"
        verify_log(path, self.scene.van_key.public)
        with path.open("rb") as file:
            return [entry.event.kind for entry in unverified_entries(file)]


@contextmanager
def deployed_van(folder: Path, original: Scene, store: EngineStore) -> Iterator[DeployedVan]:
    """A copy of a scene, with a daemon that is not started yet; killed at the end of the block."""
    scene = copied(original, folder)
    with TemporaryDirectory(prefix="lfr-") as short:
        made = DeployedVan(scene, local_broker(folder / "broker"), store, Path(short) / "control.sock")
        made.point_at(AWAY)
        try:
            yield made
        finally:
            if made.process is not None and made.process.poll() is None:
                made.kill()
            made.broker.stop()


@contextmanager
def listening(van: DeployedVan) -> Iterator[None]:
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
