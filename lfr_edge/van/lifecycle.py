"""`idle -> armed -> live -> ended`: what a van may do now, as a pure function.

No I/O, no threads, no clock. `step` takes what was last written to disk, what the clocks say, whether the order still
stands, and what somebody asks; it returns what to write to disk and what to do then. In this order: an action is
carried out when its record is safe, so that a power cut at any point leaves a record that allows no more than before.

`RULES` is the whole table, and docs/deployment.md shows it: the first rule of a state that holds is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Literal

from lfr_edge.errors import PolicyError, Reason
from lfr_edge.messages.fields import Digest, Identifier, Message, Recipient, UtcTime
from lfr_edge.messages.order import LONGEST_DEPLOYMENT
from lfr_edge.van.trusted_time import Anchor, Time

_REMEMBERED = 100

Cause = Literal["window-over", "stop", "revoke", "not-authorised", "files-over", "replaced"]


class State(Enum):
    """What a van is."""

    IDLE = "idle"  # no deployment
    ARMED = "armed"  # a deployment is loaded; blind
    LIVE = "live"  # sees
    ENDED = "ended"  # blind; the deployment's list is erased, or is about to be


class Request(Enum):
    """What a person, or the last picture of a file, asks for."""

    NONE = ""
    STOP = "stop"
    REVOKE = "revoke"
    FILES_OVER = "files-over"


class Action(Enum):
    """What is to be done when the record is safe."""

    SEE = "see"
    BLIND = "blind"
    PURGE = "purge"  # delete what was not delivered
    ERASE = "erase"
    ERASE_REPLACED = "erase replaced"


class Terms(Message):
    """What the lifecycle needs of a signed order."""

    order: Identifier
    replaces: Identifier | None = None
    """The order that this one may take over from while that is loaded."""
    order_sha256: Digest
    """Of `order.json`, signatures included."""
    watchlist_sha256: Digest
    recipient: Recipient
    """The key that the list was sealed to."""
    unlock_recipient: Recipient | None = None
    """Of the share that is needed besides."""
    one_time: bool
    """Is that a prekey, destroyed with the deployment."""
    not_before: UtcTime
    not_after: UtcTime


class EndedOrder(Message):
    """An order that cannot be loaded again."""

    order: Identifier
    not_after: UtcTime


class Record(Message):
    """What is on disk."""

    version: Literal[1] = 1
    state: State
    anchor: Anchor
    terms: Terms | None = None
    """Of the deployment that is loaded, or was last."""
    cause: Cause | None = None
    """Why it ended."""
    erased: bool = False
    """Is its erasure complete."""
    replaced: Terms | None = None
    """Of the deployment that the loaded one took over from, until its list is erased."""
    ended: tuple[EndedOrder, ...] = ()
    purge: tuple[Identifier, ...] = ()
    """Orders that were revoked, and whose alerts are not deleted yet."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Whether the order still stands, as it was found when it was last checked."""

    signatures: int  # by different trusted keys
    required: int
    fault: Reason | None = None  # what else forbids to see: engines, cameras, keys, memory
    locked: bool = False  # is the share missing that the order asks for

    @property
    def authorised(self) -> bool:
        """Enough signatures, whatever the configuration asks for: one at least."""
        return self.signatures >= max(self.required, 1)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write, then what to do; and while the van is blind, why: every reason that is known."""

    record: Record
    actions: tuple[Action, ...]
    blind: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    record: Record
    time: Time
    conditions: Conditions
    request: Request

    @property
    def terms(self) -> Terms:
        if self.record.terms is None:
            raise RuntimeError("a deployment is loaded without terms")
        return self.record.terms

    @property
    def too_early(self) -> bool:
        """By a clock that is believed: the mark alone may be of long ago."""
        return self.time.doubt is None and self.time.no_earlier < self.terms.not_before

    @property
    def revoked(self) -> bool:
        return self.request is Request.REVOKE or bool(self.record.purge)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table."""

    when: str
    holds: Callable[[_Case], bool | Reason | None]
    to: State
    actions: tuple[Action, ...]
    why: Reason | None = None  # why the van is blind then; else it waits for something
    cause: Cause | None = None


