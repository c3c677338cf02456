"""`lfr-edge evaluate`: measure how well engine sets recognise, on data with known identities; and how fast."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lfr_edge.cli import bench
from lfr_edge.clock import SystemClock
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, load_engine_set
from lfr_edge.inference.store import DEFAULT_STORE, EngineStore

if TYPE_CHECKING:
    from rich.table import Table

    from lfr_edge.evaluation.report import Evaluated
    from lfr_edge.evaluation.variants import Variant
    from lfr_edge.pipeline.extract import Extractor

_ARENA_BYTES = 128 << 20
_THREADS = 2
_WIDTH = 110  # of a table in a file or a pipe
_Measured = TypeVar("_Measured")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--engine-set", action="append", required=True, metavar="NAME", help="repeatable")
    every.add_argument("--out", type=Path, required=True, metavar="DIR", help="for result.json and the plot")
    every.add_argument(
        "--ablations", action="store_true", help="also the first engine set without each part that can be left out"
    )
    every.add_argument("--manifests", type=Path, default=DEFAULT_MANIFESTS, help="engine sets (%(default)s)")
    every.add_argument("--store", type=Path, default=DEFAULT_STORE, help="where the models are kept (%(default)s)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="identification|footage|clips|bench")
    stills = actions.add_parser("identification", parents=[every], help="open-set identification on a set of stills")
    stills.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with split.json and images/")
    stills.set_defaults(measure=_identification)
    footage = actions.add_parser("footage", parents=[every], help="a clip whose every face is known")
    footage.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with ground_truth.json")
    footage.add_argument(
        "--list", type=Path, action="append", required=True, metavar="DIR", help="photos to enrol; repeatable"
    )
    footage.set_defaults(measure=_footage)
    clips = actions.add_parser("clips", parents=[every], help="clips of one person each")
    clips.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the clips")
    clips.add_argument("--list", type=Path, required=True, metavar="LIST.json", help="who is in which")
    clips.set_defaults(measure=_clips)
    bench.add_action(actions)


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, write result.json; 0 when done."""
    _make_folder(args.out)
    args.measure(args)
    return 0


def _identification(args: argparse.Namespace) -> None:
    from lfr_edge.evaluation.dataset import read_data_set  # noqa: PLC0415 - needs the extra 'evaluation'
    from lfr_edge.evaluation.identification import identify  # noqa: PLC0415
    from lfr_edge.evaluation.plot import write_det  # noqa: PLC0415
    from lfr_edge.evaluation.tables import identification_table  # noqa: PLC0415
    from lfr_edge.evaluation.variants import OF_STILLS  # noqa: PLC0415

    data = read_data_set(args.data)
    rows = _measured(args, OF_STILLS, lambda extractor, variant: identify(data, extractor, lowered=variant.lowered))
    write_det(args.out / "det.svg", data.name, {evaluated.title: measured.det for evaluated, measured in rows})
    described = {"name": data.name, "split_sha256": data.split_sha256}
    _deliver(args, described, rows, identification_table(data.name, rows))


def _footage(args: argparse.Namespace) -> None:
    from lfr_edge.evaluation.footage import measure_footage, photos_in  # noqa: PLC0415 - needs the extra 'evaluation'
    from lfr_edge.evaluation.tables import footage_table  # noqa: PLC0415
    from lfr_edge.evaluation.truth import read_ground_truth  # noqa: PLC0415
    from lfr_edge.evaluation.variants import OF_FOOTAGE  # noqa: PLC0415

    truth, photos = read_ground_truth(args.data), photos_in(args.list)
    rows = _measured(args, OF_FOOTAGE, partial(measure_footage, truth, photos))
    name = truth.film.path.name
    _deliver(args, {"name": name, "ground_truth_sha256": truth.sha256}, rows, footage_table(name, rows))


def _clips(args: argparse.Namespace) -> None:
    from lfr_edge.evaluation.clips import measure_clips, read_clips  # noqa: PLC0415 - needs the extra 'evaluation'
    from lfr_edge.evaluation.tables import clips_table  # noqa: PLC0415
    from lfr_edge.evaluation.variants import OF_FOOTAGE  # noqa: PLC0415

    clips = read_clips(args.data, args.list)
    rows = _measured(args, OF_FOOTAGE, partial(measure_clips, clips))
    name = args.data.resolve().name
    _deliver(args, {"name": name, "list_sha256": clips.sha256}, rows, clips_table(name, rows))


def _measured(
    args: argparse.Namespace, ablations: "Sequence[Variant]", measure: "Callable[[Extractor, Variant], _Measured]"
) -> "list[tuple[Evaluated, _Measured]]":
    """What `measure` says of every engine set that was asked for, and of the first one's variants."""
    from lfr_edge.adapters.engines import open_extractor  # noqa: PLC0415 - needs a backend
    from lfr_edge.biometrics.arena import Arena  # noqa: PLC0415
    from lfr_edge.evaluation.report import Evaluated  # noqa: PLC0415
    from lfr_edge.evaluation.variants import AS_SHIPPED  # noqa: PLC0415

    store = EngineStore(args.store)
    sets = [load_engine_set(name, args.manifests) for name in args.engine_set]
    for engine_set in sets:
        store.verify(engine_set)
    rows = []
    for engine_set in sets:
        for variant in (AS_SHIPPED, *(ablations if args.ablations and engine_set is sets[0] else ())):
            changed = variant.engine_set(engine_set)
            extractor = open_extractor(changed, store, Arena(_ARENA_BYTES), threads=_THREADS)
            try:
                rows.append((Evaluated.of(changed, variant.name), measure(extractor, variant)))
            finally:
                extractor.close()
    return rows


def _deliver(
    args: argparse.Namespace, data: dict[str, str], rows: "Sequence[tuple[Evaluated, object]]", table: "Table"
) -> None:
    from rich.console import Console  # noqa: PLC0415 - needs the extra 'evaluation'

    from lfr_edge.evaluation.report import write_json  # noqa: PLC0415

    write_json(args.out / "result.json", args.action, data, SystemClock().utc(), rows)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(table)
    console.print(f"written to {args.out}", highlight=False)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            Reason.FILE_UNWRITABLE, f"cannot make the folder {out}: {error.strerror}", fix="name another with --out"
        ) from error
