"""The daemon, which writes down when it was done with each picture, and under which order. Only tests run it.

If the environment says so, the disk takes no record of the first order that is to take over.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from lfr_edge.cli.main import main
from lfr_edge.errors import ConfigError, Reason
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.pipeline.recognise import Recogniser, Step
from lfr_edge.van.keeper import Keeper, Taking

_finish, _load = Recogniser.finish, Keeper.load


def timed(into: TextIO) -> Callable[[Recogniser, Step], list[SealedAlert]]:
    def finish(self: Recogniser, step: Step) -> list[SealedAlert]:
        alerts = _finish(self, step)
        order = self._sealer.order.id  # type: ignore[attr-defined]
        into.write(f"{time.monotonic():.4f} {order}\n")
        return alerts

    return finish


def full(self: Keeper, taking: Taking) -> None:
    if taking.over is not None:
        Keeper.load = _load  # type: ignore[method-assign]
        raise ConfigError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")
    _load(self, taking)


if __name__ == "__main__":
    if os.environ.get("FULL_AT_TAKEOVER"):
        Keeper.load = full  # type: ignore[method-assign]
    with open(os.environ["PICTURES_FILE"], "a", buffering=1, encoding="ascii") as file:  # noqa: PTH123 - a name
        Recogniser.finish = timed(file)  # type: ignore[method-assign]
        sys.exit(main())
