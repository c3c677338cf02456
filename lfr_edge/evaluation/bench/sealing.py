"""The real sealer, and note taken of what it seals: which picture, whose entry, whom the context picture shows."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from numpy.typing import NDArray

from lfr_edge.evaluation.bench.clip_run import Sighting
from lfr_edge.evaluation.playing import shown_in
from lfr_edge.evaluation.truth import GroundTruth, TrueFace
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.evidence import EvidenceSealer, Match
from lfr_edge.pipeline.frame_source import Frame, FrameSource, SourceCounts

_REMEMBERED = 32  # pictures of a camera that may be under way


class NotedSource:
    """A `FrameSource`, and its last frames by the moment of capture, so that a match can be led back to its picture."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._frames: OrderedDict[datetime, Frame] = OrderedDict()
        self._mutex = threading.Lock()

    def read(self) -> Frame | None:
        """See `FrameSource`."""
        frame = self._source.read()
        if frame is not None:
            with self._mutex:
                self._frames[frame.captured_at] = frame
                if len(self._frames) > _REMEMBERED:
                    self._frames.popitem(last=False)
        return frame

    def close(self) -> None:
        """See `FrameSource`."""
        self._source.close()

    @property
    def counts(self) -> SourceCounts:
        """See `FrameSource`."""
        return self._source.counts

    @property
    def last_error(self) -> str:
        """See `FrameSource`."""
        return self._source.last_error

    def captured(self, at: datetime) -> Frame:
        """The frame of that moment. Its picture is wiped unless it is under way."""
        with self._mutex:
            return self._frames[at]


class NotedSealer:
    """An `EvidenceSealer` that seals, and notes a `Sighting`."""

    def __init__(self, sealer: EvidenceSealer, sources: dict[str, NotedSource], truth: GroundTruth) -> None:
        self.sightings: list[Sighting] = []
        self._sealer = sealer
        self._sources = sources
        self._truth = truth

    def seal(self, match: Match, sample: NDArray[Any], context: NDArray[Any]) -> SealedAlert:
        """See `EvidenceSealer`."""
        frame = self._sources[match.camera].captured(match.captured_at)
        entry, score = match.candidate.entry.id, match.candidate.score
        shows = shown_in(context, frame, self._faces(frame.sequence))
        self.sightings.append(Sighting(picture=frame.sequence, entry=entry, shows=shows, score=score))
        return self._sealer.seal(match, sample, context)

    def seal_pass(self, match: Match) -> SealedPass:
        """See `EvidenceSealer`."""
        return self._sealer.seal_pass(match)

    def _faces(self, picture: int) -> Sequence[TrueFace]:
        # A clip that repeats itself repeats its truth.
        return self._truth.pictures[picture % len(self._truth.pictures)]
