"""Whoever changes a log is found: every entry, every byte, with and without an older checkpoint."""

import contextlib
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from support.audit_events import EXAMPLES, START, VAN, signer, write_log

from lfr_edge.audit.checkpoint import Checkpoint, claimed_origin, open_checkpoint
from lfr_edge.audit.entries import Entry
from lfr_edge.audit.events import EVENTS, Stopped
from lfr_edge.audit.log import AuditLog
from lfr_edge.audit.merkle import CompactTree, leaf_hash
from lfr_edge.audit.reader import LogReader, checkpoint_line, open_log, unverified_entries, verify_log
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError

KEY = SigningKey.generate()
PUBLIC = KEY.public
SIGNER = signer(KEY)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A log with an entry of every kind, one append each."""
    path = tmp_path_factory.mktemp("log") / "van.log"
    write_log(path, SIGNER, EXAMPLES[1:])
    return path.read_bytes()


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of a log with an entry of every kind but the first in one append: one checkpoint covers them all."""
    path = tmp_path_factory.mktemp("log") / "van.log"
    with AuditLog.open(path, SIGNER, ManualClock(START)) as written:
        written.append(*EXAMPLES[1:])
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "van.log"


def problem(path: Path, content: bytes, checkpoints: tuple[bytes, ...] = ()) -> UntrustedInputError:
    path.write_bytes(content)
    with pytest.raises(UntrustedInputError) as found:
        verify_log(path, PUBLIC, checkpoints)
    return found.value


def groups(log: bytes) -> list[tuple[bytes, bytes]]:
    """Entry line and checkpoint line of each append."""
    lines = log.splitlines(keepends=True)
    return list(zip(lines[::2], lines[1::2], strict=True))


def joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(line for part in parts for line in part)


def note_of(line: bytes) -> bytes:
    return str(json.loads(line)["checkpoint"]).encode()


def renumbered(line: bytes, index: int) -> bytes:
    return Entry.from_canonical(line[:-1]).model_copy(update={"index": index}).to_canonical() + b"\n"


def test_an_untouched_log_verifies(path: Path, log: bytes) -> None:
    path.write_bytes(log)
    verified = verify_log(path, PUBLIC)
    assert (verified.origin, verified.entries) == ("lfr-edge/example/van-1", len(EXAMPLES))
    assert (verified.first.event.kind, verified.last.index) == ("log-created", len(EXAMPLES) - 1)
    assert verified.note == note_of(log.splitlines()[-1])
    assert verified.times_back == 0


def test_the_log_that_is_damaged_here_has_every_kind_of_event(log: bytes) -> None:
    kinds = {Entry.from_canonical(line[:-1]).event.kind for line, _ in groups(log)}
    assert kinds == {event.model_fields["kind"].default for event in EVENTS}


def changed_entries(line: bytes) -> Iterator[bytes]:
    """The entry with each of its members in turn changed, or taken away where it may be missing; all are entries."""
    entry = json.loads(line)
    for name, value in entry["event"].items():
        for other in _OTHERS[type(value)](value):
            event = {**entry["event"], name: other}
            changed = {**entry, "event": {key: item for key, item in event.items() if item is not None}}
            content = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            with contextlib.suppress(UntrustedInputError):  # not an entry, and so refused for that
                Entry.from_canonical(content)
                yield content + b"\n"
    moved = Entry.from_canonical(line[:-1])
    yield moved.model_copy(update={"at": moved.at + timedelta(milliseconds=1)}).to_canonical() + b"\n"


_OTHERS: dict[type, Callable[[Any], list[object]]] = {
    str: lambda text: [None, f"{text}x", text[:-1] + ("0" if text[-1:] != "0" else "1"), "revoked", "person:X"],
    int: lambda number: [None, number + 1],
    bool: lambda truth: [None, not truth],
    list: lambda items: [None, items[1:], [*items, "x" * 64]],
}


def test_every_changed_entry_is_found(path: Path, log: bytes) -> None:
    parts = groups(log)
    for place, (line, checkpoint) in enumerate(parts):
        others = set(changed_entries(line)) - {line}
        assert len(others) > 3, "by, why, at, and what the event says"
        for other in others:
            found = problem(path, joined([*parts[:place], (other, checkpoint), *parts[place + 1 :]]))
            assert found.reason is Reason.DIGEST_MISMATCH
            place_said = f"after {place + 1} entries: " if place else "after 1 entry: "
            assert found.message == f"{place_said}what is there is not what was signed"


