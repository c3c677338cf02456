"""`lfr-edge office`: what can be asked of the watchlist office. Each group of commands is a module of its own."""

import argparse
import importlib
from pathlib import Path

from lfr_edge.inference.manifest import DEFAULT_MANIFESTS
from lfr_edge.inference.store import DEFAULT_STORE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_keys(actions)
    _add_enrolment(actions)
    _add_orders(actions)
    _add_records(actions)


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 0 when done, 2 if something has to be mended first."""
    return int(importlib.import_module(args.module).run(args))


def _add_keys(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    setup = actions.add_parser("setup", help="once: make the office's file, the key of its log and of its workspaces")
    setup.add_argument("--force", required=True, metavar="ID", help="as in the vans' configuration")
    setup.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for the office")
    keygen = actions.add_parser("keygen", help="once for each officer: make a key that signs orders")
    keygen.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="for order.key (keep) and order.pub (give)"
    )
    for action in (setup, keygen):
        action.add_argument("--no-passphrase", action="store_true", help="leave private keys unlocked on the disk")
        action.set_defaults(module="lfr_edge.cli.office_keys")


def _add_enrolment(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    enrol = actions.add_parser("enrol", parents=[_log_arguments()], help="make references of photos; repeatable")
    enrol.add_argument("--photos", type=Path, required=True, metavar="DIR")
    enrol.add_argument("--list", type=Path, required=True, metavar="LIST.csv", help="who, which photos, and why")
    enrol.add_argument("--engine-set", required=True, metavar="NAME", help="the one that the van has")
    enrol.add_argument("--store", type=Path, default=DEFAULT_STORE, help="where the models are kept (%(default)s)")
    enrol.add_argument("--out", type=Path, required=True, metavar="WORK", help="a folder for the references")
    enrol.add_argument("--report", type=Path, metavar="DIR", help="a new folder for the quality report")
    alike = actions.add_parser("look-alikes", parents=[_log_arguments()], help="compare all entries with each other")
    alike.add_argument("work", type=Path, metavar="WORK", help="the folder that enrol made")
    alike.add_argument("--score", type=float, help="warn from here; without it, the engine set's floor")
    for action in (enrol, alike):
        action.add_argument("--manifests", type=Path, default=DEFAULT_MANIFESTS, help="engine sets (%(default)s)")
        action.set_defaults(module="lfr_edge.cli.office_enrol")


def _add_orders(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    seal = actions.add_parser("seal", parents=[_log_arguments()], help="seal the package of an order for one van")
    seal.add_argument("work", type=Path, metavar="WORK", help="the folder that enrol made")
    seal.add_argument("--order", type=Path, required=True, metavar="ORDER.toml")
    seal.add_argument(
        "--key", type=Path, action="append", default=[], metavar="FILE", help="sign with an order.key; repeatable"
    )
    van = seal.add_mutually_exclusive_group(required=True)
    van.add_argument("--prekeys", type=Path, metavar="FILE", help="the van's stock of one-time keys; one is used up")
    van.add_argument("--van-recipient", action="append", metavar="VAN=age1...", help="a van's lasting key")
    seal.add_argument("--van-key", metavar="VAN=PUBLIC", help="the van's alert.pub, which signed its prekeys")
    seal.add_argument(
        "--recipient", action="append", required=True, metavar="age1...", help="a control room; repeatable"
    )
    seal.add_argument("--out", type=Path, required=True, metavar="NAME.lfrd")
    seal.add_argument(
        "--share", type=Path, metavar="FILE", help="a new file for the unlock share, where the order asks for one"
    )
    seal.add_argument("--manifests", type=Path, default=DEFAULT_MANIFESTS, help="engine sets (%(default)s)")
    seal.set_defaults(module="lfr_edge.cli.office_seal")

    package = argparse.ArgumentParser(add_help=False)
    package.add_argument("package", type=Path, metavar="PACKAGE", help="NAME.lfrd, or its order.json alone")
    package.set_defaults(module="lfr_edge.cli.office_sign")
    sign = actions.add_parser(
        "sign", parents=[package, _log_arguments()], help="read an order, then add your signature"
    )
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="your order.key")
    sign.add_argument("--yes", action="store_true", help="sign without asking")
    merge = actions.add_parser("merge", parents=[package], help="bring signatures together that were made on copies")
    merge.add_argument("copies", type=Path, nargs="+", metavar="COPY", help="signed copies of it or of its order.json")
    verify = actions.add_parser("verify", parents=[package], help="who signed it, and is it whole?")
    for action in (merge, verify):
        action.add_argument(
            "--signer", type=Path, action="append", required=True, metavar="PUBLIC", help="an order.pub; repeatable"
        )
    verify.add_argument("--signatures", type=int, default=1, metavar="K", help="how many must have signed (1)")
    inspect = actions.add_parser("inspect", parents=[package], help="show all of a package that is not secret")
    inspect.add_argument("--json", action="store_true", help="the order as it was signed")


def _add_records(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    registry = actions.add_parser("registry", parents=[_log_arguments()], help="which lists was an id on?")
    registry.add_argument("--entry", required=True, metavar="ID", help="an id of the list")
    registry.add_argument("--day", metavar="YYYY-MM-DD", help="only lists whose window touches this day (UTC)")
    receipt = actions.add_parser("receipt", parents=[_log_arguments()], help="file a van's erasure receipt")
    receipt.add_argument("receipt", type=Path, metavar="FILE")
    receipt.add_argument("--van-key", required=True, metavar="VAN=PUBLIC", help="the van's alert.pub")
    close = actions.add_parser("close", parents=[_log_arguments()], help="erase references when a deployment is over")
    close.add_argument("work", type=Path, metavar="WORK", help="the folder that enrol made")
    close.add_argument("--yes", action="store_true", help="even if the window of an order has not ended")
    for action in (registry, receipt, close):
        action.set_defaults(module="lfr_edge.cli.office_records")


def _log_arguments() -> argparse.ArgumentParser:
    """What every command needs that writes to the log."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--office", type=Path, default=Path("office.toml"), metavar="FILE", help="the office's file (%(default)s)"
    )
    parser.add_argument("--by", metavar="NAME", help="who does this; without it, person in the office's file")
    parser.add_argument("--why", metavar="TEXT", help="the reason, for the log")
    return parser
