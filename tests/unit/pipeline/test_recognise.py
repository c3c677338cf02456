"""One picture in, sealed alerts out, everything else wiped."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from lfr_edge.biometrics.arena import Arena, EscapedViewError
from lfr_edge.biometrics.image import Rows
from lfr_edge.pipeline.recognise import FACES_PER_STEP, View
from lfr_edge.vision.masking import GREY

# `street` and `person` are the conftest's Street and Person: importlib mode has no name to import them by.
Street = Any
Person = Any


def test_a_listed_person_alerts_once_when_confirmed(street: Street, person: Person) -> None:
    # Seen twice before it is a track, then compared twice: the order's confirmation.
    assert [street.see(person("ann")) for _ in range(30)] == [[], [], ["ann"], *[[]] * 27]
    (match,) = street.sealer.matches
    assert (match.faces, match.camera, match.candidate.score) == (2, "north", pytest.approx(1.0))
    assert match.runner_up is not None
    assert match.runner_up.score == pytest.approx(0.0)


def test_an_alert_is_dated_by_its_picture(street: Street, person: Person) -> None:
    for _ in range(3):
        street.see(person("ann"))
    assert street.sealer.matches[0].captured_at == street.clock.utc()


def test_of_several_faces_each_listed_one_alerts_and_the_others_do_not(street: Street, person: Person) -> None:
    people = person("ann", 20), person("stranger", 120), person("bob", 220)
    alerted = [street.see(*people) for _ in range(20)]
    assert sorted(alerted[2]) == ["ann", "bob"]
    assert sum(map(len, alerted)) == 2


def test_a_step_embeds_few_faces_and_who_was_left_out_comes_next(street: Street, person: Person) -> None:
    crowd = [person(f"p{number}", 5 + 52 * number) for number in range(6)]
    for _ in range(3):
        street.see(*crowd)
    first, second = street.extractor.embedded[:2]
    assert len(first) == len(second) == FACES_PER_STEP
    assert set(second[:2]) == {face.who for face in crowd} - set(first)


def test_who_has_waited_longest_is_never_passed_over(street: Street, person: Person) -> None:
    crowd = [person(f"p{number}", 5 + 52 * number) for number in range(6)]
    for _ in range(50):
        street.see(*crowd)
    embedded = [name for names in street.extractor.embedded for name in names]
    counts = [embedded.count(face.who) for face in crowd]
    assert max(counts) - min(counts) <= 1


def test_a_face_under_the_cameras_minimum_is_not_compared_and_not_remembered(street: Street, person: Person) -> None:
    for _ in range(10):
        assert street.see(person("ann", inter_eye_px=19.9)) == []
    assert street.extractor.embedded == []
    assert street.held == []
    assert street.recogniser.counts.detections == 10
    for _ in range(2):
        street.see(person("ann", inter_eye_px=20.0))
    assert len(street.sealer.matches) == 1


def test_only_faces_inside_the_zone_are_followed(
    arena: Arena, street_with: Callable[..., Street], person: Person
) -> None:
    right_half = View(zone=((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)))
    street = street_with(arena, north=right_half)
    alerted = {who for _ in range(20) for who in street.see(person("ann", 20), person("bob", 220))}
    assert alerted == {"bob"}
    assert street.recogniser.counts.tracks == 1
    street.see(person("ann", 20), camera="south")
    assert [street.see(person("ann", 20), camera="south") for _ in range(3)][-2:] != [[], []]


@pytest.mark.parametrize(
    ("zone", "rows"),
    [
        (((0.0, 0.5), (1.0, 0.5), (1.0, 1.0)), Rows(224, 736)),
        (((0.0, 0.0), (1.0, 0.0), (1.0, 0.25)), Rows(0, 288)),
        (((0.4, 0.4), (0.6, 0.4), (0.5, 0.5)), Rows(160, 480)),
        ((), Rows(0, 736)),
    ],
)
def test_faces_are_sought_in_the_rows_of_the_zone_and_around_it(zone: Any, rows: Rows) -> None:
    assert View(zone=zone).rows(720) == rows


def test_a_step_seeks_in_its_cameras_rows(arena: Arena, street_with: Callable[..., Street]) -> None:
    street = street_with(arena, north=View(zone=((0.0, 0.8), (1.0, 0.8), (1.0, 1.0))))
    street.see(camera="north")
    street.see(camera="south")
    assert street.extractor.rows == [Rows(160, 256), Rows(0, 256)]
    street.recogniser.prepare("north", 320, 256)
    assert street.extractor.prepared == [(Rows(160, 256), False)]


def test_what_was_not_searched_is_grey_in_an_alerts_context(
    arena: Arena, street_with: Callable[..., Street], person: Person
) -> None:
    """A face there is nobody's: it was not found, so it could not be covered."""
    street = street_with(arena, north=View(zone=((0.0, 0.3), (1.0, 0.3), (1.0, 0.5))))
    for _ in range(3):
        street.see(person("ann"))
    (context,) = street.sealer.contexts
    assert street.extractor.rows[-1] == Rows(32, 192)
    assert np.all(context[:32] == GREY)
    assert np.all(context[192:] == GREY)
    assert not np.all(context[32:192] == GREY)


