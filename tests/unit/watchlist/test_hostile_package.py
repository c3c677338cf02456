"""Packages made to harm a van: each is refused in our words, in bounded memory, and nothing of it is kept."""

import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.custody import ENGINE_SET, START, Holder, Kit, kit

from lfr_edge.biometrics.arena import Arena
from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, sign
from lfr_edge.errors import LfrEdgeError, Reason, UntrustedInputError
from lfr_edge.messages.examples import ORDER, RECIPIENT
from lfr_edge.messages.order import Order, open_order
from lfr_edge.van.deployment import load
from lfr_edge.van.lifecycle import State
from lfr_edge.watchlist.container import ContainerReader, read_watchlist
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.package import open_package
from lfr_edge.watchlist.pictures import PictureStore, write_pictures
from lfr_edge.watchlist.references import Watchlist
from lfr_edge.watchlist.span import Span

Read = Callable[..., Watchlist]
_MIB = 1 << 20


@pytest.fixture
def van(tmp_path: Path) -> Kit:
    return kit(tmp_path)


@pytest.fixture
def running(van: Kit) -> Iterator[Holder]:
    holder = van.process()
    yield holder
    holder.close()


def members_of(package: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(package)) as tar:
        return [(member.name, extracted.read()) for member in tar if (extracted := tar.extractfile(member))]


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    return packed.getvalue()[:end] + bytes(1024)  # a genuine package is not padded to whole records


def plain(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, 0o600
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def with_first(kind: bytes, name: str = "order.json", **fields: Any) -> Callable[[bytes], bytes]:
    """The genuine members, the first under a header of another kind."""

    def change(package: bytes) -> bytes:
        (_, order), *others = members_of(package)
        data = order if kind == tarfile.REGTYPE else b""
        return tar_of([(plain(name, kind, **fields), data), *[(plain(other), content) for other, content in others]])

    return change


def with_patch(at: int, patch: bytes) -> Callable[[bytes], bytes]:
    """The first header patched, and its checksum made right again."""

    def change(package: bytes) -> bytes:
        whole = bytearray(package)
        whole[at : at + len(patch)] = patch
        whole[148:156] = b"        "
        whole[148:156] = b"%06o\0 " % sum(whole[:512])
        return bytes(whole)

    return change


def extended(**headers: str) -> Callable[[bytes], bytes]:
    def change(package: bytes) -> bytes:
        members = [(plain(name), data) for name, data in members_of(package)]
        members[1][0].pax_headers = headers
        return tar_of(members, tarfile.PAX_FORMAT)

    return change


def rearranged(*places: int) -> Callable[[bytes], bytes]:
    def change(package: bytes) -> bytes:
        members = members_of(package)
        return tar_of([(plain(members[place][0]), members[place][1]) for place in places])

    return change


HOSTILE_TARS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "zeros": lambda _: bytes(10_240),
    "compressed": gzip.compress,
    "twice": lambda package: package + package,
    "traversal": with_first(tarfile.REGTYPE, "../../etc/order.json"),
    "absolute": with_first(tarfile.REGTYPE, "/order.json"),
    "symbolic-link": with_first(tarfile.SYMTYPE, linkname="/etc/shadow"),
    "hard-link": with_first(tarfile.LNKTYPE, linkname="watchlist.age"),
    "character-device": with_first(tarfile.CHRTYPE, devmajor=1, devminor=5),
    "block-device": with_first(tarfile.BLKTYPE, devmajor=8),
    "fifo": with_first(tarfile.FIFOTYPE),
    "folder": with_first(tarfile.DIRTYPE),
    "contiguous": with_first(tarfile.CONTTYPE),
    "old-plain": with_patch(156, b"\0"),
    "sparse": with_patch(156, b"S"),
    "volume-label": with_patch(156, b"V"),
    "multi-volume": with_patch(156, b"M"),
    "long-name": with_patch(156, b"L"),
    "gnu-magic": with_patch(257, b"ustar  \0"),
    "prefix": with_patch(345, b"etc"),
    "linked-plain": with_patch(157, b"/etc/shadow"),
    "owner": with_patch(108, b"0001750"),
    "huge-size": with_patch(124, b"77777777777"),
    "base-256-size": with_patch(124, b"\x80\0\0\0\0\0\0\0\x7f\xff\xff\xff"),
    "negative-size": with_patch(124, b"\xff" * 12),
    "pax-path": extended(path="../watchlist.age"),
    "pax-size": extended(size="99999999999999999999"),
    "pax-sparse": extended(**{"GNU.sparse.major": "1", "GNU.sparse.realsize": "1099511627776"}),
    "duplicate": rearranged(0, 0, 1, 2),
    "duplicate-last": rearranged(0, 1, 2, 2),
    "other-order": rearranged(1, 0, 2),
    "missing": rearranged(0, 2),
}


