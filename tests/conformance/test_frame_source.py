"""What every `FrameSource` promises, checked on each."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import FRAME
from lfr_edge.clock import ManualClock
from lfr_edge.pipeline.frame_source import FakeFrameSource, FrameSource
from tests.support.clips import canary, write_pictures

PICTURES = [canary(number, 100, 60) for number in range(4)]  # RGB
Build = Callable[[Arena, Path], FrameSource]


def fake(arena: Arena, folder: Path) -> FrameSource:
    del folder
    return FakeFrameSource("north", [picture[..., ::-1] for picture in PICTURES], arena, ManualClock())


def libav(arena: Arena, folder: Path) -> FrameSource:
    source = write_pictures(folder / "pictures", PICTURES)
    return AvCamera(CameraSettings("north", str(source), "full-speed"), arena, ManualClock())


@pytest.fixture
def arena() -> Arena:
    return Arena(1 << 20)


@pytest.fixture(params=[fake, libav])
def source(request: pytest.FixtureRequest, arena: Arena, tmp_path: Path) -> FrameSource:
    build: Build = request.param
    return build(arena, tmp_path)


def test_every_picture_comes_once_in_order_and_then_none(source: FrameSource) -> None:
    for number, picture in enumerate(PICTURES):
        frame = source.read()
        assert frame is not None
        assert (frame.camera, frame.sequence) == ("north", number)
        assert (frame.image.width_px, frame.image.height_px) == (100, 60)
        assert np.array_equal(frame.image.pixels, picture[..., ::-1])
        frame.release()
    assert source.read() is None
    assert source.read() is None
    assert source.counts.frames_read == len(PICTURES)
    assert source.last_error == ""


def test_a_frame_is_one_lease_of_its_row_and_nothing_else_is_leased(source: FrameSource, arena: Arena) -> None:
    frame = source.read()
    assert frame is not None
    assert frame.image.lease.row is FRAME
    assert arena.leased_bytes == 64 * 128 * 3
    frame.release()  # raises if the source had kept a view
    assert arena.leased_bytes == 0


def test_the_padding_is_black(source: FrameSource) -> None:
    frame = source.read()
    assert frame is not None
    assert not frame.image.padded[60:].any()
    assert not frame.image.padded[:, 100:].any()
    frame.release()


def test_capture_is_stamped_in_utc_and_never_goes_back(source: FrameSource) -> None:
    stamps = []
    while (frame := source.read()) is not None:
        assert frame.captured_at.utcoffset() == timedelta(0)
        stamps.append(frame.captured_ns)
        frame.release()
    assert stamps == sorted(stamps)


def test_a_closed_source_yields_nothing_and_closes_twice(source: FrameSource) -> None:
    frame = source.read()
    assert frame is not None
    frame.release()
    source.close()
    source.close()
    assert source.read() is None
