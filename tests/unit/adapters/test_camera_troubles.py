"""What cameras do wrong, one claim for each: sizes, colours, time stamps, garbage and silence.

The table in docs/cameras.md says what follows from each. Stalls, deaths and reconnections are in
tests/integration/test_rtsp.py and test_v4l2.py; what becomes of odd pictures later is in
tests/unit/pipeline/test_odd_pictures.py.
"""

import itertools
import random
import struct
import threading
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import ManualClock, SystemClock
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.pipeline.mailbox import Mailbox
from lfr_edge.van.stages import capture
from tests.support import rtsp_server
from tests.support.clips import H264, canary, flat, write_clip, write_pictures
from tests.support.rtsp_server import RtspServer, encoded

FORTY_MS = list(range(0, 480, 40))
RGB = (200, 60, 20)


def camera(source: Path | str, *, arena_mib: int = 4, **settings: Any) -> AvCamera:  # any field of CameraSettings
    settings = {"pace": "full-speed", **settings}
    return AvCamera(CameraSettings("north", str(source), **settings), Arena(arena_mib << 20), SystemClock())


def sizes(source: AvCamera) -> list[tuple[int, int]]:
    found = []
    while (frame := source.read()) is not None:
        found.append((frame.image.width_px, frame.image.height_px))
        assert frame.image.pixels.any()
        frame.release()
    return found


def paced(source: Path) -> list[float]:
    """Seconds between the presentations of all pictures at live pace, on a clock that only waiting moves."""
    clock = ManualClock()
    player = AvCamera(CameraSettings("north", str(source)), Arena(4 << 20), clock, wait=clock.advance)
    stamps = []
    while (frame := player.read()) is not None:
        stamps.append(frame.captured_ns)
        frame.release()
    return [round((after - before) / 1e9, 3) for before, after in pairwise(stamps)]


# Size and rotation


def changing(folder: Path, *pictures_px: tuple[int, int]) -> Path:
    """A raw H.264 stream, two pictures of each size."""
    path = folder / "changing.h264"
    path.write_bytes(b"".join(unit for size in pictures_px for unit in encoded([canary(1, *size), canary(2, *size)])))
    return path


def test_a_size_that_changes_in_a_file_changes_the_leases(tmp_path: Path) -> None:
    clip = changing(tmp_path, (320, 240), (640, 480), (160, 96))
    source = camera(clip)
    assert sizes(source) == [(320, 240)] * 2 + [(640, 480)] * 2 + [(160, 96)] * 2
    assert source.counts.undecodable == 0


def test_a_camera_that_turns_itself_on_its_side_is_still_turned_by_its_rotation(tmp_path: Path) -> None:
    clip = changing(tmp_path, (320, 240), (240, 320))
    assert sizes(camera(clip)) == [(320, 240)] * 2 + [(240, 320)] * 2
    assert sizes(camera(clip, rotation=90)) == [(240, 320)] * 2 + [(320, 240)] * 2


