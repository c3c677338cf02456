"""Pictures of other sizes and at other rates than the last ones: recognition goes on."""

from typing import Any

import pytest

from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import FRAME
from lfr_edge.pipeline.frame_source import Frame

# `street` and `person` are the conftest's Street and Person: importlib mode has no name to import them by.
Street = Any
Person = Any


@pytest.mark.parametrize("size_px", [(640, 480), (240, 320), (160, 128)], ids=["larger", "turned", "smaller"])
def test_a_size_that_changes_mid_stream_does_not_stop_a_recognition(
    street: Street, person: Person, monkeypatch: pytest.MonkeyPatch, size_px: tuple[int, int]
) -> None:
    assert [street.see(person("ann")), street.see(person("ann"))] == [[], []]

    def resized(camera: str = "north") -> Frame:
        image = Image.blank(street.arena, FRAME, *size_px)
        return Frame(camera, next(street.sequence), street.clock.monotonic_ns(), street.clock.utc(), image)

    monkeypatch.setattr(street, "frame", resized)
    assert street.see(person("ann")) == ["ann"]
    assert street.sealer.contexts[0].shape == (size_px[1], size_px[0], 3)
    assert street.recogniser.counts.tracks == 1
    monkeypatch.undo()
    assert street.see(person("ann")) == []
    assert street.recogniser.counts.frames == 4
    assert set(street.held) == {"track"}


@pytest.mark.parametrize("fps", [5, 25, 60])
def test_a_person_walking_past_alerts_once_at_any_rate(street: Street, person: Person, fps: int) -> None:
    walk = [person("ann", left=round(20 + 80 * number / fps)) for number in range(3 * fps)]
    alerted = [who for step in walk for who in street.see(step, after_s=1 / fps)]
    assert alerted == ["ann"]
    assert street.recogniser.counts.tracks == 1
