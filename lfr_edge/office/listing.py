"""The office's list: a CSV or JSON file that names each person's photos and says why the person is on it.

Everything wrong with it is found in one reading, so that a clerk mends it once. What a photo shows is `enrol`'s
business. A line is one photo; lines with the same id are photos of the same person.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.messages.fields import complaints
from lfr_edge.watchlist.entries import Particulars

_REQUIRED = ("id", "photo", "category", "response", "legal_basis", "source", "captured")
_OPTIONAL = ("rationale", "expires", "under_18", "under_18_rationale")
# What belongs to the photo, not to the person.
_OF_PHOTO = ("photo", "source", "captured")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that a force's lists may use. With one, a rationale and a review date are required too (R1)."""

    categories: tuple[str, ...]
    legal_bases: tuple[str, ...]
    sources: tuple[str, ...]
    responses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One photo of one person: a line of the list that can be enrolled."""

    line: int
    particulars: Particulars
    photo: Path


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the office has to mend before anything is written."""

    line: int
    subject: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.subject}: {self.what}; {self.fix}"


def list_bytes(path: Path) -> bytes:
    """The list's file. ConfigError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="check the path"
        ) from error


def read_list(
    path: Path,
    photos: Path,
    vocabulary: Vocabulary | None = None,
    *,
    today: date | None = None,
    content: bytes | None = None,
) -> tuple[list[Row], list[Problem]]:
    """The rows that are in order, and what is wrong with the others. ConfigError if it is not such a list at all, or
    there is no folder `photos`.

    With `today`, no photo may be from the future and no entry may have expired. `content`, if the file was read before:
    then it is not read again.
    """
    content = list_bytes(path) if content is None else content
    lines = _read_json(path, content) if path.suffix.lower() == ".json" else _read_csv(path, content)
    if not lines:
        raise ConfigError(Reason.FILE_MALFORMED, f"{path} lists nobody", fix="add a line for each person")
    _require_folder(photos)
    rows: list[Row] = []
    problems: list[Problem] = []
    first_lines: dict[str, dict[str, str]] = {}
    for line, fields in lines:
        outcome = _row(line, fields, photos, first_lines)
        if isinstance(outcome, Problem):
            problems.append(outcome)
            continue
        rows.append(outcome)
        if vocabulary is not None:
            problems += _outside(outcome, vocabulary)
        if today is not None:
            problems += _impossible(outcome, today)
    return rows, sorted([*problems, *_contradictions(rows)], key=lambda problem: problem.line)


def _require_folder(photos: Path) -> None:
    """Said once, not of each line."""
    try:
        there = photos.is_dir()
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"the folder {photos} cannot be read: {error.strerror}", fix="check its permissions"
        ) from error
    if not there:
        raise ConfigError(
            Reason.FILE_MISSING, f"there is no folder {photos}", fix="give the one that the photos are in"
        )


def _read_csv(path: Path, content: bytes) -> list[tuple[int, Mapping[str, str]]]:
    try:
        text = content.decode("utf-8-sig")
        header = text.partition("\n")[0]
        # What Excel calls a comma depends on the country that it thinks it is in.
        separator = ";" if ";" in header and "," not in header else ","
        reader = csv.DictReader(StringIO(text, newline=""), delimiter=separator, strict=True)
        _check_columns(path, reader.fieldnames or ())
        return [(reader.line_num, fields) for fields in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path} is not a CSV file in UTF-8", fix="save it as 'CSV UTF-8'"
        ) from error


def _read_json(path: Path, content: bytes) -> list[tuple[int, Mapping[str, str]]]:
    """An array of objects with the columns' names; `line` is the place in the array, from 1."""
    try:
        items = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path} is not a JSON file in UTF-8", fix="save it as JSON, or as CSV"
        ) from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path} is not an array of objects", fix="write one object for each photo"
        )
    lines: list[tuple[int, Mapping[str, str]]] = []
    for number, item in enumerate(items, start=1):
        _check_columns(path, item)
        lines.append((number, {name: _text(item[name]) if name in item else "" for name in (*_REQUIRED, *_OPTIONAL)}))
    return lines


