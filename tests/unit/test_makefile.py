"""What `make demo` hands on to the command."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ODD = """it's "one"; $HOME `x` $(x) 50%\\ é.mp4"""


def handed_on(tmp_path: Path, *variables: str, target: str = "demo", **environment: str) -> list[str]:
    """The arguments that the commands of a target get; the set-up is left out."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    (tmp_path / "bin").mkdir()
    for name in ("lfr-edge", "python"):
        command = tmp_path / "bin" / name
        command.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n", "utf-8")
        command.chmod(0o755)
    make = ["make", "-s", "-o", "setup", target, f"VENV={tmp_path}", *variables]
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


def test_bench_measures_the_sets_that_were_asked_for_beside_the_checkout_that_was_named(tmp_path: Path) -> None:
    said = handed_on(tmp_path, "-o", "setup-bench", "SETS=one two", "LONG=1", f"BESIDE={ODD}", target="bench")
    assert [said[place + 1] for place, word in enumerate(said) if word == "--engine-set"] == ["one", "two"]
    assert said.count("--long") == said.count(f"--beside={ODD}") == 2


def test_bench_measures_the_default_set_and_nothing_else_beside_the_others(tmp_path: Path) -> None:
    said = handed_on(tmp_path, "-o", "setup-bench", target="bench")
    assert [said[place + 1] for place, word in enumerate(said) if word == "--engine-set"] == ["yunet-mobilefacenet"]
    assert "--long" not in said
    assert not any(word.startswith("--beside") for word in said)


def test_fuzzing_without_atheris_is_skipped_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, does in {"python": "echo Python 9.9", "pip": "echo 'no such wheel'; exit 1"}.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/sh\n{does}\n", "utf-8")
        command.chmod(0o755)
    make = ["make", "-s", "-o", "setup", "fuzz", f"VENV={tmp_path}", f"FUZZ_PACKAGES={tmp_path / 'packages'}"]
    done = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stderr == "fuzz: skipped, atheris cannot be installed here: no such wheel\n"
    assert done.stdout == ""
    assert not (tmp_path / "packages").exists()
