"""`lfr-edge run`: the van's daemon. With --package: one demo deployment, until its end, and nothing kept."""

import argparse
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lfr_edge.clock import SystemClock
from lfr_edge.config import VanConfig, load_config

_ENDING = (signal.SIGTERM, signal.SIGINT)
# What glibc's malloc reads once, when a process starts. It overwrites what is freed: libav's pictures and OpenVINO's
# activations pass through its free lists (rows LIBAV and OPENVINO of the retention table). And it has two heaps instead
# of eight for each core: a thread does not keep what another one could use (decision 0005: 26 MiB of 434).
TUNABLES = "glibc.malloc.perturb=165:glibc.malloc.arena_max=2"
_TUNABLES = "GLIBC_TUNABLES"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    parser.add_argument("--config", type=Path, default=Path("/etc/lfr-edge/van.toml"), help="default: %(default)s")
    parser.add_argument("--package", type=Path, help="a demo's package, NAME.lfrd: recognise under it, then end")


def run(options: argparse.Namespace) -> int:
    """0 after a normal end, 1 after a fault of ours."""
    _restart_with_tunables()
    _forbid_core_files()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    config, config_sha256 = load_config(options.config)
    if options.package is None:
        return _serve(config, config_sha256)
    from lfr_edge.van.daemon import Daemon  # noqa: PLC0415 - seconds of libraries, after the restart

    daemon = Daemon(config, config_sha256, options.package, SystemClock())
    with _ended_by_signals(daemon.stop):
        unhurt = daemon.run()
    return 0 if unhurt else 1


def _serve(config: VanConfig, config_sha256: str) -> int:
    """The van's whole life: this program again and again, as long as it is not told to end."""
    from lfr_edge.van.clocks import SystemClocks  # noqa: PLC0415 - seconds of libraries, after the restart
    from lfr_edge.van.service import Next, Service  # noqa: PLC0415

    service = Service(config, config_sha256, SystemClock(), SystemClocks())
    with _ended_by_signals(service.stop):
        following = service.run()
        if following is Next.AGAIN and not service.stop_asked:
            for number in _ENDING:  # a handler would be gone with this program, and a signal with it
                signal.signal(number, signal.SIG_DFL)
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same program again, no shell
    return 1 if following is Next.FAIL else 0


@contextmanager
def _ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    for number in _ENDING:
        signal.signal(number, lambda *_: stop())
    yield
    for number in _ENDING:  # the interpreter gives handlers up as it ends: a late signal would look like a failure
        signal.signal(number, signal.SIG_IGN)


def _forbid_core_files() -> None:
    """Libraries' buffers are not kept out of core files as ours are."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != 0:
        # One byte: too little for a file, and unlike 0 it also stops a handler that core_pattern pipes to (core(5)).
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def _restart_with_tunables() -> None:
    given = os.environ.get(_TUNABLES, "")
    if not given.endswith(TUNABLES):  # the last ones count
        os.environ[_TUNABLES] = ":".join(filter(None, (given, TUNABLES)))
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same program again, no shell
