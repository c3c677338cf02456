"""What a van owes to those whom its orders were about: lists that have ended, and alerts that were revoked, go.

Each duty stands in the record until it is done. What the disk refuses is tried again, and said once.
"""

import logging
from collections.abc import Callable
from functools import partial

from lfr_edge.audit.events import AlertsErased
from lfr_edge.errors import LfrEdgeError
from lfr_edge.pipeline.outbox import Purged
from lfr_edge.van.custody import SYSTEM, Custody
from lfr_edge.van.keeper import Keeper
from lfr_edge.van.late_log import LateLog
from lfr_edge.van.lifecycle import Action, Decision

_LOG = logging.getLogger(__name__)


class Duties:
    """Used by the main thread only."""

    def __init__(self, keeper: Keeper, custody: Custody, late: LateLog) -> None:
        self._keeper = keeper
        self._custody = custody
        self._late = late
        self._complaint = ""

    def erase(self, decision: Decision) -> None:
        """Erase what has ended or was replaced, if the decision says so."""
        if Action.ERASE in decision.actions:
            self._attempt(self._custody.erase, "the erasure is not complete")
        self.erase_replaced(decision)

    def erase_replaced(self, decision: Decision) -> None:
        """Erase what was replaced, if the decision says so: the van may see meanwhile.

        Its key does not wait for the log; the entry of its erasure does, for that of the end of its period.
        """
        if Action.ERASE_REPLACED not in decision.actions:
            return
        failed = "the erasure of what was replaced is not complete"
        self._attempt(self._custody.destroy_replaced, failed)  # returns when whoever takes over has told the log
        if not self._late.waits:
            self._attempt(self._custody.erase_replaced, failed)

    def destroy(self) -> None:
        """Destroy key and package of what has ended, before anything is said of it."""
        self._attempt(self._custody.destroy, "the list is not destroyed yet")

    def purge(self, delete: Callable[[str], Purged], *, but: str | None = None) -> bool:
        """Delete the alerts of revoked orders, `but` those of one; False while the disk refuses."""
        for order in self._keeper.record.purge:
            if order != but:
                self._attempt(partial(self._purge, delete, order), "the revocation is not complete")
        return not self._keeper.record.purge

    def purged(self, order: str, purged: Purged) -> None:
        """So many alerts and test passes of a revoked order were deleted, and none is left."""
        event = AlertsErased(
            by=SYSTEM,
            why="the deployment was revoked",
            order=order,
            alerts=purged.alerts,
            test_passes=purged.test_passes,
            cause="revoked",
        )
        self._late.say(event)
        self._keeper.purged(order)

    def _purge(self, delete: Callable[[str], Purged], order: str) -> None:
        self.purged(order, delete(order))

    def _attempt(self, step: Callable[[], object], failed: str) -> None:
        try:
            step()
        except LfrEdgeError as error:
            what = f"{failed}: {error}"
            if what != self._complaint:  # once, not five times a second
                _LOG.error("%s", what)
            self._complaint = what
