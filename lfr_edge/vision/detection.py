"""From a detector's output planes to faces: boxes, five landmarks, confidence.

The outputs of one picture are leased memory that is wiped after the step, so they are filtered by confidence in place,
and only the geometry of the faces that pass is copied out of them. Numbers that cannot be a face (NaN, infinite, all
landmarks in one place, outside the picture) are no detection, never an error. Running the detector is elsewhere
(`inference`), and so is the choice of thresholds (the engine set's manifest).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.image import padded_px
from lfr_edge.vision.geometry import Box, moved

_YUNET_STRIDES_PX = (8, 16, 32)
_CENTERFACE_STRIDE_PX = 4
# Candidates per output plane that go on to suppression: fifty faces raise a few hundred; noise could raise all.
_MOST_CANDIDATES = 500
_PLACES_AT_ONCE = 2048
# A face raises about ten candidates in neighbouring places, nearly all overlapping the best by .85 to .95, and each has
# its own error of some 4 % of the inter-eye distance in every landmark: their mean is better (docs/accuracy.md).
_SAME_FACE_IOU = 0.8
_LEAST_SIDE_PX = 1.0  # of a box inside the picture, and between the eyes: less cannot be aligned

# One row per candidate: box, five landmarks (x, y), confidence.
_BOX, _LANDMARKS, _CONFIDENCE = slice(0, 4), slice(4, 14), 14
_COLUMNS = 15

_Plane = NDArray[np.float32]
_Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face. Landmarks (5, 2) px: image-left eye, image-right eye, nose tip, left and right mouth corner."""

    box_px: Box
    landmarks_px: NDArray[np.float64]
    confidence: float

    @property
    def inter_eye_px(self) -> float:
        """Distance between the two eye points."""
        (left_x, left_y), (right_x, right_y) = self.landmarks_px[:2].tolist()
        return math.hypot(right_x - left_x, right_y - left_y)

    def enlarged(self, times: int) -> "Detection":
        """The same face in a picture so many times as wide and high."""
        if times == 1:
            return self
        box = Box(*(edge * times for edge in self.box_px))
        return Detection(box, self.landmarks_px * times, self.confidence)

    def lowered(self, rows: int) -> "Detection":
        """The same face in a picture with so many rows more above."""
        if rows == 0:
            return self
        return Detection(moved(self.box_px, 0, rows), np.add(self.landmarks_px, (0, rows)), self.confidence)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What counts as a face, and how large the picture is without its padding."""

    confidence: float
    nms_iou: float
    width_px: int
    height_px: int


def decode(
    kind: Literal["yunet", "centerface"], outputs: Mapping[str, NDArray[np.float32]], *, limits: DecodeLimits
) -> list[Detection]:
    """Faces of one picture, most confident first, no two overlapping by more than `limits.nms_iou`.

    `outputs` are the planes of one picture under their ONNX names, without the batch axis; they are scribbled over.
    Boxes are clipped to the picture, landmarks are not. RuntimeError if the planes do not belong to such a picture.
    """
    with np.errstate(all="ignore"):  # hostile numbers become NaN or inf, and those rows are dropped
        rows = _from_yunet(outputs, limits) if kind == "yunet" else _from_centerface(outputs, limits)
        return _suppressed(_possible(rows, limits), limits)


def _from_yunet(outputs: Mapping[str, _Plane], limits: DecodeLimits) -> _Rows:
    """Prior = (column, row) * stride without half-pixel offset; confidence = sqrt(cls * obj), as OpenCV has it."""
    chosen = []
    for stride in _YUNET_STRIDES_PX:
        cls, obj = outputs[f"cls_{stride}"].reshape(-1), outputs[f"obj_{stride}"].reshape(-1)
        if cls.size != padded_px(limits.width_px) // stride * (padded_px(limits.height_px) // stride):
            raise RuntimeError(f"cls_{stride} has {cls.size} places: not of {limits.width_px}x{limits.height_px} px")
        np.multiply(cls, obj, out=cls)
        np.sqrt(cls, out=cls)
        chosen.append(_most_confident(cls, limits.confidence))
    rows = np.empty((sum(places.size for places in chosen), _COLUMNS))
    end = 0
    for stride, places in zip(_YUNET_STRIDES_PX, chosen, strict=True):
        start, end = end, end + places.size
        if places.size:
            _fill_yunet(rows[start:end], places, outputs, stride, padded_px(limits.width_px) // stride)
    return rows


def _fill_yunet(
    rows: _Rows, places: NDArray[np.intp], outputs: Mapping[str, _Plane], stride: int, columns: int
) -> None:
    prior_x, prior_y = places % columns, places // columns
    rows[:, _CONFIDENCE] = np.take(outputs[f"cls_{stride}"].reshape(-1), places)
    box = np.take(outputs[f"bbox_{stride}"], places, axis=0)
    half_width, half_height = np.exp(box[:, 2]) / 2, np.exp(box[:, 3]) / 2
    rows[:, 0] = prior_x + box[:, 0] - half_width
    rows[:, 1] = prior_y + box[:, 1] - half_height
    rows[:, 2] = prior_x + box[:, 0] + half_width
    rows[:, 3] = prior_y + box[:, 1] + half_height
    rows[:, _LANDMARKS] = np.take(outputs[f"kps_{stride}"], places, axis=0)
    rows[:, 4:14:2] += prior_x[:, None]
    rows[:, 5:14:2] += prior_y[:, None]
    rows[:, :_CONFIDENCE] *= stride


def _from_centerface(outputs: Mapping[str, _Plane], limits: DecodeLimits) -> _Rows:
    """Heat map, log scale (h, w), offset (y, x), landmarks (y, x) relative to the box; all planes at stride 4."""
    columns = padded_px(limits.width_px) // _CENTERFACE_STRIDE_PX
    heat = outputs["537"].reshape(-1)
    if heat.size != columns * (padded_px(limits.height_px) // _CENTERFACE_STRIDE_PX):
        raise RuntimeError(f"537 has {heat.size} places: not of {limits.width_px}x{limits.height_px} px")
    places = _most_confident(heat, limits.confidence)
    rows = np.empty((places.size, _COLUMNS))
    rows[:, _CONFIDENCE] = np.take(heat, places)
    scale = np.take(outputs["538"].reshape(2, -1), places, axis=1)
    offset = np.take(outputs["539"].reshape(2, -1), places, axis=1)
    landmarks = np.take(outputs["540"].reshape(10, -1), places, axis=1)
    height, width = np.exp(scale[0]) * _CENTERFACE_STRIDE_PX, np.exp(scale[1]) * _CENTERFACE_STRIDE_PX
    rows[:, 0] = (places % columns + offset[1] + 0.5) * _CENTERFACE_STRIDE_PX - width / 2
    rows[:, 1] = (places // columns + offset[0] + 0.5) * _CENTERFACE_STRIDE_PX - height / 2
    rows[:, 2] = rows[:, 0] + width
    rows[:, 3] = rows[:, 1] + height
    rows[:, 4:14:2] = (landmarks[1::2] * width + rows[:, 0]).T
    rows[:, 5:14:2] = (landmarks[0::2] * height + rows[:, 1]).T
    return rows


def _most_confident(confidence: _Plane, least: float) -> NDArray[np.intp]:
    """Places of at least that confidence, no more than `_MOST_CANDIDATES`."""
    # Piece by piece: comparing at once would put a map of the whole plane on the heap.
    found: list[int] = []
    for start in range(0, confidence.size, _PLACES_AT_ONCE):
        piece = confidence[start : start + _PLACES_AT_ONCE]
        if not piece.max() < least:  # NaN is not less
            found.extend((np.flatnonzero(piece >= least) + start).tolist())
    places = np.fromiter(found, np.intp, len(found))
    if places.size <= _MOST_CANDIDATES:
        return places
    return np.take(places, np.argpartition(np.take(confidence, places), -_MOST_CANDIDATES)[-_MOST_CANDIDATES:])


def _possible(rows: _Rows, limits: DecodeLimits) -> _Rows:
    """The rows that can be a face, their boxes clipped to the picture."""
    width, height = rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]
    near_x = (rows[:, 4:14:2] > (rows[:, 0] - width)[:, None]) & (rows[:, 4:14:2] < (rows[:, 2] + width)[:, None])
    near_y = (rows[:, 5:14:2] > (rows[:, 1] - height)[:, None]) & (rows[:, 5:14:2] < (rows[:, 3] + height)[:, None])
    eyes_apart = np.hypot(rows[:, 6] - rows[:, 4], rows[:, 7] - rows[:, 5]) >= _LEAST_SIDE_PX
    plausible = np.isfinite(rows).all(axis=1) & near_x.all(axis=1) & near_y.all(axis=1) & eyes_apart
    np.clip(rows[:, 0:4:2], 0, limits.width_px, out=rows[:, 0:4:2])
    np.clip(rows[:, 1:4:2], 0, limits.height_px, out=rows[:, 1:4:2])
    inside = (rows[:, 2] - rows[:, 0] >= _LEAST_SIDE_PX) & (rows[:, 3] - rows[:, 1] >= _LEAST_SIDE_PX)
    return np.compress(plausible & inside & (rows[:, _CONFIDENCE] <= 1), rows, axis=0)


def _suppressed(rows: _Rows, limits: DecodeLimits) -> list[Detection]:
    """Greedy non-maximum suppression, on the boxes as clipped: what is returned keeps the promise of `decode`.

    The best candidate gets the mean landmarks of all that see the same face.
    """
    area = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
    left = np.argsort(-rows[:, _CONFIDENCE], kind="stable")
    kept = []
    while left.size:
        best, others = rows[left[0]], np.take(rows, left, axis=0)  # itself among them, first
        shared_x = np.minimum(others[:, 2], best[2]) - np.maximum(others[:, 0], best[0])
        shared_y = np.minimum(others[:, 3], best[3]) - np.maximum(others[:, 1], best[1])
        shared = np.maximum(shared_x, 0) * np.maximum(shared_y, 0)
        union = np.take(area, left) + (best[2] - best[0]) * (best[3] - best[1]) - shared
        same = np.compress(shared >= _SAME_FACE_IOU * union, others, axis=0)
        kept.append(_detection(best, same[:, _LANDMARKS].mean(axis=0)))
        left = np.compress(shared[1:] <= limits.nms_iou * union[1:], left[1:])
    return kept


def _detection(row: NDArray[Any], landmarks: NDArray[np.float64]) -> Detection:
    values: list[float] = row.tolist()
    return Detection(Box(*values[_BOX]), landmarks.reshape(5, 2), values[_CONFIDENCE])
