"""A deployment's life with the real daemon: loaded, live, stopped, erased; killed and started again."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.deployed_van import CLI, deployed_van, listening
from support.deployed_van import DeployedVan as Van
from support.rehearsal import photo_clip

from lfr_edge.audit.events import AlertSent
from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.cli.demo_scene import CONTROL_ROOM, Scene
from lfr_edge.cli.run import TUNABLES
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import LfrEdgeError, Reason
from lfr_edge.inference.store import EngineStore
from lfr_edge.messages.prekey import open_prekeys


@pytest.fixture
def van(tmp_path: Path, two_listed: Scene, engine_store: EngineStore) -> Iterator[Van]:
    with deployed_van(tmp_path / "van", two_listed, engine_store) as made:
        yield made


def assert_witnessed(van: Van) -> None:
    """Every state was said with a checkpoint of the log as it is, and the last one covers all but the very end."""
    said = [status.checkpoint for status in van.status if status.checkpoint is not None]
    assert len(said) >= len([status for status in van.status if status.state != "offline"])
    verify_log(van.state / "audit.log", van.scene.van_key.public, [note.encode() for note in said])
    covered = int(said[-1].splitlines()[1])  # a van that leaves in good order says it once more
    assert van.events()[covered:] == ["stopped"]


def test_loaded_live_stopped_and_erased_in_seconds(van: Van) -> None:
    with listening(van):
        van.start()
        van.wait(lambda: van.status and van.status[-1].blind == "no-order")
        assert van.command("status").startswith("idle, blind: no-order\n")
        assert van.process is not None
        environment = Path(f"/proc/{van.process.pid}/environ").read_bytes()
        assert all(one.encode() in environment for one in TUNABLES.split(":")), "it has started itself again with them"

        van.command("prekeys", "--count", "1", "--out", van.folder / "prekeys.json")
        stock = van.ask("status").prekeys
        for bad in (van.folder / "prekeys.json", van.folder / "no folder" / "prekeys.json"):
            with pytest.raises(subprocess.CalledProcessError):
                van.command("prekeys", "--count", "1", "--out", bad)
        assert van.ask("status").prekeys == stock, "refused before any key was made"
        office = open_prekeys((van.folder / "prekeys.json").read_bytes(), van.scene.van_key.public)
        van.seal_to(office.prekeys[0].recipient)
        (van.folder / "deployment.age").unlink()

        started = time.monotonic()
        assert van.ask("load", van.scene.package).order == "demo-deployment"
        van.wait(lambda: " live: order demo-deployment" in van.log)
        to_live_s = time.monotonic() - started
        van.wait(lambda: any(status.state == "live" for status in van.status))

        started = time.monotonic()
        assert van.ask("stop").state == "ended"
        to_blind_s = time.monotonic() - started
        assert to_live_s < 2, "measured: 0.8 s"
        assert to_blind_s < 1, "measured: 0.2 s"
        van.wait(lambda: van.receipts and van.status[-1].state == "ended")
        assert (van.receipts[0].cause, van.receipts[0].level) == ("stop", "key-destroyed")
        assert list((van.state / "deployment").iterdir()) == list((van.state / "prekeys").iterdir()) == []
        with pytest.raises(LfrEdgeError) as refused:
            van.ask("load", van.scene.package)
        assert refused.value.reason is Reason.ORDER_ENDED
        assert van.command("stop").startswith("ended"), "again, and nothing happens"
        assert van.end() == 0
    assert "Traceback" not in van.log
    kinds = van.events()
    assert_witnessed(van)
    for kind in ("prekeys-made", "deployment-loaded", "period-began", "period-ended", "deployment-erased"):
        assert kinds.count(kind) == 1, kinds
    assert kinds[-1] == "stopped"


def test_a_van_killed_while_live_is_live_again_and_one_killed_after_its_end_is_not(van: Van) -> None:
    van.start()
    van.wait(lambda: van.ask("status").state == "idle")
    van.ask("load", van.scene.package)
    van.wait(lambda: van.log.count(" live: order") == 1)
    van.kill()
    van.start()
    van.wait(lambda: van.log.count(" live: order") == 2)
    van.ask("stop")
    van.kill()
    van.start()
    van.wait(lambda: van.ask("status").erased)
    assert van.end() == 0
    kinds = van.events()
    assert kinds.count("period-began") == kinds.count("period-ended") == 2
    assert kinds.count("deployment-loaded") == 1
    assert "deployment-erased" in kinds


def test_a_restart_keeps_the_deployment_and_revoking_deletes_what_was_not_delivered(van: Van, tmp_path: Path) -> None:
    van.point_at(str(photo_clip(tmp_path / "street.mp4", {"P25": (0.5, 59.0)}, 60)))
    van.start()
    van.wait(lambda: van.ask("status").state == "idle")
    van.ask("load", van.scene.package)
    van.wait(lambda: " alert " in van.log)
    assert van.end() == 0
    van.start()
    van.wait(lambda: van.log.count(" live: order") == 2)
    assert alerts_waiting(van) > 0
    assert van.ask("revoke").state == "ended"
    van.wait(lambda: van.ask("status").erased)
    assert alerts_waiting(van) == 0
    assert van.end() == 0
    kinds = van.events()
    assert kinds.count("alert-decided") == van.log.count(" alert "), "every alert, also those that were deleted"
    assert "alerts-erased" in kinds
    assert kinds.count("period-ended") == 2


def test_an_alert_that_leaves_when_the_van_is_blind_again_is_in_the_log_with_its_recipients(
    van: Van, tmp_path: Path
) -> None:
    van.point_at(str(photo_clip(tmp_path / "street.mp4", {"P25": (0.5, 59.0)}, 60)))
    van.start()
    van.wait(lambda: van.ask("status").state == "idle")
    van.ask("load", van.scene.package)
    van.wait(lambda: " alert " in van.log)
    van.ask("stop")
    van.wait(lambda: van.ask("status").erased)
    assert "alert-sent" not in van.events(), "there is no broker"
    with listening(van):
        van.wait(lambda: b'"alert-sent"' in (van.state / "audit.log").read_bytes())
        assert van.end() == 0
    kinds = van.events()
    assert kinds.count("alert-sent") == kinds.count("alert-decided") == van.log.count(" alert ")
    assert kinds.index("deployment-erased") < kinds.index("alert-sent")
    with (van.state / "audit.log").open("rb") as file:
        sent = [entry.event for entry in unverified_entries(file) if isinstance(entry.event, AlertSent)]
    assert {event.recipients for event in sent} == {(van.scene.identity.recipient,)}
    assert {event.order for event in sent} == {"demo-deployment"}


def test_the_control_room_ends_a_deployment_with_a_signed_command_and_gets_the_receipt(van: Van) -> None:
    commander = SigningKey.generate()
    commander.to_file(van.folder / "command.key")
    commander.public.to_file(van.folder / "command.pub")
    config = (van.folder / "van.toml").read_text("utf-8")
    trusting = config.replace("[keys]", '[keys]\ntrusted_commanders = ["command.pub"]')
    (van.folder / "van.toml").write_text(trusting, "utf-8")
    with listening(van):
        van.start()
        van.wait(lambda: van.ask("status").state == "idle")
        van.ask("load", van.scene.package)
        van.wait(lambda: any(status.state == "live" for status in van.status))
        files = van.broker.client_files(CONTROL_ROOM)
        where = ["--broker", f"{van.broker.host}:{van.broker.port}", "--ca", files.ca, "--cert", files.cert]
        what = ["--key", files.key, "--command-key", van.folder / "command.key", "--force", "demo", "--van", "van-1"]
        who = ["--order", "demo-deployment", "--by", "Insp B. Example", "--why", "operation ended", "--revoke"]
        told = subprocess.run(
            [*CLI, "control-room", "stop", *where, *what, *who], capture_output=True, text=True, check=False
        )
        assert (told.returncode, told.stdout) == (0, "van-1: done\n"), told.stderr
        van.wait(lambda: van.receipts)
        assert van.receipts[0].cause == "revoke"
        assert van.end() == 0
    assert "command-received" in van.events()


def alerts_waiting(van: Van) -> int:
    with closing(sqlite3.connect(van.state / "outbox.sqlite")) as database:
        return int(database.execute("SELECT count(*) FROM alert").fetchone()[0])


def test_a_second_daemon_does_not_start_beside_the_first(van: Van) -> None:
    van.start()
    van.wait(lambda: van.ask("status").state == "idle")
    command = [*CLI, "run", "--config", van.folder / "van.toml"]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "another process writes the log" in second.stderr
    assert van.ask("status").state == "idle"
    assert van.end() == 0
