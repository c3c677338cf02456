"""Footage of one person per clip: everybody enrolled from one clip, looked for in the others.

    LIST.json   {"fps": 30, "people": {PERSON: [CLIP, ...], ...}}

Every clip is searched with lists made of other clips: of each person the clip's turn among his others, so that in the
end each pair of clips of one person has been tried. Who has no other clip is not on the list then, and his clip is one
of a stranger. Of each picture the detector's most confident face counts; a template is the one of the highest quality
in its clip.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.evaluation.faces import Face, FaceReader, Features, most_confident, watchlist_of
from lfr_edge.evaluation.passes import SeenAlert
from lfr_edge.evaluation.playing import Effort, Recorder, pictures, play
from lfr_edge.evaluation.truth import Film
from lfr_edge.evaluation.variants import Variant
from lfr_edge.pipeline.extract import Extractor


class _List(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    fps: Annotated[float, Field(gt=0)]
    people: Annotated[dict[str, Annotated[tuple[str, ...], Field(min_length=1)]], Field(min_length=2)]


@dataclass(frozen=True, slots=True)
class Clips:
    """Person -> his clips, and the rate of all of them."""

    folder: Path
    fps: float
    people: dict[str, tuple[str, ...]]
    sha256: str  # of the list

    def film(self, clip: str) -> Film:
        """One of them."""
        return Film(self.folder / clip, self.fps)


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """Scores of single faces with templates of other clips."""

    comparisons: int
    mean: float
    lowest: float
    percentile_5: float
    percentile_95: float
    highest: float


@dataclass(frozen=True, slots=True)
class Showing:
    """One clip, shown to a recogniser with one list."""

    clip: str
    person: str
    listed_from: str | None  # his clip that his template is from; None: he is not on the list
    alerts: tuple[SeenAlert, ...]
    effort: Effort

    @property
    def found(self) -> bool:
        """Whether there was an alert, and all were his."""
        return bool(self.alerts) and not self.false_alerts

    @property
    def false_alerts(self) -> int:
        """Alerts with another's entry."""
        return sum(alert.entry != self.person for alert in self.alerts)


@dataclass(frozen=True, slots=True)
class ClipMeasures:
    """All that was measured of the clips."""

    threshold: float
    genuine: ScoreSummary
    impostor: ScoreSummary
    equal_error_rate: float
    listed: int  # showings of people on the list
    found: int  # of those
    strangers: int
    false_alerts: int  # of all showings
    repeated: int
    decided_after_median_s: float | None  # from the clip's beginning, of the found
    embeddings_per_pass: float
    milliseconds_per_picture: float  # see `Effort`
    showings: tuple[Showing, ...]


def read_clips(folder: Path, path: Path) -> Clips:
    """The list at `path`, of clips in `folder`. ConfigError if it is not one, or a clip is missing."""
    try:
        content = path.read_bytes()
        listed = _List.model_validate_json(content)
    except OSError as error:
        raise ConfigError(
            Reason.FILE_MISSING, f"{path}: {error.strerror}", fix="name a list of clips with --list"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            Reason.FILE_MALFORMED, f"{path}: {where}: {first['msg']}", fix="docs/accuracy.md describes the file"
        ) from error
    for clip in (clip for clips in listed.people.values() for clip in clips):
        if not (folder / clip).exists():
            raise ConfigError(Reason.FILE_MISSING, f"{folder / clip} is not there", fix="complete the clips")
    return Clips(folder, listed.fps, listed.people, hashlib.sha256(content).hexdigest())


