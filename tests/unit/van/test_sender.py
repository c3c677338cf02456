"""From the outbox to the bus: in order, again after a reconnection, nothing lost in between, and each in the log."""

import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lfr_edge.audit.events import AlertSent, PassSent
from lfr_edge.clock import ManualClock
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.examples import RECIPIENT
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.outbox import Outbox
from lfr_edge.pipeline.ports import FakePublisher
from lfr_edge.van import sender as sending
from lfr_edge.van.sender import Sender

NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


class Refusing(FakePublisher):
    """A broker that is there and says no."""

    def publish(self, _sealed: SealedMatch, _expires_at: datetime) -> None:
        raise DeviceError(Reason.BROKER_REFUSED, "the broker refuses", fix="ask it why")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    yield outbox
    outbox.close()


class FakeLog:
    """Keeps what is noted; while it has no room, it says so. `dies` is a process that is killed before."""

    def __init__(self) -> None:
        self.entries: list[AlertSent | PassSent] = []
        self.has_room = True
        self.dies = False

    def note(self, event: AlertSent | PassSent) -> bool:
        if self.dies:
            raise KilledError
        self.entries.append(event)
        return self.has_room

    @property
    def ids(self) -> list[str]:
        return [event.alert if isinstance(event, AlertSent) else event.test_pass for event in self.entries]


class KilledError(Exception):
    """The power is gone."""


def sender_of(outbox: Outbox, publisher: FakePublisher, log: FakeLog | None = None) -> Sender:
    return Sender(outbox, publisher, ManualClock(NOW), (log or FakeLog()).note)


def name(number: int) -> str:
    return f"01978cb6-8f2d-7c30-89ed-{number:012}"


def put(outbox: Outbox, *numbers: int, time: datetime = NOW) -> None:
    for number in numbers:
        alert = SealedAlert(name(number), time, "van-1", "force-1", "order-1", b"sealed")
        outbox.put(alert, timedelta(hours=1), [RECIPIENT])


def ids(publisher: FakePublisher) -> list[str]:
    return [alert.id for alert in publisher.published]


def names(*numbers: int) -> list[str]:
    return [name(number) for number in numbers]


def test_alerts_leave_in_order_and_once_per_connection(outbox: Outbox) -> None:
    publisher = FakePublisher()
    sender = sender_of(outbox, publisher)
    put(outbox, 1, 2)
    assert sender.drain()
    put(outbox, 3)
    assert sender.drain()
    assert sender.drain()
    assert ids(publisher) == names(1, 2, 3)
    assert len(outbox) == 3, "that the broker has them is not enough"


def test_what_was_not_taken_is_tried_again(outbox: Outbox) -> None:
    publisher = FakePublisher()
    sender = sender_of(outbox, publisher)
    publisher.reachable = False
    put(outbox, 1, 2)
    assert not sender.drain()
    publisher.reachable = True
    assert sender.drain()
    assert ids(publisher) == names(1, 2)


def test_after_a_reconnection_everything_is_sent_again_under_the_same_ids(outbox: Outbox) -> None:
    publisher = FakePublisher()
    sender = sender_of(outbox, publisher)
    put(outbox, 1, 2)
    sender.drain()
    publisher.connection += 1
    assert sender.drain()
    assert ids(publisher) == names(1, 2) * 2


def test_a_refusal_is_said_once_and_an_absent_broker_not_at_all(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, 1)
    absent = FakePublisher()
    absent.reachable = False
    for publisher in (absent, Refusing()):
        sender = sender_of(outbox, publisher)
        for _ in range(3):
            assert not sender.drain()
    assert caplog.messages == ["alerts wait in the outbox: the broker refuses; ask it why"]


def test_the_thread_sends_what_comes_and_what_is_left_when_it_is_stopped(outbox: Outbox) -> None:
    publisher = FakePublisher()
    sender = sender_of(outbox, publisher)
    thread = threading.Thread(target=sender.run)
    sender.stop()
    put(outbox, 1)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert ids(publisher) == names(1)


