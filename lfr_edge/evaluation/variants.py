"""Named variants of what is shipped: what each part gains and costs is measured by changing it alone.

A new row of the ablation tables is a new line here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lfr_edge.inference.manifest import EngineSet
from lfr_edge.pipeline.decide import Decider, Rule
from lfr_edge.pipeline.evidence import EvidenceSealer
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.pipeline.recognise import Recogniser, View
from lfr_edge.pipeline.tracks import Track
from lfr_edge.watchlist.references import Watchlist

Recognising = Callable[[Extractor, Watchlist, Decider, EvidenceSealer, Mapping[str, View]], Recogniser]


_EVERYWHERE = View()


def _same_set(engine_set: EngineSet) -> EngineSet:
    return engine_set


def _same_rule(rule: Rule) -> Rule:
    return rule


@dataclass(frozen=True, slots=True)
class Variant:
    """One row: how engine set and rule are changed, and what recognises in footage, of which view."""

    name: str  # empty: as shipped
    engine_set: Callable[[EngineSet], EngineSet] = _same_set
    rule: Callable[[Rule], Rule] = _same_rule
    recogniser: Recognising = Recogniser
    lowered: bool = True  # whether an entry's scores are lowered for resembling others on the list
    view: View = _EVERYWHERE


def _without_mirror(engine_set: EngineSet) -> EngineSet:
    plain = tuple(embedder.model_copy(update={"mirrored": False}) for embedder in engine_set.embedders)
    # Under another contract, it is a variant of nothing.
    return engine_set.model_copy(update={"embedders": plain, "variant": None})


class _AlwaysDue(Track):
    __slots__ = ()

    def is_due(self, now_ns: int, sequence: int, promise: float) -> bool:
        """Whatever is known already, until the track has matched."""
        return not self.settled or super().is_due(now_ns, sequence, promise)


class _EvenlyDue(Track):
    __slots__ = ()

    def rest_while(self, short_of: float) -> None:
        """For as long as ever: `REST_NS`."""


class _EquallyWeighted(Track):
    __slots__ = ()

    def fuse(self, features: NDArray[np.float32], quality: float) -> None:
        """Whatever its quality."""
        del quality
        super().fuse(features, 1.0)


class _BestFaceOnly(Track):
    __slots__ = ()

    def fuse(self, features: NDArray[np.float32], quality: float) -> None:
        """The probe is the best face so far, which `best_quality` is of by now."""
        best = self._features.array
        if quality >= self.best_quality:
            np.copyto(best, features)
        np.copyto(features, best)
        self.faces += 1


class _Trusting(Track):
    __slots__ = ()

    def resembles(self, features: NDArray[np.float32], threshold: float) -> bool:
        """Whatever the face looks like: place and motion say whose it is."""
        del features, threshold
        return True


class _RipeAtOnce(Rule):
    __slots__ = ()

    def required(self, faces: int) -> float:
        """The threshold, however few faces there are."""
        del faces
        return self.threshold


def _following(kind: type[Track]) -> Recognising:
    """A recogniser whose tracks are of that kind."""
    return type(f"Recogniser of {kind.__name__}", (Recogniser,), {"track_type": kind})


def _ripe_at_once(rule: Rule) -> Rule:
    return _RipeAtOnce(rule.threshold, rule.margin, rule.confirmation, rule.cooldown_s)


AS_SHIPPED = Variant("")
OF_STILLS = (
    Variant("without mirrored averaging", engine_set=_without_mirror),
    Variant("scores not lowered", lowered=False),
)
OF_FOOTAGE = (
    *OF_STILLS,
    Variant("every face embedded", recogniser=_following(_AlwaysDue)),
    Variant("a face every 120 ms embedded", recogniser=_following(_EvenlyDue)),
    Variant("unweighted fusion", recogniser=_following(_EquallyWeighted)),
    Variant("no fusion: the best face alone", recogniser=_following(_BestFaceOnly)),
    Variant("unlike faces fused too", recogniser=_following(_Trusting)),
    Variant("few faces need no more than many", rule=_ripe_at_once),
    Variant("confirmation 1", rule=partial(replace, confirmation=1)),
    Variant("confirmation 4", rule=partial(replace, confirmation=4)),
    Variant("margin 0.05", rule=partial(replace, margin=0.05)),
    *(Variant(f"a full look every {every} pictures", view=View(full_look_every=every)) for every in (2, 3, 4)),
)
