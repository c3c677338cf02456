"""What `deploy/setup.sh` does about system packages that are missing; apt is never asked here."""

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SAYS = {"python": "Python 3.11.0", "mosquitto": "", "strace": "", "id": "1000"}


def set_up(folder: Path, *, without: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run it as a user who is not root and has no sudo, on a machine with everything but age, and `without`."""
    commands, venv = folder / "commands", folder / "venv"
    (venv / "bin").mkdir(parents=True)
    commands.mkdir()
    for name, says in {**SAYS, "../venv/bin/pip": ""}.items():
        if name != without:
            (commands / name).write_text(f"#!/bin/sh\necho '{says}'\n", "utf-8")
            (commands / name).chmod(0o755)
    for name in ("sh", "cat", "cut", "sha256sum"):
        (commands / name).symlink_to(str(shutil.which(name)))
    there = {"PATH": str(commands), "PYTHON": "python", "VENV": str(venv), **environment}
    command = [str(shutil.which("sh")), "deploy/setup.sh"]
    return subprocess.run(command, cwd=REPOSITORY, env=there, capture_output=True, text=True, check=False)


def test_what_only_tests_need_is_not_asked_for_otherwise(tmp_path: Path) -> None:
    done = set_up(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "age" not in done.stderr.split()


def test_what_only_tests_need_holds_nobody_up_who_may_not_install_it(tmp_path: Path) -> None:
    done = set_up(tmp_path, TESTS="1")
    assert done.returncode == 0, done.stderr
    assert "some tests will be skipped. For them:  sudo apt-get install age\n" in done.stderr
    assert (tmp_path / "venv" / ".made-from").exists()


def test_without_what_everything_needs_nothing_is_made_and_one_command_is_named(tmp_path: Path) -> None:
    done = set_up(tmp_path, without="python", TESTS="1")
    assert done.returncode == 2
    assert done.stderr.endswith("Run:  sudo apt-get install python3 python3-venv age\n")
    assert not (tmp_path / "venv" / ".made-from").exists()
