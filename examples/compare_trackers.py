"""Compare the product's tracker with those of libraries, on the demo's clip and on streets made of numbers.

    python examples/compare_trackers.py --store .cache/engines

The store is one that `lfr-edge engines fetch` has filled; without it, detections are the true boxes, shaken. Libraries
that are not installed are named and left out. They are no part of the project: `pip install trackers norfair` first.

Every tracker gets the same boxes. `as it comes`: the library's own settings (norfair: those of its documentation).
`told the rate`: the pictures per second, a second until somebody is lost, two sightings until somebody counts, and the
detector's own confidence as the least, as the product's tracker has it.
"""  # noqa: INP001 - a script, not a package

import argparse
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any  # the libraries may be absent: nothing is known of their objects

import numpy as np

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.evaluation.footage import detect
from lfr_edge.evaluation.scenes import Detector, detected, hard_scenes, slower, truth_of
from lfr_edge.evaluation.tracks import FollowsFaces, TrackMeasures, measure_tracker
from lfr_edge.evaluation.truth import GroundTruth, read_ground_truth
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.tracking import Tracker, TrackerLimits, TrackerStep

_DEMO = Path(__file__).resolve().parent / "demo"
_LIBRARIES = ("trackers", "norfair")
_ENGINE_SETS = ("yunet-mobilefacenet", "centerface-dlib29")
_EVERY = (1, 2, 5, 8)  # of 25 pictures per second
_ARENA_BYTES = 128 << 20
_SEEDS = range(3)

Contender = Callable[[float], FollowsFaces]  # from the pictures per second


@dataclass(frozen=True, slots=True)
class Run:
    """One clip or scene at one rate, and what a detector found in each picture."""

    truth: GroundTruth
    found: list[list[Detection]]


class FromTrackers:
    """A tracker of the `trackers` library."""

    def __init__(self, kind: str, **settings: float) -> None:
        self._tracker = getattr(import_module("trackers"), kind)(**settings)
        self._detections = import_module("supervision").Detections

    def update(self, detections: Sequence[Detection], now_ns: int) -> TrackerStep:
        """The detections it gives a track to; it counts pictures, not time."""
        del now_ns
        boxes = np.array([tuple(detection.box_px) for detection in detections], float).reshape(-1, 4)
        sure = np.array([detection.confidence for detection in detections], float)
        given = self._detections(xyxy=boxes, confidence=sure, data={"place": np.arange(len(boxes))})
        result: Any = self._tracker.update(given)
        tracks = zip(result.tracker_id, result.data.get("place", ()), strict=True)
        return TrackerStep([(int(track), detections[int(place)]) for track, place in tracks if track >= 0], [])


class FromNorfair:
    """Norfair's tracker, by overlap."""

    def __init__(self, **settings: float) -> None:
        self._norfair = import_module("norfair")
        self._tracker = self._norfair.Tracker(distance_function="iou", **settings)

    def update(self, detections: Sequence[Detection], now_ns: int) -> TrackerStep:
        """The detections it gives a track to; it counts pictures, not time."""
        given = [
            self._norfair.Detection(
                points=np.array([detection.box_px[:2], detection.box_px[2:]]), data=(now_ns, detection)
            )
            for detection in detections
        ]
        tracks: Any = self._tracker.update(given)
        seen = [(track.id, *track.last_detection.data) for track in tracks]
        return TrackerStep([(track, detection) for track, seen_ns, detection in seen if seen_ns == now_ns], [])


class Timed:
    """A tracker, and the seconds that its updates took."""

    def __init__(self, tracker: FollowsFaces) -> None:
        self._tracker = tracker
        self.spent_s = 0.0

    def update(self, detections: Sequence[Detection], now_ns: int) -> TrackerStep:
        """What the tracker says."""
        started = time.perf_counter()
        step = self._tracker.update(detections, now_ns)
        self.spent_s += time.perf_counter() - started
        return step


