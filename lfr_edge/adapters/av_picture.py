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
    """Any pixel format and size to BGR in leased memory. Keeps a few converted lines until it is dropped."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def leased(self, picture: av.VideoFrame, arena: Arena) -> Image:
        """`picture` as a new lease of row FRAME. UndecodableError if its pixel format cannot be converted."""
        try:
            converted = self._reformatter.reformat(picture, format=PixelFormat.BGR.value, threads=1)
        except (av.FFmpegError, ValueError) as error:
            raise UndecodableError(str(error)) from None
        try:
            image = Image.blank(arena, FRAME, converted.width, converted.height)
            _copy_rows(converted.planes[0], image)
        finally:
            if converted is not picture:  # BGR already: then it is the decoder's own
                _wipe(converted.planes[0])
        return image


def _copy_rows(plane: VideoPlane, image: Image) -> None:
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(image.height_px, plane.line_size)
    np.copyto(image.pixels, rows[:, : 3 * image.width_px].reshape(image.height_px, image.width_px, 3))


def _wipe(plane: VideoPlane) -> None:
    np.frombuffer(memoryview(plane), np.uint8).fill(0)
