"""The daemon with faults planted in it: it keeps pixels of every picture, and the features of every face.

Only the privacy test runs it, to prove that its scan would find such faults.
"""

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.image import Image
from lfr_edge.cli.main import main
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.pipeline.frame_source import Frame
from lfr_edge.pipeline.recognise import Recogniser, Step
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.quality import Quality

KEPT: list[object] = []

_start, _embed = Recogniser.start, Extractor.embed


def _leaky_start(self: Recogniser, frame: Frame) -> Step:
    if len(KEPT) < 40:
        KEPT.append(frame.image.pixels.copy())
    return _start(self, frame)


def _leaky_embed(
    self: Extractor, image: Image, detections: Sequence[Detection], *, out: NDArray[np.float32]
) -> list[Quality]:
    qualities = _embed(self, image, detections, out=out)
    if len(KEPT) < 40:
        KEPT.append(np.array(out))
    return qualities


if __name__ == "__main__":
    Recogniser.start, Extractor.embed = _leaky_start, _leaky_embed  # type: ignore[method-assign]
    sys.exit(main())
