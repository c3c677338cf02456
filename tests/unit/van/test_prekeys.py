"""One key for one deployment: wrapped at rest, bound to its name, and gone after use."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lfr_edge.crypto.sealed import open_sealed, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, sign
from lfr_edge.crypto.wrapping import WrappingKey
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError
from lfr_edge.messages.prekey import Prekeys, open_prekeys, sign_prekeys
from lfr_edge.van.prekeys import LIFETIME, PrekeyStock

NOW = datetime(2026, 6, 20, 12, tzinfo=timezone.utc)


@pytest.fixture
def stock(tmp_path: Path) -> PrekeyStock:
    return PrekeyStock(tmp_path / "prekeys", tmp_path / "wrapping.key")


def test_a_prekey_opens_what_was_sealed_to_it_until_it_is_destroyed(stock: PrekeyStock, tmp_path: Path) -> None:
    first, second = stock.make(2, NOW)
    sealed = seal(b"the list", [first.recipient])
    identity = stock.identity(first.recipient)
    assert identity is not None
    assert open_sealed(sealed, identity) == b"the list"
    assert stock.destroy(first.recipient)
    assert stock.identity(first.recipient) is None
    assert not stock.destroy(first.recipient), "once"
    assert (len(stock), stock.identity(second.recipient) is None) == (1, False)
    assert PrekeyStock(tmp_path / "prekeys", tmp_path / "wrapping.key").identity(second.recipient) is not None


def test_a_private_half_is_on_the_disk_only_wrapped(stock: PrekeyStock, tmp_path: Path) -> None:
    stock.make(3, NOW)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert all(path.stat().st_mode & 0o77 == 0 for path in files)
    assert not any(b"AGE-SECRET-KEY" in path.read_bytes() for path in files)


def test_destroying_overwrites_before_it_removes(stock: PrekeyStock, tmp_path: Path) -> None:
    (prekey,) = stock.make(1, NOW)
    (path,) = (tmp_path / "prekeys").glob("*.prekey")
    (tmp_path / "link").hardlink_to(path)
    stock.destroy(prekey.recipient)
    assert not any((tmp_path / "link").read_bytes())


def test_another_wrapping_key_or_a_changed_file_opens_nothing(stock: PrekeyStock, tmp_path: Path) -> None:
    one, other = stock.make(2, NOW)
    paths = {name: tmp_path / "prekeys" / f"{name}.prekey" for name in (one.recipient, other.recipient)}
    paths[other.recipient].write_bytes(paths[one.recipient].read_bytes())
    with pytest.raises(ConfigError, match="damaged"):
        stock.identity(other.recipient)
    renamed = paths[one.recipient].read_bytes().replace(one.recipient.encode(), other.recipient.encode())
    paths[other.recipient].write_bytes(renamed)
    with pytest.raises(ConfigError, match="does not open"):
        stock.identity(other.recipient)
    (tmp_path / "wrapping.key").unlink()
    WrappingKey.made_at(tmp_path / "wrapping.key")
    with pytest.raises(ConfigError, match="does not open"):
        stock.identity(one.recipient)


def test_a_file_that_is_no_wrapping_key_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "wrapping.key").write_bytes(b"short")
    with pytest.raises(ConfigError) as refused:
        WrappingKey.made_at(tmp_path / "wrapping.key")
    assert refused.value.reason is Reason.FILE_MALFORMED
    assert (tmp_path / "wrapping.key").read_bytes() == b"short"


def test_prekeys_expire_but_for_the_one_in_use(stock: PrekeyStock) -> None:
    used, _ = stock.make(2, NOW)
    stock.make(1, NOW + timedelta(days=1))
    assert stock.expire(NOW + LIFETIME - timedelta(seconds=1), keep=()) == 0
    assert stock.expire(NOW + LIFETIME, keep=[used.recipient]) == 1
    assert len(stock) == 2


def test_a_prekey_that_was_half_destroyed_when_the_power_failed_goes(stock: PrekeyStock, tmp_path: Path) -> None:
    half, used, fresh = stock.make(3, NOW)
    for prekey in (half, used):
        path = tmp_path / "prekeys" / f"{prekey.recipient}.prekey"
        path.write_bytes(bytes(path.stat().st_size))
    assert stock.expire(NOW, keep=[used.recipient]) == 1
    left = {path.name.removesuffix(".prekey") for path in (tmp_path / "prekeys").iterdir()}
    assert left == {used.recipient, fresh.recipient}


def test_the_office_believes_only_what_this_van_signed_as_prekeys(stock: PrekeyStock) -> None:
    van, other = SigningKey.generate(), SigningKey.generate()
    prekeys = Prekeys(force="example", van="van-1", made_at=NOW, prekeys=stock.make(2, NOW))
    assert open_prekeys(sign_prekeys(prekeys, van), van.public) == prekeys
    for forged in (
        sign_prekeys(prekeys, other),
        sign(prekeys.to_json(), Purpose.ORDER, [van]),
        sign(prekeys.to_json(), Purpose.ERASURE, [van]),
        sign(b"{}", Purpose.PREKEY, [van]),
    ):
        with pytest.raises(UntrustedInputError):
            open_prekeys(forged, van.public)
