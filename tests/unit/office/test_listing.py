"""The list: every mistake of a clerk is named with its line, all at once."""

import contextlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.office.listing import duplicates, read_list

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
    shown = [str(problem) for problem in problems]
    assert [problem.line for problem in problems] == [3, 5, 6, 7, 8, 9, 10]
    assert "E-2 (absent.png): there is no such photo" in shown[0]
    assert "response - input should be 'red', 'amber' or 'green'" in shown[1]
    assert "captured - " in shown[1]
    assert "bad id (a.png): id - " in shown[2]
    assert "too many or too few values" in shown[3]
    assert "too many or too few values" in shown[4]
    assert "legal_basis - " in shown[5]
    assert "no id (no photo): id - " in shown[6]


def test_a_second_line_with_the_same_id_names_both(
    listing: Callable[..., Path], photo: Callable[..., str], photos: Path
) -> None:
    photo("a.png")
    rows, _ = read_list(listing(*(f"{entry},a.png,{REST},," for entry in ("E-1", "E-2", "E-1"))), photos)
    (problem,) = duplicates(rows)
    assert str(problem) == "line 4: E-1: line 2 has the same id; give each person one line"


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
        ("id;photo;category;response;legal_basis;source;captured", "it lacks id, photo"),
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
