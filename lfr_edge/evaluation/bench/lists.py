"""Watchlists of any length: real entries, and nobody behind them.

The filler are random directions. They cost a search what people cost it, and resemble nobody (with 128 values, scores
have a spread of .09): they say nothing about false alerts.
"""

from collections.abc import Sequence
from datetime import date
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.retention import TEMPLATES
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.pictures import write_pictures
from lfr_edge.watchlist.references import Watchlist

_SEED = 10_000
_BLOCK = 1 << 16


def fill_with_nobody(templates: NDArray[np.float32]) -> None:
    """Random directions into every row of `templates` (N, D); the same ones each time."""
    random = np.random.default_rng(_SEED)
    for start in range(0, len(templates), _BLOCK):
        rows = templates[start : start + _BLOCK]
        rows[:] = random.standard_normal(rows.shape, dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)


def long_list(
    people: Sequence[tuple[str, NDArray[np.float32], bytes]], size: int, arena: Arena, pictures: BinaryIO
) -> Watchlist:
    """A list of `size`: first the people (id, template, JPEG), whose pictures are sealed into `pictures`, then filler.

    Owns its lease: `wipe` it.
    """
    members = write_pictures(pictures, ((person, jpeg) for person, _, jpeg in people))
    pictures.flush()
    (dimension,) = people[0][1].shape
    lease = arena.lease(TEMPLATES, (size, dimension), np.float32)
    _write_templates([template for _, template, _ in people], lease)
    entries = [_entry(person, members[person]) for person, _, _ in people]
    unopened = next(iter(members.values()))  # nobody matches the filler
    entries += [_entry(f"nobody-{number}", unopened) for number in range(len(people), size)]
    return Watchlist(tuple(entries), lease, np.arange(size, dtype=np.int32))


def list_of_nobody(templates: Lease) -> Watchlist:
    """Filler only, over templates (N, D) that are there already and stay the caller's."""
    (size, _) = templates.array.shape
    unopened = PictureMember(offset=0, length=1, key="0" * 64)
    entries = tuple(_entry(f"nobody-{number}", unopened) for number in range(size))
    return Watchlist(entries, templates, np.arange(size, dtype=np.int32))


def _write_templates(people: Sequence[NDArray[np.float32]], lease: Lease) -> None:
    np.stack(people, out=lease.array[: len(people)])
    fill_with_nobody(lease.array[len(people) :])


def _entry(entry: str, picture: PictureMember) -> Entry:
    # Not validated: a million of them would take longer than what is measured.
    return Entry.model_construct(
        id=entry,
        category="benchmark",
        response="green",
        legal_basis="none needed: nobody real",
        rationale=None,
        source="rendered",
        captured=date(2000, 1, 1),
        expires=None,
        picture=picture,
    )