def test_a_changed_name_of_a_member_is_a_change_and_not_another_version(path: Path, log: bytes) -> None:
    parts = groups(log)
    for place, (line, checkpoint) in enumerate(parts):
        for name in json.loads(line)["event"]:
            other = line.replace(f'"{name}":'.encode(), f'"{name[:-1]}_":'.encode())
            assert other != line
            found = problem(path, joined([*parts[:place], (other, checkpoint), *parts[place + 1 :]]))
            assert found.reason is Reason.DIGEST_MISMATCH
            assert found.message == f"entry {place} cannot be read, and what is there is not what was signed"
            assert "changed after it was signed" in found.fix


def test_what_was_signed_and_cannot_be_read_is_another_versions_and_is_not_passed_on(path: Path, log: bytes) -> None:
    (first, note), (second, _), (third, _) = groups(log)[:3]
    unknown = re.sub(rb'"kind":"[a-z-]*"', b'"kind":"from-tomorrow"', second)
    tree = CompactTree()
    for line in (first, unknown, third):
        tree.append(leaf_hash(line[:-1]))
    signed = checkpoint_line(Checkpoint(SIGNER.name, tree.size, tree.root()).sign(SIGNER))
    found = problem(path, b"".join((first, note, unknown, third, signed)))
    assert found.reason is Reason.MALFORMED
    assert "entry 1 cannot be read, but it is what was signed: this version does not know" in found.message
    assert found.fix == "use the version of lfr-edge that wrote this log, or a newer one"
    read = []
    with open_log(path) as file, pytest.raises(UntrustedInputError):
        read.extend(entry.index for entry in LogReader(file, PUBLIC).entries())
    assert read == [0]


def test_every_dropped_entry_is_found(path: Path, log: bytes) -> None:
    parts = groups(log)
    last = note_of(parts[-1][1])
    for place in range(len(parts)):
        # That the last append is missing shows only against a checkpoint of it that was kept.
        problem(path, joined([*parts[:place], *parts[place + 1 :]]), (last,))
        problem(path, joined([*parts[:place], (b"", parts[place][1]), *parts[place + 1 :]]))
        shifted = [(renumbered(line, place + n), note) for n, (line, note) in enumerate(parts[place + 1 :])]
        problem(path, joined([*parts[:place], *shifted]), (last,))
        if place < len(parts) - 1:
            problem(path, joined([*parts[:place], *parts[place + 1 :]]))
            problem(path, joined([*parts[:place], *shifted]))


def test_every_two_entries_that_changed_places_are_found(path: Path, log: bytes) -> None:
    parts = groups(log)
    for one, two in combinations(range(len(parts)), 2):
        whole = list(parts)
        whole[one], whole[two] = parts[two], parts[one]
        problem(path, joined(whole))
        (first, note), (second, later) = parts[one], parts[two]
        whole[one], whole[two] = (renumbered(second, one), note), (renumbered(first, two), later)
        problem(path, joined(whole))


def test_entries_of_one_append_are_as_safe_as_those_of_many(path: Path, at_once: list[bytes]) -> None:
    head, entries, checkpoint = at_once[:2], at_once[2:-1], at_once[-1]
    assert len(entries) == len(EXAMPLES) - 1

    def damaged(lines: list[bytes]) -> None:
        problem(
            path, b"".join([*head, *(renumbered(line, number) for number, line in enumerate(lines, 1)), checkpoint])
        )

    for place, line in enumerate(entries):
        damaged([*entries[:place], *entries[place + 1 :]])
        for other in set(changed_entries(line)) - {line}:
            damaged([*entries[:place], other, *entries[place + 1 :]])
    for one, two in combinations(range(len(entries)), 2):
        swapped = list(entries)
        swapped[one], swapped[two] = entries[two], entries[one]
        damaged(swapped)


def test_an_entry_inserted_anywhere_is_found(path: Path, log: bytes) -> None:
    parts = groups(log)
    for place in range(len(parts) + 1):
        forged = Entry(at=START, event=Stopped(**VAN), index=place).to_canonical() + b"\n"
        problem(path, joined([*parts[:place], (forged, b""), *parts[place:]]))
        shifted = [(renumbered(line, place + n), note) for n, (line, note) in enumerate(parts[place:], 1)]
        problem(path, joined([*parts[:place], (forged, b""), *shifted]))


def test_what_somebody_elses_key_signed_is_found(path: Path, log: bytes) -> None:
    parts = groups(log)
    thief = signer(SigningKey.generate())
    tree = CompactTree()
    for place, (line, _) in enumerate(parts):
        tree.append(leaf_hash(line[:-1]))
        forged = checkpoint_line(Checkpoint(thief.name, tree.size, tree.root()).sign(thief))
        found = problem(path, joined([*parts[:place], (line, forged), *parts[place + 1 :]]))
        assert found.reason is Reason.SIGNER_UNKNOWN


