"""The deployment package: three members, one spelling, and everything else refused."""

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfr_edge.errors import ConfigError, LfrEdgeError, Reason, UntrustedInputError
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.package import open_package, write_package
from lfr_edge.watchlist.pictures import write_pictures

ORDER = b'{"signed": "order"}'
WATCHLIST = bytes(range(256)) * 5
MEMBERS = [("order.json", ORDER), ("watchlist.age", WATCHLIST), ("pictures.bin", b"")]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "coast.lfrd"
    write_package(path, ORDER, io.BytesIO(WATCHLIST), io.BytesIO(b"pictures" * 100))
    return path


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for info, data in members:
            info.size = len(data) if info.isreg() else info.size
            tar.addfile(info, io.BytesIO(data))
    return path


def plain(name: str, **changes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = 0o600
    for field, value in changes.items():
        setattr(info, field, value)
    return info


def test_what_is_written_is_read_back(package: Path) -> None:
    with open_package(package) as opened:
        assert opened.order == ORDER
        assert opened.watchlist().read() == WATCHLIST
        assert opened.watchlist().read(3) == WATCHLIST[:3]
        assert opened.watchlist_sha256 == hashlib.sha256(WATCHLIST).hexdigest()
        assert opened.pictures_sha256 == hashlib.sha256(b"pictures" * 100).hexdigest()


def test_any_tar_program_lists_it(package: Path) -> None:
    with tarfile.open(package) as tar:
        assert tar.getnames() == ["order.json", "watchlist.age", "pictures.bin"]
        member = tar.extractfile("watchlist.age")
        assert member is not None
        assert member.read() == WATCHLIST


def test_the_same_content_is_the_same_file(package: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.lfrd"
    write_package(again, ORDER, io.BytesIO(WATCHLIST), io.BytesIO(b"pictures" * 100))
    assert again.read_bytes() == package.read_bytes()


def test_a_package_is_never_replaced(package: Path) -> None:
    before = package.read_bytes()
    with pytest.raises(ConfigError) as refused:
        write_package(package, b"other", io.BytesIO(b""), io.BytesIO(b""))
    assert refused.value.reason is Reason.FILE_EXISTS
    assert package.read_bytes() == before


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    class BrokenDisk(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            del size
            raise OSError(5, "Input/output error")

    with pytest.raises(ConfigError, match="cannot be written: Input/output error"):
        write_package(tmp_path / "x.lfrd", ORDER, io.BytesIO(WATCHLIST), BrokenDisk(b"12345"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/x\.lfrd cannot be written"):
        write_package(tmp_path / "nowhere" / "x.lfrd", ORDER, io.BytesIO(), io.BytesIO())


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        open_package(tmp_path / "absent.lfrd")
    assert refused.value.reason is Reason.FILE_MISSING
    assert "absent.lfrd" in str(refused.value)


def test_every_truncation_is_refused(package: Path, tmp_path: Path) -> None:
    whole = package.read_bytes()
    cut = tmp_path / "cut.lfrd"
    boundaries = {at + nudge for at in range(0, len(whole), 512) for nudge in (-1, 0, 1)}
    for length in sorted(boundaries & set(range(len(whole)))):
        cut.write_bytes(whole[:length])
        with pytest.raises(UntrustedInputError) as refused:
            open_package(cut)
        assert refused.value.reason is Reason.TRUNCATED


def test_a_trailing_byte_is_refused(package: Path) -> None:
    package.write_bytes(package.read_bytes() + b"\0")
    with pytest.raises(UntrustedInputError, match="follows its last member"):
        open_package(package)


HOSTILE: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "duplicate": [(plain("order.json"), ORDER), (plain("order.json"), ORDER), (plain("watchlist.age"), WATCHLIST)],
    "other-order": [(plain(name), data) for name, data in reversed(MEMBERS)],
    "missing": [(plain(name), data) for name, data in MEMBERS[:2]],
    "extra": [(plain(name), data) for name, data in [*MEMBERS, ("more", b"")]],
    "absolute-name": [(plain("/order.json"), ORDER), *[(plain(name), data) for name, data in MEMBERS[1:]]],
    "parent-name": [(plain("../order.json"), ORDER), *[(plain(name), data) for name, data in MEMBERS[1:]]],
    "dot-name": [(plain("./order.json"), ORDER), *[(plain(name), data) for name, data in MEMBERS[1:]]],
    "symbolic-link": [
        (plain("order.json", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        *[(plain(name), data) for name, data in MEMBERS[1:]],
    ],
    "hard-link": [
        (plain("order.json"), ORDER),
        (plain("watchlist.age", type=tarfile.LNKTYPE, linkname="order.json"), b""),
        (plain("pictures.bin"), b""),
    ],
    "device": [
        (plain("order.json", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
        *[(plain(name), data) for name, data in MEMBERS[1:]],
    ],
    "folder": [(plain("order.json", type=tarfile.DIRTYPE), b""), *[(plain(n), d) for n, d in MEMBERS[1:]]],
    "set-uid": [(plain("order.json", mode=0o4755), ORDER), *[(plain(n), d) for n, d in MEMBERS[1:]]],
    "huge-order": [(plain("order.json"), bytes((1 << 20) + 1)), *[(plain(n), d) for n, d in MEMBERS[1:]]],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_other_tar_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UntrustedInputError) as refused:
        open_package(tar_of(tmp_path / "hostile.lfrd", HOSTILE[name]))
    assert refused.value.reason is Reason.MALFORMED


def test_extended_headers_are_refused(tmp_path: Path) -> None:
    members = [(plain(name), data) for name, data in MEMBERS]
    members[0][0].pax_headers = {"path": "order.json", "comment": "hidden"}
    with pytest.raises(UntrustedInputError):
        open_package(tar_of(tmp_path / "pax.lfrd", members, tarfile.PAX_FORMAT))


@pytest.mark.parametrize("size", [b"77777777777", b"-0000000001", b"0000000002_", b"zzzzzzzzzzz", b"\x80" + b"\0" * 10])
def test_a_header_that_lies_about_the_size_is_refused(package: Path, size: bytes) -> None:
    whole = bytearray(package.read_bytes())
    whole[124:135] = size
    whole[148:156] = b"        "
    whole[148:156] = b"%06o\0 " % sum(whole[:512])
    package.write_bytes(whole)
    with pytest.raises(UntrustedInputError):
        open_package(package)


def test_something_hidden_in_the_padding_is_refused(package: Path) -> None:
    whole = bytearray(package.read_bytes())
    whole[512 + len(ORDER) + 1] = 1
    package.write_bytes(whole)
    with pytest.raises(UntrustedInputError, match="something is hidden behind"):
        open_package(package)


def test_every_flipped_bit_is_refused_or_changes_a_digest_or_the_order(package: Path) -> None:
    whole = package.read_bytes()
    with open_package(package) as opened:
        genuine = (opened.order, opened.watchlist_sha256, opened.pictures_sha256)
    for at in range(0, len(whole), 7):
        package.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            with open_package(package) as opened:
                assert (opened.order, opened.watchlist_sha256, opened.pictures_sha256) != genuine
        except UntrustedInputError:
            pass


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_never_raises_anything_but_our_errors(package: Path, data: st.DataObject) -> None:
    damaged = bytearray(package.with_suffix(".lfrd").read_bytes())
    header = data.draw(st.sampled_from([0, 1024, 1024 + 512 + 1536]))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[header + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    hostile = package.with_name("damaged.lfrd")
    hostile.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with contextlib.suppress(LfrEdgeError):
        open_package(hostile).close()


@pytest.fixture
def with_pictures(tmp_path: Path, make_entry: Callable[..., Entry]) -> tuple[Path, list[Entry]]:
    sealed = io.BytesIO()
    members = write_pictures(sealed, [("E-000", b"jpeg of E-000"), ("E-001", b"another jpeg")])
    path = tmp_path / "pictures.lfrd"
    write_package(path, ORDER, io.BytesIO(WATCHLIST), sealed)
    return path, [make_entry(number, picture=members[f"E-00{number}"]) for number in range(2)]


def test_each_picture_opens_alone(with_pictures: tuple[Path, list[Entry]]) -> None:
    path, entries = with_pictures
    with open_package(path) as package:
        assert [package.pictures.open(entry) for entry in entries] == [b"jpeg of E-000", b"another jpeg"]
    assert b"jpeg" not in path.read_bytes()


def test_a_picture_of_another_entry_does_not_open(with_pictures: tuple[Path, list[Entry]]) -> None:
    path, (first, second) = with_pictures
    with open_package(path) as package, pytest.raises(UntrustedInputError):
        package.pictures.open(second.model_copy(update={"picture": first.picture}))


@pytest.mark.parametrize("change", [{"offset": 1 << 40}, {"length": 1 << 40}, {"length": 3}, {"key": "00" * 32}])
def test_a_picture_with_a_wrong_place_or_key_does_not_open(
    with_pictures: tuple[Path, list[Entry]], change: dict[str, object]
) -> None:
    path, (entry, _) = with_pictures
    wrong = entry.model_copy(update={"picture": entry.picture.model_copy(update=change)})
    with open_package(path) as package, pytest.raises(UntrustedInputError) as refused:
        package.pictures.open(wrong)
    assert refused.value.reason is Reason.DECRYPTION_FAILED
