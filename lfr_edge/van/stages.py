"""The daemon's threads: one capture thread per camera, one that recognises, one that sends.

A stage runs until its work is done or it is told to stop. An exception that reaches the top of a stage is a fault of
ours: it is logged, remembered, and ends the daemon, which fails closed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from lfr_edge.clock import Clock
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.pipeline.frame_source import Frame, FrameSource
from lfr_edge.pipeline.mailbox import Mailbox
from lfr_edge.pipeline.recognise import Recogniser

_LOG = logging.getLogger(__name__)

# After this long without a picture the engines are made to forget the last one (retention row OPENVINO: 2 s).
IDLE_S = 1.0
_STEPS_REMEMBERED = 1000
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
        self, recogniser: Recogniser, mailbox: Mailbox, clock: Clock, deliver: Callable[[SealedAlert], None]
    ) -> None:
        self.recogniser = recogniser
        self._mailbox = mailbox
        self._clock = clock
        self._deliver = deliver
        self._finish = threading.Event()
        self._step_ms: deque[float] = deque(maxlen=_STEPS_REMEMBERED)
        self._captured_ns: dict[str, deque[int]] = {}  # of the last pictures of each camera

    def finish(self) -> None:
        """No more pictures will come: process what waits, then end."""
        self._finish.set()

    def run(self) -> None:
        """Process pictures as they come."""
        try:
            while True:
                frames = self._mailbox.take(IDLE_S)
                if not frames and self._finish.is_set():
                    return
                if not frames:
                    self.recogniser.idle(self._clock.monotonic_ns())
                with ExitStack() as unless_processed:
                    for frame in frames:
                        unless_processed.enter_context(frame.image.lease)
                    for frame in frames:
                        self._process(frame)
        finally:
            self.recogniser.close()

    def _process(self, frame: Frame) -> None:
        started = time.perf_counter()
        alerts = self.recogniser.step(frame)
        self._step_ms.append((time.perf_counter() - started) * 1e3)
        self._captured_ns.setdefault(frame.camera, deque(maxlen=_RATE_OVER)).append(frame.captured_ns)
        for alert in alerts:
            self._deliver(alert)

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