def test_the_rotation_mark_of_a_file_is_not_applied(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", "libx264", "yuv420p", [canary(1, 64, 48)], [0])
    unmarked = sizes(camera(clip))
    data = bytearray(clip.read_bytes())
    matrix = data.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2: the ninefold matrix of a version 0 box
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    clip.write_bytes(data)
    with av.open(str(clip)) as container:
        assert abs(next(container.decode(video=0)).rotation) == 90, "the mark is there"
    assert sizes(camera(clip)) == unmarked == [(64, 48)]


def test_a_4k_picture_takes_25_mb_and_nothing_else(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "4k.mp4", "libx264", "yuv420p", [flat(90, 3840, 2160)], [0])
    arena = Arena(3840 * 2176 * 3)  # not a byte for anything else
    source = AvCamera(CameraSettings("north", str(clip)), arena, SystemClock())
    frame = source.read()
    assert frame is not None
    assert (frame.image.width_px, frame.image.height_px) == (3840, 2160)
    assert arena.leased_bytes == 3840 * 2176 * 3
    frame.release()


def test_pictures_too_large_for_the_memory_end_the_daemon(tmp_path: Path) -> None:
    clip = changing(tmp_path, (320, 240), (1920, 1088))
    mailbox = Mailbox(["north"])
    with pytest.raises(DeviceError) as caught:
        capture("north", camera(clip, arena_mib=2), mailbox, threading.Event())
    assert caught.value.reason is Reason.MEMORY_EXHAUSTED
    assert "memory_mib" in caught.value.fix
    mailbox.close()


# Colour


def coloured(path: Path, codec: str, pixel_format: str, **marks: int) -> Path:
    """One picture of RGB in the given format, converted and marked as `marks` (colorspace, color_range) say."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"qp": "1"} if codec.startswith("libx264") else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), RGB, np.uint8), format="rgb24")
        picture = picture.reformat(format=pixel_format, **{f"dst_{name}": value for name, value in marks.items()})
        for name, value in marks.items():
            setattr(stream.codec_context, name, value)
            setattr(picture, name, value)
        picture.pts = 0
        container.mux([*stream.encode(picture), *stream.encode()])
    return path


def shown_rgb(clip: Path) -> list[int]:
    frame = camera(clip).read()
    assert frame is not None
    blue, green, red = frame.image.pixels[24, 32].tolist()
    frame.release()
    return [red, green, blue]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "marks"),
    [
        ("limited.mp4", "libx264", "yuv420p", {}),
        ("full.mp4", "libx264", "yuvj420p", {}),
        ("full.avi", "mjpeg", "yuvj422p", {}),
        ("marked-full.mp4", "libx264", "yuv420p", {"color_range": ColorRange.JPEG}),
        ("bt601.mp4", "libx264", "yuv420p", {"colorspace": Colorspace.ITU601}),
        ("bt709.mp4", "libx264", "yuv420p", {"colorspace": Colorspace.ITU709}),
        ("10-bit.mp4", "libx264", "yuv420p10le", {}),
        ("444.mp4", "libx264", "yuv444p", {}),
        ("rgb.mp4", "libx264rgb", "rgb24", {}),
        ("16-bit.mkv", "ffv1", "gbrp16le", {}),
        ("alpha.mkv", "ffv1", "bgra", {}),
        ("packed.avi", "rawvideo", "yuyv422", {}),
        ("nv12.avi", "rawvideo", "nv12", {}),
        ("bgr.avi", "rawvideo", "bgr24", {}),
    ],
)
def test_colours_come_out_right_in_any_format(
    tmp_path: Path, name: str, codec: str, pixel_format: str, marks: dict[str, int]
) -> None:
    assert shown_rgb(coloured(tmp_path / name, codec, pixel_format, **marks)) == pytest.approx(RGB, abs=4)


@pytest.mark.parametrize("pixel_format", ["gray", "gray16le"])
def test_a_camera_without_colours_gives_its_greys(tmp_path: Path, pixel_format: str) -> None:
    grey = round(0.299 * RGB[0] + 0.587 * RGB[1] + 0.114 * RGB[2])
    shown = shown_rgb(coloured(tmp_path / "grey.mkv", "ffv1", pixel_format))
    assert len(set(shown)) == 1
    assert shown[0] == pytest.approx(grey, abs=2)


def test_a_camera_that_lies_about_its_colours_is_off_by_a_tenth_of_the_scale(tmp_path: Path) -> None:
    clip = coloured(tmp_path / "lie.mkv", "ffv1", "yuv420p", colorspace=Colorspace.ITU709)
    honest = shown_rgb(clip)
    data = clip.read_bytes()
    mark = b"\x55\xb1\x81"  # Matroska's MatrixCoefficients, one byte long
    assert data.count(mark + b"\x01") == 1
    clip.write_bytes(data.replace(mark + b"\x01", mark + b"\x06"))  # BT.709 called BT.601
    lie = shown_rgb(clip)
    assert 5 < max(abs(a - b) for a, b in zip(honest, lie, strict=True)) < 26


# Time stamps


def stamped(path: Path, times_ms: list[int]) -> Path:
    """A clip whose packets bear these stamps, whatever the pictures' own."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        packets = []
        for number in range(len(times_ms)):
            picture = av.VideoFrame.from_ndarray(flat(10 * number, 64, 48), format="rgb24")
            picture.pts = number
            packets += stream.encode(picture)
        for packet, time_ms in zip([*packets, *stream.encode()], times_ms, strict=True):
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = time_ms
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("times_ms", "gaps_s"),
    [
        ([0, 200, 400, 600], [0.2, 0.2, 0.2]),
        ([0, 17, 33, 50], [0.017, 0.016, 0.017]),
        ([0, 100, 100_000, 100_100], [0.1, 1.0, 0.1]),
        ([0, 0, 0, 0], [0.04, 0.04, 0.04]),
        ([0, 100, 100, 100], [0.1, 0.1, 0.1]),
        ([0, 100, 5000, 5000, 5000], [0.1, 1.0, 0.1, 0.1]),
    ],
    ids=["5 a second", "60 a second", "jump forward", "all zero", "stuck", "jump forward and stuck"],
)
def test_pictures_go_on_at_their_rate_whatever_the_stamps_do(
    tmp_path: Path, times_ms: list[int], gaps_s: list[float]
) -> None:
    assert paced(stamped(tmp_path / "stamped.mkv", times_ms)) == gaps_s


