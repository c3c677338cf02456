"""What the vision tests share: an arena, a template, and a watch on every array buffer that numpy allocates."""

import ctypes
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.vision.detection import DecodeLimits, Detection, decode

try:
    from numpy._core._multiarray_umath import _ARRAY_API
except ImportError:  # numpy 1.26
    from numpy.core._multiarray_umath import _ARRAY_API

TEMPLATE_PX = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

_SET_HANDLER = 304  # numpy/_core/code_generators/numpy_api.py: PyDataMem_SetHandler, stable since 1.22
_MALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_CALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_REALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


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
        self.sizes: list[int] = []
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

    def watch(self, action: Callable[[], object]) -> list[int]:
        """Sizes of all array buffers that `action` allocates."""
        self.sizes.clear()
        before = self._set(self._capsule)
        try:
            action()
        finally:
            self._set(before)
        return list(self.sizes)

    def _malloc(self, _: int, size: int) -> int:
        self.sizes.append(size)
        address: int = self._libc.malloc(size)
        return address

    def _calloc(self, _: int, count: int, size: int) -> int:
        self.sizes.append(count * size)
        address: int = self._libc.calloc(count, size)
        return address

    def _realloc(self, _: int, address: int, size: int) -> int:
        self.sizes.append(size)
        moved: int = self._libc.realloc(address, size)
        return moved

    def _free(self, _: int, address: int, __: int) -> None:
        self._libc.free(address)


_RECORDER = _Recorder()


# A call -> the largest array buffer it allocates, and the peak of everything allocated (with the buffers in which
# ufuncs cast, 8192 elements each), both in bytes and outside of the arena.
HeapUse = Callable[[Callable[[], object]], tuple[int, int]]


def heap_use(action: Callable[[], object]) -> tuple[int, int]:
    """Run `action` three times: once to fill caches, once to see each array, once to see the sum of everything."""
    action()
    sizes = _RECORDER.watch(action)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        action()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return max(sizes, default=0), peak - before


@pytest.fixture
def heap() -> HeapUse:
    return heap_use


@pytest.fixture
def template() -> NDArray[np.float64]:
    return TEMPLATE_PX.copy()


@pytest.fixture
def arena() -> Iterator[Arena]:
    """An arena that must have everything back at the end of the test."""
    arena = Arena(16 << 20, memory_lock=FakeMemoryLock(allow=False))
    yield arena
    assert arena.leased_bytes == 0


@pytest.fixture(scope="session")
def street(shared: Path) -> list[tuple[list[Detection], list[dict[str, Any]]]]:
    """What YuNet finds in every fortieth picture of the rendered street, and who is there (ground_truth.json)."""
    av = pytest.importorskip("av")
    openvino = pytest.importorskip("openvino")
    truth = json.loads((shared / "media/synthetic/ground_truth.json").read_text())["frames"]
    core = openvino.Core()
    model = core.compile_model(core.read_model(shared / "models/yunet_n_dynamic.onnx"), "CPU")
    names = [next(name for name in output.get_names() if "_" in name) for output in model.outputs]
    pictures = []
    with av.open(str(shared / "media/synthetic/street_clip.mp4")) as clip:
        for index, frame in enumerate(clip.decode(video=0)):
            if index % 40 == 0:
                padded = np.zeros((736, 1280, 3), np.float32)
                padded[:720] = frame.to_ndarray(format="bgr24")
                results = model(np.ascontiguousarray(padded.transpose(2, 0, 1)[np.newaxis]))
                planes = {name: results[place][0].copy() for place, name in enumerate(names)}
                faces = decode("yunet", planes, limits=DecodeLimits(0.6, 0.45, 1280, 720))
                pictures.append((faces, truth[index]["faces"]))
    return pictures