def test_what_stays_behind_is_said_at_the_end(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    publisher = FakePublisher()
    publisher.reachable = False
    put(outbox, 1)
    sender = sender_of(outbox, publisher)
    sender.stop()
    sender.run()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages == ["alerts wait in the outbox for the next start"]


def test_an_expired_alert_is_never_sent(outbox: Outbox) -> None:
    publisher = FakePublisher()
    put(outbox, 1, time=NOW - timedelta(hours=2))
    put(outbox, 2)
    sender = sender_of(outbox, publisher)
    thread = threading.Thread(target=sender.run)
    thread.start()
    while not publisher.published:
        thread.join(0.01)
    sender.stop()
    thread.join(5)
    assert ids(publisher) == names(2)


def test_that_an_alert_left_is_noted_with_who_can_open_it_once_the_broker_has_it(outbox: Outbox) -> None:
    publisher, log = FakePublisher(), FakeLog()
    sender = sender_of(outbox, publisher, log)
    publisher.reachable = False
    put(outbox, 1, 2)
    sender.drain()
    assert log.entries == []
    publisher.reachable = True
    sender.drain()
    assert log.ids == names(1, 2)
    first = log.entries[0]
    assert (first.order, first.recipients) == ("order-1", (RECIPIENT,))


def test_an_alert_that_is_sent_again_is_not_noted_again_by_this_process_or_the_next(outbox: Outbox) -> None:
    publisher, log = FakePublisher(), FakeLog()
    sender = sender_of(outbox, publisher, log)
    put(outbox, 1, 2)
    sender.drain()
    publisher.connection += 1
    sender.drain()
    sender_of(outbox, publisher, log).drain()
    assert ids(publisher) == names(1, 2) * 3
    assert log.ids == names(1, 2)


def test_a_van_killed_before_the_entry_sends_again_and_notes_it_then(outbox: Outbox) -> None:
    publisher, log = FakePublisher(), FakeLog()
    put(outbox, 1)
    log.dies = True
    with pytest.raises(KilledError):
        sender_of(outbox, publisher, log).drain()
    log.dies = False
    sender_of(outbox, publisher, log).drain()
    assert ids(publisher) == names(1) * 2
    assert log.ids == names(1)


def test_an_entry_that_is_not_on_the_disk_does_not_count_for_the_next_process(outbox: Outbox) -> None:
    publisher, log = FakePublisher(), FakeLog()
    log.has_room = False
    put(outbox, 1)
    sender_of(outbox, publisher, log).drain()
    after_the_power_cut = FakeLog()
    sender_of(outbox, publisher, after_the_power_cut).drain()
    assert after_the_power_cut.ids == names(1)


def put_pass(outbox: Outbox, *numbers: int) -> None:
    for number in numbers:
        passed = SealedPass(name(number), NOW, "van-1", "force-1", "order-1", b"sealed")
        outbox.put(passed, timedelta(hours=1), [RECIPIENT])


class NoPasses(FakePublisher):
    """A broker whose access list is of before there were test passes."""

    def publish(self, sealed: SealedMatch, expires_at: datetime) -> None:
        if isinstance(sealed, SealedPass):
            raise DeviceError(Reason.BROKER_REFUSED, "not authorised", fix="see the access list")
        super().publish(sealed, expires_at)


def test_alerts_go_first_and_overtake_test_passes_that_wait(outbox: Outbox) -> None:
    class Meanwhile(FakePublisher):
        """While the first test pass is on its way, an alert is raised."""

        def publish(self, sealed: SealedMatch, expires_at: datetime) -> None:
            super().publish(sealed, expires_at)
            if sealed.id == name(11):
                put(outbox, 3)

    publisher, log = Meanwhile(), FakeLog()
    put_pass(outbox, 11, 12)
    put(outbox, 1, 2)
    assert sender_of(outbox, publisher, log).drain()
    assert ids(publisher) == names(1, 2, 11, 3, 12)
    assert [type(one) for one in publisher.published[2:4]] == [SealedPass, SealedAlert]
    assert log.ids == names(1, 2, 11, 3, 12)
    assert [type(event) for event in log.entries[1:3]] == [AlertSent, PassSent]


def test_test_passes_are_sent_again_after_a_reconnection_and_noted_once(outbox: Outbox) -> None:
    publisher, log = FakePublisher(), FakeLog()
    sender = sender_of(outbox, publisher, log)
    put_pass(outbox, 11)
    sender.drain()
    publisher.connection += 1
    sender.drain()
    assert ids(publisher) == names(11) * 2
    (sent,) = log.entries
    assert isinstance(sent, PassSent)
    assert (sent.test_pass, sent.order, sent.recipients) == (name(11), "order-1", (RECIPIENT,))


def test_a_broker_that_takes_no_test_passes_holds_up_no_alert(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_RETRY_S", 60.0)
    publisher = NoPasses()
    sender = sender_of(outbox, publisher)
    put_pass(outbox, 11)
    thread = threading.Thread(target=sender.run)
    thread.start()
    while not caplog.messages:
        thread.join(0.01)
    put(outbox, 1)
    sender.wake()
    for _ in range(500):
        if publisher.published:
            break
        thread.join(0.01)
    overtook = ids(publisher)  # before the last try of a sender that is stopped
    sender.stop()
    thread.join(5)
    assert overtook == names(1)
    assert caplog.messages[0].startswith("test passes wait in the outbox: not authorised")


def test_what_goes_beside_the_alerts_goes_also_while_the_broker_refuses_those(outbox: Outbox) -> None:
    publisher, told = FakePublisher(), threading.Event()
    publisher.reachable = False
    put(outbox, 1)
    sender = Sender(outbox, publisher, ManualClock(NOW), FakeLog().note, told.set)
    thread = threading.Thread(target=sender.run)
    thread.start()
    heard = told.wait(5)
    sender.stop()
    thread.join(5)
    assert heard
