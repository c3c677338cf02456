"""Whatever is done to what comes from outside, it ends in an answer or in one of our errors, and soon."""

import os
from pathlib import Path

import pytest
from fuzz.parsers import PARSERS, SEEDS, damaged, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfr_edge.errors import LfrEdgeError

_LONG = int(os.environ.get("LFR_EDGE_FUZZ", "3000"))
_SHORT_FORM = settings(max_examples=120, deadline=5000, suppress_health_check=list(HealthCheck), database=None)
_LONG_FORM = settings(_SHORT_FORM, max_examples=_LONG)


def refused_or_read(name: str, untrusted: bytes, path: Path) -> bool:
    """Whether it was read; anything but our errors is a fault, and so is what takes five seconds."""
    try:
        PARSERS[name](untrusted, path)
    except LfrEdgeError as refused:
        assert len(str(refused)) < 4096  # noqa: PT017 - a refusal is an answer here
        return False
    return True


def test_every_parser_has_seeds_and_every_seed_a_parser() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(PARSERS)
    assert all(seeds(name) for name in PARSERS)


# These were signed or sealed with a key that is gone, or are an alert or a test pass whose outside says something else,
# or the share of another order.
_REFUSED_WHOLE = {"package", "envelope", "sealed-alert", "alert", "test-pass", "log", "entry", "share"}


@pytest.mark.parametrize("name", sorted(PARSERS.keys() - _REFUSED_WHOLE))
def test_undamaged_a_seed_is_read(name: str, tmp_path: Path) -> None:
    assert any(refused_or_read(name, seed, tmp_path / "untrusted") for seed in seeds(name))


@pytest.mark.parametrize("name", PARSERS)
@_SHORT_FORM
@given(data=st.data())
def test_damage_ends_in_one_of_our_errors(name: str, tmp_path: Path, data: st.DataObject) -> None:
    refused_or_read(name, data.draw(st.sampled_from(seeds(name)).flatmap(damaged)), tmp_path / "untrusted")


_HEX = b"0x" + b"f" * 6000  # Python reads it, and refuses to write it in decimal digits


@pytest.mark.parametrize("name", ["config", "order-file"])
@pytest.mark.parametrize(
    "text",
    [
        b"expected_faces = " + _HEX,
        b"memory_mib = " + _HEX,
        b"place = " + b"[" * 3000,
        b"place." + b"a." * 3000 + b"b = 1",
        b"[[vans]]\ncameras = []\nid = " + _HEX,
        b"a" * 6000 + b" = 1",
    ],
    ids=["long-number", "another-long-number", "deep-array", "deep-table", "long-number-as-id", "long-key"],
)
def test_what_once_ended_in_a_traceback_is_refused(name: str, text: bytes, tmp_path: Path) -> None:
    vans = b'\n[[vans]]\nid = "van-1"\ncameras = ["north"]\n'
    assert not refused_or_read(name, text + vans * (name == "order-file"), tmp_path / "untrusted")


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.timeout(3600)
@_LONG_FORM
@given(data=st.data())
def test_damage_ends_in_one_of_our_errors_long_form(name: str, tmp_path: Path, data: st.DataObject) -> None:
    refused_or_read(name, data.draw(st.sampled_from(seeds(name)).flatmap(damaged)), tmp_path / "untrusted")


@pytest.mark.parametrize("name", PARSERS)
@settings(_SHORT_FORM, max_examples=30)
@given(untrusted=st.binary(max_size=2000))
def test_rubbish_ends_in_one_of_our_errors(name: str, tmp_path: Path, untrusted: bytes) -> None:
    refused_or_read(name, untrusted, tmp_path / "untrusted")
