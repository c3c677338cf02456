"""How usable one face is for a comparison: to choose a track's best samples and to weigh them.

Nothing here says whether to compare at all (the order's and the engine set's limits do), and nothing says anything
about the person. Exposure counts lost pixels and sharpness is relative to contrast, both instead of brightness: a
measure of brightness would rank darker skin lower.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import WORKSPACE
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box, intersection


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one aligned face. Angles in degrees from five points: good to about ten degrees, no better."""

    inter_eye_px: float  # in the camera picture
    sharpness: float  # fine detail relative to contrast, in [0, 1]
    exposure: float  # share of the face neither black nor blown out
    yaw: float  # degrees; + is turned towards image right
    pitch: float  # degrees; + is looking up
    confidence: float  # of the detector
    visible: float  # share of the face that lies inside the picture

    @property
    def value(self) -> float:
        """One number in [0, 1] for choosing and weighing; 0 is useless."""
        size = 1 - math.exp(-self.inter_eye_px / 10)
        frontal = max(math.cos(math.radians(self.yaw)), 0.0) * max(math.cos(math.radians(self.pitch)), 0.0)
        return size * frontal * self.sharpness * self.exposure * self.confidence * self.visible**2


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
    np.less(luma, 8, out=black)
    np.greater(luma, 247, out=white)
    exposure = 1 - (np.count_nonzero(black) + np.count_nonzero(white)) / luma.size
    # The Laplacian of the inside, as sums of shifted views.
    inside = spare[1:-1, 1:-1]
    np.multiply(luma[1:-1, 1:-1], -4, out=inside)
    for shifted in (luma[:-2, 1:-1], luma[2:, 1:-1], luma[1:-1, :-2], luma[1:-1, 2:]):
        np.add(inside, shifted, out=inside)
    np.multiply(inside, inside, out=inside)
    detail = float(np.mean(inside))
    np.subtract(luma, np.mean(luma), out=luma)
    np.multiply(luma, luma, out=luma)
    contrast = float(np.mean(luma))
    return min(math.sqrt(detail / (contrast + 1.0)), 1.0), exposure


def _pose(detection: Detection) -> tuple[float, float]:
    """Yaw and pitch in degrees from where the nose tip lies between eyes and mouth."""
    left_eye, right_eye, nose, left_mouth, right_mouth = (complex(x, y) for x, y in detection.landmarks_px.tolist())
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across = right_eye - left_eye
    if across == 0:
        return 90.0, 0.0
    # In units of the inter-eye distance, x along the eyes and y down the face.
    nose_at, mouth_at = (nose - eyes) / across, (mouth - eyes) / across
    yaw = math.degrees(math.atan(nose_at.real / 0.5))
    pitch = math.degrees(math.atan((mouth_at.imag / 2 - nose_at.imag) / 0.5))
    return yaw, pitch


def _visible(detection: Detection, width_px: int, height_px: int) -> float:
    """Share of the square around the landmarks that lies inside the picture."""
    left_eye, right_eye, _, left_mouth, right_mouth = (complex(x, y) for x, y in detection.landmarks_px.tolist())
    middle = (left_eye + right_eye + left_mouth + right_mouth) / 4
    half = 1.5 * max(abs(right_eye - left_eye), abs((left_mouth + right_mouth - left_eye - right_eye) / 2))
    square = Box(middle.real - half, middle.imag - half, middle.real + half, middle.imag + half)
    picture = Box(0, 0, width_px, height_px)
    return intersection(square, picture).area / square.area if square.area > 0 else 0.0
