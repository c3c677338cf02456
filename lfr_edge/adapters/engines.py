"""The configured backend's engines, loaded as one extractor. There is no fallback from one backend to another.

Nor from a variant to its float32 set: a variant opens only where its golden picture shows what that set sees there.
"""

from lfr_edge.adapters.openvino_engine import open_detector, open_embedder
from lfr_edge.biometrics.arena import Arena
from lfr_edge.errors import DeviceError, Reason
from lfr_edge.inference.manifest import EngineSet, Variant
from lfr_edge.inference.store import EngineStore
from lfr_edge.pipeline.agreement import Agreement, agreement, golden_picture, require_agreement, unfit
from lfr_edge.pipeline.extract import Extractor


def open_extractor(engine_set: EngineSet, store: EngineStore, arena: Arena, *, threads: int) -> Extractor:
    """Detector (for glances too) and embedders of the set, on `threads` cores.

    ConfigError if a model or OpenVINO is missing, and for a variant that this machine does not compute well enough.
    """
    if engine_set.variant is not None:  # every time: .3 s in bfloat16, .5 s in INT8
        require_agreement(engine_set, engine_set.variant, agreement_here(engine_set, engine_set.variant, store, arena))
    return Extractor(
        engine_set,
        open_detector(engine_set, store, lanes=threads),
        [open_embedder(embedder, store) for embedder in engine_set.embedders],
        arena,
        glancer=open_detector(engine_set, store, lanes=threads, halved=True),
    )


def agreement_here(engine_set: EngineSet, variant: Variant, store: EngineStore, arena: Arena) -> Agreement:
    """What the variant makes of the golden picture on this machine. ConfigError if it cannot be computed here.

    With engines of its own: those that go live do not keep a graph for the golden picture's size.
    """
    picture = golden_picture(variant)
    detector = open_detector(engine_set, store, lanes=1)
    embedders = [open_embedder(embedder, store) for embedder in engine_set.embedders]
    extractor = Extractor(engine_set, detector, embedders, arena)
    try:
        return agreement(extractor, variant.golden, picture)
    except DeviceError as error:
        if error.reason is not Reason.ENGINE_FAILED:
            raise
        raise unfit(engine_set, variant, f"cannot be computed ({error.message})") from error
    finally:
        extractor.close()
