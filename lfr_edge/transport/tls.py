"""Mutual TLS towards a broker: the files, the context, and what a failed connection means in plain words."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from lfr_edge.errors import ConfigError, DeviceError, Reason


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the CA that issued the broker's certificate, and this client's certificate and private key."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and what to prove oneself with."""

    host: str
    port: int
    tls: TlsFiles

    def __str__(self) -> str:
        """For messages."""
        return f"{self.host}:{self.port}"


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho would leave it open until it is collected."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - ssl's signature
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """A context that shows our certificate and believes only the given CA; ConfigError names the file that is wrong."""
    try:
        for path in (files.ca, files.cert, files.key):
            path.open("rb").close()  # ssl's own error would not say which file it could not read
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING,
            f"{error.filename} cannot be read: {error.strerror}",
            fix="check the path and its permissions",
        ) from error
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except ssl.SSLError as error:
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{files.ca} holds no CA certificate", fix="give the broker's CA in PEM"
        ) from error
    try:
        # An encrypted key would make OpenSSL ask on the terminal: an empty passphrase makes it fail instead.
        context.load_cert_chain(files.cert, files.key, password="")
    except ssl.SSLError as error:
        raise ConfigError(
            Reason.FILE_MALFORMED,
            f"{files.cert} and {files.key} are not a certificate and its unencrypted key",
            fix="give the two files that were issued together",
        ) from error
    context.sslsocket_class = _ClosingSocket
    return context


def explain(error: OSError, broker: Broker) -> DeviceError:
    """The one clear error for a connection that did not come about."""
    reason = Reason.BROKER_UNREACHABLE
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = Reason.BROKER_REFUSED
        what = f"the broker at {broker} does not show a certificate of our CA: {error.verify_message}"
        fix = f"give the CA that issued it instead of {broker.tls.ca}, and the host name that is in it"
    elif isinstance(error, ssl.SSLError):
        what = f"what listens at {broker} does not agree on TLS with us ({error.reason or 'no reason given'})"
        fix = "give the broker's TLS port, usually 8883"
    elif isinstance(error, ConnectionRefusedError):
        what, fix = f"nothing listens at {broker}", "start the broker or correct host and port"
    elif isinstance(error, socket.gaierror):
        what, fix = f"the host name in {broker} is not known", "correct it, or check DNS"
    elif isinstance(error, TimeoutError):
        what, fix = f"{broker} does not answer", "check host, port, and the firewall between"
    else:
        what, fix = f"{broker} cannot be reached: {error.strerror or error}", "check the network"
    return DeviceError(reason, what, fix=fix)
