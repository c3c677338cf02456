"""Named variants of what is shipped: what each part gains and costs is measured by changing it alone.

A new row of the ablation tables is a new line here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from lfr_edge.inference.manifest import EngineSet
from lfr_edge.pipeline.decide import Decider, Rule
from lfr_edge.pipeline.evidence import EvidenceSealer
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.pipeline.recognise import Recogniser, View
from lfr_edge.watchlist.references import Watchlist

Recognising = Callable[[Extractor, Watchlist, Decider, EvidenceSealer, Mapping[str, View]], Recogniser]


def _same_set(engine_set: EngineSet) -> EngineSet:
    return engine_set


def _same_rule(rule: Rule) -> Rule:
    return rule


@dataclass(frozen=True, slots=True)
class Variant:
    """One row: how engine set and rule are changed, and what recognises in footage."""

    name: str  # empty: as shipped
    engine_set: Callable[[EngineSet], EngineSet] = _same_set
    rule: Callable[[Rule], Rule] = _same_rule
    recogniser: Recognising = Recogniser
    lowered: bool = True  # whether an entry's scores are lowered for resembling others on the list


def _without_mirror(engine_set: EngineSet) -> EngineSet:
    plain = tuple(embedder.model_copy(update={"mirrored": False}) for embedder in engine_set.embedders)
    return engine_set.model_copy(update={"embedders": plain})


AS_SHIPPED = Variant("")
OF_STILLS = (
    Variant("without mirrored averaging", engine_set=_without_mirror),
    Variant("scores not lowered", lowered=False),
)
OF_FOOTAGE = (
    *OF_STILLS,
    Variant("confirmation 1", rule=partial(replace, confirmation=1)),
    Variant("confirmation 4", rule=partial(replace, confirmation=4)),
    Variant("margin 0.05", rule=partial(replace, margin=0.05)),
)
