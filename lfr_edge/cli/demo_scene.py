"""The demo's stage: keys for every role, an enrolled and sealed list, a van's configuration. Real files, thrown away.

Each role's part is done with the code that the role itself uses; only the paths are made up here.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from lfr_edge.adapters.av_source import Kind, kind_of
from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import SystemClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, DeviceError, Reason
from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.order import Order, VanAssignment
from lfr_edge.office.enrol import measure_photos
from lfr_edge.office.listing import Row, read_list
from lfr_edge.office.order_file import UNSEALED
from lfr_edge.office.references import References, gather
from lfr_edge.office.seal import seal_package
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.van.cameras import require_playable
from lfr_edge.watchlist.entries import Particulars

FORCE, VAN, CAMERA, CONTROL_ROOM = "demo", "van-1", "street", "control-room"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "demo"
CLIP = EXAMPLES / "street_clip.mp4"
PREFERRED_SET, FALLBACK_SET = "yunet-mobilefacenet", "centerface-dlib29"
_THREADS = 2
_ARENA_BYTES = 96 << 20
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9]+")
_PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True, slots=True)
class Footage:
    """What the camera shows, and whom of the list it shows as far as that is known."""

    source: str
    pace: str
    expected: frozenset[str]
    full_look_every: int = 1


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that the three roles need to play."""

    folder: Path
    engine_set: EngineSet
    identity: SealIdentity
    van_key: SigningKey
    package: Path
    entries: int


def choose_engine_set(store: EngineStore, wanted: str | None, say: Callable[[str], None]) -> tuple[EngineSet, str]:
    """The set that can be had, its models fetched, and why it is not the preferred one (empty if it is).

    Says so before it fetches: a download takes minutes on a slow line.
    """
    shared = Path(os.environ.get("LFR_EDGE_SHARED", "../shared")) / "models"
    folders = [shared] if shared.is_dir() else []

    def fetched(name: str) -> EngineSet:
        engine_set = load_engine_set(name)
        if not all(store.has(onnx) for onnx in engine_set.onnx_files):
            say(f"fetching the models of {name}")
        store.fetch(engine_set, folders)
        return engine_set

    if wanted is not None:
        return fetched(wanted), ""
    try:
        return fetched(PREFERRED_SET), ""
    except ConfigError as error:
        return fetched(FALLBACK_SET), error.message


def footage(clip: Path | None, camera: str | None, listed: Sequence[Row], *, full_speed: bool) -> Footage:
    """The demo's own clip, or what the person wants to try. DeviceError if that is not there, or does not play."""
    pace = "full-speed" if full_speed and camera is None else "live"
    if camera is not None or clip is not None:
        return Footage(_checked(camera if camera is not None else str(clip)), pace, frozenset())
    people = json.loads(_example("ground_truth.json").read_text("utf-8"))["people"]
    entries = {row.particulars.id for row in listed}
    return Footage(str(CLIP), pace, frozenset(person["id"] for person in people) & entries)


def _checked(source: str) -> str:
    """A source that the van finds from its own folder; a stream is left to the van, which tries again."""
    kind = kind_of(source)
    if kind is Kind.STREAM or (kind is Kind.DEVICE and Path(source).exists()):
        return source
    if kind is Kind.DEVICE:
        raise DeviceError(
            Reason.SOURCE_UNREADABLE,
            f"there is no camera {source}",
            fix="plug it in; look for it with 'ls /dev/video*'",
        )
    require_playable(source, Arena(_ARENA_BYTES), SystemClock())
    return str(Path(source).resolve())


def _example(name: str) -> Path:
    """Something of the demo's own. ConfigError where only the package is installed: it ships no footage."""
    path = EXAMPLES / name
    if not path.exists():
        raise ConfigError(
            Reason.FILE_MISSING,
            f"the demo's own clip and photos are not here: there is no {path}",
            fix="run 'make demo' in a checkout, or give --photos with --clip or --camera",
        )
    return path


