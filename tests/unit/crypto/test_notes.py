"""Signed notes, against published examples and against whoever changes them."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lfr_edge.crypto.notes import NoteSigner, NoteVerifier, is_name
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign
from lfr_edge.errors import Reason, UntrustedInputError

VECTORS = Path(__file__).parents[2] / "vectors" / "signed-note" / "notes.json"
PUBLISHED = json.loads(VECTORS.read_text("utf-8"))["notes"]
TEXT = "example.org/log\n3\nsecond\n\nafter a blank line\n"
SIGNER = NoteSigner("example.org/log", SigningKey.generate())
NOTE = SIGNER.sign(TEXT)


def reason(note: bytes, verifier: NoteVerifier = SIGNER.verifier) -> Reason:
    with pytest.raises(UntrustedInputError) as caught:
        verifier.open(note)
    return caught.value.reason


def published_verifier(verifier_key: str) -> NoteVerifier:
    name, key_id, content = verifier_key.split("+", 2)
    raw = base64.b64decode(content)
    assert raw[0] == 1
    verifier = NoteVerifier(name, VerifyKey(Ed25519PublicKey.from_public_bytes(raw[1:])))
    assert verifier.key_id.hex() == key_id
    return verifier


@pytest.mark.parametrize("example", PUBLISHED, ids=lambda example: example["verifier_key"].partition("+")[0])
def test_a_published_note_opens(example: dict[str, str]) -> None:
    note = f"{example['text']}\n{example['signature']}\n".encode()
    verifier = published_verifier(example["verifier_key"])
    assert verifier.open(note) == example["text"]
    assert reason(note.replace(b"m", b"n", 1), verifier) is Reason.SIGNATURE_INVALID


def test_what_is_signed_opens_unchanged() -> None:
    assert SIGNER.verifier.open(NOTE) == TEXT


def test_no_changed_byte_is_taken() -> None:
    for place in range(len(NOTE)):
        for bit in (1, 128):
            wrong = bytearray(NOTE)
            wrong[place] ^= bit
            reason(bytes(wrong))


def test_no_part_of_a_note_is_a_note() -> None:
    for end in range(len(NOTE)):
        reason(NOTE[:end])


def test_the_same_key_under_another_name_is_another_key() -> None:
    key = SigningKey.generate()
    assert reason(NoteSigner("one", key).sign("x\n"), NoteVerifier("two", key.public)) is Reason.SIGNER_UNKNOWN


def test_signatures_of_others_are_ignored_wherever_they_stand() -> None:
    line = NoteSigner("witness.example", SigningKey.generate()).sign(TEXT).split(b"\n")[-2] + b"\n"
    text, _, ours = NOTE.rpartition(b"\n\n")
    assert SIGNER.verifier.open(NOTE + line) == TEXT
    assert SIGNER.verifier.open(text + b"\n\n" + line + ours) == TEXT


def test_one_wrong_signature_of_a_known_key_refuses_the_note() -> None:
    wrong = SIGNER.sign("another text\n").split(b"\n")[-2] + b"\n"
    assert reason(NOTE + wrong) is Reason.SIGNATURE_INVALID
    text, blank, ours = NOTE.rpartition(b"\n\n")
    assert reason(text + blank + wrong + ours) is Reason.SIGNATURE_INVALID


def test_a_signature_has_one_spelling() -> None:
    head, _, signature = NOTE[:-1].rpartition(b" ")
    assert signature.endswith(b"=")
    place = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = signature[:-2] + bytes([place[place.index(signature[-2:-1]) ^ 1]]) + b"="
    assert base64.b64decode(other) == base64.b64decode(signature)
    assert reason(head + b" " + other + b"\n") is Reason.MALFORMED


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"text\n\nno signature\n",
        b"\xff\n\n" + NOTE,
        b"a\tb\n" + NOTE,
        NOTE * 1000,
        NOTE[:-1],
        NOTE.replace(b"\xe2\x80\x94", b"--"),
        NOTE + b"\n",
        NOTE + NOTE.split(b"\n")[-2] * 100 + b"\n",
    ],
    ids=range(12),
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    assert reason(note) is Reason.MALFORMED


def test_an_envelope_is_never_a_note() -> None:
    key = SigningKey.generate()
    signature = base64.b64decode(json.loads(sign(b"{}", Purpose.ORDER, [key]))["signatures"][0]["sig"])
    signed = f"DSSEv1 {len(Purpose.ORDER.value)} {Purpose.ORDER.value} 2 {{}}"
    raw = bytes.fromhex(key.public.sslib_key.keyval["public"])
    Ed25519PublicKey.from_public_bytes(raw).verify(signature, signed.encode())
    assert not is_name(signed)  # and every note of a log begins with a name, in a line of its own


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak", "wide\u2003space", "nul\x00"])
def test_a_name_that_would_break_the_format_is_our_own_mistake(name: str) -> None:
    with pytest.raises(RuntimeError):
        NoteSigner(name, SigningKey.generate())


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "carriage\r\n"])
def test_a_text_that_would_break_the_format_is_our_own_mistake(text: str) -> None:
    with pytest.raises(RuntimeError):
        SIGNER.sign(text)
