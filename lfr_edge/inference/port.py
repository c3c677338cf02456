"""The port behind which a neural network runs, and the checks that every adapter makes of its caller's arrays.

What is not here: which models there are (`manifest`), and any library that runs them (`adapters`).
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BatchShape = tuple[int, int, int, int]  # (N, H, W, 3)

# Under way in each lane: a batch that is computed, and one that follows it without waiting for Python.
REQUESTS_PER_LANE = 2


class Pending(Protocol):
    """One batch under way."""

    def wait(self) -> None:
        """Return when every output is written, and refer to the caller's arrays no longer.

        DeviceError if the backend failed. A second call does nothing.
        """
        ...


class InferenceEngine(Protocol):
    """One loaded model. Not thread-safe: one thread owns it."""

    @property
    def lanes(self) -> int:
        """How many batches are computed side by side; `REQUESTS_PER_LANE` times as many may be under way at once."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """The model's outputs, in its own order."""
        ...

    def output_shapes(self, batch_shape: BatchShape) -> dict[str, tuple[int, ...]]:
        """Shapes of the float32 outputs for this batch. The first call per shape may run a zero inference."""
        ...

    def prepare(self, batch_shape: BatchShape) -> None:
        """Make every lane ready for such a batch: its first one would take long. ValueError for a wrong shape."""
        ...

    def start(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> Pending:
        """Begin to run the model on (N, H, W, 3) BGR; every output will be written into `out`.

        Both are C-contiguous and writable, and nobody else's until `wait` has returned. A row of the result depends on
        its own row of the batch only. ValueError for a wrong shape, dtype or name, RuntimeError if as many batches
        are under way as may be: the caller's bugs. DeviceError if the backend fails.
        """
        ...

    def infer(self, batch: NDArray[np.uint8], out: Mapping[str, NDArray[np.float32]]) -> None:
        """`start`, then `wait`."""
        ...

    def forget(self) -> None:
        """Overwrite every activation the library keeps, in every lane, by inferences on zeros as large as any since.

        What is under way is finished first; its own `wait` says how it went.
        """
        ...

    def close(self) -> None:
        """Forget and give the memory back. Idempotent; any other call afterwards is a RuntimeError, but not `wait`."""
        ...


def check_batch(batch: NDArray[Any]) -> None:
    """ValueError unless `batch` is a writable C-contiguous uint8 (N, H, W, 3). Any: its dtype is being checked."""
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3 or 0 in batch.shape:
        raise ValueError(f"a batch is uint8 (N, H, W, 3), not {batch.dtype} {batch.shape}")
    if not (batch.flags.c_contiguous and batch.flags.writeable):
        raise ValueError("a batch is C-contiguous and writable")


def check_outputs(out: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """ValueError unless `out` has exactly the arrays that `shapes` asks for: writable C-contiguous float32."""
    if set(out) != set(shapes):
        raise ValueError(f"outputs are {sorted(shapes)}, not {sorted(out)}")
    for name, shape in shapes.items():
        array = out[name]
        if array.dtype != np.float32 or array.shape != shape:
            raise ValueError(f"output '{name}' is float32 {shape}, not {array.dtype} {array.shape}")
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(f"output '{name}' is C-contiguous and writable")
