"""Streets that exist as numbers only: who walks where, what a camera would see of them, and what a detector finds.

For trackers: a film has a dozen people, and no film holds enough of what is hard. A person is a head on a body that
hides whoever is behind; the camera is a pinhole above the street. No pixels: detections are the true boxes, shaken,
some missing, some of nobody. The same seed gives the same scene.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lfr_edge.evaluation.truth import Film, GroundTruth, TrueFace
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box, intersection, intersection_over_union

FPS = 25.0

_WIDTH_PX, _HEIGHT_PX = 1920.0, 1080.0
_FOCAL_PX = 3200.0  # faces 2.5 to 12 m away are 205 to 43 px wide
_CAMERA_M = 2.4  # above the ground
_TILT = 0.1  # of the optical axis, downwards
_NEAREST_M = 2.5
_FACE_M = (0.16, 0.19)  # width and height
_EYES_M = 0.063
_SHOULDERS_M = 0.45
_STEPS_PER_S = 2.0
_SWAY_M, _BOB_M = 0.02, 0.02
_TURN_S = np.linspace(-0.25, 0.25, 9)  # nobody stops or turns within less


@dataclass(frozen=True, slots=True)
class Walker:
    """A person, walking straight between (second, x, z): metres to the right of the camera and away from it."""

    name: str
    way: tuple[tuple[float, float, float], ...]
    eye_m: float = 1.6  # height of the eyes

    def at(self, second: float) -> tuple[float, float, float] | None:
        """Metres right, up and away of the face's centre, walking as people do; None before and after."""
        seconds, right, away = zip(*self.way, strict=True)
        if not seconds[0] <= second <= seconds[-1]:
            return None
        phase = _STEPS_PER_S * math.pi * second + len(self.name) + 7 * right[0]
        x, z = (float(np.interp(second + _TURN_S, seconds, metres).mean()) for metres in (right, away))
        return x + _SWAY_M * math.sin(phase), self.eye_m + _BOB_M * math.sin(2 * phase), z


@dataclass(frozen=True, slots=True)
class Scene:
    """Who walks, and columns (x, z, width in metres) that hide what is behind them."""

    name: str
    seconds: float
    walkers: tuple[Walker, ...]
    columns: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Detector:
    """How a detector errs."""

    shake: float = 0.03  # standard deviation of each edge, in face widths
    missing: float = 0.05  # share of faces not found although open
    least_visible: float = 0.5
    false_per_s: float = 0.2  # each lasts one to five pictures, at one place


def truth_of(scene: Scene) -> GroundTruth:
    """What the camera sees, 25 pictures per second."""
    pictures = tuple(_seen(scene, number / FPS) for number in range(round(scene.seconds * FPS)))
    return GroundTruth(Film(Path(scene.name), FPS), "0" * 64, pictures)


def slower(truth: GroundTruth, every: int) -> GroundTruth:
    """The same with every n-th picture only."""
    return GroundTruth(Film(truth.film.path, truth.fps / every), truth.sha256, truth.pictures[::every])


def detected(truth: GroundTruth, detector: Detector, seed: int) -> list[list[Detection]]:
    """What the detector finds in each picture."""
    dice = np.random.default_rng(seed)
    ghosts: dict[int, list[Box]] = {}
    for _ in range(dice.poisson(detector.false_per_s * len(truth.pictures) / truth.fps)):
        first, side = int(dice.integers(len(truth.pictures))), dice.uniform(30, 120)
        place = _square(dice.uniform(0, _WIDTH_PX), dice.uniform(0, _HEIGHT_PX), side)
        for number in range(first, first + int(dice.integers(1, 6))):
            ghosts.setdefault(number, []).append(place)
    pictures = []
    for number, faces in enumerate(truth.pictures):
        found = [
            (dice.uniform(0.6, 0.95) if face.visible > 0.9 else 0.9 * face.visible, face.box_px)
            for face in faces
            if face.visible >= detector.least_visible and dice.random() >= detector.missing
        ]
        found += [(dice.uniform(0.6, 0.7), ghost) for ghost in ghosts.get(number, ())]
        pictures.append(_suppressed([(sure, _shaken(box, detector.shake, dice)) for sure, box in found]))
    return pictures


def hard_scenes(seed: int) -> dict[str, list[Scene]]:
    """What trackers are tried on, by what is hard about it."""
    dice = np.random.default_rng(seed)
    return {
        "two paths cross": [
            _crossing(math.radians(angle), speed, lag)
            for angle in (15, 30, 60, 90, 120, 150, 180)
            for speed in (0.7, 1.4, 2.8)
            for lag in (0.0, 0.3)
        ],
        "behind a column": [_behind_a_column(speed, width) for speed in (0.8, 1.4, 2.5) for width in (0.3, 0.6, 0.9)],
        "stop and turn": [_stop_and_turn(math.radians(heading)) for heading in range(0, 360, 30)],
        "side by side": [_side_by_side(gap, end) for gap in (0.35, 0.5, 0.7) for end in ((0.2, 3.5), (1.8, 5.0))],
        "runner in a crowd": [_crowd(8, dice, runners=1) for _ in range(6)],
        "crowd of 30": [_crowd(30, dice) for _ in range(2)],
    }


