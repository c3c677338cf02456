"""`lfr-edge deployment`: load, watch and end a deployment on this van, and make prekeys. Asks the running daemon."""

import argparse
from pathlib import Path

from lfr_edge.config import VanConfig, load_config
from lfr_edge.crypto.key_files import PUBLIC
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import new_file
from lfr_edge.van.control import Order, Reply, ask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="prekeys|load|status|stop")
    prekeys = actions.add_parser("prekeys", help="make one-time keys for the watchlist office")
    prekeys.add_argument("--count", type=int, default=20, help="how many (default: %(default)s)")
    prekeys.add_argument("--out", type=Path, required=True, metavar="FILE", help="signed public halves, for the office")
    load = actions.add_parser("load", help="take a deployment package; the van sees when its window opens")
    load.add_argument("package", type=Path, metavar="NAME.lfrd")
    status = actions.add_parser("status", help="what the van does, and why it is blind")
    stop = actions.add_parser("stop", help="end the deployment: blind at once, list and key erased")
    stop.add_argument("--revoke", action="store_true", help="delete undelivered alerts too")
    for action in (prekeys, load, status, stop):
        action.add_argument("--config", type=Path, default=Path("/etc/lfr-edge/van.toml"), help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Ask, and say what the van answered."""
    config, _ = load_config(options.config)
    if options.action == "prekeys":
        return _prekeys(config, options.count, options.out)
    if options.action == "load":
        reply = ask(config.control, Order(do="load"), options.package)
    elif options.action == "stop":
        reply = ask(config.control, Order(do="revoke" if options.revoke else "stop"))
    else:
        reply = ask(config.control, Order(do="status"))
    _show(reply)
    return 0


def _prekeys(config: VanConfig, count: int, out: Path) -> int:
    if not 1 <= count <= 1000:
        raise ConfigError(Reason.VALUE_INVALID, f"--count {count} is not 1 to 1000", fix="make fewer at a time")
    reply = ask(config.control, Order(do="prekeys", count=count))
    with new_file(out, mode=PUBLIC) as file:
        file.write(reply.content.encode("ascii"))
    print(f"{out}: {count} prekeys, for the watchlist office; {reply.prekeys} in stock")
    return 0


def _show(reply: Reply) -> None:
    print(f"{reply.state}{f', blind: {reply.blind}' if reply.blind else ''}")
    if reply.order is not None and reply.not_before is not None and reply.not_after is not None:
        gone = ", erased" if reply.erased else ""
        print(f"  order    {reply.order}{gone}")
        print(f"  window   {reply.not_before:%Y-%m-%d %H:%M} to {reply.not_after:%Y-%m-%d %H:%M} UTC")
    print(f"  prekeys  {reply.prekeys}")
