"""`lfr-edge engines`: get, list and check the models of engine sets."""

import argparse
from pathlib import Path

from lfr_edge.biometrics.arena import Arena
from lfr_edge.errors import ConfigError, DeviceError, Reason
from lfr_edge.inference.manifest import DEFAULT_MANIFESTS, EngineSet, Variant, engine_set_names, load_engine_set
from lfr_edge.inference.parity import FLOAT32_BOUND, worst_cosine
from lfr_edge.inference.store import DEFAULT_STORE, EngineStore
from lfr_edge.pipeline.agreement import LEAST_COSINE, MOST_LANDMARK_SHIFT, require_agreement

_ARENA_BYTES = 64 << 20  # a golden picture, and what a detector and an embedder write for it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--manifests", type=Path, default=DEFAULT_MANIFESTS, help="folder of engine sets (%(default)s)")
    places.add_argument("--store", type=Path, default=DEFAULT_STORE, help="where the models are kept (%(default)s)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="fetch|list|verify")
    fetch = actions.add_parser("fetch", parents=[places], help="get a set's models into the store")
    fetch.add_argument("name")
    fetch.add_argument(
        "--from", dest="folders", type=Path, action="append", default=[], metavar="DIR", help="look here first"
    )
    actions.add_parser("list", parents=[places], help="what sets there are, and whether their models are here")
    verify = actions.add_parser(
        "verify", parents=[places], help="check a set's models: hashes, then golden pictures through the engine"
    )
    verify.add_argument("name")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 0 when done. LfrEdgeError otherwise."""
    _require_sets(args.manifests)
    store = EngineStore(args.store)
    if args.action == "fetch":
        _fetch(args.name, args.manifests, store, args.folders)
    elif args.action == "verify":
        _verify(args.name, args.manifests, store)
    else:
        _list(args.manifests, store)
    return 0


def _require_sets(manifests: Path) -> None:
    try:
        problem = "" if engine_set_names(manifests) else "none has a manifest.toml"
    except OSError as error:
        problem = error.strerror or "unreadable"
    if problem:
        raise ConfigError(
            Reason.FILE_MISSING,
            f"there are no engine sets in {manifests}: {problem}",
            fix="name the folder engines/ of a release with --manifests",
        )


def _fetch(name: str, manifests: Path, store: EngineStore, folders: list[Path]) -> None:
    engine_set = load_engine_set(name, manifests)
    for file, where in store.fetch(engine_set, folders).items():
        print(f"{file}: from {where}")
    print(f"{name} is in {store.root}")


def _list(manifests: Path, store: EngineStore) -> None:
    for name in engine_set_names(manifests):
        engine_set = load_engine_set(name, manifests)
        missing = [onnx.file for onnx in engine_set.onnx_files if not store.has(onnx)]
        print(f"{name}: {'missing ' + ', '.join(missing) if missing else 'ready'}")
        if engine_set.variant is not None:
            print(f"  variant of {engine_set.variant.of}")
        print(f"  threshold  {engine_set.threshold:g}, never below {engine_set.threshold_floor:g}")
        print(f"  contract   {engine_set.contract}")
        print(f"  engine set {engine_set.digest}")


def _verify(name: str, manifests: Path, store: EngineStore) -> None:
    engine_set = load_engine_set(name, manifests)
    store.verify(engine_set)
    for onnx in engine_set.onnx_files:
        print(f"{onnx.file}: sha256 {onnx.sha256}")
    if engine_set.variant is None:
        _require_parity(engine_set, store)
    else:
        _require_agreement(engine_set, engine_set.variant, store)


def _require_parity(engine_set: EngineSet, store: EngineStore) -> None:
    from lfr_edge.adapters.openvino_engine import open_detector, open_embedder  # noqa: PLC0415 - `fetch` needs no backend

    detector = open_detector(engine_set, store)
    embedders = [open_embedder(embedder, store) for embedder in engine_set.embedders]
    cosine = worst_cosine(engine_set, detector, embedders)
    for engine in (detector, *embedders):
        engine.close()
    if cosine < FLOAT32_BOUND:
        raise DeviceError(
            Reason.ENGINE_FAILED,
            f"OpenVINO computes something else than {engine_set.name} was measured with: worst cosine {cosine:.7f}",
            fix=f"at least {FLOAT32_BOUND} is required; install the version of OpenVINO in requirements.lock",
        )
    print(f"golden pictures: worst cosine {cosine:.7f}, at least {FLOAT32_BOUND} required")


def _require_agreement(engine_set: EngineSet, variant: Variant, store: EngineStore) -> None:
    from lfr_edge.adapters.engines import agreement_here  # noqa: PLC0415 - `fetch` needs no backend

    found = agreement_here(engine_set, variant, store, Arena(_ARENA_BYTES))
    print(f"golden faces: {len(variant.golden.faces)}, {found.missed} missed, {found.extra} too many")
    print(
        f"  landmarks at worst {found.landmark_shift:.4f} of the distance between the eyes away,"
        f" at most {MOST_LANDMARK_SHIFT} allowed"
    )
    print(f"  worst cosine {found.cosine:.4f}, at least {LEAST_COSINE} required")
    require_agreement(engine_set, variant, found)
