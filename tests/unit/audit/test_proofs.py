"""Proofs for whoever is not shown the log."""

import base64
from pathlib import Path

import pytest
from support.audit_events import EXAMPLES, signer, write_log

from lfr_edge.audit.proofs import check_inclusion, prove_inclusion
from lfr_edge.audit.reader import verify_log
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import ConfigError, LfrEdgeError, Reason, UntrustedInputError

KEY = SigningKey.generate()
SIGNER = signer(KEY)
SIZE = len(EXAMPLES) - 1


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "van.log"
    write_log(path, SIGNER)
    return path


def reason(proof: bytes, key: SigningKey = KEY) -> Reason:
    with pytest.raises(UntrustedInputError) as refused:
        check_inclusion(proof, key.public)
    return refused.value.reason


def test_every_entry_can_be_proved(path: Path) -> None:
    for index, event in enumerate(EXAMPLES[2:], 1):
        proved = check_inclusion(prove_inclusion(path, KEY.public, index), KEY.public)
        assert (proved.entry.index, proved.entry.event) == (index, event)
        assert (proved.checkpoint.origin, proved.checkpoint.size) == (SIGNER.name, SIZE)


def test_a_proof_is_a_tlog_proof(path: Path) -> None:
    proof = prove_inclusion(path, KEY.public, 2)
    head, _, note = proof.partition(b"\n\n")
    first, extra, index, *nodes = head.decode().split("\n")
    assert (first, index) == ("c2sp.org/tlog-proof@v1", "index 2")
    assert base64.b64decode(extra.removeprefix("extra ")).startswith(b'{"at":')
    assert [len(base64.b64decode(node)) for node in nodes] == [32] * 6
    assert note == verify_log(path, KEY.public).note


def test_no_changed_byte_of_a_proof_proves_anything_else(path: Path) -> None:
    proof = prove_inclusion(path, KEY.public, 5)
    for place in range(len(proof)):
        reason(proof[:place] + bytes([proof[place] ^ 1]) + proof[place + 1 :])
        reason(proof[:place])


def test_a_forged_entry_is_not_proved(path: Path) -> None:
    proof = prove_inclusion(path, KEY.public, 5)
    _, extra, *_ = proof.split(b"\n")
    entry = base64.b64decode(extra.removeprefix(b"extra "))
    for forged in (entry.replace(b"Supt A", b"Supt B"), b"{}", entry + b" "):
        assert forged != entry
        wrong = proof.replace(extra, b"extra " + base64.b64encode(forged))
        assert reason(wrong) in {Reason.DIGEST_MISMATCH, Reason.MALFORMED}


def test_a_proof_is_of_one_log(path: Path) -> None:
    assert reason(prove_inclusion(path, KEY.public, 5), SigningKey.generate()) is Reason.SIGNER_UNKNOWN


@pytest.mark.parametrize("proof", [b"", b"c2sp.org/tlog-proof@v1\n", b"x" * 1_000_000])
def test_what_is_no_proof_is_refused(proof: bytes) -> None:
    assert reason(proof) is Reason.MALFORMED


@pytest.mark.parametrize("index", [-1, SIZE, 1 << 70])
def test_an_entry_that_is_not_there_is_one_clear_error(path: Path, index: int) -> None:
    with pytest.raises(ConfigError, match=f"0 to {SIZE - 1}"):
        prove_inclusion(path, KEY.public, index)


def test_a_changed_log_proves_nothing(path: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.log"
    changed.write_bytes(path.read_bytes().replace(b"registry", b"package_"))
    with pytest.raises(LfrEdgeError):
        prove_inclusion(changed, KEY.public, 3)


def test_a_log_with_an_unsigned_end_proves_nothing(path: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer.log"
    longer.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UntrustedInputError) as refused:
        prove_inclusion(longer, KEY.public, 3)
    assert refused.value.reason is Reason.TRUNCATED
