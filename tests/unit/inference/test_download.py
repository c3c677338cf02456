import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lfr_edge.errors import DeviceError, Reason
from lfr_edge.inference.download import download

CONTENT = bytes(range(256)) * 1000
Answer = Callable[[BaseHTTPRequestHandler], None]


def announce(handler: BaseHTTPRequestHandler, length: int | None) -> None:
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def whole(handler: BaseHTTPRequestHandler) -> None:
    announce(handler, len(CONTENT))
    handler.wfile.write(CONTENT)


def unannounced(handler: BaseHTTPRequestHandler) -> None:
    announce(handler, None)
    handler.wfile.write(CONTENT)


def dropped(handler: BaseHTTPRequestHandler) -> None:
    announce(handler, len(CONTENT))
    handler.wfile.write(CONTENT[:1000])


def endless(handler: BaseHTTPRequestHandler) -> None:
    announce(handler, None)
    try:
        while True:
            handler.wfile.write(CONTENT)
    except OSError:
        pass  # the client hung up, as it should


def stalled(handler: BaseHTTPRequestHandler) -> None:
    announce(handler, len(CONTENT))
    handler.wfile.write(CONTENT[:1000])
    time.sleep(1)


def dripping(handler: BaseHTTPRequestHandler) -> None:
    announce(handler, len(CONTENT))
    try:
        for index in range(100):
            handler.wfile.write(CONTENT[index : index + 1])
            handler.wfile.flush()
            time.sleep(0.02)
    except OSError:
        pass  # the client hung up, as it should


def missing(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"this is not HTTP\r\n\r\n")


def redirected(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/whole")
    handler.end_headers()


def redirected_away(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://192.0.2.1/whole")
    handler.end_headers()


def redirected_to_a_file(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.end_headers()


ANSWERS: dict[str, Answer] = {
    f"/{answer.__name__}": answer
    for answer in (
        whole,
        unannounced,
        dropped,
        endless,
        stalled,
        dripping,
        missing,
        nonsense,
        redirected,
        redirected_away,
        redirected_to_a_file,
    )
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ANSWERS[self.path](self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.mark.parametrize("path", ["/whole", "/unannounced", "/redirected"])
def test_a_file_arrives_whole(server: str, path: str) -> None:
    assert download(server + path, max_bytes=len(CONTENT), loopback_http=True) == CONTENT


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/whole", "256000 bytes announced, at most 255999 expected"),
        ("/endless", "more than the expected 255999 bytes"),
        ("/missing", "the server answered 404"),
        ("/nonsense", "the connection broke"),
        ("/redirected_away", "a redirection away from https"),
        ("/redirected_to_a_file", "is not allowed"),
    ],
)
def test_a_bad_answer_is_refused_saying_why(server: str, path: str, why: str) -> None:
    with pytest.raises(DeviceError, match=why) as failed:
        download(server + path, max_bytes=len(CONTENT) - 1, loopback_http=True)
    assert failed.value.reason is Reason.DOWNLOAD_FAILED


def test_a_dropped_connection_is_noticed(server: str) -> None:
    with pytest.raises(DeviceError, match="broke after 1000 of 256000 bytes"):
        download(server + "/dropped", max_bytes=len(CONTENT), loopback_http=True)


def test_a_server_that_stops_sending_is_left_alone(server: str) -> None:
    with pytest.raises(DeviceError, match=r"nothing arrived for 0\.2 s"):
        download(server + "/stalled", max_bytes=len(CONTENT), idle_s=0.2, loopback_http=True)


def test_a_server_that_sends_drop_by_drop_is_left_alone(server: str) -> None:
    with pytest.raises(DeviceError, match="it took too long"):
        download(server + "/dripping", max_bytes=len(CONTENT), total_s=0.3, loopback_http=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "http://example.com/x", "file:///etc/passwd", "ftp://a/b", "x"])
def test_only_https_is_taken(url: str) -> None:
    with pytest.raises(DeviceError, match="only https is taken"):
        download(url, max_bytes=1)


def test_plain_http_from_elsewhere_is_refused_even_in_tests() -> None:
    with pytest.raises(DeviceError, match="only https is taken"):
        download("http://192.0.2.1/x", max_bytes=1, loopback_http=True)


def test_an_unreachable_server_is_reported() -> None:
    with pytest.raises(DeviceError, match="not reachable"):
        download("http://127.0.0.1:9/x", max_bytes=1, loopback_http=True)
