"""A real mosquitto on this machine's loopback, for demos and tests: mutual TLS, an access list, nothing on disk.

In a deployment the broker is the force's own; `docs/alerts.md` says what it must allow.
"""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lfr_edge.crypto.throwaway import ThrowawayCa
from lfr_edge.errors import ConfigError, DeviceError, Reason
from lfr_edge.messages.alert import LARGEST_CIPHERTEXT_BYTES
from lfr_edge.transport.tls import Broker, TlsFiles

_START_S = 10.0
_STOP_S = 5.0
# Between finding a free port and mosquitto taking it, somebody else may.
_ATTEMPTS = 3
_HOST = "127.0.0.1"
_ROOM_READS = ("alert", "test-pass", "status", "health", "erasure", "command-result")


class LocalBroker:
    """Runs while its `with` block does. `directory` must exist; certificates, access list and log go there."""

    def __init__(
        self, directory: Path, *, force: str, vans: Sequence[str], control_rooms: Sequence[str] = ("control-room",)
    ) -> None:
        self._program = _find_mosquitto()
        self._directory = directory
        self._ca = ThrowawayCa(directory)
        self._server_files = self._ca.issue_server()
        self._clients: dict[str, TlsFiles] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.log_file = directory / "mosquitto.log"
        (directory / "access.list").write_text(_access_list(force, vans, control_rooms), encoding="ascii")

    @property
    def host(self) -> str:
        """Always the loopback."""
        return _HOST

    @property
    def port(self) -> int:
        """The port; it stays the same after `stop` and `start`."""
        return self._port

    def client_files(self, client_id: str) -> TlsFiles:
        """The client's certificate, made when first asked for. One that is not on the access list may do nothing."""
        if client_id not in self._clients:
            self._clients[client_id] = TlsFiles(self._ca.ca_file, *self._ca.issue_client(client_id))
        return self._clients[client_id]

    def broker(self, client_id: str) -> Broker:
        """What a session of that client connects to."""
        return Broker(self.host, self.port, self.client_files(client_id))

    def start(self) -> None:
        """Start mosquitto and return once it answers with our certificate; DeviceError with its log if it does not."""
        ports = [self._port] if self._port else [_free_port() for _ in range(_ATTEMPTS)]
        for port in ports:
            self._port = port
            self._launch()
            if self._answers():
                return
            self.stop()
        last_words = self.log_file.read_text(errors="replace").splitlines()[-3:] if self.log_file.exists() else []
        raise DeviceError(
            Reason.BROKER_UNREACHABLE,
            f"mosquitto did not start: {' | '.join(last_words) or 'it said nothing'}",
            fix=f"see {self.log_file}",
        )

    def stop(self) -> None:
        """End mosquitto, by force if it must be. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> "LocalBroker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self) -> None:
        """Run mosquitto with a configuration for the present port."""
        certificate, key = self._server_files
        lines = [
            "persistence false",
            f"log_dest file {self.log_file}",
            "set_tcp_nodelay true",
            f"message_size_limit {LARGEST_CIPHERTEXT_BYTES}",
            f"acl_file {self._directory / 'access.list'}",
            f"listener {self._port} {_HOST}",
            "protocol mqtt",
            f"cafile {self._ca.ca_file}",
            f"certfile {certificate}",
            f"keyfile {key}",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous false",
        ]
        if os.geteuid() == 0:
            lines.insert(0, "user root")  # else it drops to a user that cannot read the key
        configuration = self._directory / "mosquitto.conf"
        configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process = subprocess.Popen(
            [self._program, "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _answers(self) -> bool:
        """Whether a server with our certificate answers before mosquitto dies or the time is up."""
        context = ssl.create_default_context(cafile=self._ca.ca_file)
        deadline = time.monotonic() + _START_S
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((_HOST, self._port), timeout=1) as connection,
                context.wrap_socket(connection, server_hostname=_HOST),
            ):
                return True
            time.sleep(0.02)
        return False


def _find_mosquitto() -> str:
    """Debian installs it in /usr/sbin, which an ordinary user's PATH lacks."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise ConfigError(
            Reason.DEPENDENCY_MISSING, "mosquitto is not installed", fix="run: sudo apt-get install mosquitto"
        )
    return program


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _access_list(force: str, vans: Sequence[str], control_rooms: Sequence[str]) -> str:
    """The ACL: a van speaks for itself only; a control room reads, and acknowledges."""
    lines: list[str] = []
    for van in vans:
        own = f"lfr/v1/{force}/{van}"
        lines += [f"user {van}", f"topic write {own}/#", f"topic read {own}/ack/+", f"topic read {own}/command"]
    for room in control_rooms:
        readable = [f"topic read lfr/v1/{force}/+/{channel}" for channel in _ROOM_READS]
        writable = [f"topic write lfr/v1/{force}/+/{channel}" for channel in ("ack/+", "command")]
        lines += [f"user {room}", *readable, *writable]
    return "\n".join(lines) + "\n"
