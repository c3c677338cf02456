"""What a blind van still says: its state and why it is blind, what was sealed before and waits, erasure receipts."""

import logging
from importlib.metadata import version

from lfr_edge.clock import Clock
from lfr_edge.config import VanConfig
from lfr_edge.errors import Reason
from lfr_edge.messages.status import Health, Status
from lfr_edge.pipeline.outbox import Purged
from lfr_edge.van.authority import Authority
from lfr_edge.van.bus import Bus
from lfr_edge.van.custody import Custody
from lfr_edge.van.daemon import open_outbox, purge
from lfr_edge.van.erasure import Handover
from lfr_edge.van.sender import Sender
from lfr_edge.van.stages import Stage

_LOG = logging.getLogger(__name__)

_JOIN_S = 10.0


class Post:
    """Outbox, bus and sender of a blind van. A context manager."""

    def __init__(
        self, config: VanConfig, config_sha256: str, custody: Custody, authority: Authority, clock: Clock
    ) -> None:
        record = custody.record
        self._van = config.van
        self._clock = clock
        self._outbox, session = open_outbox(config.state)
        status = Status(
            van=config.van,
            session=session,
            state=record.state.value,
            since=clock.utc(),
            order=record.terms.order if record.terms is not None else None,
            engine_set=None,
            config_sha256=config_sha256,
            software=version("lfr-edge"),
        )
        self._bus = Bus(config.broker, config.force, status, clock, authority)
        self._hand_over = Handover(custody.holding.receipts, self._bus.publish_receipt)
        self._sender = Sender(self._outbox, self._bus, clock, authority.note)
        self._send = Stage("send", self._sender.run, lambda: None)
        self._logged: tuple[str, list[str]] | None = None
        self._announced: tuple[str, list[str]] | None = None  # the bus carries the first reason
        self._reported_ns = 0
        self._begun = False

    def __enter__(self) -> "Post":
        self._bus.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.stop()
        if self._begun:
            self._send.join(_JOIN_S)
        self._bus.close()
        self._outbox.close()

    def begin(self) -> None:
        """Send what waits: not before what was revoked is deleted. Once; again, and nothing happens."""
        if not self._begun:
            self._begun = True
            self._send.start()

    def say(self, state: str, blind: tuple[Reason, ...]) -> None:
        """Say the state if it is another one; once a second, that we are here, and receipts that wait."""
        reasons = [reason.value for reason in blind]
        if (state, reasons) != self._logged:
            self._logged = state, reasons
            _LOG.info("%s, blind: %s", state, ", ".join(reasons) or "not yet decided")
        if (state, reasons[:1]) != self._announced:
            self._announced = state, reasons[:1]
            self._bus.announce(state, blind=reasons[0] if reasons else None)
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._reported_ns >= 1_000_000_000:
            self._reported_ns = now_ns
            self._bus.report(self._health())
            self._hand_over()

    def purge(self, order: str) -> Purged:
        """Delete what waits of this order; returns how much that was. DeviceError if the disk refuses."""
        return purge(self._outbox, order)

    def _health(self) -> Health:
        return Health(
            van=self._van,
            at=self._clock.utc(),
            cameras=(),
            tracks=0,
            queue=0,
            faces_detected=0,
            alerts=0,
            outbox=len(self._outbox),
            step_ms_p50=0,
            step_ms_p99=0,
        )
