"""What is decrypted is what was signed, also when the file changes in between."""

import hashlib
import os
from datetime import date
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena
from lfr_edge.crypto.sealed import SealIdentity, seal
from lfr_edge.errors import PolicyError, Reason, UntrustedInputError
from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.messages.examples import ORDER
from lfr_edge.van.deployment import Deployment
from lfr_edge.watchlist.container import write_watchlist
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.pictures import PictureStore
from lfr_edge.watchlist.span import HashedSpan, Span


class OnePackage:
    """A package of which only the sealed list is asked for, and how long its pictures are."""

    def __init__(self, file: BinaryIO, pictures_bytes: int = 16) -> None:
        self.file = file
        self.pictures = PictureStore(Span(file, 0, pictures_bytes))

    def watchlist(self) -> HashedSpan:
        return HashedSpan(self.file, 0, self.file.seek(0, os.SEEK_END))


def sealed_list(entry_id: str, identity: SealIdentity, engine_set: EngineSet) -> bytes:
    template = np.zeros((1, engine_set.dimension), np.float32)
    template[0, 0] = 1
    entry = Entry(
        id=entry_id,
        category="wanted",
        response="red",
        legal_basis="test",
        source="made up",
        captured=date(2026, 1, 1),
        picture=PictureMember(offset=0, length=16, key="00" * 32),
    )
    return seal(
        write_watchlist((entry,), template, np.zeros(1, np.int32), contract=engine_set.contract), [identity.recipient]
    )


def test_a_list_exchanged_after_the_check_is_refused_and_wiped(tmp_path: Path) -> None:
    engine_set, identity, arena = load_engine_set("yunet-mobilefacenet"), SealIdentity.generate(), Arena(1 << 16)
    signed = sealed_list("signed", identity, engine_set)
    order = ORDER.model_copy(
        update={"watchlist_sha256": hashlib.sha256(signed).hexdigest(), "list_size": 1, "template_count": 1}
    )
    assignment = order.vans[0].model_copy(update={"recipient": identity.recipient})
    path = tmp_path / "watchlist.age"
    path.write_bytes(signed)
    with path.open("rb") as file:
        deployment = Deployment(order, OnePackage(file), assignment)  # type: ignore[arg-type]
        listed = deployment.unseal(identity, engine_set, arena)
        assert [entry.id for entry in listed.entries] == ["signed"]
        listed.wipe()

        path.write_bytes(sealed_list("unsigned", identity, engine_set))  # in place: the open file sees it
        with pytest.raises(UntrustedInputError) as refused:
            deployment.unseal(identity, engine_set, arena)
    assert refused.value.reason is Reason.DIGEST_MISMATCH
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_a_list_is_opened_with_the_share_of_its_order_and_no_other(tmp_path: Path) -> None:
    engine_set, identity, arena = load_engine_set("yunet-mobilefacenet"), SealIdentity.generate(), Arena(1 << 16)
    share = SealIdentity.generate()
    inside = sealed_list("signed", share, engine_set)
    path = tmp_path / "watchlist.age"
    path.write_bytes(seal(inside, [identity.recipient]))
    changes = {"unlock": "required", "unlock_recipient": share.recipient, "list_size": 1, "template_count": 1}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    order = ORDER.model_copy(update={"watchlist_sha256": digest, **changes})
    assignment = order.vans[0].model_copy(update={"recipient": identity.recipient})
    with path.open("rb") as file:
        deployment = Deployment(order, OnePackage(file), assignment)  # type: ignore[arg-type]
        for given in (None, identity, SealIdentity.generate()):
            with pytest.raises(PolicyError) as refused:
                deployment.unseal(identity, engine_set, arena, given)
            assert refused.value.reason is Reason.UNLOCK_REQUIRED
        assert len(deployment.unseal(identity, engine_set, arena, share)) == 1
        without = order.model_copy(update={"unlock": "none", "unlock_recipient": None})
        with pytest.raises(PolicyError):
            Deployment(without, OnePackage(file), assignment).unseal(identity, engine_set, arena, share)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "signed", [{"list_size": 2, "template_count": 1}, {"list_size": 1, "template_count": 2}], ids=str
)
def test_a_list_of_another_length_than_was_budgeted_is_refused_and_wiped(
    tmp_path: Path, signed: dict[str, int]
) -> None:
    engine_set, identity, arena = load_engine_set("yunet-mobilefacenet"), SealIdentity.generate(), Arena(1 << 16)
    path = tmp_path / "watchlist.age"
    path.write_bytes(sealed_list("one", identity, engine_set))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    order = ORDER.model_copy(update={"watchlist_sha256": digest, **signed})
    assignment = order.vans[0].model_copy(update={"recipient": identity.recipient})
    with path.open("rb") as file, pytest.raises(PolicyError) as refused:
        Deployment(order, OnePackage(file), assignment).unseal(identity, engine_set, arena)  # type: ignore[arg-type]
    assert refused.value.reason is Reason.BUDGET_EXCEEDED
    assert arena.leased_bytes == 0


@pytest.mark.parametrize("pictures_bytes", [15, 0])
def test_a_list_whose_pictures_are_not_all_in_the_package_is_refused_and_wiped(
    tmp_path: Path, pictures_bytes: int
) -> None:
    engine_set, identity, arena = load_engine_set("yunet-mobilefacenet"), SealIdentity.generate(), Arena(1 << 16)
    path = tmp_path / "watchlist.age"
    path.write_bytes(sealed_list("one", identity, engine_set))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    order = ORDER.model_copy(update={"watchlist_sha256": digest, "list_size": 1, "template_count": 1})
    assignment = order.vans[0].model_copy(update={"recipient": identity.recipient})
    with path.open("rb") as file:
        deployment = Deployment(order, OnePackage(file, pictures_bytes), assignment)  # type: ignore[arg-type]
        with pytest.raises(UntrustedInputError, match="picture of entry 'one'") as refused:
            deployment.unseal(identity, engine_set, arena)
    assert refused.value.reason is Reason.MALFORMED
    assert arena.leased_bytes == 0
