"""Results as a JSON file, with everything that says what was measured, when, and on which machine."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from os import cpu_count
from pathlib import Path
from typing import Any

from lfr_edge.files import PUBLIC, new_file
from lfr_edge.inference.manifest import EngineSet

_LIBRARIES = ("lfr-edge", "numpy", "openvino")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The engine set that was measured, as it was when it was."""

    engine_set: str
    variant: str
    contract: str
    digest: str
    threshold: float
    threshold_floor: float

    @classmethod
    def of(cls, engine_set: EngineSet, variant: str) -> "Evaluated":
        """The set's name, digests and thresholds."""
        return cls(
            engine_set.name,
            variant,
            engine_set.contract,
            engine_set.digest,
            engine_set.threshold,
            engine_set.threshold_floor,
        )

    @property
    def title(self) -> str:
        """For a line of a table."""
        return ", ".join(filter(None, (self.engine_set, self.variant)))


def write_json(
    path: Path, kind: str, data: Mapping[str, str], now: datetime, rows: Sequence[tuple[Evaluated, object]]
) -> None:
    """`rows` are engine sets, each with a dataclass of what was measured."""
    content = {
        "kind": kind,
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "software": {name: _version(name) for name in _LIBRARIES},
        "data": dict(data),
        "results": [{**asdict(evaluated), "measured": _fields(measured)} for evaluated, measured in rows],
    }
    with new_file(path, mode=PUBLIC, replace=True) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def machine() -> str:
    """One line: processor, how many of it, system, Python."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores, python = f"{cpu_count()} cores", f"Python {platform.python_version()}"
    return ", ".join((names[0] if names else processor, cores, platform.system(), python))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _fields(measured: object) -> dict[str, Any]:  # Any: fields of whichever dataclass
    return asdict(measured)  # type: ignore[call-overload, no-any-return]
