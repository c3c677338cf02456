"""The kinds of field that messages are made of, and the base of all messages.

Strict and closed: a field too many is refused like one too few, so that two readers never disagree about a message.
"""

import base64
import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, TypeVar

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
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.json_names import has_repeated_names

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
            wrong = "; ".join(complaints(error, most=3))
        else:
            if not has_repeated_names(untrusted_json.decode()):
                return message
            wrong = "a name is there twice"
        raise UntrustedInputError(
            Reason.MALFORMED,
            f"this is not a valid {cls.__name__.lower()}: {wrong}",
            fix="make it with a matching version of lfr-edge",
        )

    @classmethod
    def of_options(cls: type[_Message], **options: object) -> _Message:  # noqa: PYI019 - as above
        """The message that somebody's command line says; else ConfigError that names the options."""
        try:
            return cls(**options)
        except ValidationError as error:
            raise ConfigError(
                Reason.VALUE_INVALID,
                f"what was given does not do: {'; '.join(complaints(error, own=True))}",
                fix="correct the options of these names",
            ) from error


def complaints(error: ValidationError, *, own: bool = False, most: int | None = None) -> list[str]:
    """What is wrong, one field each, `most` of them, in words of ours: never a field's content.

    Nor a name that we do not know, unless the file is the reader's `own`: it is the sender's text.
    """
    return [_complaint(fault, own=own) for fault in error.errors(include_input=False, include_url=False)[:most]]


def _complaint(fault: "ErrorDetails", *, own: bool) -> str:
    kind, limits = fault["type"], fault.get("ctx", {})
    place = ".".join(map(str, fault["loc"]))
    if kind == "value_error":  # raised by a validator of ours
        said = str(limits["error"])
        return f"{place}{' ' if said.startswith('must ') else ': '}{said}" if place else said
    if kind == "extra_forbidden":
        around = ".".join(map(str, fault["loc"][:-1]))
        return f"{place} is not known" if own else f"{around or 'it'} has a name that is not known"
    if kind == "string_pattern_mismatch":
        words = _FORMS.get(limits["pattern"], "is not written as it must be")
    else:
        words = next((words for start, words in _WORDS if kind.startswith(start)), "is not what it must be")
    return f"{place or 'it'} {words.format_map(limits)}"


# What pydantic calls a fault, or how that begins; what we say, with its limits.
_WORDS = (
    ("missing", "is missing"),
    ("literal_error", "must be {expected}"),
    ("string_too_short", "must have at least {min_length} character(s)"),
    ("string_too_long", "must have at most {max_length} characters"),
    ("string_", "must be a text"),
    ("too_short", "must have at least {min_length} item(s)"),
    ("too_long", "must have at most {max_length} items"),
    ("greater_than_equal", "must be at least {ge}"),
    ("greater_than", "must be above {gt}"),
    ("less_than_equal", "must be at most {le}"),
    ("less_than", "must be below {lt}"),
    ("int_", "must be a whole number"),
    ("float_", "must be a number"),
    ("finite_number", "must be a number"),
    ("bool_", "must be true or false"),
    ("bytes_", "must be base64 of at most 1 MiB"),
    ("datetime_", "must be a time in UTC, such as 2026-06-01T09:00:00Z"),
    ("timezone_", "must be a time in UTC, such as 2026-06-01T09:00:00Z"),
    ("date_", "must be a day, such as 2026-06-01"),
    ("tuple_", "must be a list"),
    ("model_", "must have fields of its own"),
    ("json_invalid", "is not JSON"),
    ("union_tag", "is of a kind that is not known"),
)


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
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise ValueError("must be base64") from error


def _check_jpeg(picture: bytes) -> bytes:
    """The same bytes, if they start as JPEG does: viewers are not asked to guess."""
    if not picture.startswith(b"\xff\xd8\xff"):
        raise ValueError("must be a JPEG")
    return picture


_ENTRY_ID = r"^[A-Za-z0-9._-]{1,64}$"
_MESSAGE_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
# One printable line: nothing that could steer a terminal or turn text around (Unicode category Other), and no separator
# of lines or paragraphs, which JSON may hold as they are, but Python's splitlines and JavaScript end a line at.
_TEXT = r"^[^\p{C}\p{Zl}\p{Zp}]+$"
_DIGEST = r"^[0-9a-f]{64}$"
_CHALLENGE = r"^[0-9a-f]{32}$"
_RECIPIENT = r"^age1[0-9a-z]{58}$"
_WEB_ADDRESS = r"^https?://[!-~]{1,500}$"
_FORMS = {
    f"^{IDENTIFIER}$": "must be 1 to 64 lower-case letters, digits and hyphens",
    _ENTRY_ID: "must be 1 to 64 letters, digits, '.', '_' and '-'",
    _MESSAGE_ID: "must be a UUID of version 7",
    _TEXT: "must be one line of printable text",
    _DIGEST: "must be 64 hexadecimal digits in lower case",
    _CHALLENGE: "must be 32 hexadecimal digits in lower case",
    _RECIPIENT: "must be an age public key, age1...",
    _WEB_ADDRESS: "must be an address that begins with https:// or http://",
}

Identifier = Annotated[str, StringConstraints(pattern=f"^{IDENTIFIER}$")]
EntryId = Annotated[str, StringConstraints(pattern=_ENTRY_ID)]
MessageId = Annotated[str, StringConstraints(pattern=_MESSAGE_ID)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_TEXT)]
Digest = Annotated[str, StringConstraints(pattern=_DIGEST)]
Challenge = Annotated[str, StringConstraints(pattern=_CHALLENGE)]
Recipient = Annotated[str, StringConstraints(pattern=_RECIPIENT), AfterValidator(_check_recipient)]
WebAddress = Annotated[str, StringConstraints(pattern=_WEB_ADDRESS)]
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
