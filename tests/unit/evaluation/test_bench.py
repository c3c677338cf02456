"""The parts of the benchmark that could be wrong without anybody noticing, and one short run of the whole."""

import json
import subprocess
import sys
import time
import types
from pathlib import Path

import av
import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import WORKSPACE
from lfr_edge.cli.bench_points import POINTS
from lfr_edge.cli.main import main
from lfr_edge.evaluation.bench.clip_run import ClipRun, Sighting, against_truth
from lfr_edge.evaluation.bench.lists import fill_with_nobody, long_list
from lfr_edge.evaluation.bench.process import MemoryCourse
from lfr_edge.evaluation.bench.profile import ENGINE, RECOGNISE, WAIT, Point, Profile, Spent, profiled, shares_of
from lfr_edge.evaluation.bench.repeated import repeated
from lfr_edge.evaluation.truth import read_ground_truth
from lfr_edge.inference.store import EngineStore

EXAMPLES = Path(__file__).parents[3] / "examples" / "demo"
BENCH = ["evaluate", "bench", "--data", str(EXAMPLES), "--list", str(EXAMPLES / "photos")]


class Work:
    """Something to be timed."""

    def outer(self) -> None:
        time.sleep(0.02)
        self.inner()

    def inner(self) -> None:
        time.sleep(0.01)


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[Point]:
    module = types.ModuleType("something_to_be_timed")
    module.Work = Work  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return [Point("outer", module.__name__, "Work.outer"), Point(ENGINE, module.__name__, "Work.inner")]


def test_a_stage_has_its_own_time_only_and_an_engine_that_of_its_caller(points: list[Point]) -> None:
    profile = Profile()
    with profiled(profile, points):
        Work().outer()
    wall_s = {stage: spent.wall_s for (_, stage), spent in profile.spent.items()}
    assert set(wall_s) == {"outer", "outer: engine"}
    assert 0.02 <= wall_s["outer"] < wall_s["outer"] + wall_s["outer: engine"]
    assert wall_s["outer: engine"] >= 0.01


def test_nothing_is_timed_after_a_profile(points: list[Point]) -> None:
    profile, untimed = Profile(), Work.outer
    with profiled(profile, points):
        assert Work.outer is not untimed
    assert Work.outer is untimed


def test_a_point_that_is_gone_is_named(points: list[Point]) -> None:
    gone = Point("x", points[0].module, "Work.gone")
    with pytest.raises(RuntimeError, match=r"Work\.gone"), profiled(Profile(), [gone]):
        pass


def test_every_point_of_the_product_is_there() -> None:
    with profiled(Profile(), POINTS):
        pass


def test_waiting_is_not_work_and_the_engines_own_threads_are_engines() -> None:
    profile = Profile(
        {
            (RECOGNISE, "detect: engine"): Spent(10, 0.8, 0.5),
            (RECOGNISE, "search"): Spent(10, 0.2, 0.2),
            (RECOGNISE, WAIT): Spent(10, 5.0, 0.0),
            ("capture", "decode"): Spent(10, 3.0, 0.3),
        }
    )
    shares = shares_of(profile, seconds=6.0, cpu_s=2.0, pictures=10)
    assert shares.besides_wall == pytest.approx(0.2)
    assert shares.besides_cpu == pytest.approx(0.5 / 2.0)
    assert sum(row.cpu_share for row in shares.rows) == pytest.approx(1.0)


def test_a_long_list_begins_with_the_people_and_ends_with_nobody(tmp_path: Path) -> None:
    arena = Arena(1 << 20)
    person = np.zeros(16, np.float32)
    person[3] = 1
    with (tmp_path / "pictures").open("w+b") as pictures:
        watchlist = long_list([("P01", person, b"jpeg")], 500, arena, pictures)
    with arena.lease(WORKSPACE, (500,), np.float32) as scores:
        first, runner_up = watchlist.search(person, scores=scores.array)
    assert (first.entry.id, round(first.score, 5), len(watchlist)) == ("P01", 1.0, 500)
    assert runner_up is not None
    assert runner_up.entry.id.startswith("nobody-")
    watchlist.wipe()


def test_nobody_is_the_same_each_time_and_of_length_one() -> None:
    first, second = np.empty((70, 8), np.float32), np.empty((70, 8), np.float32)
    fill_with_nobody(first)
    fill_with_nobody(second)
    assert np.array_equal(first, second)
    assert np.linalg.norm(first, axis=1) == pytest.approx(np.ones(70), abs=1e-6)


