"""This van's cameras. What is wrong with a file is said before anything starts; a camera may be lost and come back."""

from collections.abc import Sequence

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.adapters.av_source import Kind, kind_of, require_content
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import Clock
from lfr_edge.config import CameraConfig


def open_cameras(cameras: Sequence[CameraConfig], arena: Arena, clock: Clock) -> dict[str, AvCamera]:
    """The cameras by id; each connects with its first read. DeviceError for a file that cannot be played."""
    for camera in cameras:
        require_playable(camera.source, arena, clock)
    return {
        camera.id: AvCamera(
            CameraSettings(camera.id, camera.source, camera.pace, rotation=camera.rotation), arena, clock
        )
        for camera in cameras
    }


def require_present(cameras: Sequence[CameraConfig]) -> None:
    """DeviceError for a file that is missing or empty. Opens nothing: for as long as the van is blind."""
    for camera in cameras:
        if kind_of(camera.source) is Kind.FILE:
            require_content(camera.source)


def require_playable(source: str, arena: Arena, clock: Clock) -> None:
    """DeviceError if `source` is a file or a folder that yields no picture. Streams and devices are left alone."""
    if kind_of(source).live:
        return
    trial = AvCamera(CameraSettings("trial", source, "full-speed"), arena, clock)
    try:
        frame = trial.read()
        if frame is not None:
            frame.release()
    finally:
        trial.close()
