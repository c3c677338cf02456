"""What is stated about an enrolled person: no name, no picture, no template.

An entry is known by an opaque id; who that is stands in the force's own system. The office states the particulars
(R1); sealing adds where the picture lies and the key that opens it. Volunteers (the blue list, R23) are entries like
all others, but for the response: nobody is sent after them.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from lfr_edge.messages.alert import Response
from lfr_edge.messages.fields import EntryId, Message, Text

RESPONSES = ("red", "amber", "green", "test-pass")
"""What officers are to do; nothing at all where the entry is a volunteer's."""

LARGEST_SEALED_PICTURE_BYTES = (1 << 20) + 16
"""A JPEG as large as an alert can carry, and its tag: opening one takes no more memory."""


class Particulars(Message):
    """What the watchlist office states about one person."""

    id: EntryId
    category: Text
    response: Literal[Response, "test-pass"]
    """`test-pass`: a volunteer, who agreed to test the system. Their matches are test passes, never alerts."""
    legal_basis: Text
    rationale: Text | None = None
    source: Text
    captured: date
    """When the picture was taken."""
    expires: date | None = None
    """The last day on which the entry may be used."""
    under_18: bool = False
    under_18_rationale: Text | None = None
    """Why somebody under 18 is on the list: never without one (APP)."""

    @model_validator(mode="after")
    def _check_under_18(self) -> "Particulars":
        if self.under_18 != (self.under_18_rationale is not None):
            raise ValueError("under_18 and under_18_rationale go together")
        return self

    @model_validator(mode="after")
    def _check_volunteer(self) -> "Particulars":
        if self.is_volunteer and (self.rationale is None or self.expires is None or self.under_18):
            raise ValueError(
                "a volunteer's entry says in rationale what was agreed to and in expires until when; nobody under 18"
            )
        return self

    @property
    def is_volunteer(self) -> bool:
        """Of the blue list."""
        return self.response == "test-pass"


class PictureMember(Message):
    """Where one reference picture lies in `pictures.bin`, and the key that opens it alone."""

    offset: Annotated[int, Field(ge=0, le=8 << 30)]
    length: Annotated[int, Field(ge=1, le=LARGEST_SEALED_PICTURE_BYTES)]
    key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(repr=False)]


class Entry(Particulars):
    """One person on a sealed watchlist. It holds a key: never log or publish it whole."""

    picture: PictureMember | None
    """None of a volunteer: no officer is ever shown one."""

    @model_validator(mode="after")
    def _check_picture(self) -> "Entry":
        if self.is_volunteer != (self.picture is None):
            raise ValueError("every entry has a picture, but for volunteers, who have none")
        return self
