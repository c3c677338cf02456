"""`office sign`, `merge`, `verify` and `inspect`: an order read, signed and checked, by each signer on their own.

Nothing here opens the list: it needs neither engines nor the keys of references.
"""

import argparse
import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lfr_edge.audit.office_events import OrderSigned
from lfr_edge.cli.office_keys import ask_passphrase
from lfr_edge.clock import SystemClock
from lfr_edge.crypto.signing import (
    Purpose,
    SigningKey,
    VerifyKey,
    add_signature,
    merge_signatures,
    signers,
    unverified_payload,
)
from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.files import PUBLIC, new_file
from lfr_edge.messages.order import Order, open_order
from lfr_edge.office.desk import read_desk
from lfr_edge.office.order_file import require_ahead
from lfr_edge.watchlist.package import Package, open_package, replace_order

_LARGEST_ORDER_BYTES = 1 << 20
_KEY_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Read:
    """An order's envelope, and whether it came in a package whose members are the order's."""

    envelope: bytes
    order: Order  # what is to be signed; whether anybody has is another question
    in_package: bool


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    act = {"sign": _sign, "merge": _merge, "verify": _verify, "inspect": _inspect}[args.action]
    return act(args, _read(args.package))


def _read(path: Path) -> _Read:
    """The order of a package whose members are those of the order, or an order alone; an error names the file."""
    try:
        with path.open("rb") as file:
            start = file.read(_LARGEST_ORDER_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="check the path"
        ) from error
    try:
        if start.startswith(b"{") and len(start) <= _LARGEST_ORDER_BYTES:
            return _Read(start, _order_of(start), in_package=False)
        with open_package(path) as package:
            order = _order_of(package.order)
            _check_members(order, package)
            return _Read(package.order, order, in_package=True)
    except UntrustedInputError as error:
        raise UntrustedInputError(error.reason, f"{path}: {error.message}", fix=error.fix) from error


def _check_members(order: Order, package: Package) -> None:
    pairs = (
        ("watchlist.age", order.watchlist_sha256, package.watchlist_sha256),
        ("pictures.bin", order.pictures_sha256, package.pictures_sha256),
    )
    for member, ordered, found in pairs:
        if ordered != found:
            raise UntrustedInputError(
                Reason.DIGEST_MISMATCH,
                f"{member} is not the one that its order names",
                fix="get an undamaged copy of the package",
            )


def _order_of(envelope: bytes) -> Order:
    return Order.from_untrusted(unverified_payload(envelope, Purpose.ORDER))


def _sign(args: argparse.Namespace, read: _Read) -> int:
    clock = SystemClock()
    journal = read_desk(args.office).journal(clock, by=args.by, why=args.why)
    require_ahead(f"order '{read.order.id}'", read.order.not_after, clock.utc())
    show_order(read.order)
    key = SigningKey.from_file(args.key, ask_passphrase)
    if not args.yes and not _agreed(read.order):
        print("not signed", file=sys.stderr)
        return 2
    if signers(read.envelope, Purpose.ORDER, [key.public]):
        raise PolicyError(
            Reason.SIGNATURE_INVALID,
            f"{args.package} is signed by this key already",
            fix="let another officer sign: the same key counts once",
        )
    signed = add_signature(read.envelope, Purpose.ORDER, key)
    digest = hashlib.sha256(signed).hexdigest()
    journal.record(
        OrderSigned(by=journal.by, why=journal.why, order=read.order.id, order_sha256=digest, key_id=key.public.key_id)
    )
    _replace(args.package, signed, in_package=read.in_package)
    print(f"{args.package}: signed by {key.public.key_id}")
    return 0


def _agreed(order: Order) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(
            Reason.VALUE_INVALID, "there is no terminal to ask on", fix="read the order, then sign with --yes"
        )
    return input(f"type the order's id to sign it ({order.id}): ").strip() == order.id


def _replace(path: Path, envelope: bytes, *, in_package: bool) -> None:
    """Put the envelope where the old one was; the file is whole at every moment."""
    if in_package:
        replace_order(path, envelope)
        return
    with new_file(path, mode=PUBLIC, replace=True) as file:
        file.write(envelope)