def _crossing(angle: float, speed: float, lag_s: float) -> Scene:
    """Two who meet in front of the camera at an angle: at 180 degrees head on; one comes `lag_s` later."""
    half_s = 3.0
    walkers = []
    for name, heading, offset_m in (("a", angle / 2, -0.2), ("b", math.pi - angle / 2, 0.2)):
        x, z = math.cos(heading) * speed * half_s, math.sin(heading) * speed * half_s
        later_s = lag_s if name == "b" else 0.0
        start, end = (later_s, -x, 6 + offset_m + z / 3), (2 * half_s + later_s, x, 6 + offset_m - z / 3)
        walkers.append(Walker(name, (start, end), 1.55 if name == "a" else 1.65))
    return Scene("crossing", 2 * half_s + 1, tuple(walkers))


def _behind_a_column(speed: float, width_m: float) -> Scene:
    """Two behind each other pass a column; one walks back the same way."""
    cross_s = 4 / speed
    return Scene(
        "column",
        2 * cross_s + 1,
        (
            Walker("a", ((0.0, -2.0, 7.0), (cross_s, 2.0, 7.0), (2 * cross_s, -2.0, 7.0))),
            Walker("b", ((0.8, -2.0, 6.5), (0.8 + cross_s, 2.0, 6.5)), 1.7),
        ),
        ((0.3, 5.0, width_m),),
    )


def _stop_and_turn(heading: float) -> Scene:
    """One stops, looks around and goes on in another direction, while another passes behind."""
    x, z = 1.4 * math.cos(heading), 1.4 * math.sin(heading)
    return Scene(
        "turn",
        5,
        (
            Walker("a", ((0.0, -1.4, 6.0), (1.5, 0.4, 6.0), (2.5, 0.4, 6.0), (4.0, 0.4 + x, 6.0 + z))),
            Walker("b", ((0.6, 1.8, 7.2), (4.4, -1.8, 7.2)), 1.68),
        ),
    )


def _side_by_side(gap_m: float, end: tuple[float, float]) -> Scene:
    """Two walk together to (x, z): towards the camera, or across its view, so that one hides the other for long."""
    x, z = end
    left = Walker("a", ((0.0, -1.0, 9.0), (3.0, -0.6, 6.5), (6.0, x, z)))
    right = Walker("b", ((0.0, gap_m - 1.0, 9.0), (3.0, gap_m - 0.6, 6.5), (6.0, x + gap_m / 2, z + gap_m)), 1.7)
    return Scene("side by side", 6, (left, right))


def _crowd(people: int, dice: np.random.Generator, runners: int = 0) -> Scene:
    """People crossing a square in all directions, at their own speeds, for twelve seconds."""
    walkers = []
    for number in range(people):
        speed = dice.normal(1.3, 0.25) if number >= runners else 4.5
        start_s = dice.uniform(-6, 8) if number >= runners else 4.0
        side = 1 if dice.random() < 0.5 else -1
        start = -side * 3.0, dice.uniform(4, 12)
        end = side * 3.0, dice.uniform(4, 12)
        if number >= runners and dice.random() < 0.4:  # towards the camera
            start, end = (dice.uniform(-2, 2), 13.0), (dice.uniform(-1, 1), 2.0)
        length_m = math.dist(start, end)
        way = ((start_s, *start), (start_s + length_m / speed, *end))
        walkers.append(Walker(f"p{number}", way, float(dice.normal(1.6, 0.08))))
    return Scene("crowd", 12, tuple(walkers))


def _seen(scene: Scene, second: float) -> tuple[TrueFace, ...]:
    """The faces in the picture, and how much of each nothing hides."""
    there = [(where, walker.name) for walker in scene.walkers if (where := walker.at(second)) and where[2] > _NEAREST_M]
    solid = [(z, part) for (x, y, z), _ in there for part in _body(x, y, z)]
    solid += [(z, _box(x, 0.0, z, (width, 20.0))) for x, z, width in scene.columns]
    picture = Box(0, 0, _WIDTH_PX, _HEIGHT_PX)
    faces = []
    for (x, y, z), name in there:
        box = _box(x, y, z, _FACE_M)
        inside = intersection(box, picture)
        if inside.area < 0.1 * box.area:
            continue
        hidden = max((intersection(inside, part).area for away, part in solid if away < z), default=0.0)
        visible = (inside.area - hidden) / box.area
        faces.append(TrueFace(name, inside, _FOCAL_PX * _EYES_M / z, visible))
    return tuple(faces)


def _body(x: float, y: float, z: float) -> tuple[Box, Box]:
    """What a person hides: head, and all below the chin."""
    return _box(x, y + 0.02, z, (0.2, 0.26)), _box(x, y - 1.0, z, (_SHOULDERS_M, 1.7))


def _box(x: float, y: float, z: float, size_m: tuple[float, float]) -> Box:
    scale = _FOCAL_PX / z
    centre_x = _WIDTH_PX / 2 + scale * x
    centre_y = _HEIGHT_PX / 2 + scale * (_CAMERA_M - y) - _FOCAL_PX * _TILT
    width, height = scale * size_m[0], scale * size_m[1]
    return Box(centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2)


def _square(x: float, y: float, side: float) -> Box:
    return Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def _shaken(box: Box, shake: float, dice: np.random.Generator) -> Box:
    left, top, right, bottom = (edge + dice.normal(0, shake * box.width) for edge in box)
    return Box(left, top, max(right, left + 1), max(bottom, top + 1))


def _suppressed(found: Sequence[tuple[float, Box]]) -> list[Detection]:
    """As detectors do: of two that overlap by more than .45, the surer one."""
    kept: list[Detection] = []
    for confidence, box in sorted(found, reverse=True):
        if all(intersection_over_union(box, other.box_px) <= 0.45 for other in kept):
            eyes = np.linspace((box.left, box.top), (box.right, box.bottom), 5)
            kept.append(Detection(box, eyes, confidence))
    return kept
