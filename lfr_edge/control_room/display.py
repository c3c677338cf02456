"""How what a watch found looks on a terminal and as a line of JSON. The acknowledgement's token is never part of it."""

import json
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from lfr_edge.control_room.watch import ReceivedAlert, RefusedAlert
from lfr_edge.control_room.witness import DoubtfulLog
from lfr_edge.messages.alert import Alert

Event = ReceivedAlert | RefusedAlert | DoubtfulLog

_UNTRUE = {RefusedAlert: ("refused", "REFUSED"), DoubtfulLog: ("doubtful-log", "LOG IN DOUBT")}
_COLOURS = {"red": "red", "amber": "yellow", "green": "green"}
_NOT_PRINTED = {"sample", "reference", "context", "ack_token"}


def block(event: Event) -> RenderableType:
    """A few lines for a person. Everything from outside is plain text: nothing in it can style the terminal."""
    if not isinstance(event, ReceivedAlert):
        what = _UNTRUE[type(event)][1]
        return Text(
            f"{event.received_at:%H:%M:%S} UTC  {what} ({event.reason.value}): {event.message}", style="bold red"
        )
    alert = event.alert
    when = f"captured {alert.captured_at:%Y-%m-%d %H:%M:%S} UTC, {_age(event)}"
    lines = [
        Text(f"entry {alert.entry}: {alert.category}", style="bold"),
        Text(_comparison(alert)),
        Text(f"{alert.place}, camera {alert.camera}, {when}"),
        Text(f"van {alert.van}, order {alert.order}, alert {alert.id}", style="dim"),
    ]
    heading = f"{'HISTORICAL: ' if event.historical else ''}{alert.statement}, response {alert.response}"
    colour = "white" if event.historical else _COLOURS[alert.response]
    return Panel(Group(*lines), title=Text(heading, style="bold"), title_align="left", border_style=colour)


def json_line(event: Event) -> str:
    """One JSON object on one line, without pictures."""
    return json.dumps(fields(event), ensure_ascii=False)


def fields(event: Event) -> dict[str, object]:
    """What `json_line` says, as a mapping: the alert's own fields, and what we found out about it."""
    received_at = event.received_at.isoformat()
    if not isinstance(event, ReceivedAlert):
        kind, reason = _UNTRUE[type(event)][0], event.reason.value
        return {"kind": kind, "reason": reason, "message": event.message, "received_at": received_at}
    own = event.alert.model_dump(mode="json", exclude=_NOT_PRINTED)
    found = {"historical": event.historical, "clock_ahead": event.clock_ahead, "received_at": received_at}
    return {"kind": "alert", **found, **own}


def _comparison(alert: Alert) -> str:
    """Score against threshold, and how clear it was of the next candidate."""
    text = f"score {alert.score:.3f}, threshold {alert.threshold:.3f}, faces {alert.faces}"
    if alert.margin is None:
        return f"{text}, no other candidate"
    return f"{text}, {alert.margin:.3f} ahead of {alert.runner_up or 'the next candidate'}"


def _age(event: ReceivedAlert) -> str:
    """How long ago the picture was taken; clocks that differ a little give zero."""
    age = event.received_at - event.alert.captured_at
    if event.clock_ahead:
        return f"{_duration(-age)} IN THE FUTURE: the van's clock is ahead of this one"
    return f"{_duration(max(timedelta(0), age))} ago"


def _duration(duration: timedelta) -> str:
    """Roughly how long, in the unit that matters."""
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