def test_the_members_that_are_changed_would_be_taken(van: Kit) -> None:
    genuine = van.package.read_bytes()
    assert rearranged(0, 1, 2)(genuine) == with_first(tarfile.REGTYPE)(genuine) == genuine


@pytest.mark.parametrize("name", HOSTILE_TARS)
def test_a_hostile_tar_is_refused_and_the_van_stays_as_it_was(van: Kit, running: Holder, name: str) -> None:
    before, hostile = van.files(), HOSTILE_TARS[name](van.package.read_bytes())
    tracemalloc.start()
    try:
        with pytest.raises(UntrustedInputError) as refused:
            running.custody.take(io.BytesIO(hostile), "account:officer")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.reason in {Reason.MALFORMED, Reason.TRUNCATED}
    assert "the deployment package is damaged" in str(refused.value)
    assert (running.keeper.record.state, van.files()) == (State.IDLE, before)
    assert peak < 4 * _MIB


def test_a_refusal_leaves_the_van_able_to_take_the_genuine_package(van: Kit, running: Holder) -> None:
    genuine = van.package.read_bytes()
    with pytest.raises(UntrustedInputError):
        running.custody.take(io.BytesIO(genuine[:-512]), "account:officer")
    running.custody.take(io.BytesIO(genuine), "account:officer")
    assert running.keeper.record.state is State.ARMED


def test_a_package_cut_at_any_block_is_refused_by_the_van(van: Kit, running: Holder) -> None:
    whole, before = van.package.read_bytes(), van.files()
    for length in range(0, len(whole), 512):
        with pytest.raises(UntrustedInputError) as refused:
            running.custody.take(io.BytesIO(whole[:length]), "account:officer")
        assert refused.value.reason is Reason.TRUNCATED
    assert van.files() == before


