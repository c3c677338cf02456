"""The way of one picture from libav's memory into a lease.

libav converts only into memory of its own, so the converted picture is copied once and wiped at once. The decoded
picture is not: the decoder still predicts from it (row LIBAV of the retention table).
"""

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from lfr_edge.adapters.av_source import UndecodableError
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image, PixelFormat
from lfr_edge.biometrics.retention import FRAME


class Converter:
    """Any pixel format and size to upright BGR in leased memory. Keeps a few converted lines until it is dropped.

    `rotation` is by how many degrees clockwise (0, 90, 180, 270) the camera's picture is turned to stand upright.
    """

    def __init__(self, rotation: int = 0) -> None:
        self._reformatter = VideoReformatter()
        self._quarters = -rotation // 90  # numpy turns anticlockwise

    def leased(self, picture: av.VideoFrame, arena: Arena) -> Image:
        """`picture` as a new lease of row FRAME. UndecodableError if its pixel format cannot be converted."""
        try:
            converted = self._reformatter.reformat(picture, format=PixelFormat.BGR.value, threads=1)
        except (av.FFmpegError, ValueError) as error:
            raise UndecodableError(str(error)) from None
        try:
            size_px = (converted.width, converted.height)
            image = Image.blank(arena, FRAME, *(size_px[::-1] if self._quarters % 2 else size_px))
            _copy_turned(converted.planes[0], size_px, self._quarters, image)
        finally:
            if converted is not picture:  # BGR already: then it is the decoder's own
                _wipe(converted.planes[0])
        return image


def _copy_turned(plane: VideoPlane, size_px: tuple[int, int], quarters: int, image: Image) -> None:
    width, height = size_px
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
    np.copyto(image.pixels, np.rot90(rows[:, : 3 * width].reshape(height, width, 3), quarters))


def _wipe(plane: VideoPlane) -> None:
    np.frombuffer(memoryview(plane), np.uint8).fill(0)
