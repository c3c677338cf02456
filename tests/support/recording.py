"""Every write that a process and its children ever make below a folder, also what is overwritten or deleted later.

`strace` sees the system calls themselves, whoever makes them: Python, SQLite, Rust. What is mapped and written without
a system call it cannot see: such mappings are named, so that a test can say which it allows.
"""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_S = 30.0
_LONGEST = 4 << 20  # more than any single write here; a longer one is an error, not a gap
_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")
_OTHER_WAYS = ("sendfile", "copy_file_range", "splice", "io_uring_setup", "mmap")
_HEX = r"(?:\\x[0-9a-f]{2})*"
_CALL = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d|0x|\?)")
_WRITE = re.compile(rf"\d+<({_HEX})>(?:\(deleted\))?, (.*)")
_PATH = re.compile(rf"<({_HEX})>")


@dataclass(frozen=True)
class Recording:
    """What was written where, in order."""

    writes: tuple[tuple[str, bytes], ...]
    mapped: frozenset[str]
    """Files that were mapped to be written."""

    @property
    def blocks(self) -> list[bytes]:
        """All that was written, wherever."""
        return [content for _, content in self.writes]

    def explains(self, content: bytes) -> bool:
        """Could this file have come about by these writes: is it made of whole ones, zeros aside."""
        blocks = sorted({block.lstrip(b"\0") for block in self.blocks} - {b""}, key=len, reverse=True)
        while content := content.lstrip(b"\0"):
            block = next((block for block in blocks if content.startswith(block)), None)
            if block is None:
                return False
            content = content[len(block) :]
        return True


def recorder(into: Path) -> list[str | Path]:
    """A command to put before another one: that keeps its process id, and every process that it starts is recorded."""
    size = str(_LONGEST)
    return [
        "strace",
        "-D",
        "-f",
        "-q",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        size,
        "-e",
        f"trace={','.join(_WRITES + _OTHER_WAYS)}",
        "-o",
        into,
    ]


def missing() -> str:
    """Why nothing can be recorded here; empty if it can."""
    if shutil.which("strace") is None:
        return "needs strace (apt-get install strace)"
    tried = subprocess.run([*recorder(Path("/dev/null")), "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode or tried.stderr else ""


def recorded(trace: Path, process: int, folder: Path) -> Recording:
    """What the recorder saw below the folder, when it has seen the end of the process."""
    deadline = time.monotonic() + _PATIENCE_S
    while not re.search(rf"^{process} +\+\+\+ exited ", trace.read_text("ascii"), re.MULTILINE):
        assert time.monotonic() < deadline, "the recorder did not see the end"
        time.sleep(0.05)
    writes: list[tuple[str, bytes]] = []
    mapped: set[str] = set()
    below = "".join(f"\\x{byte:02x}" for byte in f"{folder}/".encode())
    for line in _whole_lines(trace):
        assert "io_uring_setup(" not in line, "what io_uring writes is not recorded"
        call = _CALL.match(line) if below in line else None
        if call is None:
            assert below not in line, f"not understood: {line[:300]}"
            continue
        name, arguments, result = call.groups()
        if name in _WRITES:
            written = _WRITE.match(arguments)
            assert written is not None, f"not understood: {line[:300]}"
            assert '"...' not in written[2], "a write was longer than what is recorded of it"
            path, content = _text(written[1]), b"".join(map(_bytes, re.findall(f'"({_HEX})"', written[2])))
            if path.startswith(f"{folder}/"):  # not where it only stands in what is written
                writes.append((path, content))
        elif name == "mmap":
            if "PROT_WRITE" in arguments and "MAP_SHARED" in arguments:
                mapped |= {_text(path) for path in _PATH.findall(arguments)}
        else:
            assert result == "-1", f"written in a way that is not recorded: {line[:300]}"
    return Recording(tuple(writes), frozenset(mapped))


def _whole_lines(trace: Path) -> list[str]:
    """A call that another thread interrupted has two lines: they are joined."""
    begun: dict[str, str] = {}
    lines = []
    for line in trace.read_text("ascii").splitlines():
        thread = line.split(None, 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line.removesuffix("<unfinished ...>").rstrip()
        elif resumed := re.match(r"\d+ +<\.\.\. \w+ resumed>(.*)", line):
            lines.append(begun.pop(thread) + resumed[1])
        else:
            lines.append(line)
    return lines


def _bytes(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace("\\x", ""))


def _text(hexadecimal: str) -> str:
    return _bytes(hexadecimal).decode("utf-8", "replace")
