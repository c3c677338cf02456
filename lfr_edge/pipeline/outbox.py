"""Alerts and test passes on their way: a small SQLite file whose rows are ciphertext, written before anybody is told.

A row stays until it expires: that the broker took it is not enough, because a broker forgets, and nobody acknowledges
yet (the control room's inbox will, with the token that only a reader of the alert can know). So everything unexpired is
sent again after a reconnect; that doubles nothing, because consumers know an alert by its id.

Each kind has tables of its own, so that neither can be taken for the other, and no alert waits for a test pass. Beside
the rows stand the recipients of those of which the van's log does not say yet that they left.
"""

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar

from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.volunteer_pass import SealedPass

_Sealed = TypeVar("_Sealed", bound=SealedMatch)

_TABLES: dict[type[SealedMatch], tuple[str, str]] = {
    SealedAlert: ("alert", "unlogged"),
    SealedPass: ("test_pass", "unlogged_test_pass"),
}
# Order is that of `sequence`. Times are ISO 8601 in UTC, which sorts as text.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS {rows} (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    time TEXT NOT NULL,
    van TEXT NOT NULL,
    force TEXT NOT NULL,
    order_id TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    ciphertext BLOB NOT NULL
) STRICT
"""
_UNLOGGED_SCHEMA = """
CREATE TABLE IF NOT EXISTS {unlogged} (
    sequence INTEGER PRIMARY KEY REFERENCES {rows} ON DELETE CASCADE,
    recipients TEXT NOT NULL
) STRICT
"""
_SETTINGS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON")


@dataclass(frozen=True, slots=True)
class Pending(Generic[_Sealed]):
    """One row: an alert or a test pass, and what the sender needs to know of it."""

    sequence: int
    sealed: _Sealed
    expires_at: datetime
    unlogged: tuple[str, ...]
    """Who can open it, until `Outbox.logged`: from then on nobody."""


@dataclass(frozen=True, slots=True)
class Purged:
    """How many were deleted."""

    alerts: int
    test_passes: int


class Outbox:
    """Thread-safe. What `put` returned for survives a power cut (WAL, synchronous=FULL)."""

    def __init__(self, path: Path) -> None:
        self._mutex = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            path.chmod(0o600)
            for setting in _SETTINGS:
                self._database.execute(f"PRAGMA {setting}")
            for kind in _TABLES:
                for schema in (_SCHEMA, _UNLOGGED_SCHEMA):
                    self._database.execute(_sql(kind, schema))
        except BaseException:
            self._database.close()
            raise

    def next_session(self) -> int:
        """One more than at the last start: tells this run of the daemon from the ones before."""
        with self._mutex:
            session = int(self._database.execute("PRAGMA user_version").fetchone()[0]) + 1
            self._database.execute(f"PRAGMA user_version = {session}")
        return session

    def put(self, sealed: SealedMatch, expires_after: timedelta, recipients: Sequence[str]) -> None:
        """Keep it until it expires; `recipients` can open it."""
        row = (
            sealed.id,
            sealed.time.isoformat(),
            sealed.van,
            sealed.force,
            sealed.order,
            (sealed.time + expires_after).isoformat(),
            sealed.ciphertext,
        )
        insert = (
            "INSERT INTO {rows} (id, time, van, force, order_id, expires_at, ciphertext) VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        with self._mutex, self._database:  # the second: both rows or none
            self._database.execute("BEGIN IMMEDIATE")
            sequence = self._execute(type(sealed), insert, *row).lastrowid
            self._execute(type(sealed), "INSERT INTO {unlogged} VALUES (?, ?)", sequence, " ".join(recipients))

    def next_after(self, kind: type[_Sealed], sequence: int) -> Pending[_Sealed] | None:
        """The first of its kind that was put after the one numbered `sequence`; 0 starts from the oldest."""
        select = (
            "SELECT sequence, id, time, van, force, order_id, ciphertext, expires_at, coalesce(recipients, '')"
            " FROM {rows} LEFT JOIN {unlogged} USING (sequence) WHERE sequence > ? ORDER BY sequence LIMIT 1"
        )
        with self._mutex:
            row = self._execute(kind, select, sequence).fetchone()
        if row is None:
            return None
        number, match_id, time, van, force, order, ciphertext, expires_at, unlogged = row
        sealed = kind(match_id, datetime.fromisoformat(time), van, force, order, ciphertext)
        return Pending(number, sealed, datetime.fromisoformat(expires_at), tuple(unlogged.split()))

    def logged(self, pending: Pending[SealedMatch]) -> None:
        """The log says that this one left: it need not be told again."""
        with self._mutex:
            self._execute(type(pending.sealed), "DELETE FROM {unlogged} WHERE sequence = ?", pending.sequence)

    def expire(self, now: datetime) -> int:
        """Delete what nobody may see any more; returns how many."""
        with self._mutex:
            return sum(
                self._execute(kind, "DELETE FROM {rows} WHERE expires_at <= ?", now.isoformat()).rowcount
                for kind in _TABLES
            )

    def purge(self, order: str) -> Purged:
        """Delete everything of this order; returns how many."""
        delete = "DELETE FROM {rows} WHERE order_id = ?"
        with self._mutex, self._database:  # all or none
            self._database.execute("BEGIN IMMEDIATE")
            return Purged(*(self._execute(kind, delete, order).rowcount for kind in (SealedAlert, SealedPass)))

    def __len__(self) -> int:
        """How many alerts there are."""
        with self._mutex:
            count: int = self._execute(SealedAlert, "SELECT count(*) FROM {rows}").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file; what is in it waits for the next start."""
        with self._mutex:
            self._database.close()

    def _execute(self, kind: type[SealedMatch], sql: str, *values: object) -> sqlite3.Cursor:
        return self._database.execute(_sql(kind, sql), values)


def _sql(kind: type[SealedMatch], sql: str) -> str:
    """With the names of that kind's tables."""
    rows, unlogged = _TABLES[kind]
    return sql.format(rows=rows, unlogged=unlogged)
