"""What happens within a period of recognition, for the van's log: alerts, test passes, cameras lost and back.

Ids, digests and scores only. Where a period begins and ends is the service's business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from lfr_edge.audit.events import AlertDecided, CameraChanged, PassDecided
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.order import Order
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.evidence import EvidenceSealer, Match
from lfr_edge.pipeline.frame_source import FrameSource

_BY = "system:lfr-edge"


@dataclass(frozen=True, slots=True)
class LoggedSealer:
    """An `EvidenceSealer` whose every alert and test pass is noted, once sealed and before anybody else has it."""

    sealer: EvidenceSealer
    order: Order
    engine_set: EngineSet
    note: Callable[[AlertDecided | PassDecided], object]

    def seal(self, match: Match, sample: NDArray[Any], context: NDArray[Any]) -> SealedAlert:
        """See `EvidenceSealer`."""
        alert = self.sealer.seal(match, sample, context)
        self.note(self._decided(alert.id, match))
        return alert

    def seal_pass(self, match: Match) -> SealedPass:
        """See `EvidenceSealer`."""
        sealed = self.sealer.seal_pass(match)
        self.note(self._passed(sealed.id, match))
        return sealed

    def _passed(self, test_pass: str, match: Match) -> PassDecided:
        return PassDecided(
            by=_BY,
            why="the recognition rate is measured with volunteers",
            test_pass=test_pass,
            order=self.order.id,
            entry=match.candidate.entry.id,
            camera=match.camera,
            captured_at=match.captured_at,
            score=f"{match.candidate.score:.4f}",
            threshold=f"{self.order.threshold:.4f}",
            watchlist_sha256=self.order.watchlist_sha256,
            engine_set=self.engine_set.digest,
        )

    def _decided(self, alert: str, match: Match) -> AlertDecided:
        candidate, runner_up = match.candidate, match.runner_up
        return AlertDecided(
            by=_BY,
            why=self.order.purpose,
            alert=alert,
            order=self.order.id,
            entry=candidate.entry.id,
            runner_up=None if runner_up is None else runner_up.entry.id,
            camera=match.camera,
            captured_at=match.captured_at,
            score=f"{candidate.score:.4f}",
            threshold=f"{self.order.threshold:.4f}",
            margin=None if runner_up is None else f"{candidate.cosine - runner_up.cosine:.4f}",
            samples=match.faces,
            watchlist_sha256=self.order.watchlist_sha256,
            contract=self.engine_set.contract,
            engine_set=self.engine_set.digest,
        )


@dataclass(slots=True)
class CameraLog:
    """Notes when a camera is lost, and when it is back; every camera is taken to see at first."""

    cameras: Mapping[str, FrameSource]
    order: str
    note: Callable[[CameraChanged], object]
    _lost: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Note what has changed since the last look."""
        for camera, source in self.cameras.items():
            if (camera in self._lost) is bool(source.last_error):
                continue
            self._lost ^= {camera}
            seeing = camera not in self._lost
            why = "pictures come again" if seeing else "no picture comes from it"
            self.note(CameraChanged(by=_BY, why=why, order=self.order, camera=camera, seeing=seeing))
