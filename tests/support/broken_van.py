"""The daemon with one fault planted, named by the environment; at its end it says what is left of what it held.

Only the fault tests run it.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from lfr_edge.biometrics.retention import FRAME
from lfr_edge.cli.main import main
from lfr_edge.messages.match import SealedMatch
from lfr_edge.pipeline import outbox, recognise
from lfr_edge.pipeline.frame_source import Frame
from lfr_edge.van import daemon, stages

FAULT = os.environ["PLANTED_FAULT"]
AT_PICTURE = 15
DAEMONS: list[daemon.Daemon] = []
HELD: list[object] = []

_init, _put = daemon.Daemon.__init__, stages.Mailbox.put
_start, _finish = recognise.Recogniser.start, recognise.Recogniser.finish


def _remembered(self: daemon.Daemon, *arguments: object) -> None:
    _init(self, *arguments)  # type: ignore[arg-type]
    DAEMONS.append(self)


def _failing_start(self: recognise.Recogniser, frame: Frame) -> recognise.Step:
    step = _start(self, frame)
    if FAULT == "start" and frame.sequence == AT_PICTURE:
        with step:
            raise ZeroDivisionError("a fault")
    return step


def _failing_finish(self: recognise.Recogniser, step: recognise.Step) -> list[SealedMatch]:
    if step.frame.sequence == AT_PICTURE:
        if FAULT == "recognise":
            return [step.frame.image.pixels["a fault"]]  # what numpy says to this must not show the picture
        if FAULT == "lease":
            held = self._extractor.arena.lease(FRAME, (64,))
            held.array.fill(7)
            HELD.append(held)
    return _finish(self, step)


def _failing_put(self: stages.Mailbox, frame: Frame) -> None:
    if FAULT == "capture" and frame.sequence == AT_PICTURE:
        raise ZeroDivisionError("a fault")
    _put(self, frame)


def _failing_next(_self: outbox.Outbox, _sequence: int) -> None:
    raise ZeroDivisionError("a fault")


def _what_is_left() -> dict[str, object]:
    (the_daemon,) = DAEMONS
    files = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()]  # noqa: PTH115 - odd names
    return {
        "arena_is_zero": not np.frombuffer(the_daemon._arena._map, np.uint8).any(),
        "clip_is_open": any(file.endswith(".mp4") for file in files),
        "package_is_open": any(file.endswith(".lfrd") for file in files),
    }


if __name__ == "__main__":
    daemon.Daemon.__init__ = _remembered  # type: ignore[method-assign]
    recognise.Recogniser.start = _failing_start  # type: ignore[method-assign]
    recognise.Recogniser.finish = _failing_finish  # type: ignore[method-assign]
    stages.Mailbox.put = _failing_put  # type: ignore[method-assign]
    if FAULT == "send":
        outbox.Outbox.next_after = _failing_next  # type: ignore[method-assign, assignment]
    status = main()
    sys.stdout.write(json.dumps(_what_is_left()))
    sys.exit(status)