def measure_clips(clips: Clips, extractor: Extractor, variant: Variant) -> ClipMeasures:
    """Compare all clips with each other, then show each to the recogniser. UntrustedInputError if one has no face."""
    faces = {clip: _faces(clips.film(clip), extractor) for names in clips.people.values() for clip in names}
    templates = {clip: max(found, key=lambda face: face.quality.value) for clip, found in faces.items()}
    genuine, impostor = _scores(clips.people, faces, templates)

    def show(person: str, clip: str, turn: int) -> Showing:
        enrolled_from = _list_for(clips.people, clip, turn)
        enrolled = {who: templates[name].features for who, name in enrolled_from.items()}
        alerts, effort = _alerts(clips.film(clip), person, enrolled, extractor, variant)
        return Showing(clip, person, enrolled_from.get(person), alerts, effort)

    showings = tuple(
        show(person, clip, turn)
        for person, names in clips.people.items()
        for clip in names
        for turn in range(max(len(names) - 1, 1))
    )
    found = [showing for showing in showings if showing.listed_from is not None and showing.found]
    return ClipMeasures(
        threshold=extractor.engine_set.threshold,
        genuine=_summary(genuine),
        impostor=_summary(impostor),
        equal_error_rate=equal_error_rate(genuine, impostor),
        listed=sum(showing.listed_from is not None for showing in showings),
        found=len(found),
        strangers=sum(showing.listed_from is None for showing in showings),
        false_alerts=sum(showing.false_alerts for showing in showings),
        repeated=sum(max(len(showing.alerts) - showing.false_alerts - 1, 0) for showing in showings),
        decided_after_median_s=median(showing.alerts[0].picture for showing in found) / clips.fps if found else None,
        embeddings_per_pass=fmean(showing.effort.embeddings for showing in showings),
        milliseconds_per_picture=fmean(showing.effort.milliseconds_per_picture for showing in showings),
        showings=showings,
    )


def equal_error_rate(genuine: NDArray[np.float64], impostor: NDArray[np.float64]) -> float:
    """Where as many genuine scores fall below the threshold as impostor scores reach it; the mean of both rates."""
    thresholds = np.unique(np.concatenate([genuine, impostor]))
    missed = np.searchsorted(np.sort(genuine), thresholds, side="left") / len(genuine)
    accepted = 1 - np.searchsorted(np.sort(impostor), thresholds, side="left") / len(impostor)
    nearest = int(np.argmin(np.abs(missed - accepted)))
    return float(missed[nearest] + accepted[nearest]) / 2


def _faces(film: Film, extractor: Extractor) -> list[Face]:
    reader = FaceReader(extractor, most_confident)
    found = []
    with pictures(film, extractor.arena) as frames:
        for frame in frames:
            with frame.image.lease:
                face = reader.measure(frame.image)
            if face is not None:
                found.append(face)
    if not found:
        raise UntrustedInputError(
            Reason.SAMPLE_UNUSABLE, f"no face was found in {film.path}", fix="take it off the list"
        )
    return found


def _scores(
    people: Mapping[str, Sequence[str]], faces: Mapping[str, Sequence[Face]], templates: Mapping[str, Face]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Genuine and impostor scores of every face with the template of every other clip."""
    person_of = {clip: person for person, names in people.items() for clip in names}
    scores: dict[bool, list[float]] = {True: [], False: []}
    for clip, found in faces.items():
        probes = np.stack([face.features for face in found])
        for other, template in templates.items():
            if other != clip:
                scores[person_of[clip] == person_of[other]] += (probes @ template.features).tolist()
    return np.array(scores[True]), np.array(scores[False])


def _list_for(people: Mapping[str, Sequence[str]], clip: str, turn: int) -> dict[str, str]:
    """Person -> the clip to enrol from, when `clip` is searched for the time `turn`."""
    others = {person: [name for name in names if name != clip] for person, names in people.items()}
    return {person: names[turn % len(names)] for person, names in others.items() if names}


def _alerts(
    film: Film, person: str, enrolled: Mapping[str, Features], extractor: Extractor, variant: Variant
) -> tuple[tuple[SeenAlert, ...], Effort]:
    watchlist = watchlist_of(list(enrolled.values()), extractor, list(enrolled), lowered=variant.lowered)
    recorder = Recorder(lambda *_: person)
    try:
        effort = play(film, extractor, watchlist, variant, recorder)
    finally:
        watchlist.wipe()
    return tuple(recorder.alerts), effort


def _summary(scores: NDArray[np.float64]) -> ScoreSummary:
    low, high = np.percentile(scores, [5, 95])
    return ScoreSummary(
        len(scores), float(scores.mean()), float(scores.min()), float(low), float(high), float(scores.max())
    )
