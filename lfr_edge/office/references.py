"""References: what enrolment made of a list, ready to be sealed. Enrolled people only, in this process's memory."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.office.enrol import Photo
from lfr_edge.office.listing import Problem, Row
from lfr_edge.watchlist.entries import Particulars


@dataclass(frozen=True, slots=True)
class References:
    """Entries with their templates, several to an entry, and one picture of each.

    `templates` (N, D) float32 of length 1, grouped by entry as `entry_of_template` (N,) says; `picture` gives an
    entry's picture as JPEG.
    """

    engine_set: str
    contract: str
    entries: tuple[Particulars, ...]
    templates: NDArray[np.float32]
    entry_of_template: NDArray[np.int32]
    picture: Callable[[str], bytes]

    @property
    def sha256(self) -> str:
        """Digest of entries and templates, for the log."""
        digest = hashlib.sha256(self.contract.encode())
        for entry in self.entries:
            digest.update(b"\n" + entry.to_json())
        digest.update(np.ascontiguousarray(self.entry_of_template).data)
        digest.update(np.ascontiguousarray(self.templates).data)
        return digest.hexdigest()


def gather(rows: Sequence[Row], photos: Sequence[Photo], *, engine_set: str, contract: str) -> References:
    """References of photos that were measured, one for each row; what was refused is left out.

    ConfigError if an entry has no photo that can be used: ask `unusable` first to show them all.
    """
    for problem in unusable(rows, photos):
        raise ConfigError(Reason.SAMPLE_UNUSABLE, f"{problem.subject}: {problem.what}", fix=problem.fix)
    of_entry: dict[str, list[tuple[Row, Photo]]] = {}
    for row, photo in zip(rows, photos, strict=True):
        if photo.usable:
            of_entry.setdefault(row.particulars.id, []).append((row, photo))
    best = {entry: max(pairs, key=lambda pair: pair[1].value) for entry, pairs in of_entry.items()}
    grouped = [photo for pairs in of_entry.values() for _, photo in pairs]
    templates = np.frombuffer(b"".join(photo.template for photo in grouped), np.float32)
    counts = [len(pairs) for pairs in of_entry.values()]
    pictures = {entry: photo for entry, (_, photo) in best.items()}
    return References(
        engine_set=engine_set,
        contract=contract,
        # Source and date are those of the photo that officers will see.
        entries=tuple(row.particulars for row, _ in best.values()),
        templates=templates.reshape(len(grouped), -1),
        entry_of_template=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        picture=lambda entry: pictures[entry].picture_jpeg,
    )


def unusable(rows: Sequence[Row], photos: Sequence[Photo]) -> list[Problem]:
    """A problem for each refused photo of an entry that has no other that can be used."""
    served = {row.particulars.id for row, photo in zip(rows, photos, strict=True) if photo.usable}
    return [
        Problem(row.line, f"{row.particulars.id} ({row.photo.name})", photo.findings[0].what, photo.findings[0].fix)
        for row, photo in zip(rows, photos, strict=True)
        if row.particulars.id not in served
    ]
