"""Enrolling, comparing and closing, with faces that a fake extractor reads out of plain colours."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from support.clerk import ORDER, Clerk

from lfr_edge.cli.main import main
from lfr_edge.office import workspace


def test_enrolling_again_measures_only_what_is_new_and_logs_what_changed(
    clerk: Clerk, photo: Callable[..., str], measured: list[int]
) -> None:
    assert clerk.enrol() == 0
    assert sum(measured) == 3
    assert clerk.enrol() == 0
    assert sum(measured) == 3
    photo("8.png", who=8)
    path = clerk.write_list("E-2,2.png", "E-2,8.png", "E-4,4.png")
    path.write_text(path.read_text().replace("4.png,wanted on warrant", "4.png,missing and vulnerable"), "utf-8")
    assert clerk.enrol() == 0
    assert sum(measured) == 4
    assert [event.entry for event in clerk.events("entry-removed")] == ["E-6"]
    altered = {event.entry: event.fields for event in clerk.events("entry-altered")}
    assert altered == {"E-2": ("photo",), "E-4": ("category",)}
    first, _, last = clerk.events("enrolled")
    assert (first.entries, first.photos, last.entries, last.photos) == (3, 3, 2, 3)
    assert {(event.by, event.why) for event in clerk.events("enrolled")} == {("person:J. Clerk", "deployment 17")}


def test_an_interrupted_enrolment_goes_on_where_it_was(
    clerk: Clerk, extractor: Any, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = extractor.embed
    seen = []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return embed(*arguments, **named)

    monkeypatch.setattr(extractor, "embed", interrupted)
    assert clerk.enrol() == 130
    assert clerk.seal() == 2, "a list that was not enrolled to its end is not sealed"
    measured.clear()
    assert clerk.enrol() == 0
    assert sum(measured) == 1


def test_a_list_with_a_useless_photo_is_not_enrolled_but_what_was_measured_is_kept(
    clerk: Clerk, photo: Callable[..., str], measured: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    photo("none.png", faces=0)
    clerk.write_list("E-2,2.png", "E-4,none.png")
    assert clerk.enrol("--report", clerk.folder / "report") == 2
    shown = capsys.readouterr()
    assert "line 3: E-4 (none.png): no face was found" in shown.err
    assert "1 problem(s); no list was enrolled" in shown.err
    assert "no face was found" in (clerk.folder / "report" / "report.html").read_text("utf-8")
    assert clerk.events("enrolled") == []
    clerk.write_list("E-2,2.png", "E-4,4.png")
    measured.clear()
    assert clerk.enrol() == 0
    assert sum(measured) == 1


def test_a_photo_from_the_future_is_not_enrolled(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    path = clerk.write_list("E-2,2.png", "E-4,4.png")
    path.write_text(path.read_text("utf-8").replace("2025-03-01", "2026-06-15", 1), "utf-8")
    assert clerk.enrol() == 2
    assert "line 2: E-2 (2.png): captured, 2026-06-15, is in the future" in capsys.readouterr().err
    assert not (clerk.folder / "work").exists()
    clerk.clock.advance(16 * 24 * 3600)
    assert clerk.enrol() == 0


def test_references_are_unreadable_without_the_offices_key_and_gone_after_closing(
    clerk: Clerk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clerk.enrol() == 0
    work = clerk.folder / "work"
    assert work.stat().st_mode & 0o777 == 0o700
    for path in work.glob("*.age"):
        assert path.read_bytes().startswith(b"age-encryption.org/v1\n")
        assert path.stat().st_mode & 0o777 == 0o600
    assert not any(b"E-2" in path.read_bytes() for path in work.iterdir())
    assert clerk.seal() == 0
    capsys.readouterr()
    assert clerk("close", work, "--yes") == 0
    assert "order harbour-2026-06-01: van van-1 still owes its erasure receipt" in capsys.readouterr().out
    assert not work.exists()
    assert clerk("close", work) == 2
    said = capsys.readouterr().err
    assert f"there is no {work}: it was closed before, or it was never made" in said
    assert f"lfr-edge audit show {clerk.folder}/desk/office.log --event workspace-closed" in said
    (closed,) = clerk.events("workspace-closed")
    assert (closed.order, closed.entries, closed.receipts_owed) == ("harbour-2026-06-01", 3, ("van-1",))


def test_an_interrupted_closing_is_completed(clerk: Clerk) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    (clerk.folder / "work" / "key.age").unlink()
    (clerk.folder / "work" / "index.age").unlink()
    assert clerk("close", clerk.folder / "work", "--yes") == 0
    assert [event.order for event in clerk.events("workspace-closed")] == ["harbour-2026-06-01"]
    assert not (clerk.folder / "work").exists()


def test_closing_while_an_orders_window_runs_needs_a_yes(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    later = ORDER.replace("2026-06-01T", "2026-06-20T").replace("harbour", "later")
    assert clerk.seal("--out", clerk.folder / "later.lfrd", order=later) == 0
    clerk.clock.advance(4 * 24 * 3600)
    capsys.readouterr()
    assert clerk("close", clerk.folder / "work") == 2
    said = capsys.readouterr().err
    assert "later-2026-06-01 (until 2026-06-20 17:00 UTC)" in said
    assert "harbour" not in said
    assert (clerk.folder / "work" / "key.age").exists()
    assert clerk("close", clerk.folder / "work", "--yes") == 0
    assert "its window has not ended" in capsys.readouterr().out


def test_closing_when_every_window_is_over_needs_no_yes(clerk: Clerk) -> None:
    assert clerk.enrol() == 0
    assert clerk.seal() == 0
    clerk.clock.advance(4 * 24 * 3600)
    assert clerk("close", clerk.folder / "work") == 0


def test_a_workspace_is_changed_by_one_at_a_time(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk.enrol() == 0
    with workspace.locked(clerk.folder / "work"):
        capsys.readouterr()
        assert clerk.enrol() == 2
        assert clerk("close", clerk.folder / "work", "--yes") == 2
    assert capsys.readouterr().err.count("another process changes") == 2
    assert clerk.enrol() == 0


def test_the_logged_digest_is_of_the_list_that_was_read(
    clerk: Clerk, extractor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, detect = clerk.folder / "list.csv", extractor.detect
    read = sha256(path.read_bytes()).hexdigest()

    def meanwhile(image: Any) -> Any:
        path.write_text("changed while photos are measured", "utf-8")
        return detect(image)

    monkeypatch.setattr(extractor, "detect", meanwhile)
    assert clerk.enrol() == 0
    assert [event.list_sha256 for event in clerk.events("enrolled")] == [read]


def test_closing_another_folder_touches_nothing(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    assert clerk("close", clerk.photos) == 2
    assert "is not a workspace" in capsys.readouterr().err
    assert len(list(clerk.photos.iterdir())) == 3


def test_look_alikes_are_shown_and_the_comparison_is_logged(
    clerk: Clerk, photo: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    photo("3.png", who=3)  # 2's twin
    clerk.write_list("E-2,2.png", "E-3,3.png", "E-4,4.png")
    assert clerk.enrol() == 0
    assert "look-alikes: E-2 and E-3 score 0.99" in capsys.readouterr().out
    assert clerk("look-alikes", clerk.folder / "work", "--score", "0.9999") == 0
    assert "0 pairs of 3 entries score 0.9999 or more" in capsys.readouterr().out
    assert [(event.entries, event.pairs) for event in clerk.events("entries-compared")] == [(3, 1), (3, 0)]


def test_who_and_why_must_be_said(clerk: Clerk, capsys: pytest.CaptureFixture[str]) -> None:
    office = clerk.folder / "desk" / "office.toml"
    arguments = ["office", "registry", "--entry", "E-2", "--office", str(office)]
    assert main(arguments) == 2
    assert 'give --by "..."' in capsys.readouterr().err
    assert main([*arguments, "--by", "J. Clerk"]) == 2
    assert 'give --why "..."' in capsys.readouterr().err
    office.write_text('person = "J. Clerk"\nwhy = "request"\n' + office.read_text("utf-8"), "utf-8")
    assert main(arguments) == 0


@pytest.mark.parametrize("said", [("J. Clerk\n", "request"), ("J" * 201, "request"), ("J. Clerk", "r" * 501)])
def test_a_name_or_a_reason_that_the_log_cannot_hold_is_one_clear_error(
    clerk: Clerk, capsys: pytest.CaptureFixture[str], said: tuple[str, str]
) -> None:
    office = str(clerk.folder / "desk" / "office.toml")
    by, why = said
    assert main(["office", "registry", "--entry", "E-2", "--office", office, "--by", by, "--why", why]) == 2
    error = capsys.readouterr().err
    assert "the log cannot hold what was given" in error
    assert "fix: give one line of text: --by NAME" in error


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('force = "example"', 'force = "No Force"', "force must be 1 to 64 lower-case letters, digits and hyphens"),
        ('force = "example"\n', "", "force is missing"),
        ("categories", "kategories", "vocabulary.categories is missing; vocabulary.kategories is not known"),
        ('["custody", "family"]', "[]", "vocabulary.sources must have at least 1 item(s)"),
        ('["custody", "family"]', '"custody"', "vocabulary.sources must be a list"),
        ('"green"]', '"blue"]', "vocabulary.responses: blue is none of red, amber, green, test-pass"),
        ("[vocabulary]", "[vocabulary", "office.toml: "),
        ("[vocabulary]", "[words]", "vocabulary is missing; words is not known"),
        ('log = "office.log"', "log = 1", "log must be a text"),
    ],
)
def test_a_mistake_in_the_offices_file_is_named(
    clerk: Clerk, capsys: pytest.CaptureFixture[str], old: str, new: str, complaint: str
) -> None:
    office = clerk.folder / "desk" / "office.toml"
    text = office.read_text("utf-8")
    assert old in text
    office.write_text(text.replace(old, new), "utf-8")
    assert clerk.enrol() == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error
    assert not (clerk.folder / "work").exists()


@pytest.mark.parametrize("action", ["enrol", "seal", "look-alikes", "close", "sign", "verify", "inspect"])
def test_what_is_missing_is_one_clear_error(clerk: Clerk, capsys: pytest.CaptureFixture[str], action: str) -> None:
    absent = clerk.folder / "absent"
    recipients = ("--recipient", clerk.key, "--van-recipient", f"van-1={clerk.key}")
    arguments: dict[str, tuple[object, ...]] = {
        "enrol": ("--photos", absent, "--list", absent, "--engine-set", "yunet-mobilefacenet", "--out", absent),
        "seal": (absent, "--order", absent, "--out", absent, *recipients),
        "sign": (absent, "--key", absent),
        "verify": (absent, "--signer", absent),
    }
    before = sorted(clerk.folder.iterdir())
    assert clerk(action, *arguments.get(action, (absent,))) == 2
    error = capsys.readouterr().err
    assert "absent" in error
    assert "fix: " in error
    assert sorted(clerk.folder.iterdir()) == before


@pytest.mark.parametrize("score", ["2", "-2", "nan"])
def test_what_is_no_score_is_refused(clerk: Clerk, capsys: pytest.CaptureFixture[str], score: str) -> None:
    assert clerk.enrol() == 0
    assert clerk("look-alikes", clerk.folder / "work", f"--score={score}") == 2
    assert "is not a score" in capsys.readouterr().err
