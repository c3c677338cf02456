"""Sealing: who may read. age (X25519 recipients) for files and messages, an AEAD for members with a key of their own.

age tells the reader nothing about the sender: whoever needs to know signs inside (`signing`).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

import pyrage  # type: ignore[import-untyped]  # it ships no types
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from lfr_edge.crypto import key_files
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError

# RFC 8439 forbids the same nonce twice under one key. Every member has its own key, used once: zero is never repeated.
_ONLY_NONCE = bytes(12)
# rage's words for "the input ended inside the header": the only truncation that can be told from a flipped bit.
_ENDED_EARLY = "failed to fill whole buffer"
# rage reads a header from its start again for each line: 10,000 stanzas, 120 KB, take 13 s. Here is room for 80.
_LARGEST_HEADER_BYTES = 8192
_HEADER_END = b"\n---"
_FIRST_BYTES = b"age-encryption.org/"


class SealIdentity:
    """A private age key: opens what was sealed to its `recipient`."""

    __slots__ = ("_identity",)

    def __init__(self, identity: pyrage.x25519.Identity) -> None:
        self._identity = identity

    @classmethod
    def generate(cls) -> "SealIdentity":
        """A new key from the system's random source."""
        return cls(pyrage.x25519.Identity.generate())

    @classmethod
    def from_file(cls, path: Path, ask: key_files.AskPassphrase | None = None) -> "SealIdentity":
        """Read the format of age-keygen: comments and one AGE-SECRET-KEY line; may be locked."""
        return cls.from_bytes(key_files.read_private(path, ask), path)

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> "SealIdentity":
        """The same of a file's content; `path` is where it came from."""
        lines = content.decode("ascii", errors="replace").splitlines()
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        try:
            (key,) = keys
            return cls(pyrage.x25519.Identity.from_str(key))
        except (ValueError, pyrage.IdentityError):
            pass  # their messages may quote the line: our error is raised below, outside the chain
        raise ConfigError(Reason.FILE_MALFORMED, f"{path} is not one age identity", fix="give the key file, undamaged")

    @classmethod
    def from_secret(cls, secret: str) -> "SealIdentity":
        """The same of the `AGE-SECRET-KEY-1` text alone, however it is typed: white space and case do not matter."""
        try:
            return cls(pyrage.x25519.Identity.from_str("".join(secret.split()).upper()))
        except (ValueError, pyrage.IdentityError):
            pass  # as above
        raise ConfigError(
            Reason.VALUE_INVALID,
            "this is not a whole age identity",
            fix="look for a typing error: it begins with AGE-SECRET-KEY-1 and has 74 characters",
        )

    def to_file(self, path: Path, *, locked_with: str | None = None) -> None:
        """Write the format of age-keygen, mode 0600, atomically; never over an existing file."""
        key_files.write_private(path, self.to_bytes(), locked_with=locked_with)

    def to_bytes(self) -> bytes:
        """The private key in the format of age-keygen."""
        return f"# public key: {self.recipient}\n{self._identity}\n".encode("ascii")

    @property
    def secret(self) -> str:
        """The `AGE-SECRET-KEY-1` text alone. Python cannot overwrite it: ask for it where it does not stay long."""
        return str(self._identity)

    @property
    def recipient(self) -> str:
        """The public half, `age1...`."""
        return str(self._identity.to_public())

    @property
    def pyrage_identity(self) -> pyrage.x25519.Identity:
        """For this module's own functions."""
        return self._identity


def is_recipient(text: str) -> bool:
    """Whether the text is a public age key: its checksum is checked, so that a typing error shows early."""
    try:
        pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        return False
    return True


def seal(plaintext: bytes, recipients: Sequence[str]) -> bytes:
    """An age file that each of the recipients can open alone."""
    return bytes(pyrage.encrypt(plaintext, _recipients(recipients)))


def open_sealed(ciphertext: bytes, identity: SealIdentity) -> bytes:
    """The plaintext, if it was sealed to this identity and not one bit of it differs."""
    _check_header(ciphertext[:_LARGEST_HEADER_BYTES])
    try:
        return bytes(pyrage.decrypt(ciphertext, [identity.pyrage_identity]))
    except pyrage.DecryptError as error:
        raise _not_opened(str(error)) from error


def seal_stream(reader: BinaryIO, writer: BinaryIO, recipients: Sequence[str]) -> None:
    """`seal` in constant memory."""
    pyrage.encrypt_io(reader, writer, _recipients(recipients))


