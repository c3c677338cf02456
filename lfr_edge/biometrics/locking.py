"""Keeping pages out of swap: the `MemoryLock` port, its libc adapter, and its fake."""

import ctypes
import mmap
from typing import Protocol

# Unused pages of the arena then cost no memory (linux/mman.h; Linux 4.4, glibc 2.27).
_MLOCK_ONFAULT = 1


class MemoryLock(Protocol):
    """Pins one mapping into physical memory."""

    def lock(self, mapping: mmap.mmap) -> bool:
        """True if every page is pinned; False if the machine does not allow it (RLIMIT_MEMLOCK)."""
        ...


class LibcMemoryLock:
    """mlock2(2): each page is pinned from the moment it is first used, until the mapping is closed."""

    def lock(self, mapping: mmap.mmap) -> bool:
        """True if mlock2 succeeded."""
        libc = ctypes.CDLL(None)
        libc.mlock2.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]
        first_byte = ctypes.c_char.from_buffer(mapping)
        return bool(libc.mlock2(ctypes.addressof(first_byte), len(mapping), _MLOCK_ONFAULT) == 0)


class FakeMemoryLock:
    """Answers as told; for tests of what happens where locking is not allowed."""

    def __init__(self, *, allow: bool) -> None:
        self._allow = allow

    def lock(self, mapping: mmap.mmap) -> bool:
        """The answer given to the constructor."""
        del mapping
        return self._allow
