"""Keeping pages out of swap: the `MemoryLock` port, its libc adapter, and its fake."""

import ctypes
import mmap
from typing import Protocol


class MemoryLock(Protocol):
    """Pins one mapping into physical memory."""

    def lock(self, mapping: mmap.mmap) -> bool:
        """True if every page is pinned; False if the machine does not allow it (RLIMIT_MEMLOCK)."""
        ...


class LibcMemoryLock:
    """mlock(2). The pages are unpinned by the kernel when the mapping is closed."""

    def lock(self, mapping: mmap.mmap) -> bool:
        """True if mlock succeeded."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        first_byte = ctypes.c_char.from_buffer(mapping)
        return bool(libc.mlock(ctypes.addressof(first_byte), len(mapping)) == 0)


class FakeMemoryLock:
    """Answers as told; for tests of what happens where locking is not allowed."""

    def __init__(self, *, allow: bool) -> None:
        self._allow = allow

    def lock(self, mapping: mmap.mmap) -> bool:
        """The answer given to the constructor."""
        del mapping
        return self._allow
