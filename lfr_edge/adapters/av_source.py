"""What a camera's address means, and one opened connection to it: the only importer of PyAV for pictures.

Here libav's errors become ours, without the address: it may hold a password. Retries, pacing, leases and counting over
connections are not here (`av_camera`).

One decoding thread always. Measured on two x86-64 cores: 1280x720 H.264 decodes in 1.7 ms, converts in 0.9 ms and is
copied and wiped in 0.3 ms per picture, while detecting faces in it takes 20 ms; more threads would only hold more
pictures and, on RTSP, delay them (231 ms instead of 45).
"""

import re
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from lfr_edge.errors import DeviceError, Reason

SILENCE_S = 1.0  # half of what retention.LIBAV allows: after that without a picture the decoder is closed
FOLDER_FPS = 25.0  # what a folder of pictures is played at, for want of time stamps; also libav's own default
_POLL_S = 0.005
_PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# No playlists (they open other files and addresses), and no subtitles or plain text, which libav would draw as video.
_FILE_FORMATS = (
    "avi,bmp_pipe,flv,gif,h264,hevc,image2,ivf,jpeg_pipe,matroska,mjpeg,mov,mp4,mpeg,mpegts,nut,ogg,png_pipe,tiff_pipe,"
    "webm,webp_pipe,yuv4mpegpipe"
)
_FIRST_ALWAYS_LENIENT = 19  # PyAV: reads words that are no UTF-8 as surrogates, and takes no `metadata_errors`
_ADDRESS = re.compile(
    r"(?P<scheme>rtsps?)://(?:[^@/?#]*@)?(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\])(?P<port>:\d+)?(?:[/?#]|$)",
    re.IGNORECASE,
)

# libav's log names addresses with their passwords, and PyAV puts its last line into exceptions.
av.logging.set_level(None)


class Kind(Enum):
    """What is at a camera's address."""

    FILE = "file"
    FOLDER = "folder of pictures"
    STREAM = "RTSP stream"
    DEVICE = "V4L2 device"

    @property
    def live(self) -> bool:
        """True if it comes in its own time and may come back after a failure."""
        return self in {Kind.STREAM, Kind.DEVICE}


def kind_of(source: str) -> Kind:
    """What `source` names. Never fails: what does not exist is a file that will not open."""
    if source.lower().startswith(("rtsp://", "rtsps://")):
        return Kind.STREAM
    if source.startswith(("/dev/video", "/dev/v4l/")):  # the second names a device by its serial number or its socket
        return Kind.DEVICE
    try:
        return Kind.FOLDER if Path(source).is_dir() else Kind.FILE
    except (OSError, ValueError):  # a name too long, or with a zero byte in it
        return Kind.FILE


def redacted(source: str) -> str:
    """`source` for people: of an address only scheme, host and port, as passwords also hide in paths and queries.

    An address that can be read in two ways (a stray '@', another scheme) keeps only its scheme; what looks like a
    mistyped address keeps nothing.
    """
    address = _ADDRESS.match(source)
    if address is not None and "@" not in source[address.end() :]:
        return f"{address['scheme']}://{address['host']}{address['port'] or ''}/..."
    if "://" in source:
        return source.partition("://")[0] + "://..."
    return "..." if re.search(r":.*@", source) else source


class UndecodableError(Exception):
    """A packet, picture or picture file that libav refuses. The next one may be fine."""


class Connection(Protocol):
    """One opened source. Belongs to one thread."""

    def step(self) -> list[av.VideoFrame] | None:
        """Read and decode once more: the pictures that gave, still in libav's memory, often one; None at the end.

        UndecodableError if what was read cannot be decoded, DeviceError if nothing more can be read.
        """
        ...

    def close(self) -> None:
        """Let go of the source and of all decoded pictures."""
        ...


def connect(source: str, *, open_s: float, silence_s: float) -> Connection:
    """Open `source` within `open_s`; `step` then waits at most `silence_s`. DeviceError if it does not open."""
    kind = kind_of(source)
    if kind is Kind.FOLDER:
        return _Folder(source)
    # libav opens in two steps, each with the whole time-out. In the second it may hold a picture.
    return _Container(source, kind, (min(open_s / 2, 2 * SILENCE_S), silence_s))


def lenient(pyav: str) -> dict[str, Any]:  # any argument of `av.open`
    """What has that version of PyAV open a video whose title, or whatever else is said of it, is no UTF-8."""
    return {} if int(pyav.partition(".")[0]) >= _FIRST_ALWAYS_LENIENT else {"metadata_errors": "replace"}


