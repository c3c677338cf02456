"""The daemon, which writes down when it was done with each picture, and under which order. Only tests run it."""

import os
import sys
import time
from typing import Any, TextIO

from lfr_edge.cli.main import main
from lfr_edge.pipeline import recognise
from lfr_edge.pipeline.recognise import Step

_finish = recognise.Recogniser.finish


def _timed(into: TextIO) -> Any:
    def finish(self: recognise.Recogniser, step: Step) -> object:
        alerts = _finish(self, step)
        order = self._sealer.order.id  # type: ignore[attr-defined]
        into.write(f"{time.monotonic():.4f} {step.frame.captured_ns / 1e9:.4f} {order}\n")
        return alerts

    return finish


if __name__ == "__main__":
    with open(os.environ["PICTURES_FILE"], "a", buffering=1, encoding="ascii") as file:  # noqa: PTH123
        recognise.Recogniser.finish = _timed(file)  # type: ignore[method-assign]
        sys.exit(main())
