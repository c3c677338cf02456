"""What a photo's measures mean for the office: accept, warn, or refuse, with reasons that a clerk can act on.

Measures have the names of ISO/IEC 29794-5 where it has them, but are our own algorithms and scales; those that are not
in the standard are marked. Bounds were set on photos that people did enrol: docs/office.md says which.
"""

from dataclasses import dataclass
from enum import Enum

from lfr_edge.vision.quality import Quality

LEAST_INTER_EYE_PX = 24.0
"""Share of genuine comparisons above 0.45 by the smaller inter-eye distance (LFW): 18 px .90, 24 px .92, 32 px .93."""


class Verdict(Enum):
    """What becomes of a photo."""

    ACCEPT = "accept"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said of a photo, and what to do about it."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of a photo, as the report shows it."""

    name: str
    title: str
    unit: str  # with its space
    in_standard: bool  # ISO/IEC 29794-5 has it under this name
    refused_below: float | None = None
    warned_below: float | None = None
    warned_beyond: float | None = None  # of the absolute value
    advice: str = ""

    def shown(self, quality: Quality) -> str:
        """The value as people read it, without its unit; never `-0`."""
        decimals = 0 if self.unit else 2
        return f"{round(self.of(quality), decimals) + 0.0:.{decimals}f}"  # -0.0 + 0.0 is 0.0

    def of(self, quality: Quality) -> float:
        """The value that was measured."""
        return float(getattr(quality, _ATTRIBUTE.get(self.name, self.name)))


_ATTRIBUTE = {
    "unified_quality_score": "value",
    "inter_eye_distance": "inter_eye_px",
    "head_pose_yaw": "yaw",
    "head_pose_pitch": "pitch",
    "detector_confidence": "confidence",
    "face_in_picture": "visible",
    "mirror_stability": "stability",
    "feature_magnitude": "magnitude",
}

MEASURES = (
    Measure(
        "unified_quality_score", "unified quality", "", True, 0.2, 0.6, None, "give a better photo if there is one"
    ),
    Measure(
        "inter_eye_distance", "inter-eye distance", " px", True, LEAST_INTER_EYE_PX, 32, None, "give a closer photo"
    ),
    Measure("sharpness", "sharpness", "", True, None, 0.6, None, "give a photo that is in focus"),
    Measure("exposure", "exposure", "", False, None, 0.9, None, "give a photo that is neither too dark nor blown out"),
    Measure("head_pose_yaw", "turned left or right", "°", True, None, None, 25, "give a photo from the front"),
    Measure("head_pose_pitch", "looking up or down", "°", True, None, None, 25, "give a photo from the front"),
    Measure(
        "face_in_picture", "face inside the picture", "", False, None, 0.95, None, "give a photo of the whole face"
    ),
    Measure("detector_confidence", "looks like a face", "", False, None, 0.75, None, "give one with nothing before it"),
    Measure("mirror_stability", "agrees with its mirror image", "", False, None, 0.5, None, "give one from the front"),
    Measure("feature_magnitude", "strength of features", "", False, None, 0.7, None, "give a clearer photo"),
)


def judge(quality: Quality) -> tuple[Verdict, tuple[Finding, ...]]:
    """The verdict on a face that was measured, and every reason for it."""
    refused, warned = [], []
    for measure in MEASURES:
        value = measure.of(quality)
        said = f"{measure.title} is {measure.shown(quality)}{measure.unit}"
        if measure.refused_below is not None and value < measure.refused_below:
            refused.append(Finding(f"{said}, at least {measure.refused_below:g} is needed", measure.advice))
        elif measure.warned_below is not None and value < measure.warned_below:
            warned.append(Finding(f"{said}, {measure.warned_below:g} or more is good", measure.advice))
        elif measure.warned_beyond is not None and abs(value) > measure.warned_beyond:
            warned.append(Finding(f"{said}, up to {measure.warned_beyond:g} is good", measure.advice))
    if refused:
        return Verdict.REFUSE, tuple(refused)
    return (Verdict.WARN, tuple(warned)) if warned else (Verdict.ACCEPT, ())
