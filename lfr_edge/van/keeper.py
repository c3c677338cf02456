"""The van's record on disk, and the one lock under which it changes.

Whoever asks is answered when the record is safe; what it allows is `lifecycle`'s business.
"""

import logging
import secrets
import threading
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.files import new_file
from lfr_edge.van import lifecycle
from lfr_edge.van.clocks import Clocks
from lfr_edge.van.lifecycle import Action, Conditions, Decision, Record, Request, State, Terms
from lfr_edge.van.share import Share
from lfr_edge.van.trusted_time import TOLERANCE, Reading, Time, believe, recovered

_LOG = logging.getLogger(__name__)

_CHALLENGE_S = 3600.0

NOT_CHECKED = Conditions(signatures=1, required=1, fault=Reason.NO_ORDER)
"""Of a deployment that this process has not verified yet: it neither sees nor ends."""


@dataclass(frozen=True, slots=True)
class Taking:
    """An order that is to be loaded, and what was found when its package was verified."""

    terms: Terms
    conditions: Conditions
    waive_synchronisation: bool = False
    over: Terms | None = None
    """What was loaded when the package came."""


class Keeper:
    """Thread-safe. `record` is newer than what is on disk only where it allows less, and the disk took no more."""

    def __init__(self, path: Path, clocks: Clocks, share: Share | None = None) -> None:
        self._path = path
        self._clocks = clocks
        self.share = share or Share()
        """Of the loaded order; overwritten with the decision that ends it."""
        self._mutex = threading.RLock()
        self._conditions = NOT_CHECKED
        self._held_back: Reason | None = None
        self._waived = False
        self._asked: tuple[str, Reading] | None = None
        stored = _read(path)
        time = believe(stored.anchor if stored else None, clocks.read())
        self._record = lifecycle.restarted(stored) if stored else lifecycle.first_record(time)
        self._blind: tuple[Reason, ...] = (Reason.NO_ORDER,)
        self._unwritten = False
        self._restrict(self._record)

    @property
    def record(self) -> Record:
        """What holds; its mark may be half a minute old."""
        with self._mutex:
            return self._record

    @property
    def unwritten(self) -> bool:
        """Did the disk not take the record. Every decision tries again; a new process would know only the disk."""
        with self._mutex:
            return self._unwritten

    @property
    def blind(self) -> tuple[Reason, ...]:
        """Why the van does not see, as of the last decision; empty if it does."""
        with self._mutex:
            return self._blind

    @property
    def faulty(self) -> bool:
        """Was a condition not met when the deployment was last verified."""
        with self._mutex:
            return self._conditions.fault is not None

    def meet(self, conditions: Conditions, *, waive_synchronisation: bool) -> None:
        """What was found when the deployment was last verified."""
        with self._mutex:
            self._conditions, self._waived = conditions, waive_synchronisation

    def hold_back(self, reason: Reason | None) -> None:
        """What else keeps the van from seeing: nothing that is wrong with its deployment."""
        with self._mutex:
            self._held_back = reason

    def decide(self, request: Request = Request.NONE) -> Decision:
        """Look at the clocks, and write down what follows. Its actions are now to be carried out.

        A disk that takes no record does not lose a request, and lets nobody see.
        """
        with self._mutex:
            decision = self._step(request)
            changed = _without_mark(decision.record) != _without_mark(self._record)
            # Between two writes the boot clock carries the mark on; a power cut costs at most this much of it.
            due = decision.record.anchor.mark - self._record.anchor.mark >= TOLERANCE
            if changed or due or self._unwritten:
                decision = self._settle(decision)
            self._blind = decision.blind
            loaded = lifecycle.loaded(self._record)
            self.share.keep_for(loaded.unlock_recipient if loaded is not None else None)
            return decision

    def look(self) -> None:
        """Find out anew why the van is blind; what follows is decided with the next `decide`."""
        with self._mutex:
            self._blind = self._step().blind

    def _step(self, request: Request = Request.NONE) -> Decision:
        conditions = replace(self._conditions, fault=self._conditions.fault or self._held_back)
        conditions = self._with_lock(conditions, self._record.terms)
        return lifecycle.step(self._record, self._time(), conditions, request)

    def _with_lock(self, conditions: Conditions, terms: Terms | None) -> Conditions:
        """The same, and whether the share of these terms is missing."""
        return replace(conditions, locked=terms is not None and not self.share.opens(terms.unlock_recipient))

    def _time(self) -> Time:
        record, now = self._record, self._clocks.read()
        return believe(record.anchor, now, latest=lifecycle.latest(record), waive_synchronisation=self._waived)

    def _loaded(self, taking: Taking) -> Record:
        """The record with that order. PolicyError."""
        now, terms = self._clocks.read(), taking.terms
        waive = taking.waive_synchronisation
        time = believe(self._record.anchor, now, latest=terms.not_after, waive_synchronisation=waive)
        before = lifecycle.loaded(self._record)
        if before != taking.over:
            raise PolicyError(
                Reason.STOPPED, "meanwhile the deployment was ended or replaced", fix="look at the van, and load again"
            )
        record = lifecycle.load(self._record, time, terms)
        lifecycle.require_sight(record, time, self._with_lock(taking.conditions, terms))
        return record

    def _settle(self, decision: Decision) -> Decision:
        """The decision when it is on the disk; if the disk refuses it, as much of it as allows less."""
        if decision.record.state is not State.LIVE:
            self._restrict(decision.record)
            return decision
        try:
            self._write(decision.record)
        except ConfigError as error:
            self._complain(error)
            self._record = lifecycle.restarted(decision.record)
            return replace(decision, record=self._record, actions=(Action.BLIND,), blind=(error.reason,))
        return decision

    def end(self, order: str, request: Request) -> bool:
        """End this very order, loaded or not: it is never live again. False if there was nothing to end."""
        with self._mutex:
            record = self._record
            loaded = record.state in {State.ARMED, State.LIVE} and record.terms is not None
            if loaded and record.terms is not None and record.terms.order == order:
                self.decide(request)
                return True
            forbidden = lifecycle.forbid(record, order)
            if request is Request.REVOKE:
                forbidden = lifecycle.revoked(forbidden, order)
            if forbidden != record:
                self._restrict(forbidden)
            return False

    def load(self, taking: Taking) -> None:
        """Take an order. PolicyError if the van may not: then all is as it was."""
        with self._mutex:
            self._write(self._loaded(taking))
            self._conditions, self._waived = taking.conditions, taking.waive_synchronisation

    def challenge(self) -> str:
        """A new question for a statement of the time; the one before is void."""
        with self._mutex:
            self._asked = secrets.token_hex(16), self._clocks.read()
            return self._asked[0]

    def recover_clock(self, challenge: str, at: datetime) -> tuple[datetime, datetime]:
        """Believe a statement that answers the last challenge, once. The mark before and after; PolicyError."""
        with self._mutex:
            asked, self._asked = self._asked, None
            now = self._clocks.read()
            fresh = asked is not None and now.boot_s - asked[1].boot_s <= _CHALLENGE_S
            if asked is None or not fresh or not secrets.compare_digest(asked[0], challenge):
                raise PolicyError(
                    Reason.EXPIRED,
                    "this statement answers no question that the van asked within the last hour",
                    fix="ask for a new challenge: lfr-edge deployment clock-recover",
                )
            before, anchor = self._record.anchor.mark, recovered(at, asked[1], now)
            self._write(lifecycle.with_anchor(self._record, anchor))
            return before, anchor.mark

    def no_earlier(self) -> datetime:
        """So much time has passed at least: the wall clock where it is believed, and else the boot clock's count."""
        with self._mutex:
            return self._time().no_earlier

    def require_erased(self) -> None:
        """PolicyError while a list that has ended, or was replaced, is not erased yet."""
        with self._mutex:
            lifecycle.require_erased(self._record)

    def require_loadable(self, taking: Taking) -> None:
        """PolicyError if `load` would refuse."""
        with self._mutex:
            self._loaded(taking)

    def rest(self) -> None:
        """Who was live is blind now, and armed if nothing has ended."""
        with self._mutex:
            if self._record.state is State.LIVE or self._unwritten:
                self._restrict(lifecycle.restarted(self._record))

    def erased(self) -> None:
        """The erasure is complete."""
        with self._mutex:
            self._write(lifecycle.erased(self._record))

    def replaced_erased(self) -> None:
        """The erasure of what was replaced is complete."""
        with self._mutex:
            self._write(lifecycle.replaced_erased(self._record))

    def purged(self, order: str) -> None:
        """No alert of the order waits any more."""
        with self._mutex:
            self._restrict(lifecycle.purged(self._record, order))

    def _write(self, record: Record) -> None:
        """Hold the record, once the disk has it. ConfigError if the disk refuses: then what holds is there again."""
        try:
            with new_file(self._path, replace=True) as file:
                file.write(record.to_json())
        except ConfigError:
            if record is not self._record and self._may_be_there(record):
                self._restrict(self._record)
            raise
        self._record, self._unwritten = record, False

    def _may_be_there(self, record: Record) -> bool:
        """Has the file been exchanged although the folder could not be synced: after a power cut it may be either."""
        try:
            return self._path.read_bytes() == record.to_json()
        except OSError:
            return True

    def _restrict(self, record: Record) -> None:
        """Hold a record that allows no more than the one before, whether the disk takes it or not."""
        self._record = record
        try:
            self._write(record)
        except ConfigError as error:
            self._complain(error)

    def _complain(self, error: ConfigError) -> None:
        if not self._unwritten:  # once, not five times a second
            _LOG.error("the record is not on the disk, and the van stays blind: %s", error)
        self._unwritten = True


def make_state_folder(folder: Path) -> None:
    """Where the record, the log and all else of the van lie; nobody else may look in. ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            Reason.FILE_UNWRITABLE,
            f"the state folder {folder} cannot be made: {error.strerror}",
            fix="choose another as 'state', or mend the permissions",
        ) from error


def _without_mark(record: Record) -> tuple[object, ...]:
    anchor = record.anchor
    return (anchor.boot_id, anchor.synchronised, *(value for name, value in record if name != "anchor"))


def _read(path: Path) -> Record | None:
    try:
        return Record.from_untrusted(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="check its permissions and the disk"
        ) from error
    except UntrustedInputError as error:
        raise ConfigError(
            Reason.FILE_MALFORMED,
            f"{path} is damaged: {error.message}",
            fix="keep it for the auditors, and delete the folder 'deployment' beside it: its list must not be used",
        ) from error
