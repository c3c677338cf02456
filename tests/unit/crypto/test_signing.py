"""Signing: who said it, for which purpose, and how many of them."""

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope

from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify
from lfr_edge.errors import ConfigError, LfrEdgeError, Reason, UntrustedInputError

VECTORS = Path(__file__).parents[2] / "vectors" / "dsse"
KEY, OTHER, THIRD = (SigningKey.generate() for _ in range(3))
SIGNED = sign(b'{"place":"High Street"}', Purpose.ORDER, [KEY])


def _refusal(envelope: bytes, trusted: list[VerifyKey], *, threshold: int = 1) -> LfrEdgeError:
    with pytest.raises(LfrEdgeError) as caught:
        verify(envelope, Purpose.ORDER, trusted, threshold=threshold)
    return caught.value


def _reason(envelope: bytes, trusted: list[VerifyKey], *, threshold: int = 1) -> Reason:
    return _refusal(envelope, trusted, threshold=threshold).reason


@given(payload=st.binary(max_size=1000))
@settings(max_examples=25, deadline=None)
def test_what_is_signed_verifies_unchanged(payload: bytes) -> None:
    assert verify(sign(payload, Purpose.ALERT, [KEY]), Purpose.ALERT, [KEY.public]) == payload


def test_the_signature_of_an_unknown_key_is_refused() -> None:
    assert _reason(SIGNED, [OTHER.public]) is Reason.SIGNER_UNKNOWN
    assert _reason(SIGNED, []) is Reason.SIGNER_UNKNOWN


def test_what_nobody_signed_is_said_to_be_unsigned() -> None:
    refused = _refusal(sign(b"order", Purpose.ORDER, []), [OTHER.public])
    assert refused.reason is Reason.SIGNER_UNKNOWN
    assert refused.message == "nobody has signed this order yet"
    assert refused.fix.startswith("have it signed by an officer: lfr-edge office sign")


def test_what_only_strangers_signed_is_said_with_how_many_and_both_ways_out() -> None:
    for envelope, carried in ((SIGNED, "1 signature"), (sign(b"order", Purpose.ORDER, [KEY, THIRD]), "2 signatures")):
        refused = _refusal(envelope, [OTHER.public], threshold=2)
        assert refused.message == f"this order carries {carried}, none by a key that is trusted here"
        assert "lfr-edge office sign" in refused.fix
        assert "add the signer's public key" in refused.fix


def test_an_orders_signature_does_not_verify_an_alert() -> None:
    with pytest.raises(UntrustedInputError) as caught:
        verify(SIGNED, Purpose.ALERT, [KEY.public])
    assert caught.value.reason is Reason.SIGNATURE_INVALID


def test_renaming_the_purpose_outside_does_not_help() -> None:
    outside = json.loads(SIGNED)
    outside["payloadType"] = Purpose.ALERT.value
    with pytest.raises(UntrustedInputError) as caught:
        verify(json.dumps(outside).encode(), Purpose.ALERT, [KEY.public])
    assert caught.value.reason is Reason.SIGNATURE_INVALID


def test_naming_a_trusted_key_without_its_signature_does_not_help() -> None:
    outside = json.loads(sign(b"forged", Purpose.ORDER, [OTHER]))
    outside["signatures"][0]["keyid"] = KEY.public.key_id
    assert _reason(json.dumps(outside).encode(), [KEY.public]) is Reason.SIGNATURE_INVALID


def test_no_flipped_bit_yields_another_payload() -> None:
    """Most are refused; a flip in what nobody reads (a field's case, base64's spare bits) leaves the same payload."""
    refused = 0
    for position in range(len(SIGNED)):
        for bit in range(8):
            damaged = SIGNED[:position] + bytes([SIGNED[position] ^ (1 << bit)]) + SIGNED[position + 1 :]
            try:
                assert verify(damaged, Purpose.ORDER, [KEY.public]) == b'{"place":"High Street"}'
            except UntrustedInputError:
                refused += 1
    assert refused > 0.98 * 8 * len(SIGNED)


def test_every_truncation_is_malformed() -> None:
    for length in range(len(SIGNED)):
        assert _reason(SIGNED[:length], [KEY.public]) is Reason.MALFORMED


@given(garbage=st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)))
@settings(max_examples=100, deadline=None)
def test_garbage_is_malformed(garbage: bytes) -> None:
    assert _reason(garbage, [KEY.public]) is Reason.MALFORMED


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(field=st.sampled_from(["payload", "payloadType", "signatures"]), value=_JSON)
@settings(max_examples=100, deadline=None)
def test_a_field_of_another_kind_is_refused(field: str, value: object) -> None:
    outside = json.loads(SIGNED)
    outside[field] = value
    _reason(json.dumps(outside).encode(), [KEY.public])


def test_deep_nesting_is_malformed_and_does_not_exhaust_the_stack() -> None:
    assert _reason(b'{"payload":' + b"[" * 100_000, [KEY.public]) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("name", "twice"),
    [
        (b'"payload":', b'"payload":"Zm9yZ2Vk","payload":'),
        (b'"payloadType":', b'"payloadType":"text/plain","payloadType":'),
        (b'"signatures":', b'"signatures":[],"signatures":'),
        (b'"sig":', b'"sig":"","sig":'),
        (b'"payload":', b'"ignored":1,"ignored":1,"payload":'),
        (b'"payload":', b'"payload":"Zm9yZ2Vk","pay\\u006coad":'),
    ],
    ids=["payload", "payloadType", "signatures", "sig", "a field of others", "payload, spelt with an escape"],
)
def test_a_name_that_is_there_twice_is_malformed(name: bytes, twice: bytes) -> None:
    assert SIGNED.count(name) == 1
    assert _reason(SIGNED.replace(name, twice), [KEY.public]) is Reason.MALFORMED