_END = (Action.BLIND, Action.ERASE)
_ENDINGS = (
    Rule("`stop`", lambda case: case.request is Request.STOP, State.ENDED, _END, Reason.STOPPED, "stop"),
    Rule(
        "`stop --revoke`",
        lambda case: case.request is Request.REVOKE,
        State.ENDED,
        (Action.BLIND, Action.PURGE, Action.ERASE),
        Reason.STOPPED,
        "revoke",
    ),
    Rule(
        "`not_after` has passed: by the wall clock, or by the boot clock since the mark",
        lambda case: case.time.no_earlier >= case.terms.not_after,
        State.ENDED,
        _END,
        Reason.OUTSIDE_WINDOW,
        "window-over",
    ),
    Rule(
        "fewer valid signatures than the van requires",
        lambda case: not case.conditions.authorised,
        State.ENDED,
        _END,
        Reason.NOT_AUTHORISED,
        "not-authorised",
    ),
    Rule(
        "every camera was a file, and all are over",
        lambda case: case.request is Request.FILES_OVER,
        State.ENDED,
        _END,
        Reason.STOPPED,
        "files-over",
    ),
)


_WAITS: tuple[tuple[str, Callable[[_Case], Reason | None]], ...] = (
    ("the clock is doubtful", lambda case: case.time.doubt),
    ("a condition is not met", lambda case: case.conditions.fault),
    (
        "the unlock share is missing that the order asks for",
        lambda case: Reason.UNLOCK_REQUIRED if case.conditions.locked else None,
    ),
    ("`not_before` has not come", lambda case: Reason.OUTSIDE_WINDOW if case.too_early else None),
)
"""What a van waits for, blind: all of it is said."""


def _waiting(actions: tuple[Action, ...]) -> tuple[Rule, ...]:
    return tuple(Rule(when, reason, State.ARMED, actions) for when, reason in _WAITS)


UNERASED = "an order was replaced, and the erasure of its list is not complete"
"""In every state, beside what the state's own rule says: then `Action.ERASE_REPLACED`."""

RULES: dict[State, tuple[Rule, ...]] = {
    State.IDLE: (Rule("always", lambda _: True, State.IDLE, (), Reason.NO_ORDER),),
    State.ARMED: (*_ENDINGS, *_waiting(()), Rule("otherwise", lambda _: True, State.LIVE, (Action.SEE,))),
    State.LIVE: (*_ENDINGS, *_waiting((Action.BLIND,)), Rule("otherwise", lambda _: True, State.LIVE, ())),
    State.ENDED: (
        Rule(
            "`stop --revoke`, now or not carried out yet, and the erasure is complete",
            lambda case: case.revoked and case.record.erased,
            State.ENDED,
            (Action.PURGE,),
            Reason.NO_ORDER,
        ),
        Rule(
            "`stop --revoke`, now or not carried out yet",
            lambda case: case.revoked,
            State.ENDED,
            (Action.PURGE, Action.ERASE),
            Reason.NO_ORDER,
        ),
        Rule("the erasure is complete", lambda case: case.record.erased, State.ENDED, (), Reason.NO_ORDER),
        Rule("otherwise", lambda _: True, State.ENDED, (Action.ERASE,), Reason.NO_ORDER),
    ),
}


def first_record(time: Time) -> Record:
    """Of a van that was never used."""
    return Record(state=State.IDLE, anchor=time.anchor)


def step(record: Record, time: Time, conditions: Conditions, request: Request = Request.NONE) -> Decision:
    """What is to be written and done now."""
    case = _Case(record, time, conditions, request)
    rule = next(rule for rule in RULES[record.state] if rule.holds(case))
    fields: dict[str, object] = {"state": rule.to, "anchor": time.anchor, "ended": _remembered(record, time)}
    if rule.to is State.ENDED and record.state is not State.ENDED:
        ended = EndedOrder(order=case.terms.order, not_after=case.terms.not_after)
        fields |= {"cause": rule.cause, "erased": False, "ended": (*_remembered(record, time), ended)}
    if rule.to is State.ENDED and request is Request.REVOKE:
        fields["purge"] = _added(record.purge, case.terms.order)
    actions = rule.actions if record.replaced is None else (*rule.actions, Action.ERASE_REPLACED)
    blind = (rule.why,) if rule.why else tuple(reason for _, of in _WAITS if (reason := of(case)) is not None)
    return Decision(_with(record, fields), actions, blind)


def latest(record: Record) -> datetime | None:
    """As far as a wall clock may move the mark: the end of the loaded order."""
    terms = loaded(record)
    return None if terms is None else terms.not_after


def loaded(record: Record) -> Terms | None:
    """The deployment that is loaded and has not ended."""
    return record.terms if record.state in {State.ARMED, State.LIVE} else None


def require_erased(record: Record) -> None:
    """PolicyError while the list of an order that has ended, or was replaced, is not erased yet."""
    ended = record.terms if record.state is State.ENDED and not record.erased else record.replaced
    if ended is not None:
        raise PolicyError(
            Reason.ERASURE_PENDING,
            f"the list of order '{ended.order}' is not erased yet",
            fix="wait for it: lfr-edge deployment status",
        )


