"""Sealing: references and an order become one deployment package that only its van can open."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

import numpy as np

from lfr_edge.crypto.sealed import seal_stream
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, PolicyError, Reason
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.order import Order, sign_order
from lfr_edge.office.workspace import Workspace
from lfr_edge.watchlist.container import write_watchlist
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.package import sha256_of, write_package
from lfr_edge.watchlist.pictures import write_pictures


def seal_package(
    workspace: Workspace, order: Order, engine_set: EngineSet, keys: Sequence[SigningKey], out: Path
) -> Order:
    """Write the package to `out` and return the order as it was signed, digests filled in. Nothing half-written.

    PolicyError for what no order may say; ConfigError where list, order and engine set do not belong together.
    """
    _check_order(order, engine_set)
    _check_list(workspace, order, engine_set)
    with TemporaryFile() as pictures_file, TemporaryFile() as watchlist_file:  # ciphertext only
        pictures, watchlist = cast(BinaryIO, pictures_file), cast(BinaryIO, watchlist_file)
        _write_members(workspace, order, watchlist, pictures)
        digests = {"watchlist_sha256": _digest(watchlist), "pictures_sha256": _digest(pictures)}
        sealed = order.model_copy(update={"list_size": len(workspace.entries), **digests})
        write_package(out, sign_order(sealed, keys), watchlist, pictures)
    return sealed


def _check_order(order: Order, engine_set: EngineSet) -> None:
    if order.threshold < engine_set.threshold_floor:
        raise PolicyError(
            Reason.THRESHOLD_BELOW_FLOOR,
            f"threshold {order.threshold} is below the floor {engine_set.threshold_floor} of '{engine_set.name}'",
            fix=f"raise threshold in the order; {engine_set.threshold} is recommended",
        )
    if len(order.vans) != 1:
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"order '{order.id}' names {len(order.vans)} vans, and a package is sealed to one",
            fix="seal one package for each van, each from an order of its own",
        )


def _check_list(workspace: Workspace, order: Order, engine_set: EngineSet) -> None:
    if not workspace.contract == order.contract == engine_set.contract:
        raise PolicyError(
            Reason.CONTRACT_MISMATCH,
            f"the references in {workspace.folder} were made under another contract than that of '{engine_set.name}'",
            fix="enrol again with this engine set",
        )
    last_day = order.not_after.date()
    expired = [entry.id for entry in workspace.entries if entry.expires is not None and entry.expires < last_day]
    if expired:
        raise PolicyError(
            Reason.OUTSIDE_WINDOW,
            f"{len(expired)} entries expire before the deployment ends: {', '.join(expired[:10])}",
            fix="review them, then take them off the list or give a new expiry date",
        )


def _write_members(workspace: Workspace, order: Order, watchlist: BinaryIO, pictures: BinaryIO) -> None:
    members = write_pictures(pictures, ((entry.id, workspace.picture(entry.id)) for entry in workspace.entries))
    # Field by field, not through a dump: the dates must stay dates for the strict model.
    entries = tuple(Entry(**dict(particulars), picture=members[particulars.id]) for particulars in workspace.entries)
    plaintext = write_watchlist(
        entries, workspace.templates, np.arange(len(entries), dtype=np.int32), contract=order.contract
    )
    seal_stream(BytesIO(plaintext), watchlist, [van.recipient for van in order.vans])


def _digest(member: BinaryIO) -> str:
    member.seek(0)
    return sha256_of(member)
