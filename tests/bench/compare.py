"""`make bench`: our speed beside that of other software, in turns, so that whatever disturbs the machine disturbs all.

Writes result.json (every number of every run) and table.md (what docs/performance.md shows) into --out, and prints the
table. `--beside DIR` measures another checkout of this project as one more peer: a change against what was before it.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench import tables
from bench.live import live
from bench.runs import PEERS, REPOSITORY, Bench, bench_of, clip_run, less_precise, ours, peer

from lfr_edge.errors import LfrEdgeError
from lfr_edge.evaluation.bench.clip_run import ClipRun
from lfr_edge.evaluation.report import machine

# Of so many blocks of ten pictures, a peer looks at one in the short form: all of them would take ten minutes a round.
_EVERY = {"onnx_runtime": 6, "opencv_dnn": 6, "dlib_faces": 29}
_CLIPS_OF_AN_HOUR = 158
_GLANCING = ("--full-look-every", "3")
_SEARCHES = (
    (10_000,),
    (17_000, "--engine-set", "yunet-duo"),  # 384 values
    (100_000,),
    (1_000_000,),
)


def main() -> int:
    args = _arguments()
    say = _Say()
    try:
        bench = bench_of(
            args.engine_set, args.store, entries=args.entries, cores=args.cores, peers_python=args.peers_python
        )
        args.out.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = {}
        for part in _parts(bench, args, say):
            result |= part
            (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
            (args.out / "table.md").write_text(tables.everything(result, bench.truth), "utf-8")
    except LfrEdgeError as error:
        say(f"{error.message}\n  fix: {error.fix}")
        return 2
    sys.stdout.write((args.out / "table.md").read_text("utf-8"))
    say(f"written to {args.out}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--engine-set", default="yunet-mobilefacenet")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "bench")
    parser.add_argument("--peers-python", type=Path, default=REPOSITORY / ".venv-bench" / "bin" / "python")
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path, action="append", default=[], help="another checkout; repeatable")
    parser.add_argument("--long", action="store_true", help="every picture for the peers, all sizes, an hour of clip")
    parser.add_argument("--only-rounds", action="store_true", help="the comparison alone")
    return parser.parse_args()


class _Say:
    """Progress, to standard error."""

    def __call__(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _parts(bench: Bench, args: argparse.Namespace, say: _Say) -> Iterator[dict[str, Any]]:
    """One part of the result after another, so that what was measured is kept whatever comes next."""
    header = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "engine_set": {"name": bench.engine_set.name, "digest": bench.engine_set.digest},
        "entries": bench.entries,
        "cores": bench.cores,
        "listed": sorted(bench.photos),
        "long": args.long,
    }
    for rounds in _rounds(bench, args, say):
        yield header | rounds
    if args.only_rounds:
        return
    say("profile")
    yield {"profile": ours(bench, "--profile")["profile"]}
    yield {"search": [_searched(bench, size, say, *options) for size, *options in _SEARCHES]}
    benches = [one for one in (bench, less_precise(bench)) if one is not None]
    yield {"live": [_lived(one, say, cameras=1, fps=25, turns=10 if args.long else 1) for one in benches]}
    turns = 4 if args.long else 1
    four = [(one, every) for one in benches for every in (1, 3)]
    yield {"live_of_four": [_lived(one, say, cameras=4, fps=15, turns=turns, every=every) for one, every in four]}
    yield {"scaling": [_scaled(bench, options, say) for options in _scalings(long=args.long)]}
    if args.long:
        say("an hour of clip")
        hour = ours(bench, "--repeat", str(_CLIPS_OF_AN_HOUR), "--entries", "17000")
        yield {"hour": {"clip": hour["clip"], "rss_growth_mib": hour["rss_growth_mib"]}}


def _lived(bench: Bench, say: _Say, *, cameras: int, fps: float, turns: int, every: int = 1) -> dict[str, Any]:
    say(f"live: {bench.engine_set.name}, {cameras} camera(s) at {fps} pictures/s, a full look every {every}")
    return live(bench, cameras=cameras, fps=fps, turns=turns, full_look_every=every)


def _rounds(bench: Bench, args: argparse.Namespace, say: _Say) -> Iterator[dict[str, Any]]:
    """Everybody in turns, `--rounds` times over; after each round, all until then."""
    runs: dict[str, list[ClipRun]] = defaultdict(list)
    software: dict[str, dict[str, str]] = {}
    limits: list[float] = []
    peers = _peers_there_are(args.peers_python, say)
    for number in range(args.rounds):
        say(f"round {number + 1} of {args.rounds}")
        mine = ours(bench)
        software["lfr-edge"] = mine["software"]
        runs["lfr-edge"].append(clip_run(mine))
        for name, other, options in _quicker(bench):
            runs[name].append(clip_run(ours(other, *options)))
        for checkout in args.beside:
            runs[f"lfr-edge in {checkout.resolve().name}"].append(clip_run(ours(bench, checkout=checkout.resolve())))
        limits.append(ours(bench, "--what", "detector")["detector_fps"])
        for name in peers:
            run, versions = peer(bench, name, 1 if args.long else _EVERY[name])
            runs[name].append(run)
            software[name] = versions
        yield {
            "software": software,
            "runs": {name: [run.model_dump() for run in of_one] for name, of_one in runs.items()},
            "detector_fps": limits,
        }


def _quicker(bench: Bench) -> Iterator[tuple[str, Bench, Sequence[str]]]:
    """Ours with less area, fewer bits, and both: what it is called, and how it is measured."""
    yield "lfr-edge, a full look every 3 pictures", bench, _GLANCING
    if fewer_bits := less_precise(bench):
        yield "lfr-edge, bfloat16", fewer_bits, ()
        yield "lfr-edge, bfloat16, a full look every 3 pictures", fewer_bits, _GLANCING


def _peers_there_are(python: Path, say: _Say) -> Sequence[str]:
    if python.exists():
        return PEERS
    say(f"the peers are left out: there is no {python} ('make bench' makes it where requirements-bench.lock fits)")
    return ()


def _scalings(*, long: bool) -> list[dict[str, int]]:
    short = [{"cores": 1}, {"cameras": 4}]
    if not long:
        return short
    return [*short, {"cameras": 2}, {"entries": 17_000}, {"entries": 100_000}, {"entries": 1_000_000}]


def _scaled(bench: Bench, options: dict[str, int], say: _Say) -> dict[str, Any]:
    say(", ".join(f"{name} {value}" for name, value in options.items()))
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return {"options": options, "clip": ours(bench, *given)["clip"]}


def _searched(bench: Bench, entries: int, say: _Say, *options: str) -> dict[str, Any]:
    say(f"search of {entries}")
    return dict(ours(bench, "--what", "search", "--entries", str(entries), *options)["search"])


if __name__ == "__main__":
    sys.exit(main())
