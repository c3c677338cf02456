"""A test pass is opened with the checks of an alert, and neither can be taken for the other."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, sign
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.alert import Alert, SealedAlert, open_alert, sign_and_seal
from lfr_edge.messages.examples import ALERT, JPEG, VOLUNTEER_PASS
from lfr_edge.messages.ids import uuid7
from lfr_edge.messages.volunteer_pass import SealedPass, VolunteerPass, open_pass, sign_and_seal_pass

ROOM, OTHER_ROOM = SealIdentity.generate(), SealIdentity.generate()
VAN, OTHER_VAN = SigningKey.generate(), SigningKey.generate()
TRUSTED = {"van-1": VAN.public, "van-2": OTHER_VAN.public}
ADDRESSED = VolunteerPass(**(dict(VOLUNTEER_PASS) | {"recipients": (ROOM.recipient,)}))
NOW = ADDRESSED.decided_at + timedelta(seconds=1)
SEALED = sign_and_seal_pass(ADDRESSED, VAN, ADDRESSED.recipients)


def _reason(untrusted: SealedPass, identity: SealIdentity = ROOM, late: timedelta = timedelta(0)) -> Reason:
    with pytest.raises(UntrustedInputError) as caught:
        open_pass(untrusted, identity, TRUSTED, now=NOW + late)
    assert caught.value.reason in {Reason.DECRYPTION_FAILED, Reason.MALFORMED, Reason.SIGNATURE_INVALID} or (
        "test pass" in str(caught.value) or "test_pass" in str(caught.value)
    )
    return caught.value.reason


def _signed(envelope: bytes) -> SealedPass:
    return replace(SEALED, ciphertext=seal(envelope, [ROOM.recipient]))


def test_a_test_pass_opens_for_the_control_room_it_was_meant_for() -> None:
    assert open_pass(SEALED, ROOM, TRUSTED, now=NOW) == ADDRESSED


def test_nothing_of_a_test_pass_can_be_read_outside() -> None:
    for text in (ADDRESSED.entry, ADDRESSED.camera, "test pass"):
        assert text.encode() not in SEALED.ciphertext


@pytest.mark.parametrize(
    "change",
    [{"id": uuid7()}, {"time": SEALED.time + timedelta(microseconds=1)}, {"force": "another"}, {"order": "another"}],
    ids=lambda change: next(iter(change)),
)
def test_an_outside_that_differs_from_the_inside_is_refused(change: dict[str, object]) -> None:
    assert _reason(replace(SEALED, **change)) is Reason.OUTER_INNER_DIFFER  # type: ignore[arg-type]


def test_every_forgery_is_refused_as_it_is_of_an_alert() -> None:
    assert _reason(replace(SEALED, van="van-9")) is Reason.SIGNER_UNKNOWN
    assert _reason(_signed(sign(ADDRESSED.to_json(), Purpose.TEST_PASS, [OTHER_VAN]))) is Reason.SIGNER_UNKNOWN
    assert _reason(_signed(ADDRESSED.to_json())) is Reason.MALFORMED
    assert _reason(SEALED, OTHER_ROOM) is Reason.DECRYPTION_FAILED
    passed_on = replace(SEALED, ciphertext=seal(open_sealed(SEALED.ciphertext, ROOM), [OTHER_ROOM.recipient]))
    assert _reason(passed_on, OTHER_ROOM) is Reason.WRONG_RECIPIENT
    assert _reason(SEALED, late=timedelta(hours=24)) is Reason.EXPIRED
    assert _reason(replace(SEALED, ciphertext=bytes((32 << 10) + 1))) is Reason.MALFORMED


def test_a_test_pass_is_never_opened_as_an_alert_nor_an_alert_as_a_test_pass() -> None:
    alert = Alert(**(dict(ALERT) | {"recipients": (ROOM.recipient,)}))
    as_pass = SealedPass(alert.id, alert.decided_at, "van-1", alert.force, alert.order, b"")
    sealed = sign_and_seal(alert, VAN, alert.recipients)
    assert _reason(replace(as_pass, ciphertext=sealed.ciphertext)) is Reason.SIGNATURE_INVALID
    as_alert = SealedAlert(SEALED.id, SEALED.time, SEALED.van, SEALED.force, SEALED.order, SEALED.ciphertext)
    with pytest.raises(UntrustedInputError) as caught:
        open_alert(as_alert, ROOM, TRUSTED, now=NOW)
    assert caught.value.reason is Reason.SIGNATURE_INVALID
    # Not even when the van itself signs the one for the purpose of the other.
    assert _reason(_signed(sign(alert.to_json(), Purpose.TEST_PASS, [VAN]))) is Reason.MALFORMED


@pytest.mark.parametrize("name", ["sample", "reference", "context", "category", "response", "runner_up", "ack_token"])
def test_a_test_pass_has_no_room_for_what_nobody_needs(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        VolunteerPass(**dict(ADDRESSED), **{name: JPEG})


def test_a_test_pass_to_as_many_control_rooms_as_an_order_may_name_is_not_too_large() -> None:
    rooms = tuple(SealIdentity.generate().recipient for _ in range(63))
    many = VolunteerPass(**(dict(ADDRESSED) | {"recipients": (*rooms, ROOM.recipient)}))
    assert open_pass(sign_and_seal_pass(many, VAN, many.recipients), ROOM, TRUSTED, now=NOW) == many


def test_sealing_to_others_than_the_test_pass_names_is_our_own_fault() -> None:
    with pytest.raises(RuntimeError):
        sign_and_seal_pass(ADDRESSED, VAN, [OTHER_ROOM.recipient])
