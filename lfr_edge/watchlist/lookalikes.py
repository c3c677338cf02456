"""All entries of a list compared with each other: who looks like whom, and whose own photos disagree (R3).

Exact, by cosines, in blocks: memory grows with the list, not with its square. Nothing is lowered here as `crowding`
lowers scores, so it warns of rather more.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256  # templates at a time: 17 MB of scores for 17,000
_MOST_PAIRS = 10_000  # nobody reads more, and a list of one person has a hundred million


@dataclass(frozen=True, slots=True)
class Pair:
    """Two entries, by their places on the list, `first` before `second`; or one entry twice. `score` is a cosine."""

    first: int
    second: int
    score: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a list's comparison with itself found. Most striking first."""

    look_alikes: tuple[Pair, ...]
    disagreeing: tuple[Pair, ...]
    complete: bool  # False: there are more look-alikes than anybody could read, the most alike are here


def compare(
    templates: NDArray[np.float32], entry_of_template: NDArray[np.int32], *, alike: float, unlike: float
) -> Comparison:
    """Pairs of entries with a score of `alike` or more; entries with two photos that score less than `unlike`.

    `templates` (N, D), rows of length 1, grouped by entry as `entry_of_template` (N,) says. Of several templates the
    most alike count for look-alikes, and the least alike for disagreement.
    """
    owners: list[int] = entry_of_template.tolist()
    found: dict[tuple[int, int], float] = {}
    complete = True
    scores = np.empty((min(_BLOCK, len(owners)), len(owners)), np.float32)
    for start in range(0, len(owners), _BLOCK):
        block = templates[start : start + _BLOCK]
        rest = templates[start:]
        part = scores[: len(block), : len(rest)]
        np.matmul(block, rest.T, out=part)
        for place in np.flatnonzero(part >= alike).tolist():
            row, column = divmod(place, len(rest))
            key = owners[start + row], owners[start + column]
            if key[0] < key[1]:
                found[key] = max(found.get(key, -1.0), float(part[row, column]))
        if len(found) > 2 * _MOST_PAIRS:
            found = dict(sorted(found.items(), key=lambda pair: -pair[1])[:_MOST_PAIRS])
            complete = False
    ranked = sorted((Pair(*key, score) for key, score in found.items()), key=lambda pair: (-pair.score, pair.first))
    complete = complete and len(ranked) <= _MOST_PAIRS
    return Comparison(tuple(ranked[:_MOST_PAIRS]), _disagreeing(templates, owners, unlike), complete)


def _disagreeing(templates: NDArray[np.float32], owners: list[int], unlike: float) -> tuple[Pair, ...]:
    of_entry: dict[int, list[int]] = {}
    for template, entry in enumerate(owners):
        of_entry.setdefault(entry, []).append(template)
    least = [
        Pair(entry, entry, min(float(np.dot(templates[one], templates[other])) for one, other in combinations(own, 2)))
        for entry, own in of_entry.items()
        if len(own) > 1
    ]
    return tuple(sorted((pair for pair in least if pair.score < unlike), key=lambda pair: pair.score))
