"""libav's own V4L2 code against an emulated driver (tests/support/fake_v4l2.c): stalls, removal, closing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Reads the camera through its troubles and prints what happened.
STORY = """
import json, os, pathlib, sys, threading, time
from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import SystemClock
from lfr_edge.errors import DeviceError

folder = pathlib.Path(os.environ["FAKE_V4L2"])
camera = AvCamera(CameraSettings("north", "/dev/video9", timeout_s=2.0), Arena(4 << 20), SystemClock())

def read():
    frame = camera.read()
    if frame is None:
        return None
    size = [frame.image.width_px, frame.image.height_px, round(float(frame.image.pixels.mean()))]
    frame.release()
    return size

def read_fails():
    started = time.monotonic()
    try:
        read()
    except DeviceError as error:
        return [str(error), time.monotonic() - started]

def read_until_it_comes():
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return read()
        except DeviceError:
            pass

told = {"first": [read() for _ in range(5)]}
(folder / "stall").touch()
told["stalled"] = read_fails()
(folder / "stall").unlink()
told["after stall"] = read_until_it_comes()
(folder / "gone").touch()
told["gone"] = read_fails()
(folder / "gone").unlink()
told["after return"] = read_until_it_comes()
told["reconnects"] = camera.counts.reconnects
(folder / "stall").touch()
threading.Timer(0.2, camera.close).start()
started = time.monotonic()
told["closed"] = [camera.read(), time.monotonic() - started]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:  # Any: JSON
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("needs a C compiler and the kernel's headers to emulate a V4L2 driver")
    folder = tmp_path_factory.mktemp("v4l2")
    library = folder / "fake_v4l2.so"
    source = REPOSITORY / "tests/support/fake_v4l2.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "LD_PRELOAD": str(library), "FAKE_V4L2": str(folder)}
    story = subprocess.run(
        [sys.executable, "-c", STORY], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    found: dict[str, Any] = json.loads(story.stdout)
    return found


def test_pictures_come_in_the_size_that_is_set(told: dict[str, Any]) -> None:
    assert [size[:2] for size in told["first"]] == [[320, 240]] * 5
    assert told["first"][0][2] == pytest.approx(130, abs=3)


def test_a_stalled_driver_does_not_block_the_reader_and_is_opened_again(told: dict[str, Any]) -> None:
    message, seconds = told["stalled"]
    assert "/dev/video9" in message
    assert seconds <= 2.5
    assert told["after stall"][:2] == [320, 240]


def test_an_unplugged_camera_is_named_and_found_again(told: dict[str, Any]) -> None:
    assert "/dev/video9 cannot be read" in told["gone"][0]
    assert told["after return"][:2] == [320, 240]
    assert told["reconnects"] == 2


def test_close_ends_a_read_that_waits_for_the_driver(told: dict[str, Any]) -> None:
    frame, seconds = told["closed"]
    assert frame is None
    assert seconds < 1
