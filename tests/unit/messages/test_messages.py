"""Fields: strict, closed, and silent about what they refuse."""

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.alert import Alert
from lfr_edge.messages.examples import ALERT, HEALTH, ORDER, STATUS
from lfr_edge.messages.fields import Message
from lfr_edge.messages.order import BudgetAcceptance, Order, VanAssignment

EXAMPLES = [ORDER, ALERT, STATUS, HEALTH]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_a_message_survives_its_json(example: Message) -> None:
    assert type(example).from_untrusted(example.to_json()) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_a_message_without_one_of_its_fields_or_with_one_more_is_refused(example: Message) -> None:
    fields = json.loads(example.to_json())
    optional = {name for name, field in type(example).model_fields.items() if not field.is_required()}
    for name in fields.keys() - optional:
        with pytest.raises(UntrustedInputError, match=name):
            type(example).from_untrusted(json.dumps({k: v for k, v in fields.items() if k != name}).encode())
    with pytest.raises(UntrustedInputError):
        type(example).from_untrusted(json.dumps(fields | {"more": 1}).encode())


@given(garbage=st.one_of(st.binary(max_size=200), st.text(max_size=50).map(str.encode)))
@settings(max_examples=100, deadline=None)
def test_garbage_is_malformed(garbage: bytes) -> None:
    for kind in (Order, Alert):
        with pytest.raises(UntrustedInputError) as caught:
            kind.from_untrusted(garbage)
        assert caught.value.reason is Reason.MALFORMED


def test_a_refusal_never_quotes_the_message() -> None:
    fields = json.loads(ALERT.to_json()) | {"entry": "JOHN SMITH\x1b[2J", "Mary Jones": 1, "ack_token": "hunter2"}
    with pytest.raises(UntrustedInputError) as caught:
        Alert.from_untrusted(json.dumps(fields).encode())
    assert caught.value.__context__ is None
    for secret in ("JOHN", "Mary", "hunter2", "\x1b"):
        assert secret not in str(caught.value)


ODD = [None, "", "x" * 9999, "a\nb", "A B", 0.5, -1, 10**20, True, [], ["x"], ["x", "x"], {}, {"id": "x"}, "12:00:00"]
UNSAID = (
    "should",
    "alue error",
    "permitted",
    "^",
    "padding",
    "more than a multiple",
    "is not what it must be",
    "is not written as it must be",
)


def refusal(kind: type[Message], content: bytes) -> str:
    """What is said of it; nothing if it is a message."""
    try:
        kind.from_untrusted(content)
    except UntrustedInputError as refused:
        return refused.message
    return ""


@pytest.mark.parametrize("example", [ORDER, ALERT, HEALTH], ids=lambda example: type(example).__name__)
def test_what_is_wrong_is_said_in_words_of_ours(example: Message) -> None:
    fields = json.loads(example.to_json())
    wrong = [json.dumps(fields | {name: value}).encode() for name in fields for value in ODD]
    said = {refusal(type(example), content) for content in wrong}
    assert len(said) > 20
    assert not [message for message in said if any(words in message for words in UNSAID)]


def test_a_validation_error_in_our_own_process_hides_the_values_too() -> None:
    with pytest.raises(ValidationError) as caught:
        Alert(**(dict(ALERT) | {"ack_token": "hunter2"}))
    assert "hunter2" not in str(caught.value)


def test_the_acknowledgement_token_is_not_in_the_representation() -> None:
    assert ALERT.ack_token not in repr(ALERT)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"id": "../../etc/passwd"},
        {"entry": "a/b"},
        {"category": "wanted\nred"},
        {"category": "wanted \x1b[31m"},
        {"category": "\u202egnp"},
        {"category": "wanted\u2028red"},
        {"category": "wanted\u2029red"},
        {"category": ""},
        {"response": "blue"},
        {"score": 1.1},
        {"score": "0.6"},
        {"score": float("nan")},
        {"faces": 0},
        {"faces": True},
        {"captured_at": "2026-06-20T09:00:00"},
        {"captured_at": "2026-06-20T10:00:00+01:00"},
        {"statement": "match"},
        {"sample": "bm90IGEgSlBFRw=="},
        {"sample": "not base64"},
        {"recipients": []},
        {"recipients": [ALERT.recipients[0]] * 2},
        {"recipients": [ALERT.recipients[0][:-1] + "q"]},
    ],
    ids=str,
)
def test_a_wrong_value_in_an_alert_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UntrustedInputError, match=next(iter(change))):
        Alert.from_untrusted(json.dumps(json.loads(ALERT.to_json()) | change).encode())


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(hours=-1), timedelta(hours=24, microseconds=1)], ids=str)
def test_an_alert_that_never_or_too_late_expires_is_refused(lifetime: timedelta) -> None:
    expires_at = (ALERT.decided_at + lifetime).isoformat()
    with pytest.raises(UntrustedInputError, match="expires_at"):
        Alert.from_untrusted(json.dumps(json.loads(ALERT.to_json()) | {"expires_at": expires_at}).encode())


