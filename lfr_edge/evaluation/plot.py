"""The DET plot. The only importer of matplotlib."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import PUBLIC, new_file

try:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
except ModuleNotFoundError as missing:
    raise ConfigError(
        Reason.DEPENDENCY_MISSING, "matplotlib is not installed", fix="install lfr-edge with the extra 'evaluation'"
    ) from missing


def write_det(path: Path, title: str, curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> None:
    """FNIR over FPIR for each named curve of (threshold, FPIR, FNIR), logarithmic. Equal curves give equal SVG."""
    with rc_context({"svg.hashsalt": "lfr-edge"}):
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        axes = figure.add_subplot()
        for name, points in curves.items():
            # A rate of 0 has no place on a logarithmic axis: such a curve begins at its first false positive.
            drawn = [(rate, missed) for _, rate, missed in points if rate > 0 and missed > 0]
            axes.step([rate for rate, _ in drawn], [missed for _, missed in drawn], where="post", label=name)
        axes.set(xscale="log", yscale="log", title=title)
        axes.set_xlabel("false positive identification rate FPIR(N, T)")
        axes.set_ylabel("false negative identification rate FNIR(N, 1, T)")
        axes.grid(visible=True, which="both", alpha=0.3)
        figure.legend(loc="outside lower center")
        drawing = BytesIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    with new_file(path, mode=PUBLIC, replace=True) as file:
        file.write(drawing.getvalue())
