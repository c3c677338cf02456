"""What the van says, and when, with a session that only writes down what is published."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.audit_events import EXAMPLES, signer

from lfr_edge.audit.checkpoint import open_checkpoint
from lfr_edge.audit.log import AuditLog
from lfr_edge.clock import ManualClock
from lfr_edge.config import BrokerConfig
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.messages.examples import HEALTH, STATUS
from lfr_edge.messages.status import Status
from lfr_edge.transport.mqtt import Retained
from lfr_edge.transport.tls import Broker
from lfr_edge.van import bus as voice
from lfr_edge.van.authority import DemoWindow
from lfr_edge.van.bus import Bus

SIGNER = signer(SigningKey.generate())


@dataclass
class FakeSession:
    """Takes everything while it is connected; remembers statuses."""

    broker: Broker
    client_id: str
    will: Retained
    connected: bool = True
    problem: DeviceError | None = None
    said: list[tuple[Status, int]] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> None:
        if not self.connected:
            raise DeviceError(Reason.BROKER_UNREACHABLE, "no broker", fix="wait")
        if topic.endswith("/status"):
            assert retain
            self.said.append((Status.from_untrusted(payload), qos))

    def close(self) -> None:
        pass


class Keeping(DemoWindow):
    """An authority with a log."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    @property
    def checkpoint(self) -> bytes:  # type: ignore[override]
        return self._log.checkpoint()


@dataclass
class Van:
    bus: Bus
    log: AuditLog
    clock: ManualClock

    @property
    def session(self) -> FakeSession:
        return self.bus._session  # type: ignore[return-value]

    @property
    def sizes(self) -> list[int]:
        """How long the log was in each status."""
        notes = [status.checkpoint for status, _ in self.session.said]
        return [open_checkpoint((note or "").encode(), SIGNER.verifier).size for note in notes]

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.bus.report(HEALTH)


@pytest.fixture
def van(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Van]:
    monkeypatch.setattr(voice, "MqttSession", FakeSession)
    file = tmp_path / "file"
    config = BrokerConfig(host="broker.example", port=8883, ca=file, certificate=file, key=file)
    clock = ManualClock()
    with AuditLog.open(tmp_path / "audit.log", SIGNER, clock) as log:
        yield Van(
            Bus(config, "example", STATUS.model_copy(update={"checkpoint": None}), clock, Keeping(log)), log, clock
        )


def test_every_state_is_said_with_the_newest_checkpoint(van: Van) -> None:
    van.bus.announce("live")
    van.log.append(EXAMPLES[5], EXAMPLES[6])
    van.bus.announce("ended", blind="stopped")
    assert van.sizes == [1, 3]
    assert [qos for _, qos in van.session.said] == [1, 1]


def test_a_log_that_grows_without_pause_is_said_once_a_minute(van: Van) -> None:
    van.bus.announce("live")
    for _ in range(180):
        van.log.append(EXAMPLES[5])
        van.run(1)
    assert van.sizes == [1, 61, 121, 181]
    first, *later = van.session.said
    assert {(status.state, status.since, qos) for status, qos in later} == {("live", first[0].since, 0)}


def test_a_log_that_does_not_grow_is_not_said_again(van: Van) -> None:
    van.bus.announce("live")
    van.run(600)
    assert van.sizes == [1]
    van.log.append(EXAMPLES[5])
    van.run(1)
    assert van.sizes == [1, 2]


def test_whoever_leaves_in_good_order_says_what_the_log_has_become(van: Van) -> None:
    van.bus.announce("idle")
    van.log.append(EXAMPLES[5])
    van.bus.close()
    assert van.sizes == [1, 2]
    van.session.connected = False
    van.log.append(EXAMPLES[5])
    van.bus.close()


def test_a_checkpoint_neither_waits_for_another_order_nor_says_the_one_before_once_more(
    van: Van, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A takeover is announced on the sender's thread, and a broker may hang; checkpoints come from the supervisor."""
    van.bus.announce("live")
    hangs, answers, publish = threading.Event(), threading.Event(), van.session.publish

    def hung(topic: str, payload: bytes, *, qos: int, retain: bool = False) -> None:
        if qos == 1:
            hangs.set()
            assert answers.wait(10)
        publish(topic, payload, qos=qos, retain=retain)

    monkeypatch.setattr(van.session, "publish", hung)
    sender = threading.Thread(target=van.bus.announce, args=("live",), kwargs={"order": "the-next"})
    sender.start()
    assert hangs.wait(10)
    van.log.append(EXAMPLES[5])
    van.run(120)
    assert van.sizes == [1], "the supervisor was not held up, and said nothing in between"
    answers.set()
    sender.join(10)
    van.run(1)
    assert [status.order for status, _ in van.session.said] == [STATUS.order, "the-next", "the-next"]
    assert van.sizes[-1] == 2


def test_the_last_will_has_no_checkpoint(van: Van) -> None:
    will = Status.from_untrusted(van.session.will.payload)
    assert (will.state, will.checkpoint) == ("offline", None)


def test_a_broker_that_is_away_hears_of_it_when_it_is_back(van: Van) -> None:
    van.bus.announce("live")
    van.session.connected = False
    van.log.append(EXAMPLES[5])
    van.run(120)
    assert van.sizes == [1]
    van.session.connected = True
    van.run(1)
    assert van.sizes == [1, 2]
