"""Photo files: whatever lies in them is read upright and small, or refused in words."""

import contextlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from lfr_edge.adapters.photos import read_photo
from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.locking import FakeMemoryLock
from lfr_edge.biometrics.retention import TEMPLATES
from lfr_edge.errors import Reason, UntrustedInputError


@pytest.fixture
def arena() -> Iterator[Arena]:
    """An arena that must have everything back at the end of the test."""
    arena = Arena(8 << 20, memory_lock=FakeMemoryLock(allow=False))
    yield arena
    assert arena.leased_bytes == 0


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_photo_lying_on_its_side_is_read_upright(tmp_path: Path, arena: Arena, suffix: str) -> None:
    # Stored rotated, with the EXIF note that says so: red at the top, blue at the bottom once upright.
    stored = Pillow.new("RGB", (100, 60), (255, 0, 0))
    stored.paste((0, 0, 255), (50, 0, 100, 60))
    exif = Pillow.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to show
    path = tmp_path / f"photo.{suffix}"
    stored.save(path, exif=exif)
    image = read_photo(path, arena, TEMPLATES)
    assert (image.width_px, image.height_px) == (60, 100)
    blue, _, red = image.pixels[10, 30].tolist()
    assert (red > 200, blue < 50) == (True, True)
    blue, _, red = image.pixels[90, 30].tolist()
    assert (red < 50, blue > 200) == (True, True)
    image.release()


def test_a_large_photo_is_read_at_640_px(tmp_path: Path, arena: Arena) -> None:
    Pillow.new("RGB", (3000, 2000)).save(tmp_path / "large.jpg")
    image = read_photo(tmp_path / "large.jpg", arena, TEMPLATES)
    assert (image.width_px, image.height_px) == (640, 427)
    image.release()


def test_a_decompression_bomb_is_refused_unread(tmp_path: Path, arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (3000, 6000):  # Pillow warns above its limit and refuses above twice of it
        monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", limit)
        Pillow.new("L", (100, 80)).save(tmp_path / "bomb.png")
        with pytest.raises(UntrustedInputError, match="too many pixels") as refused:
            read_photo(tmp_path / "bomb.png", arena, TEMPLATES)
        assert refused.value.reason is Reason.SAMPLE_UNUSABLE


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    random = np.random.default_rng(3).integers(0, 255, (24, 24, 3), np.uint8)
    made = {}
    for form in ("JPEG", "PNG", "WEBP"):
        exif = Pillow.Exif()
        exif[0x0112] = 3
        file = BytesIO()
        Pillow.fromarray(random).save(file, form, exif=exif)
        made[form] = file.getvalue()
    return made


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.data())
def test_a_damaged_photo_is_read_or_refused(
    pictures: dict[str, bytes], tmp_path: Path, arena: Arena, form: str, data: st.DataObject
) -> None:
    damaged = bytearray(pictures[form])
    for _ in range(data.draw(st.integers(0, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with contextlib.suppress(UntrustedInputError):
        read_photo(path, arena, TEMPLATES).release()
