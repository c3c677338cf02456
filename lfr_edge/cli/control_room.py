"""`lfr-edge control-room`: make its keys, watch alerts as they come, end a van's deployment."""

import argparse
import contextlib
import re
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lfr_edge.cli.key_folder import new_key_files
from lfr_edge.clock import SystemClock
from lfr_edge.crypto import key_files
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey, VerifyKey
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.messages.fields import IDENTIFIER

if TYPE_CHECKING:
    from lfr_edge.transport.mqtt import MqttSession


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="keygen|watch|command-key|stop")
    keygen = actions.add_parser("keygen", help="make the key that alerts are sealed to")
    keygen.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="for control-room.key (keep) and .recipient (give)"
    )

    watch = actions.add_parser(
        "watch", help="verify, open and print alerts and test passes as they come; acknowledges nothing"
    )
    _add_broker(watch)
    watch.add_argument("--identity", type=Path, required=True, metavar="FILE", help="control-room.key of keygen")
    watch.add_argument(
        "--van-key", action="append", required=True, metavar="VAN=FILE", help="a van's public key; repeatable"
    )
    watch.add_argument("--force", metavar="ID", help="only this force's vans")
    watch.add_argument("--json", action="store_true", help="one JSON object a line, without pictures")
    watch.add_argument("--save", type=Path, metavar="DIR", help="keep each alert with its pictures in DIR/ID/")
    watch.add_argument(
        "--witness", type=Path, metavar="DIR", help="keep each van's checkpoints in DIR/FORCE/VAN.checkpoints"
    )

    command_key = actions.add_parser("command-key", help="make the key that signs commands to vans")
    command_key.add_argument("--out", type=Path, required=True, metavar="DIR", help="for command.key and command.pub")
    stop = actions.add_parser("stop", help="end a van's deployment from here; sent again until the van answers")
    _add_broker(stop)
    stop.add_argument("--command-key", type=Path, required=True, metavar="FILE", help="command.key of command-key")
    stop.add_argument("--force", required=True, metavar="ID")
    stop.add_argument("--van", required=True, metavar="ID")
    stop.add_argument("--order", required=True, metavar="ID", help="which deployment")
    stop.add_argument("--by", required=True, metavar="NAME", help="who decided it; goes into the van's log")
    stop.add_argument("--why", required=True, metavar="TEXT")
    stop.add_argument("--revoke", action="store_true", help="have undelivered alerts deleted too")
    stop.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help="default: %(default)s")


