"""An order that asks for a share, with the real daemon and the real command: given, kept, lost, asked for again."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployed_van import CLI, DeployedVan, deployed_van, listening

from lfr_edge.cli.demo_scene import Scene
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import PolicyError, Reason
from lfr_edge.inference.store import EngineStore

ODD_CLOCK_VAN = (sys.executable, str(Path(__file__).parents[1] / "support" / "odd_clock_van.py"))


@pytest.fixture
def van(tmp_path: Path, two_listed: Scene, engine_store: EngineStore) -> Iterator[DeployedVan]:
    with deployed_van(tmp_path / "van", two_listed, engine_store) as made:
        yield made


def load_locked(van: DeployedVan) -> SealIdentity:
    """The van with an order that asks for this share."""
    share = SealIdentity.generate()
    van.seal_to(SealIdentity.from_file(van.folder / "deployment.age").recipient, share)
    van.wait(lambda: van.ask("status").state == "idle")
    assert van.command("load", van.scene.package).startswith("armed, blind: unlock-required\n")
    return share


def type_at_a_terminal(van: DeployedVan, text: str) -> str:
    """Answer the command's question on a terminal of its own; what that showed."""
    person, terminal = pty.openpty()
    command = [*CLI, "deployment", "unlock", "--config", van.folder / "van.toml"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    shown = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([person], [], [], 0.1)[0]:
            try:
                shown += os.read(person, 4096)
            except OSError:  # the other end is closed
                break
            if shown.endswith(b"unlock share: "):
                os.write(person, text.encode() + b"\n")
    os.close(person)
    process.wait(10)
    return shown.decode()


def test_a_share_that_is_typed_is_not_shown_and_opens_the_list_at_once(van: DeployedVan) -> None:
    with listening(van):
        van.start()
        share = load_locked(van)
        van.wait(lambda: van.status and van.status[-1].blind == "unlock-required")
        wrong = share.secret[:-1] + ("Q" if share.secret[-1] != "Q" else "P")
        assert "typing error" in type_at_a_terminal(van, wrong)
        shown = type_at_a_terminal(van, share.secret.lower())
        assert "\narmed\r\n" in shown or "\nlive\r\n" in shown
        for part in (share.secret, share.secret.lower(), share.secret[20:40]):
            assert part not in shown
        van.wait(lambda: " live: order" in van.log)
        van.wait(lambda: van.status[-1].state == "live")
        assert van.ask("stop").state == "ended"
        van.wait(lambda: van.receipts)
        assert van.receipts[0].level == "files-removed", "the lasting key is still there"
        assert "share-elsewhere" in van.receipts[0].unverified
        assert van.end() == 0
    assert share.secret not in van.log
    assert van.events().count("command-received") == 2


@pytest.mark.slow
def test_a_van_that_was_blind_for_a_while_sees_again_without_the_share_and_one_that_died_does_not(
    van: DeployedVan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = tmp_path / "odd"
    clock.write_text("0")
    monkeypatch.setenv("ODD_CLOCK", str(clock))
    van.start(program=ODD_CLOCK_VAN)
    share = load_locked(van)
    (van.folder / "share.txt").write_bytes(share.to_bytes())
    said = van.command("unlock", "--share", van.folder / "share.txt")
    assert said.startswith("this is the order's share\narmed\n")
    van.wait(lambda: van.log.count(" live: order") == 1)
    clock.write_text("-86400")
    doubts = {"clock-behind", "outside-window"}  # on a machine without a time source the window is all that is wrong
    van.wait(lambda: doubts & {*van.ask("status").blind})
    van.wait(lambda: any(f"armed, blind: {doubt}" in van.log for doubt in doubts))
    clock.write_text("0")
    van.wait(lambda: van.log.count(" live: order") == 2)
    assert van.started() == 2, "another program, in the same process"

    for end in (van.kill, van.end):
        end()
        van.start(program=ODD_CLOCK_VAN)
        van.wait(lambda: "unlock-required" in van.ask("status").blind)
        time.sleep(1)
        assert van.ask("status").state == "armed"
        van.command("unlock", "--share", van.folder / "share.txt")
        seen = 3 if end == van.kill else 4
        van.wait(lambda seen=seen: van.log.count(" live: order") == seen)
    assert van.end() == 0


def test_the_share_of_another_order_is_refused_at_the_van(van: DeployedVan) -> None:
    van.start()
    load_locked(van)
    command = [*CLI, "deployment", "unlock", "--share", "-", "--config", van.folder / "van.toml"]
    other = SealIdentity.generate().secret
    refused = subprocess.run(command, input=other, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "this is the share of another order" in refused.stderr
    assert other[20:40] not in refused.stderr + refused.stdout + van.log
    with pytest.raises(PolicyError) as again:
        van.ask("unlock")
    assert again.value.reason is Reason.FILE_MISSING
    assert van.end() == 0
