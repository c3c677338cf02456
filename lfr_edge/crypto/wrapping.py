"""Wrapping: private keys at rest, each encrypted under the van's one wrapping key.

ChaCha20-Poly1305 with a random nonce. Whoever has the wrapping key opens every wrapped key that is still there; it
cannot bring back one that was destroyed. Where the wrapping key is kept is not decided here: today it is a file.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from lfr_edge.crypto import key_files
from lfr_edge.errors import ConfigError, Reason

_KEY_BYTES = 32
_NONCE_BYTES = 12  # random: 2**-33 for a collision after 2**32 keys (NIST SP 800-38D, 8.3), a van wraps thousands


class WrappingKey:
    """One symmetric key."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)

    @classmethod
    def from_file(cls, path: Path) -> "WrappingKey":
        """Read the 32 bytes. ConfigError if it is anything else."""
        key = key_files.read(path)
        if len(key) != _KEY_BYTES:
            raise ConfigError(
                Reason.FILE_MALFORMED, f"{path} is not a wrapping key", fix="restore it; wrapped keys are lost with it"
            )
        return cls(key)

    @classmethod
    def made_at(cls, path: Path) -> "WrappingKey":
        """The key in that file, made there (0600) if there is none."""
        if not path.exists():
            key_files.write_new(path, ChaCha20Poly1305.generate_key(), mode=key_files.PRIVATE)
        return cls.from_file(path)

    def wrap(self, secret: bytes, *, associated: bytes) -> bytes:
        """The secret, encrypted; `associated` binds it to its place."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret, associated)

    def unwrap(self, wrapped: bytes, *, associated: bytes) -> bytes:
        """The secret. ConfigError if key, place or one bit of it differ."""
        try:
            return self._aead.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], associated)
        except (InvalidTag, ValueError) as error:
            raise ConfigError(
                Reason.DECRYPTION_FAILED,
                "a wrapped key does not open",
                fix="restore the wrapping key it was made under; else the package must be sealed to another key",
            ) from error
