"""How what a watch found looks on a terminal and as a line of JSON. The acknowledgement's token is never part of it."""

import json
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from lfr_edge.control_room.watch import ReceivedAlert, ReceivedPass, Refused
from lfr_edge.control_room.witness import DoubtfulLog
from lfr_edge.messages.alert import Alert
from lfr_edge.messages.match import StatedMatch
from lfr_edge.messages.volunteer_pass import VolunteerPass

Event = ReceivedAlert | ReceivedPass | Refused | DoubtfulLog

_UNTRUE = {Refused: ("refused", "REFUSED"), DoubtfulLog: ("doubtful-log", "LOG IN DOUBT")}
_COLOURS = {"red": "red", "amber": "yellow", "green": "green"}
_NOT_PRINTED = {"sample", "reference", "context", "ack_token"}


def block(event: Event) -> RenderableType:
    """A few lines for a person. Everything from outside is plain text: nothing in it can style the terminal."""
    if isinstance(event, Refused | DoubtfulLog):
        what = _UNTRUE[type(event)][1]
        return Text(
            f"{event.received_at:%H:%M:%S} UTC  {what} ({event.reason.value}): {event.message}", style="bold red"
        )
    if isinstance(event, ReceivedPass):
        return _pass_block(event.volunteer_pass)
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


def _pass_block(passed: VolunteerPass) -> RenderableType:
    """Unlike an alert in title and colour: whoever sees it has nothing to do."""
    lines = [
        Text(f"volunteer {passed.entry} was recognised", style="bold"),
        Text(_comparison(passed)),
        Text(f"camera {passed.camera}, captured {passed.captured_at:%Y-%m-%d %H:%M:%S} UTC"),
        Text(f"van {passed.van}, order {passed.order}, test pass {passed.id}", style="dim"),
    ]
    title = Text(f"{passed.statement}, no alert: nothing to do", style="bold")
    return Panel(Group(*lines), title=title, title_align="left", border_style="blue")


def json_line(event: Event) -> str:
    """One JSON object on one line, without pictures."""
    return json.dumps(fields(event), ensure_ascii=False)


def fields(event: Event) -> dict[str, object]:
    """What `json_line` says, as a mapping: the message's own fields, and what we found out about it."""
    received_at = event.received_at.isoformat()
    if isinstance(event, Refused | DoubtfulLog):
        kind, reason = _UNTRUE[type(event)][0], event.reason.value
        return {"kind": kind, "reason": reason, "message": event.message, "received_at": received_at}
    if isinstance(event, ReceivedPass):
        return {"kind": "test-pass", "received_at": received_at, **event.volunteer_pass.model_dump(mode="json")}
    own = event.alert.model_dump(mode="json", exclude=_NOT_PRINTED)
    found = {"historical": event.historical, "clock_ahead": event.clock_ahead, "received_at": received_at}
    return {"kind": "alert", **found, **own}


def _comparison(match: StatedMatch) -> str:
    """Score against threshold, and how clear it was of the next candidate."""
    text, runner_up = f"score {match.score:.3f}, threshold {match.threshold:.3f}", None
    if isinstance(match, Alert):
        text, runner_up = f"{text}, faces {match.faces}", match.runner_up
    if match.margin is None:
        return f"{text}, no other candidate"
    return f"{text}, {match.margin:.3f} ahead of {runner_up or 'the next candidate'}"


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
