"""Where pictures come from: the `FrameSource` port, the `Frame` it yields, and its fake.

Decoding, pacing and reconnecting are the adapters' business (`adapters.av_camera`); dropping late pictures is the
mailbox's.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import FRAME
from lfr_edge.clock import Clock


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera. Whoever holds the frame owns its image and releases it exactly once."""

    camera: str
    sequence: int  # counts the pictures of this camera from 0, also over reconnects
    captured_ns: int  # Clock.monotonic_ns when the picture was there
    captured_at: datetime  # the same moment, UTC
    image: Image

    def release(self) -> None:
        """Wipe the picture."""
        self.image.release()


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """What a source has done since it was made."""

    frames_read: int = 0
    undecodable: int = 0  # packets or picture files that the decoder refused
    reconnects: int = 0  # connections made again after one was lost


class FrameSource(Protocol):
    """One camera. `read` belongs to one thread; everything else may be called from any."""

    def read(self) -> Frame | None:
        """The next picture, in a lease of row FRAME; None when a file has ended or the source was closed.

        Blocks at most as long as the source was told, then raises DeviceError (SOURCE_UNREADABLE). A live source may be
        read again after that and goes on trying to reconnect; a file has ended.
        """
        ...

    def close(self) -> None:
        """Let go of the device and of everything decoded. Ends a read that is blocked. A second close does nothing."""
        ...

    @property
    def counts(self) -> SourceCounts:
        """A snapshot."""
        ...

    @property
    def last_error(self) -> str:
        """Why the source does not deliver, without credentials; empty while it does."""
        ...


class FakeFrameSource:
    """Yields the pictures it was given, (H, W, 3) uint8 BGR each, then None. For pictures of nobody."""

    def __init__(self, camera: str, pictures: Sequence[NDArray[Any]], arena: Arena, clock: Clock) -> None:
        # Any: tests hand over arrays of numpy's default typing.
        self._camera = camera
        self._pictures = pictures
        self._arena = arena
        self._clock = clock
        self._counts = SourceCounts()
        self._closed = threading.Event()

    def read(self) -> Frame | None:
        """The next of the given pictures."""
        sequence = self._counts.frames_read
        if self._closed.is_set() or sequence == len(self._pictures):
            return None
        picture = self._pictures[sequence]
        image = Image.blank(self._arena, FRAME, picture.shape[1], picture.shape[0])
        np.copyto(image.pixels, picture)
        self._counts = replace(self._counts, frames_read=sequence + 1)
        return Frame(self._camera, sequence, self._clock.monotonic_ns(), self._clock.utc(), image)

    def close(self) -> None:
        """Yield nothing more."""
        self._closed.set()

    @property
    def counts(self) -> SourceCounts:
        """A snapshot."""
        return self._counts

    @property
    def last_error(self) -> str:
        """Always empty: this source does not fail."""
        return ""
