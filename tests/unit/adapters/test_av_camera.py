"""Files, folders, pacing, failures and secrets. Streams are in tests/integration/test_rtsp.py."""

import socket
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.adapters.av_source import Kind, kind_of, lenient, redacted
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import ManualClock, SystemClock
from lfr_edge.errors import DeviceError, Reason
from tests.support.clips import canary, flat, write_clip, write_pictures

GREYS = [40, 80, 120, 160, 200, 240]
TIMES_MS = [0, 40, 80, 120, 160, 200]


def camera(source: Path | str, **settings: Any) -> AvCamera:  # any field of CameraSettings
    settings = {"pace": "full-speed", **settings}
    return AvCamera(CameraSettings("north", str(source), **settings), Arena(4 << 20), SystemClock())


def means(source: AvCamera) -> list[float]:
    """The mean of each picture's pixels, to the end."""
    found = []
    while (frame := source.read()) is not None:
        found.append(float(frame.image.pixels.mean()))
        frame.release()
    return found


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("clip.mp4", "libx264", "yuv420p"),
        ("clip.mkv", "ffv1", "yuv420p"),
        ("clip.avi", "mjpeg", "yuvj420p"),
        ("clip.gif", "gif", "rgb8"),
    ],
)
def test_every_picture_of_a_file_comes_in_order(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    times_ms = [10 * time for time in TIMES_MS] if codec == "gif" else TIMES_MS
    clip = write_clip(tmp_path / name, codec, pixel_format, [flat(grey) for grey in GREYS], times_ms)
    found = means(camera(clip))
    assert len(found) == len(GREYS)
    assert found == pytest.approx(GREYS, abs=20 if codec == "gif" else 3)  # the GIF is made with 256 fixed colours


def test_a_title_that_is_no_utf_8_keeps_no_clip_from_playing(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as container:
        container.metadata["title"] = "Platzhalter"
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(flat(90), format="rgb24")))
        container.mux(stream.encode())
    written = clip.read_bytes()
    assert b"Platzhalter" in written
    clip.write_bytes(written.replace(b"Platzhalter", b"Pl\xe4tze \xff\xfe\x80\xe4"))
    assert means(camera(clip)) == pytest.approx([90], abs=3)


