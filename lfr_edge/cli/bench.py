"""`lfr-edge evaluate bench`: how fast this machine recognises. One measurement a process, for memory of its own.

The van's own threads, recogniser, sealer and outbox over a clip as fast as they can, with a list in memory as long as
wanted: enrolled photos, and filler that is nobody. Left out is what a picture never meets: the sealed package, the
sender, the broker.
"""

import argparse
import json
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lfr_edge.clock import SystemClock
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.evaluation.bench.process import MemoryWatch, keep_to, memory_mib
from lfr_edge.evaluation.report import machine
from lfr_edge.files import PUBLIC, new_file
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, EngineSet, load_engine_set
from lfr_edge.inference.store import DEFAULT_STORE, EngineStore

if TYPE_CHECKING:
    from lfr_edge.evaluation.bench.clip_run import ClipRun, Found
    from lfr_edge.evaluation.bench.profile import Shares

_DETECTOR_S = 4.0
_SEARCHES = 200
_NEEDS = {"clip": ("data", "list"), "detector": ("data",), "search": ()}
_LIBRARIES = ("lfr-edge", "openvino", "av", "numpy")


def add_action(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `bench` among the actions of `lfr-edge evaluate`."""
    bench = actions.add_parser("bench", help="how fast this machine recognises")
    bench.add_argument("--data", type=Path, metavar="DIR", help="a folder with ground_truth.json; not for search")
    bench.add_argument(
        "--list", type=Path, action="append", metavar="DIR", help="for clip: photos to enrol; repeatable"
    )
    bench.add_argument("--what", choices=tuple(_NEEDS), default="clip", help="(%(default)s)")
    bench.add_argument("--engine-set", default="yunet-mobilefacenet", metavar="NAME", help="(%(default)s)")
    bench.add_argument("--entries", type=int, default=10_000, help="filled up with nobody (%(default)s)")
    bench.add_argument("--cameras", type=int, default=1, help="each of which shows the clip (%(default)s)")
    bench.add_argument(
        "--full-look-every",
        type=int,
        default=1,
        metavar="N",
        help="pictures; those between are glanced at (%(default)s)",
    )
    bench.add_argument("--cores", type=int, default=2, help="of this machine's (%(default)s)")
    bench.add_argument("--repeat", type=int, default=1, help="how often the clip is shown in a row (%(default)s)")
    bench.add_argument("--profile", action="store_true", help="say what each stage takes; a little slower")
    bench.add_argument("--out", type=Path, required=True, metavar="DIR", help="for result.json")
    bench.add_argument("--manifests", type=Path, default=DEFAULT_MANIFESTS, help="engine sets (%(default)s)")
    bench.add_argument("--store", type=Path, default=DEFAULT_STORE, help="where the models are kept (%(default)s)")
    bench.set_defaults(measure=_bench)


def _bench(args: argparse.Namespace) -> None:
    for option in ("entries", "cameras", "repeat", "full-look-every"):
        if (given := getattr(args, option.replace("-", "_"))) < 1:
            raise ConfigError(Reason.VALUE_INVALID, f"--{option} is {given}", fix="give 1 or more")
    for option in _NEEDS[args.what]:
        if not getattr(args, option):
            raise ConfigError(Reason.VALUE_INVALID, f"--what {args.what} needs --{option}", fix=f"add --{option} DIR")
    keep_to(args.cores)  # before numpy counts them
    engine_set, store = load_engine_set(args.engine_set, args.manifests), EngineStore(args.store)
    measured = {"clip": _clip, "detector": _detector, "search": _search}[args.what](args, engine_set, store)
    content = {
        "what": args.what,
        "date": SystemClock().utc().isoformat(timespec="seconds"),
        "machine": machine(),
        "software": {name: version(name) for name in _LIBRARIES},
        "engine_set": {"name": engine_set.name, "contract": engine_set.contract, "digest": engine_set.digest},
        "cores": args.cores,
        **measured,
    }
    with new_file(args.out / "result.json", mode=PUBLIC, replace=True) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def _clip(args: argparse.Namespace, engine_set: EngineSet, store: EngineStore) -> dict[str, Any]:  # Any: JSON
    from lfr_edge.cli.bench_points import POINTS  # noqa: PLC0415 - numpy only after the cores are set
    from lfr_edge.cli.bench_stage import ClipStage, Setting  # noqa: PLC0415
    from lfr_edge.evaluation.bench.clip_run import ClipRun, against_truth  # noqa: PLC0415
    from lfr_edge.evaluation.bench.profile import Profile, profiled, shares_of  # noqa: PLC0415
    from lfr_edge.evaluation.bench.repeated import repeated  # noqa: PLC0415
    from lfr_edge.evaluation.footage import photos_in  # noqa: PLC0415
    from lfr_edge.evaluation.truth import read_ground_truth  # noqa: PLC0415

    store.verify(engine_set)
    truth, photos = read_ground_truth(args.data), photos_in(args.list)
    _require_room(args.entries, photos)
    profile = Profile()
    with TemporaryDirectory(prefix="lfr-edge-bench-") as folder:
        clip = truth.film.path
        if args.repeat > 1:
            clip = repeated(clip, args.repeat, Path(folder) / "repeated.mp4")
        film = replace(truth, film=replace(truth.film, path=clip))
        setting = Setting(engine_set, store, film, photos, args.entries, args.cameras, args.cores, args.full_look_every)
        with (
            ClipStage(setting) as stage,
            MemoryWatch() as memory,
            profiled(profile, POINTS) if args.profile else nullcontext(),
        ):
            cpu_s = time.process_time()
            seconds = stage.play()
            cpu_s = time.process_time() - cpu_s
            counts = stage.counts
            run = ClipRun(
                pictures=counts.frames,
                of_pictures=len(truth.pictures) * args.repeat * args.cameras,
                seconds=seconds,
                cpu_seconds=cpu_s,
                detections=counts.detections,
                embeddings=counts.embeddings,
                sightings=tuple(stage.sealer.sightings),
                peak_rss_mib=memory_mib("VmHWM"),
                list_size=args.entries,
            )
    measured: dict[str, Any] = {"clip": run.model_dump(), "rss_growth_mib": memory.course.growth_mib()}
    _say_clip(run, against_truth(run, truth, set(photos)))
    if args.profile:
        shares = shares_of(profile, seconds, cpu_s, run.pictures)
        measured["profile"] = asdict(shares)
        _say_profile(shares)
    return measured


def _detector(args: argparse.Namespace, engine_set: EngineSet, store: EngineStore) -> dict[str, Any]:  # Any: JSON
    from lfr_edge.evaluation.bench.limits import bare_detector_fps, size_of  # noqa: PLC0415 - after the cores are set
    from lfr_edge.evaluation.truth import read_ground_truth  # noqa: PLC0415

    size_px = size_of(read_ground_truth(args.data).film.path)
    fps = bare_detector_fps(engine_set, store, size_px, threads=args.cores, seconds=_DETECTOR_S)
    print(f"bare detector: {fps:.1f} pictures/s of {size_px[0]}x{size_px[1]} on {args.cores} cores")
    return {"detector_fps": fps, "size_px": size_px}


def _search(args: argparse.Namespace, engine_set: EngineSet, store: EngineStore) -> dict[str, Any]:  # Any: JSON
    from lfr_edge.evaluation.bench.limits import search_times  # noqa: PLC0415 - after the cores are set

    del store  # nothing is embedded
    times = search_times(args.entries, engine_set.dimension, repeats=_SEARCHES)
    print(
        f"search of {times.entries} x {times.dimension}: {times.search_ms:.3f} ms,"
        f" {times.times_the_bound:.2f} times what reading the templates takes"
    )
    return {"search": asdict(times)}


def _say_clip(run: "ClipRun", found: "Found") -> None:
    print(
        f"{run.fps:.1f} pictures/s ({run.pictures} in {run.seconds:.2f} s, {run.cpu_seconds:.2f} s of processor time),"
        f" {run.embeddings} faces embedded, {len(found.found)} of {found.due} people found,"
        f" {found.false_sightings} false, at most {run.peak_rss_mib:.0f} MiB"
    )


def _say_profile(shares: "Shares") -> None:
    print(f"{'thread':<12} {'stage':<16} {'calls':>7} {'ms/picture':>11} {'wall %':>7} {'cpu %':>6}")
    for row in shares.rows:
        print(
            f"{row.thread:<12} {row.stage:<16} {row.calls:>7} {row.wall_ms_per_picture:>11.3f}"
            f" {100 * row.wall_share:>7.1f} {100 * row.cpu_share:>6.1f}"
        )
    print(f"besides the engines: {100 * shares.besides_wall:.1f} % of the time of the thread that recognises,")
    print(f"{100 * shares.besides_cpu:.1f} % of the processor time of all threads")


def _require_room(entries: int, photos: dict[str, Path]) -> None:
    if entries < len(photos):
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"--entries is {entries}, and there are {len(photos)} photos to enrol",
            fix="give as many or more",
        )
