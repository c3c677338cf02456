"""What a volunteer's entry has to say, and what it has not."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from lfr_edge.errors import UntrustedInputError
from lfr_edge.watchlist.entries import RESPONSES, Entry, Particulars, PictureMember

PICTURE = PictureMember(offset=0, length=16, key="ab" * 32)
VOLUNTEER: dict[str, Any] = {
    "id": "B-0003",
    "category": "volunteer",
    "response": "test-pass",
    "legal_basis": "consent",
    "rationale": "agreed in writing to walk past on 20 June",
    "source": "taken for the test",
    "captured": date(2026, 6, 1),
    "expires": date(2026, 6, 20),
}


def test_a_volunteer_is_told_by_the_response() -> None:
    assert Particulars(**VOLUNTEER).is_volunteer
    assert Entry(**VOLUNTEER, picture=None).is_volunteer
    for response in set(RESPONSES) - {"test-pass"}:
        assert not Particulars(**(VOLUNTEER | {"response": response})).is_volunteer


@pytest.mark.parametrize(
    "change",
    [{"rationale": None}, {"expires": None}, {"under_18": True, "under_18_rationale": "asked to take part"}],
    ids=lambda change: next(iter(change)),
)
def test_consent_has_its_words_and_its_end_and_is_an_adults(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a volunteer's entry says"):
        Particulars(**(VOLUNTEER | change))
    assert Particulars(**(VOLUNTEER | change | {"response": "green"})), "of others it may be so"


def test_a_volunteer_has_no_picture_on_the_van_and_everybody_else_has() -> None:
    with pytest.raises(ValidationError, match="every entry has a picture"):
        Entry(**VOLUNTEER, picture=PICTURE)
    with pytest.raises(ValidationError, match="every entry has a picture"):
        Entry(**(VOLUNTEER | {"response": "red"}), picture=None)


def test_what_is_said_of_a_volunteer_survives_the_way_to_the_van() -> None:
    entry = Entry(**VOLUNTEER, picture=None)
    assert Entry.from_untrusted(entry.to_json()) == entry
    with pytest.raises(UntrustedInputError):
        Entry.from_untrusted(entry.to_json().replace(b'"test-pass"', b'"red"'))
