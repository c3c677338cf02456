"""Signing: who said it, and what for. Ed25519 in DSSE envelopes (secure-systems-lab/dsse, protocol 1.0).

A signature covers the payload type, so a key trusted for one purpose proves nothing for another. Which keys are
trusted is the caller's decision and comes from its configuration, never from the envelope.
"""

import base64
import json
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import BaseModel, ConfigDict, FailFast
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import (  # type: ignore[attr-defined]  # its re-exports are not marked as such
    CryptoSigner,
    Signature,
    SSlibKey,
)

from lfr_edge.crypto import key_files
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError, counted
from lfr_edge.json_names import has_repeated_names


class Purpose(Enum):
    """What a signature is for: the DSSE payload type."""

    ORDER = "application/vnd.lfr-edge.order+json"
    ALERT = "application/vnd.lfr-edge.alert+json"
    TEST_PASS = "application/vnd.lfr-edge.test-pass+json"  # noqa: S105 - no password
    PREKEY = "application/vnd.lfr-edge.prekeys+json"
    COMMAND = "application/vnd.lfr-edge.command+json"
    CLOCK = "application/vnd.lfr-edge.clock+json"
    ERASURE = "application/vnd.lfr-edge.erasure+json"

    @property
    def noun(self) -> str:
        """What is signed, for messages."""
        return _NOUNS.get(self, self.name.lower().replace("_", " "))


_NOUNS = {
    Purpose.PREKEY: "stock of prekeys",
    Purpose.CLOCK: "clock statement",
    Purpose.ERASURE: "erasure receipt",
}
# What people sign, and with which command. A van signs the rest when it makes it.
_SIGNED_WITH = {
    Purpose.ORDER: "lfr-edge office sign (office merge, if copies of it were signed)",
    Purpose.COMMAND: "lfr-edge control-room stop",
    Purpose.CLOCK: "lfr-edge deployment clock-sign",
}


class VerifyKey:
    """A public key that somebody here decided to trust."""

    __slots__ = ("_key", "_public")

    def __init__(self, public: Ed25519PublicKey) -> None:
        self._public = public
        self._key = SSlibKey.from_crypto(public)

    @classmethod
    def from_file(cls, path: Path) -> "VerifyKey":
        """Read a PEM public key (SubjectPublicKeyInfo)."""
        try:
            public = load_pem_public_key(key_files.read(path))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _not_a_key(path, "public") from error
        if not isinstance(public, Ed25519PublicKey):
            raise _not_a_key(path, "public")
        return cls(public)

    def to_file(self, path: Path) -> None:
        """Write PEM, world-readable, atomically; never over an existing file."""
        key_files.write_new(path, self.to_bytes(), mode=key_files.PUBLIC)

    def to_bytes(self) -> bytes:
        """The key as PEM."""
        return self._public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> str:
        """A digest of the key: the same key has the same id whatever file it came from."""
        return self._key.keyid

    @property
    def sslib_key(self) -> SSlibKey:
        """For this module's own functions."""
        return self._key


