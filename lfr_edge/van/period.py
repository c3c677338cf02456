"""A period of recognition, by the van's record: what `Daemon` asks of its authority, and tells it.

And what whoever loads an order that replaces another has to know of it (`succession`).

Whether the van may see is the record's business (`keeper`), what happens within a period is `period_log`'s.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lfr_edge.audit.events import PeriodBegan, PeriodEnded
from lfr_edge.audit.fields import Event, PeriodCause
from lfr_edge.audit.log import AuditLog
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import DeviceError
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.order import Order
from lfr_edge.pipeline.outbox import Purged
from lfr_edge.van.authority import Ending
from lfr_edge.van.commands import Commands
from lfr_edge.van.custody import SYSTEM
from lfr_edge.van.duties import Duties
from lfr_edge.van.keeper import Keeper
from lfr_edge.van.late_log import LateLog
from lfr_edge.van.lifecycle import Request, State
from lfr_edge.van.succession import Commit, InTheDark, Succession

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Period:
    """The `Authority` of a van with a record, and its `Succession`. A process has one: it sees at most once."""

    keeper: Keeper
    duties: Duties
    log: AuditLog
    late: LateLog
    engine_set: EngineSet
    commands: Commands
    stop_asked: bool = False
    """Is the process to end; the deployment stays loaded."""
    _began: str | None = None
    """The order under which the van sees, or saw."""
    _sees: Succession = field(default_factory=InTheDark)
    _blind: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    """Nobody begins to see while an order takes over in the dark."""

    def __post_init__(self) -> None:
        self._blind.set()

    def wait_blind(self, timeout_s: float) -> bool:
        """Return when no camera is open any more; False if that takes too long."""
        return self._blind.wait(timeout_s)

    def begins(self, order: Order, cameras: tuple[str, ...], sees: Succession) -> bool:
        """See `Authority`: asked once more, because engines take their time to load."""
        self._blind.clear()  # before the question: who stops us in between waits for `blinded`
        with self._turn:
            if not self.may_see() or not self._is_loaded(order):
                return False
            self._began, self._sees = order.id, sees
        try:
            self.log.append(self._begun(order, cameras))
        except DeviceError as error:
            _LOG.error("order %s does not begin: %s", order.id, error)
            self._began = None
            return False
        return True

    def passes(self, order: Order, cameras: tuple[str, ...], before: Ending) -> bool:
        """See `Authority`. The log has it before the next picture is compared; a full disk holds nothing up now."""
        if not self._is_loaded(order):
            return False
        if self._began is not None:
            self.late.say(self._ended(self._began, before, "replaced"), self._begun(order, cameras))
        self._began = order.id
        return True

    def may_see(self) -> bool:
        """See `Authority`. A disk that takes no record blinds too."""
        decision = self.keeper.decide()
        if self.late.waits:
            self.late.say()
        self.duties.erase_replaced(decision)
        return decision.record.state is State.LIVE

    def share_of(self, order: Order) -> SealIdentity | None:
        """See `Authority`."""
        return self.keeper.share.identity(order.unlock_recipient)

    @contextmanager
    def prepared(self, package: Path) -> Iterator[Callable[[Commit], None]]:
        """See `Succession`."""
        with self._turn:
            sees = InTheDark() if self._blind.is_set() else self._sees
            with sees.prepared(package) as carry_out:
                yield carry_out

    def purge(self, delete: Callable[[str], Purged]) -> None:
        """See `Authority`. What waits of the present order is deleted when nothing more is decided."""
        self.duties.purge(delete, but=self._began)

    def files_over(self) -> None:
        """See `Authority`."""
        self.keeper.decide(Request.FILES_OVER)

    def note(self, event: Event) -> bool:
        """See `Authority`."""
        return self.late.say(event)

    def blinded(self, ending: Ending) -> None:
        """See `Authority`: the key of what ended is destroyed before anything is said of it."""
        self.keeper.rest()
        record = self.keeper.record
        ended = record.state is State.ENDED and not record.erased
        try:
            if ended:
                self.duties.destroy()
            if self._began is not None:
                self.late.say(self._ended(self._began, ending, self._cause(ending)))
        finally:
            self._blind.set()  # whoever asked for the end hears of it when it is in the log
        if self._began is not None and ending.purged is not None:  # else whoever is blind has to
            self.duties.purged(self._began, ending.purged)
        if ended:
            self.duties.erase(self.keeper.decide())

    @property
    def checkpoint(self) -> bytes:
        """See `Authority`."""
        return self.log.checkpoint()

    @property
    def revoked(self) -> bool:
        """See `Authority`: not the loaded order, which may be another one that nothing was seen under."""
        return self._began in self.keeper.record.purge

    @property
    def last_word(self) -> str:
        """See `Authority`: whoever ends says so, whoever starts again is soon back."""
        state = self.keeper.record.state
        if state is State.ENDED:
            return str(state.value)
        return "offline" if self.stop_asked else "armed"

    def _begun(self, order: Order, cameras: tuple[str, ...]) -> PeriodBegan:
        return PeriodBegan(
            by=SYSTEM,
            why=order.purpose,
            order=order.id,
            watchlist_sha256=order.watchlist_sha256,
            engine_set=self.engine_set.digest,
            threshold=f"{order.threshold:.4f}",
            cameras=cameras,
        )

    def _ended(self, order: str, ending: Ending, cause: PeriodCause) -> PeriodEnded:
        replaced = "another order took over; this one's list is wiped"
        return PeriodEnded(
            by=SYSTEM,
            why=replaced if cause == "replaced" else "cameras are closed, faces and list are wiped",
            order=order,
            cause=cause,
            faces=ending.faces,
            alerts=ending.alerts,
            test_passes=ending.test_passes,
        )

    def _cause(self, ending: Ending) -> PeriodCause:
        """Why the period ended, in the log's words."""
        record = self.keeper.record
        if not ending.unhurt:
            return "fault"
        if record.state is State.ENDED and record.cause is not None:
            return record.cause
        return "shutdown" if self.stop_asked else "clock"

    def _is_loaded(self, order: Order) -> bool:
        """Is this the order that was verified: the file may have been exchanged since."""
        terms = self.keeper.record.terms
        return terms is not None and (order.id, order.watchlist_sha256) == (terms.order, terms.watchlist_sha256)
