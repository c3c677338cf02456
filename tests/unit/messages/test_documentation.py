"""docs/alerts.md is the contract for others: it says what the models say."""

import json
import re
from pathlib import Path

import pytest

from lfr_edge.errors import Reason
from lfr_edge.messages.alert import Alert
from lfr_edge.messages.examples import ALERT, VOLUNTEER_PASS
from lfr_edge.messages.fields import Message
from lfr_edge.messages.status import CameraHealth, Health, Status
from lfr_edge.messages.volunteer_pass import VolunteerPass
from lfr_edge.transport.sealed import AlertEvent, PassEvent

DOCS = Path(__file__).parents[3] / "docs"
CONTRACT = (DOCS / "alerts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", [AlertEvent, Alert, Status, CameraHealth, Health], ids=lambda model: model.__name__)
def test_every_field_is_documented(model: type[Message]) -> None:
    assert set(model.model_fields) <= set(re.findall(r"`(\w+)`", CONTRACT))


def test_the_documented_example_is_a_valid_alert() -> None:
    (example,) = (json.loads(text) for text in re.findall(r"```json\n(\{\n.*?\n\})\n```", CONTRACT, re.DOTALL))
    shown = json.loads(ALERT.to_json())
    for picture in ("sample", "reference", "context"):
        assert shown[picture].startswith(example[picture].removesuffix("..."))
        example[picture] = shown[picture]
    assert Alert.from_untrusted(json.dumps(example).encode()) == ALERT


def test_the_test_pass_is_documented_field_by_field_with_a_valid_example() -> None:
    page = (DOCS / "formats" / "test-pass.md").read_text(encoding="utf-8")
    members = page.split("exactly these members:")[1].split("There is no sample")[0]
    first_cells = "".join(re.findall(r"^\|([^|]*)\|", members, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", first_cells)) == set(VolunteerPass.model_fields)
    assert set(PassEvent.model_fields) <= set(re.findall(r"`(\w+)`", page))
    (example,) = re.findall(r"```json\n(\{\n.*?\n\})\n```", page, re.DOTALL)
    assert VolunteerPass.from_untrusted(example.encode()) == VOLUNTEER_PASS


def test_every_documented_refusal_exists() -> None:
    table = (DOCS / "watch.md").read_text(encoding="utf-8").split("| reason |")[1].split("\n\n")[0]
    documented = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`([a-z-]+)`", line.partition("| ")[2].split("|")[0])
    }
    assert documented == {
        reason.value
        for reason in (
            Reason.SIGNER_UNKNOWN,
            Reason.SIGNATURE_INVALID,
            Reason.OUTER_INNER_DIFFER,
            Reason.WRONG_RECIPIENT,
            Reason.EXPIRED,
            Reason.DECRYPTION_FAILED,
            Reason.TRUNCATED,
            Reason.MALFORMED,
        )
    }
