"""The vocabulary of the log: what can be recorded, and under which clause of which law.

Closed and small: an event is ids, digests, counts, times and one line of reason. Nothing here has room for a picture or
features, and nothing names, places or times a passer-by who did not match. The vocabulary only grows: within a version
of the format no field changes its meaning.
"""

from typing import Annotated, Literal

from pydantic import Field

from lfr_edge.audit.fields import Clause, Count, Decimal4, Event, Ids, KeyId, Moment, PeriodCause, Writer
from lfr_edge.audit.office_events import OFFICE_EVENTS
from lfr_edge.messages.fields import Digest, Distinct, EntryId, Identifier, MessageId, Recipient, Text


class LogCreated(Event):
    """The first entry of every log."""

    clauses, writer = (Clause.LOG,), Writer.ANY
    kind: Literal["log-created"] = "log-created"
    origin: Text
    software: Text


class LogRecovered(Event):
    """Power was lost during a write: bytes that nobody was told about were cut."""

    clauses, writer = (Clause.LOG,), Writer.ANY
    kind: Literal["log-recovered"] = "log-recovered"
    cut_bytes: Count
    cut_sha256: Digest


class Started(Event):
    """A program started, with this software and configuration."""

    clauses, writer = (Clause.OPERATION,), Writer.ANY
    kind: Literal["started"] = "started"
    software: Text
    config_sha256: Digest | None = None
    engine_set: Digest | None = None


class Stopped(Event):
    """A program ended in an orderly way."""

    clauses, writer = (Clause.OPERATION,), Writer.ANY
    kind: Literal["stopped"] = "stopped"


class KeyMade(Event):
    """A signing key was made."""

    clauses, writer = (Clause.OPERATION,), Writer.ANY
    kind: Literal["key-made"] = "key-made"
    purpose: Identifier
    key_id: KeyId


class Consulted(Event):
    """A person looked at personal data, or asked the registry."""

    clauses, writer = (Clause.CONSULTATION,), Writer.ANY
    kind: Literal["consulted"] = "consulted"
    what: Literal["entry", "list", "report", "registry", "package", "alert", "log"]
    order: Identifier | None = None
    entry: EntryId | None = None
    alert: MessageId | None = None


class Disclosed(Event):
    """Personal data was given to somebody, by another way than a package or an alert."""

    clauses, writer = (Clause.DISCLOSURE,), Writer.ANY
    kind: Literal["disclosed"] = "disclosed"
    what: Literal["entry", "list", "report", "registry", "alert", "log"]
    recipient: Text
    order: Identifier | None = None
    entry: EntryId | None = None
    alert: MessageId | None = None


class PrekeysMade(Event):
    """One-time deployment keys were made."""

    clauses, writer = (Clause.OPERATION,), Writer.VAN
    kind: Literal["prekeys-made"] = "prekeys-made"
    made: Count
    stock: Count


class DeploymentLoaded(Event):
    """A package was accepted: the van holds a list."""

    clauses, writer = (Clause.COLLECTION, Clause.DATABASE), Writer.VAN
    kind: Literal["deployment-loaded"] = "deployment-loaded"
    order: Identifier
    order_sha256: Digest
    replaces: Identifier | None = None
    signers: Annotated[tuple[KeyId, ...], Field(min_length=1, max_length=100), Distinct]
    watchlist_sha256: Digest
    pictures_sha256: Digest
    contract: Digest
    engine_set: Digest
    not_before: Moment
    not_after: Moment


class DeploymentRefused(Event):
    """A package was refused; `order` only where its signatures were valid."""

    clauses, writer = (Clause.OPERATION,), Writer.VAN
    kind: Literal["deployment-refused"] = "deployment-refused"
    reason: Identifier
    order: Identifier | None = None


class PeriodBegan(Event):
    """Recognition began: faces are compared with this list from now on."""

    clauses, writer = (Clause.PERIOD, Clause.DATABASE), Writer.VAN
    kind: Literal["period-began"] = "period-began"
    order: Identifier
    watchlist_sha256: Digest
    engine_set: Digest
    threshold: Decimal4
    cameras: Ids


class PeriodEnded(Event):
    """Recognition ended. After a power cut it is written at the next start, without counts."""

    clauses, writer = (Clause.PERIOD,), Writer.VAN
    kind: Literal["period-ended"] = "period-ended"
    order: Identifier
    cause: PeriodCause
    faces: Count | None = None
    alerts: Count | None = None
    test_passes: Count | None = None


class CameraChanged(Event):
    """A camera was lost or came back while recognition ran."""

    clauses, writer = (Clause.PERIOD, Clause.OPERATION), Writer.VAN
    kind: Literal["camera-changed"] = "camera-changed"
    order: Identifier
    camera: Identifier
    seeing: bool


