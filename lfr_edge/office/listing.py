"""The office's list: a CSV file that names each person's photo and says why the person is on it.

Everything wrong with it is found in one reading, so that a clerk mends it once. What a photo shows is `enrol`'s
business.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.watchlist.entries import Particulars

_REQUIRED = ("id", "photo", "category", "response", "legal_basis", "source", "captured")
_OPTIONAL = ("rationale", "expires")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list that can be enrolled."""

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


def read_list(path: Path, photos: Path) -> tuple[list[Row], list[Problem]]:
    """The rows that are in order, and what is wrong with the others. ConfigError if it is not such a list at all."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, reader.fieldnames or ())
            lines = [(reader.line_num, fields) for fields in reader]
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="check the path"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path} is not a CSV file in UTF-8", fix="save it as 'CSV UTF-8', with commas"
        ) from error
    if not lines:
        raise ConfigError(Reason.FILE_MALFORMED, f"{path} lists nobody", fix="add a line for each person")
    outcomes = [_row(line, fields, photos) for line, fields in lines]
    rows = [outcome for outcome in outcomes if isinstance(outcome, Row)]
    problems = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    return rows, problems


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


def _row(line: int, fields: dict[str, str], photos: Path) -> Row | Problem:
    # DictReader puts surplus values under None, and None where values are missing.
    if None in fields or None in fields.values():
        return Problem(line, "the line", "it has too many or too few values", "quote values that hold a comma")
    filled = {name: value.strip() for name, value in fields.items() if value.strip() or name in _REQUIRED}
    name = filled.pop("photo")
    subject = f"{filled['id'] or 'no id'} ({name or 'no photo'})"
    try:
        particulars = Particulars.model_validate_strings(filled)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        what = ", ".join(f"{'.'.join(map(str, fault['loc']))} - {fault['msg'].lower()}" for fault in faults)
        return Problem(line, subject, what, "correct the value (dates as YYYY-MM-DD)")
    inside = PurePosixPath(name)
    try:
        there = not inside.is_absolute() and ".." not in inside.parts and (photos / name).is_file()
    except OSError as error:
        return Problem(line, subject, f"the photo cannot be read: {error.strerror}", "correct its name or permissions")
    if not there:
        return Problem(line, subject, f"there is no such photo in {photos}", "add it, or correct its name")
    return Row(line, particulars, photos / name)


def duplicates(rows: Sequence[Row]) -> list[Problem]:
    """A problem for each row whose id another row before it has."""
    first_line: dict[str, int] = {}
    problems = []
    for row in rows:
        first = first_line.setdefault(row.particulars.id, row.line)
        if first != row.line:
            problems.append(
                Problem(row.line, row.particulars.id, f"line {first} has the same id", "give each person one line")
            )
    return problems
