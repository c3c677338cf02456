"""One order, as recognition carries it out: the package, the list in leased memory, the rule, and who seals its alerts.

Recognition holds one. While another order takes over there are two, and both lists must fit beside the pictures.
"""

from dataclasses import dataclass

from lfr_edge.messages.order import Order
from lfr_edge.pipeline.decide import Decider
from lfr_edge.pipeline.evidence import EvidenceSealer
from lfr_edge.van.deployment import Deployment
from lfr_edge.watchlist.references import Watchlist


@dataclass(frozen=True, slots=True)
class Mandate:
    """Owns the open package and the list. Whoever opened it closes it."""

    deployment: Deployment
    watchlist: Watchlist
    decider: Decider
    sealer: EvidenceSealer

    @property
    def order(self) -> Order:
        """What was signed."""
        return self.deployment.order

    def close(self) -> None:
        """Wipe the list and close the package. Again, and nothing happens."""
        self.watchlist.wipe()
        self.deployment.close()
