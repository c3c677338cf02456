"""What an extractor's `start` returns, for extractors that are no networks."""

from collections.abc import Callable

from lfr_edge.vision.detection import Detection


class FakeFaceSearch:
    """Looks when it is asked what was found, and counts what is done with it."""

    def __init__(self, look: Callable[[], list[Detection]]) -> None:
        self._look = look
        self.waited = 0
        self.ended = 0

    def wait(self) -> None:
        self.waited += 1

    def faces(self) -> list[Detection]:
        return self._look()

    def __enter__(self) -> "FakeFaceSearch":
        return self

    def __exit__(self, *_: object) -> None:
        self.ended += 1
