"""What the measurements share: the real engines, and the real people."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.evaluation.dataset import DataSet, read_data_set
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.pipeline.extract import Extractor


@pytest.fixture(scope="session")
def lfw(shared: Path) -> DataSet:
    """The shared part of Labeled Faces in the Wild."""
    folder = shared / "media" / "lfw"
    if not folder.is_dir():
        pytest.skip(f"needs faces of real people; {folder} is not there")
    return read_data_set(folder)


@pytest.fixture(scope="session")
def signers(shared: Path) -> Path:
    """Clips of real people."""
    folder = shared / "media" / "real" / "signers"
    if not folder.is_dir():
        pytest.skip(f"needs footage of real people; {folder} is not there")
    return folder


@pytest.fixture(scope="session")
def extractor(engine_set: EngineSet, engine_store: EngineStore) -> Iterator[Extractor]:
    """The default engine set, loaded."""
    extractor = open_extractor(engine_set, engine_store, Arena(128 << 20), threads=2)
    yield extractor
    extractor.close()
