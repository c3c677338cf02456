"""The registry: only grows, and shows it when somebody changed it."""

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from lfr_edge.errors import UntrustedInputError
from lfr_edge.messages.examples import RECIPIENT
from lfr_edge.office.registry import FiledReceipt, Registry, SealedList

NOW = datetime(2026, 6, 1, 9, tzinfo=timezone.utc)


def sealed(order: str, *entries: str, van: str = "van-1", days: int = 0) -> SealedList:
    return SealedList(
        at=NOW,
        force="example",
        order=order,
        vans=(van,),
        recipients=(RECIPIENT,),
        not_before=NOW + timedelta(days=days),
        not_after=NOW + timedelta(days=days, hours=18),  # into the next day
        watchlist_sha256="1" * 64,
        references_sha256="2" * 64,
        workspace="3" * 64,
        entries=entries,
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry.jsonl")


def test_it_says_on_which_lists_an_id_was(registry: Registry) -> None:
    assert registry.lists_with("E-1") == []
    registry.append(sealed("one", "E-1", "E-2"))
    registry.append(sealed("two", "E-2", days=7))
    assert [line.order for line in registry.lists_with("E-2")] == ["one", "two"]
    assert [line.order for line in registry.lists_with("E-1")] == ["one"]
    days = {day: [line.order for line in registry.lists_with("E-2", date(2026, 6, day))] for day in (1, 2, 3, 8, 9)}
    assert days == {1: ["one"], 2: ["one"], 3: [], 8: ["two"], 9: ["two"]}


def test_it_says_which_vans_owe_a_receipt(registry: Registry) -> None:
    registry.append(sealed("one", "E-1"))
    registry.append(sealed("one", "E-1", van="van-2"))
    assert registry.receipts_owed("one") == ["van-1", "van-2"]
    registry.append(FiledReceipt(at=NOW, order="one", van="van-2", receipt_sha256="4" * 64, level="key-destroyed"))
    registry.append(FiledReceipt(at=NOW, order="other", van="van-1", receipt_sha256="4" * 64, level="key-destroyed"))
    assert registry.receipts_owed("one") == ["van-1"]


def test_it_is_its_owners_only(registry: Registry, tmp_path: Path) -> None:
    registry.append(sealed("one", "E-1"))
    assert (tmp_path / "registry.jsonl").stat().st_mode & 0o777 == 0o600


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "changed": lambda lines: [lines[0].replace(b"E-1", b"E-9"), *lines[1:]],
    "dropped-first": lambda lines: lines[1:],
    "dropped-middle": lambda lines: [lines[0], lines[2]],
    "swapped": lambda lines: [lines[0], lines[2], lines[1]],
    "doubled": lambda lines: [lines[0], lines[0], *lines[1:]],
    "garbage": lambda lines: [*lines, b"garbage\n"],
    "blank": lambda lines: [*lines, b"\n"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_and_nothing_is_added_to_it(registry: Registry, tmp_path: Path, change: str) -> None:
    path = tmp_path / "registry.jsonl"
    for number in range(3):
        registry.append(sealed(f"order-{number}", "E-1"))
    path.write_bytes(b"".join(CHANGES[change](path.read_bytes().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(UntrustedInputError, match="was changed: line"):
        registry.lists_with("E-1")
    with pytest.raises(UntrustedInputError):
        registry.append(sealed("more", "E-1"))
    assert path.read_bytes() == before


def test_a_write_that_was_interrupted_at_any_byte_is_cut_off_by_the_next(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    registry.append(sealed("one", "E-1"))
    one = path.read_bytes()
    registry.append(sealed("two", "E-1"))
    both = path.read_bytes()
    for end in range(len(one), len(both)):
        path.write_bytes(both[:end])
        assert [line.order for line in registry.lists_with("E-1")] == ["one"]
    registry.append(sealed("two", "E-1"))
    assert path.read_bytes() == both