def test_a_checkpoint_of_another_time_is_found(path: Path, log: bytes) -> None:
    parts = groups(log)
    for place in range(1, len(parts)):
        stale = [*parts[:place], (parts[place][0], parts[place - 1][1]), *parts[place + 1 :]]
        assert "dropped or inserted" in problem(path, joined(stale)).message


def test_a_checkpoint_that_stands_twice_is_found(path: Path, log: bytes) -> None:
    parts = groups(log)
    for place, (line, checkpoint) in enumerate(parts):
        found = problem(path, joined([*parts[:place], (line, checkpoint * 2), *parts[place + 1 :]]))
        assert "twice" in found.message


def test_a_checkpoint_line_has_one_spelling(path: Path, log: bytes) -> None:
    for there, instead in [("\u2014".encode(), b"\\u2014"), (b'"}\n', b'"} \n'), (b"example", b"ex\\u0061mple")]:
        parts = groups(log)
        line, checkpoint = parts[3]
        other = checkpoint.replace(there, instead, 1)
        assert json.loads(other) == json.loads(checkpoint)
        assert other != checkpoint
        assert "is not one" in problem(path, joined([*parts[:3], (line, other), *parts[4:]])).message


def changed_bytes(content: bytes) -> Iterator[bytes]:
    """Each byte changed a little; each seventh also to what has a meaning in the format."""
    for place, byte in enumerate(content):
        for other in {byte ^ 1, *((0x00, 0x0A, 0x22, 0x5C, 0xFF) if place % 7 == 0 else ())} - {byte}:
            yield content[:place] + bytes([other]) + content[place + 1 :]


def test_every_changed_byte_is_found(path: Path, log: bytes) -> None:
    short = joined(groups(log)[:3])
    checked = 0
    for changed in changed_bytes(short):
        problem(path, changed)
        checked += 1
    assert checked > len(short)


def test_every_dropped_or_added_byte_is_found(path: Path, log: bytes) -> None:
    short = joined(groups(log)[:2])
    for place in range(len(short)):
        without = short[:place] + short[place + 1 :]
        if without != short:
            problem(path, without)
        problem(path, short[:place] + b"x" + short[place:])
    for added in (b" ", b"\n", b"\r\n", b"{}\n", b"\x00"):
        assert problem(path, short + added).reason is Reason.TRUNCATED


def test_a_cut_end_shows_against_every_later_checkpoint_and_against_none_before(path: Path, log: bytes) -> None:
    parts = groups(log)
    notes = [note_of(checkpoint) for _, checkpoint in parts]
    for kept in range(1, len(parts), 4):
        cut = joined(parts[:kept])
        path.write_bytes(cut)
        assert verify_log(path, PUBLIC, notes[:kept]).entries == kept  # nobody can tell without a witness
        for later in notes[kept:]:
            found = problem(path, cut, (later,))
            assert "missing at the end" in found.message


@pytest.mark.parametrize("missing", [1, 3])
def test_an_end_that_was_cut_inside_an_entry_is_said_with_how_many_are_missing(
    path: Path, log: bytes, missing: int
) -> None:
    parts = groups(log)
    notes = tuple(note_of(checkpoint) for _, checkpoint in parts)
    kept = joined(parts[:-missing])
    for line, checkpoint in (parts[-missing], (parts[-missing][0], b"")):
        rest = (line + checkpoint)[:-1]
        assert problem(path, kept + rest).reason is Reason.TRUNCATED
        found = problem(path, kept + rest, notes)
        assert found.reason is Reason.DIGEST_MISMATCH
        assert f"{'1 entry is' if missing == 1 else '3 entries are'} missing at the end" in found.message
        assert f"where {len(rest)} bytes stand that no checkpoint covers" in found.message


def test_a_torn_end_after_all_that_was_witnessed_is_a_torn_end(path: Path, log: bytes) -> None:
    parts = groups(log)
    notes = tuple(note_of(checkpoint) for _, checkpoint in parts[:-1])
    assert problem(path, joined(parts[:-1]) + parts[-1][0][:-9], notes).reason is Reason.TRUNCATED


def test_a_log_written_anew_by_its_own_key_shows_against_an_older_checkpoint(path: Path, log: bytes) -> None:
    old = note_of(groups(log)[4][1])
    rewritten = path.with_name("again.log")
    write_log(rewritten, SIGNER, [Stopped(**VAN)] * 10)
    found = problem(path, rewritten.read_bytes(), (old,))
    assert "the first 5 entries are not those" in found.message


