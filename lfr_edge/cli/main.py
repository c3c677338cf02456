"""`lfr-edge COMMAND`: imports the chosen command's module only, so that no role needs another role's packages.

A user's mistake, a refused file or a broken device ends in one line on standard error that names the thing and the fix.
"""

import argparse
import importlib
import os
import select
import sys
from collections.abc import Sequence

from lfr_edge.errors import LfrEdgeError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_READER_LEFT = 141  # as of a program that SIGPIPE ends: what was to be said was not said

_OUTPUTS = (1, 2)

# Command -> (module, what it is for).
_COMMANDS = {
    "demo": ("lfr_edge.cli.demo", "watch the whole product work on this machine"),
    "run": ("lfr_edge.cli.run", "van: the daemon, blind until a signed deployment lets it see"),
    "deployment": ("lfr_edge.cli.deployment", "van: load, watch and end a deployment; make prekeys"),
    "provision": ("lfr_edge.cli.provision", "van: make or mend this van's keys"),
    "engines": ("lfr_edge.cli.engines", "fetch, list and verify engine sets"),
    "evaluate": ("lfr_edge.cli.evaluate", "measure how well engine sets recognise"),
    "office": ("lfr_edge.cli.office", "watchlist office: lists, orders, the registry"),
    "control-room": ("lfr_edge.cli.control_room", "control room: watch alerts"),
    "audit": ("lfr_edge.cli.audit", "auditors: verify, read and prove logs"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, what the command says, 2 for an error, 141 if nobody reads its output."""
    try:
        try:
            status = _run(sys.argv[1:] if arguments is None else list(arguments))
        except SystemExit:  # argparse has said something
            _flush()
            raise
        _flush()
    except BrokenPipeError:
        if not _reader_left():
            raise
        return EXIT_READER_LEFT
    return status


def _flush() -> None:
    """Now: when the interpreter ends, it is too late to say nothing about a reader who has gone."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _run(arguments: list[str]) -> int:
    _keep_blas_on_one_thread()
    try:
        options = _parse(arguments)
        return int(options.run(options))
    except LfrEdgeError as error:
        print(f"lfr-edge: {error.message}\n  fix: {error.fix}", file=sys.stderr)
        return EXIT_ERROR
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("lfr_edge"):
            raise
        print(
            f"lfr-edge: this command needs the Python package '{missing.name}'\n"
            "  fix: install lfr-edge with the extra of its role: van, cpu, office, control-room or evaluation",
            file=sys.stderr,
        )
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _reader_left() -> bool:
    """Whether somebody who read what we print has gone, as `head` does. What is left to print goes nowhere then."""
    outputs = select.poll()
    for output in _OUTPUTS:
        outputs.register(output, 0)  # an error is always told
    left = [output for output, event in outputs.poll(0) if event & select.POLLERR]
    for output in left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return bool(left)


def _keep_blas_on_one_thread() -> None:
    """OpenBLAS, numpy's, reads this when it is loaded, and no command has loaded it yet.

    Its second thread gains a search nothing, which waits for memory, and then spins: of 37 core-milliseconds a picture
    (1280x720, 10,000 entries, two cores) it took 8.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lfr-edge", description="Live facial recognition that forgets everybody else."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, purpose) in _COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        if arguments[:1] == [name]:
            chosen = importlib.import_module(module)
            chosen.add_arguments(command)
            command.set_defaults(run=chosen.run)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
