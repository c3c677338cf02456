"""The van's keys are made once; a later run mends what it can, loses nothing, and says what it could not mend."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lfr_edge.cli.main import main
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey, VerifyKey
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.provisioning.identity import KeyPair, provide_signing_key, provide_trial_deployment_key

Provide = Callable[[Path], KeyPair]
BOTH = pytest.mark.parametrize("provide", [provide_signing_key, provide_trial_deployment_key])


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """What is in the folder: bytes and permissions by name."""
    return {path.name: (path.read_bytes(), path.stat().st_mode & 0o777) for path in folder.iterdir()}


@BOTH
def test_a_new_pair_is_made_for_its_owner_only(provide: Provide, tmp_path: Path) -> None:
    pair = provide(tmp_path / "etc" / "keys")
    assert (tmp_path / "etc" / "keys").stat().st_mode & 0o777 == 0o700
    modes = {name: mode for name, (_, mode) in contents(tmp_path / "etc" / "keys").items()}
    assert modes == {pair.private.name: 0o600, pair.public.name: 0o644}
    assert len(pair.changes) == 2


def test_the_halves_belong_together(tmp_path: Path) -> None:
    signing, deployment = provide_signing_key(tmp_path), provide_trial_deployment_key(tmp_path)
    key_id = SigningKey.from_file(signing.private).public.key_id
    assert VerifyKey.from_file(signing.public).key_id == key_id
    recipient = SealIdentity.from_file(deployment.private).recipient
    assert deployment.public.read_text("ascii") == f"{recipient}\n"


@BOTH
def test_another_run_changes_nothing(provide: Provide, tmp_path: Path) -> None:
    provide(tmp_path)
    before = contents(tmp_path)
    assert provide(tmp_path).changes == ()
    assert contents(tmp_path) == before


@BOTH
def test_a_missing_public_half_is_written_again(provide: Provide, tmp_path: Path) -> None:
    pair = provide(tmp_path)
    before = contents(tmp_path)
    pair.public.unlink()
    assert provide(tmp_path).changes == (f"{pair.public}: written from {pair.private.name}",)
    assert contents(tmp_path) == before


@BOTH
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o400, 0o000])
def test_wrong_permissions_are_set_right(provide: Provide, mode: int, tmp_path: Path) -> None:
    pair = provide(tmp_path)
    before = contents(tmp_path)
    pair.private.chmod(mode)
    pair.public.chmod(0o666)
    private, public = provide(tmp_path).changes
    assert f"mode {mode:04o} set to 0600" in private
    assert ("others could read it" in private) == (mode in {0o644, 0o660})
    assert public == f"{pair.public}: mode 0666 set to 0644"
    assert contents(tmp_path) == before


def refused(provide: Provide, folder: Path) -> ConfigError:
    """The refusal; no byte of any file has changed."""
    before = {name: content for name, (content, _) in contents(folder).items()}
    with pytest.raises(ConfigError) as refusal:
        provide(folder)
    assert {name: content for name, (content, _) in contents(folder).items()} == before
    return refusal.value


@BOTH
@pytest.mark.parametrize("content", [b"", b"rubbish", bytes(70_000)], ids=["empty", "rubbish", "long"])
def test_a_damaged_private_half_is_refused_with_the_fix(provide: Provide, content: bytes, tmp_path: Path) -> None:
    pair = provide(tmp_path)
    pair.private.write_bytes(content)
    refusal = refused(provide, tmp_path)
    assert refusal.reason is Reason.FILE_MALFORMED
    assert f"{pair.private} is damaged" in refusal.message
    assert f"move it and {pair.public.name} away" in refusal.fix
    pair.public.unlink()
    refused(provide, tmp_path)


@BOTH
def test_a_private_half_that_was_cut_off_is_refused(provide: Provide, tmp_path: Path) -> None:
    pair = provide(tmp_path)
    pair.private.write_bytes(pair.private.read_bytes()[:-20])
    assert refused(provide, tmp_path).reason is Reason.FILE_MALFORMED


@BOTH
def test_a_lost_private_half_is_not_replaced(provide: Provide, tmp_path: Path) -> None:
    pair = provide(tmp_path)
    pair.private.unlink()
    refusal = refused(provide, tmp_path)
    assert refusal.reason is Reason.FILE_MISSING
    assert f"{pair.private} is missing, but {pair.public.name} is there" in refusal.message


@BOTH
def test_a_public_half_of_another_key_is_not_replaced(provide: Provide, tmp_path: Path) -> None:
    provide(tmp_path)
    ours = provide(tmp_path / "ours")
    ours.public.write_bytes((tmp_path / ours.public.name).read_bytes())
    refusal = refused(provide, tmp_path / "ours")
    assert f"{ours.public} is not the public half of {ours.private.name}" in refusal.message
    ours.public.unlink()
    assert provide(tmp_path / "ours").changes, "the fix works"


@BOTH
def test_a_folder_in_the_key_s_place_is_refused_as_it_is(provide: Provide, tmp_path: Path) -> None:
    name = provide(tmp_path / "elsewhere").private.name
    (tmp_path / "keys" / name).mkdir(mode=0o755, parents=True)
    with pytest.raises(ConfigError, match="Is a directory"):
        provide(tmp_path / "keys")
    assert (tmp_path / "keys" / name).stat().st_mode & 0o777 == 0o755


def test_the_command_makes_the_signing_key_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["provision", "--identity-only", "--out", str(tmp_path)]
    assert main(command) == 0
    assert set(contents(tmp_path)) == {"alert.key", "alert.pub"}
    assert "alert.key: made" in capsys.readouterr().out
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "alert.key, alert.pub: there, and as they should be" in shown
    assert "PRIVATE" not in shown


def test_a_lasting_deployment_key_is_made_only_when_asked_for(tmp_path: Path) -> None:
    command = ["provision", "--identity-only", "--out", str(tmp_path)]
    assert main(command) == 0
    before = contents(tmp_path)
    assert main([*command, "--trial-deployment-key"]) == 0
    after = contents(tmp_path)
    assert set(after) - set(before) == {"deployment.age", "deployment.recipient"}
    assert before.items() <= after.items()


def test_the_whole_of_provisioning_is_said_not_to_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provision", "--out", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []
    assert "--identity-only" in capsys.readouterr().err
