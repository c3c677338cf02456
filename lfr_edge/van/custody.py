"""What a van holds of a deployment, from loading to erasure, and the log of it.

`Custody` takes packages, verifies the one it holds, makes prekeys, and erases. It decides nothing about seeing: it
tells the `Keeper` what it found.
"""

import hashlib
import logging
import re
import shutil
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lfr_edge.audit.events import DeploymentErased, DeploymentLoaded, DeploymentRefused, PrekeysMade
from lfr_edge.audit.log import AuditLog
from lfr_edge.clock import Clock
from lfr_edge.config import VanConfig
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, DeviceError, LfrEdgeError, Reason
from lfr_edge.files import new_file, sync_folder
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.prekey import Prekeys, sign_prekeys
from lfr_edge.van import deployment, lifecycle
from lfr_edge.van.deployment import Deployment
from lfr_edge.van.erasure import Holding, clear, destroy, write_receipt
from lfr_edge.van.keeper import Keeper, Taking
from lfr_edge.van.lifecycle import Cause, Conditions, Record, State, Terms
from lfr_edge.van.prekeys import LOW_STOCK, PrekeyStock
from lfr_edge.van.succession import InTheDark, Succession

_LOG = logging.getLogger(__name__)

SYSTEM = "system:lfr-edge"
_UNSIGNED = {Reason.SIGNER_UNKNOWN, Reason.SIGNATURE_INVALID}
_CHUNK = 1 << 20
# What `new_file` calls the van's own files while it writes them; nobody else's dotfiles.
_HALF_WRITTEN = re.compile(r"\.(wrapping\.key|[a-z0-9-]+\.(json|prekey))\.[a-z0-9_]{8}")


