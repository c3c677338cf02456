"""Looking for traces in a process's memory: exact runs of bytes, and features at any scale."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CHUNK = 32 << 20
# Unrelated memory never correlates like this over 128 values; a copy of the same features, however scaled, does.
_ALIKE = 0.95


@dataclass(frozen=True, slots=True)
class Trace:
    """Something found."""

    what: str
    address: int
    mapping: str


def regions(pid: int) -> Iterator[tuple[int, int, str]]:
    """(start, end, description) of every writable mapping: what was written must have been writable."""
    for line in Path(f"/proc/{pid}/maps").read_text("utf-8").splitlines():
        span, permissions, _, _, _, *name = line.split(maxsplit=5)
        if permissions.startswith("rw") and not any(special in line for special in ("[vvar]", "[vsyscall]")):
            start, end = (int(part, 16) for part in span.split("-"))
            yield start, end, name[0] if name else "anonymous"


def contents(pid: int) -> Iterator[bytes]:
    """All that is in the process's writable memory, mapping by mapping."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - a device, not a path
        for start, end, _ in regions(pid):
            with contextlib.suppress(OSError):  # unmapped meanwhile
                memory.seek(start)
                yield memory.read(end - start)


def traces(pid: int, needles: Mapping[str, bytes], features: Mapping[str, NDArray[np.float32]]) -> list[Trace]:
    """Every first occurrence per chunk of a needle, and every place whose floats are `features` at any scale."""
    found = []
    overlap = max([len(needle) for needle in needles.values()] + [4 * len(vector) for vector in features.values()])
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - a device, not a path
        for start, end, mapping in regions(pid):
            for address in range(start, end, _CHUNK):
                try:
                    memory.seek(address)
                    chunk = memory.read(min(_CHUNK + overlap, end - address))
                except OSError:  # unmapped meanwhile
                    continue
                found += [
                    Trace(name, address + place, mapping)
                    for name, needle in needles.items()
                    if (place := chunk.find(needle)) >= 0
                ]
                found += [
                    Trace(name, address + place, mapping)
                    for name, vector in features.items()
                    for place in _alike(chunk, vector)
                ]
    return found


def _alike(chunk: bytes, vector: NDArray[np.float32]) -> list[int]:
    """Byte offsets where the chunk holds `vector` times any positive number."""
    values = np.frombuffer(chunk, np.float32, count=len(chunk) // 4)
    with np.errstate(all="ignore"):
        usable = np.isfinite(values) & (np.abs(values) < 1e6) & (np.abs(values) > 1e-9)
        # Features fill their whole length with ordinary numbers: look only where a run of them is long enough.
        edges = np.flatnonzero(np.diff(np.concatenate(([False], usable, [False]))))
        places = []
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if last - first >= len(vector):
                run = values[first:last].astype(np.float64)
                scores = np.correlate(run, vector / np.linalg.norm(vector), "valid")
                squares = np.concatenate(([0.0], np.cumsum(run * run)))
                lengths = np.sqrt(squares[len(vector) :] - squares[: -len(vector)])
                places += [4 * int(first + place) for place in np.flatnonzero(scores > _ALIKE * lengths)]
    return places
