"""What is in the outbox survives, in order, until it expires."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.outbox import Outbox, Purged

NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(hours=24)
ROOMS = ("age1-one", "age1-two")


def alert(number: int, time: datetime = NOW) -> SealedAlert:
    return SealedAlert(f"id-{number}", time, "van-1", "force-1", "order-1", b"ciphertext" * number)


def test_alerts_come_out_as_they_went_in_and_in_order(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    for number in (1, 2, 3):
        outbox.put(alert(number), DAY, ROOMS)
    found, sequence = [], 0
    while (pending := outbox.next_after(SealedAlert, sequence)) is not None:
        found.append(pending.sealed)
        sequence = pending.sequence
    assert found == [alert(1), alert(2), alert(3)]


def test_a_reopened_outbox_still_has_them(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.sqlite")
    first.put(alert(1), DAY, ROOMS)
    first.close()
    pending = Outbox(tmp_path / "outbox.sqlite").next_after(SealedAlert, 0)
    assert pending is not None
    assert pending.sealed == alert(1)
    assert pending.expires_at == NOW + DAY


def test_a_killed_process_loses_nothing_that_put_returned_for(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_outbox import alert
from lfr_edge.pipeline.outbox import Outbox, Purged
outbox = Outbox(Path(sys.argv[1]))
outbox.put(alert(1), timedelta(hours=24), ["age1-one"])
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "outbox.sqlite"
    ended = subprocess.run([sys.executable, "-c", program, path, os.path.dirname(__file__)], check=False)  # noqa: PTH120
    assert ended.returncode == -signal.SIGKILL
    assert len(Outbox(path)) == 1


def test_expired_alerts_are_gone_from_the_file_too(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put(alert(1, NOW - DAY), DAY, ROOMS)
    outbox.put(alert(2), DAY, ROOMS)
    assert outbox.expire(NOW) == 1
    assert len(outbox) == 1
    outbox.close()
    assert b"id-1" not in (tmp_path / "outbox.sqlite").read_bytes()


def test_the_same_id_twice_is_refused(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put(alert(1), DAY, ROOMS)
    with pytest.raises(Exception, match="UNIQUE"):
        outbox.put(alert(1), DAY, ROOMS)


def test_nobody_else_on_the_machine_can_read_the_file(tmp_path: Path) -> None:
    Outbox(tmp_path / "outbox.sqlite")
    assert (tmp_path / "outbox.sqlite").stat().st_mode & 0o077 == 0


def test_revoking_an_order_deletes_its_alerts_and_no_others(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    other = SealedAlert("id-9", NOW, "van-1", "force-1", "order-2", b"ciphertext")
    for one in (alert(1), other, alert(2)):
        outbox.put(one, DAY, ROOMS)
    assert outbox.purge("order-1") == Purged(2, 0)
    pending = outbox.next_after(SealedAlert, 0)
    assert pending is not None
    assert (pending.sealed, len(outbox)) == (other, 1)


def test_what_the_log_has_to_say_of_an_alert_is_kept_until_it_has_said_it(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put(alert(1), DAY, ROOMS)
    outbox.put(alert(2), DAY, ROOMS[:1])
    outbox.close()
    outbox = Outbox(path)
    first, second = outbox.next_after(SealedAlert, 0), outbox.next_after(SealedAlert, 1)
    assert first is not None
    assert second is not None
    assert (first.unlogged, second.unlogged) == (ROOMS, ROOMS[:1])
    outbox.logged(first)
    outbox.close()
    outbox = Outbox(path)
    first, second = outbox.next_after(SealedAlert, 0), outbox.next_after(SealedAlert, 1)
    assert first is not None
    assert second is not None
    assert (first.sealed, first.unlogged, second.unlogged) == (alert(1), (), ROOMS[:1])


def test_what_is_deleted_leaves_no_recipients_behind(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put(alert(1, NOW - DAY), DAY, ROOMS)
    outbox.put(alert(2), DAY, ROOMS)
    assert (outbox.expire(NOW), outbox.purge("order-1")) == (1, Purged(1, 0))
    outbox.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM unlogged").fetchone() == (0,)


def test_an_alert_that_is_refused_leaves_the_outbox_as_it_was(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put(alert(1), DAY, ROOMS)
    with pytest.raises(sqlite3.IntegrityError):
        outbox.put(alert(1), DAY, ROOMS[:1])
    outbox.put(alert(2), DAY, ROOMS)
    assert len(outbox) == 2
    pending = outbox.next_after(SealedAlert, 0)
    assert pending is not None
    assert pending.unlogged == ROOMS


def a_pass(number: int, time: datetime = NOW, order: str = "order-1") -> SealedPass:
    return SealedPass(f"id-{number}", time, "van-1", "force-1", order, b"pass" * number)


def test_alerts_and_test_passes_never_mix(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put(a_pass(1), DAY, ROOMS)
    outbox.put(alert(1), DAY, ROOMS)
    outbox.put(a_pass(2), DAY, ROOMS[:1])
    assert len(outbox) == 1, "alerts"
    first, second = outbox.next_after(SealedPass, 0), outbox.next_after(SealedPass, 1)
    assert first is not None
    assert second is not None
    assert (first.sealed, second.sealed) == (a_pass(1), a_pass(2))
    assert (first.unlogged, second.unlogged) == (ROOMS, ROOMS[:1])
    assert outbox.next_after(SealedPass, 2) is None
    only = outbox.next_after(SealedAlert, 0)
    assert only is not None
    assert only.sealed == alert(1)
    outbox.logged(first)
    again, only = outbox.next_after(SealedPass, 0), outbox.next_after(SealedAlert, 0)
    assert again is not None
    assert only is not None
    assert (again.unlogged, only.unlogged) == ((), ROOMS)


def test_test_passes_expire_and_are_revoked_as_alerts_are(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put(a_pass(1, NOW - DAY), DAY, ROOMS)
    outbox.put(a_pass(2), DAY, ROOMS)
    outbox.put(a_pass(3, order="order-2"), DAY, ROOMS)
    outbox.put(alert(1), DAY, ROOMS)
    assert outbox.expire(NOW) == 1
    assert outbox.purge("order-1") == Purged(alerts=1, test_passes=1)
    left = outbox.next_after(SealedPass, 0)
    assert left is not None
    assert left.sealed == a_pass(3, order="order-2")
    outbox.close()
    assert b"passpass" not in path.read_bytes().replace(b"pass" * 3, b"")


def test_an_outbox_of_before_there_were_test_passes_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put(alert(1), DAY, ROOMS)
    outbox.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE unlogged_test_pass")
        database.execute("DROP TABLE test_pass")
    outbox = Outbox(path)
    outbox.put(a_pass(1), DAY, ROOMS)
    assert len(outbox) == 1
    assert outbox.next_after(SealedPass, 0) is not None
