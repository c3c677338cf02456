"""What the van's log says is going on, for comparison with the record: a power cut may come between the two.

The record decides; where the log says something else at a start, it gets the entries that are missing.
"""

from dataclasses import dataclass, field

from lfr_edge.audit.events import DeploymentErased, DeploymentLoaded, DeploymentRefused, PeriodBegan, PeriodEnded
from lfr_edge.audit.fields import Event
from lfr_edge.van.custody import SYSTEM
from lfr_edge.van.lifecycle import Record, State


@dataclass(slots=True)
class History:
    """Hears of every event of the log, in order (`AuditLog.open`)."""

    _loaded: dict[str, DeploymentLoaded] = field(default_factory=dict)
    """By digest of the signed order: neither refused after that nor erased."""
    _live: set[str] = field(default_factory=set)
    """Orders of those under which the van has seen."""
    _period: str | None = None
    """The order of a period that began and has not ended."""

    def hear(self, event: Event) -> None:
        """The next event."""
        if isinstance(event, PeriodBegan):
            self._period = event.order
            self._live.add(event.order)
        elif isinstance(event, PeriodEnded):
            self._period = None
        elif isinstance(event, DeploymentLoaded):
            self._loaded[event.order_sha256] = event
        elif isinstance(event, DeploymentRefused | DeploymentErased):
            self._loaded = {sha256: one for sha256, one in self._loaded.items() if one.order != event.order}
            self._live.discard(event.order or "")

    def missing(self, record: Record) -> list[Event]:
        """What the process before this one did not log, although the record shows that it happened."""
        events: list[Event] = []
        if self._period is not None:
            events.append(self._ended(self._period, record))
        held = {terms.order_sha256 for terms in (record.terms, record.replaced) if terms is not None}
        for sha256, loaded in self._loaded.items():
            if sha256 not in held:
                events.append(self._gone(loaded.order))
        return events

    def knows(self, order_sha256: str) -> bool:
        """Does the log say that this order is loaded."""
        return order_sha256 in self._loaded

    def _gone(self, order: str) -> DeploymentRefused:
        """A loaded order that the record does not know: it never did, or is not the record of then."""
        if order in self._live:
            why = "the van saw under it, but its record does not know it any more, and it is not armed"
            return DeploymentRefused(by=SYSTEM, why=why, reason="record-lost", order=order)
        why = "it was logged as loaded, but the van was not armed"
        return DeploymentRefused(by=SYSTEM, why=why, reason="power-loss", order=order)

    def _ended(self, order: str, record: Record) -> PeriodEnded:
        """The end of a period whose process did not log it: by the record, or with that process."""
        ended = record.state is State.ENDED and record.terms is not None and record.terms.order == order
        if ended and record.cause is not None:
            why = "the deployment ended, and the process did before it could log that"
            return PeriodEnded(by=SYSTEM, why=why, order=order, cause=record.cause)
        if record.replaced is not None and record.replaced.order == order:
            why = "another order took over, and the process ended before it could log that"
            return PeriodEnded(by=SYSTEM, why=why, order=order, cause="replaced")
        why = "the process before this one did not end in order"
        return PeriodEnded(by=SYSTEM, why=why, order=order, cause="power-loss")
