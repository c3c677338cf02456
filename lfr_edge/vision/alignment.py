"""A face turned, scaled and cut out so that its landmarks lie where the embedder's template wants them.

Pixels and everything derived from them stay in leases of the arena that the caller gives. Besides `out=` that takes
care with operands: where they are not of one dtype, one shape and contiguous, numpy's ufuncs take heap buffers of their
own (measured: 8192 elements each, numpy 1.26 and 2.4). So `np.copyto` converts and broadcasts, which needs none, and
ufuncs see equal planes. This is also the reference for the GPU kernel. Which template, size and channel order: the
engine set's manifest.
"""

import math

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import WORKSPACE

_FARTHEST_PX = 1e6  # a map that reaches farther is no map of a face; float32 and integer places stay exact enough below
_RAMP = np.arange(1024, dtype=np.float32)  # columns and rows of the largest crop


def similarity(source_px: NDArray[np.float64], target_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) map source -> target of least squares among shifts, turns and scales; never a reflection.

    Umeyama (1991), which in the plane has this closed form. All zeros if the source points are all in one place.
    """
    source_middle, target_middle = source_px.mean(axis=0), target_px.mean(axis=0)
    source, target = source_px - source_middle, target_px - target_middle
    spread = float(np.sum(source * source))
    matrix = np.zeros((2, 3))
    if not 0 < spread < math.inf:
        return matrix
    along = float(np.sum(source * target)) / spread
    across = float(np.sum(source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0])) / spread
    matrix[0, :2] = along, -across
    matrix[1, :2] = across, along
    matrix[:, 2] = target_middle - matrix[:, :2] @ source_middle
    return matrix


def stretched(matrix: NDArray[np.float64], factors: tuple[float, float]) -> NDArray[np.float64]:
    """The (2, 3) map that does what `matrix` does, then stretches along x and y."""
    return np.diag(factors) @ matrix


def warp(
    pixels: NDArray[np.uint8], source_to_target: NDArray[np.float64], *, out: NDArray[np.uint8], workspace: Arena
) -> None:
    """Write into `out` (h, w, 3) what `pixels` (H, W, 3) shows there under the affine map; bilinear, outside is 0.

    `pixels` may be a slice of a wider picture (rows apart, pixels and channels packed). A map without an inverse gives
    a black crop: there is no face to show.
    """
    inverse = _inverse(source_to_target)
    if inverse is None or min(pixels.shape[:2]) < 2:
        out.fill(0)
        return
    height, width = out.shape[:2]
    with (
        workspace.lease(WORKSPACE, (8, height, width), np.float32) as places,
        workspace.lease(WORKSPACE, (2, height, width), np.intp) as indices,
        workspace.lease(WORKSPACE, (height * width, 3), np.uint8) as gathered,
        workspace.lease(WORKSPACE, (2, 3, height * width), np.float32) as sums,
    ):
        _locate(inverse, pixels.shape, places.array)
        _interpolate(pixels, places.array, indices.array, gathered.array, sums.array)
        _write(sums.array, out)


def mirror(crop: NDArray[np.uint8], *, out: NDArray[np.uint8]) -> None:
    """Write `crop` (h, w, 3) into `out`, left and right exchanged. The two must not share memory."""
    np.copyto(out, crop[:, ::-1])


def _inverse(matrix: NDArray[np.float64]) -> tuple[float, ...] | None:
    """Rows of the map target -> source, or None if there is none, or none that could show a face."""
    (a, b, shift_x), (c, d, shift_y) = matrix.tolist()
    determinant = a * d - b * c
    if not math.isfinite(determinant) or determinant == 0:
        return None
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    inverse = (a, b, -a * shift_x - b * shift_y, c, d, -c * shift_x - d * shift_y)
    return inverse if all(abs(value) < _FARTHEST_PX for value in inverse) else None


def _locate(inverse: tuple[float, ...], shape: tuple[int, ...], places: NDArray[np.float32]) -> None:
    """Fill `places` (8, h, w): x, y, the column and row left above, and the weights of both columns and both rows.

    The weight of a column is how near it is, max(0, 1 - distance). Held inside the picture, column and next column so
    fade to 0 within one pixel outside it: no masks are needed.
    """
    _, height, width = places.shape
    for axis, (per_column, per_row, shift) in enumerate((inverse[:3], inverse[3:])):
        place, corner, near, far = places[axis], places[2 + axis], places[4 + 2 * axis], places[5 + 2 * axis]
        np.copyto(near, _RAMP[:height, None])
        np.multiply(near, per_row, out=near)
        np.copyto(place, _RAMP[:width])
        np.multiply(place, per_column, out=place)
        np.add(place, near, out=place)
        np.add(place, shift, out=place)
        np.floor(place, out=corner)
        np.clip(corner, 0, shape[1 - axis] - 2, out=corner)
        np.subtract(place, corner, out=near)
        np.subtract(near, 1, out=far)
        for weight in (near, far):
            np.abs(weight, out=weight)
            np.subtract(1, weight, out=weight)
            np.maximum(weight, 0, out=weight)


def _interpolate(
    pixels: NDArray[np.uint8],
    places: NDArray[np.float32],
    indices: NDArray[np.intp],
    gathered: NDArray[np.uint8],
    sums: NDArray[np.float32],
) -> None:
    """Add up the four neighbours of every place, by weight, into `sums[0]` (3, h*w)."""
    weight, _, column, row, left, right, upper, lower = places
    row_px = pixels.strides[0] // 3
    # Rows of the padded picture as one run of pixels: np.take copies what is not contiguous, the whole picture here.
    run = np.lib.stride_tricks.as_strided(
        pixels, ((pixels.shape[0] - 1) * row_px + pixels.shape[1], 3), (3, 1), writeable=False
    )
    index, above = indices
    np.copyto(index, column, casting="unsafe")
    np.copyto(above, row, casting="unsafe")
    np.multiply(above, row_px, out=above)
    np.add(index, above, out=index)
    total, part = sums
    total.fill(0)
    for step, along, down in ((0, left, upper), (1, right, upper), (row_px - 1, left, lower), (1, right, lower)):
        np.add(index, step, out=index)
        np.take(run, index.reshape(-1), axis=0, out=gathered, mode="clip")  # "raise" would buffer the result
        np.copyto(part, gathered.T)
        np.multiply(along, down, out=weight)
        for channel in part:
            np.multiply(channel, weight.reshape(-1), out=channel)
        np.add(total, part, out=total)


def _write(sums: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    np.add(sums[0], 0.5, out=sums[0])
    np.copyto(out, sums[0].reshape(3, *out.shape[:2]).transpose(1, 2, 0), casting="unsafe")
