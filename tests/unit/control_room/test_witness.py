"""Witness copies: every genuine checkpoint is kept, a contradiction is shown, and an auditor can use the file."""

import json
import resource
import stat
from pathlib import Path

import pytest
from rich.console import Console
from support.audit_events import EXAMPLES, signer, write_log

from lfr_edge.audit.checkpoint import Checkpoint, split_notes
from lfr_edge.audit.reader import verify_log
from lfr_edge.cli.main import main
from lfr_edge.clock import ManualClock
from lfr_edge.control_room.display import block, json_line
from lfr_edge.control_room.witness import DoubtfulLog, Witness
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.messages.examples import STATUS
from lfr_edge.transport.packets import Incoming

VAN = SigningKey.generate()
SIGNER = signer(VAN)


def note(size: int, root: bytes = b"r", key: SigningKey = VAN, van: str = "van-1") -> str:
    by = signer(key, van)
    return Checkpoint(by.name, size, (root * 32)[:32]).sign(by).decode()


class Desk:
    """A witness and what it said."""

    def __init__(self, folder: Path) -> None:
        self.said: list[DoubtfulLog] = []
        self.file = folder / "example" / "van-1.checkpoints"
        self.witness = Witness(folder, {"van-1": VAN.public}, self.said.append, ManualClock())

    def hear(self, checkpoint: str | None, session: int = 7, van: str = "van-1") -> None:
        status = STATUS.model_copy(update={"checkpoint": checkpoint, "session": session})
        self.witness.receive(Incoming(f"lfr/v1/example/{van}/status", status.to_json(), {}))

    @property
    def reasons(self) -> list[Reason]:
        return [doubt.reason for doubt in self.said]

    def kept(self) -> list[str]:
        notes, rest = split_notes(self.file.read_bytes())
        assert rest == b""
        return [one.decode() for one in notes]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "witness")


def test_every_checkpoint_is_kept_once_and_in_order(desk: Desk, tmp_path: Path) -> None:
    notes = [note(3), note(4), note(9)]
    for checkpoint in (notes[0], notes[1], notes[1], None, notes[2], notes[0]):
        desk.hear(checkpoint)
    assert desk.kept() == notes
    again = Desk(tmp_path / "witness")
    again.hear(notes[1])
    again.hear(note(12))
    assert again.kept() == [*notes, note(12)]
    assert desk.said == again.said == []
    assert (desk.witness.kept, again.witness.kept) == (3, 4)
    assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600


def test_two_logs_of_one_size_are_shown_once_and_both_are_kept(desk: Desk, tmp_path: Path) -> None:
    desk.hear(note(3))
    desk.hear(note(3, b"s"))
    desk.hear(note(3, b"s"))
    assert desk.reasons == [Reason.DIGEST_MISMATCH]
    assert "van 'van-1'" in desk.said[0].message
    assert str(desk.file) in desk.said[0].message
    assert desk.kept() == [note(3), note(3, b"s")]
    again = Desk(tmp_path / "witness")
    again.hear(note(3, b"t"))
    assert again.reasons == [Reason.DIGEST_MISMATCH], "what was kept before this start counts as well"


@pytest.mark.parametrize(("session", "expected"), [(8, [Reason.TRUNCATED]), (7, []), (6, [])])
def test_a_log_that_is_shorter_after_a_new_start_is_shown(desk: Desk, session: int, expected: list[Reason]) -> None:
    desk.hear(note(9), session=7)
    desk.hear(note(8), session=session)
    assert desk.reasons == expected
    assert desk.kept() == [note(9), note(8)]


def test_a_contradiction_is_loud_for_people_and_a_kind_of_its_own_for_programs(desk: Desk) -> None:
    desk.hear(note(3))
    desk.hear(note(3, b"s"))
    console = Console(width=200)
    with console.capture() as shown:
        console.print(block(desk.said[0]))
    assert "LOG IN DOUBT (digest-mismatch): van 'van-1': it signed two different logs" in shown.get()
    assert json.loads(json_line(desk.said[0]))["kind"] == "doubtful-log"


def test_a_log_that_is_shorter_than_what_an_earlier_watch_kept_is_shown(desk: Desk, tmp_path: Path) -> None:
    desk.hear(note(9))
    again = Desk(tmp_path / "witness")
    again.hear(note(8))
    assert again.reasons == [Reason.TRUNCATED]


