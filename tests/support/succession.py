"""Two orders for one van, whose lists are long: the second replaces the first. All people are rendered."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.cli.demo_scene import CAMERA, FORCE, VAN, Scene, rows_of
from lfr_edge.clock import SystemClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.evaluation.bench.lists import fill_with_nobody
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.order import BudgetAcceptance, Order, VanAssignment, open_order, sign_order
from lfr_edge.office.enrol import measure_photos
from lfr_edge.office.order_file import UNSEALED
from lfr_edge.office.references import References, gather
from lfr_edge.office.seal import seal_package
from lfr_edge.van.prekeys import PrekeyStock
from lfr_edge.watchlist.package import open_package, replace_order

FIRST, SECOND = "first-order", "second-order"


@dataclass(frozen=True)
class Orders:
    """What the office has made: the scene's own package is the first order's."""

    scene: Scene
    officer: SigningKey
    people: References
    rooms: dict[str, SealIdentity]
    """Whom each order's alerts are for."""

    def template(self, person: str) -> NDArray[np.float32]:
        """Of an entry, as enrolled."""
        place = [entry.id for entry in self.people.entries].index(person)
        return self.people.templates[place]

    def package(self, order: str) -> Path:
        return self.scene.folder / f"{order}.lfrd"

    def seal(self, order: str, listed: Collection[str], entries: int, **changes: Any) -> None:
        """A list of `entries`: those who are listed, and nobody behind them."""
        state = self.scene.folder / "state"
        state.mkdir(exist_ok=True)
        (prekey,) = PrekeyStock(state / "prekeys", state / "wrapping.key").make(1, SystemClock().utc())
        terms = self._terms(order, prekey.recipient).model_copy(update=changes)
        references = _filled(self.people, listed, entries)
        seal_package(references, terms, self.scene.engine_set, [self.officer], self.package(order))

    def restate(self, order: str, **changes: Any) -> None:
        """Have another order signed for a package that is sealed."""
        with open_package(self.package(order)) as package:
            terms = open_order(package.order, [self.officer.public])
        replace_order(self.package(order), sign_order(terms.model_copy(update=changes), [self.officer]))

    def _terms(self, order: str, recipient: str) -> Order:
        now, engine_set = SystemClock().utc(), self.scene.engine_set
        return Order(
            id=order,
            replaces=FIRST if order == SECOND else None,
            purpose="tests with people who do not exist",
            legal_basis="none needed: nobody real",
            place="rendered street",
            authorising_officer="test officer",
            force=FORCE,
            vans=(VanAssignment(id=VAN, recipient=recipient, cameras=(CAMERA,)),),
            not_before=now - timedelta(minutes=1),
            not_after=now + timedelta(hours=8),
            threshold=engine_set.threshold,
            margin=0.0,
            confirmation=2,
            cooldown_s=600.0,
            expected_faces=1000,
            list_size=1,
            template_count=1,
            budget_accepted=BudgetAcceptance(by="tests", why="nobody real"),
            watchlist_sha256=UNSEALED,
            pictures_sha256=UNSEALED,
            contract=engine_set.contract,
            engine_sets=(engine_set.digest,),
            recipients=(self.rooms[order].recipient,),
            notice_url="https://example.org/notice",
            demo=True,
        )


def two_orders(folder: Path, engine_set: EngineSet, store: EngineStore) -> Orders:
    """Keys of every role, and everybody of the demo enrolled; nothing is sealed yet."""
    identity, van_key, officer = SealIdentity.generate(), SigningKey.generate(), SigningKey.generate()
    van_key.to_file(folder / "alert.key")
    officer.public.to_file(folder / "order.pub")
    SealIdentity.generate().to_file(folder / "deployment.age")
    arena = Arena(96 << 20)
    extractor = open_extractor(engine_set, store, arena, threads=2)
    try:
        rows = rows_of(None)
        photos = list(measure_photos([row.photo for row in rows], extractor, arena))
    finally:
        extractor.close()
    people = gather(rows, photos, engine_set=engine_set.name, contract=engine_set.contract)
    scene = Scene(folder, engine_set, identity, van_key, folder / f"{FIRST}.lfrd", len(people.entries))
    return Orders(scene, officer, people, {FIRST: identity, SECOND: SealIdentity.generate()})


def _filled(people: References, listed: Collection[str], entries: int) -> References:
    places = [place for place, entry in enumerate(people.entries) if entry.id in listed]
    known = [people.entries[place] for place in places]
    filler = np.empty((entries - len(known), people.templates.shape[1]), np.float32)
    fill_with_nobody(filler)
    nobody = [known[0].model_copy(update={"id": f"nobody-{number}"}) for number in range(len(filler))]
    return dataclasses.replace(
        people,
        entries=(*known, *nobody),
        templates=np.concatenate([people.templates[places], filler]),
        entry_of_template=np.arange(entries, dtype=np.int32),
        picture=lambda entry: people.picture(entry) if entry in listed else b"nobody",
    )
