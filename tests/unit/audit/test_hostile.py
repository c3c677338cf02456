"""Any bytes at all end in an answer or in one of our errors, never in a crash."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.audit_events import EXAMPLES, signer, write_log

from lfr_edge.audit.checkpoint import claimed_origin, open_checkpoint
from lfr_edge.audit.entries import Entry
from lfr_edge.audit.log import AuditLog
from lfr_edge.audit.proofs import check_inclusion, prove_inclusion
from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.notes import is_name
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import LfrEdgeError

KEY = SigningKey.generate()
SIGNER = signer(KEY)
often = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = st.sampled_from(
    [
        b'{"at":',
        b'{"checkpoint":"',
        b"\n",
        b"\\n\\n\xe2\x80\x94 lfr-edge/example/van-1 ",
        b"[" * 300,
        b"9" * 5000,
        b"\xff",
    ]
)
anything = st.lists(st.one_of(PIECES, st.binary(max_size=60)), max_size=12).map(b"".join)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A short log, and a proof of one of its entries."""
    path = tmp_path_factory.mktemp("log") / "van.log"
    write_log(path, SIGNER, EXAMPLES[2:5])
    return path.read_bytes(), prove_inclusion(path, KEY.public, 2)


def read_everything(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with contextlib.suppress(LfrEdgeError):
        verify_log(path, KEY.public, [content])
    with contextlib.suppress(LfrEdgeError):
        verify_log(path, KEY.public)
    with path.open("rb") as file, contextlib.suppress(LfrEdgeError):
        list(unverified_entries(file))
    for parse in (Entry.from_canonical, lambda note: open_checkpoint(note, SIGNER.verifier)):
        with contextlib.suppress(LfrEdgeError):
            parse(content)
    with contextlib.suppress(LfrEdgeError):
        check_inclusion(content, KEY.public)
    with contextlib.suppress(LfrEdgeError):
        AuditLog.open(path, SIGNER, ManualClock()).close()
    assert is_name(claimed_origin(content))


@often
@given(content=anything)
def test_rubbish_is_refused_in_our_words(content: bytes, tmp_path: Path) -> None:
    read_everything(content, tmp_path / "van.log")


@often
@given(data=st.data())
def test_a_log_with_a_piece_of_rubbish_in_it_is_refused_in_our_words(
    data: st.DataObject, whole: tuple[bytes, bytes], tmp_path: Path
) -> None:
    content = data.draw(st.sampled_from(whole))
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 80)))
    read_everything(content[:start] + data.draw(anything) + content[end:], tmp_path / "van.log")
