"""The registry: which ids were on which list, for "was I listed on that day?". Ids and digests, nothing else.

A file of JSON lines that only grows. Each line holds the SHA-256 of the line before it, so that a line cannot be
changed or taken out without changing all that follow; the log, which is signed, holds the digests of every package.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from lfr_edge.audit.fields import Moment
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.files import PRIVATE
from lfr_edge.messages.fields import Digest, EntryId, Identifier, Message, Recipient

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
    """The registry's lines, checked. Reads the file anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: SealedList | FiledReceipt) -> None:
        """Add a line; returns when it is safe on the disk. Cuts off what an interrupted write left."""
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                content = self._path.read_bytes()
                whole = content[: content.rfind(b"\n") + 1]
                digests = [digest for _, digest in self._checked(whole)]
                last = digests[-1] if digests else FIRST
                text = line.model_copy(update={"previous": last}).to_json() + b"\n"
                os.ftruncate(handle, len(whole))
                os.pwrite(handle, text, len(whole))
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ConfigError(
                Reason.FILE_UNWRITABLE,
                f"the registry {self._path} cannot be written: {error.strerror}",
                fix="check its folder and the disk",
            ) from error

    def lines(self) -> list[SealedList | FiledReceipt]:
        """Everything in it, oldest first; nothing if there is no file. UntrustedInputError if it was changed."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(
                Reason.FILE_MISSING,
                f"the registry {self._path} cannot be read: {error.strerror}",
                fix="check its rights",
            ) from error
        return [line for line, _ in self._checked(content[: content.rfind(b"\n") + 1])]

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

    def list_for(self, order: str, van: str) -> SealedList | None:
        """The list that this van got for this order, the last one if it was sealed again."""
        return next((line for line in reversed(self._sealed()) if line.order == order and van in line.vans), None)

    def receipts_owed(self, order: str) -> list[str]:
        """Vans that got this order's list and whose erasure receipt is not here."""
        filed = {line.van for line in self.lines() if isinstance(line, FiledReceipt) and line.order == order}
        vans = {van for line in self._sealed() if line.order == order for van in line.vans}
        return sorted(vans - filed)

    def _sealed(self) -> list[SealedList]:
        return [line for line in self.lines() if isinstance(line, SealedList)]

    def _checked(self, content: bytes) -> Iterator[tuple[SealedList | FiledReceipt, str]]:
        """Each line, and its own digest."""
        previous = FIRST
        for number, text in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                line = _LINE.validate_json(text)
            except ValidationError as error:
                raise self._changed(number) from error
            if line.previous != previous:
                raise self._changed(number)
            previous = hashlib.sha256(text).hexdigest()
            yield line, previous

    def _changed(self, number: int) -> UntrustedInputError:
        return UntrustedInputError(
            Reason.MALFORMED,
            f"the registry {self._path} was changed: line {number} is not what followed the line before it",
            fix="restore the copy whose digests are in the log, and find out who changed it",
        )
