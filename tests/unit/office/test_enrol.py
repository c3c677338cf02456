"""Enrolment: what cannot be used is named, what can is kept, and nothing is left in the arena."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from lfr_edge.adapters.photos import read_photo
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.retention import TEMPLATES
from lfr_edge.errors import ConfigError
from lfr_edge.office.assess import Verdict
from lfr_edge.office.enrol import Photo, measure_photos
from lfr_edge.office.listing import Row
from lfr_edge.office.photos import reference_picture
from lfr_edge.office.references import References, gather, unusable
from lfr_edge.vision.geometry import Box
from lfr_edge.watchlist.entries import Particulars

MakePhoto = Callable[..., str]
# What each kind of photo says when it is refused.
UNUSABLE = {
    "none": ({"faces": 0}, "no face was found; give a photo that shows the face"),
    "two": ({"faces": 2}, "2 faces were found (120x55, 120x55 px); crop it to the one person"),
    "small": ({"inter_eye_px": 23}, "the face is too small (23 px between the eyes"),
    "unmeasured": ({"who": 0}, "the face could not be measured"),
}


ONE = Particulars(
    id="E-one",
    category="wanted",
    response="red",
    legal_basis="PACE s.64A",
    source="custody",
    captured=date(2025, 3, 1),
)


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


def measured(photos: Path, names: Sequence[str], extractor: Any, arena: Arena) -> list[Photo]:
    return list(measure_photos([photos / name for name in names], extractor, arena))


def gathered(rows: list[Row], found: list[Photo]) -> References:
    return gather(rows, found, engine_set="set", contract="0" * 64)


def test_every_photo_becomes_a_template_of_length_one_and_a_small_picture(
    photos: Path, photo: MakePhoto, extractor: Any, arena: Arena
) -> None:
    names = [photo(f"{who}.png", who=who) for who in range(2, 22, 2)]  # more than are read ahead
    found = measured(photos, names, extractor, arena)
    assert [one.verdict for one in found] == [Verdict.ACCEPT] * 10
    references = gathered(rows_of(photos, *names), found)
    assert [entry.id for entry in references.entries] == [f"E-{name[:-4]}" for name in names]
    assert np.allclose(np.linalg.norm(references.templates, axis=1), 1, atol=1e-6)
    assert len({template.data.tobytes() for template in references.templates}) == 10
    for entry in references.entries:
        assert max(Pillow.open(BytesIO(references.picture(entry.id))).size) <= 320
    assert extractor.forgotten == 1
    assert arena.leased_bytes == 0


def test_all_unusable_photos_are_named_in_one_run(photos: Path, photo: MakePhoto, extractor: Any, arena: Arena) -> None:
    names = [photo("good.png"), *(photo(f"{name}.png", **kind) for name, (kind, _) in UNUSABLE.items())]
    (photos / "text.png").write_text("not a picture", "utf-8")
    (photos / "empty.png").write_bytes(b"")
    names += ["text.png", "empty.png", "gone.png"]
    rows = rows_of(photos, *names)
    found = measured(photos, names, extractor, arena)
    assert [one.usable for one in found] == [True] + [False] * 7
    assert not any(one.template for one in found[1:])
    shown = [str(problem) for problem in unusable(rows, found)]
    for line, (name, (_, complaint)) in enumerate(UNUSABLE.items(), start=3):
        assert shown[line - 3].startswith(f"line {line}: E-{name} ({name}.png): {complaint}")
    assert "not a JPEG, PNG or WebP picture" in shown[-3]
    assert "not a JPEG, PNG or WebP picture" in shown[-2]
    assert "it cannot be read" in shown[-1]
    assert len(shown) == 7
    with pytest.raises(ConfigError, match="E-none"):
        gathered(rows, found)
    assert arena.leased_bytes == 0


def test_several_photos_of_one_entry_are_its_templates_and_a_refused_one_is_left_out(
    photos: Path, photo: MakePhoto, extractor: Any, arena: Arena
) -> None:
    names = [photo("a.png", who=2, inter_eye_px=50), photo("b.png", who=3, inter_eye_px=90), photo("c.png", faces=0)]
    other = photo("d.png", who=6)
    rows = [
        replace(row, particulars=ONE.model_copy(update={"source": row.photo.name})) for row in rows_of(photos, *names)
    ]
    rows += rows_of(photos, other)
    found = measured(photos, [*names, other], extractor, arena)
    assert unusable(rows, found) == []
    references = gathered(rows, found)
    assert [entry.id for entry in references.entries] == ["E-one", "E-d"]
    assert references.entry_of_template.tolist() == [0, 0, 1]
    assert references.entries[0].source == "b.png", "source and date are those of the best photo"
    assert references.picture("E-one") == found[1].picture_jpeg


def test_an_engine_that_fails_leaves_nothing_leased(
    photos: Path, photo: MakePhoto, extractor: Any, arena: Arena
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken engine")

    extractor.embed = broken
    names = [photo(f"{who}.png", who=who) for who in range(2, 22, 2)]
    with pytest.raises(RuntimeError, match="broken engine"):
        measured(photos, names, extractor, arena)
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_whoever_stops_early_leaves_nothing_leased(
    photos: Path, photo: MakePhoto, extractor: Any, arena: Arena
) -> None:
    names = [photo(f"{who}.png", who=who) for who in range(2, 22, 2)]
    running = measure_photos([photos / name for name in names], extractor, arena)
    next(running)
    running.close()
    assert arena.leased_bytes == 0


def test_a_photo_that_lies_on_its_side_is_turned_by_its_exif_note(photos: Path, extractor: Any, arena: Arena) -> None:
    upright = Pillow.new("RGB", (160, 120), (0, 0, 0))
    upright.paste((1, 60, 4), (0, 0, 16, 16))  # one face, 60 px, at the top left
    note = Pillow.Exif()
    note[0x0112] = 6  # turn by 90 degrees to the right
    upright.transpose(Pillow.Transpose.ROTATE_90).save(photos / "lying.png", exif=note)
    (found,) = measured(photos, ["lying.png"], extractor, arena)
    assert found.usable


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


def test_what_is_measured_is_what_the_digest_is_of(
    photos: Path, photo: MakePhoto, extractor: Any, arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody puts another picture there while the photo is decoded."""
    path = photos / photo("one.png", who=2)
    before = path.read_bytes()

    def replaced(source: Any, *arguments: Any) -> Any:
        photo("one.png", who=4)
        return read_photo(source, *arguments)

    monkeypatch.setattr("lfr_edge.office.enrol.read_photo", replaced)
    (measured,) = measure_photos([path], extractor, arena)
    assert path.read_bytes() != before
    assert measured.sha256 == sha256(before).hexdigest()
    monkeypatch.undo()
    path.write_bytes(before)
    (undisturbed,) = measure_photos([path], extractor, arena)
    assert measured.template == undisturbed.template
