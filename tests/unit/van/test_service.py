"""The van's life with a stand-in for recognition: what blinds it, what it records, and what it does next."""

import base64
import errno
import json
import mmap
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, ClassVar

import pytest
from support.custody import Kit, kit

from lfr_edge.audit.events import Event, PeriodBegan
from lfr_edge.audit.log import AuditLog
from lfr_edge.audit.reader import unverified_entries
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import Purpose, sign
from lfr_edge.errors import ConfigError, DeviceError, LfrEdgeError, PolicyError, Reason
from lfr_edge.messages.clock import ClockStatement, sign_statement
from lfr_edge.messages.examples import ORDER
from lfr_edge.messages.order import Order as PackageOrder
from lfr_edge.pipeline.outbox import Purged
from lfr_edge.van import erasure as erasing
from lfr_edge.van import keeper as keeping
from lfr_edge.van import service as serving
from lfr_edge.van.authority import Authority, DemoWindow, Ending
from lfr_edge.van.control import Order, Reply, ask
from lfr_edge.van.daemon import Daemon
from lfr_edge.van.history import History
from lfr_edge.van.lifecycle import Record, Request, State
from lfr_edge.van.period import Period
from lfr_edge.van.service import Next, Service
from lfr_edge.van.succession import Commit
from lfr_edge.van.trusted_time import Reading
from lfr_edge.watchlist.package import open_package


class FakePost:
    """Says nothing to nobody."""

    said: ClassVar[list[tuple[str, tuple[Reason, ...]]]] = []
    purged: ClassVar[list[str]] = []
    done: ClassVar[list[str]] = []
    refuses = False

    def __init__(self, *_: object) -> None:
        self.said.clear()
        self.done.clear()

    def __enter__(self) -> "FakePost":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, state: str, blind: tuple[Reason, ...]) -> None:
        self.said.append((state, blind))

    def begin(self) -> None:
        self.done.append("begin")

    def purge(self, order: str) -> Purged:
        if self.refuses:
            raise DeviceError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")
        self.purged.append(order)
        self.done.append("purge")
        return Purged(3, 0)


class FakeDaemon:
    """Recognition without cameras."""

    building_s = 0.0
    fails = False
    cannot_start: DeviceError | None = None
    order = ORDER
    opened = 0  # how often cameras were opened
    passed = 0  # how often an order was passed on
    preparing_s = 0.0
    exchanged: PackageOrder | None = None  # what the package turns out to be

    def __init__(self, _config: object, _digest: str, _package: Path, _clock: object, authority: Authority) -> None:
        time.sleep(self.building_s)
        if self.cannot_start is not None:
            raise self.cannot_start
        self._authority = authority
        self._stop_asked = False

    def stop(self) -> None:
        self._stop_asked = True

    def look(self) -> None:
        pass

    @contextmanager
    def prepared(self, package: Path) -> Iterator[Callable[[Commit], None]]:
        with closing(open_package(package)) as opened:
            order = PackageOrder.from_untrusted(base64.b64decode(json.loads(opened.order)["payload"]))

        def carry_out(commit: Commit) -> None:
            commit()
            before = Ending(None, 40, 1, 0, unhurt=True)
            if not self._authority.passes(self.exchanged or order, ("north",), before):
                raise RuntimeError("another order")
            type(self).passed += 1
            type(self).order = order

        time.sleep(self.preparing_s)
        yield carry_out

    def run(self) -> bool:
        if self._authority.begins(self.order, ("north",), self):
            type(self).opened += 1
            while not self.fails and not self._stop_asked and self._authority.may_see():
                self._authority.purge(lambda _: Purged(0, 0))
                time.sleep(0.01)
        purged = Purged(2, 1) if self._authority.revoked else None
        self._authority.blinded(Ending(purged, 50, 2, 1, unhurt=not self.fails))
        return not self.fails


class Running:
    """A service on a thread of its own."""

    def __init__(self, van: Kit, control: Path) -> None:
        self.van = van
        self.control = control
        config = van.config.model_copy(update={"control": control})
        self.service = Service(config, "0" * 64, ManualClock(van.clocks.reading.wall), van.clocks)
        self.next: Next | None = None
        self.error: ConfigError | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.next = self.service.run()
        except ConfigError as error:  # the command says it, and ends
            self.error = error

    def load(self) -> None:
        ask(self.control, Order(do="load"), self.van.package)

    def wait(self, until: Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while not until():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self) -> Next | None:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.next

    def record(self) -> Record:
        return Record.from_untrusted((self.van.state / "deployment.json").read_bytes())

    def events(self, kind: str) -> list[Event]:
        with (self.van.state / "audit.log").open("rb") as file:
            return [entry.event for entry in unverified_entries(file) if entry.event.kind == kind]


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    van = kit(tmp_path / "van")
    fake = type("FakeDaemon", (FakeDaemon,), {"order": van.seal()})
    monkeypatch.setattr(serving, "Daemon", fake)
    monkeypatch.setattr(serving, "Post", FakePost)
    monkeypatch.setattr(serving, "_VERIFY_AGAIN_S", 0.5)
    with TemporaryDirectory(prefix="lfr-") as short:
        made = Running(van, Path(short) / "control.sock")
        yield made
        made.service.stop()
        made.end()