def load(record: Record, time: Time, terms: Terms) -> Record:
    """The record of a van that took this order, in place of a loaded one if it replaces that. PolicyError otherwise.

    Whoever is live stays so, under the new order; what it replaced has ended.
    """
    require_erased(record)
    before = loaded(record)
    if before is not None:
        _require_successor(before, terms)
    if terms.order in {ended.order for ended in record.ended}:
        raise PolicyError(
            Reason.ORDER_ENDED, f"order '{terms.order}' has ended", fix="an end is final: have a new order signed"
        )
    if not timedelta(0) < terms.not_after - terms.not_before <= LONGEST_DEPLOYMENT:
        raise PolicyError(
            Reason.OUTSIDE_WINDOW, f"order '{terms.order}' is longer than a day", fix="have a shorter one signed"
        )
    if time.no_earlier >= terms.not_after:
        raise PolicyError(
            Reason.OUTSIDE_WINDOW,
            f"the window of order '{terms.order}' is over since {terms.not_after:%Y-%m-%d %H:%M} UTC",
            fix="check the clock, or have a new order signed",
        )
    ended = () if before is None else (EndedOrder(order=before.order, not_after=before.not_after),)
    return Record(
        state=State.ARMED if before is None else record.state,
        anchor=time.anchor,
        terms=terms,
        replaced=before,
        ended=(*_remembered(record, time), *ended),
        purge=record.purge,
    )


def require_sight(record: Record, time: Time, conditions: Conditions) -> None:
    """PolicyError if this is the record of a van that sees, and it would be blind with the next look."""
    decision = step(record, time, conditions)
    if record.state is State.LIVE and decision.blind:
        raise PolicyError(
            decision.blind[0],
            f"order '{_name(record)}' would blind the van, which sees under the order that it replaces:"
            f" {', '.join(reason.value for reason in decision.blind)}",
            fix="mend that (docs/deployment.md says how), have it signed for now, or load it after that one's end",
        )


def forbid(record: Record, order: str) -> Record:
    """The record of a van that was told to end an order before it had it: it never takes it."""
    if order in {ended.order for ended in record.ended}:
        return record
    for_ever = EndedOrder(order=order, not_after=datetime.max.replace(tzinfo=timezone.utc))
    return _with(record, {"ended": (*record.ended, for_ever)})


def revoked(record: Record, order: str) -> Record:
    """The record of a van that is to delete the alerts of an order that is not the loaded one."""
    return _with(record, {"purge": _added(record.purge, order)})


def purged(record: Record, order: str) -> Record:
    """The record when no alert of the order waits any more."""
    return _with(record, {"purge": tuple(other for other in record.purge if other != order)})


def restarted(record: Record) -> Record:
    """What a record means to a new process: whoever was live is not any more."""
    return _with(record, {"state": State.ARMED}) if record.state is State.LIVE else record


def with_anchor(record: Record, anchor: Anchor) -> Record:
    """The record of a van whose idea of time was put right by a signed statement. What has ended stays ended."""
    return _with(record, {"anchor": anchor})


def erased(record: Record) -> Record:
    """The record when nothing of the deployment is left."""
    return _with(record, {"erased": True})


def replaced_erased(record: Record) -> Record:
    """The record when nothing of the replaced deployment is left."""
    return _with(record, {"replaced": None})


def _require_successor(before: Terms, terms: Terms) -> None:
    if terms.replaces != before.order:
        raise PolicyError(
            Reason.ORDER_LOADED,
            f"order '{before.order}' is loaded, and '{terms.order}' does not say that it replaces it",
            fix=f"end it first (lfr-edge deployment stop), or have an order signed with replaces '{before.order}'",
        )
    if before.one_time and terms.recipient == before.recipient:
        raise PolicyError(
            Reason.KEY_USED,
            f"order '{terms.order}' is sealed to the one-time key of '{before.order}', which is destroyed with that",
            fix="have it sealed to another prekey of this van",
        )


def _name(record: Record) -> str:
    return record.terms.order if record.terms is not None else "?"


def _remembered(record: Record, time: Time) -> tuple[EndedOrder, ...]:
    """Ended orders, without those of long ago: their windows are over, so that every clock refuses them."""
    long_ago, recent = record.ended[:-_REMEMBERED], record.ended[-_REMEMBERED:]
    return (*(ended for ended in long_ago if time.anchor.mark < ended.not_after), *recent)


def _added(orders: tuple[str, ...], order: str) -> tuple[str, ...]:
    return orders if order in orders else (*orders, order)


def _with(record: Record, fields: dict[str, object]) -> Record:
    return Record(**{**dict(record), **fields})