def run_with(*sightings: tuple[str, str | None]) -> ClipRun:
    seen = tuple(Sighting(picture=0, entry=entry, shows=shows, score=0.6) for entry, shows in sightings)
    return ClipRun(
        pictures=50,
        of_pictures=100,
        seconds=2.0,
        cpu_seconds=4.0,
        detections=0,
        embeddings=0,
        sightings=seen,
        peak_rss_mib=1.0,
        list_size=28,
    )


def test_only_the_right_person_counts_as_found() -> None:
    listed = {path.stem for path in (EXAMPLES / "photos").iterdir()}
    run = run_with(("P03", "P03"), ("P03", "P03"), ("P33", "P57"), ("P04", None))
    found = against_truth(run, read_ground_truth(EXAMPLES), listed)
    assert (found.due, found.found, found.false_sightings) == (4, ("P03",), 2)
    assert run.fps == 25.0


def test_memory_that_was_met_at_the_start_is_no_growth() -> None:
    assert MemoryCourse((100, 300, 301, 301, 302)).growth_mib() == 2
    assert MemoryCourse((100,)).growth_mib() == 0


def test_a_repeated_clip_has_every_picture_as_often(tmp_path: Path) -> None:
    clip = repeated(EXAMPLES / "street_clip.mp4", 2, tmp_path / "twice.mp4")
    with av.open(str(clip)) as container:
        times_s = [
            float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.pts is not None
        ]
    assert len(set(times_s)) == len(times_s) == 2 * 571
    assert max(times_s) == pytest.approx(2 * 571 / 25 - 1 / 25, abs=0.05)


@pytest.fixture
def unbound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command keeps its process to some cores: not this process."""
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)


@pytest.mark.usefixtures("unbound")
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--cores", "0"], "0 cores"),
        (["--entries", "0"], "--entries is 0"),
        (["--entries", "3"], "28 photos"),
        (["--cameras", "0"], "--cameras is 0"),
        (["--engine-set", "none"], "none"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_measured(
    engine_store: EngineStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str], named: str
) -> None:
    assert main([*BENCH, "--store", str(engine_store.root), "--out", str(tmp_path), *wrong]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "fix:" in error
    assert not (tmp_path / "result.json").exists()


@pytest.mark.usefixtures("unbound")
@pytest.mark.parametrize(
    ("given", "missing"),
    [([], "--data"), (["--data", str(EXAMPLES)], "--list"), (["--what", "detector"], "--data")],
)
def test_what_a_measurement_needs_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], missing: str
) -> None:
    assert main(["evaluate", "bench", "--out", str(tmp_path), *given]) == 2
    assert f"add {missing} DIR" in capsys.readouterr().err


@pytest.mark.usefixtures("unbound")
def test_a_search_needs_neither_clip_nor_photos(tmp_path: Path) -> None:
    assert main(["evaluate", "bench", "--out", str(tmp_path), "--what", "search", "--entries", "100"]) == 0
    assert json.loads((tmp_path / "result.json").read_text("utf-8"))["search"]["entries"] == 100


def test_a_short_run_of_the_whole_path_says_what_it_took(engine_store: EngineStore, tmp_path: Path) -> None:
    clip = tmp_path / "data"
    clip.mkdir()
    truth = json.loads((EXAMPLES / "ground_truth.json").read_text("utf-8"))
    truth["video"]["file"], truth["frames"] = "short.mp4", truth["frames"][:60]
    (clip / "ground_truth.json").write_text(json.dumps(truth), "utf-8")
    first_pictures(EXAMPLES / "street_clip.mp4", 60, clip / "short.mp4")
    command = [sys.executable, "-m", "lfr_edge.cli.main", *BENCH[:2], "--data", str(clip), *BENCH[4:], "--profile"]
    command += ["--cores", "1", "--entries", "1000", "--store", str(engine_store.root), "--out", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    run = ClipRun.model_validate(result["clip"])
    assert (run.pictures, run.of_pictures, run.list_size) == (60, 60, 1000)
    assert {sighting.entry for sighting in run.sightings} <= {"P33"}
    assert {"detect: engine", "decode", "search"} <= {row["stage"] for row in result["profile"]["rows"]}
    assert f"{run.fps:.1f} pictures/s" in said


def first_pictures(clip: Path, pictures: int, to: Path) -> None:
    with av.open(str(clip)) as source, av.open(str(to), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for _, frame in zip(range(pictures), source.decode(video=0), strict=False):
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
