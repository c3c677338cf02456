"""A small RTSP server: one H.264 clip over TCP to one client at a time, with a password, silences and sudden deaths."""

import base64
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.support.clips import H264

_PAYLOAD_BYTES = 1400


class RtspServer:
    """Plays `pictures` (RGB) in a loop at `fps` to whoever asks, until told otherwise. A context manager."""

    def __init__(
        self, pictures: list[NDArray[Any]], *, fps: float = 25.0, password: str | None = None, port: int = 0
    ) -> None:
        self.silent = threading.Event()  # keeps the connection and sends nothing
        self.plays = 0  # connections that got as far as pictures
        self.sent = 0  # pictures
        self._units = encoded(pictures)
        self._pause_s = 1 / fps
        self._password = password
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(0.1)
        self.port = self._listener.getsockname()[1]
        self._client: socket.socket | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def show(self, pictures: list[NDArray[Any]]) -> None:
        """From now on these, to the client that is connected too."""
        self._units = encoded(pictures)

    def kill_client(self) -> None:
        """Break the connection in the middle of whatever is being sent."""
        if self._client is not None:
            self._client.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Refuse everybody from now on."""
        self._over.set()
        self._listener.close()
        with _broken_pipes_are_fine():
            self.kill_client()
        self._thread.join(5)

    def __enter__(self) -> "RtspServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                self._client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._client.settimeout(5)
            with _broken_pipes_are_fine(), self._client:
                if self._handshake(self._client):
                    self._play(self._client)

    def _handshake(self, client: socket.socket) -> bool:
        """Answer requests up to PLAY. False if the client went away."""
        buffer = b""
        while not self._over.is_set():
            while b"\r\n\r\n" not in buffer:
                received = client.recv(4096)
                if not received:
                    return False
                buffer += received
            request, buffer = buffer.split(b"\r\n\r\n", 1)
            method = request.split(b" ", 1)[0]
            client.sendall(self._answer(method, request))
            if method == b"PLAY":
                return True
        return False

    def _answer(self, method: bytes, request: bytes) -> bytes:
        number = re.search(rb"CSeq: *(\d+)", request)
        head = b"CSeq: " + (number[1] if number else b"0") + b"\r\n"
        if self._password is not None and method != b"OPTIONS":
            token = base64.b64encode(f"camera:{self._password}".encode())
            if b"Authorization: Basic " + token not in request:
                return b"RTSP/1.0 401 Unauthorized\r\n" + head + b'WWW-Authenticate: Basic realm="camera"\r\n\r\n'
        body = b""
        if method == b"OPTIONS":
            head += b"Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == b"DESCRIBE":
            body = _SDP
            head += b"Content-Type: application/sdp\r\nContent-Length: %d\r\n" % len(body)
        elif method == b"SETUP":
            head += b"Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        else:
            head += b"Session: 1\r\n"
        return b"RTSP/1.0 200 OK\r\n" + head + b"\r\n" + body

    def _play(self, client: socket.socket) -> None:
        self.plays += 1
        sequence = 0
        started = time.monotonic()
        index = 0
        while not self._over.is_set():
            if self.silent.is_set():
                time.sleep(0.02)
                continue
            units = self._units
            stamp = round((time.monotonic() - started) * 90_000)
            for payload, last in _payloads(units[index % len(units)]):
                header = struct.pack(">BBHII", 0x80, 96 | (0x80 if last else 0), sequence & 0xFFFF, stamp, 1)
                sequence += 1
                client.sendall(b"$\0" + struct.pack(">H", len(header) + len(payload)) + header + payload)
            index += 1
            self.sent += 1
            time.sleep(self._pause_s)


_SDP = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=clip\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\n"
    b"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
)


def encoded(pictures: list[NDArray[Any]]) -> list[bytes]:
    """One H.264 access unit each, all key pictures with their parameter sets."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = pictures[0].shape[:2]
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = 25
    encoder.options = {**H264, "g": "1"}
    units = []
    for number, picture in enumerate([*pictures, None]):
        frame = None
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = number
        units += [bytes(packet) for packet in encoder.encode(frame)]
    return units


def _payloads(unit: bytes) -> Iterator[tuple[bytes, bool]]:
    """RTP payloads of an access unit (RFC 6184, 5.6 and 5.8), and whether each is the last."""
    nals = [nal for nal in re.split(rb"\x00\x00\x00?\x01", unit) if nal]
    for nal in nals:
        last_nal = nal is nals[-1]
        if len(nal) <= _PAYLOAD_BYTES:
            yield nal, last_nal
            continue
        parts = [nal[i : i + _PAYLOAD_BYTES] for i in range(1, len(nal), _PAYLOAD_BYTES)]
        for part in parts:
            first, last = part is parts[0], part is parts[-1]
            kind = (nal[0] & 0x1F) | (0x80 if first else 0) | (0x40 if last else 0)
            yield bytes([(nal[0] & 0xE0) | 28, kind]) + part, last_nal and last


@contextmanager
def _broken_pipes_are_fine() -> Iterator[None]:
    try:
        yield
    except OSError:
        return
