"""`office seal`: references and an order become a package for one van."""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lfr_edge.audit.fields import Event
from lfr_edge.audit.office_events import BudgetAccepted, OrderSigned, PackageSealed
from lfr_edge.cli.office_keys import ask_passphrase, read_of_van
from lfr_edge.cli.office_sign import show_order
from lfr_edge.clock import SystemClock
from lfr_edge.crypto.sealed import SealIdentity, is_recipient
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import require_new
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.messages.order import DEFAULT_BUDGET, Order
from lfr_edge.messages.prekey import open_prekeys
from lfr_edge.office import workspace
from lfr_edge.office.desk import Desk, Journal, read_desk
from lfr_edge.office.order_file import end_of, read_order, require_ahead, requires_share
from lfr_edge.office.prekeys import choose_prekey
from lfr_edge.office.references import References
from lfr_edge.office.registry import Registry, SealedList
from lfr_edge.office.seal import calibration_of, seal_package
from lfr_edge.watchlist.budget import expect


def run(args: argparse.Namespace) -> int:
    """Seal the package."""
    for van, recipient in _pairs(args.van_recipient or []).items():
        _check_recipient(f"--van-recipient {van}=", recipient, "that van's deployment.recipient")
    for recipient in args.recipient:
        _check_recipient("--recipient ", recipient, "the control room's control-room.recipient")
    desk = read_desk(args.office)
    clock = SystemClock()
    journal = desk.journal(clock, by=args.by, why=args.why)
    # What costs nothing to find out comes before anybody types a passphrase.
    require_ahead(f"the order in {args.order}", end_of(args.order), clock.utc())
    share = _share_of(args.order, args.share)
    for path in (args.out, args.share):
        if path is not None:
            require_new(path)
    registry = Registry(desk.registry, journal)
    van_recipients = _van_recipients(args, desk, registry)
    source = workspace.workspace_id(args.work)
    work = workspace.open_workspace(args.work, desk.workspace_identity(ask_passphrase))
    engine_set = load_engine_set(work.engine_set, args.manifests)
    workspace.require_contract(work, engine_set)
    order = read_order(
        args.order,
        engine_set,
        van_recipients=van_recipients,
        recipients=tuple(args.recipient),
        unlock_recipient=share.recipient if share is not None else None,
    )
    _check_force(desk, order)
    references = work.references()
    keys = [SigningKey.from_file(path, ask_passphrase) for path in args.key]

    def announce(sealed: Order, envelope: bytes) -> None:
        line = SealedList(
            at=clock.utc(),
            force=sealed.force,
            order=sealed.id,
            vans=tuple(van.id for van in sealed.vans),
            recipients=tuple(van.recipient for van in sealed.vans),
            lasting=args.prekeys is None,
            not_before=sealed.not_before,
            not_after=sealed.not_after,
            watchlist_sha256=sealed.watchlist_sha256,
            references_sha256=references.sha256,
            workspace=source,
            entries=tuple(entry.id for entry in references.entries),
        )
        expected = expect(sealed, calibration_of(engine_set)).per_face
        registry.append(line, *_events(journal, sealed, envelope, keys, expected))

    with _written_apart(share, args.share):
        sealed = seal_package(references, order, engine_set, keys, args.out, announce=announce)
    _show(sealed, references, args, len(keys))
    print(f"  false alerts {expect(sealed, calibration_of(engine_set))}")
    if share is not None:
        _say_share(args.share, sealed)
    return 0


def _share_of(order: Path, file: Path | None) -> SealIdentity | None:
    """A new share if the order asks for one. ConfigError if a file for it was not named, or was without need."""
    if not requires_share(order):
        if file is not None:
            raise ConfigError(
                Reason.VALUE_INVALID,
                f"{order} asks for no unlock share",
                fix='leave out --share, or write unlock = "required" into the order',
            )
        return None
    if file is None:
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"{order} asks for an unlock share",
            fix="name a file for it, on another medium than the package's: --share FILE",
        )
    return SealIdentity.generate()


@contextmanager
def _written_apart(share: SealIdentity | None, file: Path | None) -> Iterator[None]:
    """The share in its own file, before anything is sealed to it; gone again if nothing is."""
    if share is None or file is None:
        yield
        return
    share.to_file(file)
    try:
        yield
    except BaseException:
        file.unlink()
        raise


def _van_recipients(args: argparse.Namespace, desk: Desk, registry: Registry) -> dict[str, str]:
    """The deployment key of each van: as given, or an unused prekey that outlives the order."""
    if args.prekeys is None:
        return _pairs(args.van_recipient)
    if args.van_key is None:
        raise ConfigError(
            Reason.VALUE_INVALID, "prekeys are believed only if their van signed them", fix="give --van-key VAN=PUBLIC"
        )
    stock, _ = read_of_van(args.prekeys, args.van_key, desk.force, open_prekeys)
    return {stock.van: choose_prekey(stock, registry.used_recipients(), end_of(args.order))}


def _check_force(desk: Desk, order: Order) -> None:
    if order.force != desk.force:
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"order '{order.id}' is of force '{order.force}', and this is the office of '{desk.force}'",
            fix="correct force in the order, or give the other office's file",
        )


def _events(
    journal: Journal, order: Order, envelope: bytes, keys: Sequence[SigningKey], expected_per_face: float
) -> list[Event]:
    by, why, digest = journal.by, journal.why, hashlib.sha256(envelope).hexdigest()
    events: list[Event] = []
    if order.budget_accepted is not None and expected_per_face > min(order.budget, DEFAULT_BUDGET):
        accepted = BudgetAccepted(
            by=f"person:{order.budget_accepted.by[:200]}",
            why=order.budget_accepted.why,
            order=order.id,
            expected_false_alerts=f"{expected_per_face * order.expected_faces:.4f}",
            budget=f"{order.budget * order.expected_faces:.4f}",
        )
        events.append(accepted)
    events += [
        OrderSigned(by=by, why=why, order=order.id, order_sha256=digest, key_id=key.public.key_id) for key in keys
    ]
    sealed = PackageSealed(
        by=by,
        why=why,
        order=order.id,
        order_sha256=digest,
        watchlist_sha256=order.watchlist_sha256,
        pictures_sha256=order.pictures_sha256,
        entries=order.list_size,
        vans=tuple(van.id for van in order.vans),
    )
    return [*events, sealed]


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    if len(pairs) != len(texts) or not all(pairs.values()):
        raise ConfigError(
            Reason.VALUE_INVALID, "--van-recipient is not VAN=age1..., or names a van twice", fix="give one per van"
        )
    return pairs


def _check_recipient(option: str, recipient: str, file: str) -> None:
    if not is_recipient(recipient):
        raise ConfigError(
            Reason.VALUE_INVALID, f"{option}{recipient} is not an age public key", fix=f"copy the one line of {file}"
        )


def _show(order: Order, references: References, args: argparse.Namespace, signatures: int) -> None:
    print(f"{args.out}: {len(references.entries)} entries, {signatures} signature(s)")
    show_order(order)


def _say_share(file: Path, order: Order) -> None:
    print(
        f"{file}: the unlock share of order '{order.id}', which this office keeps nowhere else.\n"
        "  Give it to those who start the van on another way than the package, on paper or read out, and never\n"
        "  on a stick with it; delete the file then. They type it: lfr-edge deployment unlock"
    )
