"""Enrolment: each photo becomes a template, a picture and a verdict. Nothing is written here.

Photos are read ahead by threads of their own while the engines measure: reading a large JPEG takes as long as finding
and embedding its face.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lfr_edge.adapters.photos import read_photo
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import TEMPLATES
from lfr_edge.errors import UntrustedInputError
from lfr_edge.office.assess import LEAST_INTER_EYE_PX, Finding, Verdict, judge
from lfr_edge.office.photos import reference_picture
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.quality import Quality

_READERS = 2
_AHEAD = 4  # photos read before they are needed: 1.2 MB each at 640 px
_LARGEST_BYTES = 64 << 20
_NOTHING = hashlib.sha256().hexdigest()


class FaceExtractor(Protocol):
    """What enrolment needs of the pipeline's extractor."""

    @property
    def dimension(self) -> int:
        """D."""
        ...

    def detect(self, image: Image) -> list[Detection]:
        """Faces, most confident first."""
        ...

    def embed(self, image: Image, detections: Sequence[Detection], *, out: NDArray[np.float32]) -> list[Quality]:
        """Features of each detection into `out`, and its quality."""
        ...

    def forget(self) -> None:
        """Overwrite what the engines keep."""
        ...


@dataclass(frozen=True, slots=True)
class Photo:
    """What became of one photo. A refused one has no template; its picture is the whole photo, or nothing."""

    sha256: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    quality: Quality | None
    picture_jpeg: bytes
    template: bytes  # D float32 of length 1

    @property
    def usable(self) -> bool:
        """Whether it is enrolled."""
        return self.verdict is not Verdict.REFUSE

    @property
    def value(self) -> float:
        """Its unified quality; 0 where there is none."""
        return 0.0 if self.quality is None else self.quality.value


@dataclass(frozen=True, slots=True)
class _Read:
    sha256: str
    image: Image | None
    finding: Finding | None


def sha256_of_photo(path: Path) -> str:
    """Digest of the file's bytes; of nothing, if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return _NOTHING
    return digest.hexdigest()


def measure_photos(paths: Iterable[Path], extractor: FaceExtractor, arena: Arena) -> Iterator[Photo]:
    """One `Photo` for each path, in order. What is wrong with a photo is in its verdict, never an exception."""
    upcoming = iter(paths)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="read-photo") as readers:
        ahead = deque(readers.submit(_read, path, arena) for path in islice(upcoming, _AHEAD))
        try:
            while ahead:
                read = ahead.popleft().result()
                ahead.extend(readers.submit(_read, path, arena) for path in islice(upcoming, 1))
                yield _measured(read, extractor, arena)
        finally:
            for future in ahead:
                _let_go(future)
            extractor.forget()


def _read(path: Path, arena: Arena) -> _Read:
    """Read once: what is measured is what the digest is of."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        return _Read(_NOTHING, None, Finding(f"it cannot be read: {error.strerror}", "check the file"))
    if len(content) > _LARGEST_BYTES:
        return _Read(sha256_of_photo(path), None, Finding("the file is too large", "save a smaller copy as JPEG"))
    digest = hashlib.sha256(content).hexdigest()
    try:
        return _Read(digest, read_photo(BytesIO(content), arena, TEMPLATES), None)
    except UntrustedInputError as error:
        return _Read(digest, None, Finding(error.message, error.fix))


def _let_go(future: "Future[_Read]") -> None:
    if not future.cancel() and future.exception() is None and (image := future.result().image) is not None:
        image.release()


def _measured(read: _Read, extractor: FaceExtractor, arena: Arena) -> Photo:
    if read.image is None:
        return _refused(read, b"")
    with read.image.lease:
        faces = extractor.detect(read.image)
        finding = _other_than_one_face(faces)
        if finding is not None:
            return _refused(read, _whole(read.image), finding)
        with arena.lease(TEMPLATES, (1, extractor.dimension), np.float32) as template:
            (quality,) = extractor.embed(read.image, faces, out=template.array)
            if not template.array.any():
                why = Finding("the face could not be measured", "give another photo")
                return _refused(read, _whole(read.image), why)
            verdict, findings = judge(quality)
            if verdict is Verdict.REFUSE:
                return Photo(read.sha256, verdict, findings, quality, _whole(read.image), b"")
            picture = reference_picture(read.image, faces[0].box_px)
            return Photo(read.sha256, verdict, findings, quality, picture, template.array.tobytes())


def _other_than_one_face(faces: Sequence[Detection]) -> Finding | None:
    if not faces:
        return Finding("no face was found", "give a photo that shows the face from the front")
    if len(faces) > 1:
        sizes = ", ".join(f"{face.box_px.width:.0f}x{face.box_px.height:.0f}" for face in faces)
        return Finding(f"{len(faces)} faces were found ({sizes} px)", "crop it to the one person")
    (face,) = faces
    if face.inter_eye_px < LEAST_INTER_EYE_PX:
        what = f"the face is too small ({face.inter_eye_px:.0f} px between the eyes, of a photo read at 640 px)"
        return Finding(what, f"give a closer photo, or crop it: at least {LEAST_INTER_EYE_PX:.0f} px are needed")
    return None


def _refused(read: _Read, picture: bytes, finding: Finding | None = None) -> Photo:
    findings = tuple(found for found in (finding, read.finding) if found is not None)
    return Photo(read.sha256, Verdict.REFUSE, findings, None, picture, b"")


def _whole(image: Image) -> bytes:
    return reference_picture(image, Box(0, 0, image.width_px, image.height_px))
