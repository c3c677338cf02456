"""What every `InferenceEngine` must do: the fake, OpenVINO, and whatever comes later.

Run as a script, this file is the process whose memory `test_forgetting_overwrites_what_the_library_kept` reads.
"""

import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray

from lfr_edge.adapters.openvino_engine import open_detector, open_embedder
from lfr_edge.errors import DeviceError
from lfr_edge.inference.fake import FakeEngine
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.inference.port import REQUESTS_PER_LANE, BatchShape, InferenceEngine
from lfr_edge.inference.store import EngineStore

OPENVINO = ("openvino-detector", "openvino-glancer", "openvino-embedder")


@dataclass(frozen=True)
class Subject:
    engine: InferenceEngine
    picture_px: tuple[int, int]  # height, width

    def shape(self, count: int) -> BatchShape:
        return (count, *self.picture_px, 3)

    def infer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        outputs = self.outputs(batch.shape)
        self.engine.infer(batch, outputs)
        return outputs

    def outputs(self, shape: tuple[int, ...], fill: float = np.nan) -> dict[str, NDArray[np.float32]]:
        count, height, width, channels = shape
        shapes = self.engine.output_shapes((count, height, width, channels))
        return {name: np.full(shape, fill, np.float32) for name, shape in shapes.items()}


def open_subject(kind: str, store: EngineStore) -> Subject:
    if kind == "fake":
        return Subject(FakeEngine(), (112, 112))
    engine_set = load_engine_set("yunet-mobilefacenet")
    if kind in {"openvino-detector", "openvino-glancer"}:
        return Subject(open_detector(engine_set, store, halved=kind == "openvino-glancer"), (192, 320))
    return Subject(open_embedder(engine_set.embedders[0], store), (112, 112))


