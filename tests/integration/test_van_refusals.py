"""What a van may not or cannot carry out is refused before it sees anything: one message, the thing and the fix.

Camera and broker are sockets that nobody accepts from: whoever had tried to connect would be waiting there. Most cases
run in this process, where the command's own message can be told from a library's.
"""

import io
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.rehearsal import local_broker

from lfr_edge.cli.demo_scene import Footage, rows_of, set_the_scene, write_config
from lfr_edge.cli.main import main
from lfr_edge.cli.run import TUNABLES
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey, VerifyKey
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.order import Order, open_order, sign_order
from lfr_edge.watchlist.package import write_package

PASSWORD = "Pa55word"
MEMBERS = ("order.json", "watchlist.age", "pictures.bin")
NOW = datetime.now(timezone.utc)
HOUR = timedelta(hours=1)


@dataclass
class Bench:
    """A van that would start, and ways to spoil that."""

    folder: Path
    officer: SigningKey

    @property
    def config(self) -> Path:
        return self.folder / "van.toml"

    @property
    def package(self) -> Path:
        return self.folder / "demo.lfrd"

    def configure(self, key: str, value: str) -> None:
        """Another value for one key of the configuration."""
        text, count = re.subn(rf"^{key} = .*$", f"{key} = {value}", self.config.read_text("utf-8"), flags=re.MULTILINE)
        assert count == 1, f"{count} keys {key}"
        self.config.write_text(text, "utf-8")

    def sign_again(self, *signers: SigningKey, **changes: object) -> None:
        """The same package with another order, validly signed: the office would not have made it."""
        with tarfile.open(self.package) as tar:
            order, watchlist, pictures = (tar.extractfile(name).read() for name in MEMBERS)  # type: ignore[union-attr]
        genuine = open_order(order, [VerifyKey.from_file(self.folder / "order.pub")])
        signed = sign_order(Order(**{**dict(genuine), **changes}), signers or [self.officer])
        self.package.unlink()
        write_package(self.package, signed, io.BytesIO(watchlist), io.BytesIO(pictures))

    def spoil(self, offset: int) -> None:
        """Flip one bit of the package."""
        content = bytearray(self.package.read_bytes())
        content[offset] ^= 1
        self.package.write_bytes(content)

    def place_of(self, member: str) -> tuple[int, int]:
        """Offset and length of a member's data."""
        with tarfile.open(self.package) as tar:
            found = tar.getmember(member)
            return found.offset_data, found.size


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, engine_set: EngineSet, engine_store: EngineStore) -> Bench:
    folder = tmp_path_factory.mktemp("bench") / "van"
    folder.mkdir()
    scene = set_the_scene(folder, rows_of(None)[:2], engine_set, engine_store)
    # Port 1 is replaced for each test.
    footage = Footage(f"rtsp://user:{PASSWORD}@127.0.0.1:1/stream", "live", frozenset())
    write_config(scene, footage, local_broker(folder / "broker"), engine_store)
    bench = Bench(folder, SigningKey.generate())
    bench.sign_again()
    (folder / "order.pub").unlink()
    bench.officer.public.to_file(folder / "order.pub")
    return bench


@dataclass
class Outside:
    """What a daemon that starts would connect to."""

    camera: socket.socket
    broker: socket.socket

    def was_left_alone(self) -> bool:
        for listening in (self.camera, self.broker):
            listening.setblocking(False)
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                continue
            return False
        return True


@pytest.fixture
def outside() -> Iterator[Outside]:
    with socket.create_server(("127.0.0.1", 0)) as camera, socket.create_server(("127.0.0.1", 0)) as broker:
        yield Outside(camera, broker)


