"""face_recognition: its calls of dlib, with its defaults (HOG, upsampled once; 5 points; distance 0.6).

Called as `face_recognition/api.py` 1.3.0 calls it, without the package: that wants dlib built from source, which takes
longer than a benchmark should. The models are those that it uses, from `face_recognition_models`.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
from common import Face, Job, job, run

_UPSAMPLE = 1
_JITTERS = 1
_TOLERANCE = 0.6


class Dlib:
    """A `Peer`."""

    def __init__(self, job: Job) -> None:
        self.software = {"dlib": dlib.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
        self._job = job
        models = _models()
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self._encoder = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def detect(self, picture: Any) -> list[Face]:
        self._rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        return [self._face(box) for box in self._detector(self._rgb, _UPSAMPLE)]

    def embed(self, picture: Any, face: Face) -> Any:
        del picture  # in the other colour order
        return np.array(self._encoder.compute_face_descriptor(self._rgb, face.handle, _JITTERS))

    def best(self, templates: Any, features: Any) -> tuple[int, float, bool]:
        distances = np.linalg.norm(templates - features, axis=1)
        row = int(distances.argmin())
        return row, float(-distances[row]), bool(distances[row] <= _TOLERANCE)

    def _face(self, box: Any) -> Face:
        # The five points: corners of the eye on the picture's right, then of the one on the left, then the nose.
        shape = self._predictor(self._rgb, box)
        points = np.array([(point.x, point.y) for point in shape.parts()], float)
        between = float(np.linalg.norm(points[0:2].mean(axis=0) - points[2:4].mean(axis=0)))
        return Face((box.left(), box.top(), box.right(), box.bottom()), between, shape)


def _models() -> Path:
    package = find_spec("face_recognition_models")  # importing it needs pkg_resources
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("face_recognition_models", name="face_recognition_models")
    return Path(package.submodule_search_locations[0]) / "models"


if __name__ == "__main__":
    wanted = job()
    run(wanted, Dlib(wanted))
