"""A camera through libav: files, folders of pictures, RTSP streams and V4L2 devices as a `FrameSource`.

Here are the life of one camera over its connections (back-off, counts, pacing) and the way of a picture into leased
memory. What an address means and how libav opens it is in `av_source`; dropping late pictures is the mailbox's.

Where pictures are outside leases: libav's converted picture, which is wiped as soon as it is copied, and the decoder's
own, which must not be touched while it decodes (row LIBAV of the retention table). They go when the decoder is closed:
at `close`, at the end of a file, and when a live source has been silent for `SILENCE_S`. Whoever stops calling `read`
for longer than that must `close`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from av import VideoFrame

from lfr_edge.adapters.av_picture import Converter
from lfr_edge.adapters.av_source import (
    FOLDER_FPS,
    SILENCE_S,
    Connection,
    UndecodableError,
    connect,
    kind_of,
    redacted,
    unreadable,
)
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import Clock
from lfr_edge.errors import DeviceError
from lfr_edge.pipeline.frame_source import Frame, SourceCounts

_BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """One camera. `pace` is for files and folders: live sources come in their own time, for ever."""

    id: str
    source: str = field(repr=False)  # may hold a password
    pace: Literal["live", "full-speed"] = "live"
    rotation: Literal[0, 90, 180, 270] = 0  # degrees clockwise that bring the picture upright
    timeout_s: float = 5.0


class AvCamera:
    """A `FrameSource` over libav."""

    def __init__(
        self,
        settings: CameraSettings,
        arena: Arena,
        clock: Clock,
        *,
        wait: Callable[[float], object] | None = None,  # a test's; the default ends early when the camera is closed
    ) -> None:
        self._settings = settings
        self._arena = arena
        self._clock = clock
        self._name = redacted(settings.source)
        self._live = kind_of(settings.source).live
        self._silence_s = min(SILENCE_S, settings.timeout_s / 2)
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._reading = threading.Lock()  # libav's objects may be touched by one thread at a time
        self._connection: Connection | None = None
        self._converter = Converter(self._settings.rotation)
        self._pending: list[VideoFrame] = []
        self._pace = _Pace() if settings.pace == "live" and not self._live else None
        self._counts = SourceCounts()
        self._last_error = ""
        self._failures = 0  # in a row
        self._connected_before = False
        self._retry_ns = 0
        self._last_picture_ns: int | None = None  # of this connection

    @property
    def counts(self) -> SourceCounts:
        """A snapshot."""
        return self._counts

    @property
    def last_error(self) -> str:
        """Why the source does not deliver; empty while it does."""
        return self._last_error

    def read(self) -> Frame | None:
        """See `FrameSource.read`. A file that failed has ended."""
        with self._reading:
            deadline_ns = self._clock.monotonic_ns() + round(self._settings.timeout_s * 1e9)
            frame = None
            try:
                while frame is None and not self._closed.is_set():
                    frame = self._attempt(deadline_ns)
            finally:
                if self._closed.is_set():
                    self._disconnect()
            return frame

    def close(self) -> None:
        """See `FrameSource.close`. When it returns, nothing decoded is left.

        A read in another thread notices within `SILENCE_S`, unless it is still connecting: such a one holds no picture,
        is not waited for, and lets go of the device by itself.
        """
        self._closed.set()
        if self._reading.acquire(timeout=2 * SILENCE_S):
            self._disconnect()
            self._reading.release()

    def _attempt(self, deadline_ns: int) -> Frame | None:
        try:
            if self._pending:
                return self._presented(self._pending.pop(0))
            self._advance(deadline_ns)
        except UndecodableError:
            self._counts = replace(self._counts, undecodable=self._counts.undecodable + 1)
        return None

    def _advance(self, deadline_ns: int) -> None:
        """Connect, or read and decode once more. A live source that fails is tried again until the deadline."""
        left_s = (deadline_ns - self._clock.monotonic_ns()) / 1e9
        if self._live and left_s < self._silence_s:
            reason = self._last_error or f"{self._name} sent no picture for {self._settings.timeout_s:.1f} s"
            raise unreadable(reason, "the camera is tried again with the next read")
        try:
            if self._connection is None:
                self._connect(left_s)
            else:
                self._step(self._connection)
        except DeviceError as error:
            self._disconnect()
            self._last_error = str(error)
            if not self._live:
                self._closed.set()
                raise
            back_off_s = _BACK_OFF_S[min(self._failures, len(_BACK_OFF_S) - 1)]
            self._failures += 1
            self._retry_ns = self._clock.monotonic_ns() + round(back_off_s * 1e9)

    def _connect(self, left_s: float) -> None:
        pause_s = (self._retry_ns - self._clock.monotonic_ns()) / 1e9
        if self._live and pause_s > 0:
            self._wait(min(pause_s, left_s))
            return
        self._connection = connect(self._settings.source, open_s=left_s, silence_s=self._silence_s)
        self._last_picture_ns = None
        if self._live and self._connected_before:
            self._counts = replace(self._counts, reconnects=self._counts.reconnects + 1)
        self._connected_before = True

    def _step(self, connection: Connection) -> None:
        since_ns = self._last_picture_ns or self._clock.monotonic_ns()
        self._refuse_silence(since_ns)
        pictures = connection.step()
        self._refuse_silence(since_ns)  # after a time-out libav hands out the last picture, by then that old
        if pictures is None:
            self._end()
        elif pictures:
            self._pending = pictures
            self._last_picture_ns = self._clock.monotonic_ns()
            self._failures = 0
            self._last_error = ""

    def _refuse_silence(self, since_ns: int) -> None:
        if self._live and self._clock.monotonic_ns() - since_ns > self._silence_s * 1e9:
            raise unreadable(
                f"{self._name} sent no picture for {self._silence_s:.1f} s", "check its power, cable and network"
            )

    def _end(self) -> None:
        if self._live:
            raise unreadable(
                f"{self._name} ended the stream", "check whether the camera restarts or has too many viewers"
            )
        if self._last_picture_ns is None:
            raise unreadable(f"{self._name} holds no picture that can be decoded", "name one that plays, or repair it")
        self._disconnect()
        self._closed.set()

    def _disconnect(self) -> None:
        """Drop everything of libav: its memory goes with the last reference."""
        self._pending = []
        self._converter = Converter(self._settings.rotation)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _presented(self, picture: VideoFrame) -> Frame | None:
        """The picture in leased memory, when its time has come; None if the camera was closed meanwhile."""
        if self._pace is not None:
            delay_s = self._pace.delay_s(picture.time, self._clock.monotonic_ns())
            if delay_s > 0:
                self._wait(delay_s)
            if self._closed.is_set():
                return None
        captured_ns, captured_at = self._clock.monotonic_ns(), self._clock.utc()
        image = self._converter.leased(picture, self._arena)
        sequence = self._counts.frames_read
        self._counts = replace(self._counts, frames_read=sequence + 1)
        return Frame(self._settings.id, sequence, captured_ns, captured_at, image)


class _Pace:
    """When a file's pictures are due: at their time stamps, but never more than `SILENCE_S` apart.

    A longer pause would keep the decoder's pictures beyond what the retention table allows.
    """

    def __init__(self) -> None:
        self._due_ns: int | None = None
        self._time_s: float | None = None
        self._gap_s = 1 / FOLDER_FPS

    def delay_s(self, time_s: float | None, now_ns: int) -> float:
        """How long the picture stamped `time_s` is to be held back; negative if it is late."""
        gap_s = 0.0 if time_s is None or self._time_s is None else time_s - self._time_s
        if 0 < gap_s <= SILENCE_S:
            self._gap_s = gap_s
        # else: no stamps (a folder), a clock that stood still or went back, or a jump: afterwards the last gap stands
        self._time_s = time_s
        wait_ns = round(min(max(gap_s, self._gap_s), SILENCE_S) * 1e9)
        self._due_ns = now_ns if self._due_ns is None else self._due_ns + wait_ns
        return (self._due_ns - now_ns) / 1e9
