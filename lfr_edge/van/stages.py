"""The daemon's threads: one capture thread per camera, one that recognises, one that sends.

A stage runs until its work is done or it is told to stop. An exception that reaches the top of a stage is a fault of
ours: it is logged, remembered, and ends the daemon, which fails closed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack

from lfr_edge.clock import Clock
from lfr_edge.errors import DeviceError, LfrEdgeError, PolicyError, Reason
from lfr_edge.inference.port import REQUESTS_PER_LANE
from lfr_edge.messages.match import SealedMatch
from lfr_edge.pipeline.frame_source import Frame, FrameSource
from lfr_edge.pipeline.mailbox import Mailbox
from lfr_edge.pipeline.recognise import Recogniser, Step

_LOG = logging.getLogger(__name__)

# After this long without a picture the engines are made to forget the last one (retention row OPENVINO: 2 s).
IDLE_S = 1.0
_STEPS_REMEMBERED = 1000
# A file's next pictures follow those that are computed as long as steps take no longer: a picture's time is limited.
_QUICK_MS = 250.0
_RATE_OVER = 50  # pictures: two seconds at 25 fps
_SILENT_NS = 2_000_000_000


class Stage(threading.Thread):
    """A named thread whose failure is somebody's business."""

    def __init__(self, name: str, work: Callable[[], None], on_end: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self.failure: BaseException | None = None
        self._work = work
        self._on_end = on_end

    def run(self) -> None:
        """Do the work; tell the supervisor when it is over, well or badly."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - the top of a thread
            self.failure = error
            _LOG.exception("stage %s failed", self.name)
        finally:
            self._on_end()


def capture(camera: str, source: FrameSource, mailbox: Mailbox, stop: threading.Event) -> None:
    """Read one camera into the mailbox until its file ends or the daemon stops. A lost camera is tried again."""
    lost = False
    try:
        while not stop.is_set():
            mailbox.wait_ready(camera)
            try:
                frame = source.read()
            except DeviceError as error:
                if error.reason is Reason.MEMORY_EXHAUSTED:
                    raise  # no camera's fault, and waiting does not mend it
                if not lost:
                    _LOG.warning("camera %s: %s", camera, error)
                lost = True
                continue
            if frame is None:
                return
            if lost:
                _LOG.info("camera %s is back", camera)
            lost = False
            mailbox.put(frame)
    finally:
        source.close()


class Recognition:
    """The recognise thread: sole owner of the recogniser."""

    def __init__(
        self, recogniser: Recogniser, mailbox: Mailbox, clock: Clock, deliver: Callable[[SealedMatch], None]
    ) -> None:
        self.recogniser = recogniser
        self._mailbox = mailbox
        self._clock = clock
        self._deliver = deliver
        self._finish = threading.Event()
        self._mutex = threading.Lock()  # guards what follows
        self._turn: tuple[Callable[[], None], Future[None]] | None = None
        self._under_way: deque[tuple[Step, float]] = deque()  # and when each was started; the oldest first
        self._step_ms: deque[float] = deque(maxlen=_STEPS_REMEMBERED)
        self._captured_ns: dict[str, deque[int]] = {}  # of the last pictures of each camera
        # Cameras and sizes of pictures for which the engines are ready, or are to be made ready when none is under way.
        self._met: set[tuple[str, int, int]] = set()
        self._unmet: set[tuple[str, int, int]] = set()

    def finish(self) -> None:
        """No more pictures will come: process what waits, then end. Nothing else gets its turn."""
        with self._mutex:
            self._finish.set()
            turn, self._turn = self._turn, None
        if turn is not None:
            turn[1].set_exception(stopped())

    def between_pictures(self, act: Callable[[], None]) -> None:
        """Have the recognise thread do this when no picture is being compared, and every alert so far is delivered.

        Raises what it raises: an LfrEdgeError, and recognition goes on; anything else ends it. One caller at a time.
        PolicyError if no more pictures will come.
        """
        done: Future[None] = Future()
        with self._mutex:
            if self._finish.is_set():
                raise stopped()
            self._turn = act, done
        done.result()

    def run(self) -> None:
        """Process pictures as they come."""
        try:
            while True:
                self._take_turn()
                self._start_steps(0 if self._under_way else IDLE_S)
                if self._under_way:
                    self._finish_step()
                elif self._unmet:
                    self._meet()
                elif self._finish.is_set():
                    return
                else:
                    self.recogniser.idle(self._clock.monotonic_ns())
        finally:
            with ExitStack() as ending:
                ending.callback(self.recogniser.close)
                for step, _ in self._under_way:
                    ending.enter_context(step)

    def _take_turn(self) -> None:
        with self._mutex:
            turn, self._turn = self._turn, None
        if turn is None:
            return
        act, done = turn
        try:
            act()
        except LfrEdgeError as refusal:
            done.set_exception(refusal)
        except BaseException as fault:
            done.set_exception(fault)
            raise
        else:
            done.set_result(None)

    def _start_steps(self, wait_s: float, *, ended: int = 0) -> None:
        """Begin as many steps as there are lanes for; `ended` of those under way need theirs no longer."""
        if self._unmet:
            return
        lanes = self.recogniser.lanes
        quick = bool(self._step_ms) and self._step_ms[-1] < _QUICK_MS
        under_way = len(self._under_way) - ended
        room = max(lanes - under_way, 0)
        following = (REQUESTS_PER_LANE * lanes if quick else lanes) - max(under_way, lanes)
        if room + following <= 0:
            return
        frames = deque(self._mailbox.take(wait_s, most=room, following=max(following, 0)))
        try:
            while frames:
                frame = frames.popleft()
                if self._is_ready_for(frame):
                    self._under_way.append((self.recogniser.start(frame), time.perf_counter()))
                else:
                    frame.release()
        finally:
            for frame in frames:
                frame.release()

    def _is_ready_for(self, frame: Frame) -> bool:
        """Not for the first live picture of its size: held until engines are compiled, it could outlive its row."""
        kind = frame.camera, frame.image.width_px, frame.image.height_px
        if kind in self._met or self._mailbox.is_lossless(frame.camera):
            return True
        self._unmet.add(kind)
        return False

    def _meet(self) -> None:
        """Make the engines ready for new sizes, while no picture waits for it."""
        while self._unmet:
            kind = self._unmet.pop()
            self.recogniser.prepare(*kind)
            self._met.add(kind)

    def _finish_step(self) -> None:
        """Finish the oldest step. While it is compared and decided, faces are sought in the next pictures already."""
        step, started = self._under_way[0]
        step.search.wait()
        self._start_steps(0, ended=1)
        matches = self.recogniser.finish(step)
        self._under_way.popleft()
        self._step_ms.append((time.perf_counter() - started) * 1e3)
        frame = step.frame
        self._captured_ns.setdefault(frame.camera, deque(maxlen=_RATE_OVER)).append(frame.captured_ns)
        for match in matches:
            self._deliver(match)

    def fps(self, camera: str) -> float:
        """Pictures of this camera recognised per second, over its last ones; 0 when the newest is old."""
        captured_ns = tuple(self._captured_ns.get(camera, ()))
        if len(captured_ns) < 2 or self._clock.monotonic_ns() - captured_ns[-1] > _SILENT_NS:
            return 0.0
        return (len(captured_ns) - 1) * 1e9 / max(captured_ns[-1] - captured_ns[0], 1)

    def step_ms(self, share: float) -> float:
        """The quantile `share` of the last steps' durations in milliseconds, 0 before the first."""
        durations = sorted(self._step_ms)
        return durations[min(int(len(durations) * share), len(durations) - 1)] if durations else 0.0


def stopped() -> PolicyError:
    """The answer to whoever wants something between two pictures, and no more pictures will come."""
    return PolicyError(
        Reason.STOPPED, "the van has just stopped seeing", fix="look at the van: lfr-edge deployment status"
    )
