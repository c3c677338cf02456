"""The list: every mistake of a clerk is named with its line, all at once."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.office.listing import Vocabulary, read_list

REST = "wanted,red,PACE s.64A,custody,2025-03-01"


def test_a_row_becomes_particulars(listing: Callable[..., Path], photo: Callable[..., str], photos: Path) -> None:
    photo("a.png")
    path = listing("E-1,a.png, wanted on warrant ,red,PACE s.64A,custody,2025-03-01,,2026-12-31")
    (row,), problems = read_list(path, photos)
    assert not problems
    assert row.line == 2
    assert row.photo == photos / "a.png"
    assert row.particulars.category == "wanted on warrant"
    assert row.particulars.captured == date(2025, 3, 1)
    assert row.particulars.rationale is None
    assert row.particulars.expires == date(2026, 12, 31)


def test_optional_columns_may_be_missing_and_excel_may_have_written_it(
    tmp_path: Path, photo: Callable[..., str], photos: Path
) -> None:
    photo("a.png")
    path = tmp_path / "excel.csv"
    path.write_bytes(
        b"\xef\xbb\xbfid,photo,category,response,legal_basis,source,captured\r\n"
        b'E-1,a.png,"missing, vulnerable",amber,common law,family,2025-03-01\r\n'
    )
    (row,), problems = read_list(path, photos)
    assert not problems
    assert row.particulars.category == "missing, vulnerable"


def test_semicolons_separate_too_as_excel_writes_them_in_some_countries(
    tmp_path: Path, photo: Callable[..., str], photos: Path
) -> None:
    photo("a.png")
    path = tmp_path / "excel.csv"
    path.write_bytes(
        b"\xef\xbb\xbfid;photo;category;response;legal_basis;source;captured\r\n"
        b'E-1;a.png;missing, vulnerable;amber;"common law; PACE";family;2025-03-01\r\n'
        b"E-2;a.png;missing; vulnerable;amber;common law;family;2025-03-01\r\n"
    )
    (row,), (problem,) = read_list(path, photos)
    assert (row.particulars.category, row.particulars.legal_basis) == ("missing, vulnerable", "common law; PACE")
    assert str(problem) == "line 3: the line: it has too many or too few values; quote values that hold the separator"


def test_a_photos_name_that_no_file_can_have_is_a_problem_of_its_line(
    listing: Callable[..., Path], photos: Path
) -> None:
    _, (problem,) = read_list(listing(f"E-1,{'p' * 300}.jpg,{REST},,"), photos)
    assert problem.line == 2
    assert "File name too long" in problem.what


def test_every_problem_is_found_in_one_reading(
    listing: Callable[..., Path], photo: Callable[..., str], photos: Path
) -> None:
    photo("a.png")
    path = listing(
        f"E-1,a.png,{REST},,",
        f"E-2,absent.png,{REST},,",
        f"E-1,a.png,{REST},,",
        "E-3,a.png,wanted,blue,PACE s.64A,custody,01/03/2025,,",
        f"bad id,a.png,{REST},,",
        "E-4,a.png,wanted",
        f"E-5,a.png,{REST},,,,",
        "E-6,a.png,wanted,red,,custody,2025-03-01,,",
        f",,{REST},,",
    )
    rows, problems = read_list(path, photos)
    assert [row.particulars.id for row in rows] == ["E-1", "E-1"]
    (twice,) = (problem for problem in problems if problem.line == 4)
    assert str(twice) == "line 4: E-1: line 2 names the same photo; take one of them out"
    problems.remove(twice)
    shown = [str(problem) for problem in problems]
    assert [problem.line for problem in problems] == [3, 5, 6, 7, 8, 9, 10]
    assert "E-2 (absent.png): there is no such photo" in shown[0]
    assert "response must be 'red', 'amber', 'green' or 'test-pass'" in shown[1]
    assert "captured must be a day, such as 2026-06-01" in shown[1]
    assert "bad id (a.png): id must be 1 to 64 letters, digits, '.', '_' and '-'; correct the value" in shown[2]
    assert "too many or too few values" in shown[3]
    assert "too many or too few values" in shown[4]
    assert "legal_basis must have at least 1 character(s)" in shown[5]
    assert "no id (no photo): id must be" in shown[6]


def test_lines_of_one_id_are_photos_of_one_person(
    listing: Callable[..., Path], photo: Callable[..., str], photos: Path
) -> None:
    photo("a.png")
    photo("b.png")
    path = listing(f"E-1,a.png,{REST},why,2026-12-31", "E-1,b.png,,,,family,2024-01-02,,")
    (first, second), problems = read_list(path, photos)
    assert not problems
    assert (second.particulars.category, second.particulars.rationale) == ("wanted", "why")
    assert (first.particulars.source, second.particulars.source) == ("custody", "family")
    assert second.particulars.captured == date(2024, 1, 2)


def test_lines_of_one_id_that_contradict_each_other_are_named(
    listing: Callable[..., Path], photo: Callable[..., str], photos: Path
) -> None:
    photo("a.png")
    photo("b.png")
    path = listing(f"E-1,a.png,{REST},,", "E-1,b.png,missing,green,PACE s.64A,custody,2025-03-01,,")
    _, (problem,) = read_list(path, photos)
    assert str(problem) == (
        "line 3: E-1: it differs from line 2 in category, response; "
        "correct one of them, or give another person another id"
    )


RULES = Vocabulary(("wanted",), ("PACE s.64A",), ("custody",), ("red", "amber"))
FULL = {
    "id": "E-1",
    "photo": "a.png",
    "category": "wanted",
    "response": "red",
    "legal_basis": "PACE s.64A",
    "source": "custody",
    "captured": "2025-03-01",
    "rationale": "warrant of 1 March",
    "expires": "2026-12-31",
    "under_18": "",
    "under_18_rationale": "",
}
# One field wrong in turn, and what is said of it.
WRONG = {
    "id": ("J Smith", "id must be 1 to 64 letters, digits, "),
    "photo": ("b.png", "there is no such photo"),
    "category": ("lost", "category 'lost' is not in the office's vocabulary; use wanted"),
    "response": ("green", "response 'green' is not in the office's vocabulary; use red | amber"),
    "legal_basis": ("none", "legal_basis 'none' is not in the office's vocabulary; use PACE s.64A"),
    "source": ("web", "source 'web' is not in the office's vocabulary; use custody"),
    "captured": ("yesterday", "captured must be a day, such as 2026-06-01"),
    "rationale": ("", "rationale is missing; every entry needs its rationale"),
    "expires": ("", "expires is missing; every entry needs its expires"),
    "under_18": ("yes", "under_18 and under_18_rationale go together"),
    "under_18_rationale": ("at risk", "under_18 and under_18_rationale go together"),
}


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("field", [None, *WRONG])
def test_each_field_that_is_wrong_is_one_problem_of_its_line(
    tmp_path: Path, photo: Callable[..., str], photos: Path, form: str, field: str | None
) -> None:
    photo("a.png")
    fields = FULL if field is None else FULL | {field: WRONG[field][0]}
    path = tmp_path / f"list.{form}"
    quoted = ",".join(f'"{value}"' for value in fields.values())
    path.write_text(json.dumps([fields]) if form == "json" else f"{','.join(fields)}\n{quoted}\n", "utf-8")
    rows, problems = read_list(path, photos, RULES)
    if field is None:
        assert ([row.particulars.id for row in rows], problems) == (["E-1"], [])
        return
    (problem,) = problems
    assert WRONG[field][1] in str(problem)
    assert str(problem).startswith(f"line {2 if form == 'csv' else 1}: ")


def test_somebody_under_18_has_a_rationale_of_its_own(tmp_path: Path, photo: Callable[..., str], photos: Path) -> None:
    photo("a.png")
    path = tmp_path / "list.json"
    path.write_text(json.dumps([FULL | {"under_18": True, "under_18_rationale": "at risk"}]), "utf-8")
    (row,), problems = read_list(path, photos, RULES)
    assert not problems
    assert (row.particulars.under_18, row.particulars.under_18_rationale) == (True, "at risk")


VOLUNTEER = FULL | {"id": "B-3", "category": "volunteer", "response": "test-pass", "legal_basis": "consent"}
ON_SITE = Vocabulary(("wanted", "volunteer"), ("PACE s.64A", "consent"), ("custody",), ("red", "test-pass"))


def test_a_volunteer_is_listed_where_the_office_has_the_word(
    tmp_path: Path, photo: Callable[..., str], photos: Path
) -> None:
    photo("a.png")
    path = tmp_path / "list.json"
    path.write_text(json.dumps([VOLUNTEER]), "utf-8")
    (row,), problems = read_list(path, photos, ON_SITE)
    assert not problems
    assert row.particulars.is_volunteer
    _, problems = read_list(path, photos, replace(RULES, categories=("volunteer",), legal_bases=("consent",)))
    assert [problem.what for problem in problems] == ["response 'test-pass' is not in the office's vocabulary"]


@pytest.mark.parametrize(
    "change", [{"rationale": ""}, {"expires": ""}, {"under_18": "yes", "under_18_rationale": "asked to"}]
)
def test_a_volunteers_line_says_what_was_agreed_and_until_when_whatever_the_office_asks_of_others(
    tmp_path: Path, photo: Callable[..., str], photos: Path, change: dict[str, str]
) -> None:
    photo("a.png")
    path = tmp_path / "list.json"
    path.write_text(json.dumps([VOLUNTEER | change]), "utf-8")
    _, (problem,) = read_list(path, photos)
    assert "a volunteer's entry says in rationale what was agreed to and in expires until when" in str(problem)


TODAY = date(2026, 6, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"captured": "2026-06-02"}, "captured, 2026-06-02, is in the future; give the day"),
        ({"expires": "2026-05-31"}, "expires, 2026-05-31, is over; take the entry off the list"),
        ({"captured": "2026-06-01"}, None),
        ({"expires": "2026-06-01"}, None),
    ],
)
def test_a_photo_from_the_future_or_an_entry_that_expired_is_a_problem_of_its_line(
    tmp_path: Path, photo: Callable[..., str], photos: Path, change: dict[str, str], said: str | None
) -> None:
    photo("a.png")
    path = tmp_path / "list.json"
    path.write_text(json.dumps([FULL | change]), "utf-8")
    _, problems = read_list(path, photos, RULES, today=TODAY)
    assert len(problems) == (said is not None)
    assert all(str(problem).startswith(f"line 1: E-1 (a.png): {said}") for problem in problems)
    assert not read_list(path, photos, RULES)[1], "nobody said which day it is"


@pytest.mark.parametrize("content", ["{}", "[1]", "[", '[{"id": "E-1"}]', "[" * 100_000, "\ufeff"])
def test_other_json_is_refused(tmp_path: Path, photos: Path, content: str) -> None:
    (tmp_path / "list.json").write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=r"list\.json"):
        read_list(tmp_path / "list.json", photos)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "sub/../../secret.png", "."])
def test_a_photo_outside_the_folder_is_not_read(
    listing: Callable[..., Path], photo: Callable[..., str], photos: Path, name: str
) -> None:
    photo("../secret.png")
    rows, problems = read_list(listing(f"E-1,{name},{REST},,"), photos)
    assert not rows
    assert "no such photo" in str(problems[0])


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("id,photo,category,response,legal_basis,source", "it lacks captured"),
        ("id;photo;category;response;legal_basis;source", "it lacks captured"),
        ("id;photo,category;response;legal_basis;source;captured", "it lacks id, photo"),
        ("id,photo,category,response,legal_basis,source,captured,name", "it should not have name"),
        ("id,photo,category,response,legal_basis,source,captured,id", "it has twice id"),
        ("", "it lacks id"),
    ],
)
def test_other_columns_are_refused_by_name(
    listing: Callable[..., Path], photos: Path, header: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_list(listing("E-1,a.png", header=header), photos)


def test_a_missing_folder_of_photos_is_said_once(listing: Callable[..., Path], photos: Path) -> None:
    path = listing(f"E-1,a.png,{REST},,", f"E-2,b.png,{REST},,")
    (photos / "file").write_bytes(b"")
    for folder in (photos / "absent", photos / "file"):
        with pytest.raises(ConfigError, match=f"there is no folder {folder}"):
            read_list(path, folder)


def test_an_empty_list_is_refused(listing: Callable[..., Path], photos: Path) -> None:
    with pytest.raises(ConfigError, match="lists nobody"):
        read_list(listing(), photos)


def test_a_missing_list_is_named(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_list(tmp_path / "absent.csv", photos)
    assert refused.value.reason is Reason.FILE_MISSING
    assert "absent.csv" in str(refused.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00i\x00d", b"\x80id,photo", b'id,photo\n"unfinished'])
def test_what_is_not_a_utf8_csv_is_refused(tmp_path: Path, photos: Path, content: bytes) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read_list(path, photos)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_list_or_our_error(tmp_path: Path, photos: Path, tail: bytes, header: bool) -> None:  # noqa: FBT001
    path = tmp_path / "list.csv"
    path.write_bytes((b"id,photo,category,response,legal_basis,source,captured\n" if header else b"") + tail)
    with contextlib.suppress(ConfigError):
        read_list(path, photos)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FULL, "x"]), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(sorted(FULL)), _VALUES, max_size=12), max_size=3))
def test_any_json_is_a_list_or_our_error(tmp_path: Path, photos: Path, content: list[dict[str, object]]) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps([FULL | item for item in content]), "utf-8")
    with contextlib.suppress(ConfigError):
        rows, problems = read_list(path, photos, RULES)
        assert len(rows) + len(problems) >= len(content)
