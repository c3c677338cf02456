"""What is missing in the log at a start, whatever moment the power failed at."""

from datetime import datetime, timedelta, timezone

import pytest
from support.audit_events import EXAMPLES

from lfr_edge.audit.events import DeploymentErased, DeploymentLoaded, DeploymentRefused, PeriodBegan, PeriodEnded
from lfr_edge.audit.fields import Event
from lfr_edge.messages.examples import ORDER, RECIPIENT
from lfr_edge.van.history import History
from lfr_edge.van.lifecycle import Cause, Record, State, Terms
from lfr_edge.van.trusted_time import Anchor

START = datetime(2026, 6, 20, 12, tzinfo=timezone.utc)
ANCHOR = Anchor(mark=START, boot_id="boot", boot_s=0.0, synchronised=True)
LOADED, BEGAN, ENDED, ERASED = (
    next(event for event in EXAMPLES if isinstance(event, kind))
    for kind in (DeploymentLoaded, PeriodBegan, PeriodEnded, DeploymentErased)
)
REFUSED = DeploymentRefused(by="system:van-1", why="no", reason="fault", order=ORDER.id)
TERMS = Terms(
    order=ORDER.id,
    order_sha256=LOADED.model_dump()["order_sha256"],
    watchlist_sha256="a" * 64,
    recipient=RECIPIENT,
    one_time=True,
    not_before=START,
    not_after=START + timedelta(hours=6),
)
OTHER = TERMS.model_copy(update={"order": "other", "order_sha256": "e" * 64})


def record(state: State, *, cause: Cause | None = None, terms: Terms | None = TERMS) -> Record:
    return Record(state=state, anchor=ANCHOR, terms=terms if state is not State.IDLE else None, cause=cause)


def missing(events: list[Event], now: Record) -> list[tuple[str, str | None]]:
    """Kind, and cause or reason, of what is missing."""
    history = History()
    for event in events:
        history.hear(event)
    found = [event.model_dump() for event in history.missing(now)]
    assert all(event["order"] == ORDER.id for event in found)
    for event in history.missing(now):
        history.hear(event)
    assert history.missing(now) == [], "nothing is missing twice"
    return [(event["kind"], event.get("cause") or event.get("reason")) for event in found]


@pytest.mark.parametrize(
    ("events", "now", "expected"),
    [
        ([], record(State.IDLE), []),
        ([LOADED], record(State.ARMED), []),
        ([LOADED], record(State.IDLE), [("deployment-refused", "power-loss")]),
        ([LOADED], record(State.ARMED, terms=OTHER), [("deployment-refused", "power-loss")]),
        ([LOADED, REFUSED], record(State.IDLE), []),
        # The van saw under it, and somebody took its record away.
        ([LOADED, BEGAN], record(State.IDLE), [("period-ended", "power-loss"), ("deployment-refused", "record-lost")]),
        ([LOADED, BEGAN, ENDED], record(State.IDLE), [("deployment-refused", "record-lost")]),
        ([LOADED], record(State.ENDED, cause="stop"), []),
        ([LOADED, ERASED], record(State.IDLE), []),
        # Live on the disk, and not yet in the log: no period began.
        ([LOADED], record(State.LIVE), []),
        ([LOADED, BEGAN], record(State.LIVE), [("period-ended", "power-loss")]),
        # It was blind already, and the record said so.
        ([LOADED, BEGAN], record(State.ARMED), [("period-ended", "power-loss")]),
        ([LOADED, BEGAN, ENDED], record(State.LIVE), []),
        ([LOADED, BEGAN, ENDED, BEGAN], record(State.LIVE), [("period-ended", "power-loss")]),
        ([LOADED, BEGAN], record(State.ENDED, cause="stop"), [("period-ended", "stop")]),
        ([LOADED, BEGAN, ERASED], record(State.ENDED, cause="window-over"), [("period-ended", "window-over")]),
        ([LOADED, BEGAN, ENDED, ERASED], record(State.ENDED, cause="stop"), []),
    ],
)
def test_the_log_gets_what_the_record_shows_and_nothing_else(
    events: list[Event], now: Record, expected: list[tuple[str, str]]
) -> None:
    assert missing(events, now) == expected


def test_an_order_that_was_replaced_is_known_until_it_is_erased() -> None:
    now = record(State.ARMED, terms=OTHER).model_copy(update={"replaced": TERMS})
    assert missing([LOADED], now) == []
    assert missing([LOADED, BEGAN], now) == [("period-ended", "replaced")], "cut off between the record and the log"
    assert missing([LOADED, BEGAN], now.model_copy(update={"replaced": None})) == [
        ("period-ended", "power-loss"),
        ("deployment-refused", "record-lost"),
    ], "erased only after that is in the log: this is an older record"


def test_an_order_is_known_from_its_loading_to_its_end() -> None:
    history = History()
    assert not history.knows(TERMS.order_sha256)
    history.hear(LOADED)
    assert history.knows(TERMS.order_sha256)
    history.hear(REFUSED.model_copy(update={"order": "another"}))
    history.hear(REFUSED.model_copy(update={"order": None}))
    assert history.knows(TERMS.order_sha256)
    history.hear(ERASED)
    assert not history.knows(TERMS.order_sha256)
