"""The configured backend's engines, loaded as one extractor. There is no fallback from one backend to another."""

from lfr_edge.adapters.openvino_engine import open_detector, open_embedder
from lfr_edge.biometrics.arena import Arena
from lfr_edge.inference.manifest import EngineSet
from lfr_edge.inference.store import EngineStore
from lfr_edge.pipeline.extract import Extractor


def open_extractor(engine_set: EngineSet, store: EngineStore, arena: Arena, *, threads: int) -> Extractor:
    """Detector and embedders of the set, on `threads` cores. ConfigError if a model or OpenVINO is missing."""
    return Extractor(
        engine_set,
        open_detector(engine_set, store, lanes=threads),
        [open_embedder(embedder, store) for embedder in engine_set.embedders],
        arena,
    )
