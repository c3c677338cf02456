"""The search: exact, per entry, and without a word about anybody left behind."""

import tracemalloc
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import TEMPLATES, WORKSPACE
from lfr_edge.watchlist import references
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.references import Watchlist

DIMENSION = 16


def watchlist_of(
    arena: Arena,
    entries: tuple[Entry, ...],
    rows: NDArray[np.float32],
    owners: list[int],
    lowered: NDArray[np.float32] | None = None,
) -> Watchlist:
    lease = arena.lease(TEMPLATES, rows.shape, np.float32)
    np.copyto(lease.array, rows)
    lowering = None
    if lowered is not None:
        lowering = arena.lease(TEMPLATES, lowered.shape, np.float32)
        np.copyto(lowering.array, lowered)
    return Watchlist(entries, lease, np.array(owners, np.int32), lowering)


def brute_force(
    rows: NDArray[np.float32], owners: list[int], lowered: NDArray[np.float32], features: NDArray[np.float32]
) -> list[tuple[int, float, float]]:
    """Entry, cosine and score of the first two."""
    best: dict[int, tuple[float, float]] = {}
    for row, owner, less in zip(rows, owners, lowered.tolist(), strict=True):
        cosine = sum(float(a) * float(b) for a, b in zip(row, features, strict=True))
        best[owner] = max((cosine, cosine - less), best.get(owner, (-2.0, -2.0)))
    ranked = sorted(best.items(), key=lambda pair: -pair[1][0])[:2]
    return [(owner, cosine, score) for owner, (cosine, score) in ranked]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(0, 2**32 - 1), st.sampled_from([0, 1 << 20]))
def test_search_equals_brute_force_with_several_templates_per_entry(
    templates_per_entry: list[int], seed: int, most_cached_bytes: int
) -> None:
    random = np.random.default_rng(seed)
    owners = [entry for entry, count in enumerate(templates_per_entry) for _ in range(count)]
    drawn = random.standard_normal((len(owners) + 2, DIMENSION)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    rows, probes = drawn[:-2], drawn[-2:]
    lowered = random.uniform(0, 0.5, len(rows)).astype(np.float32)
    arena = Arena(1 << 16)
    entries = tuple(
        Entry.model_construct(id=str(number))  # the search reads nothing else of an entry
        for number in range(len(templates_per_entry))
    )
    watchlist = watchlist_of(arena, entries, rows, owners, lowered)
    with (
        patch.object(references, "_MOST_CACHED_BYTES", most_cached_bytes),
        arena.lease(WORKSPACE, (len(owners),), np.float32) as scores,
    ):
        found = [watchlist.search(probe, scores=scores.array) for probe in probes]
    watchlist.wipe()
    for probe, (first, second) in zip(probes, found, strict=True):
        expected = brute_force(rows, owners, lowered, probe)
        assert first.entry.id == str(expected[0][0])
        assert first.rank == 1
        assert (first.cosine, first.score) == pytest.approx(expected[0][1:], abs=1e-5)
        if len(entries) == 1:
            assert second is None
        else:
            assert second is not None
            assert second.entry.id == str(expected[1][0])
            assert second.rank == 2
            assert (second.cosine, second.score) == pytest.approx(expected[1][1:], abs=1e-5)


def test_the_runner_up_is_another_entry_even_if_one_entry_has_the_two_best_templates(
    arena: Arena, make_entry: Callable[..., Entry]
) -> None:
    rows = np.eye(3, DIMENSION, dtype=np.float32)
    rows[1] = [0.8, 0.6] + [0] * (DIMENSION - 2)
    watchlist = watchlist_of(arena, (make_entry(0), make_entry(1)), rows, [0, 0, 1])
    with arena.lease(WORKSPACE, (3,), np.float32) as scores:
        first, second = watchlist.search(rows[0], scores=scores.array)
    assert (first.entry.id, first.score) == ("E-000", 1.0)
    assert second is not None
    assert (second.entry.id, second.score) == ("E-001", 0.0)


def test_who_is_lowered_keeps_the_rank_of_the_cosine(arena: Arena, make_entry: Callable[..., Entry]) -> None:
    rows = np.eye(2, DIMENSION, dtype=np.float32)
    watchlist = watchlist_of(arena, (make_entry(0), make_entry(1)), rows, [0, 1], np.array([0.25, 0], np.float32))
    with arena.lease(WORKSPACE, (2,), np.float32) as scores:
        first, second = watchlist.search(np.float32(0.5) * rows[0] + np.float32(0.375) * rows[1], scores=scores.array)
    assert (first.entry.id, first.cosine, first.score) == ("E-000", 0.5, 0.25)
    assert second is not None
    assert (second.entry.id, second.cosine, second.score) == ("E-001", 0.375, 0.375)


def test_rounding_takes_no_cosine_below_its_range(arena: Arena, make_entry: Callable[..., Entry]) -> None:
    row = np.eye(1, DIMENSION, dtype=np.float32)
    watchlist = watchlist_of(arena, (make_entry(0),), row, [0])
    with arena.lease(WORKSPACE, (1,), np.float32) as scores:
        first, _ = watchlist.search(np.float32(-1.000001) * row[0], scores=scores.array)
    assert first.cosine == -1


def test_a_wiped_watchlist_holds_nothing_and_cannot_be_searched(
    arena: Arena, make_entry: Callable[..., Entry], unit_rows: Callable[[int, int], NDArray[np.float32]]
) -> None:
    rows = unit_rows(2, DIMENSION)
    lowered = np.array([0.25, 0], np.float32)
    watchlist = watchlist_of(arena, (make_entry(0), make_entry(1)), rows, [0, 1], lowered)
    watchlist.wipe()
    assert not np.frombuffer(arena._map, np.uint8).any()
    with pytest.raises(RuntimeError, match="released"):
        watchlist.search(rows[0], scores=np.empty(2, np.float32))


def test_a_search_keeps_no_view_of_what_it_was_given(
    arena: Arena, make_entry: Callable[..., Entry], unit_rows: Callable[[int, int], NDArray[np.float32]]
) -> None:
    watchlist = watchlist_of(arena, (make_entry(0), make_entry(1)), unit_rows(2, DIMENSION), [0, 1])
    features = arena.lease(WORKSPACE, (DIMENSION,), np.float32)
    scores = arena.lease(WORKSPACE, (2,), np.float32)
    watchlist.search(features.array, scores=scores.array)
    features.release()  # raises EscapedViewError if one was kept
    scores.release()
    watchlist.wipe()
    assert arena.leased_bytes == 0


@pytest.mark.parametrize("most_cached_bytes", [0, 1 << 20])
def test_a_search_puts_no_score_anywhere_but_where_it_was_told_to(
    most_cached_bytes: int, make_entry: Callable[..., Entry], unit_rows: Callable[[int, int], NDArray[np.float32]]
) -> None:
    count = 4000
    rows = unit_rows(count, DIMENSION)
    watchlist = watchlist_of(Arena(1 << 20), (make_entry(0), make_entry(1)), rows, [0] + [1] * (count - 1))
    scores = np.empty(count, np.float32)
    with patch.object(references, "_MOST_CACHED_BYTES", most_cached_bytes):
        tracemalloc.start()
        watchlist.search(rows[7], scores=scores)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < scores.nbytes / 4
    watchlist.wipe()
