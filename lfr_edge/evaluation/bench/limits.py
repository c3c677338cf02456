"""What the machine itself allows: the bare detector with nothing around it, and memory read once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import av
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import TEMPLATES, WORKSPACE
from lfr_edge.evaluation.bench.lists import fill_with_nobody, list_of_nobody
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.watchlist.references import Watchlist

_PROBES = 64
_WARM = 3  # first searches, not counted


def bare_detector_fps(
    engine_set: EngineSet, store: EngineStore, size_px: tuple[int, int], *, threads: int, seconds: float
) -> float:
    """Pictures per second of the set's detector as its file is, float32, `threads` streams, one thread each.

    As OpenVINO's own benchmark_app measures: planes of floats that are ready in memory, nothing read back.
    """
    width, height = (-(-side // engine_set.detector.stride) * engine_set.detector.stride for side in size_px)
    core = ov.Core()
    model = core.read_model(store.read(engine_set.detector.onnx))
    model.reshape([1, 3, height, width])
    hints = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": str(threads),
    }
    queue = ov.AsyncInferQueue(core.compile_model(model, "CPU", hints), threads + 1)
    noise = np.random.default_rng(1).uniform(0, 255, (1, 3, height, width)).astype(np.float32)
    for request in queue:
        request.set_input_tensor(ov.Tensor(noise, shared_memory=True))

    def run_for(duration_s: float) -> tuple[int, float]:
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < duration_s:
            queue.start_async()
            done += 1
        queue.wait_all()
        return done, time.perf_counter() - started

    run_for(seconds / 4)  # warm
    pictures, took_s = run_for(seconds)
    return pictures / took_s


def size_of(clip: Path) -> tuple[int, int]:
    """Width and height of a clip's pictures."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height


@dataclass(frozen=True, slots=True)
class SearchTimes:
    """Milliseconds of one search, and of reading the same templates once, interleaved; medians."""

    entries: int
    dimension: int
    search_ms: float
    read_ms: float

    @property
    def times_the_bound(self) -> float:
        """How many times longer a search takes than memory needs to hand over the templates."""
        return self.search_ms / self.read_ms


def search_times(entries: int, dimension: int, *, repeats: int) -> SearchTimes:
    """Measure searches as the recogniser makes them, of a list of nobody."""
    arena = Arena((entries * (dimension + 1) + _PROBES * dimension) * 4 + (1 << 20))
    with (
        arena.lease(TEMPLATES, (entries, dimension), np.float32) as templates,
        arena.lease(WORKSPACE, (_PROBES, dimension), np.float32) as probes,
        arena.lease(WORKSPACE, (entries,), np.float32) as scores,
    ):
        fill_with_nobody(templates.array)
        fill_with_nobody(probes.array)
        watchlist = list_of_nobody(templates)
        times_ms = [
            _search_and_read(watchlist, templates.array.reshape(-1), probes.array[number % _PROBES], scores.array)
            for number in range(repeats + _WARM)
        ]
    search_ms, read_ms = (median(column[_WARM:]) for column in zip(*times_ms, strict=True))
    return SearchTimes(entries, dimension, search_ms, read_ms)


def _search_and_read(
    watchlist: Watchlist, flat: NDArray[np.float32], probe: NDArray[np.float32], scores: NDArray[np.float32]
) -> tuple[float, float]:
    search_ms = _took_ms(lambda: watchlist.search(probe, scores=scores))
    return search_ms, _took_ms(lambda: np.dot(flat, flat))


def _took_ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3