def test_a_camera_opens_with_pyav_19_as_with_14(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One installation has one version only: for the other one stands what it takes."""
    opened = av.open

    def opens_as_19(file: str, *, format: Any = None, options: Any = None, timeout: Any = None) -> Any:  # noqa: A002
        return opened(file, format=format, options=options, timeout=timeout)

    clip = write_clip(tmp_path / "clip.mp4", "libx264", "yuv420p", [flat(90)], [0])
    monkeypatch.setattr(av, "open", opens_as_19)
    monkeypatch.setattr(av, "__version__", "19.0.2")
    assert means(camera(clip)) == pytest.approx([90], abs=3)
    assert lenient("14.0.0") == lenient("18.1.0") == {"metadata_errors": "replace"}


def test_colours_are_blue_green_red(tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[...] = (250, 100, 10)  # RGB
    source = camera(write_pictures(tmp_path / "red", [picture]))
    frame = source.read()
    assert frame is not None
    assert frame.image.pixels[5, 5].tolist() == [10, 100, 250]
    frame.release()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_one_photo_is_a_clip_of_one_frame(tmp_path: Path, suffix: str) -> None:
    folder = write_pictures(tmp_path / "photos", [flat(90)], suffix)
    assert means(camera(folder / f"000{suffix}")) == pytest.approx([90], abs=2)


def test_a_folder_may_hold_other_files_and_pictures_of_any_size(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "photos", [flat(30, 64, 48), flat(60, 33, 17), flat(90, 640, 480)])
    (folder / "notes.csv").write_text("id,name\n")
    source = camera(folder)
    sizes = []
    while (frame := source.read()) is not None:
        sizes.append((frame.image.width_px, frame.image.height_px))
        frame.release()
    assert sizes == [(64, 48), (33, 17), (640, 480)]
    assert source.counts.undecodable == 0


@pytest.mark.parametrize("name", ["100%.png", "a:b.png", "%03d.png", "[x].png"])
def test_a_file_name_is_taken_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = write_pictures(tmp_path / "photos", [flat(30), flat(60)])  # 000.png is what a pattern would find
    (folder / "001.png").rename(folder / name)
    monkeypatch.chdir(folder)
    assert means(camera(name)) == pytest.approx([60], abs=1)


def paced(source: Path, frames: int, **settings: Any) -> list[float]:
    """Seconds between the presentations of the first `frames` pictures, on a clock that only waiting moves."""
    clock = ManualClock()
    player = AvCamera(CameraSettings("north", str(source), **settings), Arena(4 << 20), clock, wait=clock.advance)
    stamps = []
    for _ in range(frames):
        frame = player.read()
        assert frame is not None
        stamps.append(frame.captured_ns)
        frame.release()
    player.close()
    return [round((after - before) / 1e9, 3) for before, after in pairwise(stamps)]


def test_live_pace_follows_time_stamps_but_no_pause_outlasts_the_decoder(tmp_path: Path) -> None:
    times_ms = [0, 40, 140, 2000, 2040]
    clip = write_clip(tmp_path / "vfr.mkv", "ffv1", "yuv420p", [flat(grey) for grey in GREYS[:5]], times_ms)
    assert paced(clip, 5) == [0.04, 0.1, 1.0, 0.04]


def test_a_folder_plays_at_25_pictures_a_second(tmp_path: Path) -> None:
    assert paced(write_pictures(tmp_path / "f", [flat(9)] * 3), 3) == [0.04, 0.04]


def test_full_speed_never_waits(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mkv", "ffv1", "yuv420p", [flat(50), flat(150)], [0, 900])
    assert paced(clip, 2, pace="full-speed") == [0.0]


def test_a_corrupted_packet_is_counted_and_the_rest_plays(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", "libx264", "yuv420p", [canary(n) for n in range(12)], list(range(0, 480, 40)))
    with av.open(str(clip)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.pos is not None][7]
        start, size = packet.pos, packet.size
    data = bytearray(clip.read_bytes())
    data[start : start + size] = bytes(byte ^ 0xFF for byte in data[start : start + size])
    clip.write_bytes(data)
    source = camera(clip)
    assert len(means(source)) >= 8  # what is predicted from the lost picture may be missing too
    assert source.counts.undecodable >= 1


def test_a_broken_picture_in_a_folder_is_counted_and_the_rest_plays(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "f", [flat(50), flat(100), flat(150)])
    (folder / "001.png").write_bytes(b"not a picture")
    source = camera(folder)
    assert means(source) == pytest.approx([50, 150], abs=1)
    assert source.counts.undecodable == 1


def make_text(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("This is not a video, whatever its name says.\n" * 50)
    return path


def make_plain_text(folder: Path) -> Path:
    path = folder / "notes.txt"  # libav would draw it as a picture
    path.write_text("Nor is this.\n" * 50)
    return path


def make_playlist(folder: Path) -> Path:
    write_clip(folder / "c.mkv", "ffv1", "yuv420p", [flat(50)], [0])
    path = folder / "list.ffconcat"
    path.write_text("ffconcat version 1.0\nfile c.mkv\n")
    return path


def make_empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def make_truncated(folder: Path) -> Path:
    path = write_clip(folder / "c.mp4", "libx264", "yuv420p", [canary(n) for n in range(5)], TIMES_MS[:5])
    path.write_bytes(path.read_bytes()[:2000])  # the index at the end is gone
    return path


def make_sound(folder: Path) -> Path:
    path = folder / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    return path


def make_empty_folder(folder: Path) -> Path:
    (folder / "photos").mkdir()
    return folder / "photos"


def make_folder_of_rubbish(folder: Path) -> Path:
    path = make_empty_folder(folder)
    (path / "a.png").write_bytes(b"rubbish")
    return path


def make_missing(folder: Path) -> Path:
    return folder / "nowhere.mp4"


MISTAKES = [
    (make_text, "is not a video or picture"),
    (make_plain_text, "is not a video or picture"),
    (make_playlist, "is not a video or picture"),
    (make_empty, "is empty"),
    (make_truncated, "is not a video or picture"),
    (make_sound, "holds no video"),
    (make_empty_folder, "holds no pictures"),
    (make_folder_of_rubbish, "holds no picture that can be decoded"),
    (make_missing, "there is no file"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_what_is_no_video_gives_one_error_that_names_it_and_then_ends(tmp_path: Path, make: Any, message: str) -> None:
    path = make(tmp_path)
    source = camera(path)
    with pytest.raises(DeviceError, match=message) as caught:
        source.read()
    assert caught.value.reason is Reason.SOURCE_UNREADABLE
    assert str(path) in caught.value.message
    assert caught.value.fix
    assert caught.value.__context__ is None
    assert source.last_error == str(caught.value)
    assert source.read() is None


def test_a_picture_too_large_for_the_arena_is_refused_and_leaves_no_lease(tmp_path: Path) -> None:
    arena = Arena(1 << 16)
    source = AvCamera(
        CameraSettings("north", str(write_pictures(tmp_path / "f", [flat(50, 640, 480)]))), arena, SystemClock()
    )
    with pytest.raises(DeviceError) as caught:
        source.read()
    assert caught.value.reason is Reason.MEMORY_EXHAUSTED
    assert arena.leased_bytes == 0


def test_reading_allocates_no_picture_in_python_or_numpy(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", "libx264", "yuv420p", [canary(n) for n in range(6)], TIMES_MS)
    source = camera(clip)
    tracemalloc.start()
    try:
        for number in range(6):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            frame = source.read()
            peak = tracemalloc.get_traced_memory()[1]
            assert frame is not None
            frame.release()
            del frame
            if number:  # the first read opens the file
                assert peak - before < 4096  # a picture is 230,400 bytes, one of its rows 960
    finally:
        tracemalloc.stop()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_back_off_doubles_up_to_a_quarter_of_a_minute_and_never_blocks_longer_than_told() -> None:
    clock = ManualClock()
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(round(seconds, 3))
        clock.advance(seconds)

    settings = CameraSettings("north", f"rtsp://127.0.0.1:{unused_port()}/x", timeout_s=50.0)
    source = AvCamera(settings, Arena(1 << 16), clock, wait=wait)
    started_ns = clock.monotonic_ns()
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1") as caught:
        source.read()
    assert caught.value.reason is Reason.SOURCE_UNREADABLE
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 4.5]
    assert (clock.monotonic_ns() - started_ns) / 1e9 == pytest.approx(50)
    assert "refused" in source.last_error
    with pytest.raises(DeviceError):  # it goes on, with what was left of the pause
        source.read()
    assert waits[8:10] == [10.5, 15.0]


@pytest.mark.parametrize(
    "source",
    ["http://user:s3cret@10.0.0.5/x", "rtsp:/user:s3cret@10.0.0.5/x", "user:s3cret@10.0.0.5", "x" * 300, "a\0b"],
)
def test_a_mistyped_address_is_one_clear_error_without_its_password(source: str) -> None:
    with pytest.raises(DeviceError, match="there is no file") as caught:
        camera(source).read()
    assert "cret" not in str(caught.value)
    assert "rtsp://" in caught.value.fix


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://10.0.0.5:554/stream1", "rtsp://10.0.0.5:554/..."),
        ("rtsp://user:s3cret@10.0.0.5/stream1", "rtsp://10.0.0.5/..."),
        ("rtsps://user:s3cret@camera-1.local:322", "rtsps://camera-1.local:322/..."),
        ("rtsp://user@[fe80::1]:554/x", "rtsp://[fe80::1]:554/..."),
        ("rtsp://10.0.0.5/user=admin&password=s3cret", "rtsp://10.0.0.5/..."),
        ("rtsp://10.0.0.5?password=s3cret", "rtsp://10.0.0.5/..."),
        ("rtsp://user:s3@cret@10.0.0.5/x", "rtsp://..."),
        ("rtsp://user:s3/cret@10.0.0.5/x", "rtsp://..."),
        ("rtsp://user:s3?cret@10.0.0.5/x", "rtsp://..."),
        ("rtsp://10.0.0.5:s3cret", "rtsp://..."),
        ("RTSP://user:s3cret@10.0.0.5/x", "RTSP://10.0.0.5/..."),
        ("http://user:s3cret@10.0.0.5/x", "http://..."),
        ("rtsp:/user:s3cret@10.0.0.5/x", "..."),
        ("user:s3cret@10.0.0.5/x", "..."),
        ("/srv/clips@2/street.mp4", "/srv/clips@2/street.mp4"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_an_address_is_shown_without_anything_secret(source: str, shown: str) -> None:
    assert redacted(source) == shown
    assert "cret" not in repr(CameraSettings("north", source))


@pytest.mark.parametrize("source", ["/dev/video0", "/dev/v4l/by-id/usb-Cam_1234-video-index0"])
def test_a_device_may_be_named_by_number_or_by_what_it_is(source: str) -> None:
    assert kind_of(source) is Kind.DEVICE


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_turned_camera_gives_an_upright_picture(rotation: int, tmp_path: Path) -> None:
    upright = canary(5, 48, 32)
    hung = np.rot90(upright, rotation // 90)  # the camera turned by -rotation sees the world turned by it
    clip = write_pictures(tmp_path / "pictures", [np.ascontiguousarray(hung)])
    frame = camera(clip, rotation=rotation).read()
    assert frame is not None
    assert (frame.image.width_px, frame.image.height_px) == (48, 32)
    assert (frame.image.pixels == upright[..., ::-1]).all()
    frame.release()
