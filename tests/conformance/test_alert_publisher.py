"""Every alert publisher returns only once the broker has the alert, and says when the broker may have forgotten it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from lfr_edge.clock import SystemClock
from lfr_edge.config import BrokerConfig
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.examples import STATUS
from lfr_edge.messages.ids import uuid7
from lfr_edge.messages.match import SealedMatch
from lfr_edge.messages.topics import Channel, topic_filter
from lfr_edge.pipeline.ports import AlertPublisher, FakePublisher
from lfr_edge.transport import mqtt
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession
from lfr_edge.transport.sealed import receive_alert
from lfr_edge.van.bus import Bus

NOW = SystemClock().utc()


@dataclass
class Line:
    """A publisher, what came out at the other end, and the wire between."""

    publisher: AlertPublisher
    arrived: Callable[[int], Sequence[SealedMatch]]
    """Everything, once there is at least so much."""
    cut: Callable[[], None]
    mend: Callable[[], None]

    def publish(self, alert: SealedAlert) -> None:
        self.publisher.publish(alert, NOW + timedelta(hours=1))


@contextmanager
def _over_a_broker(directory: Path) -> Iterator[Line]:
    with LocalBroker(directory, force="example", vans=["van-1"]) as broker:
        files = broker.client_files("van-1")
        config = BrokerConfig(host=broker.host, port=broker.port, ca=files.ca, certificate=files.cert, key=files.key)
        bus = Bus(config, "example", STATUS, SystemClock())
        bus.start()
        assert bus._session.wait_connected(10)
        received: list[SealedMatch] = []
        with MqttSession(broker.broker("control-room"), "control-room") as room:
            room.subscribe(topic_filter(Channel.ALERT), lambda message: received.append(receive_alert(message)))

            def arrived(number: int) -> Sequence[SealedMatch]:
                deadline = time.monotonic() + 10
                while len(received) < number and time.monotonic() < deadline:
                    room.wait(0.02)
                room.wait(0.1)  # for what should not come
                return received

            def mend() -> None:
                broker.start()
                deadline = time.monotonic() + 10
                while room.connections == 1 or bus.connection == 1 or room._restored:  # until it may receive again
                    assert time.monotonic() < deadline
                    room.wait(0.02)

            yield Line(bus, arrived, broker.stop, mend)
        bus.close()


@contextmanager
def _faked(_directory: Path) -> Iterator[Line]:
    fake = FakePublisher()

    def cut() -> None:
        fake.reachable = False

    def mend() -> None:
        fake.reachable = True
        fake.connection += 1

    yield Line(fake, lambda _number: fake.published, cut, mend)


@pytest.fixture(params=[_over_a_broker, _faked], ids=["bus", "fake"])
def line(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(mqtt, "_BACK_OFF_S", (0.1, 0.2))
    opened: Callable[[Path], AbstractContextManager[Line]] = request.param
    with opened(tmp_path) as line:
        yield line


def _alert() -> SealedAlert:
    return SealedAlert(uuid7(), NOW, "van-1", "example", "order-1", b"sealed")


def test_what_is_published_arrives_whole_and_in_order(line: Line) -> None:
    alerts = [_alert() for _ in range(5)]
    for alert in alerts:
        line.publish(alert)
    assert line.arrived(5) == alerts


def test_an_alert_may_be_published_again(line: Line) -> None:
    alert = _alert()
    line.publish(alert)
    line.publish(alert)
    assert line.arrived(2) == [alert] * 2


def test_the_connection_is_the_same_as_long_as_nothing_is_cut(line: Line) -> None:
    before = line.publisher.connection
    line.publish(_alert())
    assert line.publisher.connection == before


def test_without_a_broker_it_is_an_error_and_nothing_is_kept_for_later(line: Line) -> None:
    line.cut()
    with pytest.raises(DeviceError) as caught:
        line.publish(_alert())
    assert caught.value.reason is Reason.BROKER_UNREACHABLE
    line.mend()
    following = _alert()
    line.publish(following)
    assert line.arrived(1) == [following]


def test_after_a_cut_the_connection_is_another(line: Line) -> None:
    before = line.publisher.connection
    line.cut()
    line.mend()
    assert line.publisher.connection != before
