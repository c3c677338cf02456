"""The deployment order: what an authorising officer signed, and the only thing that lets a van see.

Signatures are checked here; whether this van may carry the order out (window, contract, cameras) is its own decision.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lfr_edge.crypto.signing import Purpose, SigningKey, VerifyKey, sign, verify
from lfr_edge.messages.fields import Digest, Distinct, Identifier, Message, Recipient, Score, Text, UtcTime, WebAddress

LONGEST_DEPLOYMENT = timedelta(hours=24)
"""A watchlist lives for one deployment, and for a day at the longest (College of Policing APP; Bridges)."""

DEFAULT_BUDGET = 0.001
"""One false alert in 1,000 faces (South Wales Police; R4)."""


class VanAssignment(Message):
    """One van of the deployment."""

    id: Identifier
    recipient: Recipient
    """The van's one-time deployment key: this van's watchlist is sealed to it."""
    cameras: Annotated[tuple[Identifier, ...], Field(min_length=1), Distinct]


class BudgetAcceptance(Message):
    """Who accepted more false alerts than the budget allows, and why."""

    by: Text
    why: Text


class Order(Message):
    """Purpose, place, window, cameras, list and rules of one deployment."""

    version: Literal[1] = 1
    id: Identifier
    replaces: Identifier | None = None
    """The order that this one takes over from: the same van, without a blind gap; the old list is erased."""
    purpose: Text
    legal_basis: Text
    place: Text
    authorising_officer: Text
    force: Identifier
    vans: Annotated[tuple[VanAssignment, ...], Field(min_length=1)]
    not_before: UtcTime
    not_after: UtcTime
    threshold: Score
    margin: Annotated[float, Field(ge=0, le=2)]
    """How far the best candidate must be ahead of the next one."""
    confirmation: Annotated[int, Field(ge=1)]
    """Comparisons of a track in a row that must agree before it can alert."""
    cooldown_s: Annotated[float, Field(ge=0)]
    """How long an entry that alerted stays quiet."""
    expected_faces: Annotated[int, Field(ge=1, le=10_000_000)]
    """How many faces are expected to pass within the window."""
    budget: Annotated[float, Field(gt=0, le=1)] = DEFAULT_BUDGET
    """False alerts for each face that passes, at most."""
    budget_accepted: BudgetAcceptance | None = None
    """Without it, an order above its budget is refused, and so is a budget above the default."""
    list_size: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many entries the watchlist has."""
    template_count: Annotated[int, Field(ge=1, le=10_000_000)]
    """How many templates they have together: a face is compared with each, and each can be a false alert."""
    watchlist_sha256: Digest
    pictures_sha256: Digest
    contract: Digest
    engine_sets: Annotated[tuple[Digest, ...], Field(min_length=1), Distinct]
    recipients: Annotated[tuple[Recipient, ...], Field(min_length=1, max_length=64), Distinct]
    """Control rooms: alerts are sealed to all of them."""
    alert_expiry_h: Annotated[float, Field(ge=0.01, le=24)] = 24
    """How long after the decision an alert may be shown."""
    evidence_retention_d: Annotated[int, Field(ge=0, le=31)] = 31
    """How many days after `not_after` the control room keeps alerts; then the key that opens them is destroyed."""
    key_protection: Literal["file", "host-key", "tpm2"] = "file"
    """The weakest protection of the van's wrapping key that will do, weakest first."""
    unlock: Literal["none", "required"] = "none"
    """Whether a share of the list's key must be given at the van's start, so that its disk alone opens nothing."""
    unlock_recipient: Recipient | None = None
    """The share's public half: the list is sealed to it before it is sealed to the van. There if, and only if, `unlock`
    is `required`."""
    no_swap: bool = False
    """Refused where memory could be written to swap. True where `unlock` is `required`."""
    no_core_dumps: bool = False
    """Refused where memory could be written to a core file."""
    notice_url: WebAddress
    demo: bool

    @model_validator(mode="after")
    def _check_window(self) -> "Order":
        if not timedelta(0) < self.not_after - self.not_before <= LONGEST_DEPLOYMENT:
            raise ValueError("not_after must be later than not_before, by 24 hours at the most")
        return self

    @model_validator(mode="after")
    def _check_replaced(self) -> "Order":
        if self.replaces == self.id:
            raise ValueError("an order cannot replace itself")
        return self

    @model_validator(mode="after")
    def _check_budget(self) -> "Order":
        if self.budget > DEFAULT_BUDGET and self.budget_accepted is None:
            raise ValueError(f"budget is above {DEFAULT_BUDGET}: budget_accepted must say who accepts that and why")
        return self

    @model_validator(mode="after")
    def _check_unlock(self) -> "Order":
        if (self.unlock == "required") != (self.unlock_recipient is not None):
            raise ValueError("unlock_recipient must be there if, and only if, unlock is required")
        if self.unlock == "required" and not self.no_swap:
            # Opening the list leaves the share in memory that is not locked: swap would put it on the disk.
            raise ValueError("no_swap must be true where unlock is required: swap could write the share to the disk")
        if self.unlock_recipient in [van.recipient for van in self.vans]:
            raise ValueError("unlock_recipient must not be a van's own key")
        return self

    @model_validator(mode="after")
    def _check_vans(self) -> "Order":
        # A key shared by two vans would let one open the other's watchlist, and outlive its own destruction there.
        for values in ([van.id for van in self.vans], [van.recipient for van in self.vans]):
            if len(set(values)) != len(values):
                raise ValueError("vans must have ids and deployment keys of their own")
        return self


def sign_order(order: Order, keys: Sequence[SigningKey]) -> bytes:
    """`order.json`: the order in an envelope signed by each key."""
    return sign(order.to_json(), Purpose.ORDER, keys)


def open_order(untrusted: bytes, trusted: Sequence[VerifyKey], *, threshold: int = 1) -> Order:
    """The order, if enough different trusted keys signed it; else UntrustedInputError."""
    return Order.from_untrusted(verify(untrusted, Purpose.ORDER, trusted, threshold=threshold))
