"""Receipts between the thread that writes them and the one that hands them to the broker."""

import errno
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO

import pytest

from lfr_edge.crypto.signing import SigningKey
from lfr_edge.files import new_file
from lfr_edge.messages.examples import ORDER, RECIPIENT
from lfr_edge.van import erasure
from lfr_edge.van.erasure import Erased, Handover, Holding, note_sent, waiting, write_receipt
from lfr_edge.van.lifecycle import Terms
from lfr_edge.van.prekeys import PrekeyStock

NOW = datetime(2026, 6, 20, 12, tzinfo=timezone.utc)
SIGNER = ("example", "van-1", SigningKey.generate())


@pytest.fixture
def holding(tmp_path: Path) -> Holding:
    return Holding(tmp_path / "deployment", tmp_path / "receipts", PrekeyStock(tmp_path / "p", tmp_path / "w"))


def written(holding: Holding, order: str = ORDER.id) -> Erased:
    terms = Terms(
        order=order,
        order_sha256="b" * 64,
        watchlist_sha256="a" * 64,
        recipient=RECIPIENT,
        one_time=True,
        not_before=NOW,
        not_after=NOW + timedelta(hours=6),
    )
    return write_receipt(holding, terms, "replaced", SIGNER, NOW)


def test_a_receipt_that_leaves_the_moment_it_is_there_is_the_one_that_was_written(
    holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def sent_at_once(path: Path) -> Iterator[BinaryIO]:
        with new_file(path) as file:
            yield file
        note_sent(path)

    monkeypatch.setattr(erasure, "new_file", sent_at_once)
    done = written(holding)
    (sent,) = (holding.receipts / "sent").iterdir()
    assert done.receipt_sha256 == hashlib.sha256(sent.read_bytes()).hexdigest()


def test_a_receipt_that_leaves_while_it_is_looked_for_is_not_written_twice(
    holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(holding)
    genuine = Path.read_bytes

    def too_late(path: Path) -> bytes:
        if path.parent == holding.receipts and path.exists():
            note_sent(path)
        return genuine(path)

    monkeypatch.setattr(Path, "read_bytes", too_late)
    assert written(holding) == first
    assert waiting(holding.receipts) == []


def test_a_receipt_that_the_disk_holds_up_is_said_once_and_holds_up_no_other(
    holding: Holding, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written(holding, "first")
    written(holding, "second")
    given: list[bytes] = []
    hand_over = Handover(holding.receipts, given.append)

    def full(receipt: Path) -> None:
        if receipt.name.startswith("first"):
            raise OSError(errno.ENOSPC, "No space left on device")
        note_sent(receipt)

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(erasure, "note_sent", full)
        for _ in range(3):
            hand_over()
    assert [path.name.split("-")[0] for path in waiting(holding.receipts)] == ["first"]
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text
    hand_over()
    assert waiting(holding.receipts) == []
    assert len(set(given)) == 2
