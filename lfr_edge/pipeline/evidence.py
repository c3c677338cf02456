"""What leaves the pipeline when a track matches: the `Match`, and the port that seals what is said of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from numpy.typing import NDArray

from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.watchlist.references import Candidate


@dataclass(frozen=True, slots=True)
class Match:
    """A comparison that satisfied the order's rule. Ids and numbers only."""

    candidate: Candidate
    runner_up: Candidate | None
    faces: int  # samples fused into the probe
    camera: str
    captured_at: datetime  # of the picture that completed the match, UTC


class EvidenceSealer(Protocol):
    """The one sanctioned copy out of leased memory."""

    def seal(self, match: Match, sample: NDArray[Any], context: NDArray[Any]) -> SealedAlert:
        """A signed and encrypted alert. Both pictures are (h, w, 3) uint8 BGR views of leases: nothing keeps them.

        RuntimeError for a volunteer's match.
        """
        ...

    def seal_pass(self, match: Match) -> SealedPass:
        """A signed and encrypted test pass of a volunteer's match: no picture. RuntimeError for anybody else's."""
        ...
