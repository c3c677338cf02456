"""Results as tables for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from lfr_edge.evaluation.clips import ClipMeasures, ScoreSummary
from lfr_edge.evaluation.footage import FootageMeasures
from lfr_edge.evaluation.identification import Identification
from lfr_edge.evaluation.intervals import Estimate
from lfr_edge.evaluation.report import Evaluated


def identification_table(data: str, rows: Sequence[tuple[Evaluated, Identification]]) -> Table:
    """One block for each engine set, one line for each operating point. Rates in per cent."""
    table = Table(title=f"open-set identification on {data}", caption="per cent [95 % interval over people]")
    table.add_column("engine set")
    table.add_column("at")
    for heading in ("T", "FPIR(N, T)", "TPIR(N, 1, T)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for evaluated, measured in rows:
        about = (
            evaluated.title,
            f"N {measured.list_size}, {measured.milliseconds_per_face:.1f} ms/face",
            f"failed to enrol {measured.failures_to_enrol},",
            f"to acquire {measured.failures_to_acquire}",
        )
        lines = [
            (point.name, f"{point.threshold:.3f}", _per_cent(point.fpir), _per_cent(point.tpir))
            for point in measured.points
        ]
        _add_block(table, about, [*lines, ("rank 1", "none", "", _per_cent(measured.rank_1))])
    return table


def footage_table(data: str, rows: Sequence[tuple[Evaluated, FootageMeasures]]) -> Table:
    """One block for each engine set and variant."""
    table = Table("engine set", "of", "measured", title=f"footage with ground truth: {data}")
    for evaluated, measured in rows:
        about = (evaluated.title, f"N {measured.list_size}, T {measured.threshold:g}")
        totals, tracking = measured.totals, measured.tracking
        lines = [
            ("passes", f"{totals.recognised} of {totals.due} recognised, {totals.repeated} repeated"),
            ("", f"decided after {_seconds(totals.decided_after_s)} s"),
            ("false alerts", f"{totals.false_alerts} in {totals.passes} passes, {3600 * totals.hours:.0f} s"),
            ("", f"at most {totals.false_alerts_per_1000_faces_at_most:.0f} per 1,000 faces (95 %)"),
            ("tracks", f"{tracking.tracks} of {tracking.people} people, IDF1 {tracking.idf1:.3f}"),
            ("", f"{tracking.identity_switches} switches, {tracking.fragmentations} fragmentations"),
            ("", f"{tracking.mixed_tracks} mixed, {tracking.false_tracks} false"),
            *(
                (f"{recall.from_px:g}-{recall.below_px:g} px", f"{recall.found} of {recall.faces} found")
                for recall in measured.detection.recall
                if recall.faces
            ),
            ("detector", f"{measured.detection.false_detections} false detections"),
            ("cost", _cost(measured)),
        ]
        _add_block(table, about, lines)
    return table


def clips_table(data: str, rows: Sequence[tuple[Evaluated, ClipMeasures]]) -> Table:
    """One block for each engine set and variant."""
    table = Table("engine set", "of", "measured", title=f"one person per clip: {data}")
    for evaluated, measured in rows:
        lines = [
            ("passes", f"{measured.found} of {measured.listed} recognised, {measured.repeated} repeated"),
            ("", f"decided after {_median(measured.decided_after_median_s)} (median)"),
            ("false alerts", f"{measured.false_alerts} in {len(measured.showings)} passes"),
            ("genuine scores", _scores(measured.genuine)),
            ("impostor scores", _scores(measured.impostor)),
            ("equal error rate", f"{100 * measured.equal_error_rate:.1f} % of single faces"),
            ("cost", _cost(measured)),
        ]
        _add_block(table, (evaluated.title, f"T {measured.threshold:g}"), lines)
    return table


def _add_block(table: Table, about: Sequence[str], lines: Sequence[tuple[str, ...]]) -> None:
    for number, line in enumerate(lines):
        first = about[number] if number < len(about) else ""
        table.add_row(first, *line, end_section=number == len(lines) - 1)


def _per_cent(estimate: Estimate) -> str:
    value, low, high = (f"{100 * rate:.1f}" for rate in (estimate.value, estimate.low, estimate.high))
    return f"{value} \\[{low}, {high}]"


def _scores(summary: ScoreSummary) -> str:
    between = f"5 to 95 %: {summary.percentile_5:.2f} to {summary.percentile_95:.2f}"
    return f"mean {summary.mean:.2f}, {between}, all: {summary.lowest:.2f} to {summary.highest:.2f}"


def _cost(measured: FootageMeasures | ClipMeasures) -> str:
    each = f"{measured.embeddings_per_pass:.1f} embeddings/pass"
    return f"{each}, {measured.milliseconds_per_picture:.1f} ms/picture"


def _median(time_s: float | None) -> str:
    return "no time" if time_s is None else f"{time_s:.2f} s"


def _seconds(times_s: Sequence[float]) -> str:
    return ", ".join(f"{time_s:.2f}" for time_s in times_s) or "no"
