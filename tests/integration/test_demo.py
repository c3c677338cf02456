"""The demo as a newcomer types it: what it prints, how it ends, and what it leaves behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from PIL import Image as Pillow
from support.rehearsal import photo_clip

from lfr_edge.cli import demo_scene
from lfr_edge.cli.demo_scene import CLIP, EXAMPLES
from lfr_edge.cli.main import main
from lfr_edge.inference.store import EngineStore

PHOTOS = EXAMPLES / "photos"
KEYS = ["expected", "alerted", "missed", "false", "latency_p50_ms", "latency_p99_ms", "fps", "engine_set"]

Demo = Callable[..., int]


@pytest.fixture
def arguments(tmp_path: Path, shared: Path, engine_store: EngineStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every demo here gets: it finds its models, and its page and temporary files go where the test looks."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("LFR_EDGE_SHARED", str(shared))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return ["demo", "--once", "--store", str(engine_store.root), "--page", str(tmp_path / "page" / "alerts.html")]


@pytest.fixture
def demo(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    """Run the demo in this process; its exit status."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    yield lambda *more: main([*arguments, *(str(argument) for argument in more)])
    signal.signal(signal.SIGTERM, before)
    assert list((tmp_path / "temporary").iterdir()) == [], "temporary files stay"


@pytest.fixture(scope="module")
def two_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """P25 and then P03, for a second and a half each."""
    folder = tmp_path_factory.mktemp("clip")
    return photo_clip(folder / "two people 😀.mp4", {"P25": (0.2, 1.7), "P03": (3.2, 4.7)}, 5)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """P25, and then for long nobody."""
    return photo_clip(tmp_path_factory.mktemp("clip") / "long.mp4", {"P25": (0.5, 2.5)}, 90)