def test_who_has_matched_is_embedded_once_a_second(street: Street, person: Person) -> None:
    for _ in range(100):
        street.see(person("ann"))
    assert len(street.extractor.embedded) == 2 + 98 // 24


def test_who_takes_the_place_of_somebody_who_has_matched_alerts(street: Street, person: Person) -> None:
    alerts = [street.see(person("ann" if picture < 10 else "bob")) for picture in range(60)]
    assert [alert for alert in alerts if alert] == [["ann"], ["bob"]]
    assert street.recogniser.counts.tracks == 2


def test_two_people_who_look_like_one_track_are_not_fused(street: Street, person: Person) -> None:
    """A passer-by's faces would pull Ann's probe under the threshold, or Ann's would lift theirs."""
    for _ in range(10):
        street.see(person("somebody"))
    for _ in range(30):
        street.see(person("ann", confidence=0.85))
    assert [match.candidate.score for match in street.sealer.matches] == [pytest.approx(1.0)]


def test_one_unlike_face_is_left_out_and_ends_nothing(street: Street, person: Person) -> None:
    street.see(person("ann", likeness=0.6))
    street.see(person("ann", likeness=0.6))
    street.see(person("bob", confidence=0.8))
    for _ in range(10):
        street.see(person("ann", likeness=0.6))
    assert [match.candidate.entry.id for match in street.sealer.matches] == ["ann"]
    assert [match.candidate.score for match in street.sealer.matches] == [pytest.approx(0.6)]
    assert street.recogniser.counts.tracks == 1


def test_a_better_face_unlike_all_before_it_starts_its_track_over(street: Street, person: Person) -> None:
    """From afar a face may look like anybody's; near, nothing of that may stay in the probe."""
    for _ in range(6):
        street.see(person("somebody", confidence=0.5))
    alerts = [street.see(person("ann")) for _ in range(5)]
    assert [alert for alert in alerts if alert] == [["ann"]]
    assert street.sealer.matches[0].candidate.score == pytest.approx(1.0)
    assert street.sealer.matches[0].faces == 2
    assert street.recogniser.counts.tracks == 1


def embedded_in(street: Street, people: Sequence[Person]) -> list[int]:
    """In which of these pictures the one person was embedded, from the first of them."""
    pictures = []
    for picture, seen in enumerate(people):
        before = len(street.extractor.embedded)
        street.see(seen)
        if len(street.extractor.embedded) > before:
            pictures.append(picture)
    return [picture - pictures[0] for picture in pictures]


def test_who_is_far_from_everybody_is_embedded_less_and_less_often(street: Street, person: Person) -> None:
    # With n faces fused, n more would have to be perfect to reach .5: rests of n times three pictures, up to 24.
    pictures = embedded_in(street, [person("stranger")] * 140)
    assert pictures == [0, 1, 7, 16, 28, 43, 61, 82, 106, 130]


def test_who_is_doubtful_is_pursued(street: Street, person: Person) -> None:
    for likeness in (0.49, 0.4):
        street.see(after_s=2)
        pictures = embedded_in(street, [person("ann", likeness=likeness)] * 16)
        assert pictures[:5] == [0, 1, 4, 7, 10], "every third picture: 120 ms at 25 fps"


def test_who_has_come_clearly_nearer_is_embedded_at_once(street: Street, person: Person) -> None:
    far = person("ann", inter_eye_px=20, likeness=0.1)
    embedded_in(street, [far] * 40)
    street.see(person("ann", inter_eye_px=22, likeness=0.1))
    before = len(street.extractor.embedded)
    street.see(person("ann", inter_eye_px=22, likeness=0.1))
    assert len(street.extractor.embedded) == before
    street.see(person("ann", inter_eye_px=40))
    assert len(street.extractor.embedded) == before + 1


