"""From a picture to detections, and from faces to features: one engine set, loaded.

The van uses it for probes, the office for templates: both get the same features, because it is the same code.
Everything it writes lies in leases; what it returns are coordinates and numbers.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import fmean
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.image import Image, Rows, padded_px
from lfr_edge.biometrics.retention import WORKSPACE
from lfr_edge.inference.manifest import DetectorSpec, EmbedderSpec, EngineSet
from lfr_edge.inference.port import InferenceEngine, Pending
from lfr_edge.vision import alignment, quality
from lfr_edge.vision.detection import DecodeLimits, Detection, decode
from lfr_edge.vision.quality import Quality

_LEAST_STABILITY = 0.01  # not nothing: of a track that has no better face, this one is the probe


class _Response(NamedTuple):
    """How an embedder took one face."""

    agreement: float  # cosine of the features of face and mirror image; 1 if only one was embedded
    length: float  # of their mean, before it is brought to 1


@dataclass(slots=True)
class _Seeker:
    """The detector's engine for pictures at full size, or at half, and what it may still hold of them."""

    engine: InferenceEngine
    reduction: int  # how many pixels of the picture are one of what it sees, each way
    sizes_px: set[tuple[int, int]] = field(default_factory=set)

    def forget(self) -> None:
        """Overwrite all of it."""
        self.engine.forget()
        self.sizes_px.clear()


class _Seen(NamedTuple):
    """What the detector sees of a picture."""

    image: Image
    rows: Rows
    reduction: int  # so many pixels of the picture are one of it, each way

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of it, without padding."""
        rows = min(self.rows.end, self.image.height_px) - self.rows.first
        return -(-self.image.width_px // self.reduction), -(-rows // self.reduction)

    def in_picture(self, found: Detection) -> Detection:
        """What was found in it, where that is in the picture."""
        return found.enlarged(self.reduction).lowered(self.rows.first)


class FaceSearch:
    """A picture in which faces are being sought. A context: at its end the engine has let go of the picture."""

    def __init__(
        self, spec: DetectorSpec, seen: _Seen, pending: Pending, outputs: Lease, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._spec = spec
        self._seen = seen
        self._pending = pending
        self._outputs = outputs
        self._shapes = shapes

    def wait(self) -> None:
        """Return when the engine is free for the next picture."""
        self._pending.wait()

    def faces(self) -> list[Detection]:
        """What was found, most confident first."""
        self._pending.wait()
        spec, seen = self._spec, self._seen
        limits = DecodeLimits(spec.confidence_threshold, spec.nms_iou, *seen.size_px)
        found = decode(spec.decode, _planes(self._outputs, self._shapes, 0), limits=limits)
        return [seen.in_picture(face) for face in found]

    def __enter__(self) -> "FaceSearch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._pending.wait()
        finally:
            self._outputs.__exit__(kind, error, trace)


class Extractor:
    """Detects, aligns and embeds. Owned by one thread; owns its engines."""

    def __init__(
        self,
        engine_set: EngineSet,
        detector: InferenceEngine,
        embedders: Sequence[InferenceEngine],
        arena: Arena,
        glancer: InferenceEngine | None = None,
    ) -> None:
        """`glancer` is the detector again, for glances; it sees pictures at half their size."""
        self.engine_set = engine_set
        self.arena = arena
        self._detector = _Seeker(detector, 1)
        self._glancer = None if glancer is None else _Seeker(glancer, 2)
        self._latest = self._detector
        self._embedded = False  # since the embedders last forgot
        self._embedders = tuple(zip(engine_set.embedders, embedders, strict=True))

    @property
    def dimension(self) -> int:
        """D, the length of the joined features."""
        return self.engine_set.dimension

    def prepare(self, most_faces: int) -> None:
        """Meet every batch up to `most_faces` now: engines take longer, and allocate, when they first see a shape."""
        for spec, engine in self._embedders:
            width, height = spec.size_px
            for faces in range(1, most_faces + 1):
                engine.output_shapes((faces * (2 if spec.mirrored else 1), height, width, 3))

    def prepare_pictures(self, width_px: int, rows: Rows, *, glance: bool = False) -> None:
        """Meet pictures that wide now, in every lane, for the same reason."""
        self._seeker(glance=glance).engine.prepare((1, rows.end - rows.first, padded_px(width_px), 3))

    @property
    def lanes(self) -> int:
        """In how many pictures faces may be sought at once."""
        return self._detector.engine.lanes

    def detect(self, image: Image, *, glance: bool = False) -> list[Detection]:
        """The faces in the picture, most confident first."""
        with self.start(image, glance=glance) as search:
            return search.faces()

    def start(self, image: Image, *, glance: bool = False, rows: Rows | None = None) -> "FaceSearch":
        """Begin to detect, in those rows or in all; the picture must stay until the search has ended.

        A glance sees the picture at half its size: for a third of the time, less of small faces.
        """
        seeker = self._seeker(glance=glance)
        rows = rows or Rows(0, len(image.padded))
        searched = image.padded[np.newaxis, rows.first : rows.end]
        _, height, width, channels = searched.shape
        seeker.sizes_px.add((height, width))
        self._latest = seeker
        shapes = seeker.engine.output_shapes((1, height, width, channels))
        outputs = self.arena.lease(WORKSPACE, (sum(map(math.prod, shapes.values())),), np.float32)
        with ExitStack() as unless_started:
            unless_started.enter_context(outputs)
            pending = seeker.engine.start(searched, _planes(outputs, shapes))
            unless_started.pop_all()
        return FaceSearch(self.engine_set.detector, _Seen(image, rows, seeker.reduction), pending, outputs, shapes)

    def embed(self, image: Image, detections: Sequence[Detection], *, out: NDArray[np.float32]) -> list[Quality]:
        """Features of each detection into `out` (B, D) float32, rows of length 1. Returns the quality of each face."""
        self._embedded = True
        qualities: list[Quality] = []
        responses = []
        first = 0
        for spec, engine in self._embedders:
            width, height = spec.size_px
            count = len(detections) * (2 if spec.mirrored else 1)
            with (
                self.arena.lease(WORKSPACE, (count, height, width, 3)) as crops,
                self.arena.lease(WORKSPACE, (count, spec.dimension), np.float32) as raw,
            ):
                self._align(spec, image, detections, crops.array)
                qualities = qualities or self._assess(spec, image, detections, crops.array)
                engine.infer(crops.array, {engine.output_names[0]: raw.array})
                responses.append(_join(raw.array, out[:, first : first + spec.dimension]))
            first += spec.dimension
        # Each embedder's features have length 1: the joined cosine is the mean of the embedders' cosines.
        np.divide(out, np.float32(len(self._embedders) ** 0.5), out=out)
        return [self._judge(*one) for one in zip(qualities, zip(*responses, strict=True), strict=True)]

    def forget(self) -> None:
        """Overwrite what the engines keep of the last pictures (row OPENVINO of the retention table)."""
        for seeker in self._seekers():
            seeker.forget()
        self._forget_faces()

    def forget_remains(self) -> None:
        """The same for what the next inference would not overwrite: it overwrites only as much as it is large itself.

        So the remains are the faces of larger batches, pictures if the cameras' sizes differ, or one that changed its
        size or went has left its last picture behind, and glances after a full look, or the other way round. Measured
        with OpenVINO: after a batch of 8 and a hundred of 2, three quarters of the first one's activations are still
        there.
        """
        for seeker in self._seekers():
            if len(seeker.sizes_px) > 1 or (seeker.sizes_px and seeker is not self._latest):
                seeker.forget()
        self._forget_faces()

    def _seekers(self) -> Sequence[_Seeker]:
        return [self._detector] if self._glancer is None else [self._detector, self._glancer]

    def _seeker(self, *, glance: bool) -> _Seeker:
        if not glance:
            return self._detector
        if self._glancer is None:
            raise RuntimeError("this extractor was opened without a detector for glances")
        return self._glancer

    def _forget_faces(self) -> None:
        if self._embedded:
            for _, engine in self._embedders:
                engine.forget()
        self._embedded = False

    def close(self) -> None:
        """Forget, then free the engines."""
        self.forget()
        for seeker in self._seekers():
            seeker.engine.close()
        for _, engine in self._embedders:
            engine.close()

    def _judge(self, measured: Quality, responses: Sequence[_Response]) -> Quality:
        """Add what the embedders' responses to the face say."""
        # The mean over embedders, as in a score of joined features.
        agreement = fmean(response.agreement for response in responses)
        threshold = self.engine_set.threshold
        stability = (agreement - threshold) / (1 - threshold) if threshold < 1 else 0.0
        magnitude = fmean(
            response.length / spec.typical_length if spec.typical_length is not None else 1.0
            for response, (spec, _) in zip(responses, self._embedders, strict=True)
        )
        return replace(measured, stability=max(stability, _LEAST_STABILITY), magnitude=magnitude)

    def _align(self, spec: EmbedderSpec, image: Image, detections: Sequence[Detection], crops: NDArray[Any]) -> None:
        template = np.asarray(spec.template_px)
        per_face = 2 if spec.mirrored else 1
        for index, detection in enumerate(detections):
            crop = crops[index * per_face]
            on_canvas = alignment.similarity(detection.landmarks_px, template)
            face = alignment.stretched(on_canvas, spec.stretch)
            alignment.warp(image.pixels, face, out=crop, workspace=self.arena)
            if spec.mirrored:
                alignment.mirror(crop, out=crops[index * per_face + 1])

    def _assess(
        self, spec: EmbedderSpec, image: Image, detections: Sequence[Detection], crops: NDArray[Any]
    ) -> list[Quality]:
        per_face = 2 if spec.mirrored else 1
        return [
            quality.measure(
                detection,
                crops[index * per_face],
                width_px=image.width_px,
                height_px=image.height_px,
                arena=self.arena,
            )
            for index, detection in enumerate(detections)
        ]


