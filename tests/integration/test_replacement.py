"""An order takes over from another while the van sees: the real daemon, a real broker, lists of full length.

Three people stand in view the whole time. One is on the first list, one on the second, one on both.
"""

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from support.memory import Trace, traces
from support.rehearsal import local_broker
from support.succession import FIRST, SECOND, Orders, two_orders

from lfr_edge.audit.events import PeriodBegan, PeriodEnded
from lfr_edge.audit.fields import Event
from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.cli.demo_scene import CONTROL_ROOM, EXAMPLES, FORCE, VAN, Footage, write_config
from lfr_edge.clock import SystemClock
from lfr_edge.control_room.watch import ReceivedAlert, Watch
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import PolicyError, Reason
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.erasure import ErasureReceipt, open_receipt
from lfr_edge.messages.status import Status
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming
from lfr_edge.van.control import Order, Reply, ask

TIMED = Path(__file__).parents[1] / "support" / "timed_van.py"
ENTRIES = 17_000
FPS, CLIP_S = 25, 40
ON_FIRST, ON_SECOND, ON_BOTH = "P25", "P03", "P24"
ABSENT_ON_FIRST, ABSENT_ON_SECOND = "P41", "P46"  # on one list each, and never in view


@dataclass
class Van:
    """One van, and what each control room makes of what it says."""

    orders: Orders
    broker: LocalBroker
    control: Path
    process: "subprocess.Popen[bytes] | None" = None
    alerts: dict[str, list[ReceivedAlert]] = field(default_factory=lambda: {FIRST: [], SECOND: []})
    receipts: list[ErasureReceipt] = field(default_factory=list)
    status: list[Status] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.orders.scene.folder

    @property
    def log(self) -> str:
        return (self.folder / "van.log").read_text("utf-8", errors="replace")

    def start(self, **environment: str) -> None:
        command = [sys.executable, TIMED, "run", "--config", self.folder / "van.toml"]
        everything = {**os.environ, "PICTURES_FILE": str(self.folder / "pictures"), **environment}
        with (self.folder / "van.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, env=everything)

    def ask(self, do: str, package: Path | None = None) -> Reply:
        return ask(self.control, Order.model_validate({"do": do}), package)

    def see_under(self, order: str) -> None:
        self.ask("load", self.orders.package(order))
        self.wait(lambda: f" live: order {order}" in self.log)

    def wait(self, until: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def sees(self) -> bool:
        """Was it done with a picture within the last second."""
        pictures = self.pictures() if (self.folder / "pictures").exists() else []
        return bool(pictures) and pictures[-1][0] > time.monotonic() - 1

    def is_back(self) -> bool:
        """Has the program started again after an end."""
        return "ended, blind: no-order" in self.log

    def entries(self, order: str) -> list[str]:
        """Who has alerted under an order, once for each alert."""
        return sorted(event.alert.entry for event in self.alerts[order])

    def pictures(self) -> list[tuple[float, str]]:
        """When the van was done with each picture, and under which order it was compared."""
        lines = (self.folder / "pictures").read_text("ascii").splitlines()
        return [(float(time), order) for time, order in map(str.split, lines)]

    def events(self) -> list[Event]:
        """What its log says when it has ended."""
        self.end()
        path = self.folder / "state" / "audit.log"
        verify_log(path, self.orders.scene.van_key.public)
        with path.open("rb") as file:
            return [entry.event for entry in unverified_entries(file)]

    def waiting(self) -> dict[str, int]:
        """How many alerts of each order the outbox holds."""
        with closing(sqlite3.connect(self.folder / "state" / "outbox.sqlite")) as database:
            return dict(database.execute("SELECT order_id, count(*) FROM alert GROUP BY order_id").fetchall())

    def templates_of(self, person: str) -> list[Trace]:
        assert self.process is not None
        return traces(self.process.pid, {}, {person: self.orders.template(person)})

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(20) == 0, self.log


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, engine_set: EngineSet, engine_store: EngineStore) -> Orders:
    folder = tmp_path_factory.mktemp("succession") / "van"
    folder.mkdir()
    orders = two_orders(folder, engine_set, engine_store)
    orders.seal(FIRST, {ON_FIRST, ON_BOTH, ABSENT_ON_FIRST}, ENTRIES)
    orders.seal(SECOND, {ON_SECOND, ON_BOTH, ABSENT_ON_SECOND}, ENTRIES)
    return orders


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people beside each other on an empty street."""
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    picture = np.random.default_rng(7).integers(90, 150, (480, 720, 3), dtype=np.uint8)
    for column, person in enumerate((ON_FIRST, ON_SECOND, ON_BOTH)):
        photo = Pillow.open(EXAMPLES / "photos" / f"{person}.jpg").convert("RGB").resize((220, 275))
        picture[100:375, 10 + 240 * column : 230 + 240 * column] = np.asarray(photo)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = 720, 480, "yuv420p"
        for _ in range(FPS * CLIP_S):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def van(tmp_path: Path, original: Orders, clip: Path, engine_store: EngineStore) -> Iterator[Van]:
    folder = tmp_path / "van"
    shutil.copytree(original.scene.folder, folder)
    orders = replace(original, scene=replace(original.scene, folder=folder))
    broker = local_broker(folder / "broker")
    config = write_config(orders.scene, Footage(str(clip), "live", frozenset()), broker, engine_store)
    with TemporaryDirectory(prefix="lfr-") as short:
        made = Van(orders, broker, Path(short) / "control.sock")
        config.write_text(f'control = "{made.control}"\n{config.read_text("utf-8")}', "utf-8")
        try:
            with listening(made):
                yield made
                made.end()
        finally:
            if made.process is not None and made.process.poll() is None:
                made.kill()


@contextmanager
def listening(van: Van) -> Iterator[None]:
    """The control rooms of both orders: each opens what is for it."""
    key = van.orders.scene.van_key.public
    rooms = [
        Watch(identity, {VAN: key}, lambda event, order=order: keep(van.alerts[order], event), SystemClock())  # type: ignore[misc]
        for order, identity in van.orders.rooms.items()
    ]

    def alert(message: Incoming) -> None:
        for room in rooms:
            room.receive(message)

    with van.broker, MqttSession(van.broker.broker(CONTROL_ROOM), CONTROL_ROOM) as session:
        session.subscribe(topic_filter(Channel.ALERT), alert)
        session.subscribe(
            topic_filter(Channel.ERASURE), lambda message: van.receipts.append(open_receipt(message.payload, key))
        )
        session.subscribe(
            topic_filter(Channel.STATUS), lambda message: van.status.append(Status.from_untrusted(message.payload))
        )
        yield
        session.check()


def keep(alerts: list[ReceivedAlert], event: object) -> None:
    if isinstance(event, ReceivedAlert):
        alerts.append(event)


def test_an_order_takes_over_between_two_pictures_and_nothing_of_the_old_list_stays(van: Van) -> None:
    van.start()
    van.see_under(FIRST)
    van.wait(lambda: len(van.alerts[FIRST]) == 2)
    assert van.templates_of(ABSENT_ON_FIRST) != [], "the search finds a template that is there"

    asked = time.monotonic()
    reply = van.ask("load", van.orders.package(SECOND))
    assert (reply.state, reply.order) == ("live", SECOND)
    answered = time.monotonic()
    assert van.templates_of(ABSENT_ON_FIRST) == []
    assert van.templates_of(ABSENT_ON_SECOND) != []
    van.wait(lambda: len(van.alerts[SECOND]) == 2)
    van.wait(lambda: van.receipts)
    van.wait(lambda: (van.status[-1].state, van.status[-1].order) == ("live", SECOND))
    time.sleep(2)  # for alerts that must not come

    (receipt,) = van.receipts
    assert (receipt.order, receipt.cause, receipt.level) == (FIRST, "replaced", "key-destroyed")
    assert van.entries(FIRST) == sorted([ON_FIRST, ON_BOTH]), "delivered to whom that order named"
    assert van.entries(SECOND) == sorted([ON_SECOND, ON_BOTH])
    assert {event.alert.order for event in van.alerts[SECOND]} == {SECOND}

    pictures = van.pictures()
    orders = [order for _, order in pictures]
    turn = orders.index(SECOND)
    assert orders == [FIRST] * turn + [SECOND] * (len(orders) - turn)
    around = [(before, after) for (before, _), (after, _) in pairwise(pictures) if asked < after < answered + 1]
    assert max(after - before for before, after in around) < 1, "no gap over a second, while it is loaded or after"

    assert van.ask("stop").state == "ended"
    van.wait(lambda: len(van.receipts) == 2 and van.is_back())
    periods = [event for event in van.events() if isinstance(event, PeriodBegan | PeriodEnded)]
    assert [(event.kind, event.order) for event in periods] == [
        ("period-began", FIRST),
        ("period-ended", FIRST),
        ("period-began", SECOND),
        ("period-ended", SECOND),
    ]
    ends = [event for event in periods if isinstance(event, PeriodEnded)]
    assert [(event.cause, event.alerts) for event in ends] == [("replaced", 2), ("stop", 2)]
    assert all(event.faces for event in ends)
    assert "Traceback" not in van.log


@pytest.mark.slow
def test_a_list_that_does_not_fit_beside_the_other_is_refused_with_what_would_be_enough(van: Van) -> None:
    config = van.folder / "van.toml"
    without = config.read_text("utf-8")
    config.write_text(f"memory_mib = 32\n{without}", "utf-8")
    van.orders.package(SECOND).unlink()
    van.orders.seal(SECOND, {ON_SECOND, ON_BOTH}, 3 * ENTRIES)  # 25 MiB, after 8 MiB and the pictures
    van.start()
    van.see_under(FIRST)
    van.wait(lambda: len(van.alerts[FIRST]) == 2)
    with pytest.raises(PolicyError) as refused:
        van.ask("load", van.orders.package(SECOND))
    assert refused.value.reason is Reason.MEMORY_EXHAUSTED
    enough = re.search(r"set memory_mib to (\d+) or more", refused.value.fix)
    assert enough is not None
    status = van.ask("status")
    assert (status.state, status.order) == ("live", FIRST)
    assert {order for _, order in van.pictures()} == {FIRST}
    assert "deployment-refused" in [event.kind for event in van.events()]

    config.write_text(f"memory_mib = {enough[1]}\n{without}", "utf-8")
    van.start()
    van.wait(lambda: van.log.count(f" live: order {FIRST}") == 2)
    van.wait(van.sees)
    van.see_under(SECOND)
    van.wait(lambda: len(van.alerts[SECOND]) == 2)


def test_a_list_that_is_not_what_its_order_says_leaves_no_trace_and_everything_as_it_was(van: Van) -> None:
    good = van.orders.package(SECOND).read_bytes()
    van.orders.restate(SECOND, list_size=ENTRIES + 1)
    van.start()
    van.see_under(FIRST)
    with pytest.raises(PolicyError) as refused:
        van.ask("load", van.orders.package(SECOND))
    assert refused.value.reason is Reason.BUDGET_EXCEEDED
    assert van.templates_of(ABSENT_ON_SECOND) == []
    assert van.templates_of(ABSENT_ON_FIRST) != []
    assert (van.ask("status").state, van.ask("status").order) == ("live", FIRST)
    van.wait(lambda: len(van.alerts[FIRST]) == 2)
    van.orders.package(SECOND).write_bytes(good)
    van.see_under(SECOND)
    van.wait(lambda: len(van.alerts[SECOND]) == 2)
    assert "Traceback" not in van.log


def test_a_disk_that_does_not_take_the_takeover_leaves_the_old_order_and_no_trace_of_the_new_list(van: Van) -> None:
    van.start(FULL_AT_TAKEOVER="1")
    van.see_under(FIRST)
    with pytest.raises(PolicyError) as refused:
        van.ask("load", van.orders.package(SECOND))
    assert refused.value.reason is Reason.FILE_UNWRITABLE
    assert van.templates_of(ABSENT_ON_SECOND) == []
    van.wait(lambda: len(van.alerts[FIRST]) == 2)
    assert (van.ask("status").state, van.ask("status").order) == ("live", FIRST)
    assert len(list((van.folder / "state" / "deployment").iterdir())) == 1
    van.see_under(SECOND)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 12))
def test_a_van_killed_while_orders_change_sees_again_under_the_one_that_its_record_names(van: Van, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - when to kill, no secret
    van.start()
    van.see_under(FIRST)
    for _ in range(3):
        with ThreadPoolExecutor(1) as office:
            loading = office.submit(van.ask, "load", van.orders.package(SECOND))
            time.sleep(dice.uniform(0, 3))  # it takes about two seconds
            van.kill()
            loading.exception()
        lived = van.log.count(" live: order")
        van.start()
        van.wait(lambda before=lived: van.log.count(" live: order") > before)  # type: ignore[misc]
        order = van.ask("status").order
        van.wait(van.sees)
        assert van.pictures()[-1][1] == order
        absent = {FIRST: ABSENT_ON_SECOND, SECOND: ABSENT_ON_FIRST}
        assert van.templates_of(absent[order or ""]) == []
        if order == SECOND:
            break
    else:
        van.see_under(SECOND)
    van.wait(lambda: [receipt.order for receipt in van.receipts] == [FIRST])
    periods = [event for event in van.events() if isinstance(event, PeriodBegan | PeriodEnded)]
    orders = [(event.kind, event.order) for event in periods]
    assert orders[::2] == [("period-began", order) for _, order in orders[1::2]]
    assert [order for _, order in orders] == sorted((order for _, order in orders), key=[FIRST, SECOND].index)


def test_a_replaced_order_that_is_revoked_loses_what_still_waits_while_the_van_goes_on(van: Van) -> None:
    commander = SigningKey.generate()
    commander.to_file(van.folder / "command.key")
    commander.public.to_file(van.folder / "command.pub")
    config = van.folder / "van.toml"
    trusting = config.read_text("utf-8").replace("[keys]", '[keys]\ntrusted_commanders = ["command.pub"]')
    config.write_text(trusting, "utf-8")
    van.start()
    van.see_under(FIRST)
    van.wait(lambda: len(van.alerts[FIRST]) == 2)
    van.see_under(SECOND)
    van.wait(lambda: len(van.alerts[SECOND]) == 2)
    assert van.waiting() == {FIRST: 2, SECOND: 2}, "sent again until they expire"
    files = van.broker.client_files(CONTROL_ROOM)
    where = ["--broker", f"{van.broker.host}:{van.broker.port}", "--ca", files.ca, "--cert", files.cert]
    what = ["--key", files.key, "--command-key", van.folder / "command.key", "--force", FORCE, "--van", VAN]
    who = ["--order", FIRST, "--by", "Insp B. Example", "--why", "the wrong list", "--revoke"]
    command = [sys.executable, "-m", "lfr_edge.cli.main", "control-room", "stop", *where, *what, *who]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[0] == f"{VAN}: done"
    assert f"it holds order '{SECOND}', which goes on" in told
    van.wait(lambda: van.waiting() == {SECOND: 2})
    assert (van.ask("status").state, van.ask("status").order) == ("live", SECOND)
    assert "alerts-erased" in [event.kind for event in van.events()]


def test_a_stop_while_another_list_is_opened_blinds_the_van_within_a_second(van: Van) -> None:
    van.start()
    van.see_under(FIRST)
    command = [sys.executable, "-m", "lfr_edge.cli.main", "deployment", "load", van.orders.package(SECOND)]
    with subprocess.Popen([*command, "--config", van.folder / "van.toml"], stderr=subprocess.PIPE, text=True) as load:
        van.wait(lambda: len(list((van.folder / "state" / "deployment").glob("[!.]*.lfrd"))) == 2)
        started = time.monotonic()
        assert van.ask("stop").state == "ended"
        assert time.monotonic() - started < 1
        _, said = load.communicate(timeout=30)
        assert load.returncode != 0
    van.wait(van.is_back)
    status = van.ask("status")
    assert (status.state, status.order, status.erased) == ("ended", FIRST, True), said
    assert list((van.folder / "state" / "deployment").iterdir()) == []
    assert van.status[-1].order == FIRST
