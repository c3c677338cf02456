"""onnxruntime with our two models, called per picture and per face; cv2 reads and warps, as its users do."""

from typing import Any

import cv2
import numpy as np
import onnxruntime
from common import Face, Job, aligned, job, most_alike, run

_STRIDES = (8, 16, 32)


class OnnxRuntime:
    """A `Peer`."""

    def __init__(self, job: Job) -> None:
        self.software = {
            "onnxruntime": onnxruntime.__version__,
            "opencv": cv2.__version__,
            "numpy": np.__version__,
        }
        self._job = job
        self._detector = _session(job.detector, len(job.cores))
        self._embedder = _session(job.embedder, len(job.cores))
        self._names = [output.name for output in self._detector.get_outputs()]

    def detect(self, picture: Any) -> list[Face]:
        height, width = picture.shape[:2]
        padded = cv2.copyMakeBorder(picture, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT)
        planes = np.ascontiguousarray(padded.transpose(2, 0, 1)[np.newaxis], np.float32)
        values = self._detector.run(None, {self._detector.get_inputs()[0].name: planes})
        outputs = {name: value[0] for name, value in zip(self._names, values, strict=True)}
        boxes, landmarks, scores = (
            np.concatenate(parts)
            for parts in zip(
                *(_candidates(outputs, stride, planes.shape[3] // stride, self._job.confidence) for stride in _STRIDES),
                strict=True,
            )
        )
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self._job.confidence, self._job.nms_iou)
        return [_face(boxes[index], landmarks[index]) for index in np.asarray(kept, int).ravel()]

    def embed(self, picture: Any, face: Face) -> Any:
        crop = aligned(picture, face.handle, self._job.template_px)
        rgb = (crop[..., ::-1].astype(np.float32) - self._job.mean) / self._job.std
        planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)[np.newaxis], np.float32)
        (rows,) = self._embedder.run(None, {self._embedder.get_inputs()[0].name: planes})
        return rows[0] / np.linalg.norm(rows[0])

    def best(self, templates: Any, features: Any) -> tuple[int, float, bool]:
        return most_alike(templates, features, self._job.threshold)


def _session(model: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _candidates(outputs: Any, stride: int, columns: int, confidence: float) -> tuple[Any, Any, Any]:
    """Boxes (left, top, width, height), landmarks (5, 2) and scores of one stride, above the threshold."""
    scores = np.sqrt(outputs[f"cls_{stride}"][:, 0] * outputs[f"obj_{stride}"][:, 0])
    (index,) = np.nonzero(scores >= confidence)
    prior = np.stack([index % columns, index // columns], axis=1) * stride
    box = outputs[f"bbox_{stride}"][index]
    centre, size = prior + box[:, :2] * stride, np.exp(box[:, 2:]) * stride
    landmarks = outputs[f"kps_{stride}"][index].reshape(-1, 5, 2) * stride + prior[:, np.newaxis]
    return np.hstack([centre - size / 2, size]), landmarks, scores[index]


def _face(box: Any, landmarks: Any) -> Face:
    left, top, width, height = (float(value) for value in box)
    return Face((left, top, left + width, top + height), float(np.linalg.norm(landmarks[0] - landmarks[1])), landmarks)


if __name__ == "__main__":
    wanted = job()
    run(wanted, OnnxRuntime(wanted))
