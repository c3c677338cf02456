"""Arena and leases."""

import gc
from typing import Any

import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena, EscapedViewError
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.biometrics.retention import FRAME, TEMPLATES, Row
from lfr_edge.errors import DeviceError, Reason


@pytest.fixture
def arena() -> Arena:
    return Arena(1 << 16)


def fill(array: Any, value: int) -> None:
    array.fill(value)


def first_byte_of_the_whole_arena(arena: Arena) -> int:
    return int(np.frombuffer(arena._map, np.uint8).max())


def test_a_lease_is_zero_and_aligned_and_of_the_asked_shape(arena: Arena) -> None:
    with arena.lease(FRAME, (3, 5), np.float32) as lease:
        assert lease.array.shape == (3, 5)
        assert lease.array.dtype == np.float32
        assert not lease.array.any()
        assert lease.array.ctypes.data % 64 == 0


def test_release_wipes_every_byte(arena: Arena) -> None:
    lease = arena.lease(FRAME, (1000,))
    fill(lease.array, 255)
    assert first_byte_of_the_whole_arena(arena) == 255
    lease.release()
    assert first_byte_of_the_whole_arena(arena) == 0


def test_an_exception_wipes_too(arena: Arena) -> None:
    def broken_step() -> None:
        with arena.lease(FRAME, (1000,)) as lease:
            fill(lease.array, 255)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken_step()
    assert first_byte_of_the_whole_arena(arena) == 0
    assert arena.leased_bytes == 0


def test_a_kept_view_raises_and_sees_only_zeros(arena: Arena) -> None:
    lease = arena.lease(FRAME, (4, 4))
    fill(lease.array, 7)
    kept = lease.array[1:, ::2].T
    with pytest.raises(EscapedViewError, match="frame"):
        lease.release()
    assert not kept.any()


def test_the_block_of_a_kept_view_is_not_reused_until_the_view_is_gone() -> None:
    arena = Arena(4096)
    lease = arena.lease(FRAME, (4096,))
    kept = lease.array[:1]
    with pytest.raises(EscapedViewError):
        lease.release()
    with pytest.raises(DeviceError) as full:
        arena.lease(FRAME, (4096,))
    assert full.value.reason is Reason.MEMORY_EXHAUSTED
    del kept
    gc.collect()
    arena.lease(FRAME, (4096,)).release()
    assert arena.leased_bytes == 0


def test_a_view_kept_by_a_foreign_buffer_is_detected(arena: Arena) -> None:
    lease = arena.lease(FRAME, (64,))
    kept = memoryview(lease.array)
    with pytest.raises(EscapedViewError):
        lease.release()
    del kept


def test_a_released_lease_cannot_be_read(arena: Arena) -> None:
    lease = arena.lease(FRAME, (4,))
    lease.release()
    with pytest.raises(RuntimeError, match="released"):
        _ = lease.array
    lease.release()  # a second release does nothing


def test_released_blocks_grow_together_again() -> None:
    arena = Arena(4096)
    leases = [arena.lease(FRAME, (1024,)) for _ in range(4)]
    for index in (2, 0, 3, 1):
        leases[index].release()
    arena.lease(FRAME, (4096,)).release()


def test_wipe_clears_what_is_still_leased(arena: Arena) -> None:
    lease = arena.lease(FRAME, (64,))
    fill(lease.array, 1)
    arena.wipe()
    assert not lease.array.any()
    lease.release()


def test_a_lease_past_its_rows_bound_is_overdue(arena: Arena) -> None:
    at_once = Row("at-once", "nothing", "this test", 0.0)
    late = arena.lease(at_once, (8,))
    listed = arena.lease(TEMPLATES, (8,))
    assert arena.overdue() == [late]
    late.release()
    assert arena.overdue() == []
    listed.release()


def test_the_arena_says_when_it_could_not_be_locked() -> None:
    assert Arena(4096, memory_lock=FakeMemoryLock(allow=True)).locked
    assert not Arena(4096, memory_lock=FakeMemoryLock(allow=False)).locked


def test_the_mapping_is_kept_out_of_core_files_and_children(arena: Arena) -> None:
    with arena.lease(FRAME, (8,)) as lease:
        address = lease.array.ctypes.data
    flags = _vm_flags(address)
    assert {"dd", "dc"} <= flags  # VM_DONTDUMP, VM_DONTCOPY


def _vm_flags(address: int) -> set[str]:
    inside = False
    with open("/proc/self/smaps", encoding="ascii", errors="replace") as smaps:  # noqa: PTH123 - a device, not a path
        for line in smaps:
            head = line.split(maxsplit=1)[0]
            if "-" in head and not head.endswith(":"):
                low, high = (int(part, 16) for part in head.split("-"))
                inside = low <= address < high
            elif inside and line.startswith("VmFlags:"):
                return set(line.split()[1:])
    raise AssertionError("address not mapped")


def test_what_is_spare_leaves_room_for_the_most_that_ever_came_and_went() -> None:
    arena = Arena(64 * 100)
    whole = arena.spare_bytes
    with arena.lease(FRAME, (640,)), arena.lease(FRAME, (640,)):
        pass
    with arena.lease(FRAME, (640,)):
        assert arena.spare_bytes == whole - 1280
    kept = arena.lease(TEMPLATES, (6400 - 1280,))
    assert arena.spare_bytes == whole - 6400
    assert arena.most_passing_bytes == 1280
    kept.release()
    assert arena.spare_bytes == whole - 1280, "what has gone for good is spare again"


def test_what_stays_does_not_split_the_room_of_what_comes_and_goes() -> None:
    arena = Arena(1 << 16)
    eighth = len(arena._map) // 8
    kept = arena.lease(TEMPLATES, (eighth,))
    for _ in range(5):  # one list after another, both there for a while, beside pictures
        with arena.lease(FRAME, (3 * eighth,)):
            following = arena.lease(TEMPLATES, (eighth,))
        kept.release()
        kept = following
        with arena.lease(FRAME, (6 * eighth,)):
            pass
