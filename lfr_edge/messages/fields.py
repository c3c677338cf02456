"""The kinds of field that messages are made of, and the base of all messages.

Strict and closed: a field too many is refused like one too few, so that two readers never disagree about a message.
"""

import base64
import math
from datetime import datetime, timedelta, timezone
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from lfr_edge.crypto.sealed import is_recipient
from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.json_names import has_repeated_names

_Message = TypeVar("_Message", bound="Message")

IDENTIFIER = r"[a-z0-9-]{1,64}"
"""Ids of forces, vans, cameras and orders; safe in a topic and as a file name."""

# float32 cosines of normalised features overshoot 1 by some 1e-7: that is rounding, not a wrong score.
_ROUNDING = 1e-3


class Message(BaseModel):
    """Base of everything that leaves or enters a machine; errors never quote the data."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    def to_json(self) -> bytes:
        """UTF-8 JSON, fields in the order of the model."""
        return self.model_dump_json().encode()

    @classmethod
    def from_untrusted(  # noqa: PYI019 - typing.Self needs Python 3.11
        cls: type[_Message], untrusted_json: bytes
    ) -> _Message:
        """The message, if it is one; else UntrustedInputError that names the fields but never their content."""
        try:
            message = cls.model_validate_json(untrusted_json)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_context=False, include_url=False)
            wrong = ", ".join(_describe(fault["loc"], fault["msg"], fault["type"]) for fault in faults[:3])
        else:
            if not has_repeated_names(untrusted_json.decode()):
                return message
            wrong = "a name is there twice"
        raise UntrustedInputError(
            Reason.MALFORMED,
            f"this is not a valid {cls.__name__.lower()}: {wrong}",
            fix="make it with a matching version of lfr-edge",
        )


def _describe(place: tuple[int | str, ...], message: str, kind: str) -> str:
    """One fault; the name of a field that we do not know is the sender's text, and left out."""
    known = place[:-1] if kind == "extra_forbidden" else place
    return f"{'.'.join(map(str, known)) or 'the whole'} ({message})"


def _to_utc(time: datetime) -> datetime:
    """The same instant, if it was given in UTC: nobody should have to convert in court."""
    if time.utcoffset() != timedelta(0):
        raise ValueError("must be UTC")
    return time.astimezone(timezone.utc)


def _check_recipient(text: str) -> str:
    """An age public key, checksum included: an error here beats one when the first alert is sealed."""
    if not is_recipient(text):
        raise ValueError("must be an age public key")
    return text


def _check_distinct(items: tuple[object, ...]) -> tuple[object, ...]:
    """The same tuple, if nothing in it is there twice."""
    if len(set(items)) != len(items):
        raise ValueError("must not repeat")
    return items


def _round_to_range(score: object) -> object:
    """A score that overshoots [-1, 1] by rounding only is put back; anything else is left to the range check."""
    if isinstance(score, float) and 1 < abs(score) <= 1 + _ROUNDING:
        return math.copysign(1.0, score)
    return score


def _decode_picture(value: object) -> object:
    """JSON carries base64, Python carries bytes."""
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def _check_jpeg(picture: bytes) -> bytes:
    """The same bytes, if they start as JPEG does: viewers are not asked to guess."""
    if not picture.startswith(b"\xff\xd8\xff"):
        raise ValueError("must be a JPEG")
    return picture


Identifier = Annotated[str, StringConstraints(pattern=f"^{IDENTIFIER}$")]
EntryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
MessageId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
]
# One printable line: nothing that could steer a terminal or turn text around (Unicode category Other), and no separator
# of lines or paragraphs, which JSON may hold as they are, but Python's splitlines and JavaScript end a line at.
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\p{C}\p{Zl}\p{Zp}]+$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Recipient = Annotated[str, StringConstraints(pattern=r"^age1[0-9a-z]{58}$"), AfterValidator(_check_recipient)]
UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Score = Annotated[float, BeforeValidator(_round_to_range), Field(ge=-1, le=1)]
Distinct = AfterValidator(_check_distinct)
Jpeg = Annotated[
    bytes,
    BeforeValidator(_decode_picture),
    Field(max_length=1 << 20),
    AfterValidator(_check_jpeg),
    PlainSerializer(lambda picture: base64.b64encode(picture).decode("ascii"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "contentMediaType": "image/jpeg"}),
]