def test_a_checkpoint_of_another_log_is_refused(path: Path, log: bytes) -> None:
    other = path.with_name("other.log")
    write_log(other, signer(KEY, "van-2"), [])
    assert "van-2" in problem(path, log, (note_of(other.read_bytes().splitlines()[-1]),)).message


def test_a_checkpoint_that_is_none_is_refused(path: Path, log: bytes) -> None:
    for note, reason in [
        (b"", Reason.MALFORMED),
        (b"x\n1\n", Reason.MALFORMED),
        (SIGNER.sign(f"{SIGNER.name}\n1\n"), Reason.MALFORMED),
        (SIGNER.sign(f"{SIGNER.name}\n01\n{'A' * 43}=\n"), Reason.MALFORMED),
        (SIGNER.sign(f"{SIGNER.name}\n1\n{'A' * 42}B=\n"), Reason.MALFORMED),
        (SIGNER.sign(f"{SIGNER.name}\n1\n{'A' * 43}=\n\nx\n"), Reason.MALFORMED),
        (signer().sign(f"{SIGNER.name}\n1\n{'A' * 43}=\n"), Reason.SIGNER_UNKNOWN),
    ]:
        assert problem(path, log, (note,)).reason is reason


def test_extension_lines_of_a_checkpoint_are_ignored() -> None:
    note = SIGNER.sign(f"{SIGNER.name}\n0\n{'A' * 43}=\nfrom a later version\n")
    assert open_checkpoint(note, SIGNER.verifier) == Checkpoint(SIGNER.name, 0, bytes(32))


def test_a_checkpoint_under_another_name_than_its_origin_is_refused() -> None:
    note = SIGNER.sign(f"lfr-edge/example/van-2\n0\n{'A' * 43}=\n")
    with pytest.raises(UntrustedInputError) as refused:
        open_checkpoint(note, SIGNER.verifier)
    assert refused.value.reason is Reason.OUTER_INNER_DIFFER


@pytest.mark.parametrize("note", [b"", b"no newline", b"two words\n", b"\x1b[31m\n", b"a+b\n", b"\n", "é\n".encode()])
def test_a_name_that_is_none_is_not_repeated(note: bytes) -> None:
    assert claimed_origin(note) == "unknown"


@pytest.mark.parametrize("content", [b"", b"\n", b"hello\n", b"\x00" * 100, b'{"checkpoint":"x"}\n', b"x" * 200_000])
def test_what_is_no_log_is_refused(path: Path, content: bytes) -> None:
    assert problem(path, content).reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "line", [b"[]", b"1", b'{"checkpoint":1}', b'{"checkpoint":"\\ud800"}', b'{"checkpoint":' + b"[" * 30_000]
)
def test_a_checkpoint_line_that_is_none_is_refused(path: Path, log: bytes, line: bytes) -> None:
    problem(path, log + line + b"\n")


def test_a_log_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError) as refused:
            verify_log(path, PUBLIC)
        assert refused.value.reason is Reason.FILE_MISSING


def test_a_clock_that_was_set_back_is_counted(path: Path) -> None:
    clock = ManualClock(START)
    written = AuditLog.open(path, SIGNER, clock)
    for seconds in (10, -60, 10, -1):
        clock.advance(seconds)
        written.append(Stopped(**VAN))
    written.close()
    assert verify_log(path, PUBLIC).times_back == 2


def test_reading_without_the_key_stops_at_the_first_bad_line(path: Path, log: bytes) -> None:
    path.write_bytes(log)
    with path.open("rb") as file:
        assert len(list(unverified_entries(file))) == len(EXAMPLES)
    path.write_bytes(log.replace(b'"kind":"started"', b'"kind":"altered"'))
    read = []
    with path.open("rb") as file, pytest.raises(UntrustedInputError, match=r"line 5: .*; verify the log"):
        read.extend(entry.index for entry in unverified_entries(file))


def test_verifying_a_longer_log_takes_no_more_memory(path: Path) -> None:
    written = AuditLog.open(path, SIGNER, ManualClock(START))
    peaks = []
    for _ in range(2):
        for _ in range(6):
            written.append(*[Stopped(**VAN)] * 100)
        verify_log(path, PUBLIC)  # whatever is made once is made now
        tracemalloc.start()
        verify_log(path, PUBLIC)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    written.close()
    size = path.stat().st_size
    assert peaks[1] - peaks[0] < size / 20
