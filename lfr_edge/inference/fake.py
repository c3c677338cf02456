"""An engine without a network: for tests of whoever calls one."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lfr_edge.inference.port import BatchShape, check_batch, check_outputs


class FakeEngine:
    """An embedder whose features are the means of a grid of cells, less the sample's own mean.

    Alike pictures get alike features, so callers' tests can match and tell apart; nothing is remembered between calls.
    """

    output_names = ("features",)

    def __init__(self, *, size_px: tuple[int, int] = (112, 112), grid: int = 8) -> None:
        self._size_px = size_px
        self._grid = grid
        self._closed = False

    def output_shapes(self, batch_shape: BatchShape) -> dict[str, tuple[int, ...]]:
        """One row of 3 * grid * grid features per sample."""
        self._check_open()
        width, height = self._size_px
        if batch_shape[1:] != (height, width, 3) or batch_shape[0] < 1:
            raise ValueError(f"this engine takes (N, {height}, {width}, 3), not {batch_shape}")
        return {"features": (batch_shape[0], 3 * self._grid * self._grid)}

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        """Write the features of every sample into `out`."""
        self._check_open()
        check_batch(batch)
        count, height, width, _ = batch.shape
        check_outputs(out, self.output_shapes((count, height, width, 3)))
        rows = np.linspace(0, height, self._grid + 1, dtype=int)
        columns = np.linspace(0, width, self._grid + 1, dtype=int)
        cells = out["features"].reshape(count, self._grid, self._grid, 3)
        for row in range(self._grid):
            for column in range(self._grid):
                cell = batch[:, rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
                cell.mean(axis=(1, 2), dtype=np.float32, out=cells[:, row, column])
        features = out["features"]
        features -= features.mean(axis=1, keepdims=True)

    def forget(self) -> None:
        """Nothing is kept."""
        self._check_open()

    def close(self) -> None:
        """Refuse further calls."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the engine is closed")
