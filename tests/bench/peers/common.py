"""What every peer does alike: the job, the clip, the list, the clock. Runs without lfr-edge, in .venv-bench.

A peer is written as its users would write it: read a picture, find the faces, embed each that is large enough, compare
with the whole list. None of them tracks, so none can choose which faces are worth it; all do it for every picture.
"""

import itertools
import json
import os
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

_BLOCK = 10  # pictures that are looked at in a row


@dataclass(frozen=True)
class Job:
    """What to do, as `compare.py` says."""

    clip: str
    photos: dict[str, str]
    entries: int
    cores: list[int]
    every: int  # of so many blocks of pictures one is looked at
    minimum_inter_eye_px: float
    detector: str
    embedder: str
    confidence: float
    nms_iou: float
    threshold: float
    template_px: list[list[float]]
    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class Face:
    """One detected face."""

    box_px: tuple[float, float, float, float]  # left, top, right, bottom
    inter_eye_px: float
    handle: Any  # whatever this peer's `embed` needs


class Peer(Protocol):
    """One piece of software, loaded."""

    software: dict[str, str]

    def detect(self, picture: Any) -> list[Face]:
        """The faces in a BGR picture."""
        ...

    def embed(self, picture: Any, face: Face) -> Any:
        """Features (D,) float."""
        ...

    def best(self, templates: Any, features: Any) -> tuple[int, float, bool]:
        """Row of the most alike template, its score, and whether that is a match."""
        ...


@dataclass
class _Counts:
    pictures: int = 0
    of_pictures: int = 0
    detections: int = 0
    embeddings: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    sightings: list[dict[str, Any]] = field(default_factory=list)


def job() -> Job:
    """Read the job named on the command line, and keep to its cores. Before anything counts them."""
    wanted = Job(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    os.sched_setaffinity(0, wanted.cores)
    cv2.setNumThreads(len(wanted.cores))
    return wanted


def run(job: Job, peer: Peer) -> None:
    """Enrol, play, and write what came out to the second file named on the command line."""
    enrolled = _list(job, peer)
    counts = _Counts()
    capture = cv2.VideoCapture(job.clip)
    for number in itertools.count():
        looked_at = number // _BLOCK % job.every == 0
        wall, cpu = time.perf_counter(), time.process_time()  # decoding is a part of what is timed
        there, picture = capture.read() if looked_at else (capture.grab(), None)
        if not there:
            break
        counts.of_pictures += 1
        if looked_at:
            _look(job, peer, picture, number, enrolled, counts)
            counts.seconds += time.perf_counter() - wall
            counts.cpu_seconds += time.process_time() - cpu
            counts.pictures += 1
    result = {
        **vars(counts),
        "list_size": job.entries,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "software": peer.software,
    }
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")


def _look(job: Job, peer: Peer, picture: Any, number: int, enrolled: tuple[list[str], Any], counts: _Counts) -> None:
    ids, templates = enrolled
    faces = peer.detect(picture)
    counts.detections += len(faces)
    for face in faces:
        if face.inter_eye_px < job.minimum_inter_eye_px:
            continue
        counts.embeddings += 1
        row, score, match = peer.best(templates, peer.embed(picture, face))
        if match:
            entry = ids[row] if row < len(ids) else f"nobody-{row}"
            counts.sightings.append({"picture": number, "entry": entry, "box_px": face.box_px, "score": score})


def _list(job: Job, peer: Peer) -> tuple[list[str], Any]:
    """The people's ids, and all templates: theirs first, then random directions as in `lfr-edge evaluate bench`."""
    people = []
    for person, photo in sorted(job.photos.items()):
        picture = cv2.imread(photo)
        (face,) = peer.detect(picture)
        people.append((person, np.asarray(peer.embed(picture, face))))
    dimension = len(people[0][1])
    filler = np.random.default_rng(0).standard_normal((job.entries - len(people), dimension))
    filler /= np.linalg.norm(filler, axis=1, keepdims=True)
    templates = np.concatenate([np.stack([features for _, features in people]), filler])
    return [person for person, _ in people], templates.astype(people[0][1].dtype)


def most_alike(templates: Any, features: Any, threshold: float) -> tuple[int, float, bool]:
    """By cosine: what a user of numpy writes."""
    scores = templates @ features
    row = int(scores.argmax())
    return row, float(scores[row]), bool(scores[row] >= threshold)


def aligned(picture: Any, landmarks_px: Any, template_px: Any) -> Any:
    """112x112 BGR: the similarity that brings the landmarks nearest to the template (Umeyama), bilinear."""
    source, target = np.asarray(landmarks_px, np.float64), np.asarray(template_px, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source, target = source - source_mean, target - target_mean
    left, stretch, right = np.linalg.svd(target.T @ source)
    flip = np.diag([1, np.sign(np.linalg.det(left @ right))])
    scale = np.trace(np.diag(stretch) @ flip) / (source**2).sum()
    turn = scale * left @ flip @ right
    matrix = np.column_stack([turn, target_mean - turn @ source_mean])
    return cv2.warpAffine(picture, matrix, (112, 112), flags=cv2.INTER_LINEAR)
