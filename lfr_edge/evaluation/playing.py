"""Footage through the real recogniser at full speed, with a clock that runs as fast as the film.

Alerts are recorded instead of sealed: no keys, no bus, no pictures kept.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfr_edge.adapters.av_camera import AvCamera, CameraSettings
from lfr_edge.biometrics.arena import Arena
from lfr_edge.clock import ManualClock
from lfr_edge.evaluation.passes import SeenAlert
from lfr_edge.evaluation.truth import Film, TrueFace
from lfr_edge.evaluation.variants import Variant
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.ids import uuid7
from lfr_edge.messages.volunteer_pass import SealedPass
from lfr_edge.pipeline.decide import Decider, Rule
from lfr_edge.pipeline.evidence import Match
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.pipeline.frame_source import Frame
from lfr_edge.vision.geometry import Box
from lfr_edge.watchlist.references import Watchlist

_CAMERA = "camera"
# The threshold decides alone: no margin, whose worth depends on how far an engine set's scores lie apart, and no
# cool-down, so that whoever alerts twice is seen.
_MARGIN, _CONFIRMATION, _COOLDOWN_S = 0.0, 2, 0.0
_AFTERWARDS_S = 30.0  # by then every track is over

WhoIsShown = Callable[[Frame, NDArray[Any]], str | None]


class Recorder:
    """An `EvidenceSealer` that notes each match, and of whom its context picture is."""

    def __init__(self, who: WhoIsShown) -> None:
        self.alerts: list[SeenAlert] = []
        self.frame: Frame | None = None  # the one that is being processed
        self._who = who

    def seal(self, match: Match, sample: NDArray[Any], context: NDArray[Any]) -> SealedAlert:
        """Note the match; nothing is sealed."""
        del sample
        if self.frame is None:
            raise RuntimeError("a match without a picture")
        entry, score = match.candidate.entry.id, match.candidate.score
        self.alerts.append(SeenAlert(self.frame.sequence, entry, self._who(self.frame, context), score, match.faces))
        return SealedAlert(uuid7(), match.captured_at, "evaluation", "evaluation", "evaluation", b"")

    def seal_pass(self, match: Match) -> SealedPass:
        """Nobody on an evaluation's list is a volunteer of the blue list."""
        raise RuntimeError(f"entry {match.candidate.entry.id} is a volunteer's")


@dataclass(frozen=True, slots=True)
class Effort:
    """What recognising took. Counts are exact; times are information, no benchmark: the machine may be shared."""

    pictures: int
    embeddings: int
    milliseconds: float  # of all steps

    @property
    def milliseconds_per_picture(self) -> float:
        """The mean: a median does not see what happens in few pictures, as embeddings do."""
        return self.milliseconds / self.pictures


def play(film: Film, extractor: Extractor, watchlist: Watchlist, variant: Variant, recorder: Recorder) -> Effort:
    """Show the whole clip to a recogniser with the engine set's own threshold."""
    rule = variant.rule(Rule(extractor.engine_set.threshold, _MARGIN, _CONFIRMATION, _COOLDOWN_S))
    recogniser = variant.recogniser(extractor, watchlist, Decider(rule), recorder, {_CAMERA: variant.view})
    steps_ms = []
    with pictures(film, extractor.arena) as frames:
        for frame in frames:
            recorder.frame = frame
            started = time.perf_counter()
            recogniser.step(frame)
            steps_ms.append((time.perf_counter() - started) * 1e3)
            ended_ns = frame.captured_ns
    recogniser.idle(ended_ns + round(_AFTERWARDS_S * 1e9))  # wipes every track; `close` would end the engines too
    return Effort(len(steps_ms), recogniser.counts.embeddings, sum(steps_ms))


@contextmanager
def pictures(film: Film, arena: Arena) -> Iterator[Iterator[Frame]]:
    """The clip's pictures, captured at its own rate; whoever takes a frame wipes it."""
    clock = ManualClock()
    camera = AvCamera(CameraSettings(_CAMERA, str(film.path), "full-speed"), arena, clock)

    def frames() -> Iterator[Frame]:
        while (frame := camera.read()) is not None:
            yield frame
            clock.advance(1 / film.fps)

    try:
        yield frames()
    finally:
        camera.close()


def shown_in(context: NDArray[Any], frame: Frame, faces: Sequence[TrueFace]) -> str | None:
    """The person whose face the context picture leaves as it was: what an officer is shown. None if nobody's."""
    shares = [(_unchanged(context, frame, face.box_px), face.person) for face in faces]
    share, person = max(shares, default=(0.0, ""))
    return person if share > 0.5 else None


def _unchanged(context: NDArray[Any], frame: Frame, box_px: Box) -> float:
    left, top, right, bottom = (max(round(edge), 0) for edge in box_px)
    shown, real = context[top:bottom, left:right], frame.image.pixels[top:bottom, left:right]
    return float(np.all(shown == real, axis=2).mean()) if shown.size else 0.0
