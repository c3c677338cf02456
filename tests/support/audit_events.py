"""One event of every kind, and logs made of them: nobody real, nothing random but the keys."""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from lfr_edge.audit import events as kinds
from lfr_edge.audit import office_events as office_kinds
from lfr_edge.audit.checkpoint import log_origin
from lfr_edge.audit.fields import Event
from lfr_edge.audit.log import AuditLog
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.messages.examples import ALERT, ORDER, RECIPIENT, VOLUNTEER_PASS

START = datetime(2026, 6, 20, 8, 55, tzinfo=timezone.utc)
CLERK = {"by": "person:J. Clerk", "why": "deployment High Street"}
OFFICER = {"by": "person:Supt A. Example", "why": "PACE 1984, s.24"}
VAN = {"by": "system:van-1", "why": ORDER.purpose}
A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
NAMED = {"order": ORDER.id}
LISTED = {**NAMED, "watchlist_sha256": A, "engine_set": D}

EXAMPLES: tuple[Event, ...] = (
    kinds.LogCreated(**VAN, origin="lfr-edge/example/van-1", software="0.1.0"),
    kinds.LogRecovered(**VAN, cut_bytes=17, cut_sha256=A),
    kinds.Started(**VAN, software="0.1.0", config_sha256=A, engine_set=D),
    kinds.Stopped(**VAN),
    kinds.KeyMade(**OFFICER, purpose="order", key_id=A),
    kinds.Consulted(**OFFICER, what="registry", **NAMED, entry="W-0042"),
    kinds.Disclosed(**OFFICER, what="report", recipient="Advisory group", **NAMED),
    office_kinds.Enrolled(
        **CLERK, list_sha256=A, references_sha256=B, contract=C, entries=17_000, photos=21_000, photos_refused=12
    ),
    office_kinds.EntryAltered(**CLERK, entry="W-0042", fields=("response", "expires")),
    office_kinds.EntryRemoved(**CLERK, entry="W-0042"),
    office_kinds.ListsCombined(**CLERK, sources=(A, B), references_sha256=C, entries=17_000),
    office_kinds.EntriesCompared(**CLERK, references_sha256=B, entries=17_000, pairs=3),
    office_kinds.BudgetAccepted(**OFFICER, **NAMED, expected_false_alerts=1.25, budget=1.0),
    office_kinds.OrderSigned(**OFFICER, **NAMED, order_sha256=B, key_id=A),
    office_kinds.PackageSealed(
        **CLERK, **NAMED, order_sha256=B, watchlist_sha256=A, pictures_sha256=C, entries=17_000, vans=("van-1",)
    ),
    office_kinds.RegistryWritten(**CLERK, line_sha256=A),
    office_kinds.WorkspaceClosed(**CLERK, **NAMED, entries=17_000, receipts_owed=("van-1",)),
    office_kinds.ReceiptFiled(**CLERK, **NAMED, van="van-1", receipt_sha256=A, level="key-destroyed"),
    kinds.PrekeysMade(by="account:technician", why="stock was low", made=20, stock=24),
    kinds.DeploymentLoaded(
        by="account:technician",
        why=ORDER.purpose,
        order=ORDER.id,
        order_sha256=B,
        replaces="high-street-2026-06-19",
        signers=(A, B),
        watchlist_sha256=A,
        pictures_sha256=C,
        contract=C,
        engine_set=D,
        not_before=ORDER.not_before,
        not_after=ORDER.not_after,
    ),
    kinds.DeploymentRefused(**VAN, reason="outside-window", **NAMED),
    kinds.PeriodBegan(**VAN, **LISTED, threshold=0.5, cameras=("north", "south")),
    kinds.CameraChanged(**VAN, **NAMED, camera="north", seeing=False),
    kinds.AlertDecided(
        **VAN,
        **LISTED,
        alert=ALERT.id,
        entry="W-0042",
        runner_up="W-0007",
        camera="north",
        captured_at=ALERT.captured_at,
        score=0.62,
        threshold=0.5,
        margin=0.31,
        samples=3,
        contract=C,
    ),
    kinds.AlertSent(**VAN, **NAMED, alert=ALERT.id, recipients=(RECIPIENT,)),
    kinds.AlertAcknowledged(**VAN, **NAMED, alert=ALERT.id),
    kinds.PassDecided(
        **VAN,
        **LISTED,
        test_pass=VOLUNTEER_PASS.id,
        entry="B-0003",
        camera="north",
        captured_at=VOLUNTEER_PASS.captured_at,
        score=0.66,
        threshold=0.5,
    ),
    kinds.PassSent(**VAN, **NAMED, test_pass=VOLUNTEER_PASS.id, recipients=(RECIPIENT,)),
    kinds.RecognitionTested(
        **OFFICER, **NAMED, camera="north", walks=40, recognised=37, rate_low=0.796, rate_high=0.984
    ),
    kinds.CommandReceived(by="key:" + A, why="operation called off", command="stop", outcome="done", **NAMED),
    kinds.PeriodEnded(**VAN, **NAMED, cause="stop", faces=5_120, alerts=1, test_passes=37),
    kinds.AlertsErased(**VAN, **NAMED, alerts=1, test_passes=37, cause="revoked"),
    kinds.DeploymentErased(
        **VAN,
        **NAMED,
        watchlist_sha256=A,
        level="key-destroyed",
        unverified=("flash-old-blocks",),
        receipt_sha256=B,
    ),
    kinds.ClockRecovered(
        by="key:" + B, why="battery was flat", statement_sha256=A, before=ORDER.not_before, after=ORDER.not_after
    ),
    kinds.Adjudicated(
        by="person:PC 4711", why="compared on the spot", **NAMED, alert=ALERT.id, verdict="true-alert", engaged=True
    ),
    kinds.EvidenceErased(**OFFICER, **NAMED, alerts=1, key_destroyed=True),
)


def signer(key: SigningKey | None = None, name: str = "van-1") -> NoteSigner:
    return NoteSigner(log_origin("example", name), key or SigningKey.generate())


def write_log(path: Path, by: NoteSigner, events: Sequence[Event] = EXAMPLES[2:]) -> list[int]:
    """A log of these events, one append each, a second apart; returns the file's length after each append."""
    clock = ManualClock(START)
    log = AuditLog.open(path, by, clock)
    lengths = [path.stat().st_size]
    for event in events:
        clock.advance(1)
        log.append(event)
        lengths.append(path.stat().st_size)
    log.close()
    return lengths
