"""The van's recognition put together for `lfr-edge evaluate bench`, as `van.daemon` does it for a deployment."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.adapters.engines import open_extractor
from lfr_edge.adapters.evidence import JpegEvidenceSealer
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import SystemClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import DeviceError, Reason, UntrustedInputError
from lfr_edge.evaluation.bench.lists import long_list
from lfr_edge.evaluation.bench.sealing import NotedSealer, NotedSource
from lfr_edge.evaluation.faces import FaceReader, Features
from lfr_edge.evaluation.truth import GroundTruth
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.order import Order, VanAssignment
from lfr_edge.pipeline.decide import Decider, Rule
from lfr_edge.pipeline.mailbox import Mailbox
from lfr_edge.pipeline.outbox import Outbox
from lfr_edge.pipeline.recognise import Counts, Recogniser, View
from lfr_edge.van.stages import Recognition, Stage, capture
from lfr_edge.watchlist.pictures import PictureStore
from lfr_edge.watchlist.span import Span

_FACES_MIB = 96  # pictures under way, tracks and workspaces of four 720p cameras; templates come on top
_NONE = "0" * 64  # digests of what is not there: nothing was sealed
_VAN = "bench"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured."""

    engine_set: EngineSet
    store: EngineStore
    truth: GroundTruth
    photos: dict[str, Path]
    entries: int
    cameras: int
    threads: int
    full_look_every: int


class ClipStage:
    """Everything loaded, ready to play once. A context manager: leaving it wipes. DeviceError if a stage fails."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._clock = SystemClock()
        self._exits = ExitStack()
        self._done = threading.Event()

    def __enter__(self) -> "ClipStage":
        with ExitStack() as unless_ready:
            self._load(unless_ready)
            self._exits = unless_ready.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    @property
    def counts(self) -> Counts:
        """Of the recogniser."""
        return self._recognition.recogniser.counts

    @property
    def sealer(self) -> NotedSealer:
        """Holds what was noted."""
        return self._sealer

    def play(self) -> float:
        """Show the clip to every camera; seconds from opening it until the last picture was done and wiped."""
        stop = threading.Event()
        captures = [
            Stage(f"capture {camera}", partial(capture, camera, source, self._mailbox, stop), self._done.set)
            for camera, source in self._sources.items()
        ]
        recognise = Stage("recognise", self._recognition.run, self._done.set)
        started = time.perf_counter()
        for stage in (recognise, *captures):
            stage.start()
        try:
            self._wait(captures, recognise)
        finally:
            stop.set()
            self._recognition.finish()
            self._mailbox.close()
            recognise.join()
        took_s = time.perf_counter() - started
        for stage in (*captures, recognise):
            if stage.failure:
                raise DeviceError(
                    Reason.ENGINE_FAILED, f"{stage.name} failed: {stage.failure}", fix="see the log"
                ) from stage.failure
        return took_s

    def _wait(self, captures: Sequence[Stage], recognise: Stage) -> None:
        """Until every picture was taken. A file's mailbox loses nothing, so none is left behind when it is closed."""
        for stage in captures:
            while stage.is_alive() and recognise.is_alive():
                stage.join(0.1)
        while self._mailbox.waiting and recognise.is_alive():
            time.sleep(0.001)

    def _load(self, exits: ExitStack) -> None:
        setting = self._setting
        templates_mib = setting.entries * setting.engine_set.dimension * 8 >> 20  # and the scores of one search
        arena = Arena((_FACES_MIB + templates_mib) << 20)
        exits.callback(arena.wipe)
        folder = Path(exits.enter_context(TemporaryDirectory(prefix="lfr-edge-bench-")))
        extractor = open_extractor(setting.engine_set, setting.store, arena, threads=setting.threads)
        pictures = exits.enter_context((folder / "pictures.bin").open("w+b"))
        reader = FaceReader(extractor)
        people = [_enrolled(person, photo, reader) for person, photo in sorted(setting.photos.items())]
        watchlist = long_list(people, setting.entries, arena, pictures)
        exits.callback(watchlist.wipe)
        outbox = Outbox(folder / "outbox.sqlite")
        exits.callback(outbox.close)
        cameras = [f"camera-{number}" for number in range(1, setting.cameras + 1)]
        self._sources = {
            camera: NotedSource(
                AvCamera(CameraSettings(camera, str(setting.truth.film.path), "full-speed"), arena, self._clock)
            )
            for camera in cameras
        }
        self._mailbox = Mailbox(cameras, lossless=cameras)
        order = _order(setting.engine_set, cameras, self._clock)
        store = PictureStore(Span(pictures, 0, pictures.tell()))
        sealer = JpegEvidenceSealer(_VAN, order, setting.engine_set, store, SigningKey.generate(), self._clock)
        self._sealer = NotedSealer(sealer, self._sources, setting.truth)
        rule = Rule(order.threshold, order.margin, order.confirmation, order.cooldown_s)
        views = dict.fromkeys(cameras, View(full_look_every=setting.full_look_every))
        recogniser = Recogniser(extractor, watchlist, Decider(rule), self._sealer, views)
        self._recognition = Recognition(
            recogniser, self._mailbox, self._clock, partial(_deliver, outbox, order.recipients)
        )


def _deliver(outbox: Outbox, recipients: Sequence[str], sealed: SealedMatch) -> None:
    outbox.put(sealed, timedelta(hours=24), recipients)


def _enrolled(person: str, photo: Path, reader: FaceReader) -> tuple[str, Features, bytes]:
    face = reader.read(photo)
    if face is None:
        raise UntrustedInputError(
            Reason.SAMPLE_UNUSABLE, f"no face was found in {photo}", fix="give photos that show one face each"
        )
    return person, face.features, photo.read_bytes()


def _order(engine_set: EngineSet, cameras: Sequence[str], clock: SystemClock) -> Order:
    """Without a cool-down, so that every pass is sealed. Not the demo's, whose module needs an office and a broker."""
    now = clock.utc()
    return Order(
        id="bench-deployment",
        purpose="measuring speed with people who do not exist",
        legal_basis="none needed: nobody real",
        place="rendered street",
        authorising_officer="bench",
        force="bench",
        vans=(VanAssignment(id=_VAN, recipient=SealIdentity.generate().recipient, cameras=tuple(cameras)),),
        not_before=now - timedelta(minutes=1),
        not_after=now + timedelta(hours=8),
        threshold=engine_set.threshold,
        margin=0.0,
        confirmation=2,
        cooldown_s=0.0,
        expected_faces=1000,
        list_size=1,
        template_count=1,
        watchlist_sha256=_NONE,
        pictures_sha256=_NONE,
        contract=engine_set.contract,
        engine_sets=(engine_set.digest,),
        recipients=(SealIdentity.generate().recipient,),
        notice_url="https://example.org/notice",
        demo=True,
    )
