"""After the end: key, package and leftovers removed from the disk, and a signed receipt of it.

Every step may be repeated, and each is safe before the next begins: whatever moment the power fails at, the next start
goes on from there. The order matters. The key goes first: without it the rest is noise. The receipt comes last: it says
that all before it was done.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import DeviceError
from lfr_edge.files import new_file, sync_folder
from lfr_edge.messages.erasure import ErasureReceipt, Level, Unverified, sign_receipt
from lfr_edge.van.lifecycle import Cause, Terms
from lfr_edge.van.prekeys import PrekeyStock

_LOG = logging.getLogger(__name__)

_SENT = "sent"


@dataclass(frozen=True, slots=True)
class Holding:
    """Where things of a deployment are on this van's disk."""

    package_folder: Path
    """Holds nothing but loaded packages, and what was left of loading them."""
    receipts: Path
    stock: PrekeyStock

    def package_of(self, terms: Terms) -> Path:
        """Where the van's own copy of a package is: two orders, and two signings of one, are two files."""
        return self.package_folder / f"{terms.order_sha256[:16]}.lfrd"


@dataclass(frozen=True, slots=True)
class Erased:
    """What was reached."""

    level: Level
    unverified: tuple[Unverified, ...]
    receipt_sha256: str


def destroy(holding: Holding, terms: Terms) -> None:
    """Overwrite and remove the key, remove the package. Idempotent; OSError if the disk refuses either."""
    try:
        if terms.one_time:
            holding.stock.destroy(terms.recipient)
    finally:
        holding.package_of(terms).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            sync_folder(holding.package_folder)


def write_receipt(
    holding: Holding, terms: Terms, cause: Cause, signer: tuple[str, str, SigningKey], now: datetime
) -> Erased:
    """The receipt of what is destroyed. Idempotent: done twice, it is the same receipt.

    `signer` is force, van and the van's key. ConfigError or OSError if the disk refuses.
    """
    level, unverified = _reached(terms, cause)
    path = receipt_path(holding.receipts, terms)
    signed = _signed_before(path)
    if signed is None:
        force, van, key = signer
        receipt = ErasureReceipt(
            force=force,
            van=van,
            order=terms.order,
            order_sha256=terms.order_sha256,
            watchlist_sha256=terms.watchlist_sha256,
            cause=cause,
            erased_at=now,
            level=level,
            unverified=unverified,
        )
        signed = sign_receipt(receipt, key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with new_file(path) as file:
            file.write(signed)
    return Erased(level, unverified, hashlib.sha256(signed).hexdigest())


def _signed_before(path: Path) -> bytes | None:
    """The receipt, if there is one. In this order: the sender's thread moves it from the first place to the second."""
    for place in (path, path.parent / _SENT / path.name):
        with contextlib.suppress(FileNotFoundError):
            return place.read_bytes()
    return None


def _reached(terms: Terms, cause: Cause) -> tuple[Level, tuple[Unverified, ...]]:
    """How far the erasure reaches, and what is beyond it."""
    shared = terms.unlock_recipient is not None
    level: Level = "disk-opens-nothing" if shared else "key-destroyed"
    kept: Unverified = "wrapping-key-on-disk" if terms.one_time else "deployment-key-kept"
    unverified: list[Unverified] = ["old-blocks", kept]
    if shared:
        unverified.append("share-elsewhere")
    if cause == "replaced":
        unverified.append("old-heap")
    return level if terms.one_time else "files-removed", tuple(unverified)


def clear(folder: Path, *, but: Collection[Path]) -> None:
    """Remove every other file in the folder, and make that survive a power cut."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path not in but:
                path.unlink()
        sync_folder(folder)


def receipt_path(receipts: Path, terms: Terms) -> Path:
    """Where the receipt of this deployment waits to be sent."""
    return receipts / f"{terms.order}-{terms.order_sha256[:16]}.json"


def waiting(receipts: Path) -> list[Path]:
    """Receipts that the broker does not have yet, oldest first."""
    files = [path for path in receipts.glob("*.json") if not path.name.startswith(".")]
    return sorted(files, key=lambda path: path.stat().st_mtime)


class Handover:
    """Gives receipts to the broker. What it does not take waits here; whoever publishes says so."""

    def __init__(self, receipts: Path, publish: Callable[[bytes], None]) -> None:
        self._receipts = receipts
        self._publish = publish
        self._complained: set[str] = set()

    def __call__(self) -> None:
        """Try what waits. A receipt that the disk holds up is said once, tried again, and holds up no other."""
        with contextlib.suppress(DeviceError):
            for receipt in waiting(self._receipts):
                self._give(receipt)

    def _give(self, receipt: Path) -> None:
        try:
            self._publish(receipt.read_bytes())
            note_sent(receipt)
        except OSError as error:
            if receipt.name not in self._complained:
                _LOG.error("the erasure receipt %s is not handed over: %s", receipt.name, error.strerror)
            self._complained.add(receipt.name)


def note_sent(receipt: Path) -> None:
    """The broker has it. It is kept: the office may ask again."""
    sent = receipt.parent / _SENT
    sent.mkdir(mode=0o700, exist_ok=True)
    receipt.rename(sent / receipt.name)
    sync_folder(sent)
    sync_folder(receipt.parent)
