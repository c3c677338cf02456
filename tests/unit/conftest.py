"""What every unit test has."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lfr_edge.pipeline.outbox import Outbox


@pytest.fixture(autouse=True)
def every_outbox_is_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Also one that a test leaves open: from Python 3.13 on that is a warning, in whatever test comes later."""
    opened: list[Outbox] = []
    make = Outbox.__init__

    def open_and_note(self: Outbox, path: Path) -> None:
        make(self, path)
        opened.append(self)

    monkeypatch.setattr(Outbox, "__init__", open_and_note)
    yield
    for outbox in opened:
        outbox.close()
