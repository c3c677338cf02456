"""Sealing: references and an order become one deployment package that only its van can open."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from lfr_edge.crypto.sealed import seal, seal_stream
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, PolicyError, Reason, counted
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.order import Order, sign_order
from lfr_edge.office.references import References
from lfr_edge.watchlist.budget import Calibration, check_budget
from lfr_edge.watchlist.container import write_watchlist
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.package import sha256_of, write_package
from lfr_edge.watchlist.pictures import write_pictures

_MOST_NAMED = 20


def seal_package(
    references: References,
    order: Order,
    engine_set: EngineSet,
    keys: Sequence[SigningKey],
    out: Path,
    *,
    announce: Callable[[Order, bytes], None] | None = None,
) -> Order:
    """Write the package to `out` and return the order as it was signed, digests filled in. Nothing half-written.

    PolicyError for what no order may say, an excess of its budget that nobody accepted included; ConfigError where
    list, order and engine set do not belong together. `announce` is told of the order and its envelope before the
    package appears: what was never written down must never go out.
    """
    sizes = {"list_size": len(references.entries), "template_count": len(references.templates)}
    order = order.model_copy(update=sizes)
    _check_order(order, engine_set)
    _check_list(references, order, engine_set)
    with TemporaryFile() as pictures_file, TemporaryFile() as watchlist_file:  # ciphertext only
        pictures, watchlist = cast(BinaryIO, pictures_file), cast(BinaryIO, watchlist_file)
        _write_members(references, order, watchlist, pictures)
        digests = {"watchlist_sha256": _digest(watchlist), "pictures_sha256": _digest(pictures)}
        sealed = order.model_copy(update=digests)
        envelope = sign_order(sealed, keys)
        if out.exists():
            raise ConfigError(Reason.FILE_EXISTS, f"{out} exists already", fix="choose another name")
        if announce is not None:
            announce(sealed, envelope)
        write_package(out, envelope, watchlist, pictures)
    return sealed


def calibration_of(engine_set: EngineSet) -> Calibration:
    """What the set's false match rates are known from."""
    measured = engine_set.calibration
    return Calibration(
        measured.list_size, measured.strangers, tuple((point.threshold, point.fpir) for point in measured.points)
    )


def _check_order(order: Order, engine_set: EngineSet) -> None:
    if order.threshold < engine_set.threshold_floor:
        raise PolicyError(
            Reason.THRESHOLD_BELOW_FLOOR,
            f"threshold {order.threshold} is below the floor {engine_set.threshold_floor} of '{engine_set.name}'",
            fix=f"raise threshold in the order; {engine_set.threshold} is recommended",
        )
    check_budget(order, calibration_of(engine_set))
    if len(order.vans) != 1:
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"order '{order.id}' names {len(order.vans)} vans, and a package is sealed to one",
            fix="seal one package for each van, each from an order of its own",
        )


def _check_list(references: References, order: Order, engine_set: EngineSet) -> None:
    if not references.contract == order.contract == engine_set.contract:
        raise PolicyError(
            Reason.CONTRACT_MISMATCH,
            f"the references were made under another contract than that of '{engine_set.name}'",
            fix="enrol again with this engine set",
        )
    last_day = order.not_after.date()
    expired = [entry.id for entry in references.entries if entry.expires is not None and entry.expires < last_day]
    if expired:
        named = ", ".join(expired[:_MOST_NAMED])
        more = f" and {len(expired) - _MOST_NAMED} more" if len(expired) > _MOST_NAMED else ""
        raise PolicyError(
            Reason.OUTSIDE_WINDOW,
            f"{counted(len(expired), 'entry expires', 'entries expire')} before the deployment ends on {last_day}:"
            f" {named}{more}",
            fix="review them, take them off the list or give a new expiry date, and enrol it again",
        )


def _write_members(references: References, order: Order, watchlist: BinaryIO, pictures: BinaryIO) -> None:
    shown = (entry.id for entry in references.entries if not entry.is_volunteer)
    members = write_pictures(pictures, ((entry, references.picture(entry)) for entry in shown))
    # Field by field, not through a dump: the dates must stay dates for the strict model.
    entries = tuple(Entry(**dict(stated), picture=members.get(stated.id)) for stated in references.entries)
    plaintext = write_watchlist(entries, references.templates, references.entry_of_template, contract=order.contract)
    if order.unlock_recipient is not None:  # this layer first: the van's key alone finds ciphertext
        plaintext = seal(plaintext, [order.unlock_recipient])
    seal_stream(BytesIO(plaintext), watchlist, [van.recipient for van in order.vans])


def _digest(member: BinaryIO) -> str:
    member.seek(0)
    return sha256_of(member)
