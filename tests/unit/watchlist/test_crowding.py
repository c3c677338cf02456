"""Who resembles many on the list scores lower; nobody ever scores higher; nothing of it stays behind."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.errors import DeviceError
from lfr_edge.watchlist.crowding import MOST, NEAREST, extent, lowering

DIMENSION = 32


@pytest.fixture
def arena() -> Arena:
    return Arena(1 << 23)


def people(count: int, *, alike: int = 0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Random directions; the first `alike` resemble each other at about .6."""
    rows = np.random.default_rng(count).standard_normal((count, dimension)).astype(np.float32)
    rows[:alike, 0] += 1.2 * np.sqrt(np.float32(dimension))
    return unit(rows)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def lowered(arena: Arena, rows: NDArray[np.float32], owners: list[int] | None = None) -> NDArray[np.float32]:
    entry_of_template = np.array(range(len(rows)) if owners is None else owners, np.int32)
    with lowering(rows, entry_of_template, arena) as lease:
        return np.array(lease.array)


def by_hand(rows: NDArray[np.float32], owners: list[int]) -> list[float]:
    first = [owners.index(entry) for entry in range(owners[-1] + 1)]
    excesses = []
    for row, owner in zip(rows, owners, strict=True):
        others = sorted(float(row @ rows[place]) for entry, place in enumerate(first) if entry != owner)
        excesses.append(sum(others[-NEAREST:]) / NEAREST - sum(others) / len(others))
    quartile = sorted(excesses)[len(excesses) // 4]
    return [min(max(excess - quartile, 0) / 2, MOST) for excess in excesses]


@pytest.mark.parametrize("count", [12, 13, 40, 300])
def test_it_is_half_of_the_excess_above_the_lower_quartile(arena: Arena, count: int) -> None:
    rows = people(count, alike=count // 3)
    assert lowered(arena, rows) == pytest.approx(by_hand(rows, list(range(count))), abs=1e-5)


def test_of_other_entries_the_first_template_counts_and_of_its_own_none(arena: Arena) -> None:
    owners = [entry for entry in range(30) for _ in range(1 + entry % 3)]
    rows = people(len(owners), alike=20)
    assert lowered(arena, rows, owners) == pytest.approx(by_hand(rows, owners), abs=1e-5)


def test_who_resembles_many_is_lowered_and_who_resembles_few_is_not(arena: Arena) -> None:
    amounts = lowered(arena, people(60, alike=15, dimension=512))
    assert amounts[:15].min() > 0.04
    assert amounts[15:].max() < 0.02


def test_however_many_relatives_or_copies_are_listed_nobody_loses_more_than_the_most(arena: Arena) -> None:
    rows = people(300, alike=12)
    rows[:12] = rows[0]
    assert lowered(arena, rows)[:12] == pytest.approx(MOST)
    assert lowered(arena, rows).max() == pytest.approx(MOST)


@pytest.mark.parametrize(("count", "alike"), [(NEAREST + 1, 5), (200, 50)])
def test_the_extent_is_how_many_entries_are_lowered_and_the_most(arena: Arena, count: int, alike: int) -> None:
    rows, owners = people(2 * count, alike=alike), [place // 2 for place in range(2 * count)]
    amounts = lowered(arena, rows, owners)
    found = {owner for owner, amount in zip(owners, amounts.tolist(), strict=True) if amount > 0}
    assert extent(rows, np.array(owners, np.int32)) == (len(found), pytest.approx(amounts.max()))


def test_no_score_is_raised_and_a_quarter_of_the_list_keeps_its_cosines(arena: Arena) -> None:
    amounts = lowered(arena, people(200, alike=50))
    assert amounts.min() == 0
    assert np.count_nonzero(amounts == 0) >= 50


def test_a_list_of_which_most_are_one_person_hardly_lowers_anybody_else(arena: Arena) -> None:
    amounts = lowered(arena, people(60, alike=40))
    assert amounts[40:].max() < 0.03


def test_a_short_list_is_not_lowered(arena: Arena) -> None:
    assert not lowered(arena, people(NEAREST + 1, alike=5)).any()
    assert lowered(arena, people(NEAREST + 10, alike=12)).any()


def test_the_same_person_listed_twice_costs_less_than_a_fortieth(arena: Arena) -> None:
    rows = people(300)
    once = lowered(arena, rows)[0]
    rows[1] = unit((rows[:1] + rows[1:2]) * np.float32(1))[0]  # .7 alike
    assert once < lowered(arena, rows)[0] < once + 0.04


def test_of_a_long_list_a_thousand_stand_for_all(arena: Arena) -> None:
    rows = people(2500, dimension=8)
    amounts = lowered(arena, rows)
    # Every third is a member: 833 and one.
    similar = rows @ rows[::3].T
    similar[np.arange(0, 2500, 3), np.arange(834)] = np.nan
    excess = np.sort(similar, axis=1)  # NaN last
    assert np.isnan(excess[0, -1])
    expected = [float(np.mean(row[~np.isnan(row)][-NEAREST:]) - np.nanmean(row)) for row in excess]
    quartile = np.sort(expected)[625]
    assert amounts == pytest.approx(np.clip((np.array(expected) - quartile) / 2, 0, MOST), abs=1e-5)


def test_nothing_stays_in_memory(arena: Arena) -> None:
    lowered(arena, people(50, alike=20))
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_without_memory_nothing_is_kept_either() -> None:
    small = Arena(1 << 12)
    with pytest.raises(DeviceError, match="the arena"):
        lowered(small, people(100))
    assert small.leased_bytes == 0
