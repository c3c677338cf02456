"""Writing a log: one file, one writer, and no entry acknowledged that a power cut could take back.

An append writes its entries and syncs, then a checkpoint over the whole log and syncs. The two steps are why the end of
a file can be judged: a checkpoint that is there whole was written when its entries were safe, so if they do not fit it,
somebody changed them; entries without one were never acknowledged, and are cut at the next opening.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from lfr_edge.audit.checkpoint import Checkpoint
from lfr_edge.audit.entries import LARGEST_ENTRY_BYTES, Entry
from lfr_edge.audit.events import LogCreated, LogRecovered
from lfr_edge.audit.fields import Event
from lfr_edge.audit.merkle import leaf_hash
from lfr_edge.audit.reader import LogReader, checkpoint_line
from lfr_edge.clock import Clock
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.errors import ConfigError, DeviceError, Reason
from lfr_edge.files import PRIVATE, sync_folder

_ENTRY_START = b'{"at":'
# The first append of a log is one small entry: what is longer and has no checkpoint is another file.
_LONGEST_FIRST_APPEND_BYTES = 4096


class AuditLog:
    """Thread-safe. What `append` returned for survives a power cut and cannot be changed unnoticed."""

    def __init__(self, file: BinaryIO, path: Path, reader: LogReader, signer: NoteSigner, clock: Clock) -> None:
        self._file = file  # holds the lock
        self._path = path
        self._tree, self._end, self._note = reader.tree, reader.end, reader.note
        self._signer = signer
        self._clock = clock
        self._told: Callable[[Event], None] = lambda _: None
        self._mutex = threading.Lock()
        self._usable = True

    @classmethod
    def open(
        cls, path: Path, signer: NoteSigner, clock: Clock, told: Callable[[Event], None] = lambda _: None
    ) -> "AuditLog":
        """The log at `path`, made if missing; its folder must exist. Cuts a torn write, and says so in the log.

        `told` hears of every event, in order: of those that are in it before this returns, of later ones when they are
        on the disk. If this raises, what it heard is void.
        ConfigError if another process has it open, or the file is something else. UntrustedInputError if it was
        changed or another key signed it: keep it, and start a new one.
        """
        file = _open_locked(path)
        try:
            reader = LogReader(file, signer.verifier.key)
            _tell(reader, told)
            _require_ours(file, path, reader, signer)
            log = cls(file, path, reader, signer, clock)
            log._told = told
            system = f"system:{signer.name}"
            events: list[Event] = []
            if reader.tree.size == 0:
                events.append(
                    LogCreated(by=system, why="first start", origin=signer.name, software=version("lfr-edge"))
                )
            if reader.tail.length:
                cut = reader.tail
                why = "power was lost during a write"
                events.append(LogRecovered(by=system, why=why, cut_bytes=cut.length, cut_sha256=cut.sha256))
            log.append(*events)
        except BaseException:
            file.close()
            raise
        return log

    def append(self, *events: Event) -> None:
        """Record the events, all or none; returns when they are on the disk.

        DeviceError if the disk is full or failed: nothing was recorded.
        """
        if not events:
            return
        with self._mutex:
            if not self._usable:
                raise _unwritable(self._path, "it is closed, or an earlier write failed")
            tree = self._tree.fork()
            lines = []
            for event in events:
                entry = Entry(at=self._clock.utc(), event=event, index=tree.size).to_canonical()
                if len(entry) > LARGEST_ENTRY_BYTES:
                    raise RuntimeError(f"an event of kind {event.kind} is too large for the log")
                tree.append(leaf_hash(entry))
                lines.append(entry + b"\n")
            note = Checkpoint(self._signer.name, tree.size, tree.root()).sign(self._signer)
            self._write(b"".join(lines), checkpoint_line(note))
            self._tree, self._note = tree, note
            for event in events:
                self._told(event)

    def checkpoint(self) -> bytes:
        """The signed note over all that was recorded: to be published, so that somebody else is a witness."""
        return self._note  # without the lock: whoever asks must not wait for a slow disk

    def __len__(self) -> int:
        with self._mutex:
            return self._tree.size

    def close(self) -> None:
        """Close the file and let others write it."""
        with self._mutex:
            self._usable = False
            self._file.close()

    def __enter__(self) -> "AuditLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, *parts: bytes) -> None:
        """Write the parts one after the other, each safe before the next begins; all, or as if none."""
        handle, end = self._file.fileno(), self._end
        before = os.fstat(handle).st_size  # more than `end` where a torn write left something
        self._usable = False
        try:
            for part in parts:
                _write_at(handle, part, end)
                os.fsync(handle)
                end += len(part)
            if before > end:
                os.ftruncate(handle, end)
                os.fsync(handle)
        except OSError as error:
            # All before was synced once: if it can be cut back to that, the log is as it was.
            with contextlib.suppress(OSError):
                os.ftruncate(handle, before)
                os.fsync(handle)
                self._usable = True
            raise _unwritable(self._path, error.strerror or "unknown") from error
        self._end = end
        self._usable = True


def _open_locked(path: Path) -> BinaryIO:
    """The file, readable and writable by nobody else."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
        file = os.fdopen(handle, "r+b")  # refuses a pipe, and closes it
    except OSError as error:
        raise _not_openable(path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sync_folder(path.parent)
    except BlockingIOError as error:
        file.close()
        raise ConfigError(
            Reason.FILE_IN_USE, f"another process writes the log {path}", fix="stop it first: a log has one writer"
        ) from error
    except OSError as error:
        file.close()
        raise _not_openable(path, error) from error
    return file


def _not_openable(path: Path, error: OSError) -> ConfigError:
    why = error.strerror or "it is no ordinary file"
    return ConfigError(Reason.FILE_UNWRITABLE, f"the log {path} cannot be opened: {why}", fix="check path and rights")


def _tell(reader: LogReader, told: Callable[[Event], None]) -> None:
    """Read everything, and pass on what a checkpoint covers: what a torn write left was never acknowledged."""
    waiting: list[Entry] = []
    end = 0
    for entry in reader.entries():
        if reader.end != end:
            for covered in waiting:
                told(covered.event)
            waiting, end = [], reader.end
        waiting.append(entry)
    for last in waiting:
        if last.index < reader.tree.size:
            told(last.event)


def _require_ours(file: BinaryIO, path: Path, reader: LogReader, signer: NoteSigner) -> None:
    """ConfigError if this is another log, or no log at all: a wrong path must not cost a file."""
    if reader.end == 0 and reader.tail.length:
        file.seek(0)
        start = file.read(len(_ENTRY_START)).rstrip(b"\x00")
        if reader.tail.length > _LONGEST_FIRST_APPEND_BYTES or not _ENTRY_START.startswith(start):
            raise ConfigError(Reason.FILE_MALFORMED, f"{path} is not a log", fix="name another file")
    if reader.end and reader.origin != signer.name:
        raise ConfigError(
            Reason.FILE_EXISTS,
            f"{path} is the log '{reader.origin}', not '{signer.name}'",
            fix="move it away: each machine and role has a log of its own",
        )


def _write_at(handle: int, content: bytes, offset: int) -> None:
    """Write everything there."""
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _unwritable(path: Path, why: str) -> DeviceError:
    return DeviceError(
        Reason.FILE_UNWRITABLE,
        f"the log {path} could not be written: {why}",
        fix="make room on the disk or replace it, then open the log again",
    )
