"""Entries compared with each other: equal to brute force, whatever the blocks, and bounded."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.watchlist.lookalikes import compare


@pytest.fixture
def templates() -> NDArray[Any]:
    rows = np.random.default_rng(1).standard_normal((60, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


OWNERS = np.repeat(np.arange(40, dtype=np.int32), [2, 1] * 20)


@pytest.mark.parametrize("block", [1, 7, 256])
def test_pairs_equal_brute_force_across_blocks(
    templates: NDArray[Any], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfr_edge.watchlist.lookalikes._BLOCK", block)
    scores = templates @ templates.T
    best: dict[tuple[int, int], float] = {}
    for one, other in combinations(range(60), 2):
        key = int(OWNERS[one]), int(OWNERS[other])
        if key[0] != key[1]:
            best[key] = max(best.get(key, -1), float(scores[one, other]))
    expected = {key: score for key, score in best.items() if score >= 0.6}
    found = compare(templates, OWNERS, alike=0.6, unlike=0.2)
    assert {(pair.first, pair.second): pair.score for pair in found.look_alikes} == pytest.approx(expected)
    assert len(expected) > 20
    assert [pair.score for pair in found.look_alikes] == sorted(
        (pair.score for pair in found.look_alikes), reverse=True
    )
    assert found.complete
    least = {entry: float(scores[3 * entry // 2, 3 * entry // 2 + 1]) for entry in range(0, 40, 2)}
    assert {pair.first: pair.score for pair in found.disagreeing} == pytest.approx(
        {entry: score for entry, score in least.items() if score < 0.2}
    )


def test_a_list_of_one_person_ends_and_says_that_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfr_edge.watchlist.lookalikes._MOST_PAIRS", 100)
    monkeypatch.setattr("lfr_edge.watchlist.lookalikes._BLOCK", 16)
    same = np.zeros((80, 4), np.float32)
    same[:, 0] = 1
    found = compare(same, np.arange(80, dtype=np.int32), alike=0.5, unlike=0.5)
    assert len(found.look_alikes) == 100
    assert not found.complete
