"""`lfr-edge run`: the recognition daemon, under one deployment package, until its end."""

import argparse
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from lfr_edge.clock import SystemClock
from lfr_edge.config import load_config

_ENDING = (signal.SIGTERM, signal.SIGINT)
# glibc overwrites what is freed: libav's pictures and OpenVINO's activations pass through its free lists (rows LIBAV
# and OPENVINO of the retention table). Read once, when a process starts.
_TUNABLES = "GLIBC_TUNABLES"
_PERTURB = "glibc.malloc.perturb=165"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    parser.add_argument("--config", type=Path, default=Path("/etc/lfr-edge/van.toml"), help="default: %(default)s")
    parser.add_argument("--package", type=Path, required=True, help="the deployment package, NAME.lfrd")


def run(options: argparse.Namespace) -> int:
    """0 after a normal end, 1 after a fault of ours."""
    _restart_with_overwriting_free()
    _forbid_core_files()
    from lfr_edge.van.daemon import Daemon  # noqa: PLC0415 - seconds of libraries, after the restart

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    config, config_sha256 = load_config(options.config)
    daemon = Daemon(config, config_sha256, options.package, SystemClock())
    for number in _ENDING:
        signal.signal(number, lambda *_: daemon.stop())
    unhurt = daemon.run()
    for number in _ENDING:  # the interpreter gives handlers up as it ends: a late signal would look like a failure
        signal.signal(number, signal.SIG_IGN)
    return 0 if unhurt else 1


def _forbid_core_files() -> None:
    """Libraries' buffers are not kept out of core files as ours are."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != 0:
        # One byte: too little for a file, and unlike 0 it also stops a handler that core_pattern pipes to (core(5)).
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def _restart_with_overwriting_free() -> None:
    tunables = os.environ.get(_TUNABLES, "")
    if _PERTURB not in tunables.split(":"):
        os.environ[_TUNABLES] = ":".join(filter(None, (tunables, _PERTURB)))  # the last one counts
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same program again, no shell
