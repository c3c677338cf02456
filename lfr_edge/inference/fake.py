"""An engine without a network: for tests of whoever calls one."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lfr_edge.inference.port import REQUESTS_PER_LANE, BatchShape, Pending, check_batch, check_outputs


class _Pending:
    """Computes when it is waited for: whoever reads the outputs before that sees what was in them."""

    def __init__(self, compute: Callable[[], None]) -> None:
        self._compute: Callable[[], None] | None = compute

    @property
    def done(self) -> bool:
        """Whether nothing is left to wait for."""
        return self._compute is None

    def wait(self) -> None:
        """See `Pending`."""
        compute, self._compute = self._compute, None
        if compute is not None:
            compute()


class FakeEngine:
    """An embedder whose features are the means of a grid of cells, less the sample's own mean.

    Alike pictures get alike features, so callers' tests can match and tell apart; nothing is remembered between calls.
    """

    output_names = ("features",)
    lanes = 2

    def __init__(self, *, size_px: tuple[int, int] = (112, 112), grid: int = 8) -> None:
        self._size_px = size_px
        self._grid = grid
        self._closed = False
        self._under_way: list[_Pending] = []

    def output_shapes(self, batch_shape: BatchShape) -> dict[str, tuple[int, ...]]:
        """One row of 3 * grid * grid features per sample."""
        self._check_open()
        width, height = self._size_px
        if batch_shape[1:] != (height, width, 3) or batch_shape[0] < 1:
            raise ValueError(f"this engine takes (N, {height}, {width}, 3), not {batch_shape}")
        return {"features": (batch_shape[0], 3 * self._grid * self._grid)}

    def prepare(self, batch_shape: BatchShape) -> None:
        """Nothing is to be made ready."""
        self.output_shapes(batch_shape)

    def start(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> Pending:
        """See `InferenceEngine`."""
        self._check_open()
        check_batch(batch)
        count, height, width, _ = batch.shape
        check_outputs(out, self.output_shapes((count, height, width, 3)))
        self._under_way = [pending for pending in self._under_way if not pending.done]
        if len(self._under_way) == REQUESTS_PER_LANE * self.lanes:
            raise RuntimeError(f"{len(self._under_way)} batches are under way already")
        self._under_way.append(_Pending(partial(self._compute, batch, out["features"])))
        return self._under_way[-1]

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        """Write the features of every sample into `out`."""
        self.start(batch, out).wait()

    def forget(self) -> None:
        """Finish what is under way; nothing is kept."""
        self._check_open()
        for pending in self._under_way:
            pending.wait()

    def close(self) -> None:
        """Finish what is under way, and refuse further calls."""
        if not self._closed:
            self.forget()
        self._closed = True

    def _compute(self, batch: NDArray[np.uint8], features: NDArray[np.float32]) -> None:
        count, height, width, _ = batch.shape
        rows = np.linspace(0, height, self._grid + 1, dtype=int)
        columns = np.linspace(0, width, self._grid + 1, dtype=int)
        cells = features.reshape(count, self._grid, self._grid, 3)
        for row in range(self._grid):
            for column in range(self._grid):
                cell = batch[:, rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
                cell.mean(axis=(1, 2), dtype=np.float32, out=cells[:, row, column])
        features -= features.mean(axis=1, keepdims=True)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the engine is closed")
