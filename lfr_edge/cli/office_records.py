"""`office registry`, `receipt` and `close`: who was listed when, and the end of a deployment at the office."""

import argparse
import hashlib
import re
from collections.abc import Sequence
from datetime import date, datetime

from lfr_edge.audit.events import Consulted
from lfr_edge.audit.office_events import ReceiptFiled, WorkspaceClosed
from lfr_edge.cli.office_keys import read_of_van
from lfr_edge.clock import SystemClock
from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.messages.erasure import open_receipt
from lfr_edge.office.desk import Journal, read_desk
from lfr_edge.office.registry import FiledReceipt, Registry, SealedList

_NEVER_SEALED = "never-sealed"  # stands for the order in the log


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    return {"registry": _registry, "receipt": _receipt, "close": _close}[args.action](args)


def _registry(args: argparse.Namespace) -> int:
    desk = read_desk(args.office)
    journal = desk.journal(SystemClock(), by=args.by, why=args.why)
    day = _day(args.day)
    journal.record(Consulted(by=journal.by, why=journal.why, what="registry", entry=_entry_id(args.entry)))
    lists = Registry(desk.registry, journal).lists_with(args.entry, day)
    for line in lists:
        window = f"{line.not_before:%Y-%m-%d %H:%M} to {line.not_after:%Y-%m-%d %H:%M} UTC"
        print(f"{args.entry}: order {line.order}, {window}, van {', '.join(line.vans)}, list {line.watchlist_sha256}")
    if not lists:
        print(f"{args.entry}: on no list{'' if day is None else f' of {day}'}")
    return 0


def _receipt(args: argparse.Namespace) -> int:
    desk = read_desk(args.office)
    clock = SystemClock()
    journal = desk.journal(clock, by=args.by, why=args.why)
    registry = Registry(desk.registry, journal)
    receipt, content = read_of_van(args.receipt, args.van_key, desk.force, open_receipt)
    sealed = registry.sealed_list(receipt.order, receipt.van, receipt.watchlist_sha256)
    if sealed is None:
        raise UntrustedInputError(
            Reason.DIGEST_MISMATCH,
            f"{args.receipt} is for a list that this office did not seal to van '{receipt.van}'",
            fix="give it to the office that sealed order " + receipt.order,
        )
    digest = hashlib.sha256(content).hexdigest()
    registry.append(
        FiledReceipt(at=clock.utc(), order=receipt.order, van=receipt.van, receipt_sha256=digest, level=receipt.level),
        ReceiptFiled(
            by=journal.by,
            why=journal.why,
            order=receipt.order,
            van=receipt.van,
            receipt_sha256=digest,
            level=receipt.level,
        ),
    )
    print(f"van {receipt.van} erased order {receipt.order} at {receipt.erased_at:%Y-%m-%d %H:%M} UTC: {receipt.level}")
    if receipt.erased_at < sealed.not_before:
        print(
            f"  that is before its window, which begins at {sealed.not_before:%Y-%m-%d %H:%M} UTC: either it was\n"
            f"  ended before that (the van says '{receipt.cause}'), or the van's clock was in doubt, and the list was\n"
            "  erased later than this"
        )
    for unverified in receipt.unverified:
        print(f"  it could not verify: {unverified}")
    return 0


def _close(args: argparse.Namespace) -> int:
    from lfr_edge.office import workspace  # noqa: PLC0415 - needs the extra 'office'; the registry does not

    desk = read_desk(args.office)
    clock = SystemClock()
    journal = desk.journal(clock, by=args.by, why=args.why)
    registry = Registry(desk.registry, journal)
    if not args.work.exists():
        raise ConfigError(
            Reason.FILE_MISSING,
            f"there is no {args.work}: it was closed before, or it was never made",
            fix=f"nothing is left of what was closed, and the log says it:"
            f" lfr-edge audit show {journal.path} --event workspace-closed",
        )
    now = clock.utc()
    with workspace.locked(args.work):  # an enrolment that runs would write into what is erased
        running, owed = _erase(args, registry, journal, now)
    print(f"{args.work}: erased")
    for order in running:
        print(f"order {order}: its window has not ended")
    for order, vans in owed.items():
        for van in vans:
            print(f"order {order}: van {van} still owes its erasure receipt")
    return 0


def _erase(
    args: argparse.Namespace, registry: Registry, journal: Journal, now: datetime
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Erase the workspace and record it; returns orders whose window runs, and which vans owe a receipt for which."""
    from lfr_edge.office import workspace  # noqa: PLC0415 - as above

    sealed = registry.lists_of(workspace.workspace_id(args.work))
    running = _require_over(sealed, now, args)
    lists = {line.order: len(line.entries) for line in sealed}
    owed = {order: tuple(registry.receipts_owed(order)) for order in lists}
    journal.check()
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
    return running, owed


def _require_over(sealed: Sequence[SealedList], now: datetime, args: argparse.Namespace) -> list[str]:
    """Orders whose window has not ended. PolicyError if there are any, unless the person says yes to that."""
    ends = {line.order: f"{line.not_after:%Y-%m-%d %H:%M} UTC" for line in sealed if now < line.not_after}
    running = [f"{order} (until {end})" for order, end in ends.items()]
    if running and not args.yes:
        raise PolicyError(
            Reason.WINDOW_RUNNING,
            f"the window of an order has not ended: {', '.join(running)}",
            fix="close it then; --yes erases now, and the list cannot be sealed again",
        )
    return running


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
