"""Every memory lock answers truthfully and leaves the mapping usable."""

import mmap
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from lfr_edge.biometrics.locking import FakeMemoryLock, LibcMemoryLock, MemoryLock


@pytest.fixture(params=["libc", "fake"])
def memory_lock(request: pytest.FixtureRequest) -> MemoryLock:
    return LibcMemoryLock() if request.param == "libc" else FakeMemoryLock(allow=True)


def test_a_small_mapping_can_be_locked_written_and_closed(memory_lock: MemoryLock) -> None:
    mapping = mmap.mmap(-1, mmap.PAGESIZE)
    assert memory_lock.lock(mapping)
    mapping[:4] = b"face"
    mapping.close()


def test_libc_really_pins_the_pages() -> None:
    def locked_kib() -> int:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmLck:"))

    before = locked_kib()
    mapping = mmap.mmap(-1, 64 * mmap.PAGESIZE)
    assert LibcMemoryLock().lock(mapping)
    assert locked_kib() - before == 64 * mmap.PAGESIZE // 1024
    mapping.close()
    assert locked_kib() == before


def test_libc_says_so_where_the_limit_forbids_it() -> None:
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == 0:
        pytest.skip("this machine's limit for locked memory is already 0")
    program = """
import ctypes, mmap, os, resource
from lfr_edge.biometrics.locking import LibcMemoryLock
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)  # the limit does not bind root
print(LibcMemoryLock().lock(mmap.mmap(-1, 4096)))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
