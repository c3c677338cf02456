"""A street without pixels that matter: people stand where the test says, and their features are axes of a space."""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.face_search import FakeFaceSearch

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image, Rows
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.biometrics.retention import FRAME, TEMPLATES
from lfr_edge.clock import ManualClock
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.decide import Decider, Rule
from lfr_edge.pipeline.evidence import Match
from lfr_edge.pipeline.frame_source import Frame
from lfr_edge.pipeline.recognise import Recogniser, View
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box
from lfr_edge.vision.quality import Quality
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.references import Watchlist

DIMENSION = 16
LISTED = ("ann", "bob", "cy")
SIZE_PX = 320, 256


@dataclass(frozen=True)
class Person:
    """Somebody in one picture. Who is in LISTED has features of a template; everybody else has others."""

    who: str
    left: int = 40
    inter_eye_px: float = 30.0
    confidence: float = 0.9  # also the quality here
    likeness: float = 1.0  # score with the own template


class FakeExtractor:
    """Finds who the test put into the picture; writes down whom it embedded."""

    dimension = DIMENSION
    engine_set = SimpleNamespace(threshold=0.5)
    lanes = 2

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.people: Sequence[Person] = ()
        self.glances: list[bool] = []
        self.rows: list[Rows] = []
        self.prepared: list[tuple[Rows, bool]] = []
        self.embedded: list[list[str]] = []
        self.calls: list[str] = []
        self.searches: list[FakeFaceSearch] = []
        self.fault: Exception | None = None
        self._who: dict[int, Person] = {}

    def start(self, _image: Image, *, glance: bool, rows: Rows) -> FakeFaceSearch:
        people = self.people
        self.glances.append(glance)
        self.rows.append(rows)
        self.searches.append(FakeFaceSearch(lambda: self._faces(people)))
        return self.searches[-1]

    def _faces(self, people: "Sequence[Person]") -> list[Detection]:
        found = []
        for person in people:
            box = Box(person.left, 60, person.left + 40, 110)
            eye = person.left + 5
            points = [[eye, 80], [eye + person.inter_eye_px, 80], [eye + 15, 90], [eye + 5, 100], [eye + 25, 100]]
            found.append(Detection(box, np.array(points, np.float64), person.confidence))
            self._who[id(found[-1])] = person
        return found

    def embed(self, _image: Image, detections: Sequence[Detection], *, out: NDArray[np.float32]) -> list[Quality]:
        if self.fault is not None:
            raise self.fault
        people = [self._who[id(detection)] for detection in detections]
        self.embedded.append([person.who for person in people])
        for row, person in zip(out, people, strict=True):
            row.fill(0)
            row[-1] = (1 - person.likeness**2) ** 0.5
            row[LISTED.index(person.who) if person.who in LISTED else -1] = person.likeness
        # A quality whose value is the detector's confidence.
        return [Quality(300, 1, 1, 0, 0, detection.confidence, 1) for detection in detections]

    def prepare(self, most_faces: int) -> None:
        """Nothing to prepare."""

    def prepare_pictures(self, _width_px: int, rows: Rows, *, glance: bool) -> None:
        self.prepared.append((rows, glance))

    def forget(self) -> None:
        self.calls.append("forget")

    def forget_remains(self) -> None:
        self.calls.append("forget remains")

    def close(self) -> None:
        held = {lease.row.name for lease in self.arena._held.values()}
        self.calls.append(f"close while holding {', '.join(sorted(held))}")


@dataclass
class FakeSealer:
    """Keeps what it was given; the tests' people are nobody."""

    matches: list[Match] = field(default_factory=list)
    passes: list[Match] = field(default_factory=list)
    samples: list[NDArray[Any]] = field(default_factory=list)
    contexts: list[NDArray[Any]] = field(default_factory=list)

    def seal(self, match: Match, sample: NDArray[Any], context: NDArray[Any]) -> SealedAlert:
        self.matches.append(match)
        self.samples.append(np.array(sample))
        self.contexts.append(np.array(context))
        return SealedAlert(f"id-{len(self.matches)}", match.captured_at, "van-1", "force-1", "order-1", b"sealed")

    def seal_pass(self, match: Match) -> SealedPass:
        self.passes.append(match)
        return SealedPass(f"pass-{len(self.passes)}", match.captured_at, "van-1", "force-1", "order-1", b"sealed")


