"""`lfr-edge audit`: verify a log, read it, prove one entry of it to others."""

import argparse
import json
import sys
from datetime import datetime, timezone
from itertools import chain, islice
from pathlib import Path

from lfr_edge.audit.checkpoint import split_notes
from lfr_edge.audit.entries import Entry
from lfr_edge.audit.events import EVENTS
from lfr_edge.audit.proofs import LARGEST_PROOF_BYTES, check_inclusion, prove_inclusion
from lfr_edge.audit.reader import open_log, unverified_entries, verify_log
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import PUBLIC, new_file

_KINDS = sorted(event.model_fields["kind"].default for event in EVENTS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    log = argparse.ArgumentParser(add_help=False)
    log.add_argument("log", type=Path, metavar="LOG", help="the log file, or a copy of it")
    key = argparse.ArgumentParser(add_help=False)
    key.add_argument("--key", type=Path, required=True, metavar="PUBLIC", help="the public key of the log's machine")
    actions = parser.add_subparsers(dest="action", required=True, metavar="verify|show|prove|check")

    verify = actions.add_parser("verify", parents=[log, key], help="has any entry been changed, dropped or added?")
    verify.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        metavar="OLD",
        help="a file of one or more checkpoints kept from before; repeatable",
    )
    verify.add_argument("--keep", type=Path, metavar="FILE", help="write the last checkpoint there, for the next time")
    verify.set_defaults(act=_verify)

    show = actions.add_parser("show", parents=[log], help="print entries; verifies nothing")
    show.add_argument("--since", type=_time, metavar="TIME", help="from then on (UTC): 2026-06-20 or 2026-06-20T09:30")
    show.add_argument("--until", type=_time, metavar="TIME", help="before then (UTC)")
    show.add_argument("--event", action="append", choices=_KINDS, metavar="KIND", help="only these; repeatable")
    show.add_argument("--json", action="store_true", help="entries as they are in the log, one a line")
    show.set_defaults(act=_show)

    prove = actions.add_parser("prove", parents=[log, key], help="write a proof that one entry is in the log")
    prove.add_argument("--entry", type=int, required=True, metavar="N", help="its index, as `show` prints it")
    prove.add_argument("--out", type=Path, required=True, metavar="FILE", help="such as entry-12.tlog-proof")
    prove.set_defaults(act=_prove)

    check = actions.add_parser("check", parents=[key], help="check such a proof; needs no log")
    check.add_argument("proof", type=Path, metavar="PROOF")
    check.set_defaults(act=_check)


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 0 when all is well. LfrEdgeError otherwise."""
    args.act(args)
    return 0


def _verify(args: argparse.Namespace) -> None:
    checkpoints = [note for path in args.checkpoint for note in _notes(path)]
    verified = verify_log(args.log, VerifyKey.from_file(args.key), checkpoints)
    print(f"{args.log}: every entry is as it was written")
    print(f"  log      {verified.origin}")
    print(f"  entries  {verified.entries}")
    for name, entry in (("first", verified.first), ("last", verified.last)):
        print(f"  {name:7}  {entry.at:%Y-%m-%d %H:%M:%S} UTC, {entry.event.kind}")
    if verified.times_back:
        print(f"  clock    set back {verified.times_back} time(s): times before and after do not follow each other")
    if checkpoints:
        print(f"  older    it agrees with {len(checkpoints)} checkpoint(s) kept from before")
    else:
        print("  older    not compared: entries cut off the end show only against a checkpoint kept elsewhere")
    if args.keep is not None:
        with new_file(args.keep, mode=PUBLIC) as file:
            file.write(verified.note)
        print(f"{args.keep}: keep it where this log's machine cannot reach it")


def _notes(path: Path) -> list[bytes]:
    """The checkpoints in a file; what is none is the last, to be refused with the reason."""
    with open_log(path) as file:
        notes, rest = split_notes(file.read())
    return notes if notes and not rest else [*notes, rest]


def _show(args: argparse.Namespace) -> None:
    with open_log(args.log) as file:
        entries = unverified_entries(file)
        first = [*islice(entries, 1)]  # or it is no log
        print("not verified: use `lfr-edge audit verify`", file=sys.stderr)  # before: who reads may leave early
        for entry in chain(first, entries):
            if _wanted(entry, args):
                print(entry.to_canonical().decode() if args.json else _line(entry))


def _wanted(entry: Entry, args: argparse.Namespace) -> bool:
    return (
        (args.since is None or entry.at >= args.since)
        and (args.until is None or entry.at < args.until)
        and (args.event is None or entry.event.kind in args.event)
    )


def _line(entry: Entry) -> str:
    """Index, time, event, who, why, then the event's own fields."""
    fields = json.loads(entry.to_canonical())["event"]
    kind, by, why = fields.pop("kind"), fields.pop("by"), fields.pop("why")
    rest = " ".join(f"{name}={_value(value)}" for name, value in fields.items())
    return (
        f"{entry.index:6}  {entry.at:%Y-%m-%d %H:%M:%S}  {kind:18}  {by}  {json.dumps(why, ensure_ascii=False)}  {rest}"
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)


def _prove(args: argparse.Namespace) -> None:
    proof = prove_inclusion(args.log, VerifyKey.from_file(args.key), args.entry)
    with new_file(args.out, mode=PUBLIC) as file:
        file.write(proof)
    print(f"{args.out}: proves entry {args.entry} to whoever has the log's public key")


def _check(args: argparse.Namespace) -> None:
    key = VerifyKey.from_file(args.key)
    with open_log(args.proof) as file:
        proved = check_inclusion(file.read(LARGEST_PROOF_BYTES + 1), key)
    checkpoint = proved.checkpoint
    print(f"{args.proof}: this is in the log '{checkpoint.origin}', which had {checkpoint.size} entries then")
    print(_line(proved.entry))


def _time(text: str) -> datetime:
    """A time in UTC."""
    try:
        time = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        time = None
    if time is None or time.tzinfo is not None:
        raise ConfigError(
            Reason.VALUE_INVALID, f"'{text}' is not a time in UTC", fix="write it as 2026-06-20 or 2026-06-20T09:30"
        )
    return time.replace(tzinfo=timezone.utc)
