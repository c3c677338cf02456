"""A watch on every array buffer that numpy allocates, and on the sum of everything Python does."""

import ctypes
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

try:
    from numpy._core._multiarray_umath import _ARRAY_API
except ImportError:  # numpy 1.26
    from numpy.core._multiarray_umath import _ARRAY_API

_SET_HANDLER = 304  # numpy/_core/code_generators/numpy_api.py: PyDataMem_SetHandler, stable since 1.22
_MALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_CALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_REALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@dataclass(frozen=True)
class Allocation:
    """One array buffer: its size in bytes, and the line outside of numpy that asked for it."""

    size: int
    file: str
    line: int


class _Allocator(ctypes.Structure):
    _fields_ = (
        ("context", ctypes.c_void_p),
        ("malloc", _MALLOC),
        ("calloc", _CALLOC),
        ("realloc", _REALLOC),
        ("free", _FREE),
    )


class _Handler(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator))


class _Recorder:
    """numpy's allocator (NEP 49) as libc's, writing down every size. Lives as long as the process: arrays keep it."""

    def __init__(self) -> None:
        self.seen: list[Allocation] = []
        libc = ctypes.CDLL(None)
        libc.malloc.restype = libc.calloc.restype = libc.realloc.restype = ctypes.c_void_p
        libc.malloc.argtypes = [ctypes.c_size_t]
        libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        self._libc = libc
        allocator = _Allocator(
            None, _MALLOC(self._malloc), _CALLOC(self._calloc), _REALLOC(self._realloc), _FREE(self._free)
        )
        self._handler = _Handler(b"recorder", 1, allocator)
        new_capsule = ctypes.pythonapi.PyCapsule_New
        new_capsule.restype = ctypes.py_object
        new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self._capsule = new_capsule(ctypes.addressof(self._handler), b"mem_handler", None)
        get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
        get_pointer.restype = ctypes.c_void_p
        get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
        table = ctypes.cast(get_pointer(_ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
        self._set = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])

    def watch(self, action: Callable[[], object]) -> list[Allocation]:
        """All array buffers that `action` allocates."""
        self.seen.clear()
        before = self._set(self._capsule)
        try:
            action()
        finally:
            self._set(before)
        return list(self.seen)

    def _note(self, size: int) -> None:
        frame = sys._getframe(2)
        while "/numpy/" in frame.f_code.co_filename and frame.f_back is not None:
            frame = frame.f_back
        self.seen.append(Allocation(size, Path(frame.f_code.co_filename).name, frame.f_lineno))

    def _malloc(self, _: int, size: int) -> int:
        self._note(size)
        address: int = self._libc.malloc(size)
        return address

    def _calloc(self, _: int, count: int, size: int) -> int:
        self._note(count * size)
        address: int = self._libc.calloc(count, size)
        return address

    def _realloc(self, _: int, address: int, size: int) -> int:
        self._note(size)
        moved: int = self._libc.realloc(address, size)
        return moved

    def _free(self, _: int, address: int, __: int) -> None:
        self._libc.free(address)


_RECORDER = _Recorder()


def allocations(action: Callable[[], object]) -> list[Allocation]:
    """Every array buffer outside of the arena that `action` allocates, and the line that did."""
    return _RECORDER.watch(action)


# A call -> the largest array buffer it allocates, and the peak of everything allocated (with the buffers in which
# ufuncs cast, 8192 elements each), both in bytes and outside of the arena.
HeapUse = Callable[[Callable[[], object]], tuple[int, int]]


def heap_use(action: Callable[[], object]) -> tuple[int, int]:
    """Run `action` three times: once to fill caches, once to see each array, once to see the sum of everything."""
    action()
    sizes = [allocation.size for allocation in allocations(action)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        action()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return max(sizes, default=0), peak - before
