"""Orders and alerts under signature and seal: every forgery that the watcher must refuse."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, sign
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.alert import LARGEST_CIPHERTEXT_BYTES, Alert, SealedAlert, open_alert, sign_and_seal
from lfr_edge.messages.examples import ALERT, ORDER
from lfr_edge.messages.ids import uuid7
from lfr_edge.messages.order import open_order, sign_order

ROOM, OTHER_ROOM = SealIdentity.generate(), SealIdentity.generate()
VAN, OTHER_VAN, OFFICE, SECOND = (SigningKey.generate() for _ in range(4))
TRUSTED = {"van-1": VAN.public, "van-2": OTHER_VAN.public}
ADDRESSED = Alert(**(dict(ALERT) | {"recipients": (ROOM.recipient,)}))
NOW = ADDRESSED.decided_at + timedelta(seconds=1)
SEALED = sign_and_seal(ADDRESSED, VAN, ADDRESSED.recipients)


def _reason(untrusted: SealedAlert, identity: SealIdentity = ROOM) -> Reason:
    with pytest.raises(UntrustedInputError) as caught:
        open_alert(untrusted, identity, TRUSTED, now=NOW)
    return caught.value.reason


def _sealed_again(envelope: bytes) -> SealedAlert:
    return replace(SEALED, ciphertext=seal(envelope, [ROOM.recipient]))


def test_an_alert_opens_for_the_control_room_it_was_meant_for() -> None:
    assert open_alert(SEALED, ROOM, TRUSTED, now=NOW) == ADDRESSED


def test_an_alert_opens_until_it_expires_and_never_after() -> None:
    instant = timedelta(microseconds=1)
    assert open_alert(SEALED, ROOM, TRUSTED, now=ADDRESSED.expires_at - instant) == ADDRESSED
    for late in (timedelta(0), timedelta(days=300)):
        with pytest.raises(UntrustedInputError) as caught:
            open_alert(SEALED, ROOM, TRUSTED, now=ADDRESSED.expires_at + late)
        assert caught.value.reason is Reason.EXPIRED


def test_each_of_several_control_rooms_opens_the_same_alert() -> None:
    alert = Alert(**(dict(ALERT) | {"recipients": (ROOM.recipient, OTHER_ROOM.recipient)}))
    sealed = sign_and_seal(alert, VAN, alert.recipients)
    for room in (ROOM, OTHER_ROOM):
        assert open_alert(sealed, room, TRUSTED, now=NOW) == alert


def test_nothing_of_an_alert_can_be_read_outside() -> None:
    for text in (ALERT.entry, ALERT.category, ALERT.camera, ALERT.place):
        assert text.encode() not in SEALED.ciphertext


def test_an_alert_nobody_signed_is_refused() -> None:
    assert _reason(_sealed_again(ADDRESSED.to_json())) is Reason.MALFORMED
    assert _reason(_sealed_again(sign(ADDRESSED.to_json(), Purpose.ALERT, []))) is Reason.SIGNER_UNKNOWN


def test_an_alert_signed_by_another_van_is_refused() -> None:
    assert _reason(_sealed_again(sign(ADDRESSED.to_json(), Purpose.ALERT, [OTHER_VAN]))) is Reason.SIGNER_UNKNOWN


def test_an_alert_signed_for_another_purpose_is_refused() -> None:
    assert _reason(_sealed_again(sign(ADDRESSED.to_json(), Purpose.ORDER, [VAN]))) is Reason.SIGNATURE_INVALID


def test_an_alert_from_a_van_without_a_key_is_refused() -> None:
    assert _reason(replace(SEALED, van="van-9")) is Reason.SIGNER_UNKNOWN


@pytest.mark.parametrize(
    "change",
    [
        {"id": uuid7()},
        {"time": SEALED.time + timedelta(microseconds=1)},
        {"force": "another"},
        {"order": "another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_outside_that_differs_from_the_inside_is_refused(change: dict[str, object]) -> None:
    assert _reason(replace(SEALED, **change)) is Reason.OUTER_INNER_DIFFER  # type: ignore[arg-type]


def test_a_van_cannot_speak_for_another_with_its_own_key() -> None:
    """van-2 signs an alert that says van-1 inside, and sends it as its own."""
    forged = sign(ADDRESSED.to_json(), Purpose.ALERT, [OTHER_VAN])
    assert _reason(replace(_sealed_again(forged), van="van-2")) is Reason.OUTER_INNER_DIFFER


def test_an_alert_passed_on_to_a_control_room_it_was_not_meant_for_is_refused() -> None:
    passed_on = replace(SEALED, ciphertext=seal(open_sealed(SEALED.ciphertext, ROOM), [OTHER_ROOM.recipient]))
    assert _reason(passed_on, OTHER_ROOM) is Reason.WRONG_RECIPIENT


def test_an_alert_for_another_control_room_does_not_open() -> None:
    assert _reason(SEALED, OTHER_ROOM) is Reason.DECRYPTION_FAILED


def test_a_genuine_signature_over_something_else_is_malformed() -> None:
    assert _reason(_sealed_again(sign(b'{"hello": "world"}', Purpose.ALERT, [VAN]))) is Reason.MALFORMED


def test_an_alert_too_large_is_refused_before_it_is_opened() -> None:
    assert _reason(replace(SEALED, ciphertext=bytes(LARGEST_CIPHERTEXT_BYTES + 1))) is Reason.MALFORMED


def test_the_largest_pictures_fit() -> None:
    largest = ALERT.sample + bytes((1 << 20) - len(ALERT.sample))
    alert = Alert(**(dict(ADDRESSED) | dict.fromkeys(("sample", "reference", "context"), largest)))
    assert open_alert(sign_and_seal(alert, VAN, alert.recipients), ROOM, TRUSTED, now=NOW) == alert


def test_sealing_to_others_than_the_alert_names_is_our_own_fault() -> None:
    with pytest.raises(RuntimeError):
        sign_and_seal(ADDRESSED, VAN, [OTHER_ROOM.recipient])


@given(damage=st.data())
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_anywhere_is_refused(damage: st.DataObject) -> None:
    position = damage.draw(st.integers(0, len(SEALED.ciphertext) - 1))
    ciphertext = bytearray(SEALED.ciphertext)
    ciphertext[position] ^= 1 << damage.draw(st.integers(0, 7))
    assert _reason(replace(SEALED, ciphertext=bytes(ciphertext))) in {Reason.DECRYPTION_FAILED, Reason.TRUNCATED}


def test_an_order_opens_under_enough_signatures() -> None:
    signed = sign_order(ORDER, [OFFICE, SECOND])
    assert open_order(signed, [OFFICE.public, SECOND.public], threshold=2) == ORDER


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (lambda: sign_order(ORDER, [VAN]), Reason.SIGNER_UNKNOWN),
        (lambda: sign_order(ORDER, [OFFICE])[:-20], Reason.MALFORMED),
        (lambda: sign(ORDER.to_json(), Purpose.ALERT, [OFFICE]), Reason.SIGNATURE_INVALID),
        (lambda: sign(b"{}", Purpose.ORDER, [OFFICE]), Reason.MALFORMED),
        (ORDER.to_json, Reason.MALFORMED),
    ],
    ids=["stranger", "truncated", "other purpose", "not an order", "unsigned"],
)
def test_an_order_that_the_office_did_not_sign_is_refused(forge: Callable[[], bytes], reason: Reason) -> None:
    with pytest.raises(UntrustedInputError) as caught:
        open_order(forge(), [OFFICE.public])
    assert caught.value.reason is reason