def outcome(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def photos(folder: Path, names: dict[str, str]) -> Path:
    """A folder with copies of the demo's photos under other names."""
    folder.mkdir()
    for name, person in names.items():
        shutil.copy(PHOTOS / f"{person}.jpg", folder / name)
    return folder


def test_the_demo_ends_with_one_json_line_and_a_page(arguments: list[str], tmp_path: Path, engine_set: object) -> None:
    command = [sys.executable, "-m", "lfr_edge.cli.main", *arguments, "--full-speed"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.splitlines()
    verdict = json.loads(line)
    assert list(verdict) == KEYS
    assert verdict["expected"] == sorted(verdict["alerted"]) == ["P03", "P33", "P56", "P57"]
    assert (verdict["missed"], verdict["false"]) == ([], [])
    assert verdict["engine_set"] == engine_set.name  # type: ignore[attr-defined]
    assert 0 < verdict["latency_p50_ms"] <= verdict["latency_p99_ms"]
    assert verdict["fps"] > 0
    page = (tmp_path / "page" / "alerts.html").read_text("utf-8")
    assert page.count("<article") == 4
    assert page.count('src="data:image/jpeg;base64,') == 12
    assert "http" not in page.replace("http-equiv", ""), "the page loads nothing"
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_somebody_who_is_expected_and_does_not_come_is_missed(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.mp4"
    with av.open(str(CLIP)) as clip, av.open(str(short), "w") as container:
        source = clip.streams.video[0]
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = source.width, source.height, "yuv420p"
        for index, frame in enumerate(clip.decode(source)):
            if index < 50:
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    monkeypatch.setattr(demo_scene, "CLIP", short)
    assert demo("--full-speed") == 1
    verdict = outcome(capsys)
    assert verdict["missed"] == sorted(set(verdict["expected"]) - set(verdict["alerted"]))
    assert len(verdict["missed"]) >= 2
    assert verdict["false"] == []


def test_a_clip_with_nobody_of_the_list_is_no_failure(
    demo: Demo, tmp_path: Path, two_people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = photos(tmp_path / "photos", {"P33.jpg": "P33", "P56.jpg": "P56"})
    assert demo("--full-speed", "--clip", two_people, "--photos", listed) == 0
    verdict = outcome(capsys)
    assert [verdict[key] for key in KEYS[:6]] == [[], [], [], [], None, None]


def test_photos_with_odd_names_become_entries(
    demo: Demo, tmp_path: Path, two_people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"Zoë (1).JPG": "P25", "Zo  1.jpeg": "P33", "日本.jpg": "P03", "-.jpg": "P56", f"{'x' * 200}.jpg": "P57"}
    listed = photos(tmp_path / "my photos", names)
    (listed / "a folder.jpg").mkdir()
    (listed / "notes.txt").write_text("no photo")
    assert demo("--clip", two_people, "--photos", listed) == 0
    assert outcome(capsys)["alerted"] == ["Zo-1-2", "photo-2"]


def refused(status: int, capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert (status, shown.out) == (2, "")
    lines = [line for line in shown.err.splitlines() if not line.startswith(("enrolling", "fetching"))]
    assert len(lines) == 2, shown.err
    assert lines[0].startswith("lfr-edge: ")
    assert lines[1].startswith("  fix: ")
    return shown.err


def test_a_photo_of_two_people_is_one_clear_error(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = photos(tmp_path / "photos", {"one.jpg": "P03"})
    both = Pillow.new("RGB", (800, 500))
    for place, person in enumerate(("P03", "P33")):
        both.paste(Pillow.open(PHOTOS / f"{person}.jpg").resize((400, 500)), (place * 400, 0))
    both.save(listed / "two.jpg")
    assert "two (two.jpg): 2 faces were found" in refused(demo("--photos", listed), capsys)


@pytest.mark.parametrize("kind", ["text", "empty", "missing"])
def test_a_clip_that_is_none_is_one_clear_error(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    clip = tmp_path / "film.mp4"
    if kind != "missing":
        clip.write_text("This is no film.\n" * 100 if kind == "text" else "")
    assert str(clip) in refused(demo("--clip", clip), capsys)


@pytest.mark.parametrize("camera", ["absent.mp4", "/dev/video987", "/dev/v4l/by-id/absent", "http://x.example/"])
def test_a_camera_that_is_not_there_is_said_before_anything_is_enrolled(
    demo: Demo, capsys: pytest.CaptureFixture[str], camera: str
) -> None:
    said = refused(demo("--camera", camera), capsys)
    assert camera.partition("x.example")[0] in said
    assert "enrolling" not in said


@pytest.mark.slow
def test_a_camera_may_be_a_file_named_from_here(
    demo: Demo, tmp_path: Path, two_people: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(two_people.parent)
    listed = photos(tmp_path / "photos", {"one.jpg": "P03"})
    assert demo("--camera", two_people.name, "--photos", listed) == 0
    assert outcome(capsys)["alerted"] == ["one"]


def test_models_that_are_not_here_are_announced_before_they_are_fetched(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = photos(tmp_path / "photos", {})
    (listed / "one.jpg").write_text("no photo")
    said = refused(demo("--photos", listed, "--store", tmp_path / "new store"), capsys)
    assert said.startswith("fetching the models of yunet-mobilefacenet\nenrolling 1 photos")
    assert "fetching" not in refused(demo("--photos", listed, "--store", tmp_path / "new store"), capsys)


def test_a_folder_without_photos_is_one_clear_error(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    assert f"there are no pictures in {tmp_path / 'none'}" in refused(demo("--photos", tmp_path / "none"), capsys)
    assert f"{tmp_path / 'absent'} cannot be read" in refused(demo("--photos", tmp_path / "absent"), capsys)


def test_an_engine_set_that_does_not_exist_is_one_clear_error(demo: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    assert "yunet-mobilefacenet" in refused(demo("--engine-set", "nobody-s"), capsys)


def test_a_page_that_cannot_be_written_is_said_at_once(demo: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    assert "/dev/null/alerts.html cannot be written" in refused(demo("--page", "/dev/null/alerts.html"), capsys)


@contextmanager
def running_demo(arguments: Sequence[str], tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The demo in a process group of its own, as a terminal starts it."""
    with (tmp_path / "demo.err").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "lfr_edge.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def left_behind(group: int) -> list[str]:
    """Command lines of the processes of that group."""
    shown = subprocess.run(["ps", "-eo", "pgid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=1) for line in shown.splitlines()]
    return [command for of_group, command in rows if int(of_group) == group]


@pytest.mark.parametrize("how", ["Ctrl-C in a terminal", "SIGINT to the demo", "SIGTERM to the demo"])
def test_an_interrupted_demo_ends_its_van_and_broker_and_cleans_up(
    arguments: list[str], tmp_path: Path, long_clip: Path, how: str
) -> None:
    temporary = tmp_path / "temporary"
    with running_demo([*arguments, "--clip", str(long_clip)], tmp_path) as process:
        wait(lambda: any("alert " in log.read_text("utf-8") for log in temporary.glob("lfr-edge-demo-*/van.log")))
        if how == "Ctrl-C in a terminal":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT if "SIGINT" in how else signal.SIGTERM)
        shown, _ = process.communicate(timeout=40)
        assert process.returncode == 0
        wait(lambda: left_behind(process.pid) == [])
    assert list(temporary.iterdir()) == []
    assert json.loads(shown)["alerted"] == ["P25"]
    errors = (tmp_path / "demo.err").read_text("utf-8")
    assert "Traceback" not in errors
    assert "ended badly" not in errors


@pytest.mark.slow
def test_a_camera_that_does_not_answer_is_said_while_the_demo_waits(arguments: list[str], tmp_path: Path) -> None:
    with running_demo([*arguments, "--camera", "rtsp://user:Pa55word@127.0.0.1:1/stream"], tmp_path) as process:
        wait(lambda: "van: camera street: rtsp://127.0.0.1:1/..." in (tmp_path / "demo.err").read_text("utf-8"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)
        assert process.returncode == 0
    assert "Pa55word" not in (tmp_path / "demo.err").read_text("utf-8")


def test_a_demo_interrupted_while_it_prepares_leaves_nothing(arguments: list[str], tmp_path: Path) -> None:
    with running_demo(arguments, tmp_path) as process:
        wait(lambda: "enrolling" in (tmp_path / "demo.err").read_text("utf-8"))
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=40)
        assert (process.returncode, shown) == (130, "")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert "Traceback" not in (tmp_path / "demo.err").read_text("utf-8")
