"""`office registry` and `office close`: who was listed when, and the end of a deployment at the office."""

import argparse
import re
from datetime import date

from lfr_edge.audit.events import Consulted, WorkspaceClosed
from lfr_edge.clock import SystemClock
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.office.desk import read_desk
from lfr_edge.office.registry import Registry

_NEVER_SEALED = "never-sealed"  # stands for the order in the log


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    return _registry(args) if args.action == "registry" else _close(args)


def _registry(args: argparse.Namespace) -> int:
    desk = read_desk(args.office)
    journal = desk.journal(SystemClock(), by=args.by, why=args.why)
    day = _day(args.day)
    journal.record(Consulted(by=journal.by, why=journal.why, what="registry", entry=_entry_id(args.entry)))
    lists = Registry(desk.registry).lists_with(args.entry, day)
    for line in lists:
        window = f"{line.not_before:%Y-%m-%d %H:%M} to {line.not_after:%Y-%m-%d %H:%M} UTC"
        print(f"{args.entry}: order {line.order}, {window}, van {', '.join(line.vans)}, list {line.watchlist_sha256}")
    if not lists:
        print(f"{args.entry}: on no list{'' if day is None else f' of {day}'}")
    return 0


def _close(args: argparse.Namespace) -> int:
    from lfr_edge.office import workspace  # noqa: PLC0415 - needs the extra 'office'; the registry does not

    desk = read_desk(args.office)
    journal = desk.journal(SystemClock(), by=args.by, why=args.why)
    registry = Registry(desk.registry)
    lists = {line.order: len(line.entries) for line in registry.lists_of(workspace.workspace_id(args.work))}
    owed = {order: tuple(registry.receipts_owed(order)) for order in lists}
    workspace.destroy_key(args.work)
    # Between the key's end and the folder's: if power fails here, closing it again finds the orders still.
    journal.record(
        *(
            WorkspaceClosed(
                by=journal.by, why=journal.why, order=order, entries=entries, receipts_owed=owed.get(order, ())
            )
            for order, entries in (lists or {_NEVER_SEALED: 0}).items()
        )
    )
    workspace.remove(args.work)
    print(f"{args.work}: erased")
    for order, vans in owed.items():
        for van in vans:
            print(f"order {order}: van {van} still owes its erasure receipt")
    return 0


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(Reason.VALUE_INVALID, f"'{text}' is not a day", fix="write it as 2026-06-20") from error


def _entry_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ConfigError(
            Reason.VALUE_INVALID, f"'{text}' is not an id of a list", fix="use letters, digits, '.', '_' and '-'"
        )
    return text
