"""Folders that a user may not enter, and names that no file system takes: one clear error from every command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lfr_edge.cli.main import main

LOGGED = ["--office", "office/office.toml", "--by", "J. Clerk", "--why", "test"]
ENROL = ["office", "enrol", *LOGGED, "--photos", ".", "--list", "list.csv", "--engine-set", "yunet-duo"]
COMMANDS = {
    "office enrol --out": ENROL,
    "office enrol --report": [*ENROL, "--out", "work"],
    "office setup --out": ["office", "setup", "--force", "example", "--no-passphrase"],
    "office keygen --out": ["office", "keygen", "--no-passphrase"],
    "provision --out": ["provision", "--identity-only"],
    "control-room keygen --out": ["control-room", "keygen"],
    "demo --photos": ["demo", "--once", "--page", "alerts.html", "--store", "store"],
    "engines list --manifests": ["engines", "list"],
}
# Root may enter everything, unless it gives up what lets it.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """Where the commands run: an office, a list, and a folder that nobody may enter."""
    assert main([*COMMANDS["office setup --out"], "--out", str(tmp_path / "office")]) == 0
    (tmp_path / "list.csv").write_text("id,photo,category,response,legal_basis,source,captured\n", "utf-8")
    (tmp_path / "locked").mkdir(mode=0)
    yield tmp_path
    (tmp_path / "locked").chmod(0o700)


def complaint(desk: Path, arguments: list[str], *, prefix: list[str]) -> str:
    """What the command says; it fails with one message and its fix, and makes nothing."""
    before = set(desk.iterdir()) | {desk / "alerts.html"}
    command = [*prefix, sys.executable, "-m", "lfr_edge.cli.main", *arguments]
    ended = subprocess.run(command, cwd=desk, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") == 2, ended.stderr
    assert set(desk.iterdir()) <= before
    return ended.stderr


@pytest.mark.parametrize("option", COMMANDS)
def test_a_locked_folder_is_one_clear_error(desk: Path, option: str) -> None:
    if AS_ANYBODY and shutil.which("setpriv") is None:
        pytest.skip("root may enter every folder, and there is no setpriv to give that up")
    arguments = [*COMMANDS[option], option.rsplit(maxsplit=1)[-1], "locked/inner"]
    assert "locked/inner" in complaint(desk, arguments, prefix=AS_ANYBODY)


@pytest.mark.parametrize("option", COMMANDS)
def test_a_name_that_is_too_long_is_one_clear_error(desk: Path, option: str) -> None:
    name = "n" * 300
    assert name in complaint(desk, [*COMMANDS[option], option.rsplit(maxsplit=1)[-1], name], prefix=[])


def test_a_folder_that_may_not_be_written_is_said_before_anything_is_enrolled(desk: Path) -> None:
    if AS_ANYBODY and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to give that up")
    (desk / "locked").chmod(0o500)
    said = complaint(desk, [*COMMANDS["office enrol --out"], "--out", "locked/w"], prefix=AS_ANYBODY)
    assert "locked/w cannot be written" in said
