"""Footage whose every face is known: who is where in each picture, as a file beside the clip.

DIR/ground_truth.json   the format of examples/demo/ground_truth.json, whose `notes` explain every field
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.vision.geometry import Box

# Below 25 px between the eyes scores fall faster than detection does (LFW, share of genuine scores above .45: 24 px
# .92, 18 px .90, 14 px .87); a face hidden by a third is another problem than an open one.
USABLE_INTER_EYE_PX = 25.0
USABLE_VISIBLE = 0.7


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class _Face(_Strict):
    id: Annotated[str, Field(min_length=1)]
    box: tuple[float, float, float, float]  # left, top, width, height
    eyes: tuple[tuple[float, float], tuple[float, float]]
    iod: float  # inter-eye distance
    yaw: float
    pitch: float
    visible: float
    blink: float


class _Picture(_Strict):
    i: int
    faces: tuple[_Face, ...]


class _Video(_Strict):
    file: Annotated[str, Field(min_length=1)]
    width: int
    height: int
    fps: Annotated[float, Field(gt=0)]
    frames: int


class _Person(_Strict):
    id: str
    watchlist: bool
    first: int
    last: int
    frames: int
    max_iod: float


class _File(_Strict):
    about: str
    notes: str
    video: _Video
    people: tuple[_Person, ...]
    frames: Annotated[tuple[_Picture, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Film:
    """A clip, and how many pictures of it are a second."""

    path: Path
    fps: float


@dataclass(frozen=True, slots=True)
class TrueFace:
    """One face that is in a picture, found or not."""

    person: str
    box_px: Box
    inter_eye_px: float
    visible: float  # share of it

    @property
    def usable(self) -> bool:
        """Large and open enough that it should be recognised."""
        return self.inter_eye_px >= USABLE_INTER_EYE_PX and self.visible > USABLE_VISIBLE


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """One clip, the faces of each of its pictures, and the SHA-256 of the file that says so."""

    film: Film
    sha256: str
    pictures: tuple[tuple[TrueFace, ...], ...]

    @property
    def fps(self) -> float:
        """Pictures per second."""
        return self.film.fps


def read_ground_truth(folder: Path) -> GroundTruth:
    """What `ground_truth.json` in the folder says. ConfigError if it is missing or says something else."""
    path = folder / "ground_truth.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path}: {error.strerror}", fix="name a folder with a clip and ground_truth.json"
        ) from error
    try:
        file = _File.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path}: {where}: {first['msg']}", fix="see examples/demo/ground_truth.json"
        ) from error
    return GroundTruth(
        Film(folder / file.video.file, file.video.fps),
        hashlib.sha256(content).hexdigest(),
        tuple(tuple(_true_face(face) for face in picture.faces) for picture in file.frames),
    )


def _true_face(face: _Face) -> TrueFace:
    left, top, width, height = face.box
    return TrueFace(face.id, Box(left, top, left + width, top + height), face.iod, face.visible)
