"""The van's configuration: the documented example loads, the document says what the models say, mistakes are named."""

import hashlib
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from lfr_edge.config import BrokerConfig, CameraConfig, EnginesConfig, KeysConfig, VanConfig, load_config
from lfr_edge.errors import ConfigError, Reason

DOCUMENT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
SECTIONS = {
    "The van": VanConfig,
    "`[keys]`": KeysConfig,
    "`[engines]`": EnginesConfig,
    "`[broker]`": BrokerConfig,
    "`[[cameras]]`": CameraConfig,
}
TABLES = {"keys", "engines", "broker", "cameras"}
PASSWORD = "Pa55word"


def write(folder: Path, text: str) -> Path:
    path = folder / "van.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return caught.value


def changed(old: str, new: str) -> str:
    assert EXAMPLE.count(old) == 1, f"the documented example no longer has exactly one {old!r}"
    return EXAMPLE.replace(old, new)


def test_the_documented_example_loads_with_the_documented_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLE)
    config, sha256 = load_config(path)
    assert (config.van, config.force, config.memory_mib, config.demo_orders) == ("van-1", "example", 192, False)
    assert (config.keys.order_signatures, config.broker.port, config.engines.threads) == (1, 8883, 2)
    assert [(camera.id, camera.pace) for camera in config.cameras] == [("north", "live"), ("south", "live")]
    assert [camera.minimum_inter_eye_px for camera in config.cameras] == [24.0, 20.0]
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("heading", "model"), SECTIONS.items(), ids=SECTIONS)
def test_every_key_is_documented_with_its_default(heading: str, model: type[BaseModel]) -> None:
    section = DOCUMENT.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (?:`([^`]*)` )?\|", section, re.MULTILINE)
    documented = {key: default.strip('"') for key, default in rows}
    assert documented == {
        name: ""
        if field.is_required()
        else str(field.default).replace("False", "false").replace("()", "[]").replace("None", "none")
        for name, field in model.model_fields.items()
        if name not in TABLES
    }


def test_relative_paths_count_from_the_files_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = write(tmp_path, changed('source = "/dev/video0"', 'source = "clips/street.mp4"'))
    monkeypatch.chdir(elsewhere)
    config, _ = load_config(Path("..") / path.name)
    assert config.keys.alert == tmp_path / "keys" / "alert.key"
    assert config.keys.trusted_order_signers == (tmp_path / "keys" / "order.pub",)
    assert config.broker.ca == tmp_path / "tls" / "ca.pem"
    assert config.state == Path("/var/lib/lfr-edge")
    assert config.cameras[0].source.startswith("rtsp://")
    assert config.cameras[1].source == str(tmp_path / "clips" / "street.mp4")


def test_an_absolute_source_stays_as_it_is(tmp_path: Path) -> None:
    config, _ = load_config(write(tmp_path, EXAMPLE))
    assert config.cameras[1].source == "/dev/video0"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path / "van.toml")
    assert error.reason is Reason.FILE_MISSING
    assert str(tmp_path / "van.toml") in error.message
    assert "--config" in error.fix


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    assert refusal(tmp_path).reason is Reason.FILE_MISSING


@pytest.mark.parametrize(
    "content", [b"van = van-1\n", b'van = "van-1\n', b"\xff\xfe\x00", b"[keys", b'van = "a"\nvan = "b"']
)
def test_what_is_not_toml_is_malformed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "van.toml"
    path.write_bytes(content)
    error = refusal(path)
    assert error.reason is Reason.FILE_MALFORMED
    assert str(path) in error.message


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        # unknown and missing keys
        ('van = "van-1"', 'van = "van-1"\nthreshold = 0.4', "threshold"),
        ('alert = "keys/alert.key"', 'alrt = "keys/alert.key"', "keys.alert"),
        ("minimum_inter_eye_px = 24", "minimum_face_px = 24", "cameras.0.minimum_face_px"),
        # wrong types: nothing is converted
        ("memory_mib = 192", 'memory_mib = "192"', "memory_mib"),
        ("memory_mib = 192", "memory_mib = 192.5", "memory_mib"),
        ("memory_mib = 192", "demo_orders = 1", "demo_orders"),
        (
            'trusted_order_signers = ["keys/order.pub"]',
            'trusted_order_signers = "keys/order.pub"',
            "trusted_order_signers",
        ),
        ('host = "broker.example"', "host = 1883", "broker.host"),
        # values out of range
        ("memory_mib = 192", "memory_mib = 16", "memory_mib"),
        ("minimum_inter_eye_px = 24", "minimum_inter_eye_px = 4", "cameras.0.minimum_inter_eye_px"),
        ("minimum_inter_eye_px = 24", "rotation = 45", "cameras.0.rotation"),
        ("zone = [[0.1, 0.0], [0.9, 0.0],", "zone = [", "cameras.0.zone"),
        ("zone = [[0.1, 0.0], [0.9,", "zone = [[0.1, 0.0], [90,", "cameras.0.zone.1.0"),
        ("minimum_inter_eye_px = 24", "minimum_inter_eye_px = nan", "cameras.0.minimum_inter_eye_px"),
        ('host = "broker.example"', 'host = ""', "broker.host"),
        ('host = "broker.example"', 'host = "b"\nport = 65536', "broker.port"),
        ('trusted_order_signers = ["keys/order.pub"]', "trusted_order_signers = []", "trusted_order_signers"),
        ('van = "van-1"', 'van = "Van 1"', "van"),
        ('set = "yunet-mobilefacenet"', 'set = "../elsewhere"', "engines.set"),
        ('set = "yunet-mobilefacenet"', 'set = "a"\nbackend = "cpu"', "engines.backend"),
        ('id = "south"', 'id = "south"\npace = "fast"', "cameras.1.pace"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, old: str, new: str, key: str) -> None:
    error = refusal(write(tmp_path, changed(old, new)))
    assert error.reason is Reason.VALUE_INVALID
    assert re.search(rf": (\w+\.)*{re.escape(key)}: ", error.message), error.message
    assert "docs/configuration.md" in error.fix


LONG = "k" * 6000


@pytest.mark.parametrize(
    ("more", "said"), [(f"{LONG} = 1\n", "not permitted"), (f"[{LONG}]\n[{LONG}]\n", "is not TOML: Cannot declare")]
)
def test_a_refusal_quotes_as_much_as_a_person_reads(tmp_path: Path, more: str, said: str) -> None:
    error = refusal(write(tmp_path, more + EXAMPLE))
    assert said in error.message
    assert 1000 < len(error.message) < 1000 + len(str(tmp_path)) + 100


def test_two_cameras_of_one_id_are_refused(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, changed('id = "south"', 'id = "north"')))
    assert error.reason is Reason.VALUE_INVALID
    assert "used twice: north" in error.message


def test_a_van_without_cameras_is_refused(tmp_path: Path) -> None:
    without = EXAMPLE.split("[[cameras]]", maxsplit=1)[0]
    assert "cameras" in refusal(write(tmp_path, without)).message


@pytest.mark.parametrize(
    "camera",
    [
        f'source = ["rtsp://user:{PASSWORD}@192.0.2.10/"]',
        f'source = "rtsp://user:{PASSWORD}@192.0.2.10/',
        f'source = "rtsp://user:{PASSWORD}\\q@192.0.2.10/"',
        f'source = "rtsp://user:{PASSWORD}@192.0.2.10/"\nsauce = "rtsp://user:{PASSWORD}@192.0.2.10/"',
        f'source = "rtsp://user:{PASSWORD}@192.0.2.10/"\npace = "rtsp://user:{PASSWORD}@192.0.2.10/"',
        f'source = "rtsp://user:{PASSWORD}@192.0.2.10/"\nsource = "rtsp://user:{PASSWORD}@192.0.2.10/"',
        f"source = rtsp://user:{PASSWORD}@192.0.2.10/",
    ],
)
def test_a_cameras_password_is_never_in_an_error(tmp_path: Path, camera: str) -> None:
    error = refusal(write(tmp_path, changed('source = "/dev/video0"', camera)))
    shown = error
    while shown is not None:
        assert PASSWORD not in str(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


@pytest.mark.parametrize("wrong", ["cameras are not a table", "[[cameras]]\nid = 3"])
def test_any_structure_is_refused_with_our_error(tmp_path: Path, wrong: str) -> None:
    without = EXAMPLE.split("[[cameras]]", maxsplit=1)[0]
    text = f"{without}{wrong}\n" if wrong.startswith("[") else f'cameras = "{wrong}"\n{without}'
    assert refusal(write(tmp_path, text)).reason is Reason.VALUE_INVALID
