"""The heart: one picture in, sealed alerts (and test passes of volunteers) out, everything else wiped.

    detect -> track -> choose faces worth an embedding -> align, embed -> fuse -> compare -> decide -> seal

One thread owns a `Recogniser` and the engines in it. A frame's lease ends with its step; what is remembered between
steps is one `Track` per person in view, whose leases end with the track. Nothing here reads a clock: time comes with
the frame.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.image import STRIDE_PX, Image, Rows, padded_px
from lfr_edge.biometrics.retention import EVIDENCE, WORKSPACE
from lfr_edge.messages.alert import SealedAlert
from lfr_edge.messages.match import SealedMatch
from lfr_edge.pipeline.decide import Decider
from lfr_edge.pipeline.evidence import EvidenceSealer, Match
from lfr_edge.pipeline.extract import Extractor, FaceSearch
from lfr_edge.pipeline.frame_source import Frame
from lfr_edge.pipeline.looks import Look, Looks
from lfr_edge.pipeline.tracks import Track
from lfr_edge.vision import quality
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box, encloses
from lfr_edge.vision.masking import GREY, obscure_outside
from lfr_edge.vision.tracking import Tracker, TrackerLimits
from lfr_edge.watchlist.references import Watchlist

# An embedding costs about a fifth of a detection (two cores, 720p). Four in one step keep a crowd under 100 ms; who is
# left out comes first in the next step.
FACES_PER_STEP = 4
# So many faces in a row that do not look like a track's are somebody else's: people who cross, or take turns behind a
# pillar, can look like one to who knows only place and motion. Of one person's faces on the street clip 5 % are so
# unlike the others (turned away, far), hardly ever three in a row.
STRANGERS = 3
# An inference overwrites only as much of an earlier one as it is large itself: a crowd's faces would stay while one
# person is in view. So the engines forget what remains this often, whoever is in view.
FORGET_NS = 1_000_000_000
# Of the picture's height, above and below a zone of recognition: a face whose eyes are at the zone's edge has to be
# seen whole. Enough for one of a quarter of the height: its eyes are a little above its middle.
_ROOM = 0.15


@dataclass(frozen=True, slots=True)
class View:
    """Which faces of one camera are compared: those large enough, inside the zone of recognition."""

    minimum_inter_eye_px: float = 20.0
    zone: tuple[tuple[float, float], ...] = ()  # corners in shares of width and height; without any, everywhere
    full_look_every: int = 1  # pictures; those between are glanced at (`looks`)

    def rows(self, height_px: int) -> Rows:
        """The rows of a picture that high in which faces are sought: those of the zone, with room around it."""
        padded = padded_px(height_px)
        if not self.zone:
            return Rows(0, padded)
        shares = [y for _, y in self.zone]
        first = math.floor((min(shares) - _ROOM) * height_px / STRIDE_PX) * STRIDE_PX
        return Rows(max(first, 0), min(padded_px(math.ceil((max(shares) + _ROOM) * height_px)), padded))

    def shows(self, detection: Detection, image: Image) -> bool:
        """Whether the face, by the point between its eyes, is inside the zone."""
        if not self.zone:
            return True
        x_px, y_px = detection.landmarks_px[:2].mean(axis=0).tolist()
        return encloses(self.zone, x_px / image.width_px, y_px / image.height_px)


@dataclass(slots=True)
class Counts:
    """Totals since start. Aggregates only: nothing here is about one person."""

    frames: int = 0
    detections: int = 0
    tracks: int = 0
    embeddings: int = 0
    matches: int = 0  # of tracks, those that fell into a cool-down included
    alerts: int = 0
    test_passes: int = 0


class _Chosen(NamedTuple):
    """A face that is worth an embedding."""

    track_id: int
    track: Track
    detection: Detection
    promise: float  # `vision.quality.promise`


class Step:
    """A frame whose faces are being sought. A context: at its end, finished or not, the frame is wiped."""

    def __init__(self, frame: Frame, look: Look, search: FaceSearch, held: ExitStack) -> None:
        self.frame = frame
        self.look = look
        self.search = search
        self._held = held

    def __enter__(self) -> "Step":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, trace)


class Recogniser:
    """Several cameras, one engine set, one watchlist, one order's rule."""

    track_type: ClassVar[type[Track]] = Track  # evaluation measures what other kinds gain and cost

    def __init__(
        self,
        extractor: Extractor,
        watchlist: Watchlist,
        decider: Decider,
        sealer: EvidenceSealer,
        views: Mapping[str, View],
    ) -> None:
        extractor.prepare(FACES_PER_STEP)
        self._extractor = extractor
        self._watchlist = watchlist
        self._decider = decider
        self._sealer = sealer
        self._views = views
        self._looks = {camera: Looks(view.minimum_inter_eye_px, view.full_look_every) for camera, view in views.items()}
        self._trackers = {camera: Tracker(TrackerLimits()) for camera in views}
        self._tracks: dict[tuple[str, int], Track] = {}
        self._forgotten = True
        self._remembers_since_ns: int | None = None  # the first picture since the engines forgot what remains
        self.counts = Counts()

    @property
    def tracks_in_view(self) -> int:
        """How many people are being tracked now."""
        return len(self._tracks)

    @property
    def lanes(self) -> int:
        """How many steps may be under way at once."""
        return self._extractor.lanes

    def step(self, frame: Frame) -> list[SealedMatch]:
        """Process and wipe one frame; what it returns is sealed."""
        return self.finish(self.start(frame))

    def prepare(self, camera: str, width_px: int, height_px: int) -> None:
        """Make the engines ready for a camera's pictures of that size: the first one would have to wait for that."""
        rows = self._views[camera].rows(height_px)
        for glance in self._looks[camera].kinds:
            self._extractor.prepare_pictures(width_px, rows, glance=glance)

    def start(self, frame: Frame) -> "Step":
        """Begin a step: its faces are sought from now on. The frame is wiped when the step is finished or abandoned."""
        self._forgotten = False
        with ExitStack() as unless_started:
            unless_started.enter_context(frame.image.lease)
            look = self._looks[frame.camera].next(frame.captured_ns)
            rows = self._views[frame.camera].rows(frame.image.height_px)
            search = unless_started.enter_context(self._extractor.start(frame.image, glance=look.glance, rows=rows))
            return Step(frame, look, search, unless_started.pop_all())

    def finish(self, step: "Step") -> list[SealedMatch]:
        """Do the rest of a step and wipe its frame. Steps are finished in the order in which they were started."""
        with step:
            self._expire(step.frame.captured_ns)  # of the other cameras too: they may be silent
            self._forget_remains(step.frame.captured_ns)
            return self._step(step.frame, step.search.faces(), decides=step.look.decides)

    def idle(self, now_ns: int) -> None:
        """No picture came for a while: end who is out of view, and make the engines forget, once."""
        self._expire(now_ns)
        if not self._forgotten:
            self._extractor.forget()
            self._forgotten, self._remembers_since_ns = True, None

    def take_over(self, watchlist: Watchlist, decider: Decider, sealer: EvidenceSealer) -> None:
        """Compare with this list from the next picture on, by another order's rule; between two calls of `finish`.

        Who is in view stays in view. What was compared with the list before counts for nothing, cool-downs included
        (docs/decisions/0016). That list is the caller's to wipe.
        """
        self._watchlist, self._decider, self._sealer = watchlist, decider, sealer
        for (camera, _), track in self._tracks.items():
            track.compare_anew()
            self._looks[camera].urgent = True

    def close(self) -> None:
        """Wipe all tracks, and make the engines forget and go: whatever fails, all the others too.

        After a fault its traceback may keep views of a track, whose release then raises.
        """
        with ExitStack() as all_of_them:
            all_of_them.callback(self._extractor.close)
            for track in self._tracks.values():
                all_of_them.callback(track.release)
            self._tracks.clear()

    def _step(self, frame: Frame, detections: Sequence[Detection], *, decides: bool) -> list[SealedMatch]:
        self.counts.frames += 1
        self.counts.detections += len(detections)
        view = self._views[frame.camera]
        in_zone = [detection for detection in detections if view.shows(detection, frame.image)]
        followed = self._trackers[frame.camera].update(in_zone, frame.captured_ns, glance=not decides)
        self._end(frame.camera, followed.ended)
        self._looks[frame.camera].urgent = self._is_urgent(frame.camera, in_zone, followed.matched)
        chosen = self._choose(frame, followed.matched) if decides else []
        if not chosen:
            return []
        arena = self._extractor.arena
        with (
            arena.lease(WORKSPACE, (len(chosen), self._extractor.dimension), np.float32) as features,
            arena.lease(WORKSPACE, (self._watchlist.template_count,), np.float32) as scores,
        ):
            return self._compare(frame, detections, chosen, (features.array, scores.array))

    def _is_urgent(
        self, camera: str, detections: Sequence[Detection], followed: Sequence[tuple[int, Detection]]
    ) -> bool:
        """Whether a face that is large enough is nobody's yet, or of somebody who was not compared often enough."""
        track_of = {id(detection): track_id for track_id, detection in followed}
        for detection in detections:
            if detection.inter_eye_px >= self._views[camera].minimum_inter_eye_px:
                track = self._tracks.get((camera, track_of.get(id(detection), 0)))
                if track is None or (track.compared < self._decider.rule.confirmation and not track.settled):
                    return True
        return False

    def _choose(self, frame: Frame, followed: Sequence[tuple[int, Detection]]) -> list[_Chosen]:
        worth = []
        image, confirmation = frame.image, self._decider.rule.confirmation
        for track_id, detection in followed:
            if detection.inter_eye_px < self._views[frame.camera].minimum_inter_eye_px:
                continue
            track = self._track(frame.camera, track_id)
            promise = quality.promise(detection, width_px=image.width_px, height_px=image.height_px)
            unknown = track.compared < confirmation and not track.settled
            if unknown or track.is_due(frame.captured_ns, frame.sequence, promise):
                worth.append(_Chosen(track_id, track, detection, promise))
        worth.sort(key=lambda chosen: (chosen.track.last_embedded_ns, -chosen.promise))
        return worth[:FACES_PER_STEP]

    def _compare(
        self,
        frame: Frame,
        detections: Sequence[Detection],
        chosen: Sequence[_Chosen],
        workspace: tuple[NDArray[Any], NDArray[Any]],
    ) -> list[SealedMatch]:
        features, scores = workspace
        qualities = self._extractor.embed(frame.image, [one.detection for one in chosen], out=features)
        values = [measured.value for measured in qualities]
        self.counts.embeddings += len(chosen)
        sealed: list[SealedMatch] = []
        for face, value, row in zip(chosen, values, features, strict=True):
            detection = face.detection
            others = [other.box_px for other in detections if other is not detection]
            face.track.note_embedded(frame.captured_ns, frame.sequence, face.promise)
            track = self._person(frame, face, row, value)
            if track is None or track.settled:
                continue
            better = track.sample is None or value > track.best_quality
            if better and track.keep_sample(frame.image, detection.box_px, others):
                track.best_quality = value
            track.fuse(row, value)
            first, runner_up = self._watchlist.search(row, scores=scores)
            track.compared += 1
            track.rest_while(self._decider.rule.short_of(track.faces, first.score))
            if not self._decider.confirms(track.streak, track.faces, first, runner_up) or track.sample is None:
                continue
            track.settle()
            self.counts.matches += 1
            match = Match(first, runner_up, track.faces, frame.camera, frame.captured_at)
            if first.entry.is_volunteer:  # each walk past each camera counts: no cool-down
                sealed.append(self._sealer.seal_pass(match))
                self.counts.test_passes += 1
            elif self._decider.may_alert(first.entry.id, frame.captured_ns):
                sealed.append(self._seal(match, track, frame.image, (detection.box_px, others)))
                self.counts.alerts += 1
        return sealed

    def _person(self, frame: Frame, face: _Chosen, features: NDArray[np.float32], value: float) -> Track | None:
        """Whose face this is: the track's, or a new one's if somebody else took its place; None while that is unclear.

        A better face than all before it says more than they do, whoever they were: then the track starts over.
        """
        track = face.track
        if track.resembles(features, self._extractor.engine_set.threshold):
            return track
        if value > track.best_quality and not track.settled:
            track.start_over()
            return track
        if track.doubted < STRANGERS:
            return None
        new_id = self._trackers[frame.camera].split(face.track_id)
        self._end(frame.camera, [face.track_id])
        track = self._track(frame.camera, new_id)
        track.note_embedded(frame.captured_ns, frame.sequence, face.promise)
        return track

    def _seal(self, match: Match, track: Track, image: Image, boxes: tuple[Box, Sequence[Box]]) -> SealedAlert:
        if track.sample is None:
            raise RuntimeError("a track matched without ever having had a sample")
        with self._extractor.arena.lease(EVIDENCE, (image.height_px, image.width_px, 3)) as context:
            np.copyto(context.array, image.pixels)
            searched = self._views[match.camera].rows(image.height_px)
            context.array[: searched.first] = GREY  # nobody knows who is there
            context.array[searched.end :] = GREY
            obscure_outside(context.array, *boxes, arena=self._extractor.arena)
            return self._sealer.seal(match, track.sample.array, context.array)

    def _track(self, camera: str, track_id: int) -> Track:
        key = (camera, track_id)
        if key not in self._tracks:
            self._tracks[key] = self.track_type(self._extractor.dimension, self._extractor.arena)
            self.counts.tracks += 1
        return self._tracks[key]

    def _expire(self, now_ns: int) -> None:
        for camera, tracker in self._trackers.items():
            self._end(camera, tracker.expire(now_ns))

    def _forget_remains(self, now_ns: int) -> None:
        if self._remembers_since_ns is None:
            self._remembers_since_ns = now_ns
        elif now_ns - self._remembers_since_ns >= FORGET_NS:
            self._extractor.forget_remains()
            self._remembers_since_ns = None

    def _end(self, camera: str, track_ids: Sequence[int]) -> None:
        for track_id in track_ids:
            track = self._tracks.pop((camera, track_id), None)
            if track is not None:
                track.release()
