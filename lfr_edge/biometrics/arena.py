"""Leased memory: the lifetime of every pixel, face and feature buffer that is ours.

One anonymous mapping, pinned, left out of core files and of forked children. A lease is one block of it, handed out
as a numpy array and wiped when released, exception or not. A view that outlives its lease is detected: numpy makes
every view of the leased array keep one base array alive, and a weak reference to that base array tells whether anybody
still does. Such a block has been wiped, is never handed out again while the view lives, and the release raises.

What is not here: how long something may stay (`retention`), and what it shows (`image`).
"""

import ctypes
import math
import mmap
import threading
import time
import weakref
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lfr_edge.biometrics.locking import LibcMemoryLock, MemoryLock
from lfr_edge.biometrics.retention import Row
from lfr_edge.errors import DeviceError, Reason

_ALIGNMENT = 64  # one cache line, and what OpenVINO and CUDA want of a tensor's address


class EscapedViewError(RuntimeError):
    """A view of a lease outlived it. A bug of ours: the memory is wiped, but somebody meant to keep a face."""


class Lease:
    """Exclusive use of one wiped block until `release`. Use it as a context manager, or pass it on to one owner.

    Never bind `lease.array` to a name in the function that releases it: that name would be a kept view. Pass it on as
    an argument instead, so that it is gone when the callee returns.
    """

    __slots__ = ("_arena", "_array", "_base", "_offset", "_size", "leased_ns", "row")

    def __init__(
        self, arena: "Arena", row: Row, offset: int, size: int, base: NDArray[Any], array: NDArray[Any]
    ) -> None:
        # Any: a lease is of whatever dtype its holder asked for, known to the holder, not to the type checker.
        self._arena = arena
        self._offset = offset
        self._size = size
        self._base: NDArray[Any] | None = base
        self._array: NDArray[Any] | None = array
        self.row = row
        self.leased_ns = time.monotonic_ns()

    @property
    def array(self) -> NDArray[Any]:
        """The memory, in the shape and dtype asked for. Raises RuntimeError once released."""
        if self._array is None:
            raise RuntimeError(f"the lease '{self.row.name}' was released")
        return self._array

    def release(self) -> None:
        """Wipe and give back. A second release does nothing; a kept view raises EscapedViewError."""
        if not self._give_back():
            raise EscapedViewError(f"a view of the lease '{self.row.name}' was kept after its release")

    def _give_back(self) -> bool:
        if self._array is None or self._base is None:
            return True
        watcher = weakref.ref(self._base)
        self._array = None
        self._base = None
        return self._arena._take_back(self, self._offset, self._size, watcher)  # noqa: SLF001 - one unit with Arena

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unbroken = self._give_back()
        if not unbroken and error is None:
            # Under an exception the traceback keeps views alive: the block stays wiped and out of use until it is gone.
            raise EscapedViewError(f"a view of the lease '{self.row.name}' was kept after its release")