@pytest.mark.parametrize(
    ("checkpoint", "reason"),
    [
        (note(3, key=SigningKey.generate()), Reason.SIGNER_UNKNOWN),
        (note(3).replace("\n3\n", "\n4\n"), Reason.SIGNATURE_INVALID),
        (note(3, van="van-2"), Reason.SIGNER_UNKNOWN),
        ("what is this", Reason.MALFORMED),
    ],
)
def test_what_the_van_did_not_sign_is_shown_and_not_kept(desk: Desk, checkpoint: str, reason: Reason) -> None:
    desk.hear(checkpoint)
    assert desk.reasons == [reason]
    assert not desk.file.parent.exists(), "whoever can publish must not fill our disk"


def test_a_status_that_is_none_is_shown_and_a_stranger_van_is_not_our_business(desk: Desk) -> None:
    desk.witness.receive(Incoming("lfr/v1/example/van-1/status", b"{}", {}))
    assert desk.reasons == [Reason.MALFORMED]
    desk.hear(note(3), van="van-2")
    assert len(desk.said) == 1


def test_what_a_power_cut_left_of_a_write_goes_and_nothing_else(desk: Desk, tmp_path: Path) -> None:
    desk.hear(note(3))
    whole = desk.file.read_bytes()
    for torn in range(len(note(4))):
        desk.file.write_bytes(whole + note(4).encode()[:torn])
        again = Desk(tmp_path / "witness")
        again.hear(note(5))
        assert again.kept() == [note(3), note(5)]


@pytest.mark.parametrize("content", [b"a video" * 1000, note(3, key=SigningKey.generate()).encode()])
def test_a_file_that_is_something_else_is_left_alone(desk: Desk, content: bytes) -> None:
    desk.file.parent.mkdir()
    desk.file.write_bytes(content)
    desk.hear(note(3))
    assert desk.reasons == [Reason.FILE_MALFORMED]
    assert str(desk.file) in desk.said[0].message
    assert desk.file.read_bytes() == content


def test_a_file_that_cannot_be_written_is_shown_once_and_used_again_when_it_can(desk: Desk) -> None:
    desk.file.mkdir(parents=True)
    for size in (3, 4):
        desk.hear(note(size))
    assert desk.reasons == [Reason.FILE_UNWRITABLE]
    assert str(desk.file) in desk.said[0].message
    desk.file.rmdir()
    desk.hear(note(5))
    assert desk.kept() == [note(5)]
    desk.file.unlink()
    desk.file.mkdir()
    desk.hear(note(6))
    assert desk.reasons == [Reason.FILE_UNWRITABLE] * 2, "it is another failure"


def test_of_a_checkpoint_for_which_the_disk_has_no_room_nothing_stays(desk: Desk) -> None:
    desk.hear(note(3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (desk.file.stat().st_size + 10, before[1]))  # Python ignores SIGXFSZ
    try:
        desk.hear(note(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert desk.reasons == [Reason.FILE_UNWRITABLE]
    assert desk.kept() == [note(3)]
    desk.hear(note(5))
    assert desk.kept() == [note(3), note(5)]


def test_a_folder_that_cannot_be_made_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="/dev/null/witness"):
        Desk(Path("/dev/null/witness"))


def test_an_auditor_compares_a_log_with_the_file_as_it_is(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, key = tmp_path / "van-1.log", tmp_path / "van-1.pub"
    VAN.public.to_file(key)
    for length in (3, 5, 8):
        log.unlink(missing_ok=True)
        write_log(log, SIGNER, EXAMPLES[2 : 2 + length])
        desk.hear(verify_log(log, VAN.public).note.decode())
    compare = ["audit", "verify", str(log), "--key", str(key), "--checkpoint", str(desk.file)]
    assert main(compare) == 0
    assert "agrees with 3 checkpoint(s)" in capsys.readouterr().out
    log.unlink()
    write_log(log, SIGNER, EXAMPLES[2:7])
    assert main(compare) == 2
    assert "3 entries are missing at the end" in capsys.readouterr().err
    log.unlink()
    write_log(log, SIGNER, EXAMPLES[3:16])
    assert main(compare) == 2
    assert "the first 4 entries are not those of then" in capsys.readouterr().err
    desk.file.write_bytes(desk.file.read_bytes()[:-1])
    with pytest.raises(UntrustedInputError):
        verify_log(log, VAN.public, [desk.file.read_bytes()])
    assert main(compare) == 2
    assert "this is not a signed note" in capsys.readouterr().err
