"""What an installation has that is not a checkout: the engine sets, but no footage."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lfr_edge.inference.manifest import engine_set_names

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content; built of a copy, so that no build folder appears in the checkout."""
    pytest.importorskip("setuptools", reason="builds a wheel")
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("lfr_edge", "engines"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def lfr_edge(installed: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command of the wheel, not of the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "lfr_edge.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_an_installed_package_has_every_engine_set(installed: Path, tmp_path: Path) -> None:
    listed = lfr_edge(installed, tmp_path, "engines", "list", "--store", "store")
    assert listed.returncode == 0, listed.stderr
    named = [line.partition(":")[0] for line in listed.stdout.splitlines() if not line.startswith(" ")]
    assert named == list(engine_set_names())
    assert (installed / "lfr_edge" / "engines").is_dir()


def test_the_demo_without_a_checkout_says_that_it_needs_one(installed: Path, tmp_path: Path) -> None:
    ended = lfr_edge(installed, tmp_path, "demo", "--once")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "the demo's own clip and photos are not here" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.rglob("*.onnx")) == [], "said before anything is fetched"


@pytest.mark.parametrize("action", [["list"], ["fetch", "yunet-duo"], ["verify", "yunet-duo"]])
@pytest.mark.parametrize("name", ["empty", "missing", "n" * 300])
def test_a_folder_without_engine_sets_is_one_clear_error(
    installed: Path, tmp_path: Path, action: list[str], name: str
) -> None:
    (tmp_path / "empty").mkdir()
    ended = lfr_edge(installed, tmp_path, "engines", *action, "--manifests", name)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"there are no engine sets in {name}" in ended.stderr
    assert ended.stderr.count("\n") == 2