def test_who_looked_like_nobody_from_afar_alerts_when_near(street: Street, person: Person) -> None:
    for _ in range(50):
        assert street.see(person("ann", inter_eye_px=20, confidence=0.7, likeness=0.2)) == []
    alerted = [street.see(person("ann", inter_eye_px=45, confidence=0.9, likeness=0.7)) for _ in range(25)]
    assert ["ann"] in alerted


def test_two_cameras_do_not_share_tracks(street: Street, person: Person) -> None:
    for camera in ("north", "south"):
        for _ in range(2):
            assert street.see(person("ann"), camera=camera) == []
    assert street.recogniser.tracks_in_view == 2
    assert street.see(person("ann"), camera="south") == ["ann"]
    assert street.sealer.matches[0].camera == "south"


def test_a_person_out_of_view_is_forgotten_even_when_the_camera_is_silent(street: Street, person: Person) -> None:
    for _ in range(2):
        street.see(person("stranger"))
    assert street.held == ["track", "track"]
    street.see(camera="south", after_s=0.9)
    assert street.recogniser.tracks_in_view == 1
    street.see(camera="south", after_s=0.2)
    assert (street.recogniser.tracks_in_view, street.held) == (0, [])


def test_nobody_is_followed_for_longer_than_ten_seconds(street: Street, person: Person) -> None:
    for _ in range(10 * 25):
        street.see(person("stranger"))
    assert street.recogniser.counts.tracks == 1
    for _ in range(5):
        street.see(person("stranger"))
    assert street.recogniser.counts.tracks == 2, "the same person is somebody new"
    assert street.recogniser.tracks_in_view == 1


def test_idle_ends_tracks_and_makes_the_engines_forget_once(street: Street, person: Person) -> None:
    for _ in range(2):
        street.see(person("stranger"))
    street.clock.advance(1.1)
    for _ in range(3):
        street.recogniser.idle(street.clock.monotonic_ns())
    assert street.held == []
    assert street.extractor.calls == ["forget"]
    street.see()
    street.recogniser.idle(street.clock.monotonic_ns())
    assert street.extractor.calls == ["forget", "forget"]


def test_the_engines_forget_what_remains_every_second_whoever_is_in_view(street: Street, person: Person) -> None:
    street.see(person("stranger", 20), person("somebody who stays", 220))
    for _ in range(25):
        street.see(person("somebody who stays", 220))
    assert street.extractor.calls == ["forget remains"]
    for _ in range(50):
        street.see(person("somebody who stays", 220))
    assert street.extractor.calls == ["forget remains"] * 2


def test_an_entry_that_alerted_is_held_back_for_the_cool_down(
    arena: Arena, street_with: Callable[..., Street], person: Person
) -> None:
    street = street_with(arena, cooldown=timedelta(seconds=10))

    def walk_past() -> list[str]:
        return [alerted for _ in range(4) for alerted in street.see(person("ann"))]

    assert walk_past() == ["ann"]
    street.see(after_s=2.0)
    assert walk_past() == []
    street.see(after_s=8.0)
    assert walk_past() == ["ann"]
    counts = street.recogniser.counts
    assert (counts.matches, counts.alerts, counts.tracks) == (3, 2, 3)


def test_each_walk_of_a_volunteer_past_each_camera_is_a_test_pass_and_no_alert(
    arena: Arena, street_with: Callable[..., Street], person: Person
) -> None:
    street = street_with(arena, cooldown=timedelta(seconds=300), volunteers=["ann"])
    alerted = []
    for _ in range(3):
        for camera in ["north"] * 4 + ["south"] * 4:
            alerted += street.see(person("ann"), person("bob", 200), camera=camera)
        street.see(after_s=2.0)
    assert alerted == ["bob"], "held back for the cool-down from then on"
    passes = [(match.candidate.entry.id, match.camera) for match in street.sealer.passes]
    assert passes == [("ann", "north"), ("ann", "south")] * 3
    counts = street.recogniser.counts
    assert (counts.test_passes, counts.alerts) == (6, 1)


