"""What was acknowledged stays: over power cuts at every byte, a full disk, a second writer."""

import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from support.audit_events import START, VAN, signer, write_log

from lfr_edge.audit import log as log_module
from lfr_edge.audit.events import LogRecovered, Started, Stopped
from lfr_edge.audit.fields import Event
from lfr_edge.audit.log import AuditLog
from lfr_edge.audit.reader import LogReader, open_log, verify_log
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import DeviceError, LfrEdgeError, Reason, UntrustedInputError

KEY = SigningKey.generate()
SIGNER = signer(KEY)
EVENT = Stopped(**VAN)
THREE = [Started(**VAN, software="0.1.0"), EVENT, EVENT]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "van.log"


def opened(path: Path) -> AuditLog:
    return AuditLog.open(path, SIGNER, ManualClock(START))


def events(path: Path) -> list[Event]:
    with open_log(path) as file:
        return [entry.event for entry in LogReader(file, KEY.public).entries()]


def kinds(path: Path) -> list[str]:
    return [event.kind for event in events(path)]


def refusal(path: Path, by: NoteSigner = SIGNER) -> Reason:
    with pytest.raises(LfrEdgeError) as refused:
        AuditLog.open(path, by, ManualClock(START))
    return refused.value.reason


def test_a_new_log_says_whose_it_is_and_is_private(path: Path) -> None:
    opened(path).close()
    assert kinds(path) == ["log-created"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_entries_are_numbered_and_timed_by_the_log(path: Path) -> None:
    write_log(path, SIGNER, THREE)
    with open_log(path) as file:
        entries = list(LogReader(file, KEY.public).entries())
    assert [entry.index for entry in entries] == [0, 1, 2, 3]
    assert [entry.at - START for entry in entries] == [timedelta(seconds=second) for second in range(4)]


def test_a_log_goes_on_where_it_ended(path: Path) -> None:
    write_log(path, SIGNER, THREE)
    before = path.read_bytes()
    log = opened(path)
    assert len(log) == 4
    log.append(EVENT)
    log.close()
    assert path.read_bytes().startswith(before)
    assert verify_log(path, KEY.public).entries == 5


def test_events_appended_together_have_one_checkpoint(path: Path) -> None:
    log = opened(path)
    log.append(*THREE)
    log.append()
    assert len(log) == 4
    note = log.checkpoint()
    log.close()
    assert path.read_bytes().count(b'{"checkpoint":') == 2
    assert verify_log(path, KEY.public).note == note


def test_a_checkpoint_covers_all_that_was_recorded(path: Path) -> None:
    log = opened(path)
    notes = [log.checkpoint()]
    for event in THREE:
        log.append(event)
        notes.append(log.checkpoint())
    log.close()
    assert verify_log(path, KEY.public, notes).entries == 4


def test_a_power_cut_at_any_byte_of_the_last_append_loses_nothing_acknowledged(path: Path) -> None:
    lengths = write_log(path, SIGNER, THREE)
    whole = path.read_bytes()
    for length in range(lengths[-2], lengths[-1]):
        path.write_bytes(whole[:length])
        opened(path).close()
        torn = length - lengths[-2]
        expected = ["log-created", "started", "stopped"] + (["log-recovered"] if torn else [])
        assert kinds(path) == expected, length
        assert path.read_bytes().startswith(whole[: lengths[-2]])
        last = events(path)[-1]
        assert not torn or (isinstance(last, LogRecovered) and last.cut_bytes == torn)
        assert verify_log(path, KEY.public).entries == len(expected)


def test_a_power_cut_at_any_byte_of_the_first_append_leaves_a_new_log(path: Path) -> None:
    opened(path).close()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        opened(path).close()
        assert kinds(path) == (["log-created", "log-recovered"] if length else ["log-created"])


@pytest.mark.parametrize("rubbish", [b"\x00" * 700, b'{"at":"2026' + b"\x00" * 400, b"\n\n\xff\xfe" * 40])
def test_what_a_disk_leaves_of_a_torn_write_is_cut(path: Path, rubbish: bytes) -> None:
    (*_, end) = write_log(path, SIGNER, THREE)
    with path.open("ab") as file:
        file.write(rubbish)
    opened(path).close()
    recovered = events(path)[-1]
    assert isinstance(recovered, LogRecovered)
    assert recovered.cut_bytes == len(rubbish)
    assert path.read_bytes()[end:].startswith(b'{"at":')
    assert b"\x00" not in path.read_bytes()


def test_a_power_cut_during_recovery_is_recovered_from(path: Path) -> None:
    (*_, before_last, _) = write_log(path, SIGNER, THREE)
    torn = path.read_bytes()[: before_last + 100]
    path.write_bytes(torn)
    opened(path).close()
    recovered = path.read_bytes()
    # The recovery is written over the torn bytes: where it had not come to, those still are.
    for length in range(before_last, len(recovered), 3):
        path.write_bytes(recovered[:length] + torn[length:])
        opened(path).close()
        assert kinds(path)[:4] == ["log-created", "started", "stopped", "log-recovered"]
        assert set(kinds(path)[4:]) <= {"log-recovered"}
        assert verify_log(path, KEY.public)


def test_entries_that_were_never_signed_are_not_signed_at_the_next_start(path: Path) -> None:
    (*_, end) = write_log(path, SIGNER, THREE)
    last = path.read_bytes().splitlines()[-2]
    with path.open("ab") as file:
        file.write(last.replace(b'"index":3', b'"index":4') + b"\n")
    opened(path).close()
    assert kinds(path)[4:] == ["log-recovered"]
    assert path.stat().st_size > end


def test_a_changed_entry_stops_the_log_from_being_continued(path: Path) -> None:
    write_log(path, SIGNER, THREE)
    whole = path.read_bytes()
    for place in (whole.index(b"stopped"), whole.rindex(b"stopped"), whole.index(b"0.1.0")):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(UntrustedInputError):
            opened(path)
        assert path.read_bytes() == changed  # the evidence stays


def test_a_log_has_one_writer(path: Path) -> None:
    log = opened(path)
    assert refusal(path) is Reason.FILE_IN_USE
    log.append(EVENT)
    log.close()
    opened(path).close()


def test_a_log_can_be_verified_while_it_is_written(path: Path) -> None:
    log = opened(path)
    assert verify_log(path, KEY.public).entries == 1
    log.close()


@contextmanager
def writer_process(path: Path, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that appends as fast as it can and says how many entries were acknowledged; killed at the end."""
    key = folder / "key.pem"
    if not key.exists():
        KEY.to_file(key)
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from lfr_edge.audit.events import Stopped
        from lfr_edge.audit.log import AuditLog
        from lfr_edge.clock import SystemClock
        from lfr_edge.crypto.notes import NoteSigner
        from lfr_edge.crypto.signing import SigningKey
        key = SigningKey.from_file(Path(sys.argv[2]))
        with AuditLog.open(Path(sys.argv[1]), NoteSigner(sys.argv[3], key), SystemClock()) as log:
            while True:
                print(len(log), flush=True)
                log.append(*[Stopped(by="system:van-1", why="again")] * 20)
    """)
    arguments = [sys.executable, "-c", program, str(path), str(key), SIGNER.name]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as other:
        try:
            yield other
        finally:
            other.kill()


def test_another_process_is_kept_out_until_the_writer_is_gone(path: Path, tmp_path: Path) -> None:
    with writer_process(path, tmp_path) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert refusal(path) is Reason.FILE_IN_USE
    opened(path).close()


def test_a_killed_writer_has_lost_nothing_that_it_was_told_is_safe(path: Path, tmp_path: Path) -> None:
    for kill_after in (1, 2, 5, 11):
        with writer_process(path, tmp_path) as other:
            assert other.stdout is not None
            acknowledged = [int(other.stdout.readline()) for _ in range(kill_after)]
            other.kill()
            acknowledged += [int(line) for line in other.stdout]
        with opened(path) as log:
            assert len(log) >= acknowledged[-1]
        assert verify_log(path, KEY.public).entries >= acknowledged[-1]


def test_another_logs_file_is_refused_untouched(path: Path) -> None:
    write_log(path, SIGNER, THREE)
    whole = path.read_bytes()
    assert refusal(path, signer(KEY, "van-2")) is Reason.FILE_EXISTS
    assert refusal(path, signer()) is Reason.SIGNER_UNKNOWN
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"my diary\n", b"\x7fELF", b'{"at":' + b"x" * 5000, b"{}\n"])
def test_a_file_that_is_no_log_is_refused_untouched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path) is Reason.FILE_MALFORMED
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to("elsewhere")
    for path in (tmp_path / "no" / "van.log", tmp_path, pipe, link):
        assert refusal(path) is Reason.FILE_UNWRITABLE
    assert not (tmp_path / "elsewhere").exists()


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond this: what a full disk does, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_records_nothing_and_says_so_wherever_it_fills(path: Path) -> None:
    log = opened(path)
    log.append(*THREE)
    before, note = path.read_bytes(), log.checkpoint()
    log.append(EVENT)
    step = path.stat().st_size - len(before)
    log.close()
    path.write_bytes(before)
    log = opened(path)
    for room in range(0, step, 7):
        with file_size_limit(len(before) + room), pytest.raises(DeviceError) as full:
            log.append(EVENT)
        assert full.value.reason is Reason.FILE_UNWRITABLE
        assert (path.read_bytes(), log.checkpoint(), len(log)) == (before, note, 4)
    log.append(EVENT)  # there is room again
    log.close()
    assert kinds(path) == ["log-created", "started", "stopped", "stopped", "stopped"]
    assert verify_log(path, KEY.public, [note]).entries == 5