def _planes(lease: Lease, shapes: Mapping[str, tuple[int, ...]], *index: int) -> dict[str, NDArray[np.float32]]:
    """Arrays of these shapes, one behind the other in the lease; of each only what `index` says."""
    planes, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape)
        planes[name] = lease.array[start:end].reshape(shape)[index]
    return planes


def _join(raw: NDArray[np.float32], out: NDArray[np.float32]) -> list[_Response]:
    """Add each face's copies (plain, mirrored) and bring the sum to length 1; unusable features become zeros.

    Row by row: reductions and mixed layouts would pass through numpy's own buffers.
    """
    copies = len(raw) // len(out)
    responses = []
    for index, row in enumerate(out):
        face = raw[index * copies : (index + 1) * copies]
        np.copyto(row, face[0])
        for other in face[1:]:
            np.add(row, other, out=row)
        square = float(np.dot(row, row))
        if math.isfinite(square) and square > 0:
            np.divide(row, np.float32(math.sqrt(square)), out=row)
            responses.append(_Response(_cosine(face[0], face[-1]), math.sqrt(square) / copies))
        else:
            row.fill(0)
            responses.append(_Response(0.0, 0.0))
    return responses


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    lengths = math.sqrt(float(np.dot(one, one)) * float(np.dot(other, other)))
    return float(np.dot(one, other)) / lengths if lengths > 0 else 0.0
