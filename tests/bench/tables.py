"""result.json as the Markdown that docs/performance.md shows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.spread import Spread, ratios

from lfr_edge.evaluation.bench.clip_run import ClipRun, against_truth
from lfr_edge.evaluation.truth import GroundTruth

OURS = "lfr-edge"
CALLED = {
    "onnx_runtime": "onnxruntime, same models, per face",
    "opencv_dnn": "OpenCV: FaceDetectorYN, same embedder in cv2.dnn",
    "dlib_faces": "face_recognition's way with dlib (HOG, ResNet)",
}
_WORTH_A_ROW = 0.0005  # of the time, or of the processor time: of stages below that there are many

Result = Mapping[str, Any]


def everything(result: Result, truth: GroundTruth) -> str:
    """All tables there are numbers for."""
    parts: Sequence[tuple[str, Callable[[], Iterator[str]]]] = (
        ("runs", lambda: comparison(result, truth)),
        ("profile", lambda: profile(result["profile"])),
        ("search", lambda: search(result["search"])),
        ("live", lambda: live([*result["live"], *result.get("live_of_four", ())])),
        ("scaling", lambda: scaling(result)),
        ("hour", lambda: hour(result["hour"])),
    )
    blocks = ["\n".join(made()) for key, made in parts if key in result]
    return "\n\n".join(["\n".join(heading(result)), *blocks]) + "\n"


def heading(result: Result) -> Iterator[str]:
    """When, where, with what."""
    rounds = len(result["detector_fps"])
    used = {f"{name} {version}" for versions in result["software"].values() for name, version in versions.items()}
    yield f"{result['date']}, {result['machine']}; {result['cores']} cores used; {', '.join(sorted(used))}."
    yield f"Engine set {result['engine_set']['name']} `{result['engine_set']['digest'][:16]}`,"
    yield f"{result['entries']:,} entries, {rounds} round(s) in turns: median (lowest-highest)."


def comparison(result: Result, truth: GroundTruth) -> Iterator[str]:
    """Everybody on the street clip."""
    runs = {name: [ClipRun.model_validate(run) for run in of_one] for name, of_one in result["runs"].items()}
    mine = [run.fps for run in runs[OURS]]
    yield (
        "| | pictures/s | lfr-edge is faster by | found | false matches | faces embedded per picture |"
        " processor ms per picture | most memory, MiB | pictures |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, of_one in runs.items():
        last, found = of_one[-1], against_truth(of_one[-1], truth, set(result["listed"]))
        cells = [
            CALLED.get(name, name),
            Spread.of([run.fps for run in of_one]).show(),
            "" if name == OURS else ratios(mine, [run.fps for run in of_one]).show(2),
            f"{len(found.found)} of {found.due}",
            str(found.false_sightings),
            f"{last.embeddings / last.pictures:.2f}",
            Spread.of([1e3 * run.cpu_seconds / run.pictures for run in of_one]).show(),
            Spread.of([run.peak_rss_mib for run in of_one]).show(0),
            f"{last.pictures} of {last.of_pictures}",
        ]
        yield _row(cells)
    limit = result["detector_fps"]
    yield ""
    yield f"Bare detector on the same cores: {Spread.of(limit).show()} pictures/s;"
    yield f"share of it that lfr-edge reaches: {ratios(mine, limit).show(2)}."


def profile(shares: Mapping[str, Any]) -> Iterator[str]:
    """Where the time goes, stage by stage."""
    yield "| thread | stage | calls | ms per picture | of the time, % | of the processor time, % |"
    yield "|---|---|---|---|---|---|"
    for row in shares["rows"]:
        if max(row["wall_share"], row["cpu_share"]) >= _WORTH_A_ROW:
            yield _row(
                [
                    row["thread"],
                    row["stage"],
                    str(row["calls"]),
                    f"{row['wall_ms_per_picture']:.3f}",
                    f"{100 * row['wall_share']:.1f}",
                    f"{100 * row['cpu_share']:.1f}",
                ]
            )
    yield ""
    yield f"Besides the engines: {100 * shares['besides_wall']:.1f} % of the time that the recognising thread works,"
    yield f"{100 * shares['besides_cpu']:.1f} % of the processor time of all threads."


def scaling(result: Result) -> Iterator[str]:
    """One thing changed at a time, one run each."""
    yield f"| {result['cores']} cores, 1 camera, {result['entries']:,} entries, but | pictures/s | most memory, MiB |"
    yield "|---|---|---|"
    mine = [ClipRun.model_validate(run) for run in result["runs"][OURS]]
    yield _row(
        [
            "nothing else",
            Spread.of([run.fps for run in mine]).show(),
            Spread.of([run.peak_rss_mib for run in mine]).show(0),
        ]
    )
    for one in result["scaling"]:
        run = ClipRun.model_validate(one["clip"])
        changed = ", ".join(f"{name} {value:,}" for name, value in one["options"].items())
        yield _row([changed, f"{run.fps:.1f}", f"{run.peak_rss_mib:.0f}"])


def search(times: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The search alone."""
    yield "| entries x values | search, ms | reading the templates once, ms | times that |"
    yield "|---|---|---|---|"
    for one in times:
        cells = [f"{one['entries']:,} x {one['dimension']}", f"{one['search_ms']:.3f}", f"{one['read_ms']:.3f}"]
        yield _row([*cells, f"{one['search_ms'] / one['read_ms']:.2f}"])


def live(plays: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Pictures in their own time, the whole van."""
    yield "| live | alerts | captured to subscriber, ms: p50 | p99 | step, ms: p50 | p99 | superseded | queue |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in plays:
        quantiles = ["-" if one[key] is None else f"{one[key]:.0f}" for key in ("p50_ms", "p99_ms")]
        yield _row(
            [
                f"{one['cameras']} x {one['fps']:g} pictures/s, {one['precision']}{_glancing(one['full_look_every'])}",
                str(len(one["alerts"])),
                *quantiles,
                f"{one['step_ms_p50']:.0f}",
                f"{one['step_ms_p99']:.0f}",
                f"{one['superseded']} of {one['frames_read']}",
                str(one["longest_queue"]),
            ]
        )


def _glancing(every: int) -> str:
    return "" if every == 1 else f", a full look every {every}"


def hour(one: Mapping[str, Any]) -> Iterator[str]:
    """Memory over an hour of clip."""
    run = ClipRun.model_validate(one["clip"])
    yield f"{run.pictures:,} pictures in {run.seconds:.0f} s with {run.list_size:,} entries: at most"
    yield f"{run.peak_rss_mib:.0f} MiB, grown by {one['rss_growth_mib']:.1f} MiB after the first fifth."


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
