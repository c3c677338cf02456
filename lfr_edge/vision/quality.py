"""How usable one face is for a comparison: to choose a track's best samples and to weigh them.

Nothing here says whether to compare at all (the order's and the engine set's limits do), and nothing says anything
about the person. Sharpness is relative to contrast, and exposure is reported but not weighed: a measure of brightness
would rank darker skin lower. Two measures come from the embedder, which has seen more faces than any formula: the
length of its features and their agreement with the mirrored face's. The extractor adds them.

What `value` is made of was chosen by the rank correlation with genuine scores on stills of LFW (as they are, small,
blurred), clips of signers and the rendered street: docs/recognition.md has the table.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import WORKSPACE
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box, intersection

_SIZE_SETTLES_PX = 8.0  # inter-eye: genuine scores above .45 are .61 at 10 px, .87 at 14, .92 at 24, .93 at 32 (LFW)
_SHARPNESS_SETTLES = 0.1  # Laplacian over contrast: LFW .23, at 40 % of its size .12, blurred by 2 px .07 (medians)
_SHARPNESS_COUNTS = 0.25  # as a power: the embedder's own measures see most of a blur
_BLACK, _WHITE = 8, 247  # of 255: darker or brighter holds no detail
# Where the nose tip lies, in inter-eye distances: so far in front of the eyes, and so far below the middle between
# eyes and mouth when a face looks straight ahead (median of 300 LFW faces .055; of the rendered ones .063).
_NOSE_DEPTH = 0.5
_NOSE_BELOW_MIDDLE = 0.055
_SQUARE_HALF = 1.5  # of the face around its landmarks, in inter-eye or eye-to-mouth distances: about the aligned crop


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one aligned face. Angles in degrees from five points: good to about ten degrees, no better.

    ISO/IEC 29794-5 knows inter-eye distance, sharpness, exposure and head pose under these names; `value` is its
    unified quality score.
    """

    inter_eye_px: float  # in the camera picture
    sharpness: float  # fine detail relative to contrast, in [0, 1]; a sharp portrait has 0.9
    exposure: float  # share of the face neither black nor blown out
    yaw: float  # degrees; + is turned towards image right
    pitch: float  # degrees; + is looking up
    confidence: float  # of the detector
    visible: float  # share of the face that lies inside the picture
    stability: float = 1.0  # the score with the own mirror image: 0 at the set's threshold, 1 at 1, or if not mirrored
    magnitude: float = 1.0  # length of the features as they leave the embedder, over that of a typical portrait

    @property
    def value(self) -> float:
        """One number for choosing and weighing: 0 is useless, a portrait has 0.8, the best a little over 1.

        The root makes it about the genuine score to expect of a set with YuNet (docs/recognition.md).
        """
        promise = _promise(self.inter_eye_px, (self.yaw, self.pitch), self.confidence, self.visible)
        detail = math.pow(self.sharpness, _SHARPNESS_COUNTS)
        return math.sqrt(promise * detail * self.stability * self.magnitude)


def promise(detection: Detection, *, width_px: int, height_px: int) -> float:
    """What can be told in [0, 1] of a face's value before it is aligned and embedded, in a picture of that size."""
    return _promise(
        detection.inter_eye_px, _pose(detection), detection.confidence, _visible(detection, width_px, height_px)
    )


def _promise(inter_eye_px: float, pose: tuple[float, float], confidence: float, visible: float) -> float:
    size = 1 - math.exp(-inter_eye_px / _SIZE_SETTLES_PX)
    yaw, pitch = (max(math.cos(math.radians(angle)), 0.0) for angle in pose)
    # Squared: what hides a face lowers the detector's confidence, and no other measure here sees it.
    return size * yaw * pitch * confidence**2 * visible


def measure(detection: Detection, crop: NDArray[np.uint8], *, width_px: int, height_px: int, arena: Arena) -> Quality:
    """Quality of a detection in a picture of that size, `crop` being its aligned face (h, w, 3), RGB or BGR.

    Stability and magnitude are left at 1: they need the features.
    """
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
