"""What a person may see of a picture in which others walk too: the matched person's box, and nobody else (R11).

Two steps, so that neither depends on the other being right. Faces that were found are replaced by flat grey before
anything is computed from the picture: nothing of their pixels is in the result, not even in an average. Everything
outside the kept box is then reduced to one colour per block; a block is an eighth of the picture's height or more, and
as large as the largest other face. A face that nobody found leaves at most the colours of the blocks it touches, four
for a face no larger than a block.

What remains visible: an undetected face inside the kept box; colours of clothes and surroundings, coarsely; where the
other faces were inside the kept box (grey). Blocks lie on a fixed grid, so that several pictures of one place do not
add up to a finer one; somebody undetected who walks through several alerts' pictures leaves four colours in each.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import WORKSPACE
from lfr_edge.vision.geometry import Box, grown, intersection_over_union

GREY = 128  # what stands where a face was
_BLOCKS_PER_HEIGHT = 8
_SAME_FACE_IOU = 0.6  # detectors here suppress above 0.45: more than this is the matched face itself, found again
_MARGIN = 0.1  # of a box on every side: a detector's edge is that uncertain
_ROWS_AT_ONCE = 16  # float rows of a 1280 px picture then fit into the second-level cache


def obscure_outside(pixels: NDArray[np.uint8], keep: Box, others: Sequence[Box], *, arena: Arena) -> None:
    """Make everybody but the person in `keep` unrecoverable, in place; `pixels` is (H, W, 3).

    `others` are all other faces found in this picture; one that overlaps `keep` as only the same face can is ignored.
    A box with numbers that are none hides the whole picture.
    """
    height, width = pixels.shape[:2]
    others = cover_others(pixels, keep, others)
    least_px = max(
        [1.0, height / _BLOCKS_PER_HEIGHT, *(max(box.width, box.height) for box in others if _is_known(box))]
    )
    row_edges, column_edges = _edges(height, least_px), _edges(width, least_px)
    kept = covered(keep, height, width)
    with (
        arena.lease(WORKSPACE, (_ROWS_AT_ONCE, width, 3), np.float32) as chunk,
        arena.lease(WORKSPACE, (2, 3, width), np.float32) as sums,
        arena.lease(WORKSPACE, (width, 3), np.uint8) as line,
    ):
        for top, bottom in itertools.pairwise(row_edges):
            _sum_rows(pixels[top:bottom], chunk.array, sums.array)
            _colour_line(sums.array[1], column_edges, bottom - top, line.array)
            _paint_outside(pixels, (top, bottom), kept, line.array)


def cover_others(pixels: NDArray[np.uint8], keep: Box, others: Sequence[Box]) -> list[Box]:
    """Paint every other face of the picture (H, W, 3) grey, in place. Returns them, without `keep` found a second time.

    A box with numbers that are none covers the whole picture.
    """
    height, width = pixels.shape[:2]
    others = [box for box in others if intersection_over_union(box, keep) <= _SAME_FACE_IOU]
    for box in others:
        rows, columns = covered(grown(box, _MARGIN), height, width) if _is_known(box) else (slice(None), slice(None))
        pixels[rows, columns] = GREY
    return others


def covered(box: Box, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels that the box touches; empty where it has numbers that are none."""
    if not _is_known(box):
        return slice(0, 0), slice(0, 0)
    top, bottom = (min(max(edge, 0), height) for edge in (math.floor(box.top), math.ceil(box.bottom)))
    left, right = (min(max(edge, 0), width) for edge in (math.floor(box.left), math.ceil(box.right)))
    return slice(top, max(top, bottom)), slice(left, max(left, right))


def _is_known(box: Box) -> bool:
    return all(math.isfinite(edge) for edge in box)


def _edges(length: int, least_px: float) -> list[int]:
    """Borders of equal blocks, none smaller than `least_px` unless the picture is."""
    count = max(int(length / least_px), 1)
    return [index * length // count for index in range(count + 1)]


def _sum_rows(band: NDArray[np.uint8], chunk: NDArray[np.float32], sums: NDArray[np.float32]) -> None:
    """Add up the rows of the band into `sums[1]`, a plane per channel."""
    # Row by row, and planes for the blocks: a reduction along an axis takes heap buffers.
    total = sums[0].reshape(-1)
    total.fill(0)
    for top in range(0, len(band), _ROWS_AT_ONCE):
        rows = band[top : top + _ROWS_AT_ONCE]
        np.copyto(chunk[: len(rows)], rows)
        for row in chunk[: len(rows)]:
            np.add(total, row.reshape(-1), out=total)
    np.copyto(sums[1], total.reshape(-1, 3).T)


def _colour_line(sums: NDArray[np.float32], edges: list[int], rows: int, line: NDArray[np.uint8]) -> None:
    """Fill one line (W, 3) with the mean colour of each block."""
    for left, right in itertools.pairwise(edges):
        for channel, plane in enumerate(sums):
            line[left:right, channel].fill(int(np.add.reduce(plane[left:right])) // (rows * (right - left)))


def _paint_outside(
    pixels: NDArray[np.uint8], band: tuple[int, int], kept: tuple[slice, slice], line: NDArray[np.uint8]
) -> None:
    """Paint the rows of the band with the line, leaving the kept columns of the kept rows."""
    kept_rows, kept_columns = kept
    first = min(max(kept_rows.start, band[0]), band[1])
    last = max(min(kept_rows.stop, band[1]), first)
    np.copyto(pixels[band[0] : first], line)
    np.copyto(pixels[last : band[1]], line)
    np.copyto(pixels[first:last, : kept_columns.start], line[: kept_columns.start])
    np.copyto(pixels[first:last, kept_columns.stop :], line[kept_columns.stop :])
