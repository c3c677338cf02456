"""The control socket: who may ask is decided by the kernel's word, what is asked is checked, files come along."""

import grp
import os
import pwd
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

from lfr_edge.errors import ConfigError, PolicyError, Reason
from lfr_edge.van import control as controlling
from lfr_edge.van.control import ControlSocket, Order, Peer, Reply, ask, may_command


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory(prefix="lfr-") as folder:  # short: a socket's path has 107 bytes
        yield Path(folder) / "control.sock"


def serve(path: Path, asked: list[object]) -> ControlSocket:
    def handle(order: Order, peer: Peer, file: int | None) -> Reply:
        asked.append((order.do, peer.uid, None if file is None else os.read(file, 100)))
        if order.do == "revoke":
            raise PolicyError(Reason.NO_ORDER, "nothing is loaded", fix="load something")
        return Reply(done=True, state="idle")

    control = ControlSocket(path, handle)
    control.start()
    return control


def test_a_request_is_answered_and_only_owner_and_group_reach_the_socket(path: Path) -> None:
    asked: list[object] = []
    control = serve(path, asked)
    assert ask(path, Order(do="status")) == Reply(done=True, state="idle")
    assert asked == [("status", os.geteuid(), None)]
    assert stat.S_IMODE(path.stat().st_mode) in {0o600, 0o660}
    control.close()
    assert not path.exists()


def test_a_package_comes_as_an_open_file(path: Path, tmp_path: Path) -> None:
    asked: list[object] = []
    (tmp_path / "x.lfrd").write_bytes(b"content")
    control = serve(path, asked)
    ask(path, Order(do="load"), tmp_path / "x.lfrd")
    assert asked == [("load", os.geteuid(), b"content")]
    with pytest.raises(ConfigError, match=r"absent\.lfrd cannot be read"):
        ask(path, Order(do="load"), tmp_path / "absent.lfrd")
    control.close()  # waits for the requests to end
    opened = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]  # noqa: PTH115
    assert not any(name.endswith("x.lfrd") for name in opened)


def test_a_refusal_arrives_with_reason_and_fix(path: Path) -> None:
    control = serve(path, [])
    with pytest.raises(PolicyError) as refused:
        ask(path, Order(do="revoke"))
    assert (refused.value.reason, refused.value.fix) == (Reason.NO_ORDER, "load something")
    control.close()


@pytest.mark.parametrize("line", [b"{}\n", b"not json\n", b'{"do":"reboot"}\n', b'{"do":"stop","x":1}\n', b"\xff\n"])
def test_nonsense_is_refused_and_never_handled(path: Path, line: bytes) -> None:
    asked: list[object] = []
    control = serve(path, asked)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(line)
        reply = Reply.from_untrusted(client.recv(65536))
    assert (reply.done, reply.reason, asked) == (False, Reason.MALFORMED.value, [])
    control.close()


def test_a_silent_caller_keeps_nobody_waiting(path: Path) -> None:
    control = serve(path, [])
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        assert ask(path, Order(do="status")).done
    control.close()


def named(monkeypatch: pytest.MonkeyPatch, user: str, group: str) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name=user))
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_name=group))


def test_root_the_own_user_and_the_group_may_command_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 500)
    monkeypatch.setattr(os, "getegid", lambda: 600)
    named(monkeypatch, "lfr-edge", "lfr-edge")
    assert may_command(0, {0})
    assert may_command(500, {1})
    assert may_command(1000, {1000, 600})
    assert not may_command(1000, {1000, 601})


def test_a_group_that_the_daemon_shares_with_everybody_commands_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, "van", "users")
    assert not may_command(os.geteuid() + 1000, {os.getegid()})
    for group, mode in (("users", 0o600), ("van", 0o660)):
        named(monkeypatch, "van", group)
        control = serve(path, [])
        assert stat.S_IMODE(path.stat().st_mode) == mode
        control.close()


def test_a_large_package_is_waited_for_longer_than_another_answer(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_: Order, __: Peer, ___: int | None) -> Reply:
        time.sleep(0.5)
        return Reply(done=True)

    monkeypatch.setattr(controlling, "_ANSWER_S", 0.1)
    (tmp_path / "x.lfrd").write_bytes(b"content")
    control = ControlSocket(path, slow)
    control.start()
    assert ask(path, Order(do="load"), tmp_path / "x.lfrd").done
    with pytest.raises(ConfigError, match="no van answers"):
        ask(path, Order(do="status"))
    control.close()


def test_no_daemon_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no van answers"):
        ask(tmp_path / "absent" / "control.sock", Order(do="status"))
