"""What is remembered of one person while in view: the best sample and the fused features, both leased (row TRACK)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import TRACK
from lfr_edge.pipeline.decide import Streak
from lfr_edge.vision.geometry import Box, moved
from lfr_edge.vision.masking import cover_others, covered


class Track:
    """One person in view of one camera. Owns its leases until `release`."""

    __slots__ = (
        "_arena",
        "_features",
        "_sample",
        "best_quality",
        "faces",
        "last_embedded_ns",
        "last_embedded_sequence",
        "settled",
        "streak",
    )

    def __init__(self, dimension: int, arena: Arena) -> None:
        self._arena = arena
        self._features = arena.lease(TRACK, (dimension,), np.float32)
        self._sample: Lease | None = None
        self.best_quality = -1.0
        self.faces = 0
        self.last_embedded_ns = 0
        self.last_embedded_sequence = 0
        self.settled = False  # has matched: nothing more to find out
        self.streak = Streak()

    def fuse(self, features: NDArray[np.float32], weight: float) -> None:
        """Add one face's `features` (D,) float32; on return they hold the probe: the weighted mean, length 1."""
        _fuse(features, weight, self._features.array)
        self.faces += 1

    def keep_sample(self, image: Image, box_px: Box, others_px: Sequence[Box]) -> None:
        """Remember the pixels inside the box, with other people's faces in it covered, as the best sample so far."""
        rows, columns = covered(box_px, image.height_px, image.width_px)
        if rows.start == rows.stop or columns.start == columns.stop:
            return
        self._drop_sample()
        self._sample = self._arena.lease(TRACK, (rows.stop - rows.start, columns.stop - columns.start, 3))
        np.copyto(self._sample.array, image.pixels[rows, columns])
        inside = [moved(box, -columns.start, -rows.start) for box in (box_px, *others_px)]
        cover_others(self._sample.array, inside[0], inside[1:])

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
