"""Between the capture threads and the recognise thread: what waits of each camera.

Live cameras: the newest picture wins, a superseded one is wiped and counted; what is late is of no use to an officer.
Files at full speed are lossless: their reader is a little ahead, then waits.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable

from lfr_edge.pipeline.frame_source import Frame

# So far ahead is the reader of a file, at the pace at which its last pictures were taken: long enough for decoder and
# recogniser never to wait for each other, short against what the retention table allows a picture.
_AHEAD_S = 0.1
_MOST_AHEAD = 3  # of the largest pictures, three are half of a van's leased memory
_PACE_OVER = 5  # pictures


class Mailbox:
    """Thread-safe. Owns each frame from `put` to `take`."""

    def __init__(self, cameras: Iterable[str], *, lossless: Iterable[str] = ()) -> None:
        self._waiting: dict[str, deque[Frame]] = {camera: deque() for camera in cameras}  # whose turn it is, first
        self._lossless = frozenset(lossless)
        self._taken_s: dict[str, deque[float]] = {camera: deque(maxlen=_PACE_OVER) for camera in self._lossless}
        self._superseded = dict.fromkeys(self._waiting, 0)
        self._changed = threading.Condition()
        self._closed = False

    def wait_ready(self, camera: str) -> None:
        """Wait until a picture of this camera would supersede none and not wait for long, if the camera is lossless.

        Before the picture is read: one that waits to be put would be held for longer than its step takes.
        """
        if camera in self._lossless:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._waiting[camera]) < self._ahead(camera))

    def put(self, frame: Frame) -> None:
        """Hand the frame over. After `close` it is wiped."""
        late: Frame | None = None
        with self._changed:
            if self._closed:
                late = frame
            else:
                waiting = self._waiting[frame.camera]
                if waiting and frame.camera not in self._lossless:
                    late = waiting.popleft()
                    self._superseded[frame.camera] += 1
                waiting.append(frame)
                self._changed.notify_all()
        if late is not None:
            late.release()

    def take(self, timeout_s: float, *, most: int, following: int = 0) -> list[Frame]:
        """Up to `most` frames, the cameras in turns, waiting for the first; none after `timeout_s` or when closed.

        What is left of live cameras may still be superseded: that is why nobody takes more than there is room for. Of
        files, `following` more: those are not late when they wait elsewhere.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._waiting.values()), timeout_s)
            taken: list[Frame] = []
            while len(taken) < most + following:
                cameras = self._waiting if len(taken) < most else self._lossless
                camera = next((one for one in self._waiting if one in cameras and self._waiting[one]), None)
                if camera is None:
                    break
                taken.append(self._taken(camera))
            if taken:
                self._changed.notify_all()
        return taken

    def is_lossless(self, camera: str) -> bool:
        """Whether every picture of this camera is to be looked at."""
        return camera in self._lossless

    def superseded(self, camera: str) -> int:
        """Pictures of this camera that a newer one replaced before anybody looked at them."""
        return self._superseded[camera]

    @property
    def waiting(self) -> int:
        """Pictures that nobody has taken yet."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def close(self) -> None:
        """Wipe what waits, and wake everybody up."""
        with self._changed:
            self._closed = True
            waiting = [frame for frames in self._waiting.values() for frame in frames]
            self._waiting = {camera: deque() for camera in self._waiting}
            self._changed.notify_all()
        for frame in waiting:
            frame.release()

    def _taken(self, camera: str) -> Frame:
        waiting = self._waiting.pop(camera)
        self._waiting[camera] = waiting  # last in the order now
        if camera in self._lossless:
            self._taken_s[camera].append(time.monotonic())
        return waiting.popleft()

    def _ahead(self, camera: str) -> int:
        """How many pictures of this camera may wait."""
        taken_s = self._taken_s[camera]
        if len(taken_s) < _PACE_OVER:
            return 1
        since_s = max(taken_s[-1] - taken_s[0], 1e-6)
        return min(max(int(_AHEAD_S * (len(taken_s) - 1) / since_s), 1), _MOST_AHEAD)
