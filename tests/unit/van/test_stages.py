"""The daemon's threads: a camera lost and found, a fault that is kept, pictures that are always given back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.clock import Clock, ManualClock, SystemClock
from lfr_edge.errors import DeviceError, PolicyError, Reason
from lfr_edge.messages.match import SealedMatch
from lfr_edge.pipeline.frame_source import FakeFrameSource, Frame
from lfr_edge.pipeline.mailbox import Mailbox
from lfr_edge.van.cameras import require_playable
from lfr_edge.van.stages import Recognition, Stage, capture

PICTURE = np.full((32, 32, 3), 200, np.uint8)


@pytest.fixture
def arena() -> Iterator[Arena]:
    """An arena that must have everything back at the end of the test."""
    arena = Arena(1 << 20, memory_lock=FakeMemoryLock(allow=False))
    yield arena
    assert arena.leased_bytes == 0


class Flickering(FakeFrameSource):
    """A camera that fails before each of the pictures it was told."""

    failing = (1, 1, 1, 3)

    def __init__(self, arena: Arena) -> None:
        super().__init__("north", [PICTURE] * 5, arena, ManualClock())
        self._failures = list(self.failing)
        self.closed = 0

    def read(self) -> Frame | None:
        if self._failures and self.counts.frames_read == self._failures[0]:
            self._failures.pop(0)
            raise DeviceError(Reason.SOURCE_UNREADABLE, "rtsp://host/... is away", fix="check the cable")
        return super().read()

    def close(self) -> None:
        self.closed += 1
        super().close()


class FakeStep:
    """A frame, and whether it was waited for."""

    def __init__(self, frame: Frame, log: list[str]) -> None:
        self.frame = frame
        self.search = self
        self._log = log

    def wait(self) -> None:
        self._log.append(f"wait {self.frame.camera} {self.frame.sequence}")

    def __enter__(self) -> "FakeStep":
        return self

    def __exit__(self, *_: object) -> None:
        self.frame.release()


class FakeRecogniser:
    """Writes down what is asked of it, and fails at the finish it was told."""

    lanes = 2

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.log: list[str] = []
        self.finished: list[str] = []
        self._fail_at = fail_at

    def prepare(self, camera: str, width_px: int, height_px: int) -> None:
        self.log.append(f"prepare {camera} {width_px}x{height_px}")

    def start(self, frame: Frame) -> FakeStep:
        self.log.append(f"start {frame.camera} {frame.sequence}")
        return FakeStep(frame, self.log)

    def finish(self, step: FakeStep) -> list[SealedMatch]:
        self.log.append(f"finish {step.frame.camera} {step.frame.sequence}")
        with step:
            if len(self.finished) == self._fail_at:
                raise ValueError("a fault")
            self.finished.append(step.frame.camera)
            return []

    def idle(self, _now_ns: int) -> None:
        self.log.append("idle")

    def close(self) -> None:
        self.log.append("close")


def recognition(recogniser: FakeRecogniser, mailbox: Mailbox, clock: Clock | None = None) -> Recognition:
    running = Recognition(recogniser, mailbox, clock or ManualClock(), print)  # type: ignore[arg-type]
    running._met.update((camera, 32, 32) for camera in ("north", "south", "west"))
    return running


def test_a_lost_camera_is_tried_again_and_said_once(arena: Arena, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    mailbox, source = Mailbox(["north"]), Flickering(arena)
    capture("north", source, mailbox, threading.Event())
    assert source.counts.frames_read == 5
    assert source.closed == 1
    lost = "camera north: rtsp://host/... is away; check the cable"
    assert caplog.messages == [lost, "camera north is back"] * 2
    mailbox.close()


def test_memory_that_does_not_suffice_is_no_lost_camera() -> None:
    source = Flickering(Arena(4096))
    with pytest.raises(DeviceError, match="memory_mib"):
        capture("north", source, Mailbox(["north"]), threading.Event())
    assert source.closed == 1


def test_a_capture_that_is_told_to_stop_closes_its_camera_unread(arena: Arena) -> None:
    source, stop = Flickering(arena), threading.Event()
    stop.set()
    capture("north", source, Mailbox(["north"]), stop)
    assert (source.counts.frames_read, source.closed) == (0, 1)


def test_a_stage_that_fails_is_logged_remembered_and_tells(caplog: pytest.LogCaptureFixture) -> None:
    told = threading.Event()

    def fail() -> None:
        raise ValueError("a fault")

    stage = Stage("recognise", fail, told.set)
    stage.start()
    stage.join(5)
    assert told.is_set()
    assert isinstance(stage.failure, ValueError)
    assert caplog.messages == ["stage recognise failed"]


def test_recognition_ends_when_nothing_more_comes_and_closes(arena: Arena) -> None:
    mailbox, recogniser = Mailbox(["north"]), FakeRecogniser()
    running = recognition(recogniser, mailbox)
    capture("north", FakeFrameSource("north", [PICTURE], arena, ManualClock()), mailbox, threading.Event())
    running.finish()
    running.run()
    assert recogniser.log == ["start north 0", "wait north 0", "finish north 0", "close"]


def test_a_live_camera_s_first_picture_is_wiped_before_engines_are_made_ready(arena: Arena) -> None:
    mailbox, larger = Mailbox(["north"]), np.full((64, 96, 3), 200, np.uint8)

    class Preparing(FakeRecogniser):
        def prepare(self, camera: str, width_px: int, height_px: int) -> None:
            super().prepare(camera, width_px, height_px)
            assert arena.leased_bytes == 0
            capture("north", FakeFrameSource("north", [larger], arena, ManualClock()), mailbox, threading.Event())

    recogniser = Preparing()
    capture("north", FakeFrameSource("north", [larger], arena, ManualClock()), mailbox, threading.Event())
    running = recognition(recogniser, mailbox)
    running.finish()
    running.run()
    assert recogniser.log == ["prepare north 96x64", "start north 0", "wait north 0", "finish north 0", "close"]


def test_the_next_picture_is_begun_before_the_last_one_is_finished(arena: Arena) -> None:
    cameras = "north", "south", "west"
    mailbox, recogniser = Mailbox(cameras), FakeRecogniser()
    for camera in cameras:
        capture(camera, FakeFrameSource(camera, [PICTURE], arena, ManualClock()), mailbox, threading.Event())
    running = recognition(recogniser, mailbox)
    running.finish()
    running.run()
    assert recogniser.log == [
        "start north 0",
        "start south 0",
        "wait north 0",
        "start west 0",
        "finish north 0",
        "wait south 0",
        "finish south 0",
        "wait west 0",
        "finish west 0",
        "close",
    ]


def test_a_files_pictures_follow_those_under_way_as_long_as_steps_are_quick(arena: Arena) -> None:
    mailbox, recogniser = Mailbox(["north"], lossless=["north"]), FakeRecogniser()
    source = FakeFrameSource("north", [PICTURE] * 12, arena, ManualClock())
    running = recognition(recogniser, mailbox)
    for taken_ms, under_way in ((None, 2), (1.0, 4), (900.0, 2)):
        running._step_ms.extend([] if taken_ms is None else [taken_ms])
        for _ in range(4):
            frame = source.read()
            assert frame is not None
            mailbox.put(frame)
        running._start_steps(0)
        assert len(running._under_way) == under_way
        while running._under_way:
            running._under_way.popleft()[0].__exit__(None, None, None)
        for frame in mailbox.take(0, most=9):
            frame.release()


def test_a_fault_gives_back_the_pictures_of_all_cameras(arena: Arena) -> None:
    cameras = "north", "south", "west"
    mailbox, recogniser = Mailbox(cameras), FakeRecogniser(fail_at=1)
    for camera in cameras:
        capture(camera, FakeFrameSource(camera, [PICTURE], arena, ManualClock()), mailbox, threading.Event())
    with pytest.raises(ValueError, match="a fault"):
        recognition(recogniser, mailbox).run()
    assert recogniser.finished == ["north"]
    assert recogniser.log[-1] == "close"


def test_the_rate_is_that_of_the_last_pictures_and_none_when_they_are_old(arena: Arena) -> None:
    mailbox, clock = Mailbox(["north"]), ManualClock()
    running = recognition(FakeRecogniser(), mailbox, clock)
    assert running.fps("north") == 0
    assert running.step_ms(0.99) == 0
    source = FakeFrameSource("north", [PICTURE] * 60, arena, clock)
    for _ in range(60):
        clock.advance(0.1)
        frame = source.read()
        assert frame is not None
        mailbox.put(frame)
        running._start_steps(0)
        running._finish_step()
    assert running.fps("north") == pytest.approx(10)
    assert running.step_ms(0.5) > 0
    clock.advance(2.1)
    assert running.fps("north") == 0


def test_streams_and_devices_are_left_alone_before_the_start(arena: Arena) -> None:
    for source in ("rtsp://127.0.0.1:1/nothing", "/dev/video99"):
        require_playable(source, arena, ManualClock())


def test_a_file_or_folder_is_tried_before_the_start_and_given_back(arena: Arena, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DeviceError, match="holds no pictures"):
        require_playable(str(tmp_path / "pictures"), arena, ManualClock())
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DeviceError, match="holds no picture that can be decoded"):
        require_playable(str(tmp_path / "pictures"), arena, ManualClock())
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("RGB", (64, 48), (90, 120, 150)).save(tmp_path / "pictures" / "good.png")
    require_playable(str(tmp_path / "pictures"), arena, ManualClock())


@contextmanager
def recognising(recogniser: FakeRecogniser, mailbox: Mailbox) -> Iterator[tuple[Recognition, Stage]]:
    running = recognition(recogniser, mailbox, SystemClock())
    stage = Stage("recognise", running.run, lambda: None)
    stage.start()
    try:
        yield running, stage
    finally:
        running.finish()
        mailbox.close()
        stage.join(5)


def test_what_is_done_between_pictures_is_done_by_the_thread_that_compares(arena: Arena) -> None:
    mailbox, recogniser = Mailbox(["north"]), FakeRecogniser()
    done: list[str] = []

    def act() -> None:
        assert recogniser.log.count("start north 0") == recogniser.log.count("finish north 0")
        done.append(threading.current_thread().name)

    with recognising(recogniser, mailbox) as (running, _):
        running.between_pictures(act)
        capture("north", FakeFrameSource("north", [PICTURE], arena, ManualClock()), mailbox, threading.Event())
        running.between_pictures(act)
    assert done == ["recognise", "recognise"]


def test_a_refusal_between_pictures_goes_to_who_asked_and_recognition_goes_on(arena: Arena) -> None:
    mailbox, recogniser = Mailbox(["north"]), FakeRecogniser()

    def refuse() -> None:
        raise PolicyError(Reason.ORDER_ENDED, "no", fix="none")

    with recognising(recogniser, mailbox) as (running, stage):
        with pytest.raises(PolicyError, match="no"):
            running.between_pictures(refuse)
        capture("north", FakeFrameSource("north", [PICTURE], arena, ManualClock()), mailbox, threading.Event())
        running.between_pictures(lambda: None)
    assert (recogniser.finished, stage.failure) == (["north"], None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_between_pictures_ends_recognition() -> None:
    mailbox, recogniser = Mailbox(["north"]), FakeRecogniser()

    def fail() -> None:
        raise ZeroDivisionError("a fault")

    with recognising(recogniser, mailbox) as (running, stage):
        with pytest.raises(ZeroDivisionError):
            running.between_pictures(fail)
        stage.join(5)
        assert isinstance(stage.failure, ZeroDivisionError)
    assert recogniser.log[-1] == "close"


def test_nothing_gets_its_turn_when_no_more_pictures_come() -> None:
    mailbox = Mailbox(["north"])
    ended, waiting = recognition(FakeRecogniser(), mailbox), recognition(FakeRecogniser(), mailbox)
    ended.finish()
    with pytest.raises(PolicyError) as refused:
        ended.between_pictures(lambda: None)
    assert refused.value.reason is Reason.STOPPED
    threading.Timer(0.1, waiting.finish).start()
    with pytest.raises(PolicyError, match="stopped"):
        waiting.between_pictures(lambda: None)  # its thread never came
