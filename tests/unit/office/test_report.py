"""The report: what it says, to people and to tools, and that nothing in it can act."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lfr_edge.errors import ConfigError
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.examples import JPEG
from lfr_edge.office.assess import MEASURES, Finding, Verdict, judge
from lfr_edge.office.enrol import Photo
from lfr_edge.office.listing import Row
from lfr_edge.office.report import QualityReport
from lfr_edge.vision.quality import Quality
from lfr_edge.watchlist.entries import Particulars
from lfr_edge.watchlist.lookalikes import Comparison, Pair

GOOD = Quality(61.5, 0.9, 1.0, -3.0, 4.0, 0.95, 1.0, 0.8, 1.1)
HOSTILE = '=1+1<script src="x">.jpg'


def photo(verdict: Verdict, quality: Quality | None = GOOD) -> Photo:
    findings = () if verdict is Verdict.ACCEPT else (Finding("it is <blurred>", "give a sharper one"),)
    return Photo("0" * 64, verdict, findings, quality, JPEG, b"")


def row(line: int, entry: str, name: str) -> Row:
    particulars = Particulars(
        id=entry, category="wanted", response="red", legal_basis="x", source="custody", captured=date(2025, 1, 1)
    )
    return Row(line, particulars, Path(name))


@pytest.fixture
def report(engine_set: EngineSet) -> QualityReport:
    rows = [row(2, "E-1", "a.jpg"), row(3, "E-2", HOSTILE), row(4, "E-2", "c.jpg"), row(5, "E-3", "d.jpg")]
    photos = [photo(Verdict.ACCEPT), photo(Verdict.WARN), photo(Verdict.REFUSE, None), photo(Verdict.ACCEPT)]
    pairs = Comparison((Pair(0, 2, 0.9), Pair(0, 1, 0.6)), (Pair(1, 1, 0.2),), complete=True)
    return QualityReport(engine_set, rows, photos, ["E-1", "E-2", "E-3"], pairs)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_self_contained_and_inert(report: QualityReport) -> None:
    reader = Reader()
    page = report.html()
    reader.feed(page)
    assert reader.open == []
    names = {tag for tag, _ in reader.tags}
    assert not names & {"script", "link", "iframe", "object", "form", "a"}
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    sources = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert sources
    assert all(str(source).startswith("data:image/jpeg;base64,") for source in sources)
    assert re.search("Content-Security-Policy.*default-src 'none'", page)


def test_the_page_can_be_read_without_seeing_pictures_or_colours(report: QualityReport) -> None:
    reader = Reader()
    page = report.html()
    reader.feed(page)
    assert ("html", {"lang": "en"}) in reader.tags
    assert all(attributes.get("alt") for tag, attributes in reader.tags if tag == "img")
    assert all("scope" in attributes for tag, attributes in reader.tags if tag == "th")
    for said in ("✗ refuse", "! warn", "✓ accept", "it is &lt;blurred&gt;; give a sharper one"):
        assert said in page
    assert page.index("✗ refuse") < page.index("! warn") < page.index("✓ accept"), "worst first"


def test_look_alikes_are_told_from_one_person_under_two_ids(report: QualityReport) -> None:
    assert report.warnings() == [
        "E-1 and E-3 score 0.900: probably one person under two ids",
        "E-1 and E-2 score 0.600: an alert for one may be the other",
        "E-2: its own photos disagree, score 0.200; do they show one person?",
    ]
    assert all(warning in report.html() for warning in report.warnings())


def test_the_csv_has_a_line_for_each_photo_and_no_formula(report: QualityReport) -> None:
    lines = list(csv.DictReader(io.StringIO(report.csv())))
    assert [line["verdict"] for line in lines] == ["accept", "warn", "refuse", "accept"]
    assert lines[0]["inter_eye_distance"] == "62"
    assert lines[2]["sharpness"] == ""
    assert lines[1]["photo"].startswith("'=")


def test_the_json_has_every_measure_under_its_name(report: QualityReport) -> None:
    content = json.loads(report.json())
    assert content["photos"][0]["measures"] == {measure.name: measure.of(GOOD) for measure in MEASURES}
    assert content["photos"][2]["measures"] is None
    assert [pair["probably_one_person"] for pair in content["look_alikes"]] == [True, False]
    assert [pair["first"] for pair in content["disagreeing"]] == ["E-2"]


def test_a_report_is_its_owners_only_and_replaces_nothing(report: QualityReport, tmp_path: Path) -> None:
    report.write(tmp_path / "report")
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "report.csv",
        "report.html",
        "report.json",
    ]
    with pytest.raises(ConfigError, match="exists already"):
        report.write(tmp_path / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


ATTRIBUTES = {
    "unified_quality_score": {"stability": 0.05},
    "inter_eye_distance": {"inter_eye_px": 30.0},
    "sharpness": {"sharpness": 0.3},
    "exposure": {"exposure": 0.7},
    "head_pose_yaw": {"yaw": -35.0},
    "head_pose_pitch": {"pitch": 30.0},
    "face_in_picture": {"visible": 0.8},
    "detector_confidence": {"confidence": 0.65},
    "mirror_stability": {"stability": 0.3},
    "feature_magnitude": {"magnitude": 0.5},
}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_each_measure_that_is_bad_is_said(measure: object) -> None:
    name, title = measure.name, measure.title  # type: ignore[attr-defined]
    changed = {field: getattr(GOOD, field) for field in GOOD.__dataclass_fields__} | ATTRIBUTES[name]
    verdict, findings = judge(Quality(**changed))
    assert verdict is not Verdict.ACCEPT
    assert any(title in finding.what for finding in findings)
    assert judge(GOOD) == (Verdict.ACCEPT, ())


def test_a_little_less_than_nothing_is_shown_as_nothing() -> None:
    nearly = replace(GOOD, yaw=-0.4, pitch=-0.5001, stability=-0.004, magnitude=-0.006)
    shown = {measure.name: measure.shown(nearly) for measure in MEASURES if measure.name != "unified_quality_score"}
    assert (shown["head_pose_yaw"], shown["head_pose_pitch"]) == ("0", "-1")
    assert (shown["mirror_stability"], shown["feature_magnitude"]) == ("0.00", "-0.01")
    assert (shown["inter_eye_distance"], shown["sharpness"]) == ("62", "0.90")


def test_a_useless_face_is_refused() -> None:
    verdict, (finding, *_) = judge(Quality(61.5, 0.9, 1.0, 0, 0, 0.95, 1.0, 0.01, 1.0))
    assert verdict is Verdict.REFUSE
    assert "at least" in finding.what
    assert np.isfinite(GOOD.value)
