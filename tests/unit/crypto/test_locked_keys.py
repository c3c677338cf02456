"""Private keys locked with a passphrase, and orders signed by several people one after the other."""

import json
from pathlib import Path

import pytest
from pyrage import passphrase

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import (
    Purpose,
    SigningKey,
    add_signature,
    merge_signatures,
    sign,
    signers,
    unverified_payload,
    verify,
)
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError


def test_a_locked_key_opens_with_its_passphrase_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "order.key"
    key = SigningKey.generate()
    key.to_file(path, locked_with="correct horse")
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" not in path.read_bytes()
    assert SigningKey.from_file(path, lambda _: "correct horse").public.key_id == key.public.key_id
    with pytest.raises(ConfigError, match="does not open") as refused:
        SigningKey.from_file(path, lambda _: "battery staple")
    assert refused.value.reason is Reason.DECRYPTION_FAILED
    with pytest.raises(ConfigError, match="locked with a passphrase"):
        SigningKey.from_file(path)
    assert b"BEGIN PRIVATE KEY" in passphrase.decrypt(path.read_bytes(), "correct horse")


def test_a_locked_identity_opens_too(tmp_path: Path) -> None:
    identity = SealIdentity.generate()
    identity.to_file(tmp_path / "workspace.age", locked_with="correct horse")
    assert SealIdentity.from_file(tmp_path / "workspace.age", lambda _: "correct horse").recipient == identity.recipient


def test_signatures_are_added_one_by_one_and_the_same_key_counts_once() -> None:
    one, other, stranger = (SigningKey.generate() for _ in range(3))
    envelope = sign(b"payload", Purpose.ORDER, [])
    for key in (one, one, other, stranger):
        envelope = add_signature(envelope, Purpose.ORDER, key)
    trusted = [one.public, other.public, one.public]
    assert [key.key_id for key in signers(envelope, Purpose.ORDER, trusted)] == [one.public.key_id, other.public.key_id]
    assert verify(envelope, Purpose.ORDER, trusted, threshold=2) == b"payload"
    assert unverified_payload(envelope, Purpose.ORDER) == b"payload"
    with pytest.raises(ConfigError):
        verify(envelope, Purpose.ORDER, trusted, threshold=3)


def test_a_changed_payload_has_no_signers_and_another_purpose_is_refused() -> None:
    key = SigningKey.generate()
    envelope = sign(b"payload", Purpose.ORDER, [key])
    other = sign(b"another", Purpose.ORDER, []).replace(
        b'"signatures":[]', envelope[envelope.index(b'"signatures"') : -1]
    )
    assert signers(other, Purpose.ORDER, [key.public]) == []
    with pytest.raises(UntrustedInputError):
        add_signature(envelope, Purpose.ALERT, key)


def test_copies_that_were_signed_apart_are_merged_and_other_payloads_are_not() -> None:
    one, other = SigningKey.generate(), SigningKey.generate()
    bare = sign(b"payload", Purpose.ORDER, [])
    copies = [add_signature(bare, Purpose.ORDER, key) for key in (one, other)]
    trusted = [one.public, other.public]
    merged = merge_signatures([bare, *copies], Purpose.ORDER, trusted)
    assert verify(merged, Purpose.ORDER, trusted, threshold=2) == b"payload"
    again = merge_signatures([merged, copies[0]], Purpose.ORDER, trusted)
    assert len(again) == len(merged), "nobody signs twice"
    with pytest.raises(UntrustedInputError, match="not signatures of the same order"):
        merge_signatures([merged, sign(b"another", Purpose.ORDER, [one])], Purpose.ORDER, trusted)
    with pytest.raises(UntrustedInputError, match="carries 2 signatures, none by a key that is trusted here"):
        merge_signatures(copies, Purpose.ORDER, [SigningKey.generate().public])


@pytest.mark.parametrize("planted_first", [True, False])
def test_a_false_signature_does_not_take_the_place_of_the_genuine_one(*, planted_first: bool) -> None:
    one, other = SigningKey.generate(), SigningKey.generate()
    outside = json.loads(sign(b"payload", Purpose.ORDER, [one, other]))
    outside["signatures"][1]["sig"] = outside["signatures"][0]["sig"]
    copies = [json.dumps(outside).encode(), sign(b"payload", Purpose.ORDER, [other])]
    trusted = [one.public, other.public]
    merged = merge_signatures(copies if planted_first else copies[::-1], Purpose.ORDER, trusted)
    assert verify(merged, Purpose.ORDER, trusted, threshold=2) == b"payload"
