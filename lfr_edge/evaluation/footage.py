"""Recognition in footage whose every face is known: detection, tracking, passes and alerts.

Photos are enrolled as the stills of `identification` are; a photo's file name is its person. The clip is shown twice:
once to the detector alone, whose faces are also what trackers are measured on, and once to the whole recogniser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.evaluation.faces import Face, FaceReader, watchlist_of
from lfr_edge.evaluation.pairing import pair
from lfr_edge.evaluation.passes import Pass, PassMeasures, SeenAlert, measure_passes, passes_of
from lfr_edge.evaluation.playing import Effort, Recorder, pictures, play, shown_in
from lfr_edge.evaluation.tracks import TrackMeasures, measure_tracker
from lfr_edge.evaluation.truth import USABLE_VISIBLE, GroundTruth
from lfr_edge.evaluation.variants import Variant
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.tracking import Tracker, TrackerLimits

_INTER_EYE_PX = (8.0, 12.0, 16.0, 20.0, 25.0, 35.0, 50.0, 1000.0)  # ends of the ranges that recall is given for
_PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True, slots=True)
class Recall:
    """Of faces with that distance between the eyes, and mostly visible, how many the detector finds."""

    from_px: float
    below_px: float
    faces: int
    found: int


@dataclass(frozen=True, slots=True)
class DetectionMeasures:
    """The detector against the truth."""

    recall: tuple[Recall, ...]
    false_detections: int
    pictures: int


@dataclass(frozen=True, slots=True)
class FootageMeasures:
    """All that was measured of one clip with one list."""

    list_size: int
    failures_to_enrol: int
    threshold: float
    detection: DetectionMeasures
    tracking: TrackMeasures
    totals: PassMeasures
    passes: tuple[Pass, ...]
    alerts: tuple[SeenAlert, ...]
    embeddings_per_pass: float
    milliseconds_per_picture: float  # see `Effort`


def photos_in(folders: Sequence[Path]) -> dict[str, Path]:
    """Person -> photo. ConfigError if a folder holds none, or a person is in two."""
    photos: dict[str, Path] = {}
    for folder in folders:
        found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _PHOTOS)
        if not found:
            raise ConfigError(
                Reason.FILE_MISSING, f"there are no photos in {folder}", fix="name a folder of JPEG, PNG or WebP photos"
            )
        for path in found:
            if path.stem in photos:
                raise ConfigError(
                    Reason.VALUE_INVALID,
                    f"{path} and {photos[path.stem]} are both of '{path.stem}'",
                    fix="leave one photo of each person",
                )
            photos[path.stem] = path
    return photos


def measure_footage(
    truth: GroundTruth, photos: dict[str, Path], extractor: Extractor, variant: Variant
) -> FootageMeasures:
    """Enrol the photos, show the clip, compare with the truth."""
    reader = FaceReader(extractor)
    faces = {person: reader.read(path) for person, path in photos.items()}
    enrolled = {person: face for person, face in faces.items() if face is not None}
    detections = detect(truth, extractor)
    alerts, effort = _recognise(truth, enrolled, extractor, variant)
    passes = passes_of(truth, set(photos), alerts)
    return FootageMeasures(
        list_size=len(enrolled),
        failures_to_enrol=len(faces) - len(enrolled),
        threshold=extractor.engine_set.threshold,
        detection=measure_detection(truth, detections),
        tracking=measure_tracker(Tracker(TrackerLimits()), truth, detections),
        totals=measure_passes(truth, passes, alerts),
        passes=tuple(passes),
        alerts=tuple(alerts),
        embeddings_per_pass=effort.embeddings / len(passes),
        milliseconds_per_picture=effort.milliseconds_per_picture,
    )


def detect(truth: GroundTruth, extractor: Extractor) -> list[list[Detection]]:
    """The faces found in every picture of the clip. ConfigError if the truth is about another number of pictures."""
    found = []
    with pictures(truth.film, extractor.arena) as frames:
        for frame in frames:
            with frame.image.lease:
                found.append(extractor.detect(frame.image))
    if len(found) != len(truth.pictures):
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"{truth.film.path} has {len(found)} pictures, its ground truth {len(truth.pictures)}",
            fix="use the clip that the file was made for",
        )
    return found


def measure_detection(truth: GroundTruth, detections: Sequence[Sequence[Detection]]) -> DetectionMeasures:
    """Recall by inter-eye distance, and detections that show nobody."""
    there: list[float] = []
    found: list[float] = []
    false = 0
    for faces, boxes in zip(truth.pictures, detections, strict=True):
        pairs = pair(faces, [detection.box_px for detection in boxes])
        false += len(boxes) - len(pairs)
        clear = {place for place, face in enumerate(faces) if face.visible > USABLE_VISIBLE}
        there += [faces[place].inter_eye_px for place in clear]
        found += [faces[place].inter_eye_px for place in clear & set(pairs.values())]
    ranges = pairwise(_INTER_EYE_PX)
    recall = tuple(Recall(low, high, _between(there, low, high), _between(found, low, high)) for low, high in ranges)
    return DetectionMeasures(recall, false, len(truth.pictures))


def _between(distances_px: Sequence[float], low: float, high: float) -> int:
    return sum(low <= distance < high for distance in distances_px)


def _recognise(
    truth: GroundTruth, enrolled: dict[str, Face], extractor: Extractor, variant: Variant
) -> tuple[list[SeenAlert], Effort]:
    if not enrolled:
        raise UntrustedInputError(
            Reason.SAMPLE_UNUSABLE, "no face was found in any photo", fix="give photos that show faces from the front"
        )
    watchlist = watchlist_of(
        [face.features for face in enrolled.values()], extractor, list(enrolled), lowered=variant.lowered
    )
    recorder = Recorder(lambda frame, context: shown_in(context, frame, truth.pictures[frame.sequence]))
    try:
        effort = play(truth.film, extractor, watchlist, variant, recorder)
    finally:
        watchlist.wipe()
    return recorder.alerts, effort
