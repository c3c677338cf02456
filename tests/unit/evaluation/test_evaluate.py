"""`lfr-edge evaluate`: what it writes says what was measured, when, and with what."""

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from lfr_edge.cli.main import main
from lfr_edge.evaluation.intervals import Estimate
from lfr_edge.evaluation.plot import write_det
from lfr_edge.evaluation.report import Evaluated, machine, write_json
from lfr_edge.inference.manifest import EngineSet


def test_a_result_names_date_machine_software_data_and_digests(tmp_path: Path, engine_set: EngineSet) -> None:
    rows = [(Evaluated.of(engine_set, "without mirrored averaging"), Estimate(0.9, 0.8, 1.0))]
    now = datetime(2026, 11, 23, tzinfo=timezone.utc)
    write_json(tmp_path / "result.json", "identification", {"name": "lfw"}, now, rows)
    content = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert content["date"] == "2026-11-23T00:00:00+00:00"
    assert content["machine"] == machine()
    assert set(content["software"]) == {"lfr-edge", "numpy", "openvino"}
    (result,) = content["results"]
    assert (result["contract"], result["digest"]) == (engine_set.contract, engine_set.digest)
    assert (result["variant"], result["measured"]["value"]) == ("without mirrored averaging", 0.9)


def test_a_result_that_is_no_number_is_never_written(tmp_path: Path, engine_set: EngineSet) -> None:
    rows = [(Evaluated.of(engine_set, ""), Estimate(float("nan"), 0.0, 1.0))]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "result.json", "identification", {}, datetime.now(timezone.utc), rows)
    assert list(tmp_path.iterdir()) == []


def test_equal_curves_give_equal_plots_and_none_is_too_poor_to_draw(tmp_path: Path) -> None:
    curves = {"a": [(0.9, 0.0, 0.5), (0.5, 0.1, 0.2), (0.1, 1.0, 0.1)], "perfect": [(0.9, 0.0, 0.0)]}
    for name in ("one.svg", "two.svg"):
        write_det(tmp_path / name, "data", curves)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"</svg>" in (tmp_path / "one.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["identification", "--data", "nowhere"], "split.json"),
        (["footage", "--data", "nowhere", "--list", "nowhere"], "ground_truth.json"),
        (["clips", "--data", "nowhere", "--list", "nowhere"], "nowhere"),
    ],
)
def test_missing_data_is_one_line_with_a_fix(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["evaluate", *arguments, "--engine-set", "yunet-mobilefacenet", "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert status == 2
    assert complaint in error.splitlines()[0]
    assert error.splitlines()[1].startswith("  fix: ")