def test_a_recording_whose_clock_was_set_back_goes_on_at_its_rate(tmp_path: Path) -> None:
    pictures = [canary(number, 64, 48) for number in range(3)]
    before = write_clip(tmp_path / "before.ts", "libx264", "yuv420p", pictures, [10_000, 10_100, 10_200])
    after = write_clip(tmp_path / "after.ts", "libx264", "yuv420p", pictures, [0, 100, 200])
    both = tmp_path / "both.ts"
    both.write_bytes(before.read_bytes() + after.read_bytes())
    assert paced(both) == [0.1] * 5


def test_a_stream_without_stamps_plays_at_25_pictures_a_second(tmp_path: Path) -> None:
    assert paced(changing(tmp_path, (64, 48), (64, 48))) == [0.04] * 3


@pytest.mark.parametrize("stamps_s", [[0], [0, 3, 1, 40_000, 2, 2]], ids=["stuck", "jumping"])
def test_a_live_camera_is_dated_by_the_vans_clock_whatever_its_own_says(
    monkeypatch: pytest.MonkeyPatch, stamps_s: list[int]
) -> None:
    lying = SimpleNamespace(monotonic=itertools.cycle(stamps_s).__next__, sleep=time.sleep)
    monkeypatch.setattr(rtsp_server, "time", lying)
    with RtspServer([flat(60), flat(120)]) as server:
        source = camera(f"rtsp://127.0.0.1:{server.port}/x")
        before_ns = time.monotonic_ns()
        captured_ns = [read_one_ns(source) for _ in range(12)]
        after_ns = time.monotonic_ns()
        source.close()
        assert before_ns < captured_ns[0]
        assert captured_ns[-1] < after_ns
        assert captured_ns == sorted(captured_ns)
        assert (server.plays, source.counts.undecodable) == (1, 0)


def read_one_ns(source: AvCamera) -> int:
    frame = source.read()
    assert frame is not None
    frame.release()
    return frame.captured_ns


# Garbage and death


