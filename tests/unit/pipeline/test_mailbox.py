"""The newest of a camera wins; or its reader is a little ahead, and waits."""

import threading
from typing import Any

import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import ManualClock
from lfr_edge.pipeline import mailbox as module
from lfr_edge.pipeline.frame_source import FakeFrameSource, Frame
from lfr_edge.pipeline.mailbox import Mailbox


@pytest.fixture
def arena() -> Arena:
    return Arena(1 << 20)


def frames(arena: Arena, camera: str, count: int) -> list[Frame]:
    source = FakeFrameSource(camera, [np.full((32, 32, 3), 200, np.uint8)] * count, arena, ManualClock())
    read = [source.read() for _ in range(count)]
    return [frame for frame in read if frame is not None]


def test_a_newer_picture_supersedes_wipes_and_counts_the_older(arena: Arena) -> None:
    mailbox = Mailbox(["a"])
    for frame in frames(arena, "a", 3):
        mailbox.put(frame)
    (newest,) = mailbox.take(0, most=9)
    assert newest.sequence == 2
    assert mailbox.superseded("a") == 2
    newest.release()
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_take_hands_over_the_newest_of_every_camera(arena: Arena) -> None:
    mailbox = Mailbox(["a", "b"])
    for camera in ("a", "b"):
        mailbox.put(frames(arena, camera, 1)[0])
    assert [frame.camera for frame in mailbox.take(0, most=9)] == ["a", "b"]
    assert mailbox.take(0, most=9) == []


def test_cameras_take_turns_and_who_is_left_may_be_superseded(arena: Arena) -> None:
    mailbox = Mailbox(["a", "b", "c"])
    seen = []
    for _ in range(3):
        for camera in ("a", "b", "c"):
            mailbox.put(frames(arena, camera, 1)[0])
        for frame in mailbox.take(0, most=2):
            seen.append(frame.camera)
            frame.release()
    assert seen == ["a", "b", "c", "a", "b", "c"]
    assert sum(mailbox.superseded(camera) for camera in "abc") == 2
    mailbox.close()
    assert arena.leased_bytes == 0


def test_a_lossless_reader_waits_and_nothing_is_superseded(arena: Arena) -> None:
    mailbox = Mailbox(["a"], lossless=["a"])
    all_frames = frames(arena, "a", 20)

    def read() -> None:
        for frame in all_frames:
            mailbox.wait_ready("a")
            mailbox.put(frame)

    reader = threading.Thread(target=read)
    reader.start()
    seen: list[int] = []
    while len(seen) < 20:
        for frame in mailbox.take(5, most=1):
            seen.append(frame.sequence)
            frame.release()
    reader.join(5)
    assert seen == list(range(20))
    assert mailbox.superseded("a") == 0


@pytest.mark.parametrize(("pace_s", "ahead"), [(0.01, 3), (0.045, 2), (0.3, 1)])
def test_a_reader_is_ahead_only_as_far_as_is_soon_taken(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, pace_s: float, ahead: int
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    mailbox = Mailbox(["a"], lossless=["a"])
    *taken, first, second, third, fourth = frames(arena, "a", 10)
    for frame in taken:
        mailbox.put(frame)
        now_s[0] += pace_s
        mailbox.take(0, most=1)[0].release()
    for waiting, frame in enumerate((first, second, third)):
        assert ready(mailbox) is (waiting < ahead)
        mailbox.put(frame)
    assert not ready(mailbox)
    mailbox.close()
    fourth.release()
    assert arena.leased_bytes == 0


def ready(mailbox: Mailbox) -> bool:
    """Whether the reader of camera a would read now."""

    def refuse(predicate: Any, _timeout: float | None = None) -> None:
        if not predicate():
            raise TimeoutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mailbox._changed, "wait_for", refuse, raising=False)
        try:
            mailbox.wait_ready("a")
        except TimeoutError:
            return False
    return True


def test_only_pictures_of_files_follow_beyond_the_room_there_is(arena: Arena) -> None:
    mailbox = Mailbox(["live", "file"], lossless=["file"])
    for camera in ("live", "live", "file", "file", "file"):
        mailbox.put(frames(arena, camera, 1)[0])
    taken = mailbox.take(0, most=1, following=2)
    assert [frame.camera for frame in taken] == ["live", "file", "file"]
    mailbox.put(frames(arena, "live", 1)[0])
    taken += mailbox.take(0, most=0, following=9)
    assert [frame.camera for frame in taken[3:]] == ["file"]
    assert mailbox.waiting == 1
    mailbox.close()
    for frame in taken:
        frame.release()
    assert arena.leased_bytes == 0


def test_close_wipes_what_waits_and_wakes_a_waiting_reader(arena: Arena) -> None:
    mailbox = Mailbox(["a"], lossless=["a"])
    first, second = frames(arena, "a", 2)
    mailbox.put(first)
    reader = threading.Thread(target=mailbox.wait_ready, args=("a",))
    reader.start()
    mailbox.close()
    reader.join(5)
    assert not reader.is_alive()
    mailbox.put(second)
    assert arena.leased_bytes == 0
    assert mailbox.take(0, most=9) == []
