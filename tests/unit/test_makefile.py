"""What `make demo` hands on to the command."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ODD = """it's "one"; $HOME `x` $(x) 50%\\ é.mp4"""


def handed_on(tmp_path: Path, *variables: str, **environment: str) -> list[str]:
    """The arguments that the command gets; the set-up is left out."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    command = tmp_path / "bin" / "lfr-edge"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n", "utf-8")
    command.chmod(0o755)
    make = ["make", "-s", "-o", "setup", "demo", f"VENV={tmp_path}", *variables]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        make, cwd=REPOSITORY, env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["CLIP", "PHOTOS", "CAMERA", "ENGINE_SET"])
def test_a_name_is_handed_on_as_it_was_typed(tmp_path: Path, name: str) -> None:
    option = f"--{name.lower().replace('_', '-')}={ODD}"
    assert handed_on(tmp_path, f"{name}={ODD}") == ["demo", option]
    shutil.rmtree(tmp_path / "bin")
    assert handed_on(tmp_path, **{name: ODD}) == ["demo", option]


def test_what_is_not_given_is_not_handed_on(tmp_path: Path) -> None:
    assert handed_on(tmp_path) == ["demo"]
    shutil.rmtree(tmp_path / "bin")
    assert handed_on(tmp_path, "ONCE=1", "FULL_SPEED=1") == ["demo", "--once", "--full-speed"]
