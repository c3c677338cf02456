"""What a van says about itself. Nothing personal: states, ids and counts."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lfr_edge.messages.fields import Digest, Identifier, Message, Text, UtcTime

_Count = Annotated[int, Field(ge=0)]
_Measure = Annotated[float, Field(ge=0)]
LONGEST_NOTE = 1000
# Printable lines. Its text and signature are for `audit.checkpoint` to judge.
_Note = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NOTE, pattern=r"^[\P{C}\n]+$")]


class Status(Message):
    """Retained on the broker, and what the broker says for the van when the van is gone (`offline`)."""

    version: Literal[1] = 1
    van: Identifier
    session: Annotated[int, Field(ge=1)]
    """Counts the daemon's starts: a late last will of an earlier one is told by its smaller number."""
    state: Literal["offline", "idle", "armed", "live", "ended"]
    since: UtcTime
    blind: Identifier | None = None
    """Why the van does not see, while it is there and does not."""
    order: Identifier | None
    engine_set: Digest | None
    config_sha256: Digest
    software: Text
    """The version of lfr-edge."""
    checkpoint: _Note | None = None
    """The newest checkpoint of the van's log, a signed note: whoever keeps it is a witness."""


class CameraHealth(Message):
    """One camera since the daemon started."""

    id: Identifier
    connected: bool
    fps: _Measure
    frames_read: _Count
    superseded: _Count
    """Frames that a newer one replaced before they were looked at."""
    undecodable: _Count


class Health(Message):
    """Aggregates, once a second, QoS 0."""

    version: Literal[1] = 1
    van: Identifier
    at: UtcTime
    cameras: tuple[CameraHealth, ...]
    tracks: _Count
    queue: _Count
    faces_detected: _Count
    alerts: _Count
    outbox: _Count
    step_ms_p50: _Measure
    step_ms_p99: _Measure