class Arena:
    """A fixed amount of memory that forgets. Thread-safe."""

    def __init__(self, capacity_bytes: int, *, memory_lock: MemoryLock | None = None) -> None:
        self._map = mmap.mmap(-1, _rounded(capacity_bytes, mmap.PAGESIZE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._map.madvise(mmap.MADV_DONTDUMP)
        self._map.madvise(mmap.MADV_DONTFORK)
        self.locked = (memory_lock or LibcMemoryLock()).lock(self._map)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._mutex = threading.Lock()
        self._free: list[tuple[int, int]] = [(0, len(self._map))]  # (offset, size), by offset, never adjacent
        self._held: dict[int, Lease] = {}
        self._passing = 0  # bytes of leases whose row has a deadline
        self._most_passing = 0
        self._quarantine: list[tuple[int, int, weakref.ref[NDArray[Any]]]] = []

    def lease(self, row: Row, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> Lease:
        """A wiped C-contiguous array of `shape`, 64-byte aligned. DeviceError if the arena is full."""
        kind = np.dtype(dtype)
        length = kind.itemsize * math.prod(shape)
        size = max(_rounded(length, _ALIGNMENT), _ALIGNMENT)
        with self._mutex:
            offset = self._find(size, lasting=row.bound_s is None)
            base = np.frombuffer(self._map, dtype=kind, count=math.prod(shape), offset=offset)
            lease = Lease(self, row, offset, size, base, base.reshape(shape))
            self._held[offset] = lease
            if row.bound_s is not None:
                self._passing += size
                self._most_passing = max(self._most_passing, self._passing)
        return lease

    @property
    def leased_bytes(self) -> int:
        """What is handed out or quarantined now."""
        with self._mutex:
            return len(self._map) - sum(size for _, size in self._free)

    @property
    def most_passing_bytes(self) -> int:
        """The most that comes and goes has taken at once so far: rows with a deadline."""
        with self._mutex:
            return self._most_passing

    @property
    def spare_bytes(self) -> int:
        """What more may stay, so that as much as ever before can still come and go: rows with a deadline."""
        with self._mutex:
            lasting = sum(lease._size for lease in self._held.values() if lease.row.bound_s is None)  # noqa: SLF001
            return len(self._map) - lasting - self._most_passing

    def overdue(self) -> list[Lease]:
        """Leases held longer than their row of the retention table allows: always empty, or a bug."""
        now_ns = time.monotonic_ns()
        with self._mutex:
            return [
                lease
                for lease in self._held.values()
                if lease.row.bound_s is not None and now_ns - lease.leased_ns > lease.row.bound_s * 1e9
            ]

    def wipe(self) -> None:
        """Overwrite everything at once, leased or not. What is leased stays leased, and reads as zeros."""
        ctypes.memset(self._address, 0, len(self._map))

    def _find(self, size: int, *, lasting: bool) -> int:
        fit = self._last_fit if lasting else self._first_fit
        for sweep in (False, True):
            if sweep:
                self._sweep()
            offset = fit(size)
            if offset is not None:
                return offset
        raise DeviceError(
            Reason.MEMORY_EXHAUSTED,
            f"the arena of {len(self._map)} bytes has no {size} bytes left",
            fix="raise memory_mib in the van's configuration, or use smaller pictures",
        )

    def _first_fit(self, size: int) -> int | None:
        for index, (offset, free) in enumerate(self._free):
            if free >= size:
                self._free[index : index + 1] = [(offset + size, free - size)] if free > size else []
                return offset
        return None

    def _last_fit(self, size: int) -> int | None:
        """For what stays: at the end, so that it does not split the room of what comes and goes."""
        for index, (offset, free) in reversed(list(enumerate(self._free))):
            if free >= size:
                self._free[index : index + 1] = [(offset, free - size)] if free > size else []
                return offset + free - size
        return None

    def _sweep(self) -> None:
        quarantined, self._quarantine = self._quarantine, []
        for offset, length, watcher in quarantined:
            if watcher() is None:
                self._insert_free(offset, length)
            else:
                self._quarantine.append((offset, length, watcher))

    def _take_back(self, lease: Lease, offset: int, size: int, watcher: "weakref.ref[NDArray[Any]]") -> bool:
        ctypes.memset(self._address + offset, 0, size)
        with self._mutex:
            if self._held.pop(offset, None) is not lease:
                raise RuntimeError("a lease was given back twice")
            if lease.row.bound_s is not None:
                self._passing -= size
            if watcher() is not None:
                self._quarantine.append((offset, size, watcher))
                return False
            self._insert_free(offset, size)
        return True

    def _insert_free(self, offset: int, size: int) -> None:
        index = next((i for i, (start, _) in enumerate(self._free) if start > offset), len(self._free))
        self._free.insert(index, (offset, size))
        for left in (index, index - 1):
            if 0 <= left < len(self._free) - 1:
                (start, length), (next_start, next_length) = self._free[left : left + 2]
                if start + length == next_start:
                    self._free[left : left + 2] = [(start, length + next_length)]


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