def test_a_member_of_eight_gibibytes_that_is_not_there_takes_no_memory(van: Kit) -> None:
    hostile = van.folder / "hollow.lfrd"
    length = (8 << 30) - 512
    with hostile.open("wb") as file:
        order = plain("order.json", size=length)
        file.write(order.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(length + 4096)
    tracemalloc.start()
    with pytest.raises(UntrustedInputError):
        open_package(hostile)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < _MIB


# The list: signed by the officers, sealed to the van, and still not believed.


def split(container: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", container[:8])
    return json.loads(container[8 : 8 + length]), container[8 + length :]


def join(header: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header.encode())) + header.encode() + data


def entries_as(text: str) -> Callable[[dict[str, Any]], str]:
    def change(header: dict[str, Any]) -> str:
        header["__metadata__"]["entries"] = text
        return json.dumps(header)

    return change


def repeated(part: str, member: str) -> Callable[[dict[str, Any]], str]:
    """One member twice, the second time as it was: whoever takes the last would see nothing wrong."""

    def change(header: dict[str, Any]) -> str:
        inner = json.dumps(header[part])
        return json.dumps(header | {part: "@"}).replace('"@"', f'{{"{member}": null, {inner[1:]}')

    return change


def entry_with(text: str, replacement: str) -> Callable[[dict[str, Any]], str]:
    """The entries with one piece of their JSON replaced, as text."""

    def change(header: dict[str, Any]) -> str:
        entries = header["__metadata__"]["entries"]
        assert text in entries
        header["__metadata__"]["entries"] = entries.replace(text, replacement, 1)
        return json.dumps(header)

    return change


HOSTILE_HEADERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "many-bad-entries": entries_as("[" + "{}," * (1 << 20) + "{}]"),
    "many-numbers": entries_as("[" + "0," * (1 << 21) + "0]"),
    "deep-entries": entries_as("[" * (1 << 21)),
    "one-huge-entry": entries_as('[{"id":"' + "x" * (1 << 22) + '"}]'),
    "one-wide-entry": entries_as("[{" + '"a":0,' * (1 << 19) + '"b":0}]'),
    "many-names": lambda _: "{" + ",".join(f'"{number}":0' for number in range(1 << 18)) + "}",
    "many-strings": lambda _: "[" + '"",' * (1 << 20) + '""]',
    "many-zeros": lambda header: json.dumps(header).replace('"shape": [', '"shape": [' + "0," * (1 << 20), 1),
    "deep": lambda _: "[" * (1 << 21),
    "deep-objects": lambda _: '{"a":' * (1 << 19),
    "spaces": lambda header: json.dumps(header) + " " * (1 << 22),
    "not-utf-8": lambda _: "{\ud800}",
    "huge-shape": lambda header: json.dumps(header).replace('"shape": [4, 8]', '"shape": [' + "9" * 5000 + ", 8]"),
    "huge-offset": lambda header: json.dumps(header).replace("[0, 128]", "[0, 1e300]"),
    "infinite-offset": lambda header: json.dumps(header).replace("[0, 128]", "[0, Infinity]"),
    "metadata-twice": repeated("__metadata__", "contract"),
    "shape-twice": repeated("templates", "shape"),
    "entry-twice": entry_with('"id":"E-001"', '"id":"E-009","id":"E-001"'),
    "picture-twice": entry_with('"offset":0', '"offset":9,"offset":0'),
    "bad-separator": entry_with("},{", "};{"),
    "no-separator": entry_with("},{", "}{"),
    "closing-comma": entry_with("}}]", "}},]"),
    "no-bracket": entry_with("[{", "{"),
    "rest": entry_with("}}]", "}}]{}"),
    "huge-picture": entry_with('"length":1,', '"length":1048593,'),
    "far-picture": entry_with('"offset":0', '"offset":' + "9" * 30),
    "fractional-picture": entry_with('"length":1,', '"length":1.5,'),
    "lone-surrogate": entry_with("custody", "\\ud800"),
    "turned-text": entry_with("custody", "\\u202eydotsuc"),
    "under-age-without-reason": entry_with('"under_18":false', '"under_18":true'),
    "no-entries": entries_as("[]"),
    "no-such-date": entry_with("2025-03-01", "2025-02-30"),
}


def hostile_header(container: bytes, name: str) -> bytes:
    header, data = split(container)
    text = HOSTILE_HEADERS[name](header).encode("utf-8", errors="surrogatepass")
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("name", HOSTILE_HEADERS)
def test_a_hostile_header_is_refused_before_any_template_is_read(
    container: bytes, read: Read, arena: Arena, name: str
) -> None:
    with pytest.raises(UntrustedInputError) as refused:
        read(hostile_header(container, name))
    assert refused.value.reason is Reason.MALFORMED
    assert len(str(refused.value)) < 1000
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


# What the parsers allocate is not Python's: only the process knows. VmHWM is in KiB.
_MEASURE = """
import re, sys
from pathlib import Path
from lfr_edge.biometrics.arena import Arena
from lfr_edge.errors import UntrustedInputError
from lfr_edge.watchlist.container import ContainerReader
def high():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
hostile, before = Path(sys.argv[1]), high()
try:
    with hostile.open("rb") as file, ContainerReader(Arena(1 << 22), contract="c0" * 32, dimension=8) as reader:
        while piece := file.read(8192):
            reader.write(piece)
except UntrustedInputError:
    print(high() - before)
"""


