"""The whole van live: real daemon, broker and subscriber, a sealed list of full length, pictures in their own time."""

import dataclasses
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from bench.runs import DATA, Bench
from bench.spread import quantile
from bench.walkers import walkers
from support.rehearsal import ControlRoom, control_room, daemon, local_broker

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.cli.demo_scene import CAMERA, FORCE, VAN, Footage, Scene, rows_of, write_config
from lfr_edge.clock import SystemClock
from lfr_edge.control_room.watch import ReceivedAlert
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.evaluation.bench.lists import fill_with_nobody
from lfr_edge.evaluation.bench.repeated import repeated
from lfr_edge.messages.order import BudgetAcceptance, Order, VanAssignment
from lfr_edge.office.enrol import measure_photos
from lfr_edge.office.order_file import UNSEALED
from lfr_edge.office.references import References, gather
from lfr_edge.office.seal import seal_package

_LATE_S = 60.0


def live(bench: Bench, *, cameras: int, fps: float, turns: int, full_look_every: int) -> dict[str, Any]:
    """Every camera shows the clip `turns` times, at `fps`. Latencies in ms, pictures superseded, the queue."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: bench.cores])
    with TemporaryDirectory(prefix="lfr-edge-bench-") as name:
        folder = Path(name)
        clip = repeated(DATA / "street_clip.mp4", turns, folder / "clip.mp4", fps=fps)
        ids = [CAMERA, *(f"{CAMERA}-{number}" for number in range(2, cameras + 1))]
        scene = _scene(bench, folder, ids)
        seconds = turns * len(bench.truth.pictures) / fps
        shown = Footage(str(clip), "live", frozenset(), full_look_every)
        room = _played(bench, scene, shown, ids, seconds=seconds)
    precision = bench.engine_set.detector.precision
    return {
        "precision": precision,
        "cameras": cameras,
        "fps": fps,
        "turns": turns,
        "full_look_every": full_look_every,
        **_measures(room),
    }


def _played(bench: Bench, scene: Scene, shown: Footage, cameras: Sequence[str], *, seconds: float) -> ControlRoom:
    broker = local_broker(scene.folder / "broker")
    config = write_config(scene, shown, broker, bench.store)
    camera = config.read_text("utf-8").partition("[[cameras]]")[2]  # the first, and the end of the file
    with config.open("a", encoding="utf-8") as file:
        for other in cameras[1:]:
            file.write("\n[[cameras]]" + camera.replace(f'id = "{CAMERA}"', f'id = "{other}"'))
    with broker, control_room(scene, broker) as room, daemon(config, scene.package) as van:
        van.wait(lambda: any("ended" in status.state for status in room.status), seconds + _LATE_S)
        time.sleep(1)  # what is still on its way
    return room


def _measures(room: ControlRoom) -> dict[str, Any]:
    alerts = [event for event in room.events if isinstance(event, ReceivedAlert)]
    latencies_ms = [(one.received_at - one.alert.captured_at).total_seconds() * 1e3 for one in alerts]
    last = room.health[-1]
    running = room.health[1:-1] or room.health
    return {
        "alerts": sorted(one.alert.entry for one in alerts),
        "latencies_ms": latencies_ms,
        "p50_ms": quantile(latencies_ms, 0.50) if latencies_ms else None,
        "p99_ms": quantile(latencies_ms, 0.99) if latencies_ms else None,
        "step_ms_p50": last.step_ms_p50,
        "step_ms_p99": last.step_ms_p99,
        "frames_read": sum(camera.frames_read for camera in last.cameras),
        "superseded": sum(camera.superseded for camera in last.cameras),
        "longest_queue": max(one.queue for one in running),
    }


def _scene(bench: Bench, folder: Path, cameras: Sequence[str]) -> Scene:
    identity, van_key, officer_key = SealIdentity.generate(), SigningKey.generate(), SigningKey.generate()
    deployment_key = SealIdentity.generate()
    van_key.to_file(folder / "alert.key")
    officer_key.public.to_file(folder / "order.pub")
    deployment_key.to_file(folder / "deployment.age")
    now = SystemClock().utc()
    order = Order(
        id="bench-deployment",
        purpose="measuring speed with people who do not exist",
        legal_basis="none needed: nobody real",
        place="rendered street",
        authorising_officer="bench",
        force=FORCE,
        vans=(VanAssignment(id=VAN, recipient=deployment_key.recipient, cameras=tuple(cameras)),),
        not_before=now - timedelta(minutes=1),
        not_after=now + timedelta(hours=8),
        threshold=bench.engine_set.threshold,
        margin=0.0,
        confirmation=2,
        cooldown_s=0.0,  # so that every pass of every camera is one latency
        expected_faces=1000,
        list_size=1,
        template_count=1,
        budget_accepted=BudgetAcceptance(by="bench", why="nobody real"),
        watchlist_sha256=UNSEALED,
        pictures_sha256=UNSEALED,
        contract=bench.engine_set.contract,
        engine_sets=(bench.engine_set.digest,),
        recipients=(identity.recipient,),
        notice_url="https://example.org/notice",
        demo=True,
    )
    package = folder / "bench.lfrd"
    seal_package(_references(bench, folder), order, bench.engine_set, [officer_key], package)
    return Scene(folder, bench.engine_set, identity, van_key, package, bench.entries)


def _references(bench: Bench, folder: Path) -> References:
    """The demo's photos and everybody else who walks past, as the office enrols them; filled up with nobody."""
    arena = Arena(96 << 20)
    extractor = open_extractor(bench.engine_set, bench.store, arena, threads=bench.cores)
    try:
        listed = rows_of(None)
        rows = [*listed, *walkers(bench.truth, {row.particulars.id for row in listed}, folder)]
        photos = list(measure_photos([row.photo for row in rows], extractor, arena))
    finally:
        extractor.close()
    people = gather(rows, photos, engine_set=bench.engine_set.name, contract=bench.engine_set.contract)
    known = {entry.id for entry in people.entries}
    filler = np.empty((bench.entries - len(known), people.templates.shape[1]), np.float32)
    fill_with_nobody(filler)
    entries = [
        people.entries[0].model_copy(update={"id": f"nobody-{number}"}) for number in range(len(known), bench.entries)
    ]
    return dataclasses.replace(
        people,
        entries=(*people.entries, *entries),
        templates=np.concatenate([people.templates, filler]),
        entry_of_template=np.arange(bench.entries, dtype=np.int32),
        picture=lambda entry: people.picture(entry) if entry in known else b"nobody",
    )
