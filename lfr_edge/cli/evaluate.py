"""`lfr-edge evaluate`: measure how well engine sets recognise, on data with known identities."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lfr_edge.clock import SystemClock
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, load_engine_set
from lfr_edge.inference.store import DEFAULT_STORE, EngineStore

if TYPE_CHECKING:
    from lfr_edge.evaluation.report import Subject
    from lfr_edge.evaluation.variants import Variant
    from lfr_edge.pipeline.extract import Extractor

_ARENA_BYTES = 128 << 20
_THREADS = 2
_Measured = TypeVar("_Measured")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--engine-set", action="append", required=True, metavar="NAME", help="repeatable")
    every.add_argument("--out", type=Path, required=True, metavar="DIR", help="for result.json and the plot")
    every.add_argument("--ablations", action="store_true", help="also without each part that can be left out")
    every.add_argument("--manifests", type=Path, default=DEFAULT_MANIFESTS, help="engine sets (%(default)s)")
    every.add_argument("--store", type=Path, default=DEFAULT_STORE, help="where the models are kept (%(default)s)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="identification")
    stills = actions.add_parser("identification", parents=[every], help="open-set identification on a set of stills")
    stills.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with split.json and images/")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, write result.json; 0 when done."""
    _make_folder(args.out)
    _identification(args)
    return 0


def _identification(args: argparse.Namespace) -> None:
    from lfr_edge.evaluation.dataset import read_data_set  # noqa: PLC0415 - needs the extra 'evaluation'
    from lfr_edge.evaluation.identification import identify  # noqa: PLC0415
    from lfr_edge.evaluation.plot import write_det  # noqa: PLC0415
    from lfr_edge.evaluation.report import write_json  # noqa: PLC0415
    from lfr_edge.evaluation.tables import identification_table  # noqa: PLC0415

    data = read_data_set(args.data)
    rows = _measured(args, lambda extractor, _: identify(data, extractor))
    described = {"name": data.name, "split_sha256": data.split_sha256}
    write_json(args.out / "result.json", "identification", described, SystemClock().utc(), rows)
    write_det(args.out / "det.svg", data.name, {subject.title: measured.det for subject, measured in rows})
    _show(identification_table(data.name, rows), args.out)


def _measured(
    args: argparse.Namespace, measure: "Callable[[Extractor, Variant], _Measured]"
) -> "list[tuple[Subject, _Measured]]":
    """What `measure` says of every engine set that was asked for, and of its variants."""
    from lfr_edge.evaluation.report import Subject  # noqa: PLC0415 - needs the extra 'evaluation'

    rows = []
    for variant, extractor in _extractors(args):
        rows.append((Subject.of(extractor.engine_set, variant.name), measure(extractor, variant)))
        extractor.close()
    return rows


def _extractors(args: argparse.Namespace) -> "Iterator[tuple[Variant, Extractor]]":
    from lfr_edge.adapters.engines import open_extractor  # noqa: PLC0415 - needs a backend
    from lfr_edge.biometrics.arena import Arena  # noqa: PLC0415
    from lfr_edge.evaluation.variants import ABLATIONS, AS_SHIPPED  # noqa: PLC0415

    store = EngineStore(args.store)
    sets = [load_engine_set(name, args.manifests) for name in args.engine_set]
    for engine_set in sets:
        store.verify(engine_set)
    for engine_set in sets:
        for variant in (AS_SHIPPED, *(ABLATIONS if args.ablations else ())):
            arena = Arena(_ARENA_BYTES)
            yield variant, open_extractor(variant.engine_set(engine_set), store, arena, threads=_THREADS)


def _show(table: object, out: Path) -> None:
    from rich.console import Console  # noqa: PLC0415 - needs the extra 'evaluation'

    console = Console()
    console.print(table)
    console.print(f"written to {out}", highlight=False)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            Reason.FILE_UNWRITABLE, f"cannot make the folder {out}: {error.strerror}", fix="name another with --out"
        ) from error
