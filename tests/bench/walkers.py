"""Everybody who walks past, enrolled: more alerts a play, so more latencies. Of no use for anything but latencies.

Who has no photo of his own is enrolled with his best face in the clip itself.
"""

from datetime import date
from pathlib import Path

import av

from lfr_edge.evaluation.truth import GroundTruth, TrueFace
from lfr_edge.office.listing import Row
from lfr_edge.vision.geometry import Box, grown, intersection
from lfr_edge.watchlist.entries import Particulars

_LEAST_INTER_EYE_PX = 35.0
_MARGIN = 0.5  # of the face box, on each side


def walkers(truth: GroundTruth, known: set[str], folder: Path) -> list[Row]:
    """A row, and a photo in `folder`, of each person not in `known` who is ever large, open and alone enough."""
    best: dict[str, tuple[TrueFace, int]] = {}
    for picture, faces in enumerate(truth.pictures):
        for face in faces:
            others = [other for other in faces if other is not face]
            alone = not any(intersection(_crop(face), _crop(other)).area > 0 for other in others)
            clear = face.usable and face.inter_eye_px >= _LEAST_INTER_EYE_PX and alone
            if clear and face.person not in known:
                best[face.person] = max(best.get(face.person, (face, picture)), (face, picture), key=_size)
    wanted = {picture: face for face, picture in best.values()}
    rows = []
    with av.open(str(truth.film.path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                face = wanted[number]
                photo = folder / f"{face.person}.png"
                box = intersection(_crop(face), Box(0, 0, frame.width, frame.height))
                left, top, right, bottom = (round(edge) for edge in box)
                frame.to_image().crop((left, top, right, bottom)).save(photo)
                rows.append(_row(len(rows) + 1, face.person, photo))
    return rows


def _crop(face: TrueFace) -> Box:
    return grown(face.box_px, _MARGIN)


def _size(candidate: tuple[TrueFace, int]) -> float:
    return candidate[0].inter_eye_px


def _row(line: int, person: str, photo: Path) -> Row:
    return Row(
        line,
        Particulars(
            id=person,
            category="benchmark",
            response="green",
            legal_basis="none needed: nobody real",
            source="rendered",
            captured=date(2000, 1, 1),
        ),
        photo,
    )
