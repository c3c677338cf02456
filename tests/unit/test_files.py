"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from lfr_edge.errors import ConfigError, Reason
from lfr_edge.files import PUBLIC, new_file, require_new


def test_the_file_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with new_file(path) as file:
        file.write(b"whole")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with new_file(tmp_path / "key") as file:
            file.write(b"half")
            raise ValueError("power cut")

    with pytest.raises(ValueError, match="power cut"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"first")
    with pytest.raises(ConfigError) as refused, new_file(path) as file:
        file.write(b"second")
    assert refused.value.reason is Reason.FILE_EXISTS
    assert path.read_bytes() == b"first"
    with new_file(path, mode=PUBLIC, replace=True) as file:
        file.write(b"third")
    assert path.read_bytes() == b"third"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="check its folder") as refused, new_file(tmp_path / "no" / "key"):
        pass
    assert refused.value.reason is Reason.FILE_UNWRITABLE


def test_whether_something_can_be_made_is_known_before_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"")
    require_new(tmp_path / "new")
    for path, reason in [
        (tmp_path / "there", Reason.FILE_EXISTS),
        (tmp_path / "no" / "new", Reason.FILE_MISSING),
        (tmp_path / "there" / "new", Reason.FILE_MISSING),
        (tmp_path / ("n" * 300), Reason.FILE_UNWRITABLE),
    ]:
        with pytest.raises(ConfigError) as refused:
            require_new(path)
        assert refused.value.reason is reason
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
