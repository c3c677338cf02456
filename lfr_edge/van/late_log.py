"""Entries that follow what was done: the disk may refuse them for a while, and that must hold nothing up.

What must be in the log before it is done goes to `AuditLog` itself.
"""

import logging
import threading

from lfr_edge.audit.fields import Event
from lfr_edge.audit.log import AuditLog
from lfr_edge.errors import DeviceError

_LOG = logging.getLogger(__name__)


class LateLog:
    """Thread-safe. What the log does not take stays in memory, in its order."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._mutex = threading.Lock()
        self._waiting: list[Event] = []
        self._complained = False

    @property
    def waits(self) -> bool:
        """Is something not in the log yet."""
        return bool(self._waiting)

    def say(self, *events: Event) -> bool:
        """Put them into the log, after what waits; without any, try what waits again. Does nothing wait any more."""
        with self._mutex:
            self._waiting += events
            try:
                self._log.append(*self._waiting)
            except DeviceError as error:
                if not self._complained:
                    _LOG.error("what happened is not in the log yet: %s", error)
                self._complained = True
            else:
                self._waiting.clear()
                self._complained = False
            return not self._waiting
