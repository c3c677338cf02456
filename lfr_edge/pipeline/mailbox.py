"""Between the capture threads and the recognise thread: one slot per camera.

Live cameras: the newest picture wins, a superseded one is wiped and counted; what is late is of no use to an officer.
Files at full speed are lossless: their reader waits until the slot is free.
"""

import threading
from collections.abc import Iterable

from lfr_edge.pipeline.frame_source import Frame


class Mailbox:
    """Thread-safe. Owns each frame from `put` to `take`."""

    def __init__(self, cameras: Iterable[str], *, lossless: Iterable[str] = ()) -> None:
        self._slots: dict[str, Frame | None] = dict.fromkeys(cameras)
        self._lossless = frozenset(lossless)
        self._superseded = dict.fromkeys(self._slots, 0)
        self._changed = threading.Condition()
        self._closed = False

    def wait_ready(self, camera: str) -> None:
        """Wait until a picture of this camera would supersede none, if the camera is lossless.

        Before the picture is read: one that waits to be put would be held for longer than its step takes.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or camera not in self._lossless or self._slots[camera] is None)

    def put(self, frame: Frame) -> None:
        """Hand the frame over. After `close` it is wiped."""
        with self._changed:
            if self._closed:
                late: Frame | None = frame
            else:
                late, self._slots[frame.camera] = self._slots[frame.camera], frame
                self._superseded[frame.camera] += late is not None
                self._changed.notify_all()
        if late is not None:
            late.release()

    def take(self, timeout_s: float, *, most: int) -> list[Frame]:
        """Frames of up to `most` cameras, in turns, waiting for the first; none after `timeout_s` or when closed.

        What is left may still be superseded: that is why nobody takes more than there is room for.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._slots.values()), timeout_s)
            waiting = [(camera, frame) for camera, frame in self._slots.items() if frame is not None][:most]
            for camera, _ in waiting:
                del self._slots[camera]
                self._slots[camera] = None  # last in the order now
            if waiting:
                self._changed.notify_all()
        return [frame for _, frame in waiting]

    def superseded(self, camera: str) -> int:
        """Pictures of this camera that a newer one replaced before anybody looked at them."""
        return self._superseded[camera]

    @property
    def waiting(self) -> int:
        """Pictures that nobody has taken yet."""
        with self._changed:
            return sum(frame is not None for frame in self._slots.values())

    def close(self) -> None:
        """Wipe what waits, and wake everybody up."""
        with self._changed:
            self._closed = True
            waiting = [frame for frame in self._slots.values() if frame is not None]
            self._slots = dict.fromkeys(self._slots)
            self._changed.notify_all()
        for frame in waiting:
            frame.release()
