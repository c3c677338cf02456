"""Witness copies of the vans' logs: every checkpoint that a van publishes with its status is kept, and none forgotten.

From then on that van's log cannot lose or change what the checkpoint covers without showing it: at once if another
checkpoint contradicts the kept ones, and else when an auditor compares the log with them (`audit verify --checkpoint`).
Statuses are not signed, checkpoints are, and only they are kept. That a log became shorter is a hint: it needs the
status's `session`, which whoever relays a status can forge. The comparison with the kept file is the proof.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import FileIO
from pathlib import Path

from lfr_edge.audit.checkpoint import Checkpoint, log_origin, open_checkpoint, split_notes
from lfr_edge.clock import Clock
from lfr_edge.crypto.notes import NoteVerifier
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.files import PRIVATE, sync_folder
from lfr_edge.messages.status import LONGEST_NOTE, Status
from lfr_edge.messages.topics import Channel, Topic, parse_topic, topic_filter
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.packets import Incoming


@dataclass(frozen=True, slots=True)
class DoubtfulLog:
    """What a van's status says of its log is not signed by it, contradicts what was kept, or cannot be kept."""

    reason: Reason
    message: str
    received_at: datetime


class Witness:
    """Keeps checkpoints in `folder/FORCE/VAN.checkpoints`, only ever adding; `show` gets each contradiction once.

    `van_keys` maps the ids of our vans to their public keys. ConfigError where the folder cannot be made. A file that
    cannot be written, or holds something else, is shown once, and again after it could be written in between.
    """

    def __init__(
        self, folder: Path, van_keys: Mapping[str, VerifyKey], show: Callable[[DoubtfulLog], None], clock: Clock
    ) -> None:
        self._folder = folder
        self._van_keys = van_keys
        self._show = show
        self._clock = clock
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._failing: set[Topic] = set()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot(folder, error) from error

    @property
    def kept(self) -> int:
        """Checkpoints that are kept, of all vans that were heard of."""
        return sum(len(kept.known) for kept in self._kept.values())

    def subscribe(self, session: MqttSession, *, force: str | None = None) -> None:
        """Receive what the vans of one force say, or of all that the broker lets us read."""
        session.subscribe(topic_filter(Channel.STATUS, force=force), self.receive)

    def receive(self, untrusted: Incoming) -> None:
        """Keep the checkpoint in a status, if it is the van's and new."""
        try:
            topic = parse_topic(untrusted.topic)
            if topic.van not in self._van_keys:
                return
            status = Status.from_untrusted(untrusted.payload)
            if status.checkpoint is None:
                return
            note = status.checkpoint.encode()
            checkpoint = open_checkpoint(note, self._verifier(topic))  # first: a stranger's note makes no file
        except UntrustedInputError as error:
            self._show(DoubtfulLog(error.reason, error.message, self._clock.utc()))
            return
        try:
            doubt = self._keep(topic, note, checkpoint, status.session)
        except ConfigError as error:  # the alerts of all vans come on the same thread, and matter more
            doubt = (error.reason, f"{error}") if topic not in self._failing else None
            self._failing.add(topic)
        else:
            self._failing.discard(topic)
        if doubt is not None:
            reason, what = doubt
            self._show(DoubtfulLog(reason, f"van '{topic.van}': {what}", self._clock.utc()))

    def _keep(self, topic: Topic, note: bytes, checkpoint: Checkpoint, session: int) -> tuple[Reason, str] | None:
        """Keep it if it is new: why it does not go with what was kept, None if it does."""
        kept = self._kept_of(topic)
        if (checkpoint.size, checkpoint.root) in kept.known:
            return None
        kept.append(note)
        doubt = kept.doubt(checkpoint, session)
        kept.add(checkpoint, session)
        if doubt is None:
            return None
        reason, what = doubt
        return reason, f"{what}; keep {kept.path}, and compare it with the van's log"

    def _verifier(self, topic: Topic) -> NoteVerifier:
        return NoteVerifier(log_origin(topic.force, topic.van), self._van_keys[topic.van])

    def _kept_of(self, topic: Topic) -> "_Kept":
        """What is kept of this van's log, read when it is first heard of."""
        place = (topic.force, topic.van)
        if place not in self._kept:
            kept = _Kept(self._folder / topic.force / f"{topic.van}.checkpoints", self._verifier(topic))
            kept.load()
            self._kept[place] = kept
        return self._kept[place]


@dataclass(slots=True)
class _Kept:
    """One van's file, and what is known from it. Several watchers may add to one file."""

    path: Path
    verifier: NoteVerifier
    known: set[tuple[int, bytes]] = field(default_factory=set)
    sizes: set[int] = field(default_factory=set)
    largest: int = 0
    session: int = 0  # of the status that brought the largest; 0 if it is from the file

    def load(self) -> None:
        """Read the file, if there is one. What a power cut left of a write at its end was never kept, and goes."""
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            with _locked(self.path) as file:
                notes, torn = split_notes(file.read())
                for note in notes if len(torn) < LONGEST_NOTE else [*notes, torn]:
                    self.add(open_checkpoint(note, self.verifier), 0)
                file.truncate(sum(map(len, notes)))
            sync_folder(self.path.parent)
        except OSError as error:
            raise _cannot(self.path, error) from error
        except UntrustedInputError as error:
            raise ConfigError(
                Reason.FILE_MALFORMED,
                f"{self.path} holds what is no checkpoint of this van: {error.message}",
                fix="keep it for the auditors, and name another folder; if the van has a new key, name another too",
            ) from error

    def append(self, note: bytes) -> None:
        """Keep it: on the disk when this returns, and nothing of it there if it cannot be."""
        try:
            with _locked(self.path) as file:
                end = file.seek(0, os.SEEK_END)
                try:
                    _write_whole(file, note)
                except OSError:
                    file.truncate(end)  # half a note would spoil what others add after it
                    raise
        except OSError as error:
            raise _cannot(self.path, error) from error

    def add(self, checkpoint: Checkpoint, session: int) -> None:
        """Know it from now on."""
        self.known.add((checkpoint.size, checkpoint.root))
        self.sizes.add(checkpoint.size)
        if checkpoint.size > self.largest:
            self.largest, self.session = checkpoint.size, session

    def doubt(self, checkpoint: Checkpoint, session: int) -> tuple[Reason, str] | None:
        """Why a checkpoint that is not known does not go with the known ones; None if it does.

        A smaller one of the same start of the daemon, or an earlier one, is what a broker that was restarted kept.
        """
        if checkpoint.size in self.sizes:
            return Reason.DIGEST_MISMATCH, f"it signed two different logs of {checkpoint.size} entries"
        if checkpoint.size < self.largest and session > self.session:
            entries = f"{checkpoint.size} entries, after {self.largest}"
            return Reason.TRUNCATED, f"its log has {entries}: its end was cut off, or an old checkpoint was sent again"
        return None


def _locked(path: Path) -> FileIO:
    """The file, unbuffered, made if missing; closing it lets others in."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    file = os.fdopen(opened, "r+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except BaseException:
        file.close()
        raise
    return file


def _write_whole(file: FileIO, content: bytes) -> None:
    if file.write(content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file.fileno())


def _cannot(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        Reason.FILE_UNWRITABLE,
        f"checkpoints cannot be kept in {path}: {error.strerror}",
        fix="give a folder that you may write to, on a disk with room",
    )
