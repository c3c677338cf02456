"""From references to a package: the round trip, what is refused before anything is written, what nobody can read."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.crypto.sealed import SealIdentity, open_sealed
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.order import BudgetAcceptance, Order, open_order
from lfr_edge.office.enrol import measure_photos
from lfr_edge.office.listing import read_list
from lfr_edge.office.order_file import UNSEALED, read_order
from lfr_edge.office.references import References, gather
from lfr_edge.office.seal import seal_package
from lfr_edge.watchlist.container import read_watchlist
from lfr_edge.watchlist.entries import Particulars
from lfr_edge.watchlist.package import open_package

ORDER = """
id = "harbour-2026-06-01"
purpose = "find people wanted on warrant"
legal_basis = "common law; PACE 1984"
place = "Harbour Street"
authorising_officer = "Supt A. Example"
force = "example"
not_before = 2026-06-01T09:00:00Z
not_after = 2026-06-01T17:00:00Z
threshold = 0.55
margin = 0.05
confirmation = 2
cooldown_s = 300
expected_faces = 10000
alert_expiry_h = 12
notice_url = "https://example.org/notice"
demo = false

[[vans]]
id = "van-1"
cameras = ["front", "rear"]
"""


@dataclass
class Office:
    """Everything that a seal needs."""

    references: References
    order: Order
    engine_set: EngineSet
    key: SigningKey
    van: SealIdentity
    out: Path

    def seal(self, **changes: Any) -> Order:
        arguments = {"references": self.references, "order": self.order, "engine_set": self.engine_set}
        return seal_package(**{**arguments, "keys": [self.key], "out": self.out, **changes})


@pytest.fixture
def control_room() -> SealIdentity:
    return SealIdentity.generate()


@pytest.fixture
def order_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str = ORDER) -> Path:
        path = tmp_path / "order.toml"
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.fixture
def references(
    photos: Path,
    photo: Callable[..., str],
    listing: Callable[..., Path],
    extractor: Any,
    arena: Arena,
    engine_set: EngineSet,
) -> References:
    names = [photo(f"{who}.png", who=who) for who in (2, 3, 4, 6)]
    entries = ("E-2", "E-2", "E-4", "E-6")
    rest = "wanted,red,PACE s.64A,custody,2025-03-01,,2026-06-01"
    lines = [f"{entry},{name},{rest}" for entry, name in zip(entries, names, strict=True)]
    rows, problems = read_list(listing(*lines), photos)
    assert not problems
    found = list(measure_photos([row.photo for row in rows], extractor, arena))
    return gather(rows, found, engine_set=engine_set.name, contract=engine_set.contract)


@pytest.fixture
def office(
    references: References,
    order_file: Callable[..., Path],
    engine_set: EngineSet,
    control_room: SealIdentity,
    tmp_path: Path,
) -> Office:
    van = SealIdentity.generate()
    order = read_order(
        order_file(), engine_set, van_recipients={"van-1": van.recipient}, recipients=[control_room.recipient]
    )
    return Office(references, order, engine_set, SigningKey.generate(), van, tmp_path / "x.lfrd")


def test_the_van_reads_what_the_office_sealed(office: Office, arena: Arena) -> None:
    sealed = office.seal()
    with open_package(office.out) as package:
        order = open_order(package.order, [office.key.public])
        assert order == sealed
        assert order.watchlist_sha256 == package.watchlist_sha256 != UNSEALED
        assert order.pictures_sha256 == package.pictures_sha256 != UNSEALED
        assert order.engine_sets == (office.engine_set.digest,)
        watchlist = read_watchlist(
            package.watchlist(), office.van, arena, contract=order.contract, dimension=office.engine_set.dimension
        )
        assert [entry.id for entry in watchlist.entries] == ["E-2", "E-4", "E-6"]
        assert watchlist.entries[0].expires == date(2026, 6, 1)
        for entry in watchlist.entries:
            assert package.pictures.open(entry) == office.references.picture(entry.id)
        scores = np.empty(watchlist.template_count, np.float32)
        assert watchlist.template_count == order.template_count == 4
        for row, place in zip(office.references.templates, (0, 0, 1, 2), strict=True):
            entry = watchlist.entries[place]
            first, _ = watchlist.search(row, scores=scores)
            assert first.entry == entry
            assert first.score == pytest.approx(1)
        watchlist.wipe()


def test_of_a_volunteer_the_van_gets_templates_and_no_picture(office: Office, arena: Arena) -> None:
    stated = dict(office.references.entries[1])
    volunteer = Particulars(**(stated | {"response": "test-pass", "rationale": "agreed to ten walks"}))
    entries = (office.references.entries[0], volunteer, office.references.entries[2])
    order = office.seal(references=replace(office.references, entries=entries))
    assert (order.list_size, order.template_count) == (3, 4), "what a face is compared with, volunteers counted"
    with open_package(office.out) as package:
        dimension = office.engine_set.dimension
        watchlist = read_watchlist(package.watchlist(), office.van, arena, contract=order.contract, dimension=dimension)
        assert [entry.is_volunteer for entry in watchlist.entries] == [False, True, False]
        wanted, passed, other = watchlist.entries
        assert passed.picture is None
        assert wanted.picture is not None
        assert other.picture is not None
        assert other.picture.offset == wanted.picture.length, "nothing of the volunteer lies between"
        assert package.pictures.open(other) == office.references.picture(other.id)
        watchlist.wipe()


def test_nothing_of_a_person_is_readable_in_the_package(office: Office) -> None:
    office.seal()
    package = office.out.read_bytes()
    picture = office.references.picture("E-2")
    assert b"E-2" not in package
    assert picture[100:140] not in package
    assert all(row.tobytes()[:16] not in package for row in office.references.templates)


def test_neither_a_control_room_nor_another_van_opens_the_list(
    office: Office, control_room: SealIdentity, arena: Arena
) -> None:
    office.seal()
    with open_package(office.out) as package:
        for identity in (control_room, SealIdentity.generate()):
            with pytest.raises(UntrustedInputError) as refused:
                read_watchlist(
                    package.watchlist(),
                    identity,
                    arena,
                    contract=office.order.contract,
                    dimension=office.engine_set.dimension,
                )
            assert refused.value.reason is Reason.DECRYPTION_FAILED


def test_with_a_share_the_van_alone_finds_ciphertext(office: Office, arena: Arena) -> None:
    share = SealIdentity.generate()
    asks = {"unlock": "required", "unlock_recipient": share.recipient, "no_swap": True}
    office.seal(order=office.order.model_copy(update=asks))
    expected = {"contract": office.order.contract, "dimension": office.engine_set.dimension}
    with open_package(office.out) as package:
        inside = open_sealed(package.watchlist().read(), office.van)
        assert inside.startswith(b"age-encryption.org/v1\n-> X25519 ")
        for row in office.references.templates:
            assert row.tobytes()[:16] not in inside
        for alone in (office.van, share):
            with pytest.raises(UntrustedInputError):
                read_watchlist(package.watchlist(), alone, arena, **expected)
        watchlist = read_watchlist(package.watchlist(), office.van, arena, **expected, share=share)
        assert [entry.id for entry in watchlist.entries] == ["E-2", "E-4", "E-6"]
        watchlist.wipe()


def test_a_threshold_below_the_floor_is_refused(office: Office) -> None:
    low = office.order.model_copy(update={"threshold": office.engine_set.threshold_floor - 0.001})
    with pytest.raises(PolicyError) as refused:
        office.seal(order=low)
    assert refused.value.reason is Reason.THRESHOLD_BELOW_FLOOR
    assert str(office.engine_set.threshold) in refused.value.fix
    assert not office.out.exists()


def test_references_of_another_contract_are_refused(office: Office) -> None:
    embedder = office.engine_set.embedders[0]
    other = office.engine_set.model_copy(
        update={"embedders": (embedder.model_copy(update={"mirrored": not embedder.mirrored}),)}
    )
    with pytest.raises(PolicyError) as refused:
        office.seal(engine_set=other, order=office.order.model_copy(update={"contract": other.contract}))
    assert refused.value.reason is Reason.CONTRACT_MISMATCH
    assert not office.out.exists()


def test_an_entry_that_expires_before_the_deployment_ends_is_refused(
    office: Office, order_file: Callable[[str], Path], control_room: SealIdentity
) -> None:
    late = read_order(
        order_file(ORDER.replace("2026-06-01T", "2026-06-02T")),
        office.engine_set,
        van_recipients={"van-1": office.van.recipient},
        recipients=[control_room.recipient],
    )
    with pytest.raises(PolicyError, match="3 entries expire before the deployment ends on 2026-06-02: E-2, E-4, E-6;"):
        office.seal(order=late)
    first = office.references.entries[0]
    many = tuple(first.model_copy(update={"id": f"E-{number}"}) for number in range(25))
    with pytest.raises(PolicyError, match=r"25 entries expire .*, E-19 and 5 more;"):
        office.seal(order=late, references=replace(office.references, entries=many))
    with pytest.raises(PolicyError, match="1 entry expires before"):
        office.seal(order=late, references=replace(office.references, entries=many[:1]))


def test_a_package_is_for_one_van(
    office: Office, order_file: Callable[[str], Path], control_room: SealIdentity
) -> None:
    two = read_order(
        order_file(ORDER + '[[vans]]\nid = "van-2"\ncameras = ["front"]\n'),
        office.engine_set,
        van_recipients={"van-1": office.van.recipient, "van-2": SealIdentity.generate().recipient},
        recipients=[control_room.recipient],
    )
    with pytest.raises(ConfigError, match="names 2 vans"):
        office.seal(order=two)


def test_a_picture_that_cannot_be_read_stops_the_seal_and_leaves_nothing(office: Office, tmp_path: Path) -> None:
    def missing(entry: str) -> bytes:
        raise ConfigError(Reason.FILE_MISSING, f"{entry} has no picture", fix="enrol again")

    with pytest.raises(ConfigError, match="E-2 has no picture"):
        office.seal(references=replace(office.references, picture=missing))
    assert not list(tmp_path.glob("*x.lfrd*"))


def test_what_is_announced_is_what_appears_and_a_refusal_to_write_it_down_stops_the_package(office: Office) -> None:
    announced = []
    sealed = office.seal(announce=lambda order, envelope: announced.append((order, envelope, office.out.exists())))
    with open_package(office.out) as package:
        assert announced == [(sealed, package.order, False)]
    office.out.unlink()

    def full(*_: object) -> None:
        raise ConfigError(Reason.FILE_UNWRITABLE, "the registry is full", fix="make room")

    with pytest.raises(ConfigError, match="registry is full"):
        office.seal(announce=full)
    assert not office.out.exists()


def test_a_list_above_its_budget_is_refused_unless_the_order_says_who_accepted_it(office: Office) -> None:
    low = office.order.model_copy(update={"threshold": office.engine_set.threshold_floor, "budget": 1e-6})
    with pytest.raises(PolicyError) as refused:
        office.seal(order=low)
    assert refused.value.reason is Reason.BUDGET_EXCEEDED
    assert "budget_accepted" in refused.value.fix
    assert not office.out.exists()
    accepted = BudgetAcceptance(by="Supt A. Example", why="a child is missing")
    assert office.seal(order=low.model_copy(update={"budget_accepted": accepted})).list_size == 3


def test_an_existing_package_is_not_replaced(office: Office) -> None:
    office.out.write_bytes(b"precious")
    with pytest.raises(ConfigError):
        office.seal()
    assert office.out.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("threshold =", "treshold =", "treshold: no such key"),
        ('place = "Harbour Street"\n', "", "place is missing"),
        ("17:00:00Z", "17:00:00+01:00", "not_after must be UTC"),
        ("17:00:00Z", "17:00:00", "not_after must be a time in UTC, such as "),
        ("2026-06-01T17:00:00Z", "2026-06-02T10:00:00Z", "order.toml: not_after must be later"),
        ("2026-06-01T17:00:00Z", "2026-06-01T08:00:00Z", "by 24 hours at the most"),
        ("2026-06-01T17:00:00Z", "08:00:00", "not_after must be a time in UTC, such as "),
        ("threshold = 0.55", 'threshold = "0.55"', "threshold must be a number"),
        ("threshold = 0.55", "threshold = nan", "threshold must be a number"),
        ("demo = false", "demo = 0", "demo must be true or false"),
        ('cameras = ["front", "rear"]', 'cameras = ["front"]\nzone = 1', "vans.0.zone is not known"),
        ('cameras = ["front", "rear"]', "cameras = []", "vans.0.cameras must have at least 1 item(s)"),
        ("[[vans]]", "[vans]", "vans: missing or without id"),
        ('id = "van-1"', 'name = "van-1"', "vans: missing or without id"),
        ("demo = false", 'demo = false\ncontract = "x"', "contract: filled in by sealing"),
        ("demo = false", "demo = false\nlist_size = 3", "list_size: filled in by sealing"),
        ("demo = false", 'demo = false\nunlock_recipient = "x"', "unlock_recipient: filled in by sealing"),
        ("demo = false", 'demo = false\nunlock = "required"', "unlock_recipient must be there if, and only if"),
        ("demo = false", "demo = false\ntemplate_count = 3", "template_count: filled in by sealing"),
        (
            "demo = false",
            "demo = false\nbudget = 1.0",
            "order.toml: budget is above 0.001: budget_accepted",
        ),
        ("demo = false", "demo = false\n[budget_accepted]\nby = 'A'", "budget_accepted.why is missing"),
        ("expected_faces = 10000\n", "", "expected_faces is missing"),
        ("demo = false", "demo =", "line"),
        ('id = "van-1"', 'id = "van-2"', "name different vans: van-1, van-2"),
    ],
)
def test_a_mistake_in_the_order_is_named(
    order_file: Callable[[str], Path], engine_set: EngineSet, old: str, new: str, complaint: str
) -> None:
    assert old in ORDER
    key = SealIdentity.generate().recipient
    with pytest.raises(ConfigError) as refused:
        read_order(order_file(ORDER.replace(old, new)), engine_set, van_recipients={"van-1": key}, recipients=[key])
    assert complaint in refused.value.message
    assert "order.toml" in refused.value.message


def test_every_wrong_key_is_named_at_once(order_file: Callable[[str], Path], engine_set: EngineSet) -> None:
    key = SealIdentity.generate().recipient
    wrong = ORDER.replace("margin = 0.05", "margin = -1").replace("confirmation = 2", "confirmation = 0")
    with pytest.raises(ConfigError, match=r"margin must be at least 0.0; confirmation must be at least 1"):
        read_order(order_file(wrong), engine_set, van_recipients={"van-1": key}, recipients=[key])


@pytest.mark.parametrize("recipients", [[], ["age1nonsense"], ["AGE-SECRET-KEY-1"]])
def test_a_control_room_needs_a_key(
    order_file: Callable[..., Path], engine_set: EngineSet, recipients: list[str]
) -> None:
    key = SealIdentity.generate().recipient
    with pytest.raises(ConfigError, match="recipients"):
        read_order(order_file(), engine_set, van_recipients={"van-1": key}, recipients=recipients)


def test_a_template_that_was_changed_is_refused_at_the_seal(office: Office) -> None:
    doubled = replace(office.references, templates=office.references.templates * 2)
    with pytest.raises(UntrustedInputError, match="length 1"):
        office.seal(references=doubled)
    assert not office.out.exists()
