"""Signed notes (C2SP signed-note): a text for people and machines, signed with Ed25519 by a named key.

A DSSE envelope begins with "DSSEv1 " when it is signed. A key name holds no space, and our notes begin with it: a key
that signs both can never be made to sign one for the other.
"""

import base64
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lfr_edge.crypto.signing import SigningKey, VerifyKey
from lfr_edge.errors import Reason, UntrustedInputError

_ED25519 = b"\x01"
_LARGEST_BYTES = 64 * 1024
# The specification asks for at least 16; each costs a reader a hash at the most.
_MOST_SIGNATURES = 64
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+")
_SIGNATURE = re.compile(r"— ([^\s+\x00-\x1f]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteVerifier:
    """A key that is trusted to sign notes under one name."""

    __slots__ = ("_id", "_public", "key", "name")

    def __init__(self, name: str, key: VerifyKey) -> None:
        if not is_name(name):
            raise RuntimeError(f"{name!r} cannot name a key")
        raw = bytes.fromhex(key.sslib_key.keyval["public"])
        self.name = name
        self.key = key
        self._public = Ed25519PublicKey.from_public_bytes(raw)
        self._id = hashlib.sha256(name.encode() + b"\n" + _ED25519 + raw).digest()[:4]

    @property
    def key_id(self) -> bytes:
        """Four bytes: tells keys of one name apart, proves nothing."""
        return self._id

    def open(self, untrusted_note: bytes) -> str:
        """The note's text, if this key signed it; signatures of other keys are ignored. UntrustedInputError."""
        text, signatures = _split(untrusted_note)
        ours = [signed for name, key_id, signed in signatures if (name, key_id) == (self.name, self._id)]
        if not ours:
            raise UntrustedInputError(
                Reason.SIGNER_UNKNOWN,
                f"this is not signed by the given key under the name '{self.name}'",
                fix="give the public key of whoever keeps this log",
            )
        try:
            for signature in ours:
                self._public.verify(signature, text.encode())
        except InvalidSignature as error:
            raise UntrustedInputError(
                Reason.SIGNATURE_INVALID,
                f"the signature of '{self.name}' is not valid",
                fix="get an undamaged copy; if there is none, somebody changed it",
            ) from error
        return text


class NoteSigner:
    """Signs notes under one name."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, key: SigningKey) -> None:
        self.verifier = NoteVerifier(name, key.public)
        self._key = key

    @property
    def name(self) -> str:
        """What the key is called in its signatures."""
        return self.verifier.name

    def sign(self, text: str) -> bytes:
        """The note: text, blank line, signature. The text must end with a newline."""
        if not text.endswith("\n") or _CONTROL.search(text):
            raise RuntimeError("the text of a note is lines without control characters")
        message = text.encode()
        signature = bytes.fromhex(self._key.signer.sign(message).signature)
        line = base64.b64encode(self.verifier.key_id + signature).decode("ascii")
        return message + f"\n— {self.name} {line}\n".encode()


def is_name(text: str) -> bool:
    """May a key be called so: no spaces, no plus, no control characters."""
    return _NAME.fullmatch(text) is not None


def _split(untrusted_note: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Text, and name, key id and signature of each signature line. UntrustedInputError if this is no note."""
    if len(untrusted_note) <= _LARGEST_BYTES:
        try:
            note = untrusted_note.decode("utf-8")
        except UnicodeDecodeError:
            note = ""  # the error would quote what it could not read
        text, blank, tail = note.rpartition("\n\n")
        lines = tail.split("\n")
        matched = [_SIGNATURE.fullmatch(line) for line in lines[:-1]]
        if blank and lines[-1] == "" and 0 < len(matched) <= _MOST_SIGNATURES and not _CONTROL.search(note):
            signatures = [_signature(match) for match in matched if match is not None]
            found = [signature for signature in signatures if signature is not None]
            if len(found) == len(matched):
                return f"{text}\n", found
    raise UntrustedInputError(Reason.MALFORMED, "this is not a signed note", fix="give the file, unchanged")


def _signature(match: re.Match[str]) -> tuple[str, bytes, bytes] | None:
    """Name, key id, signature; None if it is not base64 as it is written, or too short."""
    try:
        content = base64.b64decode(match[2], validate=True)
    except ValueError:
        return None
    # base64 has unused bits at its end: only one spelling of a signature is accepted.
    if len(content) <= 4 or base64.b64encode(content).decode("ascii") != match[2]:
        return None
    return match[1], content[:4], content[4:]
