"""`make fuzz`: every parser of outside bytes, guided by what each input reaches in our code (atheris, libFuzzer).

Each parser runs in a process of its own for so many seconds, from its seeds. What it found interesting stays in
build/fuzz/NAME/ and is where the next run begins. An input that ends in anything but an answer or one of our errors, or
takes five seconds, is written to build/fuzz/, and the status is 1: keep it as a seed, with a test, when it is mended.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

OUT = Path("build/fuzz")
_LONGEST_INPUT_BYTES = 1 << 16
_MEMORY_MIB = 2048
# Not numpy, pydantic and other compiled parts: those are not written in Python, and not what is tested.
_INSTRUMENTED = ["lfr_edge", "json", "tarfile", "tomli", "tomllib"]


def main() -> int:
    """Fuzz the parsers that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="for each parser; default: %(default)s")
    parser.add_argument("--here", metavar="NAME", help="fuzz this one in this very process")
    parser.add_argument("names", nargs="*", metavar="PARSER", help="default: all")
    args = parser.parse_args()
    if args.here is not None:
        _fuzz(args.here, args.seconds)
        return 0
    from fuzz.parsers import PARSERS  # noqa: PLC0415 - not before it is instrumented, where it is fuzzed

    unknown = set(args.names) - set(PARSERS)
    if unknown:
        parser.error(f"there is no parser {', '.join(sorted(unknown))}")
    failed = [name for name in args.names or PARSERS if not _run(name, args.seconds)]
    _say(f"{len(failed)} of {len(args.names or PARSERS)} parsers failed{': ' * bool(failed)}{', '.join(failed)}")
    return 1 if failed else 0


def _run(name: str, seconds: int) -> bool:
    """Fuzz one parser in a process of its own; False if something was found."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.guided", "--here", name, "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # atheris writes the traceback to the one, libFuzzer the rest to the other
        text=True,
        errors="replace",
        check=False,
    )
    last = next((line for line in reversed(done.stdout.splitlines()) if line.startswith(("#", "Done"))), "nothing ran")
    _say(f"{name}: {'ok' if done.returncode == 0 else 'FAILED'}; {last.strip()}")
    if done.returncode:
        sys.stderr.write(done.stdout[-6000:])
    return done.returncode == 0


def _say(text: str) -> None:
    sys.stdout.write(f"fuzz: {text}\n")
    sys.stdout.flush()


def _fuzz(name: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process, with 0 if nothing was found."""
    import atheris  # type: ignore[import-not-found]  # noqa: PLC0415 - no other test needs it

    atheris.enabled_hooks.add("str")  # what our code compares with guides too; "RegEx" fails on patterns of bytes (3.0)
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from fuzz.parsers import PARSERS, seeds  # noqa: PLC0415

        from lfr_edge.errors import LfrEdgeError  # noqa: PLC0415

    kept = OUT / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        begin = Path(folder) / "seeds"
        begin.mkdir()
        for number, seed in enumerate(seeds(name)):
            (begin / str(number)).write_bytes(seed)
        path = Path(folder) / "untrusted"

        def parse(untrusted: bytes) -> None:
            try:
                PARSERS[name](untrusted, path)
            except LfrEdgeError as refused:
                if len(str(refused)) >= 4096:
                    raise RuntimeError("a refusal is far too long") from refused

        limits = [f"-max_total_time={seconds}", "-timeout=5", f"-rss_limit_mb={_MEMORY_MIB}"]
        sizes = [f"-max_len={max(_LONGEST_INPUT_BYTES, *(len(seed) for seed in seeds(name)))}"]
        atheris.Setup([sys.argv[0], *limits, *sizes, f"-artifact_prefix={OUT}/{name}-", str(kept), str(begin)], parse)
        atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
