"""The composition root of the recognition process, and its supervisor.

    cameras -> capture threads -> mailbox -> recognise thread -> outbox -> sender -> broker

Between two pictures another order may take over (`Daemon.prepared`): a `Mandate` is exchanged, all else goes on.

`Daemon` builds everything before it opens a camera, so that whatever is wrong is said first. It ends when told to, when
its `Authority` says so, when every file has ended, or when a stage fails; in every case in the same order: cameras
close, the mailbox and the tracks are wiped, the engines forget, the list is wiped, alerts get a last chance to leave.
What may heal (a lost camera, an absent broker) is reported and waited out.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.adapters.evidence import JpegEvidenceSealer
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import Clock
from lfr_edge.config import VanConfig
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, DeviceError, LfrEdgeError, Reason
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.order import Order
from lfr_edge.messages.status import CameraHealth, Health, Status
from lfr_edge.pipeline.decide import Decider, Rule
from lfr_edge.pipeline.mailbox import Mailbox
from lfr_edge.pipeline.outbox import Outbox, Purged
from lfr_edge.pipeline.recognise import Recogniser, View
from lfr_edge.van import deployment
from lfr_edge.van.authority import Authority, DemoWindow, Ending
from lfr_edge.van.bus import Bus
from lfr_edge.van.cameras import open_cameras
from lfr_edge.van.custody import find_identity, stock_of
from lfr_edge.van.deployment import Deployment
from lfr_edge.van.erasure import Handover
from lfr_edge.van.mandate import Mandate
from lfr_edge.van.period_log import CameraLog, LoggedSealer
from lfr_edge.van.sender import Sender
from lfr_edge.van.stages import Recognition, Stage, capture, stopped
from lfr_edge.van.succession import Commit
from lfr_edge.watchlist.container import bytes_to_open

_LOG = logging.getLogger(__name__)

_TICK_S = 0.2
_HEALTH_EVERY_TICKS = 5
_OVERDUE_TICKS = 5
_JOIN_S = 10.0  # every blocking call in a stage has a shorter time-out


class Daemon:
    """One period of recognition under one deployment package. ConfigError, PolicyError, ... if it may not start."""

    def __init__(
        self, config: VanConfig, config_sha256: str, package: Path, clock: Clock, authority: Authority | None = None
    ) -> None:
        """Without an authority the order must be a demo: its window is all that limits it."""
        self._clock = clock
        self._config = config
        self._stop_asked = False
        self._stopping = threading.Event()
        self._news = threading.Event()  # a stage has ended
        self._overdue_ticks = 0  # in a row
        self._engine_set = load_engine_set(config.engines.set, config.engines.manifests or DEFAULT_MANIFESTS)
        with ExitStack() as if_refused:
            if authority is None:
                checked = deployment.load(package, config, self._engine_set, clock.utc())
            else:  # it knows better which time it is
                checked = deployment.check(package, config, self._engine_set)
            if_refused.callback(checked.close)
            self._authority = authority or DemoWindow(checked.order, clock)
            self._arena = _open_arena(config)
            if_refused.callback(self._arena.wipe)
            self._cameras = open_cameras(config.cameras, self._arena, clock)
            self._camera_log = CameraLog(self._cameras, checked.order.id, self._authority.note)
            lossless = [camera.id for camera in config.cameras if camera.pace == "full-speed"]
            self._mailbox = Mailbox(self._cameras, lossless=lossless)
            self._mandate = self._opened(checked)
            self._recognition = Recognition(self._open_recogniser(), self._mailbox, clock, self._deliver)
            self._before = (0, 0, 0)  # faces, alerts and test passes under orders before this one
            self._outbox, session = open_outbox(config.state)
            if_refused.callback(self._outbox.close)
            status = self._first_status(session, config_sha256)
            self._told = self._order.id  # the order that was last said on the bus
            self._bus = Bus(config.broker, config.force, status, clock, self._authority)
            self._hand_over = Handover(config.state / "receipts", self._bus.publish_receipt)
            self._sender = Sender(self._outbox, self._bus, clock, self._authority.note, self._tell)
            if_refused.pop_all()

    def stop(self) -> None:
        """Blind the van with the next tick. For signal handlers: an event's lock may be held by whom they interrupt."""
        self._stop_asked = True

    def look(self) -> None:
        """Ask the authority at once, not with the next tick. Not for signal handlers."""
        self._news.set()

    @contextmanager
    def prepared(self, package: Path) -> Iterator[Callable[[Commit], None]]:
        """See `Succession`. For a thread of its own, while `run` is under way: lists take their time to open."""
        successor, retired = self._open_successor(package), self._mandate
        try:
            yield lambda commit: self._recognition.between_pictures(partial(self._pass_on, successor, commit))
        finally:
            if self._mandate is not successor:
                successor.close()
        # Freeing ten thousands of entries takes a while: here, and not while pictures wait.
        del retired

    def run(self) -> bool:
        """Be live until the end; False if that was a fault of ours."""
        captures = [
            Stage(f"capture-{camera}", partial(capture, camera, source, self._mailbox, self._stopping), self._news.set)
            for camera, source in self._cameras.items()
        ]
        recognise = Stage("recognise", self._recognition.run, self._news.set)
        send = Stage("send", self._sender.run, self._news.set)
        stages = [recognise, *captures]
        unhurt = False
        try:
            if self._authority.begins(self._order, tuple(self._cameras), self):
                self._say_live("")
                self._bus.announce("live")  # kept, and said as soon as there is a broker
                self._bus.start()
                for stage in (*stages, send):
                    stage.start()
                unhurt = self._supervise(captures, recognise, send)
            else:
                stages, unhurt = [], True
        finally:
            self._blind(stages)
            self._authority.blinded(self._ending(self._purged(), unhurt=unhurt))
        return self._leave(stages, send, unhurt=unhurt)

    def _supervise(self, captures: Sequence[Stage], recognise: Stage, send: Stage) -> bool:
        """Return when it is time to end; False if that is a fault of ours."""
        ticks = 0
        while not self._stop_asked:
            self._news.wait(_TICK_S)
            self._news.clear()
            if any(stage.failure for stage in (*captures, recognise, send)) or self._held_too_long():
                return False
            if not self._authority.may_see():
                return True
            self._authority.purge(partial(purge, self._outbox))
            if not any(stage.is_alive() for stage in captures):
                self._recognition.finish()
                if not recognise.is_alive():
                    _LOG.info("every camera has ended")
                    self._authority.files_over()
                    return True
            self._camera_log.look()
            if ticks % _HEALTH_EVERY_TICKS == 0:
                self._bus.report(self._health())
            ticks += 1
        return True

    def _held_too_long(self) -> bool:
        """Whether a lease outlives its row of the retention table: rather no recognition than that.

        Not at first sight: a process that was stopped and goes on finds its leases late, and releases them at once.
        """
        overdue = self._arena.overdue()
        self._overdue_ticks = self._overdue_ticks + 1 if overdue else 0
        if self._overdue_ticks <= _OVERDUE_TICKS:
            return False
        _LOG.error("held past its deadline: %s", ", ".join(sorted({lease.row.name for lease in overdue})))
        return True

    def _blind(self, stages: Sequence[Stage]) -> None:
        """Close the cameras, wipe what waits, let the recogniser wipe its tracks and engines, wipe the list."""
        self._stopping.set()
        try:
            for source in self._cameras.values():
                source.close()
            self._mailbox.close()
            self._recognition.finish()
            for stage in stages:
                stage.join(_JOIN_S)
        finally:
            self._arena.wipe()
            self._mandate.deployment.close()
        _LOG.info("blind: cameras closed, faces and list wiped")

    def _purged(self) -> Purged | None:
        """Delete what was not delivered, if that was asked for: how many that were; None if it was not, or failed."""
        if not self._authority.revoked:
            return None
        try:
            return purge(self._outbox, self._order.id)
        except DeviceError as error:  # the authority must hear of the end all the same
            _LOG.error("the revocation is not complete: %s", error)
            return None

    def _leave(self, blinded: Sequence[Stage], send: Stage, *, unhurt: bool) -> bool:
        """Give waiting alerts a last chance, say goodbye. What failed is not said to have ended: it is offline."""
        self._sender.stop()
        if send.ident is not None:
            send.join(_JOIN_S)  # takes that long only when the broker hangs: then its alerts wait for the next start
        unhurt = unhurt and not send.failure and not any(stage.failure or stage.is_alive() for stage in blinded)
        self._bus.report(self._health())
        self._bus.announce(self._authority.last_word if unhurt else "offline", order=self._order.id)
        self._bus.close()
        self._outbox.close()
        return unhurt

    def _open_successor(self, package: Path) -> Mandate:
        """What is to take over. DeviceError if its list does not fit beside the present one, and all that goes on."""
        try:
            checked = deployment.check(package, self._config, self._engine_set)
            try:
                self._require_room(checked.order)
                return self._opened(checked)
            except BaseException:
                checked.close()
                raise
        except LfrEdgeError:
            if self._stopping.is_set():  # the memory it was writing to was wiped meanwhile
                raise stopped() from None
            raise

    def _require_room(self, order: Order) -> None:
        needed = bytes_to_open(order.template_count, self._engine_set.dimension)
        missing = needed - self._arena.spare_bytes
        if missing > 0:
            # Pictures can come to take more than so far, when the machine is busier: room for twice as much.
            enough = self._config.memory_mib + -(-(missing + self._arena.most_passing_bytes) >> 20)
            raise DeviceError(
                Reason.MEMORY_EXHAUSTED,
                f"the list of order '{order.id}' does not fit into memory beside the one that it replaces",
                fix=f"set memory_mib to {enough} or more in the van's configuration and restart the daemon; or stop the"
                " loaded order first",
            )

    def _pass_on(self, successor: Mandate, commit: Commit) -> None:
        """On the recognise thread: the point of no return, and what must follow it before the next picture."""
        commit()
        retired, self._mandate = self._mandate, successor
        retired.close()
        order, recogniser = successor.order, self._recognition.recogniser
        if not self._authority.passes(order, tuple(self._cameras), self._ending(None, unhurt=True)):
            raise RuntimeError("the package is not the one that was verified a moment ago")
        self._before = self._counted()
        recogniser.take_over(successor.watchlist, successor.decider, successor.sealer)
        self._camera_log = CameraLog(self._cameras, order.id, self._authority.note)
        self._say_live(f", in place of {retired.order.id}")

    def _ending(self, purged: Purged | None, *, unhurt: bool) -> Ending:
        """What was counted under the present order."""
        faces, alerts, passes = (now - before for now, before in zip(self._counted(), self._before, strict=True))
        return Ending(purged, faces, alerts, passes, unhurt=unhurt)

    def _counted(self) -> tuple[int, int, int]:
        counts = self._recognition.recogniser.counts
        return counts.detections, counts.alerts, counts.test_passes

    def _say_live(self, how: str) -> None:
        entries, cameras = len(self._mandate.watchlist), len(self._cameras)
        _LOG.info("live: order %s, %d entries, %d camera(s)%s", self._order.id, entries, cameras, how)

    def _tell(self) -> None:
        """On the sender's thread: which order holds now, and receipts of those that it replaced."""
        order = self._order.id
        if order != self._told and not self._stopping.is_set():
            self._bus.announce("live", order=order)
            self._told = order
        self._hand_over()

    @property
    def _order(self) -> Order:
        return self._mandate.order

    def _deliver(self, sealed: SealedMatch) -> None:
        self._outbox.put(sealed, timedelta(hours=self._order.alert_expiry_h), self._order.recipients)
        self._sender.wake()
        _LOG.info("%s %s", sealed.channel.value, sealed.id)

    def _opened(self, checked: Deployment) -> Mandate:
        """Its list in memory. The keys are read first, because that is quickly said."""
        config, engine_set, order = self._config, self._engine_set, checked.order
        identity = find_identity(checked.assignment.recipient, stock_of(config), config)
        key = SigningKey.from_file(config.keys.alert)
        watchlist = checked.unseal(identity, engine_set, self._arena, self._authority.share_of(order))
        sealer = JpegEvidenceSealer(config.van, order, engine_set, checked.package.pictures, key, self._clock)
        rule = Rule(order.threshold, order.margin, order.confirmation, order.cooldown_s)
        return Mandate(checked, watchlist, Decider(rule), LoggedSealer(sealer, order, engine_set, self._authority.note))

    def _open_recogniser(self) -> Recogniser:
        config, mandate = self._config, self._mandate
        store = EngineStore(config.engines.store)
        return Recogniser(
            open_extractor(self._engine_set, store, self._arena, threads=config.engines.threads),
            mandate.watchlist,
            mandate.decider,
            mandate.sealer,
            {
                camera.id: View(camera.minimum_inter_eye_px, camera.zone, camera.full_look_every)
                for camera in config.cameras
            },
        )

    def _first_status(self, session: int, config_sha256: str) -> Status:
        return Status(
            van=self._config.van,
            session=session,
            state="armed",
            since=self._clock.utc(),
            order=self._order.id,
            engine_set=self._engine_set.digest,
            config_sha256=config_sha256,
            software=version("lfr-edge"),
        )

    def _health(self) -> Health:
        counts = self._recognition.recogniser.counts
        return Health(
            van=self._config.van,
            at=self._clock.utc(),
            cameras=tuple(self._camera_health(camera) for camera in self._cameras),
            tracks=self._recognition.recogniser.tracks_in_view,
            queue=self._mailbox.waiting,
            faces_detected=counts.detections,
            alerts=counts.alerts,
            outbox=len(self._outbox),
            step_ms_p50=self._recognition.step_ms(0.50),
            step_ms_p99=self._recognition.step_ms(0.99),
        )

    def _camera_health(self, camera: str) -> CameraHealth:
        source = self._cameras[camera]
        return CameraHealth(
            id=camera,
            connected=not source.last_error,
            fps=self._recognition.fps(camera),
            frames_read=source.counts.frames_read,
            superseded=self._mailbox.superseded(camera),
            undecodable=source.counts.undecodable,
        )


def _open_arena(config: VanConfig) -> Arena:
    arena = Arena(config.memory_mib << 20)
    if not arena.locked:
        _LOG.warning("leased memory could not be locked: faces could reach swap; raise LimitMEMLOCK")
    return arena


def open_outbox(state: Path) -> tuple[Outbox, int]:
    """The outbox, and the number of this start of the van."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        outbox = Outbox(state / "outbox.sqlite")
        return outbox, outbox.next_session()
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            Reason.FILE_MALFORMED,
            f"the outbox in {state} cannot be used: {error}",
            fix="mend the folder's permissions and free its disk; if the file is damaged, move it away",
        ) from error


def purge(outbox: Outbox, order: str) -> Purged:
    """Delete what waits of this order; returns how much that was. DeviceError if the disk refuses."""
    try:
        return outbox.purge(order)
    except sqlite3.Error as error:
        raise DeviceError(
            Reason.FILE_UNWRITABLE,
            f"alerts and test passes of order '{order}' cannot be deleted: {error}",
            fix="make room on the disk, or mend it",
        ) from error
