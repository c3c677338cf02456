"""One entry: index, time, event, and the bytes that are hashed.

Canonical JSON is RFC 8785 without its hard parts: no floats, no nulls, names in ASCII. An entry has one spelling;
any other is refused, so that two readers never disagree about what was signed.
"""

import json
from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field, ValidationError

from lfr_edge.audit.events import EVENTS
from lfr_edge.audit.fields import Count, Event, Moment
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.fields import Message

LARGEST_ENTRY_BYTES = 64 * 1024

if TYPE_CHECKING:
    AnyEvent = Event
else:
    AnyEvent = Annotated[Union[EVENTS], Field(discriminator="kind")]  # noqa: UP007 - a tuple cannot be written with |


class Entry(Message):
    """What one line of the log says."""

    at: Moment
    event: AnyEvent
    index: Count
    v: Literal[1] = 1

    def to_canonical(self) -> bytes:
        """The bytes that are written and hashed: names sorted, no spaces, UTF-8, absent fields left out."""
        fields = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_canonical(cls, untrusted: bytes) -> "Entry":
        """The entry, if these are its canonical bytes; else UntrustedInputError."""
        try:
            entry = cls.model_validate_json(untrusted)
        except ValidationError as error:
            raise _refusal(untrusted, error) from None  # pydantic repeats an unknown kind: it is the sender's text
        if entry.to_canonical() != untrusted:
            raise UntrustedInputError(
                Reason.MALFORMED,
                "this entry is not written in its canonical form",
                fix="give the log unchanged: no tool may format it",
            )
        return entry


def _refusal(untrusted: bytes, error: ValidationError) -> UntrustedInputError:
    """Why this is no entry, in words of ours."""
    if any(fault["type"] == "union_tag_invalid" for fault in error.errors(include_input=False, include_context=False)):
        return UntrustedInputError(
            Reason.MALFORMED, "this version does not know the kind of event", fix="use a newer version of lfr-edge"
        )
    try:
        Entry.from_untrusted(untrusted)
    except UntrustedInputError as refused:
        return refused
    raise RuntimeError("what was refused a moment ago is an entry now")
