"""The camera against a real RTSP server on loopback: death, silence, other sizes, wrong passwords."""

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import pytest

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import SystemClock
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.pipeline.frame_source import Frame
from tests.support.clips import flat
from tests.support.rtsp_server import RtspServer


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer([flat(grey) for grey in (60, 120, 180)], password="s3cret") as running:
        yield running


def camera(server: RtspServer, *, user: str = "camera:s3cret", timeout_s: float = 5.0) -> AvCamera:
    settings = CameraSettings("north", f"rtsp://{user}@127.0.0.1:{server.port}/x", timeout_s=timeout_s)
    return AvCamera(settings, Arena(4 << 20), SystemClock())


def read(source: AvCamera) -> Frame:
    frame = source.read()
    assert frame is not None
    frame.release()
    return frame


def read_until(source: AvCamera, condition: Callable[[], bool]) -> None:
    """Read on, through failures, until the condition holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, source.last_error
        with contextlib.suppress(DeviceError):
            read(source)


def read_until_it_fails(source: AvCamera) -> None:
    for _ in range(50):
        read(source)


def test_pictures_come_as_the_server_sends_them(server: RtspServer) -> None:
    source = camera(server)
    assert read(source).sequence == 0
    sent_at_first = server.sent
    assert [read(source).sequence for _ in range(20)] == list(range(1, 21))
    assert server.sent - sent_at_first < 26  # nothing piles up on the way
    source.close()


def test_a_stream_that_dies_is_connected_again_and_counts_on(server: RtspServer) -> None:
    source = camera(server)
    before = [read(source).sequence for _ in range(3)]
    server.kill_client()
    after = [read(source).sequence for _ in range(10)]
    source.close()
    assert before + after == list(range(13))
    assert source.counts.reconnects == 1
    assert server.plays == 2
    assert source.last_error == ""


def test_a_stream_that_falls_silent_is_left_and_found_again(server: RtspServer) -> None:
    source = camera(server, timeout_s=1.0)  # so that half a second is silence
    read(source)
    server.silent.set()
    with pytest.raises(DeviceError, match=r"no picture for 0\.5 s") as caught:
        read_until_it_fails(source)
    assert caught.value.reason is Reason.SOURCE_UNREADABLE
    server.silent.clear()
    read_until(source, lambda: not source.last_error)
    source.close()
    assert source.counts.reconnects >= 1
    assert source.counts.frames_read >= 2


def test_a_server_that_comes_late_is_found(server: RtspServer) -> None:
    port = server.port
    server.stop()
    settings = CameraSettings("north", f"rtsp://127.0.0.1:{port}/x", timeout_s=1.0)
    source = AvCamera(settings, Arena(4 << 20), SystemClock())
    with pytest.raises(DeviceError, match="refused"):
        source.read()
    with RtspServer([flat(90)], port=port):
        read_until(source, lambda: source.counts.frames_read > 0)
        source.close()
    assert source.counts.reconnects == 0  # nothing had been lost


def test_a_size_that_changes_in_the_stream_changes_the_leases(server: RtspServer) -> None:
    source = camera(server)
    assert read(source).image.width_px == 320
    server.show([flat(90, 160, 96)])
    sizes = {(frame.image.width_px, frame.image.height_px) for frame in (read(source) for _ in range(10))}
    source.close()
    assert (160, 96) in sizes


def test_close_ends_a_read_that_is_blocked_in_another_thread(server: RtspServer) -> None:
    source = camera(server)
    read(source)
    server.silent.set()
    results: list[Frame | None] = []

    def read_to_the_end() -> None:
        while (frame := source.read()) is not None:
            frame.release()
        results.append(None)

    thread = threading.Thread(target=read_to_the_end)
    thread.start()
    time.sleep(0.2)  # the read is blocked by now; if it were not, the test would only be easier
    started = time.monotonic()
    source.close()
    thread.join(5)
    assert time.monotonic() - started < 2
    assert results == [None]


def test_a_password_may_be_percent_encoded() -> None:
    with RtspServer([flat(90)], password="s3/c@et") as server:
        source = camera(server, user="camera:s3%2Fc%40et")
        assert read(source).sequence == 0
        source.close()


def test_a_wrong_password_is_named_and_never_shown(
    server: RtspServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    source = camera(server, user="camera:wr0ng-pass", timeout_s=1.0)
    with pytest.raises(DeviceError, match="refused the user name or password") as caught:
        source.read()
    source.close()
    told = [*capfd.readouterr(), caplog.text, source.last_error, repr(caught.value), caught.value.fix]
    error: BaseException | None = caught.value
    while error is not None:
        told += ["".join(traceback.format_exception(error)), *map(str, error.args)]
        error = error.__context__
    assert not [text for text in told if "wr0ng" in text]
    assert f"127.0.0.1:{server.port}" in source.last_error