@pytest.mark.parametrize("name", ["many-bad-entries", "one-wide-entry", "many-names", "many-zeros"])
def test_the_memory_for_a_hostile_header_is_a_small_multiple_of_its_size(
    container: bytes, tmp_path: Path, name: str
) -> None:
    hostile = tmp_path / "plaintext"
    hostile.write_bytes(hostile_header(container, name))
    command = [sys.executable, "-c", _MEASURE, str(hostile)]
    measured = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert int(measured.stdout) * 1024 < 6 * hostile.stat().st_size + 16 * _MIB


def test_a_header_longer_than_the_file_is_refused_when_the_file_ends(read: Read, arena: Arena) -> None:
    for length in (100, 64 << 20):
        tracemalloc.start()
        with pytest.raises(UntrustedInputError) as refused:
            read(struct.pack("<Q", length) + b'{"__metadata__":{')
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert refused.value.reason is Reason.TRUNCATED
        assert peak < length + _MIB
    assert arena.leased_bytes == 0


def test_entries_written_with_any_spaces_are_read(container: bytes, read: Read) -> None:
    header, data = split(container)
    entries = json.loads(header["__metadata__"]["entries"])
    header["__metadata__"]["entries"] = f"\n {json.dumps(entries, indent=1)}\t \r\n"
    watchlist = read(join(json.dumps(header), data))
    assert [entry.id for entry in watchlist.entries] == ["E-000", "E-001", "E-002"]
    watchlist.wipe()


def test_the_largest_genuine_entry_is_read(make_entry: Callable[..., Entry], container: bytes, read: Read) -> None:
    longest = "\N{GRINNING FACE}" * 500
    texts = dict.fromkeys(("category", "legal_basis", "source", "rationale", "under_18_rationale"), longest)
    entries = [make_entry(0, **texts, under_18=True), make_entry(1), make_entry(2)]
    header, data = split(container)
    written = [json.loads(entry.model_dump_json()) for entry in entries]
    header["__metadata__"]["entries"] = json.dumps(written)  # in ASCII: each face is twelve characters
    watchlist = read(join(json.dumps(header), data))
    assert watchlist.entries[0].source == longest
    watchlist.wipe()


# The age file.


def with_extra_line(sealed: bytes) -> bytes:
    version, rest = sealed.split(b"\n", 1)
    return version + b"\n-> lfr-edge-grease x\nAAAA\n" + rest


HOSTILE_AGE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "another-version": lambda sealed: sealed.replace(b"age-encryption.org/v1", b"age-encryption.org/v2", 1),
    "no-recipient": lambda sealed: sealed.split(b"->", 1)[0] + sealed[sealed.index(b"---") :],
    "stanza-added": with_extra_line,
    "another-stanza": lambda sealed: sealed.replace(b"-> X25519", b"-> ssh-ed25519", 1),
    "passphrase-stanza": lambda sealed: sealed.replace(b"-> X25519 ", b"-> scrypt 30 ", 1),
    "endless-line": lambda sealed: sealed.replace(b"-> X25519", b"-> " + b"x" * _MIB, 1),
    "many-stanzas": lambda sealed: sealed.replace(b"->", b"-> a b\nAAAA\n" * 10_000 + b"->", 1),
    "many-lines": lambda sealed: sealed.replace(b"->", b"-> a b\n" + (b"A" * 64 + b"\n") * 5000 + b"->", 1),
    "mac-of-another": lambda sealed: sealed.replace(b"--- ", b"--- A", 1),
    "armoured": lambda sealed: b"-----BEGIN AGE ENCRYPTED FILE-----\n" + sealed,
    "payload-missing": lambda sealed: sealed[: sealed.index(b"---") + 48],
    "chunks-swapped": lambda sealed: sealed[:-4096] + sealed[-2048:] + sealed[-4096:-2048],
    "chunk-added": lambda sealed: sealed + bytes(65_552),
}


