"""Reading a log from its first byte: every line is checked, and nothing is remembered but the tree.

The file is lines. An entry is its canonical JSON; a checkpoint, `{"checkpoint":"..."}`, follows the entries of each
append and covers all before it. Whatever comes after the last checkpoint was never acknowledged to anybody.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lfr_edge.audit.checkpoint import Checkpoint, claimed_origin, open_checkpoint
from lfr_edge.audit.entries import LARGEST_ENTRY_BYTES, Entry
from lfr_edge.audit.merkle import CompactTree, leaf_hash
from lfr_edge.crypto.notes import NoteVerifier
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError, counted

CHECKPOINT_START = b'{"checkpoint":'
_LONGEST_LINE_BYTES = LARGEST_ENTRY_BYTES + 1
_CHUNK_BYTES = 64 * 1024
_CHANGED = "get an undamaged copy; if there is none, the log was changed after it was signed"


def checkpoint_line(note: bytes) -> bytes:
    """A signed note as a line of the log."""
    text = json.dumps({"checkpoint": note.decode()}, separators=(",", ":"), ensure_ascii=False)
    return f"{text}\n".encode()


@dataclass(frozen=True, slots=True)
class Tail:
    """Bytes after the last checkpoint."""

    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Strange:
    """A line that is not the entry that should be there."""

    what: str
    why: str
    """If it was signed so."""


class LogReader:
    """Reads one log once. After `entries` has ended, the properties say where it ended."""

    def __init__(self, file: BinaryIO, key: VerifyKey, *, follow: int | None = None) -> None:
        self._file = file
        self._key = key
        self._follow = follow  # the entry whose path to the root is wanted
        self._verifier: NoteVerifier | None = None
        self.tree = CompactTree()
        self.note = b""  # the last checkpoint, as it was signed
        self.end = 0  # where it ends in the file
        self.tail = Tail(0, "")

    @property
    def origin(self) -> str:
        """Which log this is; empty before its first checkpoint."""
        return self._verifier.name if self._verifier is not None else ""

    def entries(self) -> Iterator[Entry]:
        """Every entry in order, each before the checkpoint over it was checked: believe none before the end.

        UntrustedInputError at the first line that is not what was written, or that we cannot read. Ends before a tail:
        that is the caller's to judge.
        """
        covered = CompactTree()  # the tree at the last checkpoint
        strange: _Strange | None = None  # the first line since then that is not the entry that should be there
        position = 0
        while line := self._file.readline(_LONGEST_LINE_BYTES):
            position += len(line)
            if line.startswith(CHECKPOINT_START) and line.endswith(b"\n"):
                self._check(line, covered.size, strange)
                self.end = position
                covered = self.tree.fork()
                continue
            # What cannot be read counts too: whether it was signed is the next checkpoint's to say.
            found = strange or self._entry(line)
            self.tree.append(leaf_hash(line.removesuffix(b"\n")), follow=self.tree.size == self._follow)
            if isinstance(found, Entry):
                yield found
            else:
                strange = found
        self.tree = covered
        self._measure_tail()

    def _entry(self, line: bytes) -> Entry | _Strange:
        number = self.tree.size
        if not line.endswith(b"\n"):
            return _Strange(f"entry {number} is not whole", "no entry is that long")
        try:
            entry = Entry.from_canonical(line[:-1])
        except UntrustedInputError as problem:
            return _Strange(f"entry {number} cannot be read", problem.message)
        if entry.index != number:
            return _Strange(f"where entry {number} should be stands entry {entry.index}", "whoever wrote it miscounted")
        return entry

    def _check(self, line: bytes, covered: int, strange: _Strange | None) -> None:
        """Take note of a checkpoint, if it is over what was read, and all of that could be read."""
        try:
            note = self._signed_note(line, covered)
        except UntrustedInputError as problem:
            if strange is not None:
                message = f"{strange.what}, and {problem.message}"
            else:
                place = f"after {_entries(self.tree.size)}" if self.tree.size else "at its first line"
                message = f"{place}: {problem.message}"
            raise UntrustedInputError(problem.reason, message, fix=problem.fix) from problem
        if strange is not None:
            raise UntrustedInputError(
                Reason.MALFORMED,
                f"{strange.what}, but it is what was signed: {strange.why}",
                fix="use the version of lfr-edge that wrote this log, or a newer one",
            )
        self.note = note

    def _signed_note(self, line: bytes, covered: int) -> bytes:
        """The note, if it is signed, says what was read, and that is more than the last one said."""
        note = _note_of(line)
        if self._verifier is None:
            self._verifier = log_verifier(note, self._key)
        checkpoint = open_checkpoint(note, self._verifier)
        if (checkpoint.size, checkpoint.root) != (self.tree.size, self.tree.root()):
            raise _not_what_was_signed(checkpoint, self.tree.size)
        if checkpoint.size == covered:
            raise UntrustedInputError(Reason.MALFORMED, "a checkpoint stands there twice", fix=_CHANGED)
        return note

    def require_whole(self, path: Path) -> None:
        """UntrustedInputError unless the file ended with a checkpoint."""
        self.require_log(path)
        if self.tail.length:
            raise UntrustedInputError(
                Reason.TRUNCATED,
                f"no checkpoint covers the last {self.tail.length} bytes of {path}, after entry {self.tree.size - 1}",
                fix="if the machine lost power just then, it cuts them at its next start; if not, somebody added them",
            )

    def require_log(self, path: Path) -> None:
        """UntrustedInputError if the file holds no checkpoint at all."""
        if self.end == 0:
            raise UntrustedInputError(Reason.MALFORMED, f"{path} is not a log", fix="give the log file, unchanged")

    def _measure_tail(self) -> None:
        self._file.seek(self.end)
        digest, length = hashlib.sha256(), 0
        while chunk := self._file.read(_CHUNK_BYTES):
            digest.update(chunk)
            length += len(chunk)
        self.tail = Tail(length, digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Verified:
    """What a log that holds together says about itself."""

    origin: str
    entries: int
    note: bytes
    """The last checkpoint: worth keeping elsewhere."""
    first: Entry
    last: Entry
    times_back: int
    """How often an entry is older than the one before: the machine's clock was set back."""


