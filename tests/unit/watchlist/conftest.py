"""A small watchlist of made-up vectors."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.watchlist.container import ContainerReader, write_watchlist
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.references import Watchlist

CONTRACT = "c0" * 32


@pytest.fixture
def contract() -> str:
    return CONTRACT


@pytest.fixture
def arena() -> Arena:
    return Arena(1 << 22)


@pytest.fixture
def make_entry() -> Callable[..., Entry]:
    def make(number: int, **changes: Any) -> Entry:
        fields = {
            "id": f"E-{number:03}",
            "category": "wanted on warrant",
            "response": "red",
            "legal_basis": "PACE 1984 s.64A",
            "source": "custody",
            "captured": date(2025, 3, 1),
            "picture": PictureMember(offset=0, length=1, key="ab" * 32),
        }
        return Entry(**{**fields, **changes})

    return make


@pytest.fixture
def unit_rows() -> Callable[[int, int], NDArray[np.float32]]:
    def rows(count: int, dimension: int) -> NDArray[np.float32]:
        drawn = np.random.default_rng(count * dimension).standard_normal((count, dimension)).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    return rows


@pytest.fixture
def container(make_entry: Callable[..., Entry], unit_rows: Callable[[int, int], NDArray[np.float32]]) -> bytes:
    """Three entries with 1, 2 and 1 templates of 8 values."""
    entries = tuple(make_entry(number) for number in range(3))
    owners = np.array([0, 1, 1, 2], np.int32)
    return write_watchlist(entries, unit_rows(4, 8), owners, contract=CONTRACT)


@pytest.fixture
def read(arena: Arena) -> Callable[..., Watchlist]:
    """Feed a container's plaintext in chunks of `step` bytes."""

    def read(plaintext: bytes, *, step: int = 8192, contract: str = CONTRACT, dimension: int = 8) -> Watchlist:
        with ContainerReader(arena, contract=contract, dimension=dimension) as reader:
            for start in range(0, len(plaintext), step):
                reader.write(plaintext[start : start + step])
            return reader.finish()

    return read