@pytest.mark.parametrize("name", HOSTILE_AGE)
@pytest.mark.timeout(10)  # ten thousand stanzas took 13 s
def test_a_hostile_age_file_opens_nothing(container: bytes, arena: Arena, contract: str, name: str) -> None:
    identity = SealIdentity.generate()
    hostile = HOSTILE_AGE[name](seal(container, [identity.recipient]))
    with pytest.raises(UntrustedInputError) as refused:
        read_watchlist(io.BytesIO(hostile), identity, arena, contract=contract, dimension=8)
    assert refused.value.reason in {Reason.DECRYPTION_FAILED, Reason.TRUNCATED}
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


@pytest.mark.parametrize("name", HOSTILE_AGE)
@pytest.mark.timeout(10)
def test_a_hostile_age_file_inside_a_genuine_one_opens_nothing(
    container: bytes, arena: Arena, contract: str, name: str
) -> None:
    identity, share = SealIdentity.generate(), SealIdentity.generate()
    hostile = seal(HOSTILE_AGE[name](seal(container, [share.recipient])), [identity.recipient])
    with pytest.raises(UntrustedInputError) as refused:
        read_watchlist(io.BytesIO(hostile), identity, arena, contract=contract, dimension=8, share=share)
    assert refused.value.reason in {Reason.DECRYPTION_FAILED, Reason.TRUNCATED, Reason.MALFORMED}
    assert arena.leased_bytes == 0
    assert not np.frombuffer(arena._map, np.uint8).any()


def test_a_list_that_is_sealed_once_where_twice_was_signed_or_the_other_way_round_is_refused(
    container: bytes, arena: Arena, contract: str
) -> None:
    identity, share = SealIdentity.generate(), SealIdentity.generate()
    once = seal(container, [identity.recipient])
    twice = seal(seal(container, [share.recipient]), [identity.recipient])
    for sealed, given, said in ((once, share, "is sealed once"), (twice, None, "the order does not say so")):
        with pytest.raises(UntrustedInputError, match=said) as refused:
            read_watchlist(io.BytesIO(sealed), identity, arena, contract=contract, dimension=8, share=given)
        assert refused.value.reason is Reason.MALFORMED
    assert arena.leased_bytes == 0
    read_watchlist(io.BytesIO(twice), identity, arena, contract=contract, dimension=8, share=share).wipe()


def test_a_list_sealed_again_for_somebody_else_too_is_not_the_one_that_was_signed(van: Kit) -> None:
    stranger = SealIdentity.generate()
    (_, order), (_, _), (_, pictures) = members_of(van.package.read_bytes())
    again = seal(b"the same list", [van.recipient, stranger.recipient])
    members = [("order.json", order), ("watchlist.age", again), ("pictures.bin", pictures)]
    van.package.write_bytes(tar_of([(plain(name), data) for name, data in members]))
    with pytest.raises(UntrustedInputError) as refused:
        load(van.package, van.config, ENGINE_SET, START)
    assert refused.value.reason is Reason.DIGEST_MISMATCH


# Pictures.


@pytest.fixture
def pictures(tmp_path: Path, make_entry: Callable[..., Entry]) -> Iterator[tuple[PictureStore, list[Entry]]]:
    path = tmp_path / "pictures.bin"
    with path.open("wb") as file:
        members = write_pictures(file, [(f"E-{number:03}", b"\xff\xd8\xff" * 40) for number in range(3)])
    with path.open("rb") as file:
        store = PictureStore(Span(file, 0, path.stat().st_size))
        yield store, [make_entry(number, picture=members[f"E-{number:03}"]) for number in range(3)]


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 8 << 30},
        {"offset": 10**30},
        {"offset": 1},
        {"length": (1 << 20) + 16},
        {"length": 135},
        {"length": 1},
        {"offset": 0, "length": 408},
        {"key": "cd" * 32},
    ],
    ids=str,
)
def test_a_picture_outside_overlapping_or_under_another_key_does_not_open(
    pictures: tuple[PictureStore, list[Entry]], change: dict[str, Any]
) -> None:
    store, entries = pictures
    wrong = entries[1].model_copy(update={"picture": entries[1].picture.model_copy(update=change)})
    with pytest.raises(UntrustedInputError) as refused:
        store.open(wrong)
    assert refused.value.reason is Reason.DECRYPTION_FAILED
    assert store.open(entries[1]) == b"\xff\xd8\xff" * 40


