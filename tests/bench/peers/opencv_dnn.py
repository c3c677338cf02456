"""OpenCV alone: FaceDetectorYN, and the embedder through cv2.dnn."""

from typing import Any

import cv2
import numpy as np
from common import Face, Job, aligned, job, most_alike, run

_KEPT = 5000  # boxes before suppression: FaceDetectorYN's default


class OpenCv:
    """A `Peer`."""

    def __init__(self, job: Job) -> None:
        self.software = {"opencv": cv2.__version__, "numpy": np.__version__}
        self._job = job
        self._size = (0, 0)
        self._detector = cv2.FaceDetectorYN.create(job.detector, "", (320, 320), job.confidence, job.nms_iou, _KEPT)
        self._embedder = cv2.dnn.readNetFromONNX(job.embedder)

    def detect(self, picture: Any) -> list[Face]:
        size = picture.shape[1::-1]
        if size != self._size:
            self._detector.setInputSize(size)
            self._size = size
        _, rows = self._detector.detect(picture)
        return [_face(row) for row in (() if rows is None else rows)]

    def embed(self, picture: Any, face: Face) -> Any:
        crop = aligned(picture, face.handle, self._job.template_px)
        rgb = (crop[..., ::-1].astype(np.float32) - self._job.mean) / self._job.std
        self._embedder.setInput(np.ascontiguousarray(rgb.transpose(2, 0, 1)[np.newaxis], np.float32))
        features = self._embedder.forward()[0]
        return features / np.linalg.norm(features)

    def best(self, templates: Any, features: Any) -> tuple[int, float, bool]:
        return most_alike(templates, features, self._job.threshold)


def _face(row: Any) -> Face:
    left, top, width, height = (float(value) for value in row[:4])
    landmarks = row[4:14].reshape(5, 2)
    return Face((left, top, left + width, top + height), float(np.linalg.norm(landmarks[0] - landmarks[1])), landmarks)


if __name__ == "__main__":
    wanted = job()
    run(wanted, OpenCv(wanted))
