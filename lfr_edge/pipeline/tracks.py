"""What is remembered of one person while in view: the best sample and the fused features, both leased (row TRACK).

And numbers, which say when another face of this person is worth an embedding.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import TRACK
from lfr_edge.pipeline.decide import Streak
from lfr_edge.vision.geometry import Box, moved
from lfr_edge.vision.masking import cover_others, covered

# After its first faces a track gains little from pictures 40 ms apart: they are nearly the same. The pictures count for
# files that play faster than their time.
REST_NS = 120_000_000
REST_PICTURES = 3
LONGEST_REST = 8.0  # of these: about a second
# So much more promising than the best face so far is worth an embedding at once: 30 px between the eyes after 20, 15
# degrees after 25, a detector's confidence of .88 after .85.
CLEARLY_BETTER = 1.05
# Eight faces fused (signers): genuine scores are 5.10, 6.06 and 4.80 standard deviations from impostors' in the three
# engine sets with equal weights, 5.26, 6.51 and 5.01 with these. Higher powers are the best face alone before long.
_WEIGHT_POWER = 8


class Track:
    """One person in view of one camera. Owns its leases until `release`."""

    __slots__ = (
        "_arena",
        "_features",
        "_sample",
        "best_promise",
        "best_quality",
        "compared",
        "doubted",
        "faces",
        "last_embedded_ns",
        "last_embedded_sequence",
        "rest",
        "settled",
        "streak",
    )

    def __init__(self, dimension: int, arena: Arena) -> None:
        self._arena = arena
        self._features = arena.lease(TRACK, (dimension,), np.float32)
        self._sample: Lease | None = None
        self.best_promise = 0.0
        self.best_quality = -1.0
        self.compared = 0  # how often with the list that holds now
        self.doubted = 0  # faces in a row that do not look like this person
        self.faces = 0
        self.last_embedded_ns = 0
        self.last_embedded_sequence = 0
        self.rest = 1.0  # until the next face is due, in units of REST_NS
        self.settled = False  # has matched: nothing more to find out, but whether somebody else took the place
        self.streak = Streak()

    def is_due(self, now_ns: int, sequence: int, promise: float) -> bool:
        """Whether a face of that promise, in picture `sequence`, may change what is known enough to be embedded."""
        return (
            now_ns - self.last_embedded_ns >= self.rest * REST_NS
            or sequence - self.last_embedded_sequence >= self.rest * REST_PICTURES
            or (promise >= self.best_promise * CLEARLY_BETTER and not self.settled)
        )

    def note_embedded(self, now_ns: int, sequence: int, promise: float) -> None:
        """Rest from now on."""
        self.last_embedded_ns, self.last_embedded_sequence = now_ns, sequence
        self.best_promise = max(self.best_promise, promise)

    def rest_while(self, short_of: float) -> None:
        """Take it that so many faces are missing to a match: rest for as long as that many would take, within limits.

        One more face changes a mean of many little; who is near the threshold goes on at the present pace.
        """
        self.rest = min(max(short_of, 1.0), LONGEST_REST)

    def settle(self) -> None:
        """This person has matched: look again now and then, for somebody else in the same place."""
        self.settled = True
        self.rest = LONGEST_REST

    def resembles(self, features: NDArray[np.float32], threshold: float) -> bool:
        """Whether the face `features` (D,) scores `threshold` with the fused faces so far; True before the first.

        Counts in `doubted` how many in a row did not, and has the next one looked at soon.
        """
        total = self._features.array
        length = float(np.dot(total, total)) ** 0.5
        if float(np.dot(total, features)) >= threshold * length:
            self.doubted = 0
            if self.settled:
                self.rest = LONGEST_REST
            return True
        self.doubted += 1
        self.rest = 1.0
        return False

    def start_over(self) -> None:
        """Forget all faces so far, as if the track began now."""
        self._features.array.fill(0)
        self._drop_sample()
        self.best_quality, self.faces, self.compared, self.doubted = -1.0, 0, 0, 0
        self.streak = Streak()

    def compare_anew(self) -> None:
        """Another order holds: forget what comparisons have said, and the sample, which only that before may show.

        The fused features stay: they say who this is, and nothing about a list.
        """
        self._drop_sample()
        self.compared, self.settled, self.streak = 0, False, Streak()

    def fuse(self, features: NDArray[np.float32], quality: float) -> None:
        """Add one face's `features` (D,) float32; on return they hold the probe: the weighted mean, length 1."""
        _fuse(features, quality**_WEIGHT_POWER, self._features.array)
        self.faces += 1

    def keep_sample(self, image: Image, box_px: Box, others_px: Sequence[Box]) -> bool:
        """Remember the pixels inside the box, with other people's faces in it covered, as the best sample so far.

        False, and nothing is changed, if no pixel of the picture is inside.
        """
        rows, columns = covered(box_px, image.height_px, image.width_px)
        if rows.start == rows.stop or columns.start == columns.stop:
            return False
        self._drop_sample()
        self._sample = self._arena.lease(TRACK, (rows.stop - rows.start, columns.stop - columns.start, 3))
        np.copyto(self._sample.array, image.pixels[rows, columns])
        inside = [moved(box, -columns.start, -rows.start) for box in (box_px, *others_px)]
        cover_others(self._sample.array, inside[0], inside[1:])
        return True

    @property
    def sample(self) -> Lease | None:
        """(h, w, 3) uint8 BGR of the best face so far, or None before the first."""
        return self._sample

    def release(self) -> None:
        """Wipe everything that was remembered."""
        try:
            self._features.release()
        finally:
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
