"""Ctrl-C after an engine was used and closed ends a command; it must not kill the process."""

import subprocess
import sys

from lfr_edge.inference.store import EngineStore

PROGRAM = """
import gc, os, signal, sys
from pathlib import Path
from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.store import EngineStore

engine_set = load_engine_set("yunet-mobilefacenet")
extractor = open_extractor(engine_set, EngineStore(Path(sys.argv[1])), Arena(1 << 20), threads=2)
extractor.close()
del extractor
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_signal_after_the_engines_are_closed_is_handled(engine_store: EngineStore) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, engine_store.root], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "handled\n"), ended.stderr