def test_two_of_three_keys_reach_a_threshold_of_two() -> None:
    envelope = sign(b"order", Purpose.ORDER, [KEY, THIRD])
    trusted = [KEY.public, OTHER.public, THIRD.public]
    assert verify(envelope, Purpose.ORDER, trusted, threshold=2) == b"order"


def test_one_of_two_signatures_does_not_reach_a_threshold_of_two() -> None:
    refused = _refusal(SIGNED, [KEY.public, OTHER.public], threshold=2)
    assert refused.reason is Reason.SIGNATURE_INVALID
    assert refused.message == "this order carries 1 of the 2 signatures by trusted keys that are needed"
    assert "have it signed by another officer: lfr-edge office sign" in refused.fix


def test_a_false_signature_is_said_and_no_officer_is_asked_to_sign_over_it() -> None:
    outside = json.loads(sign(b"order", Purpose.ORDER, [KEY, OTHER]))
    outside["signatures"][1]["sig"] = outside["signatures"][0]["sig"]
    refused = _refusal(json.dumps(outside).encode(), [KEY.public, OTHER.public], threshold=2)
    assert refused.reason is Reason.SIGNATURE_INVALID
    assert "1 of the 2 signatures by trusted keys that are needed, and a false one" in refused.message
    assert "undamaged copy" in refused.fix


def test_the_same_signature_twice_does_not_reach_a_threshold_of_two() -> None:
    outside = json.loads(SIGNED)
    outside["signatures"] *= 2
    assert _reason(json.dumps(outside).encode(), [KEY.public, OTHER.public], threshold=2) is Reason.MALFORMED


def test_the_same_signature_under_two_names_does_not_reach_a_threshold_of_two() -> None:
    outside = json.loads(SIGNED)
    outside["signatures"].append(outside["signatures"][0] | {"keyid": OTHER.public.key_id})
    assert _reason(json.dumps(outside).encode(), [KEY.public, OTHER.public], threshold=2) is Reason.SIGNATURE_INVALID


def test_signing_twice_with_one_key_counts_once() -> None:
    envelope = sign(b"order", Purpose.ORDER, [KEY, KEY])
    assert _reason(envelope, [KEY.public, OTHER.public], threshold=2) is Reason.SIGNATURE_INVALID


def test_trusting_one_key_twice_does_not_make_two() -> None:
    with pytest.raises(ConfigError, match="only 1 key is trusted"):
        verify(SIGNED, Purpose.ORDER, [KEY.public, KEY.public], threshold=2)


def test_what_is_signed_is_the_pre_authentication_encoding_of_the_dsse_specification() -> None:
    """`pae.json` is the worked example of the DSSE protocol 1.0.0 (payload, type, encoding)."""
    vector = json.loads((VECTORS / "pae.json").read_text())
    assert Envelope(vector["payload"].encode(), vector["payload_type"], {}).pae() == vector["pae"].encode()


def test_another_implementation_of_dsse_agrees_on_our_envelope() -> None:
    """Built from the specification's text alone: PAE by hand, Ed25519 by the key."""
    outside = json.loads(SIGNED)
    payload, kind = base64.b64decode(outside["payload"]), outside["payloadType"].encode()
    pae = b"DSSEv1 " + b" ".join([str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    KEY._private.public_key().verify(base64.b64decode(outside["signatures"][0]["sig"]), pae)


def test_both_base64_alphabets_are_accepted_as_dsse_asks() -> None:
    payload = b"\xff\xfe\xfb" * 5
    outside = json.loads(sign(payload, Purpose.ORDER, [KEY]))
    outside["payload"] = base64.urlsafe_b64encode(payload).decode()
    assert verify(json.dumps(outside).encode(), Purpose.ORDER, [KEY.public]) == payload


def test_keys_survive_their_files_and_only_the_owner_may_read_the_private_one(tmp_path: Path) -> None:
    private, public = tmp_path / "office.key", tmp_path / "office.pub"
    KEY.to_file(private)
    KEY.public.to_file(public)
    assert SigningKey.from_file(private).public.key_id == VerifyKey.from_file(public).key_id == KEY.public.key_id
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"BEGIN PRIVATE KEY" in private.read_bytes()
    assert b"BEGIN PUBLIC KEY" in public.read_bytes()


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    KEY.to_file(tmp_path / "a.key")
    with pytest.raises(ConfigError) as caught:
        OTHER.to_file(tmp_path / "a.key")
    assert caught.value.reason is Reason.FILE_EXISTS
    assert SigningKey.from_file(tmp_path / "a.key").public.key_id == KEY.public.key_id


def test_a_file_that_holds_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    KEY.public.to_file(tmp_path / "public.pem")
    KEY.to_file(tmp_path / "private.pem")
    elliptic = generate_private_key(SECP256R1())
    encrypted = KEY._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    for content in (
        b"",
        b"nonsense",
        elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        encrypted,
        (tmp_path / "public.pem").read_bytes(),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            SigningKey.from_file(path)
        assert caught.value.reason is Reason.FILE_MALFORMED
    with pytest.raises(ConfigError) as caught:
        VerifyKey.from_file(tmp_path / "private.pem")
    assert caught.value.reason is Reason.FILE_MALFORMED
