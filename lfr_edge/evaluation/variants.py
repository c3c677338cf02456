"""Named variants of an engine set: what each part of it gains and costs is measured by leaving it out.

A new row of the ablation tables is a new line of `ABLATIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lfr_edge.inference.manifest import EngineSet
from lfr_edge.pipeline.recognise import Recogniser


def _as_it_is(engine_set: EngineSet) -> EngineSet:
    return engine_set


def _without_mirror(engine_set: EngineSet) -> EngineSet:
    plain = tuple(embedder.model_copy(update={"mirrored": False}) for embedder in engine_set.embedders)
    return engine_set.model_copy(update={"embedders": plain})


@dataclass(frozen=True, slots=True)
class Variant:
    """One row: how the engine set is changed, and what recognises in footage (called as `Recogniser` is)."""

    name: str  # empty: as shipped
    engine_set: Callable[[EngineSet], EngineSet] = _as_it_is
    recogniser: Callable[..., Recogniser] = Recogniser


AS_SHIPPED = Variant("")
ABLATIONS = (Variant("without mirrored averaging", engine_set=_without_mirror),)
