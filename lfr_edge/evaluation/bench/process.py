"""This process's share of the machine: which cores, how much memory."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from lfr_edge.errors import ConfigError, Reason

_SAMPLE_S = 1.0


def keep_to(cores: int) -> tuple[int, ...]:
    """Keep this process to the first `cores` that it may run on. ConfigError if there are not so many. Returns which.

    Before numpy's import: its BLAS makes as many threads as it then may use cores.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= cores <= len(allowed):
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"{cores} cores are asked for, and this process may use {len(allowed)}",
            fix=f"give --cores from 1 to {len(allowed)}",
        )
    kept = tuple(allowed[:cores])
    os.sched_setaffinity(0, kept)
    return kept


def memory_mib(field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (at most so far) of this process, in MiB."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(value) / 1024


@dataclass(frozen=True, slots=True)
class MemoryCourse:
    """Resident memory once a second while something ran, in MiB."""

    samples_mib: tuple[float, ...]

    def growth_mib(self, skip_share: float = 0.2) -> float:
        """From after the first `skip_share` of the time, when everything has been met once, to the end; 0 if short."""
        settled = self.samples_mib[int(len(self.samples_mib) * skip_share) :]
        return settled[-1] - settled[0] if len(settled) > 1 else 0.0


class MemoryWatch:
    """Samples resident memory while its `with` block runs."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def course(self) -> MemoryCourse:
        """What was seen so far."""
        return MemoryCourse(tuple(self._samples))

    def _run(self) -> None:
        while True:
            self._samples.append(memory_mib("VmRSS"))
            if self._stop.wait(_SAMPLE_S):
                return