def _merge(args: argparse.Namespace, read: _Read) -> int:
    envelopes = [read.envelope]
    for path in args.copies:
        copy = _read(path)
        if copy.order != read.order:
            raise UntrustedInputError(
                Reason.DIGEST_MISMATCH,
                f"{path} is not a copy of the order in {args.package}",
                fix="give copies of one order, each signed by somebody else",
            )
        envelopes.append(copy.envelope)
    merged = merge_signatures(envelopes, Purpose.ORDER, [VerifyKey.from_file(path) for path in args.signer])
    kept, named = _key_ids(merged), set().union(*map(_key_ids, envelopes))
    _replace(args.package, merged, in_package=read.in_package)
    print(f"{args.package}: {len(kept)} valid signature(s)")
    if named > kept:
        print(f"  {len(named - kept)} left out: false, or of keys that were not given with --signer")
    return 0


def _key_ids(envelope: bytes) -> set[str]:
    return {signature["keyid"] for signature in json.loads(envelope)["signatures"]}


def _verify(args: argparse.Namespace, read: _Read) -> int:
    keys = [(path, VerifyKey.from_file(path)) for path in args.signer]
    trusted = [key for _, key in keys]
    open_order(read.envelope, trusted, threshold=args.signatures)
    found = {key.key_id for key in signers(read.envelope, Purpose.ORDER, trusted)}
    print(f"{args.package}: order {read.order.id} carries {len(found)} valid signature(s), {args.signatures} needed")
    for path, key in keys:
        print(f"  {'signed' if key.key_id in found else 'absent'}  {key.key_id}  {path}")
    print("  members   as signed" if read.in_package else "  members   not here: this is the order alone")
    return 0


def _inspect(args: argparse.Namespace, read: _Read) -> int:
    if args.json:
        print(read.order.model_dump_json(indent=2))
        return 0
    print(f"{args.package}: nothing here is verified, use `lfr-edge office verify`", file=sys.stderr)
    show_order(read.order)
    signatures = json.loads(read.envelope)["signatures"]
    for signature in signatures:
        known = _KEY_ID.fullmatch(signature["keyid"])  # anything else is somebody's text, for our terminal
        print(f"  signature    of key {signature['keyid'] if known else 'without a proper id'}")
    if not signatures:
        print("  signature    none yet")
    return 0


def show_order(order: Order) -> None:
    """All that the order says, for a person who is to answer for it."""
    rows = [
        ("order", order.id + (" (DEMO)" if order.demo else "")),
        ("replaces", order.replaces or "no other order"),
        ("force", order.force),
        ("purpose", order.purpose),
        ("legal basis", order.legal_basis),
        ("place", order.place),
        ("authorised", order.authorising_officer),
        ("window", f"{order.not_before:%Y-%m-%d %H:%M} to {order.not_after:%Y-%m-%d %H:%M} UTC"),
        *(("van", f"{van.id}, cameras {', '.join(van.cameras)}, list sealed to {van.recipient}") for van in order.vans),
        ("entries", f"{order.list_size}"),
        ("threshold", f"{order.threshold:g}, margin {order.margin:g}, {order.confirmation} comparisons in a row"),
        ("cool-down", f"{order.cooldown_s:g} s"),
        ("faces", f"{order.expected_faces:,} expected, budget 1 false alert in {1 / order.budget:,.0f} faces"),
        *(
            [("ABOVE BUDGET", f"accepted by {order.budget_accepted.by}: {order.budget_accepted.why}")]
            if order.budget_accepted is not None
            else []
        ),
        ("alerts", f"expire after {order.alert_expiry_h:g} h, evidence is kept {order.evidence_retention_d} days"),
        *(("control room", recipient) for recipient in order.recipients),
        ("keys", f"protected by {order.key_protection} at least, unlock {order.unlock}"),
        ("memory", f"swap {'forbidden' if order.no_swap else 'allowed'}, cores {_allowed(order)}"),
        ("notice", order.notice_url),
        ("watchlist", order.watchlist_sha256),
        ("pictures", order.pictures_sha256),
        ("contract", order.contract),
        *(("engine set", digest) for digest in order.engine_sets),
    ]
    for name, value in rows:
        print(f"  {name:12} {value}")


def _allowed(order: Order) -> str:
    return "forbidden" if order.no_core_dumps else "allowed"
