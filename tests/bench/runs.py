"""One measurement is one process: ours `lfr-edge evaluate bench`, a peer a script with an environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lfr_edge.cli.run import TUNABLES
from lfr_edge.evaluation.bench.clip_run import ClipRun, Sighting
from lfr_edge.evaluation.footage import photos_in
from lfr_edge.evaluation.pairing import pair
from lfr_edge.evaluation.truth import GroundTruth, read_ground_truth
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, EngineSet, load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.vision.geometry import Box

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "examples" / "demo"
PEERS = ("onnx_runtime", "opencv_dnn", "dlib_faces")
_PEERS_FOLDER = Path(__file__).with_name("peers")
_MINIMUM_INTER_EYE_PX = 20.0  # `recognise.View`'s own
_THEIR_SET = "yunet-mobilefacenet"  # whatever set of ours is measured: models that every peer can load
_LONGEST_S = 3 * 3600


@dataclass(frozen=True)
class Bench:
    """What is measured, and with what."""

    engine_set: EngineSet
    store: EngineStore
    entries: int
    cores: int
    peers_python: Path

    @property
    def truth(self) -> GroundTruth:
        """Of the street clip."""
        return read_ground_truth(DATA)

    @property
    def photos(self) -> dict[str, Path]:
        """Who is on the list."""
        return photos_in([DATA / "photos"])


def bench_of(name: str, store: Path, *, entries: int, cores: int, peers_python: Path) -> Bench:
    """The bench for an engine set by name. ConfigError if there is none, or its models are not there."""
    engine_set, models = load_engine_set(name), EngineStore(store)
    models.verify(engine_set)
    return Bench(engine_set, models, entries, cores, peers_python)


def ours(bench: Bench, *options: str, checkout: Path = REPOSITORY) -> dict[str, Any]:
    """What `lfr-edge evaluate bench` says with these options, of this checkout or another one."""
    with TemporaryDirectory(prefix="lfr-edge-bench-") as out:
        command = [sys.executable, "-m", "lfr_edge.cli.main", "evaluate", "bench", "--out", out]
        command += ["--data", str(DATA), "--list", str(DATA / "photos"), "--engine-set", bench.engine_set.name]
        command += [
            "--store",
            str(bench.store.root.resolve()),
            "--entries",
            str(bench.entries),
            "--cores",
            str(bench.cores),
        ]
        # With the daemon's malloc. `-m` imports from where it is run.
        _run([*command, *options], {"GLIBC_TUNABLES": TUNABLES}, folder=checkout)
        return dict(json.loads((Path(out) / "result.json").read_text("utf-8")))


def less_precise(bench: Bench) -> Bench | None:
    """The same with the set's bfloat16 variant; None where there is none, or no processor for it."""
    name = f"{bench.engine_set.name}-bf16"
    flags = Path("/proc/cpuinfo").read_text("ascii", errors="replace").split()
    computes = {"avx512_bf16", "amx_bf16"} & set(flags)
    there_is = computes and (DEFAULT_MANIFESTS / name).is_dir()
    return replace(bench, engine_set=load_engine_set(name)) if there_is else None


def clip_run(result: Mapping[str, Any]) -> ClipRun:
    """The run in what `ours` returned."""
    return ClipRun.model_validate(result["clip"])


def peer(bench: Bench, name: str, every: int) -> tuple[ClipRun, dict[str, str]]:
    """One run of a peer, and its versions; it looks at one block of pictures of `every`."""
    their_set = load_engine_set(_THEIR_SET)
    bench.store.verify(their_set)
    (embedder,) = their_set.embedders
    job = {
        "clip": str(bench.truth.film.path),
        "photos": {person: str(photo) for person, photo in bench.photos.items()},
        "entries": bench.entries,
        "cores": sorted(os.sched_getaffinity(0))[: bench.cores],
        "every": every,
        "minimum_inter_eye_px": _MINIMUM_INTER_EYE_PX,
        "detector": str(bench.store.path_of(their_set.detector.onnx.sha256).resolve()),
        "embedder": str(bench.store.path_of(embedder.onnx.sha256).resolve()),
        "confidence": their_set.detector.confidence_threshold,
        "nms_iou": their_set.detector.nms_iou,
        "threshold": their_set.threshold,
        "template_px": embedder.template_px,
        "mean": embedder.mean,
        "std": embedder.std,
    }
    with TemporaryDirectory(prefix="lfr-edge-bench-") as folder:
        job_file, result_file = Path(folder) / "job.json", Path(folder) / "result.json"
        job_file.write_text(json.dumps(job), "utf-8")
        threads = {name: str(bench.cores) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        script = _PEERS_FOLDER / f"{name}.py"
        _run([str(bench.peers_python), str(script), str(job_file), str(result_file)], threads, folder=REPOSITORY)
        result = json.loads(result_file.read_text("utf-8"))
    software: dict[str, str] = result.pop("software")
    seen = result.pop("sightings")
    return ClipRun(**result, sightings=_shown(seen, bench.truth)), software


def _shown(seen: Sequence[Mapping[str, Any]], truth: GroundTruth) -> tuple[Sighting, ...]:
    """Whom each sighting really shows: the true face that its box is nearest to, if any is near."""
    sightings = []
    for one in seen:
        faces = truth.pictures[one["picture"]]
        place = pair(faces, [Box(*one["box_px"])]).get(0)
        shows = None if place is None else faces[place].person
        sightings.append(Sighting(picture=one["picture"], entry=one["entry"], shows=shows, score=one["score"]))
    return tuple(sightings)


def _run(command: Sequence[str], environment: Mapping[str, str], *, folder: Path) -> None:
    """Run to the end; SystemExit with its last words if it fails."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