def open_stream(reader: BinaryIO, writer: BinaryIO, identity: SealIdentity, inner: SealIdentity | None = None) -> None:
    """`open_sealed` in constant memory; with `inner`, of what was sealed to that first, and then to `identity`.

    Each chunk that is written is genuine, but only a normal return says that none is missing: until then the caller
    must be able to throw away what it got.
    """
    if inner is None:
        _open_layer(reader, writer, identity)
    else:
        _open_two_layers(reader, writer, identity, inner)


def _open_two_layers(reader: BinaryIO, writer: BinaryIO, outer: SealIdentity, inner: SealIdentity) -> None:
    """The outer layer is opened on a thread of its own. What comes through the pipe is ciphertext still."""
    readable, writable = os.pipe()
    with ThreadPoolExecutor(1, "open-outer") as pool, os.fdopen(readable, "rb") as between:
        outer_layer = pool.submit(_open_into, writable, reader, outer)
        try:
            _require_sealed(between)
            _open_layer(between, writer, inner)
        except BaseException:
            between.close()  # whoever still writes hears that nobody reads
            if not isinstance(outer_layer.exception(), BrokenPipeError):
                outer_layer.result()  # what the outer layer was refused for comes first
            raise
        outer_layer.result()


def _open_into(pipe: int, reader: BinaryIO, identity: SealIdentity) -> None:
    with os.fdopen(pipe, "wb", buffering=0) as writer:
        _open_layer(reader, cast(BinaryIO, writer), identity)


def _require_sealed(inner: BufferedReader) -> None:
    if not inner.peek(len(_FIRST_BYTES)).startswith(_FIRST_BYTES):
        raise UntrustedInputError(
            Reason.MALFORMED, "what should be sealed twice is sealed once", fix="have it sealed again"
        )


def _open_layer(reader: BinaryIO, writer: BinaryIO, identity: SealIdentity) -> None:
    start = reader.read(_LARGEST_HEADER_BYTES)
    _check_header(start)
    try:
        pyrage.decrypt_io(cast(BinaryIO, _Resumed(start, reader)), writer, [identity.pyrage_identity])
    except pyrage.DecryptError as error:
        raise _not_opened(str(error)) from error
    except OSError as error:
        if error.errno is not None:  # the reader's or writer's own trouble, such as a full disk
            raise
        raise _not_opened(str(error)) from error


class _Resumed:
    """What was read from a reader already, then the rest of it; decryption calls `read`, nothing else."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start = start
        self._rest = rest

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        piece, self._start = self._start[:size], self._start[size:]
        return piece or self._rest.read(size)


def _check_header(start: bytes) -> None:
    """UntrustedInputError if the header goes on behind what is the start of a sealed file; a short one may be cut."""
    if len(start) == _LARGEST_HEADER_BYTES and _HEADER_END not in start:
        raise _not_opened("its header is too long")


def new_member_key() -> bytes:
    """A key for one `seal_member`, and never another."""
    return ChaCha20Poly1305.generate_key()


def seal_member(plaintext: bytes, key: bytes, *, associated: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439) under the member's own key; `associated` binds it to its place."""
    return ChaCha20Poly1305(key).encrypt(_ONLY_NONCE, plaintext, associated)


def open_member(ciphertext: bytes, key: bytes, *, associated: bytes) -> bytes:
    """The plaintext, if key, place and every bit are those of `seal_member`."""
    try:
        return ChaCha20Poly1305(key).decrypt(_ONLY_NONCE, ciphertext, associated)
    except (InvalidTag, ValueError) as error:
        raise UntrustedInputError(
            Reason.DECRYPTION_FAILED, "a sealed member does not open", fix="get an undamaged copy of the package"
        ) from error


def _recipients(texts: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    """Parsed recipients; none at all, or one that is not a key, is a mistake in whatever named them."""
    try:
        parsed = [pyrage.x25519.Recipient.from_str(text) for text in texts]
    except pyrage.RecipientError as error:
        raise ConfigError(
            Reason.VALUE_INVALID, "a recipient is not an age public key", fix="copy the whole `age1...` line"
        ) from error
    if not parsed:
        raise ConfigError(Reason.VALUE_INVALID, "there is no recipient to seal to", fix="name at least one")
    return parsed


def _not_opened(library_message: str) -> UntrustedInputError:
    """Our words for a refusal of age's."""
    if library_message == _ENDED_EARLY:
        return UntrustedInputError(Reason.TRUNCATED, "a sealed file ends too early", fix="get a complete copy")
    return UntrustedInputError(
        Reason.DECRYPTION_FAILED,
        "sealed data does not open",
        fix="use the key it was sealed to, and an undamaged copy",
    )
