"""`lfr-edge deployment`: load, unlock, watch and end a deployment on this van, and make prekeys. Asks the daemon."""

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import BinaryIO, cast

from lfr_edge.clock import SystemClock
from lfr_edge.config import VanConfig, load_config
from lfr_edge.crypto import key_files
from lfr_edge.crypto.key_files import PUBLIC
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import new_file, require_new
from lfr_edge.messages.clock import ClockStatement, sign_statement
from lfr_edge.van.control import Order, Reply, ask

_LARGEST_SHARE = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="prekeys|load|unlock|status|stop|clock-recover|clock-sign"
    )
    prekeys = actions.add_parser("prekeys", help="make one-time keys for the watchlist office")
    prekeys.add_argument("--count", type=int, default=20, help="how many (default: %(default)s)")
    prekeys.add_argument("--out", type=Path, required=True, metavar="FILE", help="signed public halves, for the office")
    load = actions.add_parser("load", help="take a deployment package; the van sees when its window opens")
    load.add_argument("package", type=Path, metavar="NAME.lfrd")
    unlock = actions.add_parser("unlock", help="give the share that the order asks for: typed, scanned, or a file")
    unlock.add_argument(
        "--share", type=Path, metavar="FILE", help="a file, or - for standard input; without it, it is asked for"
    )
    status = actions.add_parser("status", help="what the van does, and why it is blind")
    stop = actions.add_parser("stop", help="end the deployment: blind at once, list and key erased")
    stop.add_argument("--revoke", action="store_true", help="delete undelivered alerts too")
    recover = actions.add_parser("clock-recover", help="after a clock that ran ahead: ask for a challenge, then answer")
    recover.add_argument("--statement", type=Path, metavar="FILE", help="the signed answer; without it, the question")
    _add_signing(actions.add_parser("clock-sign", help="officers: state the time to a van, with the keys of orders"))
    for action in (prekeys, load, unlock, status, stop, recover):
        action.add_argument("--config", type=Path, default=Path("/etc/lfr-edge/van.toml"), help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Ask, and say what the van answered."""
    if options.action == "clock-sign":
        return _sign_clock(options)
    config, _ = load_config(options.config)
    if options.action == "clock-recover":
        return _recover_clock(config, options.statement)
    if options.action == "prekeys":
        return _prekeys(config, options.count, options.out)
    if options.action == "unlock":
        reply = _unlock(config, options.share)
        print("this is the order's share")
    elif options.action == "load":
        reply = ask(config.control, Order(do="load"), options.package)
    elif options.action == "stop":
        reply = ask(config.control, Order(do="revoke" if options.revoke else "stop"))
    else:
        reply = ask(config.control, Order(do="status"))
    _show(reply)
    return 0


def _unlock(config: VanConfig, share: Path | None) -> Reply:
    """In an anonymous file, which is gone when both ends have closed it."""
    secret = SealIdentity.from_secret(_given_share(share)).secret
    with os.fdopen(os.memfd_create("share"), "w+b", buffering=0) as file:
        file.write(secret.encode("ascii"))
        return ask(config.control, Order(do="unlock"), cast(BinaryIO, file))


def _given_share(share: Path | None) -> str:
    """What the person gave, without comments."""
    if share is None:
        return getpass.getpass("unlock share: ")
    content = sys.stdin.read(_LARGEST_SHARE) if str(share) == "-" else key_files.read(share).decode("ascii", "replace")
    return "".join(line for line in content.splitlines() if not line.startswith("#"))


def _prekeys(config: VanConfig, count: int, out: Path) -> int:
    if not 1 <= count <= 1000:
        raise ConfigError(Reason.VALUE_INVALID, f"--count {count} is not 1 to 1000", fix="give 1 to 1000")
    require_new(out)
    with new_file(out, mode=PUBLIC) as file:  # opened first: prekeys whose public halves are lost are of no use
        reply = ask(config.control, Order(do="prekeys", count=count))
        file.write(reply.content.encode("ascii"))
    print(f"{out}: {count} prekeys, for the watchlist office; {reply.prekeys} in stock")
    return 0


def _add_signing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", type=Path, action="append", required=True, metavar="FILE", help="repeatable")
    for name in ("force", "van", "challenge", "by", "why"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")


def _sign_clock(options: argparse.Namespace) -> int:
    """This machine's time is what is signed: the officer is shown it."""
    now = SystemClock().utc()
    fields = {name: getattr(options, name) for name in ("force", "van", "challenge", "by", "why")}
    statement = ClockStatement.of_options(**fields, at=now)
    keys = [SigningKey.from_file(path, _ask_passphrase) for path in options.key]
    with new_file(options.out, mode=PUBLIC) as file:
        file.write(sign_statement(statement, keys))
    print(f"{options.out}: it is {now:%Y-%m-%d %H:%M:%S} UTC, says {options.by} to {options.van}")
    return 0


def _ask_passphrase(path: Path) -> str:
    return getpass.getpass(f"passphrase of {path}: ")


def _recover_clock(config: VanConfig, statement: Path | None) -> int:
    if statement is None:
        reply = ask(config.control, Order(do="clock-challenge"))
        print(f"challenge {reply.content}: have a statement signed within the hour (lfr-edge deployment clock-sign)")
        return 0
    content = key_files.read(statement).decode("ascii", errors="replace")
    _show(ask(config.control, Order(do="clock-recover", content=content)))
    return 0


def _show(reply: Reply) -> None:
    blind = f", blind: {', '.join(reply.blind)}" if reply.blind else ""
    print(f"{reply.state}{blind}")
    if reply.order is not None and reply.not_before is not None and reply.not_after is not None:
        gone = ", erased" if reply.erased else ""
        print(f"  order    {reply.order}{gone}")
        print(f"  window   {reply.not_before:%Y-%m-%d %H:%M} to {reply.not_after:%Y-%m-%d %H:%M} UTC")
    print(f"  prekeys  {reply.prekeys}")
