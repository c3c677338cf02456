"""Keys of officers: made once, locked, never overwritten."""

import subprocess
import sys
from pathlib import Path

import pytest

from lfr_edge.cli.main import main
from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify


def test_keygen_makes_a_pair_of_which_the_private_half_is_the_owners(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    assert main(["office", "keygen", "--no-passphrase", "--out", str(folder)]) == 0
    assert (folder / "order.key").stat().st_mode & 0o777 == 0o600
    envelope = sign(b"{}", Purpose.ORDER, [SigningKey.from_file(folder / "order.key")])
    assert verify(envelope, Purpose.ORDER, [VerifyKey.from_file(folder / "order.pub")]) == b"{}"


def test_keygen_locks_the_key_with_a_passphrase_that_is_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    answers = iter(
        ["short", "correct horse battery", "correct horse", "correct horse battery", "correct horse battery"]
    )
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    command = ["office", "keygen", "--out", str(tmp_path / "keys")]
    assert main(command) == 2
    assert "too short" in capsys.readouterr().err
    assert main(command) == 2
    assert "differ" in capsys.readouterr().err
    assert not list((tmp_path / "keys").glob("*"))
    assert main(command) == 0
    key = SigningKey.from_file(tmp_path / "keys" / "order.key", lambda _: "correct horse battery")
    assert key.public.key_id == VerifyKey.from_file(tmp_path / "keys" / "order.pub").key_id


@pytest.mark.parametrize("action", [["keygen"], ["setup", "--force", "example"]], ids=lambda action: action[0])
def test_without_a_terminal_a_passphrase_is_one_clear_error_and_nothing_is_left(
    tmp_path: Path, action: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lfr_edge.cli.main", "office", *action, "--out", str(tmp_path / "new" / "keys")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no terminal to ask on" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_there_stays_when_nothing_is_made_in_it(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    assert main(["office", "keygen", "--out", str(tmp_path / "keys" / "new")]) == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["keys"]


@pytest.mark.parametrize("survivor", ["order.key", "order.pub"])
def test_keygen_never_overwrites_either_half(tmp_path: Path, capsys: pytest.CaptureFixture[str], survivor: str) -> None:
    (tmp_path / survivor).write_text("precious", "utf-8")
    assert main(["office", "keygen", "--no-passphrase", "--out", str(tmp_path)]) == 2
    assert f"{survivor} exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [survivor]
    assert (tmp_path / survivor).read_text("utf-8") == "precious"


def test_keygen_into_a_file_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    assert main(["office", "keygen", "--no-passphrase", "--out", str(tmp_path / "file")]) == 2
    assert "cannot be made" in capsys.readouterr().err
