"""Which found box is whose: pairing with the truth in one picture, and the best assignment over a clip."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfr_edge.evaluation.truth import TrueFace
from lfr_edge.vision.geometry import Box, intersection_over_union

# Truth is the face without hair and ears, a detector's box is its own idea: on the street clip no pair of a face and
# its detection overlaps by less than .27, and no false detection overlaps a face by more than .20 (YuNet, 1,538 boxes).
_LEAST_OVERLAP = 0.25


def pair(truth: Sequence[TrueFace], boxes_px: Sequence[Box]) -> dict[int, int]:
    """Index of the box -> index of the true face it shows. One to one, largest overlap first."""
    overlaps = sorted(
        (
            (intersection_over_union(face.box_px, box), found, true)
            for true, face in enumerate(truth)
            for found, box in enumerate(boxes_px)
        ),
        reverse=True,
    )
    pairs: dict[int, int] = {}
    for overlap, found, true in overlaps:
        if overlap >= _LEAST_OVERLAP and found not in pairs and true not in pairs.values():
            pairs[found] = true
    return pairs


def largest_total(weights: NDArray[np.float64]) -> float:
    """Of all one-to-one assignments of rows to columns, the largest sum of weights (>= 0). Hungarian method."""
    side = max(weights.shape)
    cost = np.zeros((side + 1, side + 1))
    cost[1 : weights.shape[0] + 1, 1 : weights.shape[1] + 1] = -weights
    row_price, column_price = np.zeros(side + 1), np.zeros(side + 1)
    row_of = np.zeros(side + 1, int)  # by column; 0 is none
    for row in range(1, side + 1):
        row_of[0] = row
        _augment(cost, row_price, column_price, row_of)
    return float(-sum(cost[row_of[column], column] for column in range(1, side + 1)))


def _augment(
    cost: NDArray[np.float64],
    row_price: NDArray[np.float64],
    column_price: NDArray[np.float64],
    row_of: NDArray[np.int_],
) -> None:
    """Give the row in `row_of[0]` a column, along the cheapest path of changes."""
    slack, came_from = np.full(len(row_of), np.inf), np.zeros(len(row_of), int)
    done = np.zeros(len(row_of), bool)
    column = 0
    while row_of[column] != 0:
        done[column] = True
        row = row_of[column]
        reduced = cost[row] - row_price[row] - column_price
        nearer = ~done & (reduced < slack)
        slack[nearer], came_from[nearer] = reduced[nearer], column
        open_slack = np.where(done, np.inf, slack)
        open_slack[0] = np.inf
        column = int(open_slack.argmin())
        step = open_slack[column]
        row_price[row_of[done]] += step
        column_price[done] -= step
        slack[~done] -= step
    while column:
        row_of[column] = row_of[came_from[column]]
        column = int(came_from[column])