# The order: every field wrong in turn, taken from the model, so that a new field is tested without being named here.

_OFFICER = SigningKey.generate()
_OTHER_KINDS: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True],
    "integer": [7],
    "number": [0.5],
    "string": ["", "7", "true", "x\ny", "9" * 5000],
    "array": [[], [[]], [None]],
    "object": [{}, {"x": 1}],
}
_SCHEMA = Order.model_json_schema()


def fields_of(schema: dict[str, Any], place: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Place, schema, whether it must be there; of all members, and of the first of each array."""
    for name, declared in schema["properties"].items():
        here = (*place, name)
        yield here, declared, name in schema.get("required", [])
        for inner in [declared, *declared.get("anyOf", [])]:
            if "$ref" in inner:
                yield from fields_of(_SCHEMA["$defs"][inner["$ref"].rsplit("/", 1)[1]], here)
        items = declared.get("items", {})
        if "$ref" in items:
            yield from fields_of(_SCHEMA["$defs"][items["$ref"].rsplit("/", 1)[1]], (*here, 0))
        elif items:
            yield (*here, 0), items, True


FIELDS = {".".join(map(str, place)): (place, schema, required) for place, schema, required in fields_of(_SCHEMA)}


def wrong_values(schema: dict[str, Any], genuine: Any) -> Iterator[Any]:
    """What no reader of this schema may accept."""
    variants = [schema, *schema.get("anyOf", [])]
    kinds = {variant["type"] for variant in variants if "type" in variant}
    kinds |= {"object" for variant in variants if "$ref" in variant} | ({"integer"} if "number" in kinds else set())
    kinds |= {"boolean"} if "const" in schema else set()  # to readers in Python, true is 1
    for kind, values in _OTHER_KINDS.items():
        if kind not in kinds:
            yield from values
    for variant in variants:
        yield from (variant[key] - 1 for key in ("minimum", "exclusiveMinimum") if key in variant)
        yield from (variant[key] + 1 for key in ("maximum", "exclusiveMaximum") if key in variant)
        yield from (variant[key] for key in ("exclusiveMinimum", "exclusiveMaximum") if key in variant)
        yield from ("x" * (variant[key] + 1) for key in ("maxLength",) if key in variant)
        if "pattern" in variant and isinstance(genuine, str):
            yield from ("", genuine + "\n", "\0" + genuine, genuine + "\u202e", genuine * 600)
        if "enum" in variant or "const" in variant:
            yield from ("", "another", 2)
        if variant.get("format") == "date-time":
            yield from ("2026-06-20", "2026-06-20T10:00:00", "2026-06-20T10:00:00+01:00", "2026-02-30T10:00:00Z", "")
        if variant.get("minItems"):
            yield []
        if variant.get("type") == "array" and isinstance(genuine, list):
            yield genuine * 2  # no array of an order may repeat
        if variant.get("type") in {"number", "integer"}:
            yield from (float("nan"), float("inf"), -float("inf"))


def place_of(order: dict[str, Any], place: tuple[str | int, ...]) -> Any:
    for step in place[:-1]:
        order = order[step]  # type: ignore[index]  # lists are walked as well
    return order


def genuine_order() -> dict[str, Any]:
    order: dict[str, Any] = json.loads(ORDER.to_json())
    return order | {"replaces": "another-order", "budget_accepted": {"by": "Supt A. Example", "why": "a trial"}}


def open_changed(order: dict[str, Any]) -> Order:
    return open_order(sign(json.dumps(order).encode(), Purpose.ORDER, [_OFFICER]), [_OFFICER.public])


def test_the_order_that_is_changed_is_genuine() -> None:
    assert open_changed(genuine_order()).vans[0].recipient == RECIPIENT
    assert set(Order.model_fields) <= set(FIELDS)


@pytest.mark.parametrize("field", FIELDS)
def test_an_order_with_this_field_wrong_is_refused_however_many_signed_it(field: str) -> None:
    place, schema, required = FIELDS[field]
    genuine = place_of(genuine_order(), place)[place[-1]]
    values = list(wrong_values(schema, genuine))
    assert values
    for value in values:
        order = genuine_order()
        place_of(order, place)[place[-1]] = value
        with pytest.raises(UntrustedInputError) as refused:
            open_changed(order)
        assert refused.value.reason is Reason.MALFORMED, value
    if required and isinstance(place[-1], str):
        order = genuine_order()
        del place_of(order, place)[place[-1]]
        with pytest.raises(UntrustedInputError, match=place[-1]):
            open_changed(order)


@pytest.mark.parametrize("part", [(), ("vans", 0), ("budget_accepted",)], ids=str)
def test_a_member_too_many_or_one_name_twice_is_refused(part: tuple[str | int, ...]) -> None:
    order = genuine_order()
    inner = place_of(order, (*part, ""))
    name = next(iter(inner))
    text = json.dumps(order)
    piece = json.dumps(inner)
    for hostile in (piece.replace("{", '{"more": 1, ', 1), piece.replace("{", f'{{"{name}": null, ', 1)):
        payload = text.replace(piece, hostile, 1).encode()
        assert payload != text.encode()
        with pytest.raises(UntrustedInputError) as refused:
            open_order(sign(payload, Purpose.ORDER, [_OFFICER]), [_OFFICER.public])
        assert refused.value.reason is Reason.MALFORMED
        assert "more" not in str(refused.value)


@pytest.mark.parametrize(
    "payload", [b"[" * 100_000, b'{"a":' * 100_000, b'{"version":' + b"9" * 100_000 + b"}", b"\xff{}", b"", b"null"]
)
def test_an_order_that_is_no_object_of_ours_is_refused(payload: bytes) -> None:
    for hostile in (payload, sign(payload, Purpose.ORDER, [_OFFICER])):
        with pytest.raises(LfrEdgeError) as refused:
            open_order(hostile, [_OFFICER.public])
        assert refused.value.reason is Reason.MALFORMED


def test_what_is_sealed_to_as_many_control_rooms_as_an_order_may_name_opens() -> None:
    rooms = [SealIdentity.generate() for _ in range(65)]
    recipients = [room.recipient for room in rooms]
    assert open_changed(genuine_order() | {"recipients": recipients[:64]}).recipients == tuple(recipients[:64])
    assert open_sealed(seal(b"alert" * 10_000, recipients[:64]), rooms[63]) == b"alert" * 10_000
    with pytest.raises(UntrustedInputError, match="recipients"):
        open_changed(genuine_order() | {"recipients": recipients})


def test_an_envelope_of_a_hundred_thousand_bad_signatures_is_refused_at_the_first() -> None:
    hostile = b'{"payload":"","payloadType":"x","signatures":[' + b"{}," * 100_000 + b"{}]}"
    with pytest.raises(UntrustedInputError) as refused:
        open_order(hostile, [_OFFICER.public])
    assert refused.value.reason is Reason.MALFORMED


def test_the_reader_is_closed_by_whatever_is_wrong(arena: Arena, container: bytes) -> None:
    reader = ContainerReader(arena, contract="c0" * 32, dimension=8)
    with pytest.raises(UntrustedInputError), reader:
        reader.write(container + b"more")
    with pytest.raises(UntrustedInputError):
        reader.finish()
    assert arena.leased_bytes == 0
