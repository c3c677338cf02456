"""What is in the outbox survives, in order, until it expires."""

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lfr_edge.messages.alert import SealedAlert
from lfr_edge.pipeline.outbox import Outbox

NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(hours=24)


def alert(number: int, time: datetime = NOW) -> SealedAlert:
    return SealedAlert(f"id-{number}", time, "van-1", "force-1", "order-1", b"ciphertext" * number)


def test_alerts_come_out_as_they_went_in_and_in_order(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    for number in (1, 2, 3):
        outbox.put(alert(number), DAY)
    found, sequence = [], 0
    while (pending := outbox.next_after(sequence)) is not None:
        found.append(pending.alert)
        sequence = pending.sequence
    assert found == [alert(1), alert(2), alert(3)]


def test_a_reopened_outbox_still_has_them(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.sqlite")
    first.put(alert(1), DAY)
    first.close()
    pending = Outbox(tmp_path / "outbox.sqlite").next_after(0)
    assert pending is not None
    assert pending.alert == alert(1)
    assert pending.expires_at == NOW + DAY


def test_a_killed_process_loses_nothing_that_put_returned_for(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_outbox import alert
from lfr_edge.pipeline.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
outbox.put(alert(1), timedelta(hours=24))
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "outbox.sqlite"
    ended = subprocess.run([sys.executable, "-c", program, path, os.path.dirname(__file__)], check=False)  # noqa: PTH120
    assert ended.returncode == -signal.SIGKILL
    assert len(Outbox(path)) == 1


def test_expired_alerts_are_gone_from_the_file_too(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put(alert(1, NOW - DAY), DAY)
    outbox.put(alert(2), DAY)
    assert outbox.expire(NOW) == 1
    assert len(outbox) == 1
    outbox.close()
    assert b"id-1" not in (tmp_path / "outbox.sqlite").read_bytes()


def test_the_same_id_twice_is_refused(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put(alert(1), DAY)
    with pytest.raises(Exception, match="UNIQUE"):
        outbox.put(alert(1), DAY)


def test_nobody_else_on_the_machine_can_read_the_file(tmp_path: Path) -> None:
    Outbox(tmp_path / "outbox.sqlite")
    assert (tmp_path / "outbox.sqlite").stat().st_mode & 0o077 == 0


def test_revoking_an_order_deletes_its_alerts_and_no_others(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    other = SealedAlert("id-9", NOW, "van-1", "force-1", "order-2", b"ciphertext")
    for one in (alert(1), other, alert(2)):
        outbox.put(one, DAY)
    assert outbox.purge("order-1") == 2
    pending = outbox.next_after(0)
    assert pending is not None
    assert (pending.alert, len(outbox)) == (other, 1)
