"""A folder of pictures of people, and the split file that says who is enrolled and who is searched for.

    DIR/images/      the pictures; every PATH is relative to it
    DIR/split.json   {"gallery": [[SUBJECT, PATH], ...], "mated": [[SUBJECT, [PATH, ...]], ...],
                      "nonmated": [PATH, ...]}

Of a non-mated picture the subject is the name of its folder.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lfr_edge.errors import ConfigError, Reason


def _check_inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or len(pure.parts) < 2:
        raise ValueError(f"'{path}' is not SUBJECT/PICTURE")
    return path


Subject = Annotated[str, Field(min_length=1)]
PicturePath = Annotated[str, AfterValidator(_check_inside)]


class Split(BaseModel):
    """Who is enrolled with which picture, and what is searched for."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    gallery: Annotated[tuple[tuple[Subject, PicturePath], ...], Field(min_length=1)]
    mated: Annotated[tuple[tuple[Subject, tuple[PicturePath, ...]], ...], Field(min_length=1)]
    nonmated: Annotated[tuple[PicturePath, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> "Split":
        enrolled = {subject for subject, _ in self.gallery}
        if len(enrolled) < len(self.gallery):
            raise ValueError("a subject is in the gallery twice")
        strangers = {subject for subject, _ in self.mated} - enrolled
        if strangers:
            raise ValueError(f"'{min(strangers)}' is mated but not in the gallery")
        known = enrolled & {subject_of(path) for path in self.nonmated}
        if known:
            raise ValueError(f"'{min(known)}' is non-mated but in the gallery")
        references = {path for _, path in self.gallery}
        if any(path in references for _, paths in self.mated for path in paths):
            raise ValueError("a picture is both enrolled and searched for")
        return self


@dataclass(frozen=True, slots=True)
class DataSet:
    """A split, its pictures' folder, and the SHA-256 of the split file."""

    name: str
    split: Split
    split_sha256: str
    images: Path


def subject_of(path: str) -> str:
    """Whom a picture shows: the name of its folder."""
    return PurePosixPath(path).parent.name


def read_data_set(folder: Path) -> DataSet:
    """The data set in `folder`. ConfigError if its split file is missing, or is not one, or a picture is missing."""
    path = folder / "split.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path}: {error.strerror}", fix="name a folder with split.json and images/"
        ) from error
    try:
        split = Split.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path}: {where}: {first['msg']}", fix="docs/accuracy.md describes the file"
        ) from error
    images = folder / "images"
    for picture in _pictures(split):
        if not (images / picture).is_file():
            raise ConfigError(
                Reason.FILE_MISSING, f"{images / picture} is not there", fix="complete the data set, or its split.json"
            )
    return DataSet(folder.resolve().name, split, hashlib.sha256(content).hexdigest(), images)


def _pictures(split: Split) -> list[str]:
    references = [path for _, path in split.gallery]
    return [*references, *(path for _, paths in split.mated for path in paths), *split.nonmated]
