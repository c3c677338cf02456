"""The bus, over the real mosquitto with mutual TLS."""

import contextlib
import logging
import os
import queue
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from paho.mqtt.client import MQTTMessage

from lfr_edge.crypto.throwaway import ThrowawayCa
from lfr_edge.errors import ConfigError, DeviceError, Reason
from lfr_edge.messages.alert import LARGEST_CIPHERTEXT_BYTES
from lfr_edge.messages.examples import ALERT, STATUS
from lfr_edge.messages.status import Status
from lfr_edge.messages.topics import Channel, Topic
from lfr_edge.transport import local_broker, mqtt
from lfr_edge.transport.local_broker import LocalBroker
from lfr_edge.transport.mqtt import MqttSession, Retained
from lfr_edge.transport.packets import Incoming, unpack
from lfr_edge.transport.sealed import AlertEvent
from lfr_edge.transport.tls import Broker, TlsFiles

ALERTS = "lfr/v1/example/+/alert"
VAN_1 = str(Topic("example", "van-1", Channel.ALERT))
STATUS_1 = str(Topic("example", "van-1", Channel.STATUS))


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    with LocalBroker(tmp_path_factory.mktemp("broker"), force="example", vans=("van-1", "van-2")) as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[LocalBroker]:
    with LocalBroker(tmp_path, force="example", vans=("van-1",)) as broker:
        yield broker


@pytest.fixture
def quick_reconnection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_BACK_OFF_S", (0.1, 0.2))


def _session(broker: LocalBroker, client_id: str) -> MqttSession:
    return MqttSession(broker.broker(client_id), client_id)


def _listen(session: MqttSession, topic_filter: str) -> "queue.Queue[Incoming]":
    received: queue.Queue[Incoming] = queue.Queue()
    session.subscribe(topic_filter, received.put)
    return received


def _connection_error(broker: Broker) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        MqttSession(broker, "van-1").connect()
    assert not [thread for thread in threading.enumerate() if "paho" in thread.name]
    return caught.value


