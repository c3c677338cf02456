"""The demo's verdict and its numbers."""

import itertools
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lfr_edge.cli.demo_page import page
from lfr_edge.cli.demo_scene import EXAMPLES, Footage, Scene, footage, rows_of
from lfr_edge.cli.demo_show import Outcome, closing_table, live_view
from lfr_edge.control_room.watch import ReceivedAlert
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.messages import examples
from lfr_edge.messages.status import CameraHealth, Health

NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def alert(entry: str, latency_ms: float = 50) -> ReceivedAlert:
    genuine = examples.ALERT.model_copy(update={"entry": entry, "captured_at": NOW, "category": "<b>wanted</b>"})
    return ReceivedAlert(genuine, NOW + timedelta(milliseconds=latency_ms), historical=False)


def health(at_s: float, frames_read: int, superseded: int = 0) -> Health:
    camera = CameraHealth(
        id="street", connected=True, fps=25, frames_read=frames_read, superseded=superseded, undecodable=0
    )
    return Health(
        van="van-1",
        at=NOW + timedelta(seconds=at_s),
        cameras=(camera,),
        tracks=0,
        queue=0,
        faces_detected=0,
        alerts=0,
        outbox=0,
        step_ms_p50=1,
        step_ms_p99=2,
    )


def outcome(
    *alerts: ReceivedAlert, expected: tuple[str, ...] = ("P1", "P2"), reports: tuple[Health, ...] = ()
) -> Outcome:
    return Outcome("some-set", expected, alerts, 0, reports)


def test_who_was_expected_and_came_is_neither_missed_nor_false() -> None:
    verdict = outcome(alert("P2"), alert("P1"))
    assert (verdict.alerted, verdict.missed, verdict.unexpected) == (["P2", "P1"], [], [])


def test_who_did_not_come_is_missed_and_who_is_not_expected_is_false() -> None:
    verdict = outcome(alert("P9"), alert("P1"))
    assert (verdict.missed, verdict.unexpected) == (["P2"], ["P9"])


def test_a_second_alert_of_one_person_is_false() -> None:
    assert outcome(alert("P1"), alert("P1"), alert("P2")).unexpected == ["P1"]


def test_where_nobody_knows_who_walks_past_nothing_is_false() -> None:
    verdict = outcome(alert("P1"), expected=())
    assert (verdict.missed, verdict.unexpected) == ([], [])


@pytest.mark.parametrize(
    "latencies_ms", [[40.0, 60.0], [30.0, 10.0, 20.0, 250.0], [float(n * n) for n in range(1, 40)]]
)
def test_the_latencies_quantiles_are_numpys(latencies_ms: list[float]) -> None:
    line = outcome(*(alert(f"P{n}", latency) for n, latency in enumerate(latencies_ms))).as_json()
    for share in (50, 99):
        assert line[f"latency_p{share}_ms"] == pytest.approx(np.percentile(latencies_ms, share), abs=0.06)


def test_one_alerts_latency_is_all_quantiles_and_none_has_none() -> None:
    assert outcome(alert("P1", 42.5)).as_json()["latency_p99_ms"] == 42.5
    assert outcome().as_json()["latency_p50_ms"] is None


def test_the_rate_is_that_while_pictures_came() -> None:
    # Nothing for two seconds, then 25 in a second, 5 of them superseded; the last report comes late.
    read = [0, 0, 12, 37, 62, 87, 95, 95]
    at_s = [0, 1, 2, 3, 4, 5, 7.5, 8]
    reports = tuple(health(at, count, superseded=count // 5) for at, count in zip(at_s, read, strict=True))
    assert outcome(reports=reports).fps == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_reports_have_no_rate(count: int) -> None:
    assert outcome(reports=tuple(health(n, 25 * n) for n in range(count))).fps == 0


def test_the_json_line_has_the_keys_that_others_read() -> None:
    assert list(outcome().as_json()) == [
        "expected",
        "alerted",
        "missed",
        "false",
        "latency_p50_ms",
        "latency_p99_ms",
        "fps",
        "engine_set",
    ]


def text_of(renderable: object) -> str:
    console = Console(width=200, record=True, file=Path("/dev/null").open("w", encoding="utf-8"))  # noqa: SIM115
    console.print(renderable)
    console.file.close()
    return console.export_text()


def test_the_closing_table_has_a_verdict_for_everybody() -> None:
    table = text_of(closing_table(outcome(alert("P1"), alert("P1"), alert("P9"))))
    for entry, verdict in (("P1", "as expected"), ("P1", "false alert"), ("P9", "false alert"), ("P2", "missed")):
        assert any(entry in line and verdict in line for line in table.splitlines()), (entry, verdict, table)


def test_the_live_view_does_not_show_a_cameras_password(tmp_path: Path) -> None:
    scene = Scene(tmp_path, load_engine_set("yunet-mobilefacenet"), None, None, tmp_path, 28)  # type: ignore[arg-type]
    shown = Footage("rtsp://user:Pa55word@192.0.2.10/stream", "live", frozenset())
    view = text_of(live_view(scene, shown, [], []))
    assert "rtsp://192.0.2.10/..." in view
    assert "Pa55word" not in view
    assert "62" in text_of(live_view(scene, shown, [alert("P1")], [health(1, 62)]))


def test_the_page_escapes_what_it_shows_and_says_who_was_missed() -> None:
    html = page(outcome(alert("P1")), NOW)
    assert "&lt;b&gt;wanted&lt;/b&gt;" in html
    assert "<b>" not in html
    assert "missed: P2" in html
    assert "default-src 'none'" in html


def test_of_the_demos_clip_those_are_expected_who_walk_past_and_are_listed(tmp_path: Path) -> None:
    def expected(photos: Path | None) -> set[str]:
        return set(footage(None, None, rows_of(photos), full_speed=False).expected)

    assert expected(None) == {"P03", "P33", "P56", "P57"}
    (tmp_path / "somebody.jpg").touch()
    assert expected(tmp_path) == set()
    for entry in ("P03", "P16", "P04"):  # P16 walks past and is not on the demo's own list; P04 is, and does not come
        (tmp_path / f"{entry}.jpg").touch()
    assert expected(tmp_path) == {"P03", "P16"}
    assert (EXAMPLES / "photos" / "P04.jpg").exists()


def test_photos_of_ones_own_get_ids_of_their_own(tmp_path: Path) -> None:
    for name in ("a.jpg", "a!.jpg", "a-2.png", "a 3.webp", "...jpeg", "ß.JPG", "notes.txt", f"{'n' * 90}.jpg"):
        (tmp_path / name).touch()
    rows = rows_of(tmp_path)
    ids = [row.particulars.id for row in rows]
    assert len(set(ids)) == len(ids) == 7
    assert all(first.photo.name < second.photo.name for first, second in itertools.pairwise(rows))
    assert {"a", "photo", "n" * 48} <= set(ids)
