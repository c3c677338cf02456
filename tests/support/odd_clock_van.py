"""The daemon with a wall clock that is as many seconds ahead as the file named by `ODD_CLOCK` says.

Only tests of what a clock that jumps does run it. The program that it starts again in its place is this one too.
"""

import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from lfr_edge.cli.main import main
from lfr_edge.van.clocks import SystemClocks
from lfr_edge.van.trusted_time import Reading

_read = SystemClocks.read


def _odd_read(self: SystemClocks) -> Reading:
    reading = _read(self)
    return replace(reading, wall=reading.wall + timedelta(seconds=float(Path(os.environ["ODD_CLOCK"]).read_text())))


if __name__ == "__main__":
    SystemClocks.read = _odd_read  # type: ignore[method-assign]
    sys.exit(main())
