"""What one run over a clip gave: the same of us and of any other software, which writes it as JSON."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from lfr_edge.evaluation.passes import passes_of
from lfr_edge.evaluation.truth import GroundTruth


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sighting(_Strict):
    """One match: of which entry, in which picture, and whom that picture shows there."""

    picture: int
    entry: str
    shows: str | None
    score: float


class ClipRun(_Strict):
    """One run. Time counts from opening the clip until the last picture is done; loading and enrolling do not count."""

    pictures: int
    of_pictures: int  # how many the clip has; the others were neither timed nor looked at
    seconds: float
    cpu_seconds: float
    detections: int
    embeddings: int
    sightings: tuple[Sighting, ...]
    peak_rss_mib: float
    list_size: int

    @property
    def fps(self) -> float:
        """Pictures per second, of all cameras together."""
        return self.pictures / self.seconds


@dataclass(frozen=True, slots=True)
class Found:
    """A run against the truth."""

    due: int  # listed people who are usable for half a second
    found: tuple[str, ...]
    false_sightings: int


def against_truth(run: ClipRun, truth: GroundTruth, listed: set[str]) -> Found:
    """Who was found of those who had to be, and how many sightings were of somebody else."""
    due = {one.person for one in passes_of(truth, listed, ()) if one.due}
    found = {sighting.entry for sighting in run.sightings if sighting.shows == sighting.entry}
    false = sum(sighting.shows != sighting.entry for sighting in run.sightings)
    return Found(len(due), tuple(sorted(found & due)), false)
