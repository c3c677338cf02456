"""docs/privacy.md promises what lfr_edge/biometrics/retention.py allows, word for word."""

from pathlib import Path

from lfr_edge.biometrics.retention import TABLE, Row

DOCUMENT = Path(__file__).parents[3] / "docs" / "privacy.md"


def table_line(row: Row) -> str:
    bound = "until the deployment ends" if row.bound_s is None else f"{row.bound_s:g} s"
    return f"| `{row.name}` | {row.holds} | {row.ended_by} | {bound} |"


def test_the_published_retention_table_is_the_codes() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("## The retention table\n", 1)[1].split("\n## ", 1)[0]
    published = [line for line in section.splitlines() if line.startswith("| `")]
    assert published == [table_line(row) for row in TABLE], "write the right side's lines into docs/privacy.md"