class Custody:
    """Thread-safe: one thing at a time."""

    def __init__(self, config: VanConfig, engine_set: EngineSet, keeper: Keeper, log: AuditLog, clock: Clock) -> None:
        self._config = config
        self._engine_set = engine_set
        self._keeper = keeper
        self._log = log
        self._clock = clock
        self._loading = threading.Lock()  # a slow stick holds up other loads, and never an end
        self._mutex = threading.Lock()
        self.holding = Holding(config.state / "deployment", config.state / "receipts", stock_of(config))
        self._incoming = self.holding.package_folder / "incoming.lfrd"
        self._said: set[str] = set()  # receipts that are in the log
        self._key = SigningKey.from_file(config.keys.alert)

    @property
    def record(self) -> Record:
        """What is on the disk."""
        return self._keeper.record

    @property
    def package(self) -> Path:
        """The van's own copy of what is loaded."""
        terms = self._keeper.record.terms
        if terms is None:
            raise RuntimeError("nothing was loaded")
        return self.holding.package_of(terms)

    def take(self, untrusted: BinaryIO, by: str, succession: Succession | None = None) -> Terms:
        """Load a package: it is copied, checked, and then holds, in place of the loaded one if it replaces that.

        Any refusal leaves nothing of it, and what was loaded as it was. Without a `succession` the van is blind.
        """
        with self._loading:
            self._keeper.require_erased()
            over = lifecycle.loaded(self._keeper.record)
            terms: Terms | None = None
            logged: str | None = None
            try:
                with closing(self._received(untrusted)) as checked:
                    terms = self._terms_of(checked)
                    taking = Taking(terms, *self._found(checked, terms), over)
                    self._keeper.require_loadable(taking)
                    checked.require_key(self.identity(terms.recipient))
                    package = self._named(terms)
                    with (succession or InTheDark()).prepared(package) as carry_out:
                        # Before the record: after a power cut, too, no list is live that the log does not know.
                        self._log.append(self._loaded(checked, terms, by))
                        logged = terms.order
                        carry_out(partial(self._keeper.load, taking))
            except BaseException as refusal:
                if terms is None or self._keeper.record.terms != terms:
                    self._refuse(refusal, by, logged)
                raise
            return terms

    def _received(self, untrusted: BinaryIO) -> Deployment:
        """The package's own copy, checked."""
        self.holding.package_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with new_file(self._incoming, replace=True) as file:
            shutil.copyfileobj(untrusted, file, _CHUNK)
        return deployment.check(self._incoming, self._config, self._engine_set)

    def _named(self, terms: Terms) -> Path:
        """The copy under the name by which the record will know it."""
        package = self.holding.package_of(terms)
        self._incoming.replace(package)
        sync_folder(self.holding.package_folder)
        return package

    def _found(self, checked: Deployment, terms: Terms) -> tuple[Conditions, bool]:
        """What the keeper is to know of a verified package: conditions, and whether the clock's source is waived."""
        same = hashlib.sha256(checked.package.order).hexdigest() == terms.order_sha256
        fault = None if same else Reason.DIGEST_MISMATCH
        conditions = Conditions(len(checked.signers), self._config.keys.order_signatures, fault)
        return conditions, checked.order.demo  # `check` let a demo pass: this van takes them

    def _refuse(self, refusal: BaseException, by: str, logged: str | None) -> None:
        """Remove the package and log the refusal. A disk that fails here does not hide why it was refused."""
        try:
            self._sweep()  # first: on a full disk it makes room for the log
        except OSError as error:
            _LOG.error("the refused package stays until the next load or start: %s", error.strerror)
        why = "it was asked to load" if logged is None else "it was logged as loaded, but the van was not armed"
        reason = refusal.reason.value if isinstance(refusal, LfrEdgeError) else "fault"
        try:
            self._log.append(DeploymentRefused(by=by, why=why, reason=reason, order=logged))
        except LfrEdgeError as error:
            _LOG.error("the log does not take that a load was refused (%s): %s", reason, error)

    def _sweep(self) -> None:
        """Remove every package that the record does not name."""
        clear(self.holding.package_folder, but=[self.holding.package_of(terms) for terms in self._held()])

    def _held(self) -> list[Terms]:
        """Deployments whose lists this van has, as far as the record knows."""
        record = self._keeper.record
        loaded = None if record.state is State.ENDED and record.erased else record.terms
        return [terms for terms in (loaded, record.replaced) if terms is not None]

    def verify(self) -> None:
        """Check what is loaded again, and let the keeper know whether it still stands."""
        terms = lifecycle.loaded(self._keeper.record)
        if terms is None:
            return
        waived = False
        try:
            with closing(deployment.check(self.package, self._config, self._engine_set)) as checked:
                checked.require_key(self.identity(terms.recipient))
                found, waived = self._found(checked, terms)
        except LfrEdgeError as fault:
            _LOG.warning("order %s: %s", terms.order, fault)
            required = self._config.keys.order_signatures
            found = Conditions(0 if fault.reason in _UNSIGNED else required, required, fault.reason)
        self._keeper.meet(found, waive_synchronisation=waived)

    def loaded_event(self) -> DeploymentLoaded:
        """What is loaded, for a log that does not know of it. LfrEdgeError if it does not stand any more."""
        terms = lifecycle.loaded(self._keeper.record)
        if terms is None:
            raise RuntimeError("nothing is loaded")
        with closing(deployment.check(self.package, self._config, self._engine_set)) as checked:
            return self._loaded(checked, terms, SYSTEM)

    def destroy(self) -> None:
        """Key and package of what has ended: before anything is said of it. DeviceError if the disk refuses."""
        with self._mutex:
            terms, _ = self._ended()
            self._destroy(terms)

    def erase(self) -> None:
        """Erase the deployment that has ended, sign and log it. Goes on where an earlier try was interrupted."""
        with self._mutex:
            self._erase(*self._ended())
            self._keeper.erased()

    def erase_replaced(self) -> None:
        """The same for the deployment that another one took over from, when nobody compares with its list any more."""
        with self._loading, self._mutex:  # whoever loads is not done before the lists are exchanged
            self._erase(self._replaced(), "replaced")
            self._keeper.replaced_erased()

    def destroy_replaced(self) -> None:
        """Only key and package of it. DeviceError if the disk refuses."""
        with self._loading, self._mutex:
            self._destroy(self._replaced())

    def _erase(self, terms: Terms, cause: Cause) -> None:
        self._destroy(terms)
        van = (self._config.force, self._config.van, self._key)
        try:
            done = write_receipt(self.holding, terms, cause, van, self._keeper.no_earlier())
        except OSError as error:
            raise DeviceError(
                Reason.FILE_UNWRITABLE,
                f"the erasure receipt of order '{terms.order}' cannot be written: {error.strerror}",
                fix="make room on the disk, or mend it",
            ) from error
        event = DeploymentErased(
            by=SYSTEM,
            why=f"the deployment ended: {cause}",
            order=terms.order,
            watchlist_sha256=terms.watchlist_sha256,
            level=done.level,
            unverified=done.unverified,
            receipt_sha256=done.receipt_sha256,
        )
        if done.receipt_sha256 not in self._said:
            self._log.append(event)
            self._said.add(done.receipt_sha256)
        _LOG.info("order %s is erased: %s", terms.order, done.level)

    def _ended(self) -> tuple[Terms, Cause]:
        record = self._keeper.record
        if record.state is not State.ENDED or record.terms is None or record.cause is None or record.erased:
            raise RuntimeError("nothing has ended that is to be erased")
        return record.terms, record.cause

    def _replaced(self) -> Terms:
        replaced = self._keeper.record.replaced
        if replaced is None:
            raise RuntimeError("nothing was replaced that is to be erased")
        return replaced

    def _destroy(self, terms: Terms) -> None:
        try:
            destroy(self.holding, terms)
        except OSError as error:
            raise DeviceError(
                Reason.FILE_UNWRITABLE,
                f"the list of order '{terms.order}' cannot be destroyed: {error.strerror}",
                fix="mend the disk, or destroy it",
            ) from error

    def tidy(self) -> None:
        """At a start: remove what a power cut left half-written or never loaded, and prekeys that expired."""
        for folder in (self._config.state, self._config.state / "prekeys", self.holding.receipts):
            for half_written in (path for path in folder.glob(".*") if _HALF_WRITTEN.fullmatch(path.name)):
                half_written.unlink()
        self._sweep()
        in_use = {terms.recipient for terms in self._held()}
        self.holding.stock.expire(self._keeper.record.anchor.mark, keep=in_use)

    def make_prekeys(self, count: int, by: str) -> bytes:
        """New prekeys; the signed file for the office."""
        with self._mutex:
            now = self._clock.utc()
            made = self.holding.stock.make(count, now)
            stock = len(self.holding.stock)
            self._log.append(PrekeysMade(by=by, why="asked for at the van", made=len(made), stock=stock))
            prekeys = Prekeys(force=self._config.force, van=self._config.van, made_at=now, prekeys=made)
            return sign_prekeys(prekeys, self._key)

    def identity(self, recipient: str) -> SealIdentity:
        """See `find_identity`."""
        return find_identity(recipient, self.holding.stock, self._config)

    def _terms_of(self, checked: Deployment) -> Terms:
        recipient = checked.assignment.recipient
        order = checked.order
        return Terms(
            order=order.id,
            replaces=order.replaces,
            order_sha256=hashlib.sha256(checked.package.order).hexdigest(),
            watchlist_sha256=order.watchlist_sha256,
            recipient=recipient,
            unlock_recipient=order.unlock_recipient,
            one_time=self.holding.stock.identity(recipient) is not None,
            not_before=order.not_before,
            not_after=order.not_after,
        )

    def _loaded(self, checked: Deployment, terms: Terms, by: str) -> DeploymentLoaded:
        return DeploymentLoaded(
            by=by,
            why=checked.order.purpose,
            order=terms.order,
            order_sha256=terms.order_sha256,
            replaces=terms.replaces,
            signers=tuple(key.key_id for key in checked.signers),
            watchlist_sha256=terms.watchlist_sha256,
            pictures_sha256=checked.order.pictures_sha256,
            contract=checked.order.contract,
            engine_set=self._engine_set.digest,
            not_before=terms.not_before,
            not_after=terms.not_after,
        )


def find_identity(recipient: str, stock: PrekeyStock, config: VanConfig) -> SealIdentity:
    """The prekey of this name, or else the van's lasting deployment key. ConfigError if there is neither."""
    identity = stock.identity(recipient)
    if identity is not None:
        return identity
    if config.keys.deployment is not None:
        return SealIdentity.from_file(config.keys.deployment)
    raise ConfigError(
        Reason.WRONG_RECIPIENT,
        "the list was sealed to a key that this van does not have, or destroyed after its use",
        fix="have it sealed again, to a prekey that this van has and that was not used yet",
    )


def stock_of(config: VanConfig) -> PrekeyStock:
    """Where this van keeps its prekeys."""
    return PrekeyStock(config.state / "prekeys", config.keys.wrapping or config.state / "wrapping.key")


def warn_of_low_stock(stock: PrekeyStock, *, lasting: bool) -> None:
    """A van without prekeys can take no deployment, unless it has a lasting key and never had prekeys."""
    left = len(stock)
    if left < LOW_STOCK and (left or not lasting):
        _LOG.warning("only %d prekey(s) left: lfr-edge deployment prekeys", left)
