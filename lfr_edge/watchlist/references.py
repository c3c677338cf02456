"""The references of a deployment in memory, and the search over them.

Exact: the product with every template, several templates per entry, the result per entry. Templates are of
enrolled people only; the probe's features and its scores lie in memory that the caller leased. Reading a watchlist is
`container`'s business, what scores are lowered by is `crowding`'s, deciding on a candidate is the pipeline's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Lease
from lfr_edge.watchlist.entries import Entry

# Where the templates lie in the caches, one product is quicker (0.7 of the time, AMD EPYC, 2026-11-29); else it reads
# memory more slowly than the products of one row after the other do, there at half their speed (docs/performance.md).
_MOST_CACHED_BYTES = 16 << 20
_row_by_row = getattr(np, "vecdot", np.matmul)  # of numpy 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """One entry found by a search; rank 1 is the most alike.

    `cosine`, in [-1, 1], says who is first and how far ahead; `score` says whether that is enough.
    """

    entry: Entry
    rank: int
    cosine: float
    lowering: float = 0.0  # for resembling others on the list (`crowding`); never negative

    @property
    def score(self) -> float:
        """What is compared with the threshold: never more than the cosine."""
        return self.cosine - self.lowering


class Watchlist:
    """Entries and their templates. Owns the leases; owned by one thread."""

    def __init__(
        self,
        entries: tuple[Entry, ...],
        templates: Lease,
        entry_of_template: NDArray[np.int32],
        lowering: Lease | None = None,
    ) -> None:
        """`templates` (N, D) float32, rows of length 1, grouped by entry as `entry_of_template` (N,) says.

        `lowering` (N,) float32 is what the score of a candidate is less than its cosine; without it, they are equal.
        """
        self.entries = entries
        self._templates = templates
        self._lowering = lowering
        self._entry_of_template = entry_of_template
        self._first_template = np.searchsorted(entry_of_template, np.arange(len(entries) + 1))

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def template_count(self) -> int:
        """N: how many scores a search writes."""
        return len(self._entry_of_template)

    @property
    def dimension(self) -> int:
        """D: the length of a template."""
        return int(self._templates.array.shape[1])

    def search(
        self, features: NDArray[np.float32], *, scores: NDArray[np.float32]
    ) -> tuple[Candidate, Candidate | None]:
        """The most alike entry by cosine, and the runner-up among the others; None where there is no other.

        `features` (D,) of length 1; `scores` (N,) is the caller's leased workspace and holds nothing useful afterwards.
        """
        templates = self._templates.array
        multiply = np.matmul if templates.nbytes <= _MOST_CACHED_BYTES else _row_by_row
        multiply(templates, features, out=scores)
        return self._best_two(scores)

    def wipe(self) -> None:
        """Overwrite the templates and give their memory back. Searching afterwards raises RuntimeError."""
        self._templates.release()
        if self._lowering is not None:
            self._lowering.release()

    def _best_two(self, scores: NDArray[Any]) -> tuple[Candidate, Candidate | None]:
        # In place: a row of scores says nearly as much about a passer-by as the features, so it stays in its lease.
        first = self._best(scores, rank=1)
        if len(self.entries) == 1:
            return first, None
        best = self._entry_of_template[int(scores.argmax())]
        scores[self._first_template[best] : self._first_template[best + 1]] = -np.inf
        return first, self._best(scores, rank=2)

    def _best(self, scores: NDArray[Any], *, rank: int) -> Candidate:
        template = int(scores.argmax())
        lowering = 0.0 if self._lowering is None else float(self._lowering.array[template])
        entry = self.entries[self._entry_of_template[template]]
        return Candidate(entry, rank, max(float(scores[template]), -1.0), lowering)
