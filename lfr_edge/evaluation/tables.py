"""Results as tables for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from lfr_edge.evaluation.identification import Identification
from lfr_edge.evaluation.intervals import Estimate
from lfr_edge.evaluation.report import Subject


def identification_table(data: str, rows: Sequence[tuple[Subject, Identification]]) -> Table:
    """One block for each engine set, one line for each operating point. Rates in per cent."""
    table = Table(title=f"open-set identification on {data}", caption="per cent [95 % interval over people]")
    table.add_column("engine set")
    table.add_column("at")
    for heading in ("T", "FPIR(N, T)", "TPIR(N, 1, T)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for subject, measured in rows:
        about = [subject.title, f"N {measured.list_size}", f"{measured.milliseconds_per_face:.1f} ms/face"]
        about.append(f"failed to enrol {measured.failures_to_enrol}, to acquire {measured.failures_to_acquire}")
        lines = [
            (point.name, f"{point.threshold:.3f}", per_cent(point.fpir), per_cent(point.tpir))
            for point in measured.points
        ]
        lines.append(("rank 1", "none", "", per_cent(measured.rank_1)))
        for number, line in enumerate(lines):
            first = about[number] if number < len(about) else ""
            table.add_row(first, *line, end_section=number == len(lines) - 1)
    return table


def per_cent(estimate: Estimate) -> str:
    """The rate and its interval."""
    value, low, high = (f"{100 * rate:.1f}" for rate in (estimate.value, estimate.low, estimate.high))
    return f"{value} \\[{low}, {high}]"