class _Container:
    """A file, a stream or a device."""

    def __init__(self, source: str, kind: Kind, timeouts_s: tuple[float, float]) -> None:
        self._kind = kind
        self._name = redacted(source)
        self._silence_s = timeouts_s[1]
        if kind is Kind.FILE:
            require_content(source)
        self._container = self._opened(source, timeouts_s)
        self._packets = self._video_packets()

    def step(self) -> list[av.VideoFrame] | None:
        """See `Connection.step`."""
        try:
            packet = next(self._packets, None)
        except av.BlockingIOError:
            return self._poll()
        except av.FFmpegError as error:
            complaint = self._complaint(error, self._silence_s)
        else:
            return None if packet is None else _decoded(packet)
        raise unreadable(*complaint)

    def close(self) -> None:
        """See `Connection.close`: the decoder goes with its last reference, and its pictures with it."""
        self._packets = iter(())
        self._container.close()

    # Errors are raised after the `except` block: libav's own hold the address and must not be chained to ours. What is
    # kept meanwhile is words, not the error: a local name for it would be a cycle that keeps the decoder's pictures.

    def _opened(self, source: str, timeouts_s: tuple[float, float]) -> InputContainer:
        url, form, options = _how_to_open(source, self._kind)
        try:
            container: InputContainer = av.open(
                url, format=form, options=options, timeout=timeouts_s, **lenient(av.__version__)
            )
        except av.FFmpegError as error:
            complaint = self._complaint(error, timeouts_s[0])
            if self._kind is Kind.FILE:
                complaint = f"{self._name} is not a video or picture ({error.strerror})", "name one that plays"
        else:
            return container
        raise unreadable(*complaint)

    def _video_packets(self) -> "Iterator[Packet[VideoStream]]":
        stream = next(iter(self._container.streams.video), None)
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise unreadable(f"{self._name} holds no video that can be decoded", "name a video or a picture")
        stream.codec_context.thread_count = 1
        return self._container.demux(video=0)

    def _poll(self) -> list[av.VideoFrame]:
        """No picture yet, a little later: a device may be asked for one, but its driver cannot be interrupted."""
        time.sleep(_POLL_S)
        self._packets = self._container.demux(video=0)  # the old generator ended with the error
        return []

    def _complaint(self, error: av.FFmpegError, waited_s: float) -> tuple[str, str]:
        """What is wrong, and what to do."""
        if isinstance(error, (av.ExitError, av.TimeoutError)):
            return f"{self._name} did not answer for {waited_s:.1f} s", "check its power, cable and network"
        if isinstance(error, (av.HTTPUnauthorizedError, av.HTTPForbiddenError)):
            return f"{self._name} refused the user name or password", "correct them in the camera's address"
        return f"{self._name} cannot be read: {error.strerror}", "check address, power, cable and network"


def _decoded(packet: "Packet[VideoStream]") -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except av.FFmpegError as error:
        raise UndecodableError(error.strerror) from None


class _Folder:
    """Picture files in the order of their names, one picture each."""

    def __init__(self, source: str) -> None:
        try:
            files = sorted(path for path in Path(source).iterdir() if path.suffix.lower() in _PICTURE_SUFFIXES)
        except OSError as error:
            raise unreadable(f"the folder {source} cannot be read: {error.strerror}", "check its permissions") from None
        if not files:
            raise unreadable(f"the folder {source} holds no pictures", "put .jpg or .png files into it")
        self._files = iter(files)

    def step(self) -> list[av.VideoFrame] | None:
        """See `Connection.step`: one file. Of a file with several pictures the first counts."""
        path = next(self._files, None)
        if path is None:
            return None
        try:
            photo = _Container(str(path), Kind.FILE, (SILENCE_S, SILENCE_S))
            try:
                return (photo.step() or [])[:1]
            finally:
                photo.close()
        except DeviceError as error:
            raise UndecodableError(error.message) from None

    def close(self) -> None:
        """Nothing is kept open between two files."""


def _how_to_open(source: str, kind: Kind) -> tuple[str, str | None, dict[str, str]]:
    """URL, format and options for libav."""
    if kind is Kind.STREAM:
        # Measured at 720p over loopback: 45 ms from server to picture instead of 126 ms. One microsecond of analysis:
        # 0 would mean libav's default of 5 s, and a quiet 25 fps scene would take 1.1 s to open instead of 0.16 s.
        options = {
            "rtsp_transport": "tcp",
            "allowed_media_types": "video",
            "fflags": "nobuffer",
            "flags": "low_delay",
            "probesize": "32768",
            "analyzeduration": "1",
        }
        return source, "rtsp", options
    if kind is Kind.DEVICE:
        # 4 is AVFMT_FLAG_NONBLOCK, which has no name here: see `_poll`.
        return source, "video4linux2,v4l2", {"fflags": "nobuffer+4", "analyzeduration": "1"}
    # "file:" so that a colon in a name is no protocol; no patterns, so that a percent sign is none either.
    options = {"protocol_whitelist": "file", "format_whitelist": _FILE_FORMATS, "pattern_type": "none"}
    return f"file:{source}", None, options


def require_content(source: str) -> None:
    """DeviceError unless there is such a file, with something in it. Nothing of it is opened."""
    name = redacted(source)
    try:
        size_bytes = Path(source).stat().st_size if Path(source).is_file() else None
    except (OSError, ValueError):
        size_bytes = None
    if size_bytes is None:
        raise unreadable(f"there is no file {name}", "name an rtsp:// address, a /dev/video device, a file or a folder")
    if size_bytes == 0:
        raise unreadable(f"the file {name} is empty", "name a video or a picture")


def unreadable(message: str, fix: str) -> DeviceError:
    """The one error of a source that does not deliver."""
    return DeviceError(Reason.SOURCE_UNREADABLE, message, fix=fix)
