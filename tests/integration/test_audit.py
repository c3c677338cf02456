"""`lfr-edge audit` as an auditor types it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.audit_events import EXAMPLES, signer, write_log

from lfr_edge.audit.events import AlertDecided
from lfr_edge.cli.main import main
from lfr_edge.crypto.signing import SigningKey

SIZE = len(EXAMPLES) - 1
ALERT = next(number for number, event in enumerate(EXAMPLES[1:]) if isinstance(event, AlertDecided))


@dataclass(frozen=True)
class Case:
    """What an auditor has: a copy of a log, and the key of the machine that wrote it."""

    log: Path
    key: Path
    private: SigningKey

    def audit(self, action: str, *arguments: str | Path) -> int:
        return main(["audit", action, *map(str, arguments)])


@pytest.fixture
def case(tmp_path: Path) -> Case:
    private = SigningKey.generate()
    private.public.to_file(tmp_path / "van-1.pub")
    write_log(tmp_path / "van-1.log", signer(private))
    return Case(tmp_path / "van-1.log", tmp_path / "van-1.pub", private)


def test_a_good_log_verifies_against_the_checkpoint_of_the_last_visit(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "june.checkpoint"
    assert case.audit("verify", case.log, "--key", case.key, "--keep", kept) == 0
    said = capsys.readouterr().out
    assert "every entry is as it was written" in said
    assert "lfr-edge/example/van-1" in said
    assert f"entries  {SIZE}" in said
    assert "not compared" in said
    assert kept.read_text("utf-8").startswith(f"lfr-edge/example/van-1\n{SIZE}\n")

    assert case.audit("verify", case.log, "--key", case.key, "--checkpoint", kept) == 0
    assert "agrees with 1 checkpoint(s)" in capsys.readouterr().out

    lines = case.log.read_bytes().splitlines(keepends=True)
    case.log.write_bytes(b"".join(lines[:-2]))
    assert case.audit("verify", case.log, "--key", case.key) == 0
    assert case.audit("verify", case.log, "--key", case.key, "--checkpoint", kept) == 2
    error = capsys.readouterr().err
    assert "1 entry is missing at the end" in error
    assert "\n  fix: keep both" in error


@pytest.mark.parametrize(
    ("there", "instead", "said"),
    [
        (b'"W-0042"', b'"W-0043"', " entries: what is there is not what was signed"),
        (b'"index":4', b'"index":5', "where entry 4 should be stands entry 5"),
        (b"{", b"", "entry 0 cannot be read, and what is there is not what was signed"),
    ],
)
def test_a_changed_log_is_one_error_and_its_fix(
    case: Case, there: bytes, instead: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case.log.write_bytes(case.log.read_bytes().replace(there, instead, 1))
    assert case.audit("verify", case.log, "--key", case.key) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "\n  fix: " in error
    assert error.count("\n") == 2


def test_what_was_given_wrongly_is_one_error_and_its_fix(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pub"
    SigningKey.generate().public.to_file(other)
    for arguments, said in [
        (("verify", tmp_path / "no.log", "--key", case.key), "cannot be read"),
        (("verify", case.key, "--key", case.key), "is not a log"),
        (("verify", case.log, "--key", case.log), "is not an Ed25519 public key"),
        (("verify", case.log, "--key", other), "not signed by the given key"),
        (("verify", case.log, "--key", case.key, "--checkpoint", case.key), "not a signed note"),
        (("verify", case.log, "--key", case.key, "--keep", case.key), "exists already"),
        (("show", case.log, "--since", "yesterday"), "not a time in UTC"),
        (("show", case.log, "--since", "2026-06-20T09:00+01:00"), "not a time in UTC"),
        (("show", case.key), "line 1"),
        (("prove", case.log, "--key", case.key, "--entry", "999", "--out", tmp_path / "p"), "has no entry 999"),
        (("check", case.log, "--key", case.key), "this is not a proof"),
        (("check", tmp_path / "none", "--key", case.key), "cannot be read"),
    ]:
        assert case.audit(*arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "\n  fix: " in error
        assert error.count("\n") == 2
    assert not (tmp_path / "p").exists()


def test_entries_are_shown_by_time_and_kind(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert case.audit("show", case.log) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == SIZE
    assert "not verified" in shown.err
    alert = next(line for line in shown.out.splitlines() if "alert-decided" in line)
    time = f"2026-06-20 08:55:{ALERT}"
    for part in (time, "system:van-1", "entry=W-0042", "score=0.6200", "captured_at=2026-06-20T"):
        assert part in alert

    assert (
        case.audit("show", case.log, "--since", "2026-06-20T08:55:10Z", "--until", "2026-06-20T08:55:12", "--json") == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["index"] for line in lines] == [10, 11]
    assert all(f"{line}\n".encode() in case.log.read_bytes() for line in lines)

    assert case.audit("show", case.log, "--event", "period-began", "--event", "period-ended") == 0
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines()] == ["period-began", "period-ended"]


def test_an_unknown_kind_is_refused_with_the_usage(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        case.audit("show", case.log, "--event", "nothing")
    assert ended.value.code == 2
    assert "period-began" in capsys.readouterr().err


def test_one_entry_is_proved_to_somebody_without_the_log(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = tmp_path / "entry.tlog-proof"
    assert case.audit("prove", case.log, "--key", case.key, "--entry", str(ALERT), "--out", proof) == 0
    case.log.unlink()
    capsys.readouterr()
    assert case.audit("check", proof, "--key", case.key) == 0
    said = capsys.readouterr().out
    assert f"in the log 'lfr-edge/example/van-1', which had {SIZE} entries" in said
    assert "alert-decided" in said

    proof.write_bytes(proof.read_bytes().replace(f"index {ALERT}".encode(), b"index 20"))
    assert case.audit("check", proof, "--key", case.key) == 2
    assert "did not hold this as its entry 20" in capsys.readouterr().err


def lfr_edge(*arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "lfr_edge.cli.main", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_reader_who_leaves_early_is_no_error(case: Case) -> None:
    write_log(case.log, signer(case.private), EXAMPLES[2:] * 20)  # more than a pipe holds
    with lfr_edge("audit", "show", str(case.log)) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.readline()
        shown.stdout.close()
        assert shown.wait(30) == 141
        assert shown.stderr.read().splitlines() == [b"not verified: use `lfr-edge audit verify`"]


def test_an_auditor_needs_no_engine_no_camera_and_no_network_library() -> None:
    program = (
        "import sys, lfr_edge.cli.audit; print(*{'numpy', 'av', 'openvino', 'paho', 'PIL', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
