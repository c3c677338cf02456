"""What is remembered of one person while in view: the best sample and the fused features, both leased (row TRACK)."""

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import TRACK
from lfr_edge.pipeline.decide import Streak
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.masking import GREY


class Track:
    """One person in view of one camera. Owns its leases until `release`."""

    __slots__ = ("_arena", "_features", "_sample", "best_quality", "faces", "last_embedded_ns", "settled", "streak")

    def __init__(self, dimension: int, arena: Arena) -> None:
        self._arena = arena
        self._features = arena.lease(TRACK, (dimension,), np.float32)
        self._sample: Lease | None = None
        self.best_quality = -1.0
        self.faces = 0
        self.last_embedded_ns = 0
        self.settled = False  # has matched: nothing more to find out
        self.streak = Streak()

    def fuse(self, features: NDArray[np.float32], weight: float) -> None:
        """Add one face's `features` (D,) float32; on return they hold the probe: the weighted mean, length 1."""
        _fuse(features, weight, self._features.array)
        self.faces += 1

    def keep_sample(self, image: Image, box_px: Box, others_px: list[Box]) -> None:
        """Remember the pixels inside the box, with other people's boxes in it greyed out, as the best sample so far."""
        left, top, right, bottom = _whole(box_px, image)
        if right <= left or bottom <= top:
            return
        self._drop_sample()
        self._sample = self._arena.lease(TRACK, (bottom - top, right - left, 3))
        np.copyto(self._sample.array, image.pixels[top:bottom, left:right])
        for other in others_px:
            other_left, other_top, other_right, other_bottom = _whole(other, image)
            rows = slice(max(other_top - top, 0), max(other_bottom - top, 0))
            columns = slice(max(other_left - left, 0), max(other_right - left, 0))
            self._sample.array[rows, columns] = GREY

    @property
    def sample(self) -> Lease | None:
        """(h, w, 3) uint8 BGR of the best face so far, or None before the first."""
        return self._sample

    def release(self) -> None:
        """Wipe everything that was remembered."""
        self._features.release()
        self._drop_sample()

    def _drop_sample(self) -> None:
        sample, self._sample = self._sample, None
        if sample is not None:
            sample.release()


def _fuse(features: NDArray[np.float32], weight: float, total: NDArray[np.float32]) -> None:
    np.multiply(features, np.float32(weight), out=features)
    np.add(total, features, out=total)
    length = float(np.dot(total, total)) ** 0.5
    np.divide(total, np.float32(length or 1.0), out=features)


def _whole(box_px: Box, image: Image) -> tuple[int, int, int, int]:
    """The box in whole pixels (left, top, right, bottom), grown outwards, inside the picture."""
    return (
        max(int(box_px.left), 0),
        max(int(box_px.top), 0),
        min(-int(-box_px.right // 1), image.width_px),
        min(-int(-box_px.bottom // 1), image.height_px),
    )