@pytest.fixture(scope="module")
def store(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> EngineStore:
    store = EngineStore(tmp_path_factory.mktemp("engines"))
    store.fetch(load_engine_set("yunet-mobilefacenet"), [shared / "models"])
    return store


@pytest.fixture(params=["fake", *OPENVINO])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    kind: str = request.param
    opened = open_subject(kind, EngineStore(Path()) if kind == "fake" else request.getfixturevalue("store"))
    yield opened
    opened.engine.close()


def most_under_way(subject: Subject) -> int:
    return REQUESTS_PER_LANE * subject.engine.lanes


def pictures(shape: tuple[int, ...], seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_the_same_batch_gives_the_same_outputs(subject: Subject) -> None:
    batch = pictures(subject.shape(2))
    first, second = subject.infer(batch), subject.infer(batch)
    assert set(first) == set(subject.engine.output_names)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_other_pictures_give_other_outputs(subject: Subject) -> None:
    first, second = (subject.infer(pictures(subject.shape(1), seed)) for seed in (1, 2))
    assert all(not np.array_equal(first[name], second[name]) for name in first)


def test_a_batch_equals_its_pictures_one_by_one(subject: Subject) -> None:
    batch = pictures(subject.shape(3))
    together = subject.infer(batch)
    for index in range(3):
        alone = subject.infer(batch[index : index + 1])
        for name in alone:
            np.testing.assert_allclose(together[name][index], alone[name][0], rtol=1e-4, atol=1e-4)


def test_every_element_of_the_outputs_is_written_and_nothing_around_them(subject: Subject) -> None:
    batch = pictures(subject.shape(2))
    before = batch.copy()
    shapes = subject.engine.output_shapes(subject.shape(2))
    padded = {name: np.full((shape[0] + 2, *shape[1:]), np.nan, np.float32) for name, shape in shapes.items()}
    subject.engine.infer(batch, {name: array[1:-1] for name, array in padded.items()})
    np.testing.assert_array_equal(batch, before)
    for array in padded.values():
        assert np.isfinite(array[1:-1]).all()
        assert np.isnan(array[[0, -1]]).all()


def test_no_reference_to_the_callers_memory_is_kept(subject: Subject) -> None:
    batch = pictures(subject.shape(1))
    outputs = subject.outputs(batch.shape)
    watchers = [weakref.ref(array) for array in (batch, *outputs.values())]
    subject.engine.infer(batch, outputs)
    del batch, outputs
    assert [watcher() for watcher in watchers] == [None] * len(watchers)


def test_no_reference_is_kept_after_a_refused_call(subject: Subject) -> None:
    batch = pictures(subject.shape(1))
    watcher = weakref.ref(batch)
    with pytest.raises(ValueError, match="outputs are"):
        subject.engine.infer(batch, {})
    del batch
    assert watcher() is None


def test_a_batch_of_the_wrong_kind_is_refused_and_the_engine_goes_on(subject: Subject) -> None:
    good = pictures(subject.shape(1))
    expected, outputs = subject.infer(good), subject.outputs(good.shape)
    read_only = good.copy()
    read_only.flags.writeable = False
    for bad in (good.astype(np.float32), good[0], good[..., :2], good[:, :, ::-1], good[:0], good[:, :-1], read_only):
        with pytest.raises(ValueError, match=r"batch|takes"):
            subject.engine.infer(bad, outputs)  # type: ignore[arg-type]
    again = subject.infer(good)
    assert all(np.array_equal(again[name], expected[name]) for name in expected)


def test_outputs_of_the_wrong_kind_are_refused_untouched(subject: Subject) -> None:
    batch = pictures(subject.shape(2))
    name = subject.engine.output_names[0]
    good = subject.outputs(batch.shape)
    read_only = good[name].copy()
    read_only.flags.writeable = False
    for bad in (good[name].astype(np.float64), good[name][:1], np.asfortranarray(good[name])[:, ::-1], read_only):
        with pytest.raises(ValueError, match=name):
            subject.engine.infer(batch, {**good, name: bad})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="outputs are"):
        subject.engine.infer(batch, {**good, "another": good[name]})
    assert all(np.isnan(array).all() for array in good.values())


def test_batches_under_way_together_equal_the_same_one_by_one(subject: Subject) -> None:
    batches = [pictures(subject.shape(2), seed) for seed in range(most_under_way(subject))]
    expected = [subject.infer(batch) for batch in batches]
    for order in (1, -1):
        outputs = [subject.outputs(batch.shape) for batch in batches]
        under_way = [subject.engine.start(*pair) for pair in zip(batches, outputs, strict=True)]
        for pending in under_way[::order]:
            pending.wait()
        for one, other in zip(outputs, expected, strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in other)


def test_more_batches_than_may_be_under_way_are_refused_and_the_others_go_on(subject: Subject) -> None:
    batch = pictures(subject.shape(1))
    expected = subject.infer(batch)
    outputs = [subject.outputs(batch.shape) for _ in range(most_under_way(subject) + 1)]
    under_way = [subject.engine.start(batch, output) for output in outputs[:-1]]
    with pytest.raises(RuntimeError, match="under way already"):
        subject.engine.start(batch, outputs[-1])
    for pending in under_way:
        pending.wait()
    subject.engine.start(batch, outputs[-1]).wait()
    for output in outputs:
        assert all(np.array_equal(output[name], expected[name]) for name in expected)


def test_waiting_again_disturbs_nobody(subject: Subject) -> None:
    batch = pictures(subject.shape(1))
    expected, outputs = subject.infer(batch), subject.outputs(batch.shape)
    first = subject.engine.start(batch, subject.outputs(batch.shape))
    first.wait()
    second = subject.engine.start(batch, outputs)
    first.wait()
    second.wait()
    assert all(np.array_equal(outputs[name], expected[name]) for name in expected)


def test_nothing_under_way_is_referred_to_after_its_wait(subject: Subject) -> None:
    batch = pictures(subject.shape(1))
    outputs = subject.outputs(batch.shape)
    watchers = [weakref.ref(array) for array in (batch, *outputs.values())]
    pending = subject.engine.start(batch, outputs)
    pending.wait()
    del batch, outputs
    assert [watcher() for watcher in watchers] == [None] * len(watchers)


def test_a_prepared_engine_compiles_nothing_more(store: EngineStore) -> None:
    subject = open_subject("openvino-detector", store)
    subject.engine.prepare(subject.shape(1))
    (graphs,) = subject.engine._graphs.values()  # type: ignore[attr-defined]
    prepared = set(graphs)
    batches = [pictures(subject.shape(1), seed) for seed in range(most_under_way(subject))]
    for pending in [subject.engine.start(batch, subject.outputs(batch.shape)) for batch in batches]:
        pending.wait()
    assert set(graphs) == prepared
    assert len(prepared) == subject.engine.lanes
    subject.engine.close()


def test_preparing_for_a_wrong_shape_is_refused(subject: Subject) -> None:
    with pytest.raises(ValueError, match="takes"):
        subject.engine.prepare((1, 33, 33, 3))


def test_shapes_can_be_asked_for_while_a_batch_is_under_way(subject: Subject) -> None:
    batch = pictures(subject.shape(1))
    expected, outputs = subject.infer(batch), subject.outputs(batch.shape)
    pending = subject.engine.start(batch, outputs)
    assert all(shape[0] == 5 for shape in subject.engine.output_shapes(subject.shape(5)).values())
    pending.wait()
    assert all(np.array_equal(outputs[name], expected[name]) for name in expected)


@pytest.mark.parametrize("end", ["forget", "close"])
def test_forgetting_and_closing_finish_what_is_under_way(subject: Subject, end: str) -> None:
    batch = pictures(subject.shape(1))
    expected, outputs = subject.infer(batch), subject.outputs(batch.shape)
    pending = subject.engine.start(batch, outputs)
    getattr(subject.engine, end)()
    pending.wait()
    assert all(np.array_equal(outputs[name], expected[name]) for name in expected)


def test_a_closed_engine_refuses_work_and_closes_twice(subject: Subject) -> None:
    batch = pictures(subject.shape(1))
    outputs = subject.outputs(batch.shape)
    subject.engine.close()
    subject.engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        subject.engine.infer(batch, outputs)
    with pytest.raises(RuntimeError, match="closed"):
        subject.engine.forget()


def test_forgetting_changes_no_later_result(subject: Subject) -> None:
    batch = pictures(subject.shape(2))
    expected = subject.infer(batch)
    subject.engine.forget()
    subject.engine.forget()
    again = subject.infer(batch)
    assert all(np.array_equal(again[name], expected[name]) for name in expected)


class _FailingRequest:
    """An inference request whose work fails, once."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)

    def wait(self) -> None:
        self._request.wait()
        if not self._failed:
            self._failed = True
            raise RuntimeError("Exception from somewhere:\nthe graph is broken\n")


@pytest.mark.parametrize("meanwhile", [[], ["forget"], ["forget", "close"]])
def test_a_failure_is_told_by_its_own_wait_and_by_no_other(store: EngineStore, meanwhile: list[str]) -> None:
    subject = open_subject("openvino-detector", store)
    batch = pictures(subject.shape(1))
    expected, outputs = subject.infer(batch), subject.outputs(batch.shape)
    (graphs,) = subject.engine._graphs.values()  # type: ignore[attr-defined]
    graphs[0]._idle[-1] = _FailingRequest(graphs[0]._idle[-1])
    watcher = weakref.ref(batch)
    broken, sound = subject.engine.start(batch, subject.outputs(batch.shape)), subject.engine.start(batch, outputs)
    for call in meanwhile:
        getattr(subject.engine, call)()
    sound.wait()
    assert all(np.array_equal(outputs[name], expected[name]) for name in expected)
    with pytest.raises(DeviceError, match="the graph is broken"):
        broken.wait()
    broken.wait()
    del batch
    assert watcher() is None
    subject.engine.close()


def test_a_detector_that_meets_many_sizes_still_answers_right(store: EngineStore) -> None:
    engine = open_detector(load_engine_set("yunet-mobilefacenet"), store, lanes=1)
    subjects = [Subject(engine, (32 * side, 64)) for side in range(1, 11)]
    first = [subject.infer(pictures(subject.shape(1))) for subject in subjects]
    again = subjects[0].infer(pictures(subjects[0].shape(1)))
    assert all(np.array_equal(first[0][name], again[name]) for name in again)
    assert len(engine._graphs) < len(subjects)  # type: ignore[attr-defined]
    engine.close()


@pytest.mark.parametrize("size_px", [(192, 320), (96, 32), (160, 224)])
def test_a_halved_detector_sees_the_means_of_two_by_two_pixels(store: EngineStore, size_px: tuple[int, int]) -> None:
    engine_set = load_engine_set("yunet-mobilefacenet")
    batch = pictures((1, *size_px, 3))
    means = batch.reshape(1, size_px[0] // 2, 2, size_px[1] // 2, 2, 3).astype(np.float32).mean(axis=(2, 4))
    height, width = (-(-side // 64) * 32 for side in size_px)
    planes = np.zeros((1, 3, height, width), np.float32)
    planes[:, :, : means.shape[1], : means.shape[2]] = means.transpose(0, 3, 1, 2)
    expected = _as_the_file_says(store.read(engine_set.detector.onnx), planes)
    halved = open_detector(engine_set, store, lanes=1, halved=True)
    found = Subject(halved, size_px).infer(batch)
    halved.close()
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4)


def _as_the_file_says(weights: bytes, planes: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The outputs for these planes, float32, without anything of ours."""
    model = ov.Core().read_model(weights)
    model.reshape(planes.shape)
    names = [output.get_any_name() for output in model.outputs]
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {name: compiled(planes)[index] for index, name in enumerate(names)}


def test_a_lane_is_not_left_out(store: EngineStore, tmp_path: Path) -> None:
    """One camera's picture is overwritten by its next ones, however many lanes there are."""
    for name, seed in (("canary", 7), ("other", 8)):
        (tmp_path / name).write_bytes(pictures((1, 192, 320, 3), seed).tobytes())
    with _InferringProcess("openvino-detector", store) as process:
        process.infer(tmp_path / "other", 1, in_every_lane=True)
        before = process.activations()
        process.infer(tmp_path / "canary", 1)
        canary = np.setdiff1d(process.activations(), before)
        process.infer(tmp_path / "other", 1)
        process.infer(tmp_path / "other", 1)
        survivors = np.intersect1d(canary, process.activations())
    assert canary.size > 10_000
    assert survivors.size * 10_000 < canary.size


@pytest.mark.parametrize("kind", OPENVINO)
def test_forgetting_overwrites_what_the_library_kept(kind: str, store: EngineStore, tmp_path: Path) -> None:
    """Another process infers; this one reads its memory. Only values that look like activations are compared."""
    for name, seed in (("canary", 7), ("other", 8)):
        shape = (2, 112, 112, 3) if kind == "openvino-embedder" else (2, 192, 320, 3)
        (tmp_path / name).write_bytes(pictures(shape, seed).tobytes())
    with _InferringProcess(kind, store) as process:
        process.infer(tmp_path / "other", 2, in_every_lane=True)
        process.forget()
        before = process.activations()
        process.infer(tmp_path / "canary", 2, in_every_lane=True)
        canary = np.setdiff1d(process.activations(), before)
        process.infer(tmp_path / "other", 1)  # a smaller batch last: the larger one must be forgotten all the same
        process.forget()
        survivors = np.intersect1d(canary, process.activations())
    assert canary.size > 10_000, "the scan must find activations where nothing was forgotten"
    # Measured: 0 of 100,000 (embedder) and of 314,000 (detector at 640x384).
    assert survivors.size * 10_000 < canary.size


class _InferringProcess:
    """This file as a script: infers and forgets as told, and wipes its own arrays after every inference."""

    def __init__(self, kind: str, store: EngineStore) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, kind, str(store.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def __enter__(self) -> "_InferringProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def infer(self, pixels: Path, count: int, *, in_every_lane: bool = False) -> None:
        self._tell(f"{count} {int(in_every_lane)} {pixels}")

    def forget(self) -> None:
        self._tell("forget")

    def activations(self) -> NDArray[np.uint64]:
        """A hash of every 16 bytes in writable memory that are four float32 of ordinary size, no duplicates."""
        found = [np.empty(0, np.uint64)]
        with Path(f"/proc/{self._process.pid}/mem").open("rb", buffering=0) as memory:
            for line in Path(f"/proc/{self._process.pid}/maps").read_text("ascii").splitlines():
                span, permissions, *_ = line.split()
                if "rw" in permissions and "[v" not in line:
                    start, end = (int(side, 16) for side in span.split("-"))
                    memory.seek(start)
                    content = memory.read(end - start)
                    quads = np.frombuffer(content, np.float32, count=len(content) // 16 * 4).reshape(-1, 4)
                    sizes = np.abs(np.nan_to_num(quads))
                    ordinary = ((sizes > 1e-6) & (sizes < 1e6)).sum(axis=1) >= 3
                    words = quads.view(np.uint64)[ordinary]
                    found.append(words[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ words[:, 1])
        return np.unique(np.concatenate(found))

    def _tell(self, what: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


def _serve(kind: str, store: EngineStore) -> None:
    subject = open_subject(kind, store)
    under_way = range(most_under_way(subject))
    buffers = {
        count: [(np.zeros(subject.shape(count), np.uint8), subject.outputs(subject.shape(count))) for _ in under_way]
        for count in (1, 2)
    }
    for line in sys.stdin:
        if line.strip() == "forget":
            subject.engine.forget()
        else:
            count, in_every_lane, path = line.split()
            used = buffers[int(count)][: None if int(in_every_lane) else 1]
            for batch, _ in used:
                with Path(path).open("rb", buffering=0) as file:
                    file.readinto(batch.data)  # type: ignore[attr-defined] # unbuffered: no copy of the pixels
            for pending in [subject.engine.start(*pair) for pair in used]:
                pending.wait()
            for batch, outputs in used:
                batch.fill(0)
                for output in outputs.values():
                    output.fill(0)
        print("done", flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    _serve(sys.argv[1], EngineStore(Path(sys.argv[2])))
