"""The vocabulary: complete by the law, and without room for anybody's face."""

import pytest
from pydantic import ValidationError
from support.audit_events import CLERK, EXAMPLES, LISTED, NAMED, VAN

from lfr_edge.audit.entries import LARGEST_ENTRY_BYTES, Entry
from lfr_edge.audit.events import EVENTS, AlertDecided, Stopped
from lfr_edge.audit.fields import Clause, Event
from lfr_edge.audit.office_events import BudgetAccepted
from lfr_edge.messages.examples import ALERT


def test_there_is_an_example_of_every_event() -> None:
    assert {type(event) for event in EXAMPLES} == set(EVENTS)
    assert len({event.kind for event in EXAMPLES}) == len(EVENTS)


def test_every_clause_of_the_law_has_an_event() -> None:
    assert {clause for event in EVENTS for clause in event.clauses} == set(Clause)


def test_every_event_says_who_and_why() -> None:
    for event in EVENTS:
        for field in ("by", "why"):
            assert event.model_fields[field].is_required()


def leaves(schema: dict[str, object], definitions: dict[str, dict[str, object]]) -> list[dict[str, object]]:
    """Every place in a JSON schema that holds a plain value, arrays opened and bounded."""
    if "$ref" in schema:
        return leaves(definitions[str(schema["$ref"]).rpartition("/")[2]], definitions)
    parts: list[dict[str, object]] = []
    for options in (schema.get("anyOf"), schema.get("oneOf")):
        if isinstance(options, list):
            return [leaf for option in options for leaf in leaves(option, definitions)]
    if schema.get("type") == "array":
        assert isinstance(schema["maxItems"], int)
        assert schema["maxItems"] <= 100
        items = schema["items"]
        assert isinstance(items, dict)
        return leaves(items, definitions)
    if schema.get("type") == "object":
        properties = schema["properties"]
        assert isinstance(properties, dict)
        for value in properties.values():
            parts.extend(leaves(value, definitions))
        return parts
    return [schema]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_no_event_has_room_for_a_picture_or_features(event: type[Event]) -> None:
    schema = event.model_json_schema()
    found = leaves(schema, schema.get("$defs", {}))
    assert found
    for leaf in found:
        assert leaf["type"] in {"string", "integer", "boolean", "null"}  # no floats, so no features
        if leaf["type"] == "string":  # bounded by its length, its pattern, a list of words, or being a time
            assert leaf.keys() & {"maxLength", "pattern", "enum", "const", "format"}, leaf
            assert "content" not in " ".join(leaf)  # no bytes in base64


def test_the_schema_check_sees_what_is_wrong() -> None:
    with pytest.raises(KeyError):
        leaves({"type": "array", "items": {"type": "number"}}, {})
    assert leaves({"type": "object", "properties": {"x": {"type": "number"}}}, {}) == [{"type": "number"}]


def test_an_event_has_no_field_for_a_track_a_box_or_a_quality_of_a_face() -> None:
    named = {field for event in EVENTS for field in event.model_fields}
    assert not named & {"track", "box", "features", "template", "sample", "picture", "quality", "landmarks"}
    assert {field for field in AlertDecided.model_fields if "sha256" in field} == {"watchlist_sha256"}


def test_the_largest_entry_of_every_kind_fits_a_line() -> None:
    widest = "\U00010348" * 500  # four bytes each
    largest = max(len(_stretched(event, widest)) for event in EXAMPLES)
    assert 3_000 < largest < LARGEST_ENTRY_BYTES


def _stretched(event: Event, text: str) -> bytes:
    by = "person:" + text[:200]
    return Entry(
        at=ALERT.captured_at, event=event.model_copy(update={"by": by, "why": text}), index=(1 << 53) - 1
    ).to_canonical()


@pytest.mark.parametrize("by", ["", "van-1", "person:", "root:x", "person:a\nb", "person:a\u202eb", "PERSON:a"])
def test_an_unclear_actor_is_refused(by: str) -> None:
    with pytest.raises(ValidationError):
        Stopped(by=by, why="end")


def test_a_reason_is_one_line_that_says_something() -> None:
    for why in ("", "a\nb", "a\x1b[31m", "x" * 501):
        with pytest.raises(ValidationError):
            Stopped(by="system:van-1", why=why)


@pytest.mark.parametrize(
    ("score", "written"), [(0.62, "0.6200"), (-0.00001, "0.0000"), (1.0, "1.0000"), (-0.5, "-0.5000"), ("0.5", None)]
)
def test_a_score_is_text_with_four_decimals(score: object, written: str | None) -> None:
    def decide() -> AlertDecided:
        return AlertDecided(
            **VAN,
            **LISTED,
            alert=ALERT.id,
            entry="W-1",
            camera="north",
            captured_at=ALERT.captured_at,
            score=score,
            threshold="0.5000",
            samples=1,
            contract="a" * 64,
        )

    if written is None:
        with pytest.raises(ValidationError):
            decide()
    else:
        assert decide().score == written


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e12])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        BudgetAccepted(**CLERK, **NAMED, expected_false_alerts=number, budget=1.0)