def verify_log(path: Path, key: VerifyKey, untrusted_checkpoints: Sequence[bytes] = ()) -> Verified:
    """Check every byte of a log, and that it still begins with what each older checkpoint covers.

    UntrustedInputError at the first thing that is wrong; ConfigError if the file cannot be read.
    """
    older = [open_checkpoint(note, log_verifier(note, key)) for note in untrusted_checkpoints]
    sizes = {checkpoint.size for checkpoint in older}
    roots = {0: CompactTree().root()}
    with open_log(path) as file:
        reader = LogReader(file, key)
        first: Entry | None = None
        last: Entry | None = None
        times_back = 0
        for entry in reader.entries():
            times_back += last is not None and entry.at < last.at
            first, last = first or entry, entry
            if reader.tree.size in sizes:
                roots[reader.tree.size] = reader.tree.root()
    reader.require_log(path)
    _require_witnessed(reader, older, roots)
    reader.require_whole(path)
    if first is None or last is None:
        raise RuntimeError("a log without entries has no checkpoint")
    return Verified(reader.origin, reader.tree.size, reader.note, first, last, times_back)


def unverified_entries(file: BinaryIO) -> Iterator[Entry]:
    """Every entry, checked for form only: for reading a log without the key. UntrustedInputError at a bad line."""
    number = 0
    while line := file.readline(_LONGEST_LINE_BYTES):
        number += 1
        if line.startswith(CHECKPOINT_START):
            continue
        try:
            yield Entry.from_canonical(line.removesuffix(b"\n"))
        except UntrustedInputError as problem:
            raise UntrustedInputError(
                problem.reason,
                f"line {number}: {problem.message}",
                fix="verify the log: that says whether it was changed, or another version of lfr-edge wrote it",
            ) from problem


@contextmanager
def open_log(path: Path) -> Iterator[BinaryIO]:
    """The file, for reading; ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            yield file
    except BrokenPipeError:  # of whoever prints what is read here
        raise
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path} cannot be read: {error.strerror}", fix="check the path and its permissions"
        ) from error


def log_verifier(untrusted_note: bytes, key: VerifyKey) -> NoteVerifier:
    """The key under the name of the log that the note claims to be of: a log's key is named after it."""
    return NoteVerifier(claimed_origin(untrusted_note), key)


def _note_of(line: bytes) -> bytes:
    """The signed note in a line, which has one spelling only."""
    try:
        note = json.loads(line)["checkpoint"]
        if isinstance(note, str) and checkpoint_line(note.encode()) == line:
            return note.encode()
    except (ValueError, TypeError, LookupError, RecursionError):
        pass  # ValueError is UnicodeError too: what is quoted there is outside data
    raise UntrustedInputError(Reason.MALFORMED, "the checkpoint there is not one", fix=_CHANGED)


def _not_what_was_signed(checkpoint: Checkpoint, size: int) -> UntrustedInputError:
    if checkpoint.size == size:
        message = "what is there is not what was signed"
    else:
        message = f"the checkpoint there is over {_entries(checkpoint.size)}: some were dropped or inserted"
    return UntrustedInputError(Reason.DIGEST_MISMATCH, message, fix=_CHANGED)


def _entries(count: int) -> str:
    return counted(count, "entry", "entries")


def _require_witnessed(reader: LogReader, older: Sequence[Checkpoint], roots: Mapping[int, bytes]) -> None:
    """UntrustedInputError unless the log begins with what each older checkpoint covers."""
    for checkpoint in older:
        if checkpoint.origin != reader.origin:
            raise _not_the_witnessed(f"this is the log '{reader.origin}', not '{checkpoint.origin}'")
        if checkpoint.size in roots and checkpoint.root != roots[checkpoint.size]:
            raise _not_the_witnessed(f"the first {checkpoint.size} entries are not those of then")
    missing = max((checkpoint.size for checkpoint in older), default=0) - reader.tree.size
    if missing > 0:
        what = f"{_entries(missing)} {'is' if missing == 1 else 'are'} missing at the end"
        if reader.tail.length:
            what += f", where {reader.tail.length} bytes stand that no checkpoint covers"
        raise _not_the_witnessed(what)


def _not_the_witnessed(what: str) -> UntrustedInputError:
    return UntrustedInputError(
        Reason.DIGEST_MISMATCH,
        f"this log does not agree with an older checkpoint: {what}",
        fix="keep both: together they prove that the log was changed, or that it is another one",
    )
