"""Clips of nobody, made by code: noise that no codec can hide and no other memory holds."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

H264 = {"g": "5", "preset": "ultrafast", "tune": "zerolatency"}
_MILLISECONDS = Fraction(1, 1000)


def canary(number: int, width: int = 320, height: int = 240) -> NDArray[Any]:
    """An (H, W, 3) uint8 RGB picture that is unlike every other number's."""
    random = np.random.default_rng(number)
    coarse = random.integers(0, 206, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    blocks = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width]
    return blocks + random.integers(0, 50, (height, width, 3), dtype=np.uint8)


def flat(grey: int, width: int = 320, height: int = 240) -> NDArray[Any]:
    """A picture of one grey, which survives every codec."""
    return np.full((height, width, 3), grey, np.uint8)


def write_clip(path: Path, codec: str, pixel_format: str, pictures: list[NDArray[Any]], times_ms: list[int]) -> Path:
    """A video file of RGB pictures at the given times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=H264 if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixel_format
        stream.codec_context.time_base = _MILLISECONDS
        for picture, time_ms in zip(pictures, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time_ms, _MILLISECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def thinned(clip: Path, every: int, path: Path) -> Path:
    """One picture of so many of a clip, each at its time."""
    with av.open(str(clip)) as source:
        kept = [frame for number, frame in enumerate(source.decode(video=0)) if number % every == 0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in kept]
        return write_clip(path, "libx264", "yuv420p", pictures, [round(1000 * (frame.time or 0)) for frame in kept])


def write_pictures(folder: Path, pictures: list[NDArray[Any]], suffix: str = ".png") -> Path:
    """A folder of picture files, named in order."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        av.VideoFrame.from_ndarray(picture, format="rgb24").save(str(folder / f"{number:03}{suffix}"))
    return folder
