"""What the tests of evaluation share."""

from collections.abc import Iterator

import pytest
from support.square_faces import FakeExtractor

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.inference.manifest import EngineSet


@pytest.fixture
def arena() -> Iterator[Arena]:
    """An arena that must have everything back at the end of the test."""
    arena = Arena(8 << 20, memory_lock=FakeMemoryLock(allow=False))
    yield arena
    assert arena.leased_bytes == 0


@pytest.fixture
def extractor(engine_set: EngineSet, arena: Arena) -> FakeExtractor:
    return FakeExtractor(engine_set, arena)
