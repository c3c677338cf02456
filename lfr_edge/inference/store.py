"""The models on this machine: files named by their hash, checked whenever they are read.

What is not here: where a missing model comes from (`sources`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.files import PUBLIC, new_file
from lfr_edge.inference.manifest import EngineSet, OnnxFile
from lfr_edge.inference.sources import obtain

DEFAULT_STORE = Path("/var/lib/lfr-edge/engines")


class EngineStore:
    """A folder of ONNX files."""

    def __init__(self, root: Path = DEFAULT_STORE) -> None:
        self.root = root

    def path_of(self, sha256: str) -> Path:
        """Where the file with this hash is, or would be."""
        return self.root / "onnx" / f"{sha256}.onnx"

    def read(self, onnx: OnnxFile) -> bytes:
        """The file, checked. ConfigError if it is missing, UntrustedInputError if it is not what its name says."""
        path = self.path_of(onnx.sha256)
        try:
            untrusted = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                Reason.FILE_MISSING,
                f"the model {onnx.file} is not in {self.root} ({error.strerror})",
                fix="run 'lfr-edge engines fetch' for this engine set",
            ) from error
        if hashlib.sha256(untrusted).hexdigest() != onnx.sha256:
            raise UntrustedInputError(
                Reason.DIGEST_MISMATCH,
                f"{path} is not the {onnx.file} of the manifest",
                fix="run 'lfr-edge engines fetch', which replaces it",
            )
        return untrusted

    def has(self, onnx: OnnxFile) -> bool:
        """Whether the file is here, unharmed."""
        try:
            self.read(onnx)
        except (ConfigError, UntrustedInputError):
            return False
        return True

    def verify(self, engine_set: EngineSet) -> None:
        """Raise as `read` does unless every model of the set is here, unharmed."""
        for onnx in engine_set.onnx_files:
            self.read(onnx)

    def fetch(self, engine_set: EngineSet, folders: Sequence[Path] = ()) -> dict[str, str]:
        """Get what is missing: from `folders`, else from the manifest's sources. Returns where each file came from.

        All or nothing per file: what cannot be had raises ConfigError, and nothing half-written stays.
        """
        self._make_folders()
        came_from: dict[str, str] = {}
        for onnx in engine_set.onnx_files:
            if self.has(onnx):
                came_from[onnx.file] = "the store"
                continue
            at_hand = () if onnx.int8 is None else (self.path_of(onnx.int8.float32_sha256),)
            content, came_from[onnx.file] = obtain(onnx, folders, at_hand)
            # Public weights: the daemon's user reads what an administrator fetched.
            with new_file(self.path_of(onnx.sha256), mode=PUBLIC, replace=True) as file:
                file.write(content)
        return came_from

    def _make_folders(self) -> None:
        try:
            (self.root / "onnx").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                Reason.FILE_UNWRITABLE,
                f"cannot make the engine store {self.root}: {error.strerror}",
                fix="run as its owner, or name another with --store",
            ) from error
