"""Alerts on their way: a small SQLite file whose rows are ciphertext, written before anybody is told.

A row stays until it expires: that the broker took it is not enough, because a broker forgets, and nobody acknowledges
yet (the control room's inbox will, with the token that only a reader of the alert can know). So everything unexpired is
sent again after a reconnect; that doubles nothing, because consumers know an alert by its id.

Beside the alerts stand the recipients of those of which the van's log does not say yet that they left.
"""

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from lfr_edge.messages.alert import SealedAlert

# Order is that of `sequence`. Times are ISO 8601 in UTC, which sorts as text.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alert (
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
CREATE TABLE IF NOT EXISTS unlogged (
    sequence INTEGER PRIMARY KEY REFERENCES alert ON DELETE CASCADE,
    recipients TEXT NOT NULL
) STRICT
"""
_SETTINGS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON")


@dataclass(frozen=True, slots=True)
class Pending:
    """One row: an alert, and what the sender needs to know of it."""

    sequence: int
    alert: SealedAlert
    expires_at: datetime
    unlogged: tuple[str, ...]
    """Who can open it, until `Outbox.logged`: from then on nobody."""


class Outbox:
    """Thread-safe. What `put` returned for survives a power cut (WAL, synchronous=FULL)."""

    def __init__(self, path: Path) -> None:
        self._mutex = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            path.chmod(0o600)
            for setting in _SETTINGS:
                self._database.execute(f"PRAGMA {setting}")
            for schema in (_SCHEMA, _UNLOGGED_SCHEMA):
                self._database.execute(schema)
        except BaseException:
            self._database.close()
            raise

    def next_session(self) -> int:
        """One more than at the last start: tells this run of the daemon from the ones before."""
        with self._mutex:
            session = int(self._database.execute("PRAGMA user_version").fetchone()[0]) + 1
            self._database.execute(f"PRAGMA user_version = {session}")
        return session

    def put(self, alert: SealedAlert, expires_after: timedelta, recipients: Sequence[str]) -> None:
        """Keep the alert until it expires; `recipients` can open it."""
        row = (
            alert.id,
            alert.time.isoformat(),
            alert.van,
            alert.force,
            alert.order,
            (alert.time + expires_after).isoformat(),
            alert.ciphertext,
        )
        with self._mutex, self._database:  # the second: both rows or none
            self._database.execute("BEGIN IMMEDIATE")
            added = self._database.execute(
                "INSERT INTO alert (id, time, van, force, order_id, expires_at, ciphertext)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            self._database.execute("INSERT INTO unlogged VALUES (?, ?)", (added.lastrowid, " ".join(recipients)))

    def next_after(self, sequence: int) -> Pending | None:
        """The first alert that was put after the one numbered `sequence`; 0 starts from the oldest."""
        with self._mutex:
            row = self._database.execute(
                "SELECT sequence, id, time, van, force, order_id, ciphertext, expires_at, coalesce(recipients, '')"
                " FROM alert LEFT JOIN unlogged USING (sequence) WHERE sequence > ? ORDER BY sequence LIMIT 1",
                (sequence,),
            ).fetchone()
        if row is None:
            return None
        number, alert_id, time, van, force, order, ciphertext, expires_at, unlogged = row
        alert = SealedAlert(alert_id, datetime.fromisoformat(time), van, force, order, ciphertext)
        return Pending(number, alert, datetime.fromisoformat(expires_at), tuple(unlogged.split()))

    def logged(self, sequence: int) -> None:
        """The log says that this one left: it need not be told again."""
        with self._mutex:
            self._database.execute("DELETE FROM unlogged WHERE sequence = ?", (sequence,))

    def expire(self, now: datetime) -> int:
        """Delete what nobody may see any more; returns how many."""
        with self._mutex:
            return self._database.execute("DELETE FROM alert WHERE expires_at <= ?", (now.isoformat(),)).rowcount

    def purge(self, order: str) -> int:
        """Delete every alert of this order; returns how many."""
        with self._mutex:
            return self._database.execute("DELETE FROM alert WHERE order_id = ?", (order,)).rowcount

    def __len__(self) -> int:
        with self._mutex:
            count: int = self._database.execute("SELECT count(*) FROM alert").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file; what is in it waits for the next start."""
        with self._mutex:
            self._database.close()
