"""What libav leaves in a process's memory, found by reading that memory from outside.

A child process reads the camera; this one knows the pictures and searches the child's memory for rows of them, both as
BGR and as the decoder stores them. malloc's perturb is set as in the unit.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from lfr_edge.biometrics.retention import LIBAV
from tests.support.clips import canary, write_clip, write_pictures
from tests.support.rtsp_server import RtspServer, encoded

REPOSITORY = Path(__file__).resolve().parents[3]
PICTURES = [canary(number, 640, 480) for number in range(16)]

# Follows orders from its standard input: read one picture, close, or read on in a thread of its own.
READER = """
import contextlib, sys, threading
from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import SystemClock
from lfr_edge.errors import DeviceError

camera = AvCamera(CameraSettings("north", sys.argv[1], "full-speed"), Arena(4 << 20), SystemClock())

def read():
    with contextlib.suppress(DeviceError):
        frame = camera.read()
        if frame is None:
            return False
        frame.release()
    return True

def read_on():
    while read():
        pass

for order in sys.stdin:
    if order.strip() == "read":
        read()
    elif order.strip() == "read-on":
        threading.Thread(target=read_on, daemon=True).start()
    else:
        camera.close()
    print(camera.counts.frames_read, flush=True)
"""


@dataclass
class Reader:
    """The child process."""

    process: "subprocess.Popen[str]"

    def order(self, order: str) -> int:
        """Have it done; the number of pictures read so far."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def memory(self) -> Iterator[bytes]:
        """Every writable piece of its memory."""
        maps = Path(f"/proc/{self.process.pid}/maps").read_text().splitlines()
        with Path(f"/proc/{self.process.pid}/mem").open("rb", 0) as memory:
            for line in maps:
                span, rights = line.split()[:2]
                start, end = (int(number, 16) for number in span.split("-"))
                if "w" in rights:
                    memory.seek(start)
                    yield memory.read(end - start)

    def find(self, rows: list[bytes]) -> set[int]:
        """The numbers of the rows that are somewhere in it."""
        pieces = list(self.memory())
        return {number for number, row in enumerate(rows) if any(row in piece for piece in pieces)}


@contextmanager
def reading(source: object, *, perturb: int = 165) -> Iterator[Reader]:
    tunables = f"glibc.malloc.perturb={perturb}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "GLIBC_TUNABLES": tunables}
    command = [sys.executable, "-c", READER, str(source)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        yield Reader(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


@dataclass
class Rows:
    """Thirty-two bytes from the middle of each picture."""

    decoded: list[bytes]
    converted: list[bytes]


def rows_of(frames: list[av.VideoFrame]) -> Rows:
    rows = Rows([], [])
    for frame in frames:
        native = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)
        bgr = frame.to_ndarray(format="bgr24")
        middle = frame.height // 2
        rows.decoded.append(native[middle, 320:352].tobytes())
        rows.converted.append(bgr[middle, 320:331].tobytes()[:32])
    return rows


def rows_of_file(path: Path) -> Rows:
    with av.open(str(path)) as container:
        return rows_of(list(container.decode(video=0)))


def test_between_pictures_only_the_decoders_last_ones_exist_and_after_close_none(tmp_path: Path) -> None:
    times_ms = list(range(0, 40 * len(PICTURES), 40))
    clip = write_clip(tmp_path / "clip.mp4", "libx264", "yuv420p", PICTURES, times_ms)
    rows = rows_of_file(clip)
    with reading(clip) as reader:
        for count in range(1, 13):
            assert reader.order("read") == count
        assert reader.find(rows.converted) == set()
        held = reader.find(rows.decoded)
        assert 11 in held  # the search does find what is there
        assert held <= set(range(2, 13))  # about ten, as the table says, and one read ahead
        reader.order("close")
        assert reader.find(rows.decoded + rows.converted) == set()


def test_converted_pictures_are_wiped_by_us_and_not_only_by_malloc(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", "ffv1", "yuv420p", PICTURES[:6], list(range(0, 600, 100)))
    rows = rows_of_file(clip)
    with reading(clip, perturb=0) as reader:
        for _ in range(4):
            reader.order("read")
            assert reader.find(rows.converted) == set()


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [("clip.mkv", "ffv1", "yuv420p"), ("clip.avi", "mjpeg", "yuvj420p"), ("clip.gif", "gif", "rgb8")],
)
def test_no_decoder_keeps_a_picture_after_close(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    clip = write_clip(tmp_path / name, codec, pixel_format, PICTURES[:6], list(range(0, 600, 100)))
    rows = rows_of_file(clip)
    with reading(clip) as reader:
        for _ in range(3):
            reader.order("read")
        assert reader.find(rows.decoded)
        assert reader.find(rows.converted) == set()
        reader.order("close")
        assert reader.find(rows.decoded + rows.converted) == set()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_file_leaves_nothing_once_it_is_read(tmp_path: Path, suffix: str) -> None:
    folder = write_pictures(tmp_path / "photos", PICTURES[:3], suffix)
    rows = [rows_of_file(path) for path in sorted(folder.iterdir())]
    with reading(folder) as reader:
        reader.order("read")
        reader.order("read")
        assert reader.find([row for each in rows for row in each.decoded + each.converted]) == set()


def test_a_stream_that_falls_silent_leaves_nothing_when_the_row_libav_ends() -> None:
    units = encoded(PICTURES)
    decoder = av.CodecContext.create("h264", "r")
    rows = rows_of([frame for unit in [*units, b""] for frame in decoder.decode(av.Packet(unit))])
    assert len(rows.decoded) == len(PICTURES)
    assert LIBAV.bound_s is not None
    with RtspServer(PICTURES) as server, reading(f"rtsp://127.0.0.1:{server.port}/x") as reader:
        for _ in range(5):
            reader.order("read")
        assert reader.find(rows.decoded)
        reader.order("read-on")
        server.silent.set()
        time.sleep(LIBAV.bound_s)  # real time: it is the promise
        assert reader.find(rows.decoded + rows.converted) == set()