def test_a_volunteer_is_recognised_at_the_very_picture_at_which_anybody_would_be(
    arena: Arena, street_with: Callable[..., Street], person: Person
) -> None:
    """What is measured is the rule for everybody: confirmation, margin, threshold, one match a track."""
    as_wanted, as_volunteer = street_with(arena), street_with(arena, volunteers=["ann"])
    for street in (as_wanted, as_volunteer):
        for _ in range(20):
            street.see(person("ann"), person("stranger", 150))
    ((wanted,), (volunteer,)) = as_wanted.sealer.matches, as_volunteer.sealer.passes
    assert volunteer.captured_at == wanted.captured_at
    assert (volunteer.faces, volunteer.candidate.score) == (wanted.faces, wanted.candidate.score)
    assert as_volunteer.extractor.embedded == as_wanted.extractor.embedded
    counts = as_wanted.recogniser.counts
    assert replace(counts, alerts=0, test_passes=1) == as_volunteer.recogniser.counts


def test_no_picture_of_a_volunteer_leaves_the_pipeline(
    arena: Arena, street_with: Callable[..., Street], person: Person
) -> None:
    street = street_with(arena, volunteers=["ann"])
    for _ in range(4):
        assert street.see(person("ann")) == []
    assert len(street.sealer.passes) == 1
    assert street.sealer.samples == street.sealer.contexts == []
    assert set(street.held) == {"track"}
    street.see(after_s=2.0)
    assert street.held == []


def test_a_step_leaves_nothing_leased_but_tracks(street: Street, person: Person) -> None:
    for _ in range(2):
        street.see(person("stranger"), person("other", 150))
    assert street.held == ["track"] * 4, "features and best sample of two people"
    street.see(person("ann", 250))
    assert set(street.held) == {"track"}


@pytest.mark.parametrize("fault", [ValueError("a fault"), KeyboardInterrupt()])
def test_a_fault_in_a_step_leaves_nothing_leased_but_tracks(
    street: Street, person: Person, fault: BaseException
) -> None:
    street.see(person("stranger"))
    street.extractor.fault = fault
    with pytest.raises(type(fault)):
        street.see(person("stranger"))
    assert set(street.held) <= {"track"}
    street.recogniser.close()
    assert street.held == []


def test_close_wipes_the_tracks_before_the_engines_go(street: Street, person: Person) -> None:
    for _ in range(2):
        street.see(person("stranger"))
    street.recogniser.close()
    assert street.extractor.calls == ["close while holding templates"]
    street.listed.wipe()
    assert street.arena.leased_bytes == 0
    assert not np.frombuffer(street.arena._map, np.uint8).any()


def test_whoever_keeps_a_view_of_one_track_keeps_nothing_else_alive(street: Street, person: Person) -> None:
    for _ in range(2):
        street.see(person("stranger"), person("other", 150))
    for track in street.recogniser._tracks.values():
        kept = track._features.array
        break
    with pytest.raises(EscapedViewError):
        street.recogniser.close()
    assert street.extractor.calls[-1].startswith("close")
    assert street.held == []
    assert not kept.any()


def test_the_sample_is_the_best_face_so_far(arena: Arena, street_with: Callable[..., Street], person: Person) -> None:
    street = street_with(arena, confirmation=3)
    for left, confidence in ((40, 0.5), (42, 0.5), (44, 0.9), (46, 0.6)):
        street.see(person("ann", left, confidence=confidence))
    (sample,) = street.sealer.samples
    assert sample.shape == (50, 40, 3)
    assert (sample[0, :, 0] == np.arange(44, 84)).all()


def test_in_sample_and_context_only_the_matched_person_can_be_seen(street: Street, person: Person) -> None:
    for _ in range(3):
        street.see(person("ann", 40), person("stranger", 70))
    ((sample,), (context,)) = street.sealer.samples, street.sealer.contexts
    assert (sample[:, :26, 0] == np.arange(40, 66)).all()
    assert (sample[:, 30:] == GREY).all(), "the stranger stands half in front"
    assert (context[62:108, 41:66, 0] == np.arange(41, 66)).all()
    original = np.arange(320) % 251
    assert (context[60:110, 81:, 0] == original[81:]).mean() < 0.05


def test_counts_add_up(street: Street, person: Person) -> None:
    for _ in range(4):
        street.see(person("ann", 20), person("stranger", 220))
    counts = street.recogniser.counts
    assert (counts.frames, counts.detections, counts.tracks, counts.matches, counts.alerts) == (4, 8, 2, 1, 1)
    assert counts.embeddings == sum(map(len, street.extractor.embedded))