def test_a_message_arrives_with_its_properties_and_expiry(
    shared_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets: list[MQTTMessage] = []
    monkeypatch.setattr(mqtt, "unpack", lambda packet: packets.append(packet) or unpack(packet))
    with _session(shared_broker, "van-1") as van, _session(shared_broker, "control-room") as room:
        received = _listen(room, ALERTS)
        properties = {"specversion": "1.0", "subject": "Größe", "datacontenttype": "text/plain"}
        van.publish(VAN_1, b"sealed", qos=1, expiry_s=3600, properties=properties)
        message = received.get(timeout=5)
    assert message == Incoming(VAN_1, b"sealed", properties)
    (packet,) = packets
    assert not packet.retain
    assert 3590 < packet.properties.MessageExpiryInterval <= 3600


def test_a_van_that_publishes_under_another_vans_topic_is_told_so(shared_broker: LocalBroker) -> None:
    with _session(shared_broker, "van-2") as intruder, _session(shared_broker, "control-room") as room:
        received = _listen(room, ALERTS)
        with pytest.raises(DeviceError, match="Not authorized") as caught:
            intruder.publish(VAN_1, b"forged", qos=1)
        intruder.publish(VAN_1.replace("van-1", "van-2"), b"genuine", qos=1)
        assert received.get(timeout=5).payload == b"genuine"
        assert received.empty()
    assert caught.value.reason is Reason.BROKER_REFUSED


def test_a_certificate_that_is_not_on_the_access_list_can_neither_write_nor_read(shared_broker: LocalBroker) -> None:
    with (
        _session(shared_broker, "stranger") as stranger,
        _session(shared_broker, "van-1") as van,
        _session(shared_broker, "control-room") as room,
    ):
        overheard, received = _listen(stranger, "#"), _listen(room, ALERTS)
        with pytest.raises(DeviceError, match="Not authorized"):
            stranger.publish(VAN_1, b"forged", qos=1)
        van.publish(VAN_1, b"genuine", qos=1)
        assert received.get(timeout=5).payload == b"genuine"
        assert overheard.empty()


def test_a_broker_of_another_ca_is_not_believed(shared_broker: LocalBroker, tmp_path: Path) -> None:
    files = replace(shared_broker.client_files("van-1"), ca=ThrowawayCa(tmp_path).ca_file)
    error = _connection_error(Broker("127.0.0.1", shared_broker.port, files))
    assert error.reason is Reason.BROKER_REFUSED
    assert str(files.ca) in str(error)


def test_a_client_certificate_of_another_ca_is_refused(shared_broker: LocalBroker, tmp_path: Path) -> None:
    certificate, key = ThrowawayCa(tmp_path).issue_client("van-1")
    files = TlsFiles(shared_broker.client_files("van-1").ca, certificate, key)
    error = _connection_error(Broker("127.0.0.1", shared_broker.port, files))
    assert error.reason is Reason.BROKER_REFUSED
    assert str(certificate) in str(error)


def test_a_broker_by_another_name_than_its_certificates_is_not_believed(shared_broker: LocalBroker) -> None:
    error = _connection_error(Broker("127.1", shared_broker.port, shared_broker.client_files("van-1")))
    assert error.reason is Reason.BROKER_REFUSED
    assert "not valid for '127.1'" in str(error)


def test_a_port_where_nothing_listens_is_named(shared_broker: LocalBroker) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = _connection_error(Broker("127.0.0.1", closed.getsockname()[1], shared_broker.client_files("van-1")))
    assert error.reason is Reason.BROKER_UNREACHABLE
    assert "nothing listens at 127.0.0.1" in str(error)


def test_a_host_that_does_not_exist_is_named(shared_broker: LocalBroker) -> None:
    error = _connection_error(Broker("broker.invalid", 8883, shared_broker.client_files("van-1")))
    assert error.reason is Reason.BROKER_UNREACHABLE
    assert "broker.invalid" in str(error)


def test_a_server_that_does_not_speak_tls_is_told_from_a_broker(shared_broker: LocalBroker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        error = _connection_error(Broker("127.0.0.1", server.getsockname()[1], shared_broker.client_files("van-1")))
        thread.join()
    assert "TLS" in str(error)


def test_a_server_that_never_answers_is_a_timeout(shared_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = _connection_error(Broker("127.0.0.1", silent.getsockname()[1], shared_broker.client_files("van-1")))
    assert error.reason is Reason.BROKER_UNREACHABLE
    assert "does not answer" in str(error)


@pytest.mark.parametrize("which", ["ca", "cert", "key"])
def test_a_tls_file_that_is_missing_or_nonsense_is_named(
    shared_broker: LocalBroker, tmp_path: Path, which: str
) -> None:
    good = shared_broker.client_files("van-1")
    for path, reason in ((tmp_path / "absent", Reason.FILE_MISSING), (tmp_path / "bad", Reason.FILE_MALFORMED)):
        if reason is Reason.FILE_MALFORMED:
            path.write_text("nonsense")
        with pytest.raises(ConfigError) as caught:
            MqttSession(Broker("127.0.0.1", shared_broker.port, replace(good, **{which: path})), "van-1")
        assert caught.value.reason is reason
        assert str(path) in str(caught.value)


def test_a_key_of_another_certificate_is_refused(shared_broker: LocalBroker) -> None:
    mixed = replace(shared_broker.client_files("van-1"), key=shared_broker.client_files("van-2").key)
    with pytest.raises(ConfigError) as caught:
        MqttSession(Broker("127.0.0.1", shared_broker.port, mixed), "van-1")
    assert caught.value.reason is Reason.FILE_MALFORMED


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(
    shared_broker: LocalBroker, tmp_path: Path
) -> None:
    files = shared_broker.client_files("van-1")
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", str(files.key), "-out", str(encrypted), "-passout", "pass:word"]
    subprocess.run(command, check=True)
    with pytest.raises(ConfigError) as caught:
        MqttSession(Broker("127.0.0.1", shared_broker.port, replace(files, key=encrypted)), "van-1")
    assert caught.value.reason is Reason.FILE_MALFORMED


def test_publishing_without_a_connection_is_an_error_and_not_a_queue(own_broker: LocalBroker) -> None:
    session = _session(own_broker, "van-1")
    with pytest.raises(DeviceError) as caught:
        session.publish(VAN_1, b"sealed", qos=1)
    assert caught.value.reason is Reason.BROKER_UNREACHABLE
    session.close()


@pytest.mark.usefixtures("quick_reconnection")
def test_a_status_refused_after_a_reconnection_does_not_stop_alerts(own_broker: LocalBroker, tmp_path: Path) -> None:
    with _session(own_broker, "van-1") as van:
        van.publish("lfr/v1/example/van-1/status", b"live", qos=1, retain=True)
        own_broker.stop()
        (tmp_path / "access.list").write_text("user van-1\ntopic write lfr/v1/example/van-1/alert\n")
        own_broker.start()
        assert _until(lambda: van.connections == 2)
        for _ in range(3):
            van.publish("lfr/v1/example/van-1/alert", b"sealed", qos=1)


@pytest.mark.usefixtures("quick_reconnection")
def test_a_restarted_broker_is_found_again_with_subscriptions_and_status(own_broker: LocalBroker) -> None:
    with _session(own_broker, "van-1") as van, _session(own_broker, "control-room") as room:
        received = _listen(room, "lfr/v1/#")
        van.publish(STATUS_1, b"live", qos=1, retain=True)
        assert received.get(timeout=5).payload == b"live"
        own_broker.stop()
        with pytest.raises(DeviceError) as caught:
            van.publish(VAN_1, b"lost", qos=1)
        assert caught.value.reason is Reason.BROKER_UNREACHABLE
        own_broker.start()  # nothing persists: it has forgotten subscriptions and retained messages
        assert van.wait_connected(10)
        assert room.wait_connected(10)
        assert received.get(timeout=5).payload == b"live"
        van.publish(VAN_1, b"sealed", qos=1)
        assert received.get(timeout=5).payload == b"sealed"
        assert van.problem is None
        assert van.connections == 2


@pytest.mark.usefixtures("quick_reconnection")
def test_a_session_started_before_its_broker_connects_once_it_is_there(tmp_path: Path) -> None:
    broker = LocalBroker(tmp_path, force="example", vans=("van-1",))
    broker.start()
    broker.stop()
    van = _session(broker, "van-1")
    van.start()
    try:
        assert not van.wait_connected(0.5)
        assert van.problem is not None
        assert "nothing listens" in str(van.problem)
        broker.start()
        assert van.wait_connected(10)
        van.publish(VAN_1, b"sealed", qos=1)
    finally:
        van.close()
        broker.stop()


def test_a_van_that_vanishes_is_reported_offline_and_one_that_leaves_is_not(shared_broker: LocalBroker) -> None:
    offline = STATUS.model_copy(update={"state": "offline"}).to_json()
    will = Retained(STATUS_1, offline)
    with _session(shared_broker, "control-room") as room:
        received = _listen(room, STATUS_1)
        with MqttSession(shared_broker.broker("van-1"), "van-1", will=will) as van:
            van.publish(STATUS_1, STATUS.to_json(), qos=1, retain=True)
            assert Status.from_untrusted(received.get(timeout=5).payload).state == "live"
        vanishing = MqttSession(shared_broker.broker("van-1"), "van-1", will=will)
        vanishing.connect()
        sock = vanishing._client.socket()
        assert isinstance(sock, ssl.SSLSocket)
        sock.shutdown(socket.SHUT_RDWR)  # the network goes away; no DISCONNECT is sent
        assert Status.from_untrusted(received.get(timeout=5).payload).state == "offline"
        vanishing.close()
        assert received.empty()
    with _session(shared_broker, "control-room") as late:
        message = _listen(late, STATUS_1).get(timeout=5)
        assert message.payload == offline


def test_small_packets_are_sent_at_once(shared_broker: LocalBroker) -> None:
    with _session(shared_broker, "van-1") as van:
        sock = van._client.socket()
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_what_a_handler_raises_is_raised_by_the_next_calls(shared_broker: LocalBroker) -> None:
    def full_disk(_message: Incoming) -> None:
        raise OSError(28, "No space left on device")

    with _session(shared_broker, "van-1") as van, _session(shared_broker, "control-room") as room:
        room.subscribe(ALERTS, full_disk)
        van.publish(VAN_1, b"sealed", qos=1)
        with pytest.raises(OSError, match="No space"):
            room.wait(5)
        with pytest.raises(OSError, match="No space"):
            room.check()


def test_a_handler_that_publishes_is_told_that_it_would_wait_for_itself(shared_broker: LocalBroker) -> None:
    with _session(shared_broker, "van-1") as van, _session(shared_broker, "control-room") as room:
        room.subscribe(ALERTS, lambda _message: room.publish(VAN_1, b"", qos=1))
        van.publish(VAN_1, b"sealed", qos=1)
        with pytest.raises(RuntimeError, match="must not publish"):
            room.wait(5)


def test_a_subscription_granted_without_delivery_guarantee_is_refused(own_broker: LocalBroker, tmp_path: Path) -> None:
    with (
        _reconfigured(own_broker, tmp_path, "max_qos 0"),
        _session(own_broker, "control-room") as room,
        pytest.raises(DeviceError, match="QoS 0 only"),
    ):
        room.subscribe(ALERTS, print)


@contextlib.contextmanager
def _reconfigured(broker: LocalBroker, directory: Path, line: str) -> Iterator[None]:
    """The same broker, with one setting that it should not have."""
    broker.stop()
    configuration = directory / "mosquitto.conf"
    setting = line.split(maxsplit=1)[0]
    kept = [other for other in configuration.read_text().splitlines() if not other.startswith(setting)]
    configuration.write_text("\n".join([*kept, line]) + "\n")
    process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        assert _until(lambda: _is_open(broker.port))
        yield
    finally:
        process.terminate()
        process.wait()


def test_the_largest_alert_arrives_and_the_broker_takes_nothing_larger(shared_broker: LocalBroker) -> None:
    event = AlertEvent(id=ALERT.id, source="lfr/v1/example/van-1", time=ALERT.decided_at, subject="o" * 64)
    properties = event.model_dump(mode="json")
    with _session(shared_broker, "control-room") as room:
        received = _listen(room, ALERTS)
        # mosquitto 2.0.11 gives a reason code that MQTT does not allow there, and paho hangs up.
        with _session(shared_broker, "van-1") as van, pytest.raises(DeviceError):
            van.publish(VAN_1, bytes(LARGEST_CIPHERTEXT_BYTES + 1), qos=1, properties=properties)
        with _session(shared_broker, "van-1") as van:
            van.publish(VAN_1, bytes(LARGEST_CIPHERTEXT_BYTES), qos=1, properties=properties)
            assert len(received.get(timeout=20).payload) == LARGEST_CIPHERTEXT_BYTES


def test_a_broker_without_a_limit_of_its_own_still_sends_us_nothing_larger(
    own_broker: LocalBroker, tmp_path: Path
) -> None:
    with (
        _reconfigured(own_broker, tmp_path, "message_size_limit 0"),
        _session(own_broker, "van-1") as van,
        _session(own_broker, "control-room") as room,
    ):
        received = _listen(room, ALERTS)
        van.publish(VAN_1, bytes(mqtt.LARGEST_PACKET_BYTES), qos=1)
        van.publish(VAN_1, b"sealed", qos=1)
        assert received.get(timeout=20).payload == b"sealed"
        assert received.empty()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_publishers_in_several_threads_do_not_mix_up_their_acknowledgements(shared_broker: LocalBroker) -> None:
    """Half publish where they may, half where they may not: each learns its own outcome."""
    outcomes: queue.Queue[tuple[bool, bool]] = queue.Queue()
    with _session(shared_broker, "van-1") as van:

        def publish(*, allowed: bool) -> None:
            for _ in range(20):
                try:
                    van.publish(VAN_1 if allowed else VAN_1.replace("van-1", "van-2"), b"x", qos=1)
                    outcomes.put((allowed, True))
                except DeviceError:
                    outcomes.put((allowed, False))
                van.publish(VAN_1, b"aggregate", qos=0)

        threads = [threading.Thread(target=publish, kwargs={"allowed": i % 2 == 0}) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seen = [outcomes.get_nowait() for _ in range(80)]
    assert all(allowed is succeeded for allowed, succeeded in seen)


def test_what_needs_no_acknowledgement_does_not_wait_behind_what_does(
    own_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that hangs holds up alerts, but neither the van's supervisor nor its end; then it is said to be back."""
    caplog.set_level(logging.INFO)
    with _session(own_broker, "van-1") as van:
        monkeypatch.setattr(mqtt, "TIMEOUT_S", 2)
        errors: queue.Queue[DeviceError] = queue.Queue()

        def publish_alert() -> None:
            try:
                van.publish(VAN_1, b"sealed", qos=1)
            except DeviceError as error:
                errors.put(error)

        assert own_broker._process is not None
        own_broker._process.send_signal(signal.SIGSTOP)
        try:
            waiting = threading.Thread(target=publish_alert)
            waiting.start()
            assert _until(van._one_request.locked)
            start = time.monotonic()
            van.publish("lfr/v1/example/van-1/health", b"aggregate", qos=0)
            assert time.monotonic() - start < 0.5
            assert waiting.is_alive()
            waiting.join()
            assert "did not acknowledge" in str(errors.get_nowait())
            assert van.connected
            assert van.problem is not None
        finally:
            own_broker._process.send_signal(signal.SIGCONT)
        van.publish(VAN_1, b"sealed", qos=1)
        assert van.problem is None
    complaint, relief = caplog.messages
    assert "did not acknowledge" in complaint
    assert "acknowledges again" in relief


def test_without_mosquitto_the_fix_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_broker.shutil, "which", lambda *_args, **_kwargs: None)
    with pytest.raises(ConfigError, match="apt-get install mosquitto"):
        LocalBroker(tmp_path, force="example", vans=())


def test_a_port_that_somebody_else_took_in_between_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ports = iter([taken.getsockname()[1]] * 2 + [free.getsockname()[1]])
        free.close()
        monkeypatch.setattr(local_broker, "_free_port", lambda: next(ports))
        with LocalBroker(tmp_path, force="example", vans=("van-1",)) as broker:
            assert broker.port != taken.getsockname()[1]
            with _session(broker, "van-1") as van:
                assert van.connected


def test_a_broker_that_cannot_start_says_what_mosquitto_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(local_broker, "_free_port", lambda: taken.getsockname()[1])
        with pytest.raises(DeviceError, match="Address already in use"):
            LocalBroker(tmp_path, force="example", vans=()).start()


def test_no_broker_is_left_behind(tmp_path: Path) -> None:
    with LocalBroker(tmp_path, force="example", vans=()) as broker:
        process = broker._process
        assert process is not None
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