@pytest.fixture
def bench(tmp_path: Path, original: Bench, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> Bench:
    folder = tmp_path / "van"
    shutil.copytree(original.folder, folder)
    copy = Bench(folder, original.officer)
    camera, broker = (listening.getsockname()[1] for listening in (outside.camera, outside.broker))
    copy.configure("source", f'"rtsp://user:{PASSWORD}@127.0.0.1:{camera}/stream"')
    copy.configure("port", str(broker))
    monkeypatch.setenv("GLIBC_TUNABLES", TUNABLES)  # else `run` would start this process again
    return copy


Refusal = Callable[[], str]


@pytest.fixture
def refusal(bench: Bench, outside: Outside, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run the command: it must refuse, in one message, and leave everything as it was. Returns the message."""

    def refuse() -> str:
        before = sorted(bench.folder.rglob("*"))
        status = main(["run", "--config", str(bench.config), "--package", str(bench.package)])
        shown = capsys.readouterr()
        assert (status, shown.out) == (2, "")
        lines = shown.err.splitlines()
        assert len(lines) == 2, shown.err
        assert lines[0].startswith("lfr-edge: ")
        assert lines[1].startswith("  fix: ")
        assert PASSWORD not in shown.err
        assert sorted(bench.folder.rglob("*")) == before
        assert outside.was_left_alone()
        return shown.err

    return refuse


def test_a_wrong_deployment_key(bench: Bench, refusal: Refusal) -> None:
    (bench.folder / "deployment.age").unlink()
    SealIdentity.generate().to_file(bench.folder / "deployment.age")
    assert "the list of order 'demo-deployment' was sealed to another deployment key" in refusal()


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("member", MEMBERS)
def test_a_flipped_bit_in_a_member(bench: Bench, refusal: Refusal, member: str, place: str) -> None:
    start, length = bench.place_of(member)
    bench.spoil(start + {"first": 0, "middle": length // 2, "last": length - 1}[place])
    message = refusal()
    if member != "order.json":
        assert f"{member} is not the one that order 'demo-deployment' was signed for" in message


@pytest.mark.parametrize("member", MEMBERS)
def test_a_flipped_bit_in_a_members_header(bench: Bench, refusal: Refusal, member: str) -> None:
    bench.spoil(bench.place_of(member)[0] - 512 + 100)
    assert "the deployment package is damaged" in refusal()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_package(bench: Bench, refusal: Refusal, share: float) -> None:
    content = bench.package.read_bytes()
    bench.package.write_bytes(content[: int(len(content) * share)])
    assert "the deployment package is damaged: it ends" in refusal().replace("its end is missing", "it ends")


def test_something_else_than_a_package(bench: Bench, refusal: Refusal) -> None:
    shutil.copy(Path(__file__), bench.package)
    assert "the deployment package is damaged" in refusal()


def test_an_order_signed_by_somebody_unknown(bench: Bench, refusal: Refusal) -> None:
    bench.sign_again(SigningKey.generate())
    assert "sign" in refusal()


def test_an_order_with_too_few_signatures(bench: Bench, refusal: Refusal) -> None:
    bench.configure("trusted_order_signers", '["order.pub"]\norder_signatures = 2')
    assert "sign" in refusal()


def test_a_list_of_another_contract(bench: Bench, refusal: Refusal) -> None:
    bench.configure("set", '"centerface-dlib29"')
    assert "made under another contract than that of 'centerface-dlib29'" in refusal()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"engine_sets": ("0" * 64,)}, "does not allow this release of the engine set 'yunet-mobilefacenet'"),
        ({"threshold": 0.3}, "asks for the threshold 0.3, below the floor"),
        ({"not_before": NOW + HOUR, "not_after": NOW + 2 * HOUR}, "and it is "),
        ({"not_before": NOW - 2 * HOUR, "not_after": NOW - HOUR}, "and it is "),
        ({"force": "elsewhere"}, "is not for van 'van-1' of force 'demo'"),
    ],
    ids=["engine set", "threshold", "early", "late", "force"],
)
def test_an_order_that_does_not_allow_it(bench: Bench, refusal: Refusal, changes: dict[str, object], what: str) -> None:
    bench.sign_again(**changes)
    message = refusal()
    assert "order 'demo-deployment'" in message
    assert what in message


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("van", '"van-2"', "is not for van 'van-2'"),
        ("id", '"yard"', "does not allow the camera(s) yard"),
        ("demo_orders", "false", "order 'demo-deployment' is a demo"),
    ],
)
def test_a_van_that_the_order_does_not_mean(bench: Bench, refusal: Refusal, key: str, value: str, what: str) -> None:
    bench.configure(key, value)
    assert what in refusal()


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("port", '"8883"', "van.toml: broker.port: "),
        ("pace", '"slow"', "van.toml: cameras.0.pace: "),
        ("threads", "2\nthreshold = 0.1", "van.toml: engines.threshold: "),
        ("threads", "two", "van.toml is not TOML: "),
        ("set", '"nobody-s"', "no engine set 'nobody-s' in "),
    ],
)
def test_a_mistake_in_the_configuration(bench: Bench, refusal: Refusal, key: str, value: str, what: str) -> None:
    bench.configure(key, value)
    assert what in refusal()


@pytest.mark.parametrize("name", ["van.toml", "demo.lfrd", "alert.key", "deployment.age", "order.pub"])
def test_a_missing_file(bench: Bench, refusal: Refusal, name: str) -> None:
    (bench.folder / name).unlink()
    assert str(bench.folder / name) in refusal()


@pytest.mark.parametrize("name", ["alert.key", "deployment.age", "order.pub"])
def test_a_key_file_that_holds_no_key(bench: Bench, refusal: Refusal, name: str) -> None:
    (bench.folder / name).write_text("no key\n")
    assert str(bench.folder / name) in refusal()


def test_a_missing_engine_store(bench: Bench, refusal: Refusal) -> None:
    bench.configure("store", '"nowhere"')
    message = refusal()
    assert f"is not in {bench.folder / 'nowhere'}" in message
    assert "engines fetch" in message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"This is no film.\n" * 100, "street.mp4 is not a video or picture"),
        (b"", "street.mp4 is empty"),
        (None, "there is no file"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(5000), "street.mp4 is not a video or picture"),
    ],
    ids=["text", "empty", "missing", "broken"],
)
def test_a_video_that_is_none(bench: Bench, refusal: Refusal, content: bytes | None, what: str) -> None:
    if content is not None:
        (bench.folder / "street.mp4").write_bytes(content)
    bench.configure("source", '"street.mp4"')
    assert what in refusal()


def test_a_folder_without_pictures(bench: Bench, refusal: Refusal) -> None:
    (bench.folder / "pictures").mkdir()
    bench.configure("source", '"pictures"')
    assert "pictures holds no pictures" in refusal()


def test_a_state_folder_that_is_a_file(bench: Bench, refusal: Refusal) -> None:
    (bench.folder / "state").write_text("in the way")
    assert f"the outbox in {bench.folder / 'state'} cannot be used" in refusal()


def test_an_outbox_that_is_damaged(bench: Bench, refusal: Refusal) -> None:
    (bench.folder / "state").mkdir()
    (bench.folder / "state" / "outbox.sqlite").write_bytes(b"no database" * 1000)
    assert "not a database" in refusal()


@pytest.mark.parametrize("key", ["ca", "certificate", "key"])
def test_a_missing_tls_file(bench: Bench, refusal: Refusal, key: str) -> None:
    (bench.folder / "state").mkdir()
    (bench.folder / "state" / "outbox.sqlite").touch()  # the start is counted there before the bus is set up
    bench.configure(key, '"absent.pem"')
    assert f"{bench.folder / 'absent.pem'} cannot be read" in refusal()


def test_the_command_itself_ends_with_status_2_and_one_message(bench: Bench, outside: Outside) -> None:
    bench.sign_again(not_before=NOW - 2 * HOUR, not_after=NOW - HOUR)
    command = [sys.executable, "-m", "lfr_edge.cli.main", "run", "--config", bench.config, "--package", bench.package]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"lfr-edge: order 'demo-deployment' runs from .*\n  fix: .*\n", ended.stderr)
    assert outside.was_left_alone()
    assert not (bench.folder / "state").exists()


def test_what_was_not_spoilt_starts(bench: Bench, outside: Outside) -> None:
    command = [sys.executable, "-m", "lfr_edge.cli.main", "run", "--config", bench.config, "--package", bench.package]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        outside.camera.settimeout(30)
        outside.camera.accept()[0].close()
        process.kill()
    assert (bench.folder / "state" / "outbox.sqlite").exists()
