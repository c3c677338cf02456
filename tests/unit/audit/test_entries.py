"""An entry has one spelling."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from support.audit_events import EXAMPLES, START

from lfr_edge.audit.entries import Entry
from lfr_edge.audit.events import Stopped
from lfr_edge.audit.fields import Event
from lfr_edge.errors import Reason, UntrustedInputError

ENTRY = Entry(at=START, event=Stopped(by="person:Zoë", why='said "stop" \\ end'), index=7)
BYTES = (
    b'{"at":"2026-06-20T08:55:00.000Z","event":{"by":"person:Zo\xc3\xab","kind":"stopped",'
    b'"why":"said \\"stop\\" \\\\ end"},"index":7,"v":1}'
)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.kind)
def test_every_event_comes_back_as_it_was_written(event: Event) -> None:
    entry = Entry(at=START, event=event, index=3)
    written = entry.to_canonical()
    assert Entry.from_canonical(written) == entry
    assert type(Entry.from_canonical(written).event) is type(event)
    fields = json.loads(written)
    assert written == json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert None not in fields["event"].values()


def test_the_bytes_are_those_of_the_format() -> None:
    assert ENTRY.to_canonical() == BYTES


def test_times_are_cut_to_milliseconds() -> None:
    at = START + timedelta(microseconds=999_999)
    assert b"08:55:00.999Z" in Entry(at=at, event=ENTRY.event, index=0).to_canonical()


def test_a_time_of_another_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        Entry(at=datetime(2026, 6, 20, tzinfo=timezone(timedelta(hours=1))), event=ENTRY.event, index=0)


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b'"index":7', b'"index": 7'),
        (b'"index":7', b'"index":7.0'),
        (b'"index":7', b'"index":07'),
        (b'"index":7', b'"index":-7'),
        (b'"index":7,"v":1', b'"v":1,"index":7'),
        (b'"v":1', b'"v":1,"v":1'),
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":1,"x":null'),
        (b'"kind":"stopped"', b'"kind":"stopped","order":"x"'),
        (b'"kind":"stopped"', b'"kind":"sto\\u0070ped"'),
        (b'"kind":"stopped"', b'"kind":"unheard-of"'),
        (b'"kind":"stopped",', b""),
        (b"00.000Z", b"00Z"),
        (b"00.000Z", b"00.000+00:00"),
        (b"00.000Z", b"00.000000Z"),
        (b"\xc3\xab", b"\\u00eb"),
        (b"\xc3\xab", b"\xff"),
        (b"person:", b""),
        (b"}", b"} "),
    ],
)
def test_any_other_spelling_is_refused(there: bytes, instead: bytes) -> None:
    assert there in BYTES
    with pytest.raises(UntrustedInputError) as refused:
        Entry.from_canonical(BYTES.replace(there, instead))
    assert refused.value.reason is Reason.MALFORMED


def test_a_refusal_repeats_nothing_of_the_sender() -> None:
    with pytest.raises(UntrustedInputError) as refused:
        Entry.from_canonical(BYTES.replace(b'"stopped"', b'"\\u001b[31mpurple"'))
    assert "purple" not in str(refused.value)
    assert "newer version" in str(refused.value)
