"""How usable one face is for a comparison: to choose a track's best samples and to weigh them.

Nothing here says whether to compare at all (the order's and the engine set's limits do), and nothing says anything
about the person. Exposure counts lost pixels and sharpness is relative to contrast, both instead of brightness: a
measure of brightness would rank darker skin lower.

The constants were chosen on MobileFaceNet scores of genuine pairs, 563 faces of the synthetic street and 900 of LFW (as
they are, at 40 % of the size, blurred by 2 px): rank correlation of `value` with the score .54 and .33, mean score of
the fifth with the highest value .870 and .666 against .805 and .603 of all.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import WORKSPACE
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box, intersection

_SIZE_SETTLES_PX = 10.0  # inter-eye: genuine scores above .45 are .61 at 10 px, .87 at 14, .92 at 24, .93 at 32 (LFW)
_SHARPNESS_SETTLES = 0.1  # Laplacian over contrast: LFW .23, at 40 % of its size .12, blurred by 2 px .07 (medians)
_BLACK, _WHITE = 8, 247  # of 255: darker or brighter holds no detail
# Where the nose tip lies, in inter-eye distances: so far in front of the eyes, and so far below the middle between
# eyes and mouth when a face looks straight ahead (median of 300 LFW faces .055; of the rendered ones .063).
_NOSE_DEPTH = 0.5
_NOSE_BELOW_MIDDLE = 0.055
_SQUARE_HALF = 1.5  # of the face around its landmarks, in inter-eye or eye-to-mouth distances: about the aligned crop


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one aligned face. Angles in degrees from five points: good to about ten degrees, no better."""

    inter_eye_px: float  # in the camera picture
    sharpness: float  # fine detail relative to contrast, in [0, 1]; a sharp portrait has 0.9
    exposure: float  # share of the face neither black nor blown out
    yaw: float  # degrees; + is turned towards image right
    pitch: float  # degrees; + is looking up
    confidence: float  # of the detector
    visible: float  # share of the face that lies inside the picture

    @property
    def value(self) -> float:
        """One number in [0, 1] for choosing and weighing; 0 is useless."""
        size = 1 - math.exp(-self.inter_eye_px / _SIZE_SETTLES_PX)
        frontal = max(math.cos(math.radians(self.yaw)), 0.0) * max(math.cos(math.radians(self.pitch)), 0.0)
        # Squared: what hides a face lowers the detector's confidence, and no other measure here sees it.
        return size * frontal * self.sharpness * self.exposure * self.visible * self.confidence**2


def measure(detection: Detection, crop: NDArray[np.uint8], *, width_px: int, height_px: int, arena: Arena) -> Quality:
    """Quality of a detection in a picture of that size, `crop` being its aligned face (h, w, 3), RGB or BGR."""
    height, width = crop.shape[:2]
    with (
        arena.lease(WORKSPACE, (2, height, width), np.float32) as planes,
        arena.lease(WORKSPACE, (2, height, width), np.bool_) as masks,
    ):
        sharpness, exposure = _sharpness_and_exposure(crop, planes.array, masks.array)
    yaw, pitch = _pose(detection)
    return Quality(
        inter_eye_px=detection.inter_eye_px,
        sharpness=sharpness,
        exposure=exposure,
        yaw=yaw,
        pitch=pitch,
        confidence=detection.confidence,
        visible=_visible(detection, width_px, height_px),
    )


def _sharpness_and_exposure(
    crop: NDArray[np.uint8], planes: NDArray[np.float32], masks: NDArray[np.bool_]
) -> tuple[float, float]:
    luma, spare = planes
    np.copyto(luma, crop[..., 1])
    np.multiply(luma, 2, out=luma)
    for channel in (0, 2):  # (R + 2G + B) / 4 is the same for RGB and BGR
        np.copyto(spare, crop[..., channel])
        np.add(luma, spare, out=luma)
    np.multiply(luma, 0.25, out=luma)
    black, white = masks
    np.less(luma, _BLACK, out=black)
    np.greater(luma, _WHITE, out=white)
    exposure = 1 - (np.count_nonzero(black) + np.count_nonzero(white)) / luma.size
    flat = luma.reshape(-1)
    _laplacian(flat, crop.shape[1], spare.reshape(-1))
    for edge in (spare[0], spare[-1], spare[:, 0], spare[:, -1]):
        edge.fill(0)
    detail = float(np.dot(spare.reshape(-1), spare.reshape(-1))) / luma.size
    np.subtract(luma, float(np.add.reduce(flat)) / luma.size, out=luma)
    contrast = float(np.dot(flat, flat)) / luma.size
    return 1 - math.exp(-math.sqrt(detail / (contrast + 1.0)) / _SHARPNESS_SETTLES), exposure


def _laplacian(flat: NDArray[np.float32], width: int, out: NDArray[np.float32]) -> None:
    """Four neighbours less four times the middle; wrong at the borders, where rows run into each other.

    On runs of rows, because a ufunc takes heap buffers for slices with two axes.
    """
    inside = out[width:-width]
    np.multiply(flat[width:-width], -4, out=inside)
    for first in (0, width - 1, width + 1, 2 * width):
        np.add(inside, flat[first : first + inside.size], out=inside)


def _pose(detection: Detection) -> tuple[float, float]:
    """Yaw and pitch in degrees from where the nose tip lies between eyes and mouth."""
    left_eye, right_eye, nose, left_mouth, right_mouth = (complex(x, y) for x, y in detection.landmarks_px.tolist())
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across = right_eye - left_eye
    if across == 0:
        return 90.0, 0.0
    # In units of the inter-eye distance, x along the eyes and y down the face.
    nose_at, mouth_at = (nose - eyes) / across, (mouth - eyes) / across
    yaw = math.degrees(math.atan(nose_at.real / _NOSE_DEPTH))
    pitch = math.degrees(math.atan((mouth_at.imag / 2 + _NOSE_BELOW_MIDDLE - nose_at.imag) / _NOSE_DEPTH))
    return yaw, pitch


def _visible(detection: Detection, width_px: int, height_px: int) -> float:
    """Share of the square around the landmarks that lies inside the picture."""
    left_eye, right_eye, _, left_mouth, right_mouth = (complex(x, y) for x, y in detection.landmarks_px.tolist())
    middle = (left_eye + right_eye + left_mouth + right_mouth) / 4
    half = _SQUARE_HALF * max(abs(right_eye - left_eye), abs((left_mouth + right_mouth - left_eye - right_eye) / 2))
    square = Box(middle.real - half, middle.imag - half, middle.real + half, middle.imag + half)
    picture = Box(0, 0, width_px, height_px)
    return intersection(square, picture).area / square.area if square.area > 0 else 0.0
