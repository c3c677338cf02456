"""What `make bench` makes of its numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bench import compare, tables
from bench.runs import DATA, PEERS, Bench, ours, peer
from bench.spread import Spread, quantile, ratios

from lfr_edge.errors import DeviceError, Reason
from lfr_edge.evaluation.truth import read_ground_truth
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore


def run(fps: float, **changed: Any) -> dict[str, Any]:
    return {
        "pictures": 100,
        "of_pictures": 571,
        "seconds": 100 / fps,
        "cpu_seconds": 4.0,
        "detections": 300,
        "embeddings": 150,
        "sightings": [{"picture": 5, "entry": "P33", "shows": "P33", "score": 0.6}],
        "peak_rss_mib": 300.4,
        "list_size": 10_000,
        **changed,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "date": "2026-11-23T00:00:00+00:00",
        "machine": "a machine",
        "software": {"lfr-edge": {"numpy": "2.4.6"}, "opencv_dnn": {"numpy": "2.4.6", "opencv": "5.0.0"}},
        "engine_set": {"name": "yunet-mobilefacenet", "digest": "d" * 64},
        "entries": 10_000,
        "cores": 2,
        "listed": [path.stem for path in (DATA / "photos").iterdir()],
        "runs": {"lfr-edge": [run(60), run(30), run(64)], "opencv_dnn": [run(12), run(6), run(16)]},
        "detector_fps": [80.0, 40.0, 80.0],
    }


def row_of(table: str, name: str) -> list[str]:
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {name}")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_ratio_is_taken_round_by_round(result: Mapping[str, Any]) -> None:
    table = tables.everything(result, read_ground_truth(DATA))
    assert row_of(table, "lfr-edge")[1:3] == ["60.0 (30.0-64.0)", ""]
    assert row_of(table, "OpenCV")[1:3] == ["12.0 (6.0-16.0)", "5.00 (4.00-5.00)"]
    assert "share of it that lfr-edge reaches: 0.75 (0.75-0.80)" in table


def test_who_looked_at_fewer_pictures_is_said_to(result: Mapping[str, Any]) -> None:
    table = tables.everything(result, read_ground_truth(DATA))
    assert row_of(table, "OpenCV")[3:6] == ["1 of 4", "0", "1.50"]
    assert row_of(table, "OpenCV")[-1] == "100 of 571"


def test_a_table_has_as_many_cells_in_every_row(result: dict[str, Any]) -> None:
    live = {
        "cameras": 4,
        "fps": 15,
        "full_look_every": 3,
        "precision": "float32",
        "alerts": [],
        "p50_ms": None,
        "p99_ms": None,
        "step_ms_p50": 1.0,
    }
    profiled = {"thread": "recognise", "stage": "search", "calls": 3, "wall_ms_per_picture": 1.0}
    result |= {
        "profile": {"rows": [{**profiled, "wall_share": 0.1, "cpu_share": 0}], "besides_wall": 0.1, "besides_cpu": 0.1},
        "scaling": [{"options": {"cores": 1}, "clip": run(33)}],
        "search": [{"entries": 17_000, "dimension": 384, "search_ms": 0.3, "read_ms": 0.2}],
        "live": [{**live, "step_ms_p99": 2.0, "superseded": 1, "frames_read": 9, "longest_queue": 1}],
        "hour": {"clip": run(70), "rss_growth_mib": 0.5},
    }
    blocks = tables.everything(result, read_ground_truth(DATA)).split("\n\n")
    rows = [[line.count("|") for line in block.splitlines() if line.startswith("|")] for block in blocks]
    assert sum(bool(of_one) for of_one in rows) == 5
    assert all(len(set(of_one)) <= 1 for of_one in rows)


def test_another_checkout_runs_its_own_code(engine_set: EngineSet, engine_store: EngineStore, tmp_path: Path) -> None:
    command = tmp_path / "lfr_edge" / "cli" / "main.py"
    command.parent.mkdir(parents=True)
    command.write_text(
        "import pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "(out / 'result.json').write_text('{\"who\": \"the other\"}')\n",
        "utf-8",
    )
    bench = Bench(engine_set, engine_store, 1000, 1, Path("none"))
    assert ours(bench, checkout=tmp_path) == {"who": "the other"}


def test_a_bench_that_is_cut_off_keeps_the_rounds_that_were_finished(
    engine_set: EngineSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = {"clip": run(60), "software": {"numpy": "2.4.6"}}
    measured = iter([clip, clip, {"detector_fps": 80.0}])

    def ours_once(*_: object) -> dict[str, Any]:
        try:
            return next(measured)
        except StopIteration:
            raise DeviceError(Reason.ENGINE_FAILED, "the power is gone", fix="switch it on") from None

    bench = Bench(engine_set, EngineStore(tmp_path), 10_000, 2, tmp_path / "no-python")
    monkeypatch.setattr(compare, "bench_of", lambda *_, **__: bench)
    monkeypatch.setattr(compare, "ours", ours_once)
    monkeypatch.setattr(compare, "less_precise", lambda _: ())
    out = tmp_path / "out"
    options = ["--store", tmp_path, "--out", out, "--rounds", 2, "--peers-python", tmp_path / "no-python"]
    monkeypatch.setattr("sys.argv", ["bench", *map(str, options)])
    assert compare.main() == 2
    assert json.loads((out / "result.json").read_text("utf-8"))["detector_fps"] == [80.0]
    assert "1 round(s)" in (out / "table.md").read_text("utf-8")


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert [quantile([4.0, 1.0, 3.0, 2.0], share) for share in (0.0, 0.5, 0.75, 0.99, 1.0)] == [1, 2, 3, 4, 4]
    assert Spread.of([2.0]).show() == "2.0"
    assert ratios([10, 30], [5, 10]) == Spread(2.5, 2.0, 3.0)


def test_every_peer_has_a_script_and_a_name() -> None:
    scripts = {path.stem for path in (Path(tables.__file__).parent / "peers").glob("*.py")} - {"common"}
    assert scripts == set(PEERS)
    assert set(tables.CALLED) == set(PEERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_finds_somebody(name: str, engine_set: EngineSet, engine_store: EngineStore) -> None:
    python = DATA.parents[1] / ".venv-bench" / "bin" / "python"
    if not python.exists():
        pytest.skip("needs .venv-bench, which 'make bench' makes")
    found, software = peer(Bench(engine_set, engine_store, 1000, 1, python), name, every=29)
    assert found.pictures == 20
    assert found.of_pictures == 571
    assert {sighting.shows for sighting in found.sightings} & {"P03", "P33", "P56", "P57"}
    assert software
