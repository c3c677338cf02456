"""The van's own keys: made once, mended by every later run, and never replaced.

Each is a pair of files. The private half decides: the public one can be written again from it at any time. What cannot
be mended without losing a key is an error that names the fix. Whoever trusted a key that is replaced has to be told, so
that is left to people.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

from lfr_edge.crypto import key_files
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, Reason


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Two files that are there, whole, and belong together."""

    private: Path
    public: Path
    changes: tuple[str, ...]
    """What this run made or mended, in words; empty if all was as it should be."""


def provide_signing_key(folder: Path) -> KeyPair:
    """The Ed25519 key that signs this van's alerts, prekeys, receipts and log: `alert.key` and `alert.pub`.

    Makes the folder (0700) and what is missing. ConfigError if a half is damaged, is not the other's, or if the private
    one alone is missing; then no file was touched, but for the permissions of the private one.
    """
    return _provide(
        folder / "alert.key",
        folder / "alert.pub",
        make=lambda path: SigningKey.generate().to_file(path),
        public_half=lambda path: SigningKey.from_file(path).public.to_bytes(),
    )


def provide_trial_deployment_key(folder: Path) -> KeyPair:
    """A lasting age key that opens watchlists, `deployment.age` and `deployment.recipient`; else as the signing key.

    For demos and trials: it is not destroyed with a deployment, as a prekey is.
    """
    return _provide(
        folder / "deployment.age",
        folder / "deployment.recipient",
        make=lambda path: SealIdentity.generate().to_file(path),
        public_half=lambda path: f"{SealIdentity.from_file(path).recipient}\n".encode("ascii"),
    )


def _provide(
    private: Path, public: Path, *, make: Callable[[Path], None], public_half: Callable[[Path], bytes]
) -> KeyPair:
    changes = []
    try:
        private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if private.exists():
            changes += _with_mode(private, key_files.PRIVATE)
        else:
            _require_none(public, private)
            make(private)  # before its public half: a power cut between them leaves what the next run completes
            changes.append(f"{private}: made")
        expected = _read(private, public, public_half)
        if public.exists():
            _require_same(public, expected, private)
            changes += _with_mode(public, key_files.PUBLIC)
        else:
            key_files.write_new(public, expected, mode=key_files.PUBLIC)
            changes.append(f"{public}: written from {private.name}")
    except OSError as error:
        raise ConfigError(
            Reason.FILE_UNWRITABLE,
            f"{error.filename or private.parent} cannot be used: {error.strerror}",
            fix="run this as the user whose keys these are, or choose another folder",
        ) from error
    return KeyPair(private, public, tuple(changes))


def _with_mode(path: Path, mode: int) -> list[str]:
    """Give the file its permissions; says so if they were others. What is no file is left as it is."""
    found = S_IMODE(path.stat().st_mode)
    if found == mode or not path.is_file():
        return []
    path.chmod(mode)
    exposed = "; until now others could read it" if mode == key_files.PRIVATE and found & 0o044 else ""
    return [f"{path}: mode {found:04o} set to {mode:04o}{exposed}"]


def _read(private: Path, public: Path, public_half: Callable[[Path], bytes]) -> bytes:
    """What the public half must be. ConfigError if the private one cannot be read or is damaged."""
    try:
        return public_half(private)
    except ConfigError as error:
        if error.reason is not Reason.FILE_MALFORMED:
            raise
        raise ConfigError(
            Reason.FILE_MALFORMED,
            f"{private} is damaged, or another kind of key",
            fix=f"put a sound copy back; without one move it and {public.name} away, run this again, and hand the new "
            f"{public.name} to all who had the old one",
        ) from error


def _require_none(public: Path, private: Path) -> None:
    if public.exists():
        raise ConfigError(
            Reason.FILE_MISSING,
            f"{private} is missing, but {public.name} is there",
            fix=f"put {private.name} back; without it move {public.name} away, run this again, and hand the new one to "
            "all who had it",
        )


def _require_same(public: Path, expected: bytes, private: Path) -> None:
    if key_files.read(public) != expected:
        raise ConfigError(
            Reason.FILE_EXISTS,
            f"{public} is not the public half of {private.name}",
            fix="move it away and run this again: it is written from the private half",
        )
