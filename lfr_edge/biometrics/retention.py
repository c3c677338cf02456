"""The retention table: every place where something of a face may be, for how long at most, and what ends it.

Nothing can be leased without naming its row, so a buffer that is not in this table cannot exist in our own memory.
Libraries keep buffers that we cannot own; they are rows too, with the mechanism that bounds them. The privacy tests
read this table: no trace of an unmatched face outside these rows, and none after a row's deadline. It is about faces
that did not match: what goes into an alert is copied out on purpose, by the `EvidenceSealer` alone.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One place. `bound_s` counts from the last use by its owner; None means until the deployment ends."""

    name: str
    holds: str
    ended_by: str
    bound_s: float | None


# Our own memory: leases of the arena, wiped when released.
FRAME = Row("frame", "one camera picture", "released after its step, when superseded, or at stop", 2.0)
WORKSPACE = Row(
    "workspace", "engine inputs and outputs, aligned faces, features of one step", "released after its step", 2.0
)
TRACK = Row(
    "track",
    "best sample and fused features of one person in view",
    "1 s after last seen, 10 s in all, or at stop",
    11.0,
)
EVIDENCE = Row("evidence", "sample and context picture of a match until it is sealed", "released after sealing", 2.0)
TEMPLATES = Row(
    "templates", "enrolled people only", "released at the end of the deployment, or when another order takes over", None
)

# Libraries' memory, which we cannot wipe by address.
LIBAV = Row(
    "libav",
    "decoded pictures in the decoder's pool (measured: at most five of H.264; not wiped when released)",
    "overwritten by the next pictures; after a pause of 1 s and at stop the decoder is closed, and free() overwrites",
    2.0,
)
OPENVINO = Row(
    "openvino",
    "activations of the last inferences: pictures as float planes, aligned faces, features",
    "overwritten by the next inferences as far as they are as large; by zero inferences every second, and at stop",
    2.0,
)
MALLOC = Row(
    "malloc",
    "numpy's cache of freed blocks under 1 KiB; holds no pixels or features as long as steps allocate none (tested)",
    "never filled: steps write into leases only",
    0.0,
)

TABLE = (FRAME, WORKSPACE, TRACK, EVIDENCE, TEMPLATES, LIBAV, OPENVINO, MALLOC)