def _add_broker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--broker", required=True, metavar="HOST:PORT")
    parser.add_argument("--ca", type=Path, required=True, metavar="FILE", help="the CA of the broker's certificate")
    parser.add_argument("--cert", type=Path, required=True, metavar="FILE", help="this client's certificate")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="and its private key")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; watching ends with Ctrl-C and status 0, a stop that is refused with 1."""
    if args.action == "keygen":
        return _keygen(args.out)
    if args.action == "command-key":
        return _command_key(args.out)
    return _stop(args) if args.action == "stop" else _watch(args)


def _keygen(folder: Path) -> int:
    with new_key_files(folder, ["control-room.key", "control-room.recipient"]) as (private, public):
        identity = SealIdentity.generate()
        identity.to_file(private)
        key_files.write_new(public, f"{identity.recipient}\n".encode("ascii"), mode=key_files.PUBLIC)
    print(f"{private}: opens alerts; keep it here\n{public}: give it to the watchlist office, for its orders")
    return 0


def _command_key(folder: Path) -> int:
    with new_key_files(folder, ["command.key", "command.pub"]) as (private, public):
        key = SigningKey.generate()
        key.to_file(private)
        key.public.to_file(public)
    print(f"{private}: ends deployments; keep it here\n{public}: for every van's trusted_commanders")
    return 0


def _stop(args: argparse.Namespace) -> int:
    from lfr_edge.control_room.stopping import stop  # noqa: PLC0415 - keygen does not need the bus
    from lfr_edge.messages.command import StopCommand, sign_command  # noqa: PLC0415
    from lfr_edge.transport.mqtt import MqttSession  # noqa: PLC0415
    from lfr_edge.transport.tls import Broker, TlsFiles  # noqa: PLC0415

    host, port = _address(args.broker)
    broker = Broker(host, port, TlsFiles(args.ca, args.cert, args.key))
    fields = {name: getattr(args, name) for name in ("force", "van", "order", "revoke", "by", "why")}
    command = sign_command(StopCommand.of_options(**fields), SigningKey.from_file(args.command_key))
    with MqttSession(broker, f"stop-{secrets.token_hex(6)}") as session:
        result = stop(session, command, force=args.force, van=args.van, patience_s=args.patience)
    print(f"{args.van}: {result.outcome}{f', {result.reason}' if result.reason else ''}")
    if result.loaded is not None:
        print(f"  but it holds order '{result.loaded}', which goes on; to end that too: --order {result.loaded}")
    return 0 if result.outcome == "done" else 1


def _watch(args: argparse.Namespace) -> int:
    # keygen needs neither the bus nor rich.
    from rich.console import Console  # noqa: PLC0415

    from lfr_edge.control_room import display, saving  # noqa: PLC0415
    from lfr_edge.control_room.watch import ReceivedAlert, Watch  # noqa: PLC0415
    from lfr_edge.control_room.witness import Witness  # noqa: PLC0415
    from lfr_edge.transport.mqtt import MqttSession  # noqa: PLC0415
    from lfr_edge.transport.tls import Broker, TlsFiles  # noqa: PLC0415

    host, port = _address(args.broker)
    broker = Broker(host, port, TlsFiles(args.ca, args.cert, args.key))
    identity, van_keys, force = SealIdentity.from_file(args.identity), _van_keys(args.van_key), _force(args.force)
    if args.save is not None:
        saving.prepare(args.save)
    terminal = Console(highlight=False)

    def show(event: display.Event) -> None:
        if args.save is not None and isinstance(event, ReceivedAlert):
            saving.save(event, args.save)
        if args.json:
            text = display.json_line(event) + "\n"
        else:
            with terminal.capture() as captured:
                terminal.print(display.block(event))
            text = captured.get()
        print(text, end="", flush=True)  # not by rich: when nobody reads any more, it would end this thread only

    clock = SystemClock()
    watch = Watch(identity, van_keys, show, clock)
    witness = Witness(args.witness, van_keys, show, clock) if args.witness is not None else None
    # Any number of people may watch with one certificate: a client id used twice would throw the other one out.
    with _until_interrupted(), MqttSession(broker, f"watch-{secrets.token_hex(6)}") as session:
        watch.subscribe(session, force=force)
        if witness is not None:
            witness.subscribe(session, force=force)
        _say(f"watching alerts of {', '.join(sorted(van_keys))} at {broker}; Ctrl-C ends")
        _follow(session)
    checkpoints = f", checkpoints kept: {witness.kept}" if witness is not None else ""
    passed = f"test passes: {watch.test_passes}"
    _say(f"alerts: {watch.shown}, {passed}, repeated: {watch.repeated}, refused: {watch.refused}{checkpoints}")
    return 0


def _follow(session: "MqttSession") -> None:
    """Say when the connection is lost and found again, until interrupted."""
    connected = True
    while True:
        session.wait(1)
        if session.connected is not connected:
            connected = session.connected
            _say("connected again" if connected else f"{session.problem}; trying again")


@contextlib.contextmanager
def _until_interrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM: both are a normal end."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _address(text: str) -> tuple[str, int]:
    """HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ConfigError(
            Reason.VALUE_INVALID, f"--broker {text} is no address", fix="give HOST:PORT, such as broker.example:8883"
        )
    return host.strip("[]"), int(port)


def _force(text: str | None) -> str | None:
    """An id, or nothing: anything else would become part of a subscription."""
    if text is not None and re.fullmatch(IDENTIFIER, text) is None:
        raise ConfigError(Reason.VALUE_INVALID, f"--force {text} is no id", fix="use a-z, 0-9 and -")
    return text


def _van_keys(texts: Sequence[str]) -> dict[str, VerifyKey]:
    """VAN=FILE, each van once."""
    keys: dict[str, VerifyKey] = {}
    for text in texts:
        van, separator, path = text.partition("=")
        if not separator or re.fullmatch(IDENTIFIER, van) is None or van in keys:
            raise ConfigError(
                Reason.VALUE_INVALID,
                f"--van-key {text} does not name a van and its key",
                fix="give VAN=FILE, each van once, such as van-1=van-1.pub",
            )
        keys[van] = VerifyKey.from_file(Path(path))
    return keys


def _say(text: str) -> None:
    """To the person, not into the data."""
    print(text, file=sys.stderr, flush=True)