class SigningKey:
    """A private Ed25519 key."""

    __slots__ = ("_private", "_signer")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._signer = CryptoSigner(private)

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new key from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_file(cls, path: Path, ask: key_files.AskPassphrase | None = None) -> "SigningKey":
        """Read a PEM PKCS#8 private key; may be locked as `key_files` does it."""
        try:
            private = load_pem_private_key(key_files.read_private(path, ask), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
            raise _not_a_key(path, "private") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise _not_a_key(path, "private")
        return cls(private)

    def to_file(self, path: Path, *, locked_with: str | None = None) -> None:
        """Write PEM PKCS#8, mode 0600, atomically; never over an existing file."""
        key_files.write_private(path, self._signer.private_bytes, locked_with=locked_with)

    @property
    def public(self) -> VerifyKey:
        """The half to give away."""
        return VerifyKey(self._private.public_key())

    @property
    def signer(self) -> CryptoSigner:
        """For this module's own functions."""
        return self._signer


def sign(payload: bytes, purpose: Purpose, keys: Sequence[SigningKey]) -> bytes:
    """A DSSE envelope (JSON) with one signature by each key."""
    envelope = Envelope(payload, purpose.value, {})
    for key in keys:
        envelope.sign(key.signer)
    return _to_json(envelope)


def add_signature(untrusted_envelope: bytes, purpose: Purpose, key: SigningKey) -> bytes:
    """The envelope with one signature more. UntrustedInputError if it is for another purpose.

    Signs the payload as it is: show it to the person first (`unverified_payload`).
    """
    envelope = _parse_for(untrusted_envelope, purpose)
    envelope.sign(key.signer)
    return _to_json(envelope)


def merge_signatures(untrusted_envelopes: Sequence[bytes], purpose: Purpose, trusted: Sequence[VerifyKey]) -> bytes:
    """One envelope with every valid signature of a trusted key that is in any of them, and no other.

    Only valid ones, because an envelope has one signature for each key id: a false one would take the place of the
    genuine one. UntrustedInputError if they are not of the same payload, or no trusted key signed any.
    """
    envelopes = [_parse_for(untrusted, purpose) for untrusted in untrusted_envelopes]
    if len({envelope.payload for envelope in envelopes}) != 1:
        raise UntrustedInputError(
            Reason.DIGEST_MISMATCH,
            f"these are not signatures of the same {purpose.noun}",
            fix="give copies of one file, each signed by somebody else",
        )
    merged = Envelope(envelopes[0].payload, purpose.value, {})
    for envelope in envelopes:
        for key in _signers(envelope, trusted):
            merged.signatures[key.key_id] = envelope.signatures[key.key_id]
    if not merged.signatures:
        raise _signer_unknown(purpose, len(set().union(*(envelope.signatures for envelope in envelopes))))
    return _to_json(merged)


def unverified_payload(untrusted_envelope: bytes, purpose: Purpose) -> bytes:
    """What was signed, or is to be, without any check of signatures."""
    return _parse_for(untrusted_envelope, purpose).payload


def signers(untrusted_envelope: bytes, purpose: Purpose, trusted: Sequence[VerifyKey]) -> list[VerifyKey]:
    """Those of the trusted keys whose signature is there and valid, each once."""
    return _signers(_parse_for(untrusted_envelope, purpose), trusted)


def _signers(envelope: Envelope, trusted: Sequence[VerifyKey]) -> list[VerifyKey]:
    found = {key.key_id: key for key in trusted if key.key_id in envelope.signatures}
    return [key for key in found.values() if _is_signed_by(envelope, key)]


def _is_signed_by(envelope: Envelope, key: VerifyKey) -> bool:
    try:
        envelope.verify([key.sslib_key], 1)
    except VerificationError:
        return False
    return True


def verify(untrusted_envelope: bytes, purpose: Purpose, trusted: Sequence[VerifyKey], *, threshold: int = 1) -> bytes:
    """The payload, if at least `threshold` different trusted keys signed it for this purpose."""
    envelope = _parse_for(untrusted_envelope, purpose)
    keys = {key.key_id: key.sslib_key for key in trusted}
    claimed = len(keys.keys() & envelope.signatures.keys())
    if not claimed:
        raise _signer_unknown(purpose, len(envelope.signatures))
    if len(keys) < threshold:
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"{threshold} signatures are required, but only {counted(len(keys), 'key is', 'keys are')} trusted",
            fix="trust more keys or require fewer",
        )
    try:
        envelope.verify(list(keys.values()), threshold)
    except VerificationError as error:
        raise _too_few(purpose, len(_signers(envelope, trusted)), claimed, threshold) from error
    return envelope.payload


def _to_json(envelope: Envelope) -> bytes:
    return json.dumps(envelope.to_dict(), separators=(",", ":")).encode("ascii")