FIELDS = ("order", "cause", "faces", "alerts")


def fake() -> type[FakeDaemon]:
    return serving.Daemon  # type: ignore[return-value]


def live(running: Running) -> None:
    running.load()
    running.wait(lambda: fake().opened == 1)


def test_an_idle_van_says_why_it_is_blind_until_it_is_told_to_end(running: Running) -> None:
    running.wait(lambda: FakePost.said)
    assert FakePost.said[-1] == ("idle", (Reason.NO_ORDER,))
    running.service.stop()
    assert running.end() is Next.STOP
    assert running.record().state is State.IDLE


def test_an_order_that_begins_later_waits_armed(running: Running) -> None:
    start = running.van.clocks.reading.wall + timedelta(minutes=1)
    fake().order = running.van.seal(not_before=start)
    running.load()
    running.wait(lambda: ("armed", (Reason.OUTSIDE_WINDOW,)) in FakePost.said)
    assert fake().opened == 0
    running.van.clocks.advance(60)
    running.wait(lambda: fake().opened == 1)


@pytest.mark.parametrize("jump", [timedelta(days=365), timedelta(days=-365)])
def test_a_clock_that_jumps_blinds_and_the_deployment_is_not_lost(running: Running, jump: timedelta) -> None:
    live(running)
    right = running.van.clocks.reading
    running.van.clocks.reading = Reading(right.wall + jump, right.boot_s, right.boot_id, synchronised=True)
    assert running.end() is Next.AGAIN
    assert running.record().state is State.ARMED
    (ended,) = running.events("period-ended")
    assert ended.model_dump()["cause"] == "clock"
    running.van.clocks.reading = right
    again = Running(running.van, running.control)
    again.wait(lambda: fake().opened == 2)
    again.service.stop()
    assert again.end() is Next.STOP


def test_the_end_of_the_window_erases_everything(running: Running) -> None:
    live(running)
    running.van.clocks.advance(6 * 3600)
    assert running.end() is Next.AGAIN
    assert (running.record().state, running.record().cause, running.record().erased) == (
        State.ENDED,
        "window-over",
        True,
    )
    assert [Path(name).parts[0] for name in running.van.files()] == ["receipts"]
    (ended,) = running.events("period-ended")
    fields = ended.model_dump()
    assert (fields["cause"], fields["faces"], fields["alerts"]) == ("window-over", 50, 2)


def test_stop_while_the_engines_load_is_answered_at_once_and_no_camera_opens(running: Running) -> None:
    fake().building_s = 3.0
    running.load()
    running.wait(lambda: running.record().state is State.LIVE)
    started = time.monotonic()
    assert ask(running.control, Order(do="stop")).state == "ended"
    assert time.monotonic() - started < 1
    assert running.end() is Next.AGAIN
    assert fake().opened == 0
    assert running.record().erased
    assert running.events("period-began") == running.events("period-ended") == []


def test_a_period_whose_files_are_over_is_recorded_as_that(running: Running) -> None:
    live(running)
    running.service.period.files_over()
    assert running.end() is Next.AGAIN
    (ended,) = running.events("period-ended")
    assert ended.model_dump()["cause"] == "files-over"


def test_whoever_stops_hears_of_it_when_the_end_is_in_the_log(running: Running) -> None:
    live(running)
    ask(running.control, Order(do="stop"))
    assert len(running.events("period-ended")) == 1


def test_a_stop_is_recorded_with_who_asked(running: Running) -> None:
    live(running)
    ask(running.control, Order(do="revoke"))
    assert running.end() is Next.AGAIN
    (command,) = running.events("command-received")
    fields = command.model_dump()
    assert fields["by"].startswith("account:")
    assert (fields["command"], fields["outcome"], fields["order"]) == ("revoke", "done", ORDER.id)
    assert len(running.events("alerts-erased")) == 1