def test_a_score_that_rounding_put_over_one_is_one() -> None:
    assert Alert(**(dict(ALERT) | {"score": 1.0000001})).score == 1.0


START = datetime(2026, 6, 20, tzinfo=timezone.utc)
SHARE = SealIdentity.generate().recipient
VAN = ORDER.vans[0]


@pytest.mark.parametrize(
    "change",
    [
        {"not_before": START, "not_after": START},
        {"not_before": START, "not_after": START - timedelta(hours=1)},
        {"not_before": START, "not_after": START + timedelta(hours=24, seconds=1)},
        {"not_before": START.replace(tzinfo=None)},
        {"vans": ()},
        {"vans": (VAN, VAN)},
        {"vans": (VAN, VAN.model_copy(update={"id": "van-2"}))},
        {"threshold": 1.5},
        {"margin": -0.1},
        {"confirmation": 0},
        {"cooldown_s": -1},
        {"alert_expiry_h": 25},
        {"alert_expiry_h": 0},
        {"engine_sets": ()},
        {"recipients": ()},
        {"notice_url": "javascript:alert(1)"},
        {"contract": "abc"},
        {"demo": 1},
        {"replaces": ORDER.id},
        {"expected_faces": 0},
        {"list_size": 0},
        {"template_count": 0},
        {"budget": 0.0011},
        {"budget": 0},
        {"budget": 1.1},
        {"budget_accepted": {"by": "Supt A. Example"}},
        {"evidence_retention_d": 32},
        {"key_protection": "none"},
        {"unlock": "maybe"},
        {"unlock": "required", "no_swap": True},
        {"unlock_recipient": SHARE},
        {"unlock": "required", "unlock_recipient": "age1nonsense", "no_swap": True},
        {"unlock": "required", "unlock_recipient": ORDER.vans[0].recipient, "no_swap": True},
        {"no_swap": 1},
    ],
    ids=str,
)
def test_an_order_that_breaks_a_rule_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Order(**(dict(ORDER) | change))


def test_an_order_that_asks_for_a_share_names_its_public_half() -> None:
    order = Order(**(dict(ORDER) | {"unlock": "required", "unlock_recipient": SHARE, "no_swap": True}))
    assert Order.from_untrusted(order.to_json()) == order


def test_an_order_that_asks_for_a_share_forbids_swap_which_could_put_it_on_the_disk() -> None:
    with pytest.raises(ValidationError, match="no_swap must be true where unlock is required"):
        Order(**(dict(ORDER) | {"unlock": "required", "unlock_recipient": SHARE}))


def test_a_budget_above_the_default_needs_somebody_who_accepts_it() -> None:
    above = dict(ORDER) | {"budget": 1.0}
    with pytest.raises(ValidationError, match="budget_accepted must say who"):
        Order(**above)
    accepted = BudgetAcceptance(by="Supt A. Example", why="a child is missing")
    assert Order(**(above | {"budget_accepted": accepted})).budget == 1


def test_an_order_may_last_exactly_a_day() -> None:
    order = Order(**(dict(ORDER) | {"not_before": START, "not_after": START + timedelta(hours=24)}))
    assert order.not_after - order.not_before == timedelta(hours=24)


def test_a_van_without_a_camera_cannot_be_ordered() -> None:
    with pytest.raises(ValidationError):
        VanAssignment(id="van-1", recipient=VAN.recipient, cameras=())


def test_messages_load_no_numpy() -> None:
    code = (
        "import sys, lfr_edge.messages.alert, lfr_edge.messages.order, lfr_edge.messages.status; "
        "sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