def rows_of(photos: Path | None) -> list[Row]:
    """The demo's own list, or one entry for each picture in a folder, named by its file."""
    if photos is None:
        rows, problems = read_list(_example("watchlist.csv"), _example("photos"))
        if problems:
            raise RuntimeError(f"the demo's own list is broken: {problems[0]}")
        return rows
    fix = "give a folder of JPEG, PNG or WebP photos"
    try:
        files = sorted(path for path in photos.iterdir() if path.suffix.lower() in _PICTURES and path.is_file())
        captured_on = [datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).date() for path in files]
    except OSError as error:
        raise ConfigError(Reason.FILE_MISSING, f"{photos} cannot be read: {error.strerror}", fix=fix) from error
    if not files:
        raise ConfigError(Reason.FILE_MISSING, f"there are no pictures in {photos}", fix=fix)
    return [
        Row(
            line,
            Particulars(
                id=entry,
                category="tried in the demo",
                response="green",
                legal_basis="consent",
                source="a photo of your own",
                captured=captured,
            ),
            path,
        )
        for line, (path, entry, captured) in enumerate(zip(files, _ids(files), captured_on, strict=True), start=1)
    ]


def _ids(files: Sequence[Path]) -> list[str]:
    """An id for each file, after its name, no two the same."""
    ids: list[str] = []
    for path in files:
        name = _NOT_IN_IDS.sub("-", path.stem).strip("-")[:48] or "photo"
        others = (f"{name}-{number}" for number in itertools.count(2))
        ids.append(next(entry for entry in itertools.chain([name], others) if entry not in ids))
    return ids


def set_the_scene(folder: Path, rows: list[Row], engine_set: EngineSet, store: EngineStore) -> Scene:
    """Enrol, sign and seal. ConfigError with the first unusable photo."""
    identity, van_key, officer_key = SealIdentity.generate(), SigningKey.generate(), SigningKey.generate()
    deployment_key = SealIdentity.generate()
    van_key.to_file(folder / "alert.key")
    officer_key.public.to_file(folder / "order.pub")
    deployment_key.to_file(folder / "deployment.age")
    references = _enrol(rows, engine_set, store)
    now = SystemClock().utc()
    order = Order(
        id="demo-deployment",
        purpose="demonstration with people who do not exist",
        legal_basis="none needed: nobody real",
        place="rendered street",
        authorising_officer="demo officer",
        force=FORCE,
        vans=(VanAssignment(id=VAN, recipient=deployment_key.recipient, cameras=(CAMERA,)),),
        not_before=now - timedelta(minutes=1),
        not_after=now + timedelta(hours=8),
        threshold=engine_set.threshold,
        margin=0.0,
        confirmation=2,
        cooldown_s=60.0,
        expected_faces=1000,
        list_size=1,
        template_count=1,
        watchlist_sha256=UNSEALED,
        pictures_sha256=UNSEALED,
        contract=engine_set.contract,
        engine_sets=(engine_set.digest,),
        recipients=(identity.recipient,),
        notice_url="https://example.org/notice",
        demo=True,
    )
    package = folder / "demo.lfrd"
    seal_package(references, order, engine_set, [officer_key], package)
    return Scene(folder, engine_set, identity, van_key, package, len(rows))


def write_config(scene: Scene, shown: Footage, broker: LocalBroker, store: EngineStore) -> Path:
    """The van's configuration file."""
    files = broker.client_files(VAN)
    path = scene.folder / "van.toml"
    quoted = partial(json.dumps, ensure_ascii=False)  # a JSON string is a TOML string, but for escaped surrogates
    path.write_text(
        f"""\
van = "{VAN}"
force = "{FORCE}"
state = "state"
demo_orders = true

[keys]
alert = "alert.key"
deployment = "deployment.age"
trusted_order_signers = ["order.pub"]

[engines]
set = "{scene.engine_set.name}"
store = {quoted(str(store.root.resolve()))}
threads = {_THREADS}

[broker]
host = "{broker.host}"
port = {broker.port}
ca = {quoted(str(files.ca))}
certificate = {quoted(str(files.cert))}
key = {quoted(str(files.key))}

[[cameras]]
id = "{CAMERA}"
source = {quoted(shown.source)}
pace = "{shown.pace}"
full_look_every = {shown.full_look_every}
""",
        "utf-8",
    )
    return path


def _enrol(rows: list[Row], engine_set: EngineSet, store: EngineStore) -> References:
    arena = Arena(_ARENA_BYTES)
    extractor = open_extractor(engine_set, store, arena, threads=_THREADS)
    try:
        photos = list(measure_photos([row.photo for row in rows], extractor, arena))
    finally:
        extractor.close()
    return gather(rows, photos, engine_set=engine_set.name, contract=engine_set.contract)
