"""What events are made of: clauses, who writes them, the kinds of field, and the base of all events."""

from datetime import datetime
from enum import Enum
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints

from lfr_edge.messages.fields import Digest, Distinct, Identifier, Message, Text, UtcTime

# Why recognition ended.
PeriodCause = Literal[
    "window-over",
    "stop",
    "revoke",
    "replaced",
    "not-authorised",
    "files-over",
    "clock",
    "fault",
    "power-loss",
    "shutdown",
]


class Clause(Enum):
    """Why an event is recorded: UK Data Protection Act 2018, section 62; EU AI Act, article 12."""

    COLLECTION = "s.62(1)(a)"
    ALTERATION = "s.62(1)(b)"
    CONSULTATION = "s.62(1)(c)"
    DISCLOSURE = "s.62(1)(d)"
    COMBINATION = "s.62(1)(e)"
    ERASURE = "s.62(1)(f)"
    PERIOD = "12(3)(a)"
    DATABASE = "12(3)(b)"
    INPUT = "12(3)(c)"
    VERIFIERS = "12(3)(d)"
    OPERATION = "12(2)"
    LOG = "the log itself"


class Writer(Enum):
    """Whose log an event stands in."""

    ANY = "any"
    OFFICE = "office"
    VAN = "van"
    CONTROL_ROOM = "control room"


def _to_milliseconds(time: datetime) -> datetime:
    """Cut, never rounded up: an entry is not from the future."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _write_time(time: datetime) -> str:
    return f"{time.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _write_decimal(value: object) -> object:
    """A number becomes text with four decimals: every reader of JSON has its own idea of a float."""
    if isinstance(value, float):
        return f"{value:.4f}".replace("-0.0000", "0.0000")
    return value


Moment = Annotated[
    UtcTime, AfterValidator(_to_milliseconds), PlainSerializer(_write_time, return_type=str, when_used="json")
]
Decimal4 = Annotated[
    str, StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,8})\.[0-9]{4}$"), BeforeValidator(_write_decimal)
]
# Who: a person as the force names them, a key by its id, an account of the machine, or the software itself.
Actor = Annotated[str, StringConstraints(pattern=r"^(person|key|account|system):[^\p{C}\p{Zl}\p{Zp}]{1,200}$")]
Count = Annotated[int, Field(ge=0, lt=1 << 53)]  # RFC 8785: beyond that, readers of JSON disagree
KeyId = Digest
Ids = Annotated[tuple[Identifier, ...], Field(max_length=100), Distinct]


class Event(Message):
    """Base of all events: who, and why. The log adds when."""

    clauses: ClassVar[tuple[Clause, ...]]
    writer: ClassVar[Writer]
    kind: str
    by: Actor
    why: Text