def _parse_for(untrusted_envelope: bytes, purpose: Purpose) -> Envelope:
    """The envelope, if it is for this purpose."""
    envelope = _parse(untrusted_envelope)
    if envelope.payload_type != purpose.value:
        raise UntrustedInputError(
            Reason.SIGNATURE_INVALID,
            f"this is no signed {purpose.noun}",
            fix="give the file that was signed for this purpose",
        )
    return envelope


class _UntrustedSignature(BaseModel):
    """One signature as JSON; fields of others are ignored, as DSSE asks."""

    model_config = ConfigDict(strict=True, frozen=True)
    keyid: str
    sig: str


class _UntrustedEnvelope(BaseModel):
    """The envelope as JSON."""

    model_config = ConfigDict(strict=True, frozen=True)
    payload: str
    payloadType: str  # noqa: N815 - DSSE's name
    # Without it, an error for each of the signatures: 366 MiB for an order of 1 MiB.
    signatures: Annotated[list[_UntrustedSignature], FailFast()]


def _parse(untrusted_envelope: bytes) -> Envelope:
    """The envelope, checked for form only. A key id that appears twice is refused: it could be counted twice.

    So is a name that an object has twice: parsers differ in which they take, and signer and verifier could see two
    contents.
    """
    try:
        outside = _UntrustedEnvelope.model_validate_json(untrusted_envelope)
        repeated = has_repeated_names(untrusted_envelope.decode())
        payload = _from_base64(outside.payload)
        signatures = {
            signature.keyid: Signature(signature.keyid, _from_base64(signature.sig).hex())
            for signature in outside.signatures
        }
    except ValueError:
        pass  # pydantic and base64 quote what they could not read: our error is raised below, outside the chain
    else:
        if not repeated and len(signatures) == len(outside.signatures):
            return Envelope(payload, outside.payloadType, signatures)
    raise UntrustedInputError(Reason.MALFORMED, "this is not a signed envelope", fix="give the signed file, unchanged")


def _from_base64(text: str) -> bytes:
    """Either alphabet, as DSSE asks of verifiers."""
    return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)


def _signer_unknown(purpose: Purpose, signatures: int) -> UntrustedInputError:
    """For what nobody signed, or nobody who is trusted."""
    if not signatures:
        return UntrustedInputError(
            Reason.SIGNER_UNKNOWN, f"nobody has signed this {purpose.noun} yet", fix=_signed_by(purpose, "an officer")
        )
    carried = counted(signatures, "signature", "signatures")
    return UntrustedInputError(
        Reason.SIGNER_UNKNOWN,
        f"this {purpose.noun} carries {carried}, none by a key that is trusted here",
        fix=f"{_signed_by(purpose, 'somebody whose key is trusted here')}; or add the signer's public key to those, if"
        " it should be there",
    )


def _too_few(purpose: Purpose, valid: int, claimed: int, threshold: int) -> UntrustedInputError:
    """For what trusted keys signed, but not enough of them, or not truly."""
    carried = f"{valid} of the {threshold} signatures by trusted keys that are needed"
    if valid < claimed:
        return UntrustedInputError(
            Reason.SIGNATURE_INVALID,
            f"this {purpose.noun} carries {carried}, and a false one under a trusted key's name",
            fix="get an undamaged copy; if there is none, somebody changed it",
        )
    return UntrustedInputError(
        Reason.SIGNATURE_INVALID, f"this {purpose.noun} carries {carried}", fix=_signed_by(purpose, "another officer")
    )


def _signed_by(purpose: Purpose, whom: str) -> str:
    command = _SIGNED_WITH.get(purpose)
    return f"have it signed by {whom}: {command}" if command else "get it from the machine that makes it"


def _not_a_key(path: Path, half: str) -> ConfigError:
    """The error for a file that holds something else."""
    return ConfigError(
        Reason.FILE_MALFORMED, f"{path} is not an Ed25519 {half} key in PEM", fix="give the key file, undamaged"
    )
