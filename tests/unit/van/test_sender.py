"""From the outbox to the bus: in order, again after a reconnection, and nothing lost in between."""

import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lfr_edge.clock import ManualClock
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.pipeline.outbox import Outbox
from lfr_edge.pipeline.ports import FakePublisher
from lfr_edge.van.sender import Sender

NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


class Refusing(FakePublisher):
    """A broker that is there and says no."""

    def publish(self, _alert: SealedAlert, _expires_at: datetime) -> None:
        raise DeviceError(Reason.BROKER_REFUSED, "the broker refuses", fix="ask it why")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    yield outbox
    outbox.close()


def put(outbox: Outbox, *numbers: int, time: datetime = NOW) -> None:
    for number in numbers:
        outbox.put(SealedAlert(f"id-{number}", time, "van-1", "force-1", "order-1", b"sealed"), timedelta(hours=1))


def ids(publisher: FakePublisher) -> list[str]:
    return [alert.id for alert in publisher.published]


def test_alerts_leave_in_order_and_once_per_connection(outbox: Outbox) -> None:
    publisher = FakePublisher()
    sender = Sender(outbox, publisher, ManualClock(NOW))
    put(outbox, 1, 2)
    assert sender.drain()
    put(outbox, 3)
    assert sender.drain()
    assert sender.drain()
    assert ids(publisher) == ["id-1", "id-2", "id-3"]
    assert len(outbox) == 3, "that the broker has them is not enough"


def test_what_was_not_taken_is_tried_again(outbox: Outbox) -> None:
    publisher = FakePublisher()
    sender = Sender(outbox, publisher, ManualClock(NOW))
    publisher.reachable = False
    put(outbox, 1, 2)
    assert not sender.drain()
    publisher.reachable = True
    assert sender.drain()
    assert ids(publisher) == ["id-1", "id-2"]


def test_after_a_reconnection_everything_is_sent_again_under_the_same_ids(outbox: Outbox) -> None:
    publisher = FakePublisher()
    sender = Sender(outbox, publisher, ManualClock(NOW))
    put(outbox, 1, 2)
    sender.drain()
    publisher.connection += 1
    assert sender.drain()
    assert ids(publisher) == ["id-1", "id-2"] * 2


def test_a_refusal_is_said_once_and_an_absent_broker_not_at_all(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, 1)
    absent = FakePublisher()
    absent.reachable = False
    for publisher in (absent, Refusing()):
        sender = Sender(outbox, publisher, ManualClock(NOW))
        for _ in range(3):
            assert not sender.drain()
    assert caplog.messages == ["alerts wait in the outbox: the broker refuses; ask it why"]


def test_the_thread_sends_what_comes_and_what_is_left_when_it_is_stopped(outbox: Outbox) -> None:
    publisher = FakePublisher()
    sender = Sender(outbox, publisher, ManualClock(NOW))
    thread = threading.Thread(target=sender.run)
    sender.stop()
    put(outbox, 1)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert ids(publisher) == ["id-1"]


def test_what_stays_behind_is_said_at_the_end(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    publisher = FakePublisher()
    publisher.reachable = False
    put(outbox, 1)
    sender = Sender(outbox, publisher, ManualClock(NOW))
    sender.stop()
    sender.run()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages == ["alerts wait in the outbox for the next start"]


def test_an_expired_alert_is_never_sent(outbox: Outbox) -> None:
    publisher = FakePublisher()
    put(outbox, 1, time=NOW - timedelta(hours=2))
    put(outbox, 2)
    sender = Sender(outbox, publisher, ManualClock(NOW))
    thread = threading.Thread(target=sender.run)
    thread.start()
    while not publisher.published:
        thread.join(0.01)
    sender.stop()
    thread.join(5)
    assert ids(publisher) == ["id-2"]
