"""Reading the machine's clocks, as a port: a test sets them back by a year."""

import ctypes
import os
import time
from pathlib import Path
from typing import Protocol

from lfr_edge.clock import SystemClock
from lfr_edge.van.trusted_time import Reading

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR = 5  # adjtimex(2): "the system clock is not synchronized"
_TIMEX_BYTES = 512  # struct timex is 208 on 64-bit Linux; all zeros only asks


class Clocks(Protocol):
    """All clocks of the machine."""

    def read(self) -> Reading:
        """Now."""
        ...


class SystemClocks:
    """Those of Linux."""

    def __init__(self) -> None:
        self._boot_id = _BOOT_ID.read_text("ascii").strip()
        self._libc = ctypes.CDLL(None, use_errno=True)

    def read(self) -> Reading:
        """Now."""
        wall, boot_s = SystemClock().utc(), time.clock_gettime(time.CLOCK_BOOTTIME)
        return Reading(wall, boot_s, self._boot_id, self._synchronised())

    def _synchronised(self) -> bool:
        state: int = self._libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
        if state < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "adjtimex")
        return state != _TIME_ERROR
