"""What every test may use: the shared data where it is, and an engine set fetched from it."""

import os
import signal
from pathlib import Path

import pytest

from lfr_edge.cli.demo_scene import Scene, rows_of, set_the_scene
from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.inference.store import EngineStore

REPOSITORY = Path(__file__).resolve().parents[1]

# A shell starts what it puts into the background with SIGINT ignored, and a test's own processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of models and footage that are not part of the repository."""
    folder = Path(os.environ.get("LFR_EDGE_SHARED", "../shared"))
    folder = folder if folder.is_absolute() else REPOSITORY / folder
    if not (folder / "models").is_dir():
        pytest.skip(f"needs the shared models and footage; {folder} is not there (set LFR_EDGE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def engine_set() -> EngineSet:
    """The default engine set."""
    return load_engine_set("yunet-mobilefacenet")


@pytest.fixture(scope="session")
def engine_store(shared: Path, engine_set: EngineSet) -> EngineStore:
    """A store with the default engine set in it, kept between runs."""
    store = EngineStore(REPOSITORY / ".cache" / "engines")
    store.fetch(engine_set, [shared / "models"])
    return store


@pytest.fixture(scope="session")
def two_listed(tmp_path_factory: pytest.TempPathFactory, engine_set: EngineSet, engine_store: EngineStore) -> Scene:
    """A sealed deployment with P25 and P03 on its list. Not to be changed: see `support.rehearsal.copied`."""
    folder = tmp_path_factory.mktemp("two-listed") / "van"
    folder.mkdir()
    rows = [row for row in rows_of(None) if row.particulars.id in {"P25", "P03"}]
    return set_the_scene(folder, rows, engine_set, engine_store)
