"""Enrolment: what cannot be used is named, what can is kept, and nothing is left in the arena."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from lfr_edge.adapters.photos import read_photo
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import TEMPLATES
from lfr_edge.office.enrol import enrol, find_look_alikes
from lfr_edge.office.listing import Row
from lfr_edge.office.photos import reference_picture
from lfr_edge.vision.geometry import Box
from lfr_edge.watchlist.entries import Particulars

Photo = Callable[..., str]
# What each kind of photo says when it is refused.
UNUSABLE = {
    "none": ({"faces": 0}, "no face was found; give a photo that shows the face"),
    "two": ({"faces": 2}, "2 faces were found (120x55, 120x55 px); crop it to the one person"),
    "small": ({"inter_eye_px": 23}, "the face is too small (23 px between the eyes"),
    "unmeasured": ({"who": 0}, "the face could not be measured"),
}


def rows_of(photos: Path, *names: str) -> list[Row]:
    return [
        Row(
            line,
            Particulars.model_validate_strings(
                {
                    "id": f"E-{name.partition('.')[0]}",
                    "category": "wanted",
                    "response": "red",
                    "legal_basis": "PACE s.64A",
                    "source": "custody",
                    "captured": "2025-03-01",
                }
            ),
            photos / name,
        )
        for line, name in enumerate(names, start=2)
    ]


def test_every_photo_becomes_a_template_of_length_one_and_a_small_picture(
    photos: Path, photo: Photo, extractor: Any, arena: Arena
) -> None:
    names = [photo(f"{who}.png", who=who) for who in (2, 4, 6)]
    with enrol(rows_of(photos, *names), extractor, arena) as result:
        assert not result.problems
        assert not result.look_alikes
        assert [person.particulars.id for person in result.enrolled] == ["E-2", "E-4", "E-6"]
        assert np.allclose(np.linalg.norm(result.templates.array, axis=1), 1, atol=1e-6)
        for person in result.enrolled:
            assert person.quality.inter_eye_px == 60
            assert max(Pillow.open(BytesIO(person.picture_jpeg)).size) <= 320
    assert extractor.forgotten == 1
    assert arena.leased_bytes == 0


def test_all_unusable_photos_are_named_in_one_run(photos: Path, photo: Photo, extractor: Any, arena: Arena) -> None:
    names = [photo("good.png"), *(photo(f"{name}.png", **kind) for name, (kind, _) in UNUSABLE.items())]
    (photos / "text.png").write_text("not a picture", "utf-8")
    (photos / "empty.png").write_bytes(b"")
    with enrol(rows_of(photos, *names, "text.png", "empty.png"), extractor, arena) as result:
        shown = [str(problem) for problem in result.problems]
        assert [person.particulars.id for person in result.enrolled] == ["E-good"]
    for line, (name, (_, complaint)) in enumerate(UNUSABLE.items(), start=3):
        assert shown[line - 3].startswith(f"line {line}: E-{name} ({name}.png): {complaint}")
    assert "not a JPEG, PNG or WebP picture" in shown[-2]
    assert "not a JPEG, PNG or WebP picture" in shown[-1]
    assert len(shown) == 6
    assert arena.leased_bytes == 0


def test_two_photos_under_one_id_are_never_enrolled(photos: Path, photo: Photo, extractor: Any, arena: Arena) -> None:
    first, second = rows_of(photos, photo("a.png"), photo("b.png", who=4))
    with enrol([first, replace(second, particulars=first.particulars)], extractor, arena) as result:
        assert [str(problem) for problem in result.problems] == [
            "line 3: E-a: line 2 has the same id; give each person one line"
        ]


def test_an_engine_that_fails_leaves_nothing_leased(photos: Path, photo: Photo, extractor: Any, arena: Arena) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken engine")

    extractor.embed = broken
    with pytest.raises(RuntimeError, match="broken engine"):
        enrol(rows_of(photos, photo("a.png")), extractor, arena)
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_twins_are_look_alikes(photos: Path, photo: Photo, extractor: Any, arena: Arena) -> None:
    names = [photo(f"{who}.png", who=who) for who in (8, 2, 9, 4)]
    with enrol(rows_of(photos, *names), extractor, arena) as result:
        (pair,) = result.look_alikes
    assert (pair.first, pair.second) == ("E-8", "E-9")
    assert 0.9 < pair.score < 1


def test_look_alikes_equal_brute_force_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfr_edge.office.enrol._BLOCK", 7)
    rows = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = [str(number) for number in range(len(rows))]
    expected = {
        (str(i), str(j)) for i in range(len(rows)) for j in range(i + 1, len(rows)) if float(rows[i] @ rows[j]) >= 0.6
    }
    found = find_look_alikes(ids, rows, 0.6)
    assert {(pair.first, pair.second) for pair in found} == expected
    assert len(expected) > 5
    assert [pair.score for pair in found] == sorted((pair.score for pair in found), reverse=True)


def test_the_reference_picture_is_the_face_with_a_margin(tmp_path: Path, arena: Arena) -> None:
    picture = Pillow.new("RGB", (200, 200), (0, 0, 255))
    picture.paste((255, 0, 0), (80, 80, 120, 120))
    picture.save(tmp_path / "face.png")
    image = read_photo(tmp_path / "face.png", arena, TEMPLATES)
    crop = Pillow.open(BytesIO(reference_picture(image, Box(80, 80, 120, 120))))
    at_the_edge = Pillow.open(BytesIO(reference_picture(image, Box(-10, 150, 60, 230))))
    image.release()
    assert crop.format == "JPEG"
    assert crop.size == (68, 68)
    red, _, blue = crop.getpixel((34, 34))
    assert (red > 200, blue < 50) == (True, True)
    assert at_the_edge.size == (84, 78)
