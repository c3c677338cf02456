"""Who decides whether the van may see: asked before the first picture, and five times a second from then on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lfr_edge.audit.fields import Event
from lfr_edge.clock import Clock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import PolicyError, Reason
from lfr_edge.messages.order import Order
from lfr_edge.pipeline.outbox import Purged
from lfr_edge.van.commands import Commands
from lfr_edge.van.succession import Succession

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a period of recognition ended. Counts only."""

    purged: Purged | None  # what was not delivered and is deleted; None if nobody had asked for that yet, or it failed
    faces: int
    alerts: int
    test_passes: int
    unhurt: bool


class Authority(Protocol):
    """What `Daemon` asks, and tells."""

    def begins(self, order: Order, cameras: tuple[str, ...], sees: Succession) -> bool:
        """May the cameras open? Everything else is ready, and `sees` can pass on to another order from now on."""
        ...

    def passes(self, order: Order, cameras: tuple[str, ...], before: Ending) -> bool:
        """The record says that another order holds, and no picture is being compared: is it this one."""
        ...

    def may_see(self) -> bool:
        """May the van still see."""
        ...

    def purge(self, delete: Callable[[str], Purged]) -> None:
        """Delete what was not delivered of other orders, if that was asked for.

        `delete` says how much of an order that was. DeviceError if the disk refuses.
        """
        ...

    def share_of(self, order: Order) -> SealIdentity | None:
        """The unlock share of this order, None if it asks for none. PolicyError if it is not here."""
        ...

    def files_over(self) -> None:
        """Every camera was a file, and all are over."""
        ...

    def note(self, event: Event) -> bool:
        """Something happened that belongs in the van's log: is it on the disk, or will it follow when there is room.

        Thread-safe; never raises for a full disk.
        """
        ...

    def blinded(self, ending: Ending) -> None:
        """Cameras are closed, faces and list are wiped."""
        ...

    @property
    def commands(self) -> Commands | None:
        """Who takes commands from afar, if anybody."""
        ...

    @property
    def checkpoint(self) -> bytes | None:
        """The newest checkpoint of the van's log, if it keeps one."""
        ...

    @property
    def revoked(self) -> bool:
        """Is what was not delivered under the order that the van sees under, or saw, to be deleted."""
        ...

    @property
    def last_word(self) -> str:
        """The state to say at the end."""
        ...


class DemoWindow:
    """For demos and tests: one process, one demo order, nothing on the disk. PolicyError for any other order."""

    commands = None
    checkpoint = None
    revoked = False
    last_word = "ended"

    def __init__(self, order: Order, clock: Clock) -> None:
        if not order.demo:
            raise PolicyError(
                Reason.NOT_PERMITTED,
                f"order '{order.id}' is no demo, and --package is for demos",
                fix="start 'lfr-edge run' without it, then: lfr-edge deployment load PACKAGE",
            )
        if order.unlock == "required":
            raise PolicyError(
                Reason.UNLOCK_REQUIRED,
                f"order '{order.id}' asks for an unlock share, and --package cannot take one",
                fix="start 'lfr-edge run' without it, then: lfr-edge deployment load PACKAGE, and unlock",
            )
        self._clock = clock
        self._not_after = order.not_after
        # By the monotonic clock too: setting the wall clock back lengthens no deployment.
        left_s = (order.not_after - clock.utc()).total_seconds()
        self._ends_ns = clock.monotonic_ns() + round(left_s * 1e9)

    def begins(self, _order: Order, _cameras: tuple[str, ...], _sees: Succession) -> bool:
        """It was asked when the order was checked."""
        return True

    def passes(self, _order: Order, _cameras: tuple[str, ...], _before: Ending) -> bool:
        """A demo has one order."""
        return False

    def may_see(self) -> bool:
        """Until the window closes, by either clock."""
        if self._clock.utc() < self._not_after and self._clock.monotonic_ns() < self._ends_ns:
            return True
        _LOG.info("the order's window is over")
        return False

    def purge(self, _delete: Callable[[str], Purged]) -> None:
        """A demo has one order."""

    def share_of(self, _order: Order) -> None:
        """An order that asks for one was refused."""

    def files_over(self) -> None:
        """The process ends anyway."""

    def note(self, _event: Event) -> bool:
        """A demo has no log."""
        return True

    def blinded(self, _ending: Ending) -> None:
        """The process ends anyway."""
