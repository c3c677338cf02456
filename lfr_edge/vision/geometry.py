"""Boxes in image pixels. Plain floats that show nobody; pixels are in the other modules."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in image pixels; right and bottom are exclusive edges, not the last pixel."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Pixels from left to right; negative if the edges are swapped."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Pixels from top to bottom; negative if the edges are swapped."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Square pixels; 0 if the edges are swapped."""
        return max(self.width, 0.0) * max(self.height, 0.0)


def intersection(a: Box, b: Box) -> Box:
    """The rectangle that both cover; its area is 0 if there is none."""
    return Box(max(a.left, b.left), max(a.top, b.top), min(a.right, b.right), min(a.bottom, b.bottom))


def intersection_over_union(a: Box, b: Box) -> float:
    """Overlap in [0, 1]; 0 for boxes without area."""
    shared = intersection(a, b).area
    union = a.area + b.area - shared
    return shared / union if union > 0 and math.isfinite(union) else 0.0


def grown(box: Box, share: float) -> Box:
    """The box with `share` of its width and height added on every side."""
    x_px, y_px = box.width * share, box.height * share
    return Box(box.left - x_px, box.top - y_px, box.right + x_px, box.bottom + y_px)


def moved(box: Box, x_px: float, y_px: float) -> Box:
    """The box, that far to the right and down."""
    return Box(box.left + x_px, box.top + y_px, box.right + x_px, box.bottom + y_px)


def encloses(corners: Sequence[tuple[float, float]], x: float, y: float) -> bool:
    """Whether the polygon encloses the point, by the even-odd rule."""
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside
