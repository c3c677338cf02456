"""The local control socket: who may tell this van what to do, and how they say it.

One request and one reply for each connection, each a line of JSON; a package comes as an open file beside its request,
so that the caller's rights decide what may be read. The kernel says who calls (SO_PEERCRED): root, the daemon's own
user, and members of its group if that is its own. There is no password, and nothing comes from the network.
"""

import grp
import logging
import os
import pwd
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import Field

from lfr_edge.errors import ConfigError, DeviceError, LfrEdgeError, PolicyError, Reason
from lfr_edge.messages.fields import Identifier, Message, Text, UtcTime

_LOG = logging.getLogger(__name__)

_LARGEST_BYTES = 1 << 20
_PATIENCE_S = 5.0  # with a peer that says nothing, and of a client whose daemon starts again
_ANSWER_S = 30.0
_LOADED_S = 900.0  # a large package from a slow stick, checked on a slow board
_LAST_ANSWERS_S = 2.0
_SO_PEERGROUPS = 59  # socket(7); Python has no name for it
_MOST_GROUPS = 256  # who is in more gets an error; Python's getsockopt ends there
_PEER = struct.Struct("3i")


class Order(Message):
    """What somebody asks."""

    do: Literal["status", "load", "stop", "revoke", "prekeys", "clock-challenge", "clock-recover", "unlock"]
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many prekeys."""
    content: str = ""
    """A statement of the time."""


class Reply(Message):
    """What the van says to it."""

    done: bool
    message: str = ""
    fix: str = ""
    reason: Identifier | None = None
    state: Identifier | None = None
    blind: tuple[Identifier, ...] = ()
    """Each reason why the van does not see."""
    order: Identifier | None = None
    not_before: UtcTime | None = None
    not_after: UtcTime | None = None
    erased: bool = False
    """Is nothing of the ended deployment left."""
    prekeys: int | None = None
    """How many are left."""
    content: str = ""
    """A file for whoever asked."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    uid: int
    name: Text

    @property
    def actor(self) -> str:
        """For the log."""
        return f"account:{self.name}"


Handler = Callable[[Order, Peer, int | None], Reply]
"""Answers a request; the number is the file that came with it, closed afterwards."""


class ControlSocket:
    """Listens at `path` from `start` to `close`; each request is handled on a thread of its own."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._listening = _listen(path)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._requests: list[threading.Thread] = []

    def start(self) -> None:
        """Accept requests from now on."""
        self._thread.start()

    def close(self) -> None:
        """Accept no more; whoever is being answered gets the answer, if it is soon."""
        self._path.unlink(missing_ok=True)
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept(); close() alone does not
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)
        self._listening.close()
        deadline = time.monotonic() + _LAST_ANSWERS_S
        for request in self._requests:
            request.join(max(deadline - time.monotonic(), 0))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # shut down
                return
            request = threading.Thread(target=self._answer, args=(connection,), name="control-request", daemon=True)
            request.start()
            self._requests = [*(one for one in self._requests if one.is_alive()), request]

    def _answer(self, connection: socket.socket) -> None:
        files: list[int] = []
        try:
            with connection:
                connection.settimeout(_PATIENCE_S)
                connection.sendall(self._reply_to(connection, files).to_json() + b"\n")
        except OSError as error:
            _LOG.warning("a control request was not answered: %s", error.strerror or error)
        except Exception:  # noqa: BLE001 - the top of a thread
            _LOG.exception("a control request failed")
        finally:
            for file in files:
                os.close(file)

    def _reply_to(self, connection: socket.socket, files: list[int]) -> Reply:
        try:
            peer = _peer(connection)
            line = _receive(connection, files)
            return self._handler(Order.from_untrusted(line), peer, files[0] if files else None)
        except LfrEdgeError as error:
            return Reply(done=False, reason=error.reason.value, message=error.message, fix=error.fix)


def ask(path: Path, order: Order, package: Path | BinaryIO | None = None) -> Reply:
    """Ask the daemon behind `path`. ConfigError if none answers; a refusal is raised as it was there.

    The package, or any open file, goes with the order.
    """
    try:
        with _connected(path) as connection:
            connection.settimeout(_ANSWER_S if package is None else _LOADED_S)
            line = order.to_json() + b"\n"
            if package is None:
                connection.sendall(line)
            else:
                with _opened(package) if isinstance(package, Path) else package as file:
                    socket.send_fds(connection, [line], [file.fileno()])
            reply = Reply.from_untrusted(_receive(connection, []))
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING,
            f"no van answers at {path}: {error.strerror or 'it takes too long'}",
            fix="start the daemon (lfr-edge run), and ask as root, its user, or a member of its group",
        ) from error
    if not reply.done:
        raise PolicyError(Reason(reply.reason), reply.message, fix=reply.fix)
    return reply


def _opened(package: Path) -> BinaryIO:
    try:
        return package.open("rb")
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"the package {package} cannot be read: {error.strerror}", fix="check the path"
        ) from error


def _connected(path: Path) -> socket.socket:
    """Tries for some seconds: the daemon may just be starting itself again."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_ANSWER_S)
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > deadline or not path.parent.is_dir():
                raise
            time.sleep(0.05)
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a process before this one; the log's lock keeps a second one away
        listening.bind(str(path))
        path.chmod(0o600 if _own_group() is None else 0o660)
        listening.listen()
    except OSError as error:
        listening.close()
        why = error.strerror or error  # a path too long has no strerror
        raise ConfigError(
            Reason.FILE_UNWRITABLE, f"the control socket {path} cannot be made: {why}", fix="name another as 'control'"
        ) from error
    return listening


def _peer(connection: socket.socket) -> Peer:
    """Who calls. PolicyError unless they may."""
    _, uid, gid = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS * 4)
    groups = {gid, *(number for (number,) in struct.iter_unpack("I", packed))}
    if not may_command(uid, groups):
        raise PolicyError(
            Reason.NOT_PERMITTED, "this user may not command the van", fix="ask as root or as a member of its group"
        )
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Peer(uid, name)


def may_command(uid: int, groups: set[int]) -> bool:
    """Root, the daemon's own user, its own group."""
    return uid in {0, os.geteuid()} or _own_group() in groups


def _own_group() -> int | None:
    """The daemon's group if it is named as its user is: in a shared one, such as `users`, is everybody."""
    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return None
    return os.getegid() if group == user else None


def _receive(connection: socket.socket, files: list[int]) -> bytes:
    """One line; what files came with it are added to `files`."""
    line = b""
    while not line.endswith(b"\n"):
        chunk, came, _, _ = socket.recv_fds(connection, 1 << 16, 1)
        files += came
        line += chunk
        if not chunk or len(line) > _LARGEST_BYTES:
            raise DeviceError(Reason.TRUNCATED, "the other end said nothing that is one line", fix="ask again")
    return line
