"""How much an entry resembles others on its list, and what its scores are lowered by for that.

Who resembles many people is found falsely more often than others: on LFW (yunet-duo, 300 enrolled), the tenth of the
entries that most strangers resemble draws 17 % of the false comparisons with other strangers. One threshold for all is
too low for them. So the list is its own cohort, as in the adaptive normalisation of scores in speaker recognition, and
half of the difference is taken off: the reference's side of cross-domain similarity local scaling (Conneau et al.,
ICLR 2018), whose ten neighbours these are. The probe's side is left out: it gained on LFW and lost on footage of one
camera (docs/decisions/0009).

    excess   = mean score with the 10 nearest others on the list - mean score with all others
    lowering = max(excess - lower quartile of the list's excesses, 0) / 2, .05 at the most

No score is ever raised, and who is first is decided before anything is lowered (`decide`): nothing can match that would
not have matched by the cosine, as the same entry. A quarter of the list keeps its cosines. On a list of eleven entries
or fewer the ten nearest are all others, and nothing is lowered.

What is compared here is enrolled people only. Searching is `references`' business.
"""

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.retention import TEMPLATES

NEAREST = 10
_SHARE = np.float32(0.5)
# Somebody listed under many ids, or with a family, must still be found: with six and eleven near copies on the list it
# would be .12 and .23 without this.
MOST = 0.05
# Of a longer list, so many entries, evenly spaced, stand for all: the work grows with the list, not with its square.
_COHORT = 1000
_BLOCK = 256  # templates at a time


def lowering(templates: NDArray[np.float32], entry_of_template: NDArray[np.int32], arena: Arena) -> Lease:
    """What to subtract from each template's scores: (N,) float32, 0 to `MOST`. The caller owns the lease.

    `templates` (N, D), rows of length 1, grouped by entry as `entry_of_template` (N,) says. Of other entries the first
    template counts. 17,000 templates of 384 values take .5 s with two cores. DeviceError if the arena is full.
    """
    entries = int(entry_of_template[-1]) + 1
    members = np.arange(0, entries, -(-entries // _COHORT), dtype=np.int32)
    lowered = arena.lease(TEMPLATES, (len(templates),), np.float32)
    if entries <= NEAREST + 1:
        return lowered
    try:
        with (
            arena.lease(TEMPLATES, (len(members), templates.shape[1]), np.float32) as cohort,
            arena.lease(TEMPLATES, (min(_BLOCK, len(templates)), len(members)), np.float32) as scores,
        ):
            first = np.searchsorted(entry_of_template, members)
            np.take(templates, first, axis=0, out=cohort.array, mode="clip")
            for start in range(0, len(templates), _BLOCK):
                rows = slice(start, start + _BLOCK)
                own = entry_of_template[rows, np.newaxis] == members
                _excess(templates[rows], cohort.array, own, scores.array[: len(own)], out=lowered.array[rows])
        _half_above_quartile(lowered.array, arena)
    except BaseException:
        lowered.release()
        raise
    return lowered


def extent(templates: NDArray[np.float32], entry_of_template: NDArray[np.int32]) -> tuple[int, float]:
    """How many entries of a list are lowered, and the most that any of them is."""
    arena = Arena(bytes_to_lower(*templates.shape))
    with lowering(templates, entry_of_template, arena) as lowered:
        return len(np.unique(np.compress(lowered.array > 0, entry_of_template))), float(lowered.array.max())


def bytes_to_lower(count: int, dimension: int) -> int:
    """What `lowering` needs of the arena for so many templates, its result included."""
    return 4 * (min(count, _COHORT) * (dimension + _BLOCK) + 3 * count) + (1 << 20)


def _excess(
    templates: NDArray[np.float32],
    cohort: NDArray[np.float32],
    own: NDArray[np.bool_],
    scores: NDArray[np.float32],
    *,
    out: NDArray[np.float32],
) -> None:
    """How much more alike the nearest are than all others; `own` (n, M) says which member is the entry itself."""
    np.matmul(templates, cohort.T, out=scores)
    np.putmask(scores, own, 0)
    mean = scores.sum(axis=1) / (len(cohort) - own.sum(axis=1))
    np.putmask(scores, own, -np.inf)
    scores.partition(-NEAREST, axis=1)
    np.subtract(scores[:, -NEAREST:].mean(axis=1), mean, out=out)


def _half_above_quartile(excess: NDArray[np.float32], arena: Arena) -> None:
    """In place."""
    quarter = len(excess) // 4
    with arena.lease(TEMPLATES, excess.shape, np.float32) as ranked:
        np.copyto(ranked.array, excess)
        ranked.array.partition(quarter)
        np.subtract(excess, ranked.array[quarter], out=excess)
    np.multiply(excess, _SHARE, out=excess)
    np.clip(excess, 0, MOST, out=excess)