@pytest.fixture
def arena() -> Arena:
    return Arena(16 << 20, memory_lock=FakeMemoryLock(allow=False))


def listed_entry(name: str, *, volunteer: bool) -> Entry:
    return Entry(
        id=name,
        category="wanted",
        response="test-pass" if volunteer else "red",
        legal_basis="test",
        rationale="a test",
        source="made up",
        captured=date(2026, 1, 1),
        expires=date(2027, 1, 1),
        picture=None if volunteer else PictureMember(offset=0, length=16, key="00" * 32),
    )


def watchlist(arena: Arena, volunteers: Collection[str], listed: Sequence[str] = LISTED) -> Watchlist:
    entries = tuple(listed_entry(name, volunteer=name in volunteers) for name in listed)
    lease = arena.lease(TEMPLATES, (len(listed), DIMENSION), np.float32)
    lease.array[:] = np.eye(len(LISTED), DIMENSION, dtype=np.float32)[[LISTED.index(name) for name in listed]]
    return Watchlist(entries, lease, np.arange(len(listed), dtype=np.int32))


@dataclass
class Street:
    """A recogniser over fakes, and a clock that moves with the pictures."""

    arena: Arena
    extractor: FakeExtractor
    sealer: FakeSealer
    recogniser: Recogniser
    clock: ManualClock
    listed: Watchlist
    sequence: "itertools.count[int]" = field(default_factory=itertools.count)

    def see(self, *people: Person, camera: str = "north", after_s: float = 0.04) -> list[str]:
        """One more picture; whose alerts it raised."""
        self.clock.advance(after_s)
        self.extractor.people = people
        before = len(self.sealer.matches)
        sealed = self.recogniser.step(self.frame(camera))
        matched = [match.candidate.entry.id for match in self.sealer.matches[before:]]
        assert sum(isinstance(one, SealedAlert) for one in sealed) == len(matched)
        return matched

    def frame(self, camera: str = "north") -> Frame:
        image = Image.blank(self.arena, FRAME, *SIZE_PX)
        image.pixels[:] = np.arange(SIZE_PX[0], dtype=np.uint16)[:, np.newaxis] % 251
        return Frame(camera, next(self.sequence), self.clock.monotonic_ns(), self.clock.utc(), image)

    def take_over(self, *listed: str, confirmation: int = 2) -> None:
        """Another order with this list, whose alerts another sealer gets."""
        old, self.listed, self.sealer = self.listed, watchlist(self.arena, (), listed), FakeSealer()
        rule = Rule(threshold=0.5, margin=0.05, confirmation=confirmation, cooldown_s=60.0)
        self.recogniser.take_over(self.listed, Decider(rule), self.sealer)
        old.wipe()

    @property
    def held(self) -> list[str]:
        """The rows of everything leased, but for the list."""
        return sorted(lease.row.name for lease in self.arena._held.values() if lease.row is not TEMPLATES)


@pytest.fixture
def street(arena: Arena) -> Street:
    return make_street(arena)


def make_street(
    arena: Arena,
    *,
    cooldown: timedelta = timedelta(seconds=60),
    confirmation: int = 2,
    north: View | None = None,
    volunteers: Collection[str] = (),
) -> Street:
    extractor, sealer, listed = FakeExtractor(arena), FakeSealer(), watchlist(arena, volunteers)
    rule = Rule(threshold=0.5, margin=0.05, confirmation=confirmation, cooldown_s=cooldown.total_seconds())
    views = {"north": north or View(), "south": View()}
    recogniser = Recogniser(extractor, listed, Decider(rule), sealer, views)  # type: ignore[arg-type]
    return Street(arena, extractor, sealer, recogniser, ManualClock(), listed)


@pytest.fixture
def street_with() -> Callable[..., Street]:
    """`street` under another rule."""
    return make_street


@pytest.fixture
def person() -> type[Person]:
    return Person
