"""`keygen` of office and control room writes all of its files or none, and nobody else can read the private ones."""

from pathlib import Path

import pytest

from lfr_edge.cli.main import main

# Locking with a passphrase is the office's own business.
KEYGEN = {
    "office": ["office", "keygen", "--no-passphrase"],
    "control-room": ["control-room", "keygen"],
}
ROLES = {
    "office": {"order.key", "order.pub"},
    "control-room": {"control-room.key", "control-room.recipient"},
}


@pytest.mark.parametrize("role", ROLES)
def test_keys_are_made_and_private(role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*KEYGEN[role], "--out", str(tmp_path / "keys")]) == 0
    made = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
    assert set(made) == ROLES[role]
    assert all(mode == (0o644 if name.endswith((".pub", ".recipient")) else 0o600) for name, mode in made.items())
    assert "PRIVATE" not in capsys.readouterr().out


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_overwritten_or_half_written(role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = max(ROLES[role])
    (tmp_path / last).write_text("mine")
    assert main([*KEYGEN[role], "--out", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == [last]
    assert (tmp_path / last).read_text() == "mine"
    assert f"{last} exists already" in capsys.readouterr().err
