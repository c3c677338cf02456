"""What every test may use: the shared data where it is, and the engine sets fetched from it."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of models and footage that are not part of the repository."""
    folder = Path(os.environ.get("LFR_EDGE_SHARED", "../shared"))
    folder = folder if folder.is_absolute() else REPOSITORY / folder
    if not (folder / "models").is_dir():
        pytest.skip(f"needs the shared models and footage; {folder} is not there (set LFR_EDGE_SHARED)")
    return folder