def _text(value: object) -> str:
    """As a cell would say it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_columns(path: Path, columns: Iterable[str]) -> None:
    names = list(columns)
    missing = [name for name in _REQUIRED if name not in names]
    unknown = [name for name in names if name not in (*_REQUIRED, *_OPTIONAL)]
    twice = sorted({name for name in names if names.count(name) > 1})
    complaints = [
        f"{complaint} {', '.join(found)}"
        for complaint, found in (("it lacks", missing), ("it should not have", unknown), ("it has twice", twice))
        if found
    ]
    if complaints:
        raise ConfigError(
            Reason.FILE_MALFORMED,
            f"{path} has other columns than a list: {'; '.join(complaints)}",
            fix=f"use {','.join(_REQUIRED)} and, where needed, {','.join(_OPTIONAL)}",
        )


def _row(line: int, fields: Mapping[str, str], photos: Path, first_lines: dict[str, dict[str, str]]) -> Row | Problem:
    # DictReader puts surplus values under None, and None where values are missing.
    if None in fields or None in fields.values():
        return Problem(line, "the line", "it has too many or too few values", "quote values that hold the separator")
    given = {name: value.strip() for name, value in fields.items()}
    filled = _completed(given, first_lines.get(given["id"]))
    name = filled.pop("photo")
    subject = f"{filled['id'] or 'no id'} ({name or 'no photo'})"
    try:
        particulars = Particulars.model_validate_strings(filled)
    except ValidationError as error:
        return Problem(line, subject, "; ".join(complaints(error, own=True)), "correct the value")
    first_lines.setdefault(particulars.id, given)
    inside = PurePosixPath(name)
    try:
        there = not inside.is_absolute() and ".." not in inside.parts and (photos / name).is_file()
    except OSError as error:
        return Problem(line, subject, f"the photo cannot be read: {error.strerror}", "correct its name or permissions")
    if not there:
        return Problem(line, subject, f"there is no such photo in {photos}", "add it, or correct its name")
    return Row(line, particulars, photos / name)


def _completed(given: Mapping[str, str], first: Mapping[str, str] | None) -> dict[str, str]:
    """The line's own values; of a further photo, what it leaves empty is as on the person's first line."""
    of_person = {} if first is None else {name: value for name, value in first.items() if name not in _OF_PHOTO}
    filled = {name: value or of_person.get(name, "") for name, value in given.items()}
    return {name: value for name, value in filled.items() if value or name in _REQUIRED}


def _outside(row: Row, vocabulary: Vocabulary) -> list[Problem]:
    """What the force's own rules do not allow."""
    stated = row.particulars
    subject = f"{stated.id} ({row.photo.name})"
    words = (
        ("category", stated.category, vocabulary.categories),
        ("legal_basis", stated.legal_basis, vocabulary.legal_bases),
        ("source", stated.source, vocabulary.sources),
        ("response", stated.response, vocabulary.responses),
    )
    problems = [
        Problem(row.line, subject, f"{name} '{value}' is not in the office's vocabulary", f"use {' | '.join(allowed)}")
        for name, value, allowed in words
        if value not in allowed
    ]
    for name, missing in (("rationale", stated.rationale), ("expires", stated.expires)):
        if missing is None:
            problems.append(Problem(row.line, subject, f"{name} is missing", f"every entry needs its {name}"))
    return problems


def _impossible(row: Row, today: date) -> list[Problem]:
    """What the calendar does not allow: such a line is a slip of the pen, or of a review (R1)."""
    stated = row.particulars
    subject = f"{stated.id} ({row.photo.name})"
    problems = []
    if stated.captured > today:
        fix = "give the day on which the photo was taken"
        problems.append(Problem(row.line, subject, f"captured, {stated.captured}, is in the future", fix))
    if stated.expires is not None and stated.expires < today:
        fix = "take the entry off the list, or review it and give another day"
        problems.append(Problem(row.line, subject, f"expires, {stated.expires}, is over", fix))
    return problems


def _contradictions(rows: Sequence[Row]) -> list[Problem]:
    """Lines of one id that say different things of the person, or name one photo twice."""
    firsts: dict[str, Row] = {}
    photos: dict[tuple[str, Path], int] = {}
    problems = []
    for row in rows:
        entry = row.particulars.id
        first = firsts.setdefault(entry, row)
        differing = differing_fields(first.particulars, row.particulars)
        if differing:
            what = f"it differs from line {first.line} in {', '.join(differing)}"
            problems.append(Problem(row.line, entry, what, "correct one of them, or give another person another id"))
        earlier = photos.setdefault((entry, row.photo), row.line)
        if earlier != row.line:
            problems.append(Problem(row.line, entry, f"line {earlier} names the same photo", "take one of them out"))
    return problems


def differing_fields(one: Particulars, other: Particulars) -> list[str]:
    """Names of what two statements about a person differ in; what belongs to the photo is left out."""
    return [
        name
        for name in Particulars.model_fields
        if name not in _OF_PHOTO and getattr(one, name) != getattr(other, name)
    ]