def test_after_a_disk_that_cannot_be_read_back_nothing_is_acknowledged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(path)
    before = path.read_bytes()

    def fail(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(log_module.os, "fsync", fail)
        with pytest.raises(DeviceError, match="Input/output error"):
            log.append(EVENT)
    with pytest.raises(DeviceError, match="earlier write failed"):
        log.append(EVENT)
    log.close()
    opened(path).close()
    assert path.read_bytes() == before


def test_each_append_is_synced_before_its_checkpoint_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(path)
    synced: list[bytes] = []
    fsync = os.fsync

    def watch(handle: int) -> None:
        fsync(handle)
        synced.append(path.read_bytes().splitlines()[-1])

    monkeypatch.setattr(log_module.os, "fsync", watch)
    log.append(EVENT)
    log.close()
    assert [line[:14] for line in synced] == [b'{"at":"2026-01'.replace(b"01", b"06"), b'{"checkpoint":']


def test_a_closed_log_records_nothing(path: Path) -> None:
    log = opened(path)
    log.close()
    with pytest.raises(DeviceError):
        log.append(EVENT)


def test_threads_may_append_at_once(path: Path) -> None:
    log = opened(path)
    threads = [threading.Thread(target=lambda: [log.append(EVENT) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert verify_log(path, KEY.public).entries == 41


def test_an_append_does_not_read_the_log_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(path)
    log.append(*[EVENT] * 200)
    hashed: list[int] = []
    leaf_hash = log_module.leaf_hash

    def count(content: bytes) -> bytes:
        hashed.append(1)
        return leaf_hash(content)

    monkeypatch.setattr(log_module, "leaf_hash", count)
    log.append(EVENT)
    log.close()
    assert len(hashed) == 1


def test_whoever_wants_to_is_told_what_is_in_the_log_and_what_comes(path: Path) -> None:
    write_log(path, SIGNER, THREE)
    told: list[Event] = []
    with AuditLog.open(path, SIGNER, ManualClock(START), told.append) as log:
        assert told == events(path)
        log.append(EVENT, EVENT)
        assert told == events(path)
    assert len(told) == 6


def test_nobody_is_told_of_what_was_never_acknowledged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = write_log(path, SIGNER, THREE)
    whole = path.read_bytes()
    last_checkpoint = whole.rindex(b'{"checkpoint"')
    for torn in (last_checkpoint, len(whole) - 1):  # the last entry is there, what covers it is not
        path.write_bytes(whole[:torn])
        told: list[Event] = []
        with AuditLog.open(path, SIGNER, ManualClock(START), told.append) as log:
            assert [event.kind for event in told] == ["log-created", "started", "stopped", "log-recovered"]

            def full(*_: object) -> None:
                raise OSError(28, "no space left")

            with monkeypatch.context() as patched:
                patched.setattr(log_module, "_write_at", full)
                with pytest.raises(DeviceError):
                    log.append(EVENT)
            assert len(told) == 4
    assert lengths[-1] == len(whole)