def test_an_armed_deployment_that_is_revoked_purges_the_outbox(running: Running) -> None:
    fake().order = running.van.seal(not_before=running.van.clocks.reading.wall + timedelta(minutes=1))
    running.load()
    FakePost.purged.clear()
    ask(running.control, Order(do="revoke"))
    running.wait(lambda: running.record().erased and FakePost.purged)
    assert FakePost.purged == [ORDER.id]
    assert running.next is None, "there was no period of recognition: the process goes on"


def test_an_ended_deployment_can_still_be_revoked(running: Running) -> None:
    fake().order = running.van.seal(not_before=running.van.clocks.reading.wall + timedelta(minutes=1))
    running.load()
    FakePost.purged.clear()
    ask(running.control, Order(do="stop"))
    running.wait(lambda: running.record().erased)
    assert FakePost.purged == []
    ask(running.control, Order(do="revoke"))
    running.wait(lambda: FakePost.purged == [ORDER.id] and not running.record().purge)
    (erased,) = running.events("alerts-erased")
    assert erased.model_dump()["alerts"] == 3


def test_a_revocation_that_comes_while_the_van_goes_blind_is_carried_out_by_the_next_process(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(running)
    FakePost.purged.clear()
    genuine = Period.blinded

    def revoked_meanwhile(period: Period, ending: Ending) -> None:
        period.keeper.end(ORDER.id, Request.REVOKE)
        genuine(period, ending)

    monkeypatch.setattr(Period, "blinded", revoked_meanwhile)
    ask(running.control, Order(do="stop"))
    assert running.end() is Next.AGAIN
    assert running.record().purge == (ORDER.id,)
    assert running.events("alerts-erased") == []
    with restarted(running) as again:
        again.wait(lambda: not again.record().purge)
        assert FakePost.purged == [ORDER.id]
        (erased,) = again.events("alerts-erased")
    assert erased.model_dump()["alerts"] == 3


def test_a_daemon_that_nobody_asked_to_delete_anything_does_not_say_that_it_did() -> None:
    daemon = Daemon.__new__(Daemon)  # without engines and cameras
    daemon._authority = DemoWindow(ORDER.model_copy(update={"demo": True}), ManualClock())
    assert daemon._purged() is None


def test_a_revocation_of_what_replaced_an_order_whose_engines_load_is_not_credited_to_the_wrong_one(
    running: Running,
) -> None:
    fake().building_s = 3.0
    running.load()
    running.wait(lambda: running.record().state is State.LIVE)
    load_another(running)
    FakePost.purged.clear()
    ask(running.control, Order(do="revoke"))
    assert running.end() is Next.AGAIN
    assert running.record().purge == ("another",), "nothing was seen under it, nor deleted"
    assert running.events("alerts-erased") == []
    with restarted(running) as again:
        again.wait(lambda: FakePost.purged == ["another"] and not again.record().purge)


def test_a_van_that_cannot_delete_what_was_revoked_sends_nothing_and_does_not_see(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.wait(lambda: FakePost.said)
    monkeypatch.setattr(FakePost, "refuses", True)
    running.service._keeper.end("before", Request.REVOKE)
    running.load()
    running.wait(lambda: running.record().state is State.LIVE)
    time.sleep(0.5)
    assert fake().opened == 0
    monkeypatch.setattr(FakePost, "refuses", False)
    running.wait(lambda: fake().opened == 1)
    assert running.record().purge == ()


def test_the_answer_to_a_load_says_why_the_van_is_blind(running: Running) -> None:
    running.van.seal(not_before=running.van.clocks.reading.wall + timedelta(minutes=1))
    assert ask(running.control, Order(do="load"), running.van.package).blind == ("outside-window",)


def test_an_idle_van_does_not_say_that_it_revoked_anything(running: Running) -> None:
    with pytest.raises(PolicyError) as refused:
        ask(running.control, Order(do="revoke"))
    assert refused.value.reason is Reason.NO_ORDER


def test_what_was_revoked_before_a_power_cut_is_deleted_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    van = kit(tmp_path / "van")
    holder = van.process()
    with van.package.open("rb") as package:
        holder.custody.take(package, "account:technician")
    holder.keeper.decide()
    holder.keeper.decide(Request.REVOKE)
    holder.custody.erase()
    holder.close()
    monkeypatch.setattr(serving, "Post", FakePost)
    monkeypatch.setattr(FakePost, "refuses", True)
    with TemporaryDirectory(prefix="lfr-") as short:
        again = Running(van, Path(short) / "control.sock")
        again.wait(lambda: len(FakePost.said) > 2)
        assert FakePost.done == []
        monkeypatch.setattr(FakePost, "refuses", False)
        again.wait(lambda: "begin" in FakePost.done)
        assert FakePost.done[:2] == ["purge", "begin"]
        again.service.stop()
        assert again.end() is Next.STOP
    assert again.record().purge == ()


def test_a_camera_file_that_is_not_there_is_said_once_and_the_van_sees_when_it_is(
    running: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, service = tmp_path / "street.mp4", running.service
    (camera,) = service._config.cameras
    film = {"cameras": (camera.model_copy(update={"source": str(clip)}),)}
    service._config = service._config.model_copy(update=film)
    for content in (None, b""):
        if content is not None:
            clip.write_bytes(content)
        running.wait(lambda: caplog.text.count("street.mp4") == 1)
        caplog.clear()
        time.sleep(0.3)
        assert caplog.text == ""
    running.load()
    running.wait(lambda: ("armed", (Reason.SOURCE_UNREADABLE,)) in FakePost.said)
    assert ask(running.control, Order(do="status")).blind == ("source-unreadable",)
    verified: list[None] = []
    monkeypatch.setattr(service._custody, "verify", lambda: verified.append(None))
    time.sleep(1)
    assert (fake().opened, verified) == (0, []), "a package is not read again and again for that"
    clip.write_bytes(b"anything")
    running.wait(lambda: fake().opened == 1)


def test_engines_that_do_not_load_leave_the_van_armed_and_are_tried_again(running: Running) -> None:
    fake().cannot_start = DeviceError(Reason.ENGINE_FAILED, "no engine", fix="install it")
    running.load()
    running.wait(lambda: ("armed", (Reason.ENGINE_FAILED,)) in FakePost.said)
    fake().cannot_start = None
    running.wait(lambda: fake().opened == 1)


def load_another(running: Running, **changes: object) -> Reply:
    return ask(running.control, Order(do="load"), running.van.seal_another(id="another", replaces=ORDER.id, **changes))


def test_an_order_that_replaces_an_armed_one_waits_for_its_own_window(running: Running) -> None:
    start = running.van.clocks.reading.wall + timedelta(minutes=1)
    running.van.seal(not_before=start)
    running.load()
    assert load_another(running, not_before=start + timedelta(minutes=1)).order == "another"
    running.wait(lambda: running.record().replaced is None)
    (erased,) = running.events("deployment-erased")
    assert erased.model_dump()["order"] == ORDER.id
    running.van.clocks.advance(60)
    time.sleep(0.5)
    assert running.record().state is State.ARMED


def test_an_order_that_is_replaced_while_its_engines_load_opens_no_camera(running: Running) -> None:
    fake().building_s = 3.0
    running.load()
    running.wait(lambda: running.record().state is State.LIVE)
    assert load_another(running).order == "another"
    assert running.end() is Next.AGAIN
    assert fake().opened == 0
    assert running.events("period-began") == []
    terms = running.record().terms
    assert terms is not None
    assert (running.record().state, terms.order, running.record().replaced) == (State.ARMED, "another", None)


def test_an_order_takes_over_from_a_live_one_and_the_log_tells_their_periods_apart(running: Running) -> None:
    live(running)
    reply = load_another(running)
    assert (reply.state, reply.order) == ("live", "another")
    assert (fake().opened, fake().passed) == (1, 1), "and no camera was closed"
    running.wait(lambda: running.record().replaced is None)
    (erased,) = running.events("deployment-erased")
    assert erased.model_dump()["order"] == ORDER.id
    ask(running.control, Order(do="stop"))
    assert running.end() is Next.AGAIN
    began = [event.model_dump()["order"] for event in running.events("period-began")]
    ended = [tuple(event.model_dump()[name] for name in FIELDS) for event in running.events("period-ended")]
    assert began == [ORDER.id, "another"]
    assert ended == [(ORDER.id, "replaced", 40, 1), ("another", "stop", 50, 2)]


def test_a_takeover_that_the_log_did_not_take_is_in_it_as_soon_as_there_is_room(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(running)
    key = running.van.state / "prekeys" / f"{running.van.recipient}.prekey"
    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "append", full_of("period-began"))
        load_another(running)
        running.wait(lambda: not key.exists())  # it does not wait for the log
        time.sleep(0.3)
        assert running.events("deployment-erased") == []
    running.wait(lambda: running.record().replaced is None)
    began = [event.model_dump()["order"] for event in running.events("period-began")]
    assert (began, fake().opened, running.record().state) == ([ORDER.id, "another"], 1, State.LIVE)
    with (running.van.state / "audit.log").open("rb") as file:
        kinds = [entry.event.kind for entry in unverified_entries(file)]
    assert kinds[-3:] == ["period-ended", "period-began", "deployment-erased"]


def test_a_disk_without_room_for_a_receipt_does_not_blind_and_it_is_written_when_there_is(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(running)
    genuine = Path.mkdir

    def full(path: Path, *args: Any, **options: Any) -> None:
        if path.name == "receipts":
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(path, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", full)
        load_another(running)
        time.sleep(0.3)
        assert running.record().replaced is not None
    running.wait(lambda: running.record().replaced is None)
    assert (running.next, running.record().state, fake().opened) == (None, State.LIVE, 1)


def test_a_stop_does_not_wait_for_a_list_that_is_being_opened(running: Running) -> None:
    live(running)
    fake().preparing_s = 3.0
    with ThreadPoolExecutor(1) as office:
        loading = office.submit(load_another, running)
        running.wait(lambda: len(list((running.van.state / "deployment").glob("[!.]*.lfrd"))) == 2)
        started = time.monotonic()
        assert ask(running.control, Order(do="stop")).state == "ended"
        assert time.monotonic() - started < 1
        with pytest.raises(LfrEdgeError):
            loading.result()
    assert running.end() is Next.AGAIN
    terms = running.record().terms
    assert terms is not None
    assert (terms.order, running.record().cause, fake().passed) == (ORDER.id, "stop", 0)


def test_a_stop_does_not_wait_for_a_package_that_comes_slowly_while_the_van_sees(running: Running) -> None:
    live(running)
    reading, writing = os.pipe()
    slow = running.van.folder / "slow.lfrd"
    slow.symlink_to(f"/proc/self/fd/{reading}")
    with ThreadPoolExecutor(1) as office:
        loading = office.submit(ask, running.control, Order(do="load"), slow)
        running.wait(lambda: len(list((running.van.state / "deployment").iterdir())) == 2)
        started = time.monotonic()
        assert ask(running.control, Order(do="stop")).state == "ended"
        assert time.monotonic() - started < 1
        os.close(writing)
        with pytest.raises(LfrEdgeError):
            loading.result()
    os.close(reading)
    assert running.end() is Next.AGAIN
    assert running.record().erased


def test_a_package_that_was_exchanged_at_the_last_moment_is_not_seen_under(running: Running) -> None:
    live(running)
    fake().exchanged = ORDER
    with pytest.raises(LfrEdgeError):
        load_another(running)
    assert fake().passed == 0
    assert running.events("period-ended") == []


def test_a_start_ends_the_period_that_the_log_knows_whatever_the_record_says(running: Running) -> None:
    live(running)

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    running.service.period.late.say = killed  # type: ignore[method-assign]
    with pytest.raises(LfrEdgeError):
        load_another(running)
    terms = running.record().terms
    assert terms is not None
    assert terms.order == "another"
    del running.service.period.late.say
    assert running.events("period-ended") == []
    history = History()
    for event in running.events("period-began"):
        history.hear(event)
    ended = history.missing(running.record())[0].model_dump()
    assert (ended["kind"], ended["order"]) == ("period-ended", ORDER.id)


@pytest.mark.parametrize("erased", [False, True], ids=["loaded", "window-over"])
def test_a_start_says_why_a_period_ended_as_the_process_before_left_it(running: Running, *, erased: bool) -> None:
    """The power fails while the van sees; in one case the window closes while it is off."""
    live(running)
    files = running.van.folder / "at-the-power-cut"
    shutil.copytree(running.van.state, files)
    if erased:
        running.van.clocks.advance(24 * 3600)
    with restarted(running, files) as again:
        if erased:
            again.wait(lambda: again.record().erased)
        causes = [event.model_dump()["cause"] for event in again.events("period-ended")]
    assert causes[0] == "power-loss"


def test_a_start_after_a_takeover_that_the_log_did_not_hear_of_says_replaced(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(running)
    files = running.van.folder / "at-the-power-cut"
    genuine = Period.passes

    def power_fails(period: Period, *arguments: Any) -> bool:
        shutil.copytree(running.van.state, files)
        return genuine(period, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Period, "passes", power_fails)
        load_another(running)
    with restarted(running, files) as again:
        again.wait(lambda: again.record().replaced is None)
        ended = again.events("period-ended")[0]
    assert (ended.model_dump()["order"], ended.model_dump()["cause"]) == (ORDER.id, "replaced")


def test_an_order_that_is_not_the_verified_one_opens_no_camera(running: Running) -> None:
    fake().order = ORDER
    running.load()
    assert running.end() is Next.AGAIN
    assert fake().opened == 0


def give(running: Running, secret: str) -> Reply:
    """As `lfr-edge deployment unlock` does."""
    with TemporaryFile() as file:
        file.write(secret.encode("ascii"))
        file.flush()
        return ask(running.control, Order(do="unlock"), file)


def asked_for_a_share(running: Running, **changes: object) -> SealIdentity:
    share = SealIdentity.generate()
    fake().order = running.van.seal(share=share, **changes)
    running.load()
    running.wait(lambda: any(Reason.UNLOCK_REQUIRED in blind for _, blind in FakePost.said))
    return share


def outcomes(running: Running) -> list[tuple[str, str | None]]:
    return [
        (str(fields["outcome"]), fields["reason"])
        for event in running.events("command-received")
        if (fields := event.model_dump())["command"] == "unlock"
    ]


def test_a_van_is_blind_until_the_share_is_given_and_then_sees_at_once(running: Running) -> None:
    share = asked_for_a_share(running)
    assert ask(running.control, Order(do="status")).blind == ("unlock-required",)
    assert fake().opened == 0
    assert give(running, share.secret).blind == ()
    running.wait(lambda: fake().opened == 1)
    assert running.service.period.share_of(fake().order).secret == share.secret  # type: ignore[attr-defined]
    (event,) = running.events("command-received")
    assert event.by.startswith("account:")
    assert outcomes(running) == [("done", None)]


def test_a_share_that_is_given_before_its_window_opens_the_list_when_that_comes(running: Running) -> None:
    start = running.van.clocks.reading.wall + timedelta(minutes=1)
    share = asked_for_a_share(running, not_before=start)
    assert give(running, share.secret).blind == ("outside-window",)
    running.van.clocks.advance(60)
    running.wait(lambda: fake().opened == 1)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (SealIdentity.generate().secret, Reason.WRONG_RECIPIENT),
        ("", Reason.VALUE_INVALID),
        ("AGE-SECRET-KEY-1" + "Q" * 58, Reason.VALUE_INVALID),
        ("\0" * 5000, Reason.VALUE_INVALID),
    ],
    ids=["another", "none", "typing-error", "zeros"],
)
def test_a_wrong_share_is_refused_by_name_and_the_right_one_still_opens(
    running: Running, wrong: str, reason: Reason
) -> None:
    share = asked_for_a_share(running)
    with pytest.raises(PolicyError) as refused:
        give(running, wrong)
    assert refused.value.reason is reason
    assert outcomes(running) == [("refused", reason.value)]
    assert running.end() is Next.AGAIN, "what was typed goes with the process"
    assert fake().opened == 0
    again = Running(running.van, running.control)
    give(again, share.secret)
    again.wait(lambda: fake().opened == 1)
    with pytest.raises(PolicyError):
        give(again, wrong)
    time.sleep(0.5)
    assert again.record().state is State.LIVE, "a wrong one takes nothing away"
    again.service.stop()
    again.end()


def test_a_share_is_refused_where_none_is_asked_for(running: Running) -> None:
    with pytest.raises(PolicyError) as refused:
        give(running, SealIdentity.generate().secret)
    assert refused.value.reason is Reason.NO_ORDER
    live(running)
    with pytest.raises(PolicyError, match="needs no share"):
        give(running, SealIdentity.generate().secret)


@pytest.mark.parametrize("end", ["stop", "revoke", "window-over", "replaced"])
def test_the_share_is_overwritten_when_the_deployment_ends_and_the_process_starts_again(
    running: Running, end: str
) -> None:
    share = asked_for_a_share(running, not_before=running.van.clocks.reading.wall + timedelta(minutes=1))
    give(running, share.secret)
    page = os.dup(running.service._share._page.file)  # type: ignore[union-attr]
    assert os.pread(page, 100, 0).rstrip(b"\0") == share.secret.encode()
    if end == "window-over":
        running.van.clocks.advance(7 * 3600)
    elif end == "replaced":
        load_another(running)
    else:
        ask(running.control, Order(do=end))
    assert running.end() is Next.AGAIN
    assert os.pread(page, 5000, 0) == bytes(mmap.PAGESIZE)
    os.close(page)
    assert running.service._share.spent
    assert running.record().replaced is None
    (erased,) = running.events("deployment-erased")
    fields = erased.model_dump()
    assert fields["level"] == "disk-opens-nothing"
    assert {"old-blocks", "share-elsewhere"} <= set(fields["unverified"])


def test_the_log_has_the_unlocking_before_the_share_opens_anything(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = asked_for_a_share(running)

    def full(*_: object) -> None:
        raise DeviceError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")

    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "append", full)
        with pytest.raises(PolicyError) as refused:
            give(running, share.secret)
    assert refused.value.reason is Reason.FILE_UNWRITABLE
    assert fake().opened == 0
    assert running.record().state is State.ARMED


def test_an_order_that_asks_for_a_share_does_not_take_over_while_the_van_sees(running: Running) -> None:
    live(running)
    with pytest.raises(PolicyError) as refused:
        load_another(running, share=SealIdentity.generate())
    assert refused.value.reason is Reason.UNLOCK_REQUIRED
    assert (running.record().state, fake().opened, fake().passed) == (State.LIVE, 1, 0)
    assert load_another(running).order == "another", "without a share it takes over"


def test_the_share_of_an_order_that_is_replaced_while_the_van_sees_is_overwritten_at_once(running: Running) -> None:
    share = asked_for_a_share(running)
    give(running, share.secret)
    running.wait(lambda: fake().opened == 1)
    page = os.dup(running.service._share._page.file)  # type: ignore[union-attr]
    assert load_another(running).state == "live"
    running.wait(lambda: running.events("deployment-erased"))
    assert os.pread(page, 5000, 0) == bytes(mmap.PAGESIZE)
    os.close(page)
    assert (running.record().state, fake().opened, fake().passed) == (State.LIVE, 1, 1)
    (erased,) = running.events("deployment-erased")
    assert set(erased.model_dump()["unverified"]) == {
        "old-blocks",
        "wrapping-key-on-disk",
        "share-elsewhere",
        "old-heap",
    }
    ask(running.control, Order(do="stop"))
    assert running.end() is Next.AGAIN
    assert running.service._share.spent


def test_a_clock_is_recovered_by_as_many_officers_as_sign_orders(running: Running) -> None:
    live(running)
    question = ask(running.control, Order(do="clock-challenge")).content
    at = running.van.clocks.reading.wall
    officers = running.van.officers
    statement = ClockStatement(force="example", van="van-1", challenge=question, at=at, by="Supt A", why="it was wrong")
    elsewhere = statement.model_copy(update={"van": "van-2"})
    forged = [sign_statement(statement, officers[:1]), sign_statement(elsewhere, officers), b"nonsense"]
    forged.append(sign(statement.to_json(), Purpose.ORDER, officers))
    for untrusted in forged:
        with pytest.raises(PolicyError):
            ask(running.control, Order(do="clock-recover", content=untrusted.decode()))
    assert running.events("clock-recovered") == []
    ask(running.control, Order(do="clock-recover", content=sign_statement(statement, officers).decode()))
    (recovered,) = running.events("clock-recovered")
    assert recovered.by == "person:Supt A"


def test_a_shutdown_keeps_the_deployment(running: Running) -> None:
    live(running)
    running.service.stop()
    assert running.end() is Next.STOP
    assert running.record().state is State.ARMED
    (ended,) = running.events("period-ended")
    assert ended.model_dump()["cause"] == "shutdown"
    assert running.service.period.last_word == "offline"


def test_a_fault_of_recognition_ends_the_process(running: Running) -> None:
    fake().fails = True
    live(running)
    assert running.end() is Next.FAIL
    (ended,) = running.events("period-ended")
    assert ended.model_dump()["cause"] == "fault"
    assert running.record().state is State.ARMED


def test_a_disk_that_takes_no_record_blinds(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    live(running)

    def full(*_: object, **__: object) -> None:
        raise ConfigError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")

    with monkeypatch.context() as patched:
        patched.setattr(keeping, "new_file", full)
        running.van.clocks.advance(60)
        running.wait(lambda: running.events("period-ended"))
        assert not running.service.period.may_see()
        time.sleep(0.3)
        assert running.next is None, "a new process would know only the disk"
    assert running.end() is Next.AGAIN
    assert running.record().state is State.ARMED


def test_a_stop_on_a_disk_that_takes_nothing_blinds_destroys_the_key_and_is_not_lost(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(running)

    def full(*_: object, **__: object) -> None:
        raise ConfigError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")

    def full_log(_: object, *events: Event) -> None:
        if events:
            raise DeviceError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")

    with monkeypatch.context() as patched:
        for module in (keeping, erasing):
            patched.setattr(module, "new_file", full)
        patched.setattr(AuditLog, "append", full_log)
        with pytest.raises(PolicyError) as told:
            ask(running.control, Order(do="stop"))
        assert told.value.reason is Reason.FILE_UNWRITABLE
        running.wait(lambda: running.van.files() == set())
        assert running.record().state is State.LIVE
    assert running.end() is Next.AGAIN
    again = Running(running.van, running.control)
    again.wait(lambda: again.record().erased)
    again.service.stop()
    again.end()
    assert fake().opened == 1
    for kind in ("command-received", "period-ended", "deployment-erased"):
        assert len(running.events(kind)) == 1, kind


def test_a_start_erases_what_has_ended_before_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    van = kit(tmp_path / "van")
    holder = van.process()
    with van.package.open("rb") as package:
        holder.custody.take(package, "account:technician")
    holder.keeper.decide()
    holder.keeper.decide(Request.STOP)
    holder.close()

    def full(_: object, *events: Event) -> None:
        if events:
            raise DeviceError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")

    monkeypatch.setattr(serving, "Post", FakePost)
    monkeypatch.setattr(AuditLog, "append", full)
    with TemporaryDirectory(prefix="lfr-") as short:
        again = Running(van, Path(short) / "control.sock")
        again.wait(lambda: all(name.startswith("receipts") for name in van.files()))
        again.service.stop()
        assert again.end() is Next.STOP


def full_of(*kinds: str) -> Callable[..., None]:
    """An `AuditLog.append` whose disk has no room for these kinds of event; without any, for none."""
    genuine = AuditLog.append

    def append(log: AuditLog, *events: Event) -> None:
        if any(not kinds or event.kind in kinds for event in events):
            raise DeviceError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")
        genuine(log, *events)

    return append


def test_a_period_that_cannot_be_logged_does_not_begin_until_there_is_room(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "append", full_of("period-began"))
        running.load()
        assert running.end() is Next.AGAIN, "not with a fault of ours"
    assert fake().opened == 0
    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "append", full_of())
        again = Running(running.van, running.control)
        again.wait(lambda: ("armed", (Reason.FILE_UNWRITABLE,)) in FakePost.said)
        time.sleep(0.5)
        assert (fake().opened, again.record().state) == (0, State.ARMED)
        reply = ask(again.control, Order(do="status"))
        assert (reply.state, reply.blind) == ("armed", ("file-unwritable",))
    again.wait(lambda: fake().opened == 1)
    again.service.stop()
    again.end()
    assert len(again.events("period-began")) == len(again.events("period-ended")) == 1
    assert len(again.events("started")) == 2


def test_a_log_that_fills_while_the_van_sees_does_not_blind_it(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(running)
    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "append", full_of())
        assert not running.service.period.note(running.events("period-began")[0])
        time.sleep(0.3)
        assert running.service.period.may_see()


@pytest.mark.parametrize("point", ["live", "began", "blind", "ended", "erased"])
def test_a_power_cut_leaves_no_period_open_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    van = kit(tmp_path / "van")
    order = van.seal()
    holder = van.process()
    with van.package.open("rb") as package:
        holder.custody.take(package, "account:technician")
    holder.keeper.decide()
    if point != "live":
        began = {"order": order.id, "watchlist_sha256": order.watchlist_sha256, "engine_set": "0" * 64}
        holder.log.append(PeriodBegan(by="system:lfr-edge", why="test", threshold="0.5000", cameras=("n",), **began))
    if point in {"ended", "erased"}:
        holder.keeper.decide(Request.STOP)
    if point == "blind":
        holder.keeper.rest()
    if point == "erased":
        holder.custody.erase()
    holder.close()  # here the power fails
    monkeypatch.setattr(serving, "Post", FakePost)
    monkeypatch.setattr(serving, "Daemon", type("FakeDaemon", (FakeDaemon,), {"order": order}))
    with TemporaryDirectory(prefix="lfr-") as short:
        again = Running(van, Path(short) / "control.sock")
        again.wait(lambda: FakePost.said or fake().opened)
        again.service.stop()
        again.end()
    first = {"live": [], "began": ["power-loss"], "blind": ["power-loss"], "ended": ["stop"], "erased": ["stop"]}[point]
    causes = [event.model_dump()["cause"] for event in again.events("period-ended")]
    assert causes[: len(first)] == first
    assert len(causes) == len(again.events("period-began"))


@contextmanager
def restarted(running: Running, disk: Path | None = None) -> Iterator[Running]:
    """The next process of the same van; after a power cut, which left this on its `disk`."""
    running.service.stop()
    running.end()
    if disk is not None:
        shutil.rmtree(running.van.state)
        disk.rename(running.van.state)
    FakePost.said.clear()
    before = fake().opened
    again = Running(running.van, running.control)
    try:
        again.wait(lambda: FakePost.said or fake().opened > before)
        yield again
    finally:
        again.service.stop()
        again.end()


def test_a_log_that_was_begun_anew_says_what_is_loaded(running: Running) -> None:
    running.van.seal(not_before=running.van.clocks.reading.wall + timedelta(minutes=1))
    running.load()
    (loaded,) = running.events("deployment-loaded")
    running.service.stop()
    running.end()
    (running.van.state / "audit.log").unlink()
    with restarted(running) as again:
        (known,) = again.events("deployment-loaded")
    assert known.model_copy(update={"by": loaded.by}) == loaded
    with restarted(again) as once_more:
        assert len(once_more.events("started")) == 2
        assert len(once_more.events("deployment-loaded")) == 1
