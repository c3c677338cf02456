"""A camera picture in leased memory."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.retention import Row

STRIDE_PX = 32  # every detector here wants height and width in multiples of this; padding is zeros, right and bottom


def padded_px(side_px: int) -> int:
    """A picture's side with its padding."""
    return -(-side_px // STRIDE_PX) * STRIDE_PX


class Rows(NamedTuple):
    """Some of a padded picture's rows, one after the other; a multiple of `STRIDE_PX`."""

    first: int
    end: int


class PixelFormat(Enum):
    """How the lease's bytes are laid out."""

    BGR = "bgr24"


@dataclass(frozen=True, slots=True)
class Image:
    """`width_px` x `height_px` pixels at the top left of a lease padded with zeros to multiples of `STRIDE_PX`.

    Whoever holds the image owns the lease and releases it exactly once.
    """

    lease: Lease
    width_px: int
    height_px: int
    pixel_format: PixelFormat = PixelFormat.BGR

    @classmethod
    def blank(cls, arena: Arena, row: Row, width_px: int, height_px: int) -> "Image":
        """A black picture to be written into."""
        return cls(arena.lease(row, (padded_px(height_px), padded_px(width_px), 3), np.uint8), width_px, height_px)

    @property
    def padded(self) -> NDArray[Any]:
        """(H, W, 3) uint8 with the padding: what a detector takes."""
        return self.lease.array

    @property
    def pixels(self) -> NDArray[Any]:
        """(height_px, width_px, 3) uint8 without the padding."""
        return self.lease.array[: self.height_px, : self.width_px]

    def release(self) -> None:
        """Wipe the picture."""
        self.lease.release()
