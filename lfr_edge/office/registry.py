"""The registry: which ids were on which list, for "was I listed on that day?". Ids and digests, nothing else.

A file of JSON lines that only grows. Each line holds the SHA-256 of the line before it, and the office's log, which is
signed, holds the digest of every line: that is what reading compares with. A line that is not in the log was never
finished, and its package never went out.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from lfr_edge.audit.fields import Event, Moment
from lfr_edge.audit.office_events import RegistryWritten
from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.files import PRIVATE
from lfr_edge.messages.fields import Digest, EntryId, Identifier, Message, Recipient
from lfr_edge.office.desk import Journal

FIRST = "0" * 64
"""Stands for the line before the first."""


class SealedList(Message):
    """A list was sealed into a package for these vans."""

    v: Literal[1] = 1
    kind: Literal["sealed-list"] = "sealed-list"
    at: Moment
    force: Identifier
    order: Identifier
    vans: tuple[Identifier, ...]
    recipients: tuple[Recipient, ...]
    """The vans' deployment keys that the list was sealed to: a prekey that is here is used."""
    lasting: bool
    """Whether they are keys that a van keeps for many deployments. Prekeys are not, and are never used again."""
    not_before: Moment
    not_after: Moment
    watchlist_sha256: Digest
    references_sha256: Digest
    workspace: Digest
    """Of the workspace that the list came from: to find its orders when it is closed."""
    entries: tuple[EntryId, ...]
    previous: Digest = FIRST


class FiledReceipt(Message):
    """A van's receipt for the erasure of that list arrived and was checked."""

    v: Literal[1] = 1
    kind: Literal["filed-receipt"] = "filed-receipt"
    at: Moment
    order: Identifier
    van: Identifier
    receipt_sha256: Digest
    level: Identifier
    previous: Digest = FIRST


_LINE: TypeAdapter[SealedList | FiledReceipt] = TypeAdapter(
    Annotated[SealedList | FiledReceipt, Field(discriminator="kind")]
)


class Registry:
    """The registry's lines, checked against the log. Reads both anew each time."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self._path = path
        self._journal = journal

    def append(self, line: SealedList | FiledReceipt, *events: Event) -> None:
        """Add a line, and these events with its digest to the log; returns when both are safe on the disk.

        Cuts off what an interrupted write left. PolicyError if a deployment key of the line was used before, decided
        under the lock: two who seal at the same time never use the same prekey.
        """
        with self._locked(fcntl.LOCK_EX) as handle:
            checked = self._checked(_content(handle))
            self._require_unused(line, [known for known, _ in checked])
            previous = hashlib.sha256(checked[-1][1]).hexdigest() if checked else FIRST
            text = line.model_copy(update={"previous": previous}).to_json()
            end = sum(len(known) + 1 for _, known in checked)
            os.ftruncate(handle, end)
            os.pwrite(handle, text + b"\n", end)
            os.fsync(handle)
            by, why = self._journal.by, self._journal.why
            digest = hashlib.sha256(text).hexdigest()
            self._journal.record(RegistryWritten(by=by, why=why, line_sha256=digest), *events)

    def lines(self) -> list[SealedList | FiledReceipt]:
        """Everything in it, oldest first. UntrustedInputError if it, or the log, was changed."""
        with self._locked(fcntl.LOCK_SH) as handle:
            return [line for line, _ in self._checked(_content(handle))]

    def lists_with(self, entry: str, day: date | None = None) -> list[SealedList]:
        """The lists that this id was on; of a day, those whose window touches it (UTC)."""
        return [
            line
            for line in self._sealed()
            if entry in line.entries and (day is None or line.not_before.date() <= day <= line.not_after.date())
        ]

    def lists_of(self, workspace: str) -> list[SealedList]:
        """The lists that were sealed out of this workspace."""
        return [line for line in self._sealed() if line.workspace == workspace]

    def used_recipients(self) -> set[str]:
        """Every deployment key that a list was ever sealed to."""
        return {recipient for line in self._sealed() for recipient in line.recipients}

    def sealed_list(self, order: str, van: str, watchlist_sha256: str) -> SealedList | None:
        """The list of this digest that was sealed to this van for this order, if it was: there may be several."""
        named = (order, watchlist_sha256)
        return next(
            (line for line in self._sealed() if (line.order, line.watchlist_sha256) == named and van in line.vans), None
        )

    def receipts_owed(self, order: str) -> list[str]:
        """Vans that got this order's list and whose erasure receipt is not here."""
        filed = {line.van for line in self.lines() if isinstance(line, FiledReceipt) and line.order == order}
        vans = {van for line in self._sealed() if line.order == order for van in line.vans}
        return sorted(vans - filed)

    def _sealed(self) -> list[SealedList]:
        return [line for line in self.lines() if isinstance(line, SealedList)]

    def _require_unused(self, line: SealedList | FiledReceipt, known: Sequence[SealedList | FiledReceipt]) -> None:
        if not isinstance(line, SealedList):
            return
        for earlier in known:
            if not isinstance(earlier, SealedList) or (line.lasting and earlier.lasting):
                continue
            if set(line.recipients) & set(earlier.recipients):
                raise PolicyError(
                    Reason.KEY_USED,
                    f"this deployment key of van '{', '.join(line.vans)}' was used for order '{earlier.order}'",
                    fix="give --prekeys, which takes one that was never used; if you did, seal again",
                )

    @contextmanager
    def _locked(self, lock: int) -> Iterator[int]:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(handle, lock)
            yield handle
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            os.close(handle)

    def _checked(self, content: bytes) -> list[tuple[SealedList | FiledReceipt, bytes]]:
        """Each line that the log confirms, and its own bytes."""
        texts, logged = content.split(b"\n")[:-1], self._journal.registry_digests()
        lines, previous = [], FIRST
        for number, text in enumerate(texts, start=1):
            try:
                line = _LINE.validate_json(text)
            except ValidationError as error:
                raise self._changed(number) from error
            if line.previous != previous:
                raise self._changed(number)
            previous = hashlib.sha256(text).hexdigest()
            # One line more than the log has was never finished; a second one cannot come about.
            if (number <= len(logged) and previous != logged[number - 1]) or number > len(logged) + 1:
                raise self._changed(number)
            lines.append((line, text))
        if len(lines) < len(logged):
            raise self._changed(len(lines) + 1)
        return lines[: len(logged)]

    def _changed(self, number: int) -> UntrustedInputError:
        return UntrustedInputError(
            Reason.MALFORMED,
            f"the registry {self._path} was changed: line {number} is not the one whose digest is in the log",
            fix="restore the copy whose digests are in the log, and find out who changed it",
        )

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(
            Reason.FILE_UNWRITABLE,
            f"the registry {self._path} cannot be written: {error.strerror}",
            fix="check its folder and the disk",
        )


def _content(handle: int) -> bytes:
    return os.pread(handle, os.fstat(handle).st_size, 0)
