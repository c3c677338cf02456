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
from typing import BinaryIO

from lfr_edge.audit.events import DeploymentErased, DeploymentLoaded, DeploymentRefused, PrekeysMade
from lfr_edge.audit.log import AuditLog
from lfr_edge.clock import Clock
from lfr_edge.config import VanConfig
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, DeviceError, LfrEdgeError, Reason
from lfr_edge.files import new_file
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.prekey import Prekeys, sign_prekeys
from lfr_edge.van import deployment
from lfr_edge.van.deployment import Deployment
from lfr_edge.van.erasure import Holding, clear, destroy, write_receipt
from lfr_edge.van.keeper import Keeper
from lfr_edge.van.lifecycle import Cause, Conditions, Record, State, Terms
from lfr_edge.van.prekeys import LOW_STOCK, PrekeyStock

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
        self._mutex = threading.Lock()
        self.holding = Holding(config.state / "deployment", config.state / "receipts", stock_of(config))
        self.package = self.holding.package_folder / "package.lfrd"
        self._said: DeploymentErased | None = None
        self._key = SigningKey.from_file(config.keys.alert)

    @property
    def record(self) -> Record:
        """What is on the disk."""
        return self._keeper.record

    def take(self, untrusted: BinaryIO, by: str) -> Terms:
        """Load a package: it is copied, checked, and the van is armed. Any refusal leaves nothing of it."""
        with self._mutex:
            self._keeper.require_free()
            logged: str | None = None
            try:
                self.holding.package_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with new_file(self.package, replace=True) as file:
                    shutil.copyfileobj(untrusted, file, _CHUNK)
                with closing(deployment.check(self.package, self._config, self._engine_set)) as checked:
                    terms = self._terms_of(checked)
                    self._keeper.require_loadable(terms)
                    checked.require_key(self.identity(terms.recipient))
                    # Before the record: after a power cut, too, no list is live that the log does not know.
                    self._log.append(self._loaded(checked, terms, by))
                    logged = terms.order
                self._keeper.load(terms)
            except BaseException as refusal:
                self._refuse(refusal, by, logged)
                raise
            self.verify()
            return terms

    def _refuse(self, refusal: BaseException, by: str, logged: str | None) -> None:
        """Remove the package and log the refusal. A disk that fails here does not hide why it was refused."""
        try:
            clear(self.holding.package_folder)  # first: on a full disk it makes room for the log
        except OSError as error:
            _LOG.error("the refused package stays until the next load or start: %s", error.strerror)
        why = "it was asked to load" if logged is None else "it was logged as loaded, but the van was not armed"
        reason = refusal.reason.value if isinstance(refusal, LfrEdgeError) else "fault"
        try:
            self._log.append(DeploymentRefused(by=by, why=why, reason=reason, order=logged))
        except LfrEdgeError as error:
            _LOG.error("the log does not take that a load was refused (%s): %s", reason, error)

    def verify(self) -> None:
        """Check what is loaded again, and let the keeper know whether it still stands."""
        record, required = self._keeper.record, self._config.keys.order_signatures
        if record.terms is None or record.state not in {State.ARMED, State.LIVE}:
            return
        waived = False
        try:
            with closing(deployment.check(self.package, self._config, self._engine_set)) as checked:
                same = hashlib.sha256(checked.package.order).hexdigest() == record.terms.order_sha256
                checked.require_key(self.identity(record.terms.recipient))
                found = Conditions(len(checked.signers), required, None if same else Reason.DIGEST_MISMATCH)
                waived = checked.order.demo  # `check` let it pass: this van takes demo orders
        except LfrEdgeError as fault:
            _LOG.warning("order %s: %s", record.terms.order, fault)
            found = Conditions(0 if fault.reason in _UNSIGNED else required, required, fault.reason)
        self._keeper.meet(found, waive_synchronisation=waived)

    def destroy(self) -> None:
        """Key and package of what has ended: before anything is said of it. DeviceError if the disk refuses."""
        with self._mutex:
            terms, _ = self._ended()
            self._destroy(terms)

    def erase(self) -> None:
        """Erase the deployment that has ended, sign and log it. Goes on where an earlier try was interrupted."""
        with self._mutex:
            terms, cause = self._ended()
            self._destroy(terms)
            van = (self._config.force, self._config.van, self._key)
            done = write_receipt(self.holding, terms, cause, van, self._keeper.no_earlier())
            event = DeploymentErased(
                by=SYSTEM,
                why=f"the deployment ended: {cause}",
                order=terms.order,
                watchlist_sha256=terms.watchlist_sha256,
                level=done.level,
                unverified=done.unverified,
                receipt_sha256=done.receipt_sha256,
            )
            if event != self._said:
                self._log.append(event)
                self._said = event
            self._keeper.erased()
            _LOG.info("order %s is erased: %s", terms.order, done.level)

    def _ended(self) -> tuple[Terms, Cause]:
        record = self._keeper.record
        if record.state is not State.ENDED or record.terms is None or record.cause is None or record.erased:
            raise RuntimeError("nothing has ended that is to be erased")
        return record.terms, record.cause

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
        record = self._keeper.record
        loaded = record.state in {State.ARMED, State.LIVE} or (record.state is State.ENDED and not record.erased)
        if not loaded:
            clear(self.holding.package_folder)
        in_use = record.terms.recipient if loaded and record.terms is not None else None
        self.holding.stock.expire(record.anchor.mark, keep=in_use)

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
            order_sha256=hashlib.sha256(checked.package.order).hexdigest(),
            watchlist_sha256=order.watchlist_sha256,
            recipient=recipient,
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
            replaces=checked.order.replaces,
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