class CommandReceived(Event):
    """Somebody told the van to do something, here or by a signed command."""

    clauses, writer = (Clause.OPERATION,), Writer.VAN
    kind: Literal["command-received"] = "command-received"
    command: Identifier
    outcome: Literal["done", "refused"]
    order: Identifier | None = None
    reason: Identifier | None = None


class ClockRecovered(Event):
    """A signed statement put the van's idea of time right."""

    clauses, writer = (Clause.OPERATION,), Writer.VAN
    kind: Literal["clock-recovered"] = "clock-recovered"
    statement_sha256: Digest
    before: Moment
    after: Moment


class AlertDecided(Event):
    """A search led to a match. The input is the sample sealed in the alert of this id, and nowhere else."""

    clauses, writer = (Clause.INPUT, Clause.DATABASE, Clause.COMBINATION), Writer.VAN
    kind: Literal["alert-decided"] = "alert-decided"
    alert: MessageId
    order: Identifier
    entry: EntryId
    runner_up: EntryId | None = None
    camera: Identifier
    captured_at: Moment
    score: Decimal4
    threshold: Decimal4
    margin: Decimal4 | None = None
    samples: Count
    watchlist_sha256: Digest
    contract: Digest
    engine_set: Digest


class AlertSent(Event):
    """An alert left for the control rooms that can open it."""

    clauses, writer = (Clause.DISCLOSURE,), Writer.VAN
    kind: Literal["alert-sent"] = "alert-sent"
    alert: MessageId
    order: Identifier
    recipients: Annotated[tuple[Recipient, ...], Field(min_length=1, max_length=100), Distinct]


class AlertAcknowledged(Event):
    """A control room proved that it opened the alert."""

    clauses, writer = (Clause.DISCLOSURE,), Writer.VAN
    kind: Literal["alert-acknowledged"] = "alert-acknowledged"
    alert: MessageId
    order: Identifier


class AlertsErased(Event):
    """Sealed alerts were deleted from the van, and sealed test passes."""

    clauses, writer = (Clause.ERASURE,), Writer.VAN
    kind: Literal["alerts-erased"] = "alerts-erased"
    order: Identifier
    alerts: Count
    test_passes: Count | None = None
    cause: Literal["acknowledged", "expired", "revoked", "deployment-ended"]


class PassDecided(Event):
    """A volunteer of the blue list walked past and was recognised: never an alert, and the sample is kept nowhere."""

    clauses, writer = (Clause.INPUT, Clause.DATABASE), Writer.VAN
    kind: Literal["test-pass"] = "test-pass"
    test_pass: MessageId
    order: Identifier
    entry: EntryId
    camera: Identifier
    captured_at: Moment
    score: Decimal4
    threshold: Decimal4
    watchlist_sha256: Digest
    engine_set: Digest


class PassSent(Event):
    """A test pass left for the control rooms that can open it."""

    clauses, writer = (Clause.DISCLOSURE,), Writer.VAN
    kind: Literal["test-pass-sent"] = "test-pass-sent"
    test_pass: MessageId
    order: Identifier
    recipients: Annotated[tuple[Recipient, ...], Field(min_length=1, max_length=100), Distinct]


class RecognitionTested(Event):
    """The true recognition rate on site: walks of volunteers, how many were recognised, 95 % interval."""

    clauses, writer = (Clause.OPERATION,), Writer.VAN
    kind: Literal["recognition-tested"] = "recognition-tested"
    order: Identifier
    camera: Identifier
    walks: Count
    recognised: Count
    rate_low: Decimal4
    rate_high: Decimal4


class DeploymentErased(Event):
    """The list and its key are gone, to this level; what could not be verified is said."""

    clauses, writer = (Clause.ERASURE,), Writer.VAN
    kind: Literal["deployment-erased"] = "deployment-erased"
    order: Identifier
    watchlist_sha256: Digest
    level: Identifier
    unverified: Ids
    receipt_sha256: Digest


class Adjudicated(Event):
    """A person decided what an alert was."""

    clauses, writer = (Clause.VERIFIERS,), Writer.CONTROL_ROOM
    kind: Literal["adjudicated"] = "adjudicated"
    alert: MessageId
    order: Identifier
    verdict: Literal["true-alert", "false-alert"]
    engaged: bool
    outcome: Identifier | None = None


class EvidenceErased(Event):
    """Alerts of a deployment, and the key that opens them, were erased."""

    clauses, writer = (Clause.ERASURE,), Writer.CONTROL_ROOM
    kind: Literal["evidence-erased"] = "evidence-erased"
    order: Identifier
    alerts: Count
    key_destroyed: bool


EVENTS = (*OFFICE_EVENTS, *(event for event in Event.__subclasses__() if event not in OFFICE_EVENTS))
