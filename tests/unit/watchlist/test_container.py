"""The container: what is written is read back, by us and by the safetensors library; everything else is refused."""

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load

from lfr_edge.biometrics.arena import Arena
from lfr_edge.crypto.sealed import SealIdentity, seal
from lfr_edge.errors import DeviceError, LfrEdgeError, PolicyError, Reason, UntrustedInputError
from lfr_edge.watchlist.container import ContainerReader, read_watchlist, write_watchlist
from lfr_edge.watchlist.crowding import lowering
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.references import Watchlist

Read = Callable[..., Watchlist]
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def split(container: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", container[:8])
    return json.loads(container[8 : 8 + length]), container[8 + length :]


def join(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def with_entries(container: bytes, change: Callable[[list[dict[str, Any]]], object]) -> bytes:
    header, data = split(container)
    entries = json.loads(header["__metadata__"]["entries"])
    change(entries)
    header["__metadata__"]["entries"] = json.dumps(entries)
    return join(header, data)


def with_rows(container: bytes, change: Callable[[NDArray[np.float32]], object]) -> bytes:
    header, data = split(container)
    start, end = header["templates"]["data_offsets"]
    rows = np.frombuffer(bytearray(data[start:end]), np.float32).reshape(header["templates"]["shape"])
    change(rows)
    return join(header, data[:start] + rows.tobytes() + data[end:])


def templates_of(watchlist: Watchlist) -> NDArray[np.float32]:
    return np.array(watchlist._templates.array)


@pytest.mark.parametrize("step", [1, 7, 8, 100, 8192])
def test_what_is_written_is_read_back_whatever_the_chunks(container: bytes, read: Read, step: int) -> None:
    watchlist = read(container, step=step)
    assert [entry.id for entry in watchlist.entries] == ["E-000", "E-001", "E-002"]
    assert (len(watchlist), watchlist.template_count, watchlist.dimension) == (3, 4, 8)
    assert watchlist.entries[1].picture.key == "ab" * 32


def test_the_safetensors_library_reads_the_same(container: bytes, read: Read) -> None:
    tensors = load(container)
    watchlist = read(container)
    assert np.array_equal(tensors["templates"], templates_of(watchlist))
    assert np.array_equal(tensors["entry_of_template"], watchlist._entry_of_template)


def test_the_parts_may_come_in_the_other_order(container: bytes, read: Read) -> None:
    header, data = split(container)
    start, end = header["templates"]["data_offsets"]
    assert start == 0
    header["entry_of_template"]["data_offsets"] = [0, len(data) - end]
    header["templates"]["data_offsets"] = [len(data) - end, len(data)]
    swapped = join(header, data[end:] + data[:end])
    assert np.array_equal(templates_of(read(swapped)), templates_of(read(container)))


def test_a_sealed_container_opens_into_the_arena(container: bytes, read: Read, arena: Arena, contract: str) -> None:
    identity = SealIdentity.generate()
    sealed = io.BytesIO(seal(container, [identity.recipient]))
    watchlist = read_watchlist(sealed, identity, arena, contract=contract, dimension=8)
    assert np.array_equal(templates_of(watchlist), templates_of(read(container)))
    watchlist.wipe()


def test_another_key_opens_nothing(container: bytes, arena: Arena, contract: str) -> None:
    sealed = io.BytesIO(seal(container, [SealIdentity.generate().recipient]))
    with pytest.raises(UntrustedInputError) as refused:
        read_watchlist(sealed, SealIdentity.generate(), arena, contract=contract, dimension=8)
    assert refused.value.reason is Reason.DECRYPTION_FAILED
    assert arena.leased_bytes == 0


def test_a_sealed_watchlist_cut_or_flipped_anywhere_is_refused_and_wiped(
    container: bytes, arena: Arena, contract: str
) -> None:
    identity = SealIdentity.generate()
    sealed = seal(container, [identity.recipient])
    damaged = [sealed[:length] for length in range(0, len(sealed), 97)]
    damaged += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(0, len(sealed), 97)]
    for bad in damaged:
        with pytest.raises(UntrustedInputError):
            read_watchlist(io.BytesIO(bad), identity, arena, contract=contract, dimension=8)
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_another_contract_is_refused_before_any_template_is_read(container: bytes, read: Read, arena: Arena) -> None:
    header_only = container[: 8 + struct.unpack("<Q", container[:8])[0]]
    with pytest.raises(PolicyError) as refused:
        read(header_only, contract="11" * 32)
    assert refused.value.reason is Reason.CONTRACT_MISMATCH
    assert arena.leased_bytes == 0


def test_another_dimension_is_refused(container: bytes, read: Read) -> None:
    with pytest.raises(PolicyError, match="8 features"):
        read(container, dimension=128)


def test_a_list_larger_than_the_arena_is_a_device_error(container: bytes) -> None:
    header, _ = split(container)
    header["templates"] |= {"shape": [1 << 20, 8], "data_offsets": [0, 32 << 20]}
    header["entry_of_template"] |= {"shape": [1 << 20], "data_offsets": [32 << 20, 36 << 20]}
    with (
        ContainerReader(Arena(4096), contract="c0" * 32, dimension=8) as reader,
        pytest.raises(DeviceError) as full,
    ):
        reader.write(join(header, b""))
    assert full.value.reason is Reason.MEMORY_EXHAUSTED


def offsets(templates: list[int], owners: list[int]) -> Callable[[dict[str, Any]], object]:
    def change(header: dict[str, Any]) -> None:
        header["templates"]["data_offsets"] = templates
        header["entry_of_template"]["data_offsets"] = owners

    return change


BAD_HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "overlap": offsets([0, 128], [64, 80]),
    "gap": offsets([0, 128], [132, 148]),
    "late-start": offsets([4, 132], [132, 148]),
    "backwards": offsets([128, 0], [128, 144]),
    "negative": offsets([-128, 0], [0, 16]),
    "too-short": offsets([0, 124], [124, 140]),
    "half-precision": lambda header: header["templates"].update(dtype="F16"),
    "wide-ids": lambda header: header["entry_of_template"].update(dtype="I64"),
    "flat": lambda header: header["templates"].update(shape=[32]),
    "cube": lambda header: header["templates"].update(shape=[4, 8, 1]),
    "no-rows": lambda header: header["templates"].update(shape=[0, 8]),
    "float-shape": lambda header: header["templates"].update(shape=[4.0, 8]),
    "other-count": lambda header: header["entry_of_template"].update(shape=[3]),
    "missing-tensor": lambda header: header.pop("entry_of_template"),
    "extra-tensor": lambda header: header.update(more=header["templates"]),
    "no-metadata": lambda header: header.pop("__metadata__"),
    "later-format": lambda header: header["__metadata__"].update(format="lfr-edge-watchlist/2"),
    "entries-not-json": lambda header: header["__metadata__"].update(entries="["),
    "entries-deep": lambda header: header["__metadata__"].update(entries="[" * 100_000),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_header_that_lies_is_refused(container: bytes, read: Read, arena: Arena, name: str) -> None:
    header, data = split(container)
    BAD_HEADERS[name](header)
    with pytest.raises(UntrustedInputError) as refused:
        read(join(header, data))
    assert refused.value.reason is Reason.MALFORMED
    assert arena.leased_bytes == 0


@pytest.mark.parametrize("length", [0, 1, (64 << 20) + 1, 1 << 63])
def test_an_absurd_header_length_is_refused_before_it_is_allocated(read: Read, length: int) -> None:
    with pytest.raises(UntrustedInputError, match=f"claims {length} bytes"):
        read(struct.pack("<Q", length))


BAD_ROWS: dict[str, Callable[[NDArray[np.float32]], object]] = {
    "nan": lambda rows: rows.__setitem__((1, 3), np.nan),
    "infinite": lambda rows: rows.__setitem__((1, 3), np.inf),
    "zero": lambda rows: rows.__setitem__(2, 0),
    "long": lambda rows: rows.__setitem__(0, rows[0] * 1.01),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_is_not_of_length_one_is_refused_and_wiped(
    container: bytes, read: Read, arena: Arena, name: str
) -> None:
    with pytest.raises(UntrustedInputError, match="length 1"):
        read(with_rows(container, BAD_ROWS[name]))
    assert not np.frombuffer(arena._map, np.uint8).any()


@pytest.mark.parametrize("owners", [[0, 1, 0, 2], [0, 1, 1, 3], [1, 1, 2, 2], [0, 0, 1, 1], [0, 1, 2, 3], [0, 2, 2, 1]])
def test_templates_not_grouped_by_entry_are_refused(container: bytes, read: Read, owners: list[int]) -> None:
    wrong = container[:-16] + np.array(owners, np.int32).tobytes()
    with pytest.raises(UntrustedInputError, match="grouped"):
        read(wrong)


BAD_ENTRIES: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "twice": lambda entries: entries[1].update(id=entries[0]["id"]),
    "path-in-id": lambda entries: entries[0].update(id="../x"),
    "newline-in-id": lambda entries: entries[0].update(id="x\n"),
    "long-id": lambda entries: entries[0].update(id="x" * 65),
    "unknown-response": lambda entries: entries[0].update(response="blue"),
    "unknown-field": lambda entries: entries[0].update(name="somebody"),
    "no-basis": lambda entries: entries[0].update(legal_basis=""),
    "not-a-date": lambda entries: entries[0].update(captured="yesterday"),
    "short-key": lambda entries: entries[0]["picture"].update(key="ab"),
    "negative-offset": lambda entries: entries[0]["picture"].update(offset=-1),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_an_entry_that_breaks_the_format_is_refused(container: bytes, read: Read, name: str) -> None:
    with pytest.raises(UntrustedInputError):
        read(with_entries(container, BAD_ENTRIES[name]))


def test_truncation_anywhere_is_refused(container: bytes, read: Read, arena: Arena) -> None:
    for length in range(0, len(container), 7):
        with pytest.raises(UntrustedInputError) as refused:
            read(container[:length])
        assert refused.value.reason is Reason.TRUNCATED
    assert arena.leased_bytes == 0


def test_a_byte_too_many_is_refused(container: bytes, read: Read) -> None:
    with pytest.raises(UntrustedInputError, match="follow after its end"):
        read(container + b"\0")


@pytest.mark.parametrize("count", [*range(1, 20), 100])
def test_the_last_piece_is_never_small_enough_to_escape_wiping(
    make_entry: Callable[..., Entry], unit_rows: Callable[[int, int], NDArray[np.float32]], contract: str, count: int
) -> None:
    entries = tuple(make_entry(number) for number in range(count))
    written = write_watchlist(entries, unit_rows(count, 8), np.arange(count, dtype=np.int32), contract=contract)
    assert len(written) % 8192 in {0, 8188}


def test_the_list_that_is_read_lowers_scores_and_wipes_by_how_much(
    read: Read,
    arena: Arena,
    contract: str,
    make_entry: Callable[..., Entry],
    unit_rows: Callable[[int, int], NDArray[np.float32]],
) -> None:
    rows = unit_rows(40, 8)
    owners = np.arange(40, dtype=np.int32)
    with lowering(rows, owners, arena) as lowered:
        expected = 1 - np.array(lowered.array)
    watchlist = read(write_watchlist(tuple(map(make_entry, range(40))), rows, owners, contract=contract))
    found = [watchlist.search(row, scores=np.empty(40, np.float32))[0].score for row in rows]
    assert min(found) < 0.95
    assert found == pytest.approx(expected, abs=1e-5)
    watchlist.wipe()
    assert arena.leased_bytes == 0


def test_a_picture_key_is_never_shown(make_entry: Callable[..., Entry]) -> None:
    assert "ab" * 32 not in repr(make_entry(1))


def test_the_office_cannot_write_what_the_van_would_refuse(
    make_entry: Callable[..., Entry], unit_rows: Callable[[int, int], NDArray[np.float32]], contract: str
) -> None:
    rows = unit_rows(2, 8)
    for bad_rows, owners in ((rows * 2, [0, 1]), (rows, [0, 0]), (rows, [1, 0])):
        with pytest.raises(UntrustedInputError):
            write_watchlist((make_entry(0), make_entry(1)), bad_rows, np.array(owners, np.int32), contract=contract)
    with pytest.raises(UntrustedInputError, match="one id"):
        write_watchlist((make_entry(0), make_entry(0)), rows, np.array([0, 1], np.int32), contract=contract)


@FUZZ
@given(st.data())
def test_damaged_bytes_never_raise_anything_but_our_errors(container: bytes, read: Read, data: st.DataObject) -> None:
    damaged = bytearray(container)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        watchlist = read(bytes(damaged), step=data.draw(st.sampled_from([1, 64, 8192])))
    except LfrEdgeError:
        return
    watchlist.wipe()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@FUZZ
@given(
    st.sampled_from(["__metadata__", "templates", "entry_of_template"]),
    st.sampled_from(["dtype", "shape", "data_offsets", "format", "entries", "contract", None]),
    _JSON,
)
def test_a_damaged_header_never_raises_anything_but_our_errors(
    container: bytes, read: Read, part: str, field: str | None, value: Any
) -> None:
    header, data = split(container)
    if field is None:
        header[part] = value
    else:
        header[part][field] = value
    with pytest.raises(LfrEdgeError):
        read(join(header, data))
