"""Features of one face: joined over embedders, averaged over the mirror image, aligned as the manifest says."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lfr_edge.biometrics.arena import Arena
from lfr_edge.biometrics.image import Image
from lfr_edge.biometrics.retention import FRAME
from lfr_edge.inference.fake import FakeEngine
from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.pipeline.extract import Extractor
from lfr_edge.vision.detection import Detection
from lfr_edge.vision.geometry import Box


