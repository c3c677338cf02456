"""Recognition of real people in stills: a broken pipeline shows in the short form, a worse one in the long form.

The short form's limits lie one search below what was measured (YuNet and MobileFaceNet, 40 enrolled, 2026-11-23). It
notices crops that are 4 px off; what is subtler, like swapped colours, is the golden pictures' business.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lfr_edge.adapters.engines import open_extractor
from lfr_edge.biometrics.arena import Arena
from lfr_edge.cli.main import main
from lfr_edge.evaluation.dataset import DataSet
from lfr_edge.evaluation.identification import Identification, OperatingPoint, identify
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.pipeline.extract import Extractor


def at(measured: Identification, name: str) -> OperatingPoint:
    return next(point for point in measured.points if point.name == name)


def is_sound(measured: Identification) -> bool:
    return (
        measured.failures_to_enrol == measured.failures_to_acquire == 0
        and measured.rank_1.value >= 77 / 78
        and at(measured, "floor").tpir.value >= 72 / 78
        and at(measured, "FPIR 1 %").tpir.value >= 74 / 78
        and at(measured, "recommended").fpir.value == 0
    )


@pytest.fixture(scope="module")
def few(lfw: DataSet) -> DataSet:
    """40 people enrolled, 78 other pictures of them, 80 other people."""
    split = lfw.split
    short = {"gallery": split.gallery[:40], "mated": split.mated[:40], "nonmated": split.nonmated[:80]}
    return replace(lfw, split=split.model_copy(update=short))


def test_people_are_found_and_strangers_are_not(few: DataSet, extractor: Extractor) -> None:
    measured = identify(few, extractor)
    assert (measured.list_size, measured.mated_searches, measured.nonmated_searches) == (40, 78, 80)
    assert is_sound(measured), measured.points


def test_crops_that_are_four_pixels_off_are_noticed(
    few: DataSet, engine_set: EngineSet, engine_store: EngineStore
) -> None:
    (embedder,) = engine_set.embedders
    moved = embedder.model_copy(update={"template_px": tuple((x + 4, y) for x, y in embedder.template_px)})
    broken = engine_set.model_copy(update={"embedders": (moved,)})
    extractor = open_extractor(broken, engine_store, Arena(128 << 20), threads=2)
    assert not is_sound(identify(few, extractor))
    extractor.close()


def test_the_command_writes_what_it_prints(
    few: DataSet, engine_store: EngineStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = few.split
    tiny = split.model_copy(update={"gallery": split.gallery[:9], "mated": split.mated[:9]})
    (tmp_path / "split.json").write_text(tiny.model_dump_json(), "utf-8")
    (tmp_path / "images").symlink_to(few.images)
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--store", str(engine_store.root)]
    assert main(["evaluate", "identification", "--engine-set", "yunet-mobilefacenet", *arguments]) == 0
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    measured = content["results"][0]["measured"]
    assert measured["list_size"] == 9
    for point in measured["points"]:
        assert f"{100 * point['tpir']['value']:.1f}" in printed
    assert (tmp_path / "out" / "det.svg").stat().st_size > 0


@pytest.mark.slow
def test_the_whole_set_is_recognised_as_documented(lfw: DataSet, extractor: Extractor) -> None:
    # docs/accuracy.md; the limits are the lower ends of its intervals.
    measured = identify(lfw, extractor)
    assert (measured.list_size, measured.failures_to_enrol, measured.failures_to_acquire) == (300, 0, 0)
    assert at(measured, "FPIR 1 %").tpir.value >= 0.921
    assert at(measured, "FPIR 0.1 %").tpir.value >= 0.915
    assert at(measured, "recommended").fpir.value <= 0.001
