"""Where the time goes, stage by stage, of code that knows nothing of being timed.

A point is a function of the product; while a profile runs, calls to it are timed, in this process only. Each stage gets
what its functions took without the functions of other stages that they called, by thread. So that the numbers mean
something, points are few and coarse: some fifty calls a picture, each about a microsecond dearer than without.
"""

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    """One function whose time counts for `stage`."""

    stage: str
    module: str
    name: str  # `function` or `Class.function`


RECOGNISE = "recognise"  # the thread whose time is the pictures'
WAIT = "wait"  # the stage in which a thread has nothing to do
ENGINE = "engine"  # a stage of this name belongs to the one that called it: "detect: engine"


@dataclass(slots=True)
class Spent:
    """What one stage took in one thread, without what other stages took inside it."""

    calls: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0  # of the calling thread; an engine's own threads are elsewhere


@dataclass(slots=True)
class _Open:
    """A stage that is running: when it began, and what stages inside it took."""

    stage: str
    wall_s: float
    cpu_s: float
    inner_wall_s: float = 0.0
    inner_cpu_s: float = 0.0


@dataclass(slots=True)
class Profile:
    """Times by (thread name, stage)."""

    spent: dict[tuple[str, str], Spent] = field(default_factory=dict)
    _threads: threading.local = field(default_factory=threading.local)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:  # Any: any function at all
        """`function`, its calls timed."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            stack: list[_Open] = self._stack()
            name = f"{stack[-1].stage}: {stage}" if stage == ENGINE and stack else stage
            stack.append(_Open(name, time.perf_counter(), time.thread_time()))
            try:
                return function(*args, **kwargs)
            finally:
                self._close(stack)

        return call

    def _stack(self) -> list[_Open]:
        stack: list[_Open] | None = getattr(self._threads, "stack", None)
        if stack is None:
            stack = self._threads.stack = []
        return stack

    def _close(self, stack: list[_Open]) -> None:
        cpu_s, wall_s = time.thread_time(), time.perf_counter()
        ended = stack.pop()
        wall_s, cpu_s = wall_s - ended.wall_s, cpu_s - ended.cpu_s
        if stack:
            stack[-1].inner_wall_s += wall_s
            stack[-1].inner_cpu_s += cpu_s
        key = (threading.current_thread().name, ended.stage)
        spent = self.spent.setdefault(key, Spent())
        spent.calls += 1
        spent.wall_s += wall_s - ended.inner_wall_s
        spent.cpu_s += cpu_s - ended.inner_cpu_s


@contextmanager
def profiled(profile: Profile, points: Sequence[Point]) -> Iterator[None]:
    """Time every point while the block runs. RuntimeError if one of them is no more."""
    originals = [(*_place(point), point) for point in points]
    try:
        for owner, name, original, point in originals:
            setattr(owner, name, profile.timed(point.stage, original))
        yield
    finally:
        for owner, name, original, _ in originals:
            setattr(owner, name, original)


def _place(point: Point) -> tuple[Any, str, Callable[..., Any]]:  # Any: a module or a class
    owner: Any = importlib.import_module(point.module)
    *path, name = point.name.split(".")
    for part in path:
        owner = getattr(owner, part, None)
    original = getattr(owner, name, None)
    if original is None:
        raise RuntimeError(f"there is no {point.module}:{point.name} to be timed")
    return owner, name, original


@dataclass(frozen=True, slots=True)
class Row:
    """One stage in one thread. Shares are of the time of the whole run, and of the processor time of all threads."""

    thread: str
    stage: str
    calls: int
    wall_ms_per_picture: float
    wall_share: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Shares:
    """A profile in shares. The engines' own threads have no stage: their row is what nobody else used."""

    rows: tuple[Row, ...]
    besides_wall: float  # of the time in which RECOGNISE works and does not wait, what is not an engine's
    besides_cpu: float  # of all processor time, what is not an engine's


def shares_of(profile: Profile, seconds: float, cpu_s: float, pictures: int) -> Shares:
    """`profile` of a run that took `seconds`, and `cpu_s` of processor time in all threads."""
    spent = profile.spent
    workers_cpu_s = max(cpu_s - sum(one.cpu_s for one in spent.values()), 0.0)
    rows = [
        Row(thread, stage, one.calls, 1e3 * one.wall_s / pictures, one.wall_s / seconds, one.cpu_s / cpu_s)
        for (thread, stage), one in sorted(spent.items(), key=lambda item: (item[0][0], -item[1].wall_s))
    ]
    rows.append(Row("engines' own", "", 0, 0.0, 0.0, workers_cpu_s / cpu_s))
    engines = [one for (_, stage), one in spent.items() if stage.endswith(ENGINE)]
    working_s = sum(one.wall_s for (thread, stage), one in spent.items() if thread == RECOGNISE and stage != WAIT)
    engines_cpu_s = workers_cpu_s + sum(one.cpu_s for one in engines)
    return Shares(
        tuple(rows),
        besides_wall=1 - sum(one.wall_s for one in engines) / working_s if working_s else 0.0,
        besides_cpu=1 - engines_cpu_s / cpu_s,
    )
