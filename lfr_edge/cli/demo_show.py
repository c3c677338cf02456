"""What the demo shows on the terminal: the live view, the closing table, the JSON line."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lfr_edge.adapters.av_source import redacted
from lfr_edge.cli.demo_scene import Footage, Scene
from lfr_edge.control_room.display import block
from lfr_edge.control_room.watch import Event, ReceivedAlert
from lfr_edge.messages.status import Health

_ALERTS_IN_VIEW = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the demo ended. `unexpected` counts a second alert of the same person too."""

    engine_set: str
    expected: tuple[str, ...]
    alerts: tuple[ReceivedAlert, ...]
    refused: int
    health: tuple[Health, ...]

    @property
    def alerted(self) -> list[str]:
        """Entries in the order of their alerts."""
        return [event.alert.entry for event in self.alerts]

    @property
    def missed(self) -> list[str]:
        """Who was expected and raised no alert."""
        return sorted(set(self.expected) - set(self.alerted))

    @property
    def unexpected(self) -> list[str]:
        """False alerts, as far as it is known who walks past."""
        left = list(self.expected)
        wrong = []
        for entry in self.alerted:
            if entry in left:
                left.remove(entry)
            elif self.expected:
                wrong.append(entry)
        return wrong

    @property
    def latencies_ms(self) -> list[float]:
        """From the picture that completed the match to the subscriber, by the same machine's clock."""
        return [(event.received_at - event.alert.captured_at).total_seconds() * 1e3 for event in self.alerts]

    @property
    def fps(self) -> float:
        """Pictures recognised per second while pictures came."""
        seen = [(report.at, sum(c.frames_read - c.superseded for c in report.cameras)) for report in self.health]
        moving = [pair for pair, before in zip(seen[1:], seen, strict=False) if pair[1] > before[1]]
        # Between the last report with new pictures and the one before it, the pictures ended: waiting is not slowness.
        moving = moving[:-1] if len(moving) > 2 else moving
        if len(moving) < 2:
            return 0.0
        (first_at, first), (last_at, last) = moving[0], moving[-1]
        return (last - first) / (last_at - first_at).total_seconds()

    def as_json(self) -> dict[str, object]:
        """The demo's one line."""
        return {
            "expected": list(self.expected),
            "alerted": self.alerted,
            "missed": self.missed,
            "false": self.unexpected,
            "latency_p50_ms": _quantile(self.latencies_ms, 0.50),
            "latency_p99_ms": _quantile(self.latencies_ms, 0.99),
            "fps": round(self.fps, 1),
            "engine_set": self.engine_set,
        }


def _quantile(values: Sequence[float], share: float) -> float | None:
    """Interpolated, as numpy's default; None of nothing."""
    if len(values) < 2:
        return round(values[0], 1) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1], 1)


def live_view(scene: Scene, shown: Footage, events: Sequence[Event], health: Sequence[Health]) -> RenderableType:
    """One screen of the running demo."""
    heading = Text(f"{scene.engine_set.name} | {scene.entries} on the list | everybody else is forgotten", style="bold")
    cameras = Table("camera", "fps", "frames", "superseded", "undecodable", "faces found", "in view", "queue", "alerts")
    if health:
        now = health[-1]
        for camera in now.cameras:
            cameras.add_row(
                f"{camera.id} {'' if camera.connected else '(lost)'}",
                f"{camera.fps:.1f}",
                str(camera.frames_read),
                str(camera.superseded),
                str(camera.undecodable),
                str(now.faces_detected),
                str(now.tracks),
                str(now.queue),
                str(now.alerts),
            )
    waiting = Text(f"the van starts, {redacted(shown.source)}") if not health else Text("")
    return Group(heading, cameras, waiting, Columns([block(event) for event in list(events)[-_ALERTS_IN_VIEW:]]))


def closing_table(outcome: Outcome) -> Table:
    """Who was expected, who alerted when, misses, false alerts, latency."""
    table = Table(
        "entry", "expected", "alerted at (UTC)", "score", "faces", "latency", "verdict", title="The demo's end"
    )
    wrong = list(outcome.unexpected)
    for event, latency_ms in zip(outcome.alerts, outcome.latencies_ms, strict=True):
        alert = event.alert
        known = alert.entry in outcome.expected
        false = alert.entry in wrong
        if false:
            wrong.remove(alert.entry)
        verdict = "false alert" if false else ("as expected" if known else "not known who walks past")
        table.add_row(
            alert.entry,
            "yes" if known else ("no" if outcome.expected else "?"),
            f"{alert.captured_at:%H:%M:%S.%f}"[:-5],
            f"{alert.score:.3f}",
            str(alert.faces),
            f"{latency_ms:.0f} ms",
            Text(verdict, style="red" if false else "green"),
        )
    for entry in outcome.missed:
        table.add_row(entry, "yes", "-", "-", "-", "-", Text("missed", style="red"))
    return table