def main() -> None:
    """Print one table for the clip and one for the scenes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", type=Path, help="where the models are")
    parser.add_argument("--all", action="store_true", help="all of the libraries' trackers, with both settings")
    args = parser.parse_args()
    installed = {library: version(library) for library in _LIBRARIES if find_spec(library)}
    for library in set(_LIBRARIES) - set(installed):
        print(f"{library} is not installed: left out")  # noqa: T201 - a script prints
    print("  ".join(f"{library} {number}" for library, number in installed.items()))  # noqa: T201
    chosen = contenders(installed, everything=args.all)
    print_table(chosen, clip_runs(EngineStore(args.store) if args.store else None))
    print_table(chosen, scene_runs())


def contenders(installed: Collection[str], *, everything: bool) -> dict[str, Contender]:
    """Name -> how to make one for so many pictures per second."""
    made: dict[str, Contender] = {"lfr-edge": lambda _: Tracker(TrackerLimits())}
    if "trackers" in installed:
        told = {"minimum_consecutive_frames": 2, "lost_track_buffer": 30}  # 30 are a second
        sure = {"track_activation_threshold": 0.6}
        made["ByteTrack"] = lambda fps: FromTrackers("ByteTrackTracker", frame_rate=fps, **told, **sure)
        made["OC-SORT"] = lambda fps: FromTrackers("OCSORTTracker", frame_rate=fps, **told)
        made["C-BIoU"] = lambda fps: FromTrackers("CBIoUTracker", frame_rate=fps, **told, **sure)
        if everything:
            made["SORT"] = lambda fps: FromTrackers("SORTTracker", frame_rate=fps, **told, **sure)
            made["ByteTrack as it comes"] = lambda _: FromTrackers("ByteTrackTracker")
            made["OC-SORT as it comes"] = lambda _: FromTrackers("OCSORTTracker")
            made["SORT as it comes"] = lambda _: FromTrackers("SORTTracker")
    if "norfair" in installed:
        made["norfair"] = lambda fps: FromNorfair(
            distance_threshold=0.9, hit_counter_max=max(round(fps), 3), initialization_delay=1
        )
        if everything:
            made["norfair as it comes"] = lambda _: FromNorfair(distance_threshold=0.7)
    return made


def clip_runs(store: EngineStore | None) -> Iterator[tuple[str, list[Run]]]:
    """The demo's clip: true boxes, shaken ones, and what the detectors find."""
    truth = read_ground_truth(_DEMO)
    exact = Detector(shake=0.0, missing=0.0, least_visible=0.3, false_per_s=0.0)
    rough = Detector(shake=0.03, missing=0.2, least_visible=0.3, false_per_s=0.0)
    found = {"true boxes": [detected(truth, exact, 0)], "shaken": [detected(truth, rough, seed) for seed in _SEEDS]}
    for name in _ENGINE_SETS:
        if store is not None:
            extractor = open_extractor(load_engine_set(name), store, Arena(_ARENA_BYTES), threads=1)
            found[name.partition("-")[0]] = [detect(truth, extractor)]
            extractor.close()
    for what, results in found.items():
        for every in _EVERY:
            runs = [run for result in results for run in _phases(truth, result, every)]
            yield f"{what}, {truth.fps / every:.3g}/s", runs


def _phases(truth: GroundTruth, found: list[list[Detection]], every: int) -> Iterator[Run]:
    """Every n-th picture, from the first, from the second...: a slow camera may have seen any of these."""
    for first in range(every):
        rest = GroundTruth(truth.film, truth.sha256, truth.pictures[first:])
        yield Run(slower(rest, every), found[first::every])


def scene_runs() -> Iterator[tuple[str, list[Run]]]:
    """The scenes, by what is hard about them."""
    for what, scenes in hard_scenes(seed=1).items():
        seen = [truth_of(scene) for scene in scenes]
        found = [detected(truth, Detector(), seed) for seed, truth in enumerate(seen)]
        for every in _EVERY:
            runs = [Run(slower(truth, every), result[::every]) for truth, result in zip(seen, found, strict=True)]
            yield f"{what}, {25 / every:.3g}/s", runs


def print_table(chosen: dict[str, Contender], rows: Iterator[tuple[str, list[Run]]]) -> None:
    """Identity switches / mixed tracks / false tracks / fragmentations, IDF1; at the end the time of one update."""
    print(f"| | people | {' | '.join(chosen)} |\n|---|---|{'---|' * len(chosen)}")  # noqa: T201
    spent_s, updates = dict.fromkeys(chosen, 0.0), 0
    for what, runs in rows:
        cells = []
        for name, make in chosen.items():
            trackers = [Timed(make(run.truth.fps)) for run in runs]
            results = [
                measure_tracker(tracker, run.truth, run.found) for tracker, run in zip(trackers, runs, strict=True)
            ]
            spent_s[name] += sum(tracker.spent_s for tracker in trackers)
            cells.append(_cell(results))
        updates += sum(len(run.found) for run in runs)
        print(f"| {what} | {sum(result.people for result in results)} | {' | '.join(cells)} |")  # noqa: T201
    times = " | ".join(f"{spent * 1e3 / updates:.2f} ms" for spent in spent_s.values())
    print(f"| one update | | {times} |\n")  # noqa: T201


def _cell(results: Sequence[TrackMeasures]) -> str:
    totals = [
        sum(getattr(result, measure) for result in results)
        for measure in ("identity_switches", "mixed_tracks", "false_tracks", "fragmentations")
    ]
    idf1 = sum(result.idf1 for result in results) / len(results)
    return f"{' / '.join(map(str, totals))}, {idf1:.3f}"


if __name__ == "__main__":
    main()