@pytest.mark.parametrize(("name", "codec", "pixel_format"), [
    ("c.mp4", "libx264", "yuv420p"),
    ("c.mkv", "libx264", "yuv420p"),
    ("c.ts", "libx264", "yuv420p"),
    ("c.avi", "mjpeg", "yuvj420p"),
])  # fmt: skip
def test_a_file_full_of_wrong_bytes_ends_with_one_error_at_most_and_leaves_nothing(
    tmp_path: Path, name: str, codec: str, pixel_format: str
) -> None:
    clip = write_clip(tmp_path / name, codec, pixel_format, [canary(n, 64, 48) for n in range(12)], FORTY_MS)
    healthy = clip.read_bytes()
    ends = set()
    for seed in range(8):
        dice = random.Random(seed)  # noqa: S311 - not a secret
        data = bytearray(healthy)
        for _ in range(len(data) // 200):
            data[dice.randrange(len(data))] = dice.randrange(256)
        clip.write_bytes(data)
        source = camera(clip)
        try:
            ends.add(len(sizes(source)))
        except DeviceError:
            ends.add(0)
        assert source.read() is None
        assert source._arena.leased_bytes == 0
    assert ends != {12}, "nothing was broken"


@pytest.mark.parametrize(("name", "codec", "pixel_format"), [
    ("c.mkv", "libx264", "yuv420p"),
    ("c.ts", "libx264", "yuv420p"),
    ("c.avi", "mjpeg", "yuvj420p"),
])  # fmt: skip
def test_a_recording_that_breaks_off_plays_up_to_there(
    tmp_path: Path, name: str, codec: str, pixel_format: str
) -> None:
    clip = write_clip(tmp_path / name, codec, pixel_format, [canary(n, 64, 48) for n in range(12)], FORTY_MS)
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 6 // 10])
    source = camera(clip)
    assert 4 <= len(sizes(source)) < 12
    assert source.last_error == ""


def test_a_picture_deleted_while_the_folder_plays_is_counted_and_the_rest_plays(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "f", [flat(50), flat(100), flat(150)])
    source = camera(folder)
    read_one_ns(source)
    (folder / "001.png").unlink()
    assert len(sizes(source)) == 1
    assert source.counts.undecodable == 1


def predicted(count: int) -> list[bytes]:
    """Access units without the key picture that they are predicted from."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 320, 240, "yuv420p", Fraction(25)
    encoder.options = {**H264, "g": "1000"}
    units = []
    for number in range(count + 1):
        picture = av.VideoFrame.from_ndarray(canary(number), format="rgb24")
        picture.pts = number
        units += [bytes(packet) for packet in encoder.encode(picture)]
    return units[1:]


def live(server: RtspServer) -> AvCamera:
    """With half a second for silence."""
    return camera(f"rtsp://127.0.0.1:{server.port}/x", timeout_s=1.0)


def read_on(source: AvCamera, count: int) -> None:
    for _ in range(count):
        read_one_ns(source)


def read_until_it_comes(source: AvCamera) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            read_one_ns(source)
        except DeviceError:
            continue
        return
    pytest.fail(source.last_error)


def test_a_camera_without_a_key_picture_for_seconds_is_waited_for_on_the_same_connection() -> None:
    with RtspServer([flat(90)]) as server:
        server._units = predicted(10)
        source = live(server)
        for _ in range(3):
            with pytest.raises(DeviceError, match="sent no picture"):
                source.read()
        assert source.counts.frames_read == 0, "a half picture is none"
        server.show([flat(90)])
        read_until_it_comes(source)
        source.close()
        assert (server.plays, source.counts.reconnects) == (1, 0)
        assert source.counts.undecodable > 0


def test_a_stream_that_turns_into_garbage_is_left_and_found_again() -> None:
    dice = np.random.default_rng(1)
    with RtspServer([flat(90)]) as server:
        source = live(server)
        read_until_it_comes(source)
        # Called a slice of a key picture by its first byte, and nothing by the rest.
        server._units = [b"\0\0\0\1\x65" + dice.bytes(3000) for _ in range(5)]
        with pytest.raises(DeviceError, match="sent no picture"):
            read_on(source, 10)  # the first are pictures that were on their way
        assert source.counts.undecodable > 0
        server.show([flat(90)])
        read_until_it_comes(source)
        source.close()
        assert source.counts.reconnects >= 1


@pytest.mark.parametrize("fps", [5.0, 60.0])
def test_a_camera_of_5_or_60_pictures_a_second_is_read_at_its_rate_and_not_thought_silent(fps: float) -> None:
    with RtspServer([flat(60), flat(120)], fps=fps) as server:
        source = camera(f"rtsp://127.0.0.1:{server.port}/x")
        read_on(source, 1)
        sent, count = server.sent, round(fps * 0.8)
        read_on(source, count)
        source.close()
        assert server.sent - sent <= 1.3 * count + 2, "nothing piles up on the way"
        assert (server.plays, source.counts.undecodable) == (1, 0)
