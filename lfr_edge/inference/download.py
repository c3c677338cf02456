"""One bounded download over HTTPS. The caller checks the hash.

Bounded in size, in idle time and in all: a server that sends too much, or one byte a minute, is left alone. Redirects
are followed to HTTPS only. There is no resuming: the files have a few megabytes.
"""

import http.client
import time
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import urlsplit

from lfr_edge.errors import DeviceError, Reason

_CHUNK_BYTES = 1 << 16
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def download(
    url: str, *, max_bytes: int, idle_s: float = 20, total_s: float = 600, loopback_http: bool = False
) -> bytes:
    """What the URL holds, at most `max_bytes`. DeviceError (DOWNLOAD_FAILED) saying why if it cannot be had.

    `loopback_http` is for tests: it also takes plain HTTP from this machine itself.
    """
    if not _is_allowed(url, loopback_http=loopback_http):
        raise _failed("only https is taken")
    opener = urllib.request.build_opener(_HttpsRedirects(loopback_http=loopback_http))
    deadline = time.monotonic() + total_s
    try:
        with opener.open(url, timeout=idle_s) as response:
            announced = response.length  # None where the server does not say
            if announced is not None and announced > max_bytes:
                raise _failed(f"{announced} bytes announced, at most {max_bytes} expected")
            return _read_bounded(response, max_bytes, deadline, announced)
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _failed(f"not reachable ({error.reason})") from error
    except TimeoutError as error:
        raise _failed(f"nothing arrived for {idle_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _failed(f"the connection broke ({error})") from error


def _read_bounded(response: http.client.HTTPResponse, max_bytes: int, deadline: float, announced: int | None) -> bytes:
    content = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > max_bytes:
            raise _failed(f"more than the expected {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise _failed("it took too long")
    if announced is not None and len(content) != announced:
        raise _failed(f"the connection broke after {len(content)} of {announced} bytes")
    return bytes(content)


def _is_allowed(url: str, *, loopback_http: bool) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (loopback_http and parts.scheme == "http" and parts.hostname in _LOOPBACK)


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """urllib's redirects, refused where they leave HTTPS."""

    def __init__(self, *, loopback_http: bool) -> None:
        self._loopback_http = loopback_http

    def redirect_request(  # urllib's signature
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request to go on with; HTTPError where it would not be HTTPS."""
        if not _is_allowed(newurl, loopback_http=self._loopback_http):
            raise urllib.error.HTTPError(newurl, code, "and a redirection away from https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _failed(why: str) -> DeviceError:
    return DeviceError(Reason.DOWNLOAD_FAILED, why, fix="check the connection, or name a folder with --from")
