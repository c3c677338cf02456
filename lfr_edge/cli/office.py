"""`lfr-edge office`: make the order key, enrol photos, seal a deployment package."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lfr_edge.cli.key_folder import new_key_files
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, load_engine_set
from lfr_edge.inference.store import DEFAULT_STORE, EngineStore
from lfr_edge.messages.order import Order

if TYPE_CHECKING:
    from lfr_edge.office.enrol import EnrolResult
    from lfr_edge.office.listing import Problem

_EXIT_PROBLEMS = 2  # as for every other mistake of the user's
_WORKING_BYTES = 64 << 20  # one photo at 640 px and what the engines make of it
_THREADS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="keygen|enrol|seal")
    keygen = actions.add_parser("keygen", help="make the key that signs orders")
    keygen.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="for order.key (keep) and order.pub (give)"
    )

    enrol = actions.add_parser("enrol", help="make references of photos")
    enrol.add_argument("--photos", type=Path, required=True, metavar="DIR")
    enrol.add_argument("--list", type=Path, required=True, metavar="LIST.csv", help="who, which photo, and why")
    enrol.add_argument("--engine-set", required=True, metavar="NAME", help="the one that the van has")
    enrol.add_argument("--store", type=Path, default=DEFAULT_STORE, help="where the models are kept (%(default)s)")
    enrol.add_argument("--out", type=Path, required=True, metavar="WORK", help="a new folder for the references")

    seal = actions.add_parser("seal", help="sign an order and seal the package for one van")
    seal.add_argument("work", type=Path, metavar="WORK", help="the folder that enrol made")
    seal.add_argument("--order", type=Path, required=True, metavar="ORDER.toml")
    seal.add_argument(
        "--key", type=Path, action="append", required=True, metavar="FILE", help="an order.key of keygen; repeatable"
    )
    seal.add_argument("--van-recipient", action="append", required=True, metavar="VAN=age1...", help="the van's key")
    seal.add_argument(
        "--recipient", action="append", required=True, metavar="age1...", help="a control room; repeatable"
    )
    seal.add_argument("--out", type=Path, required=True, metavar="NAME.lfrd")
    for action in (enrol, seal):
        action.add_argument("--manifests", type=Path, default=DEFAULT_MANIFESTS, help="engine sets (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 0 when done, 2 if a photo or a line of the list has to be mended first."""
    if args.action == "keygen":
        return _keygen(args.out)
    if args.action == "enrol":
        return _enrol(args)
    return _seal(args)


def _keygen(folder: Path) -> int:
    private, public = new_key_files(folder, ["order.key", "order.pub"])
    key = SigningKey.generate()
    key.to_file(private)
    key.public.to_file(public)
    print(f"{private}: signs orders; keep it at the office\n{public}: for every van's trusted_order_signers")
    return 0


def _enrol(args: argparse.Namespace) -> int:
    # These need the extra 'office'; keygen does not.
    from lfr_edge.adapters.engines import open_extractor  # noqa: PLC0415
    from lfr_edge.biometrics.arena import Arena  # noqa: PLC0415
    from lfr_edge.office import workspace  # noqa: PLC0415
    from lfr_edge.office.enrol import enrol  # noqa: PLC0415
    from lfr_edge.office.listing import read_list  # noqa: PLC0415

    workspace.check_new(args.out)
    rows, problems = read_list(args.list, args.photos)
    engine_set = load_engine_set(args.engine_set, args.manifests)
    arena = Arena(_WORKING_BYTES + 4 * len(rows) * engine_set.dimension)
    extractor = open_extractor(engine_set, EngineStore(args.store), arena, threads=_THREADS)
    try:
        with enrol(rows, extractor, arena) as result:
            problems = sorted([*problems, *result.problems], key=lambda problem: problem.line)
            if problems:
                return _show_problems(args.list, problems)
            workspace.save(result, args.out)
            _show_report(result)
    finally:
        extractor.close()
    print(f"\n{args.out} holds the references in the clear: delete it when the package is sealed")
    return 0


def _show_problems(path: Path, problems: "list[Problem]") -> int:
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    print(f"{len(problems)} problem(s); nothing was written", file=sys.stderr)
    return _EXIT_PROBLEMS


def _show_report(result: "EnrolResult") -> None:
    width = max(len(person.particulars.id) for person in result.enrolled)
    print(f"{'entry':{width}}  eyes px  sharpness  exposure  yaw  pitch  confidence  quality")
    for person in result.enrolled:
        quality = person.quality
        print(
            f"{person.particulars.id:{width}}  {quality.inter_eye_px:7.0f}  {quality.sharpness:9.2f}"
            f"  {quality.exposure:8.2f}  {quality.yaw:3.0f}  {quality.pitch:5.0f}"
            f"  {quality.confidence:10.2f}  {quality.value:7.2f}"
        )
    print(f"\n{len(result.enrolled)} entries, engine set {result.engine_set.name}")
    for pair in result.look_alikes:
        print(f"look-alikes: {pair.first} and {pair.second} score {pair.score:.3f}, an alert for one may be the other")
    if not result.look_alikes:
        print(f"no two entries are as alike as the threshold {result.engine_set.threshold:g}")


def _seal(args: argparse.Namespace) -> int:
    from lfr_edge.office import workspace  # noqa: PLC0415
    from lfr_edge.office.order_file import read_order  # noqa: PLC0415
    from lfr_edge.office.seal import seal_package  # noqa: PLC0415

    van_recipients = _pairs(args.van_recipient)
    for van, recipient in van_recipients.items():
        _check_recipient(f"--van-recipient {van}=", recipient, "that van's deployment.recipient")
    for recipient in args.recipient:
        _check_recipient("--recipient ", recipient, "the control room's control-room.recipient")
    references = workspace.load(args.work)
    engine_set = load_engine_set(references.engine_set, args.manifests)
    order = read_order(args.order, engine_set, van_recipients=van_recipients, recipients=tuple(args.recipient))
    keys = [SigningKey.from_file(path) for path in args.key]
    sealed = seal_package(references, order, engine_set, keys, args.out)
    _show_order(sealed, len(references.entries), args.out)
    return 0


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    if len(pairs) != len(texts) or not all(pairs.values()):
        raise ConfigError(
            Reason.VALUE_INVALID, "--van-recipient is not VAN=age1..., or names a van twice", fix="give one per van"
        )
    return pairs


def _check_recipient(option: str, recipient: str, file: str) -> None:
    from lfr_edge.crypto.sealed import is_recipient  # noqa: PLC0415 - its libraries are not needed to show the help

    if not is_recipient(recipient):
        raise ConfigError(
            Reason.VALUE_INVALID, f"{option}{recipient} is not an age public key", fix=f"copy the one line of {file}"
        )


def _show_order(order: Order, entries: int, path: Path) -> None:
    print(f"{path}: order {order.id} for van {', '.join(van.id for van in order.vans)}")
    print(f"  entries    {entries}")
    print(f"  window     {order.not_before:%Y-%m-%d %H:%M} to {order.not_after:%Y-%m-%d %H:%M} UTC")
    print(f"  threshold  {order.threshold:g}")
    print(f"  watchlist  {order.watchlist_sha256}")
    print(f"  pictures   {order.pictures_sha256}")
    print(f"  contract   {order.contract}")
