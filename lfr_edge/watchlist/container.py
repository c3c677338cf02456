"""The plaintext inside `watchlist.age`: a safetensors file of templates, entries and the engine contract.

Written by the safetensors library at the office. Read by our own bounded parser on the van, because the library wants
the whole file in ordinary memory: `ContainerReader` is a writer that decryption streams into, and the templates go
straight into a lease. The header is the only thing that is kept aside, and it holds no biometrics.

Layout: 8 bytes little-endian header length, JSON header, `templates` (N, D) float32 and `entry_of_template` (N,)
int32, in whichever order the header says, without gaps. Templates of one entry lie together, entries in their order.
"""

import json
import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, TypeAdapter

from lfr_edge.biometrics.arena import Arena, Lease
from lfr_edge.biometrics.retention import TEMPLATES
from lfr_edge.crypto.sealed import SealIdentity, open_stream
from lfr_edge.errors import ConfigError, PolicyError, Reason, UntrustedInputError
from lfr_edge.json_names import has_repeated_names
from lfr_edge.messages.fields import Message
from lfr_edge.watchlist.crowding import bytes_to_lower, lowering
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.references import Watchlist

_FORMAT: Final = "lfr-edge-watchlist/1"
_MAX_HEADER_BYTES = 64 << 20  # 100,000 entries at about 600 bytes
# Decryption hands out pieces of 8 KiB as Python bytes. A last piece under 512 bytes would come from Python's own
# allocator, which does not wipe what is freed, and could hold the end of a template: so the plaintext is padded to
# whole pieces (4 bytes less where it holds an odd number of values). It also tells less about how long the list is.
_PIECE_BYTES = 8192
_SEALED_AGAIN = b"age-encr"  # read as a length, it would be above every limit
_LENGTH_TOLERANCE = 1e-3  # float32 rows of 512 values, normalised, stay within 1e-6
_ENTRIES = TypeAdapter(tuple[Entry, ...])
# What a parser makes of hostile JSON is far larger than the JSON: 3 MB of `{},{},` as entries took 2.6 GiB of errors.
# So the header is parsed only if little of it is outside strings, and the entries one by one, to the first bad one.
_MAX_STRUCTURE_CHARS = 4096
_MAX_ENTRY_CHARS = 32 << 10  # five texts of 500 characters, each escaped as twelve, and the rest
_DECODER = json.JSONDecoder(object_pairs_hook=len)  # says where an entry ends, and keeps nothing of it
_BEFORE_ENTRY = re.compile(r"[ \t\n\r]*([\[,])[ \t\n\r]*")
_AFTER_ENTRIES = re.compile(r"[ \t\n\r]*\][ \t\n\r]*")

_Offsets = tuple[Annotated[int, Field(ge=0, le=1 << 40)], Annotated[int, Field(ge=0, le=1 << 40)]]


class _Templates(Message):
    dtype: Literal["F32"]
    shape: tuple[PositiveInt, PositiveInt]
    data_offsets: _Offsets


class _EntryOfTemplate(Message):
    dtype: Literal["I32"]
    shape: tuple[PositiveInt]
    data_offsets: _Offsets


class _Metadata(Message):
    format: Literal["lfr-edge-watchlist/1"]
    contract: str
    entries: str


class _Header(Message):
    metadata: _Metadata = Field(alias="__metadata__")
    templates: _Templates
    entry_of_template: _EntryOfTemplate


def write_watchlist(
    entries: tuple[Entry, ...],
    templates: NDArray[np.float32],
    entry_of_template: NDArray[np.int32],
    *,
    contract: str,
) -> bytes:
    """The container's bytes. `templates` (N, D) rows of length 1, grouped by entry. Office only: needs safetensors."""
    try:
        from safetensors.numpy import save  # noqa: PLC0415 - the van reads without this library
    except ImportError as missing:
        raise ConfigError(
            Reason.DEPENDENCY_MISSING, "safetensors is not installed", fix="install lfr-edge with the extra 'office'"
        ) from missing
    _check_ids(entries)
    _check_grouping(entry_of_template, entries)
    _check_rows(templates)
    tensors = {"templates": templates, "entry_of_template": entry_of_template}

    def plaintext(padding: int) -> bytes:
        listed = _ENTRIES.dump_json(entries).decode() + " " * padding
        return save(tensors, metadata=_Metadata(format=_FORMAT, contract=contract, entries=listed).model_dump())

    return plaintext(-len(plaintext(0)) % _PIECE_BYTES // 8 * 8)  # the header's length is a multiple of 8 already


def read_watchlist(
    sealed: BinaryIO,
    identity: SealIdentity,
    arena: Arena,
    *,
    contract: str,
    dimension: int,
    share: SealIdentity | None = None,
) -> Watchlist:
    """Decrypt straight into the arena. Raises for a wrong key, damage, or features that cannot be compared here.

    With a `share` the list must have been sealed to that first.
    """
    with ContainerReader(arena, contract=contract, dimension=dimension) as target:
        open_stream(sealed, cast(BinaryIO, target), identity, share)  # it calls write and flush, nothing else
        return target.finish()


def bytes_to_open(count: int, dimension: int) -> int:
    """What `read_watchlist` needs of the arena for so many templates; some of it only until the list is there."""
    return 4 * count * dimension + bytes_to_lower(count, dimension)


class ContainerReader:
    """Takes a container's plaintext in chunks and ends as a `Watchlist`. A context manager: leaving it wipes.

    `write` raises UntrustedInputError at the first byte that cannot be right, PolicyError for another engine contract.
    """

    def __init__(self, arena: Arena, *, contract: str, dimension: int) -> None:
        self._arena = arena
        self._contract = contract
        self._dimension = dimension
        self._lease: Lease | None = None
        self._entries: tuple[Entry, ...] = ()
        self._entry_of_template: NDArray[np.int32] = np.empty(0, np.int32)
        self._parts: list[memoryview] = []
        self._target = memoryview(bytearray(8))
        self._filled = 0
        self._when_full: Callable[[], None] | None = self._length_read

    def write(self, chunk: bytes) -> int:
        """Take the next bytes of the plaintext, all of them."""
        rest = memoryview(chunk)
        while rest:
            if self._when_full is None:
                raise _malformed("bytes follow after its end")
            taken = min(len(rest), len(self._target) - self._filled)
            self._target[self._filled : self._filled + taken] = rest[:taken]
            self._filled += taken
            rest = rest[taken:]
            if self._filled == len(self._target):
                self._when_full()
        return len(chunk)

    def flush(self) -> None:
        """Nothing is held back; decryption asks for it."""

    def finish(self) -> Watchlist:
        """The watchlist, owner of the templates from now on. Call it only after decryption has vouched for the end."""
        if self._lease is None or self._when_full is not None:
            raise UntrustedInputError(Reason.TRUNCATED, "the watchlist ends too early", fix=_FIX)
        _check_rows(self._lease.array)
        _check_grouping(self._entry_of_template, self._entries)
        lowered = lowering(self._lease.array, self._entry_of_template, self._arena)
        lease, self._lease = self._lease, None
        return Watchlist(self._entries, lease, self._entry_of_template, lowered)

    def __enter__(self) -> "ContainerReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget_views()
        if self._lease is not None:
            self._lease.__exit__(kind, error, trace)
            self._lease = None

    def _length_read(self) -> None:
        if bytes(self._target) == _SEALED_AGAIN:
            raise _malformed("it is sealed to a share, and the order does not say so")
        length = int.from_bytes(self._target, "little")
        if not 2 <= length <= _MAX_HEADER_BYTES:
            raise _malformed(f"its header claims {length} bytes")
        self._expect(memoryview(bytearray(length)), self._header_read)

    def _header_read(self) -> None:
        header = _header_of(bytes(self._target))
        count, dimension = header.templates.shape
        if header.metadata.contract != self._contract or dimension != self._dimension:
            raise PolicyError(
                Reason.CONTRACT_MISMATCH,
                f"the watchlist was made under engine contract {header.metadata.contract[:12]} ({dimension} features),"
                f" this van compares under {self._contract[:12]} ({self._dimension})",
                fix="enrol again with the van's engine set, or install the one of the package",
            )
        self._entries = _entries_of(header.metadata.entries)
        templates_first = _check_layout(header)
        self._lease = self._arena.lease(TEMPLATES, (count, dimension), np.float32)
        self._entry_of_template = np.zeros(count, np.int32)
        parts = [self._lease.array.data.cast("B"), self._entry_of_template.data.cast("B")]
        self._parts = parts if templates_first else parts[::-1]
        self._next_part()

    def _next_part(self) -> None:
        if self._parts:
            self._expect(self._parts.pop(0), self._next_part)
        else:
            self._forget_views()

    def _expect(self, target: memoryview, when_full: Callable[[], None]) -> None:
        self._target, self._filled, self._when_full = target, 0, when_full

    def _forget_views(self) -> None:
        self._parts = []
        self._target, self._when_full = memoryview(b""), None


_FIX = "ask the watchlist office for a new package"


def _malformed(what: str) -> UntrustedInputError:
    return UntrustedInputError(Reason.MALFORMED, f"the watchlist is damaged: {what}", fix=_FIX)


def _header_of(untrusted_json: bytes) -> _Header:
    try:
        text = untrusted_json.decode()
        if _structure_chars(text) <= _MAX_STRUCTURE_CHARS:
            header = _Header.model_validate_json(untrusted_json)
            if not has_repeated_names(text):
                return header
    except (ValueError, RecursionError):
        pass  # the decoder's error holds what it could not read: ours is raised outside the chain
    raise _malformed("its header breaks the format")


def _structure_chars(untrusted_json: str) -> int:
    """How much of it is not inside strings, each counted as one; counts no further than it has to."""
    at = count = 0
    while count <= _MAX_STRUCTURE_CHARS and (start := untrusted_json.find('"', at)) >= 0:
        _, end = _DECODER.raw_decode(untrusted_json, start)
        count, at = count + start - at + 1, end
    return count + len(untrusted_json) - at


def _entries_of(untrusted_json: str) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    at = 0
    try:
        while (before := _BEFORE_ENTRY.match(untrusted_json, at)) and before[1] == ("," if entries else "["):
            piece = untrusted_json[before.end() : before.end() + _MAX_ENTRY_CHARS]
            _, length = _DECODER.raw_decode(piece)
            entries.append(Entry.from_untrusted(piece[:length].encode()))
            at = before.end() + length
        whole = _AFTER_ENTRIES.fullmatch(untrusted_json, at) is not None
    except UntrustedInputError as refused:
        raise _malformed(f"of entry {len(entries)}: {refused.message}") from None
    except (ValueError, RecursionError):
        whole = False  # as in `_header_of`
    if not whole:
        raise _malformed("its entries break the format")
    _check_ids(entries)
    return tuple(entries)


def _check_ids(entries: Sequence[Entry]) -> None:
    if len({entry.id for entry in entries}) != len(entries):
        raise _malformed("two entries have one id")


def _check_layout(header: _Header) -> bool:
    """True if the templates come first. The parts lie without gap or overlap, as long as their shapes say."""
    count, dimension = header.templates.shape
    spans = [header.templates.data_offsets, header.entry_of_template.data_offsets]
    lengths = [4 * count * dimension, 4 * count]
    if header.entry_of_template.shape != (count,):
        raise _malformed("templates and entries do not fit")
    if [end - start for start, end in spans] != lengths:
        raise _malformed("its offsets and shapes do not fit")
    ordered = sorted(spans)
    if ordered[0][0] != 0 or ordered[1][0] != ordered[0][1]:
        raise _malformed("its offsets leave a gap or overlap")
    return ordered[0] == spans[0]


def _check_rows(templates: NDArray[Any]) -> None:
    lengths = np.sqrt(np.einsum("nd,nd->n", templates, templates))
    # A NaN is not less than anything: the comparison has to be this way round.
    if not (np.abs(lengths - 1) < _LENGTH_TOLERANCE).all():
        raise _malformed("a template is not a vector of length 1")


def _check_grouping(entry_of_template: NDArray[np.int32], entries: tuple[Entry, ...]) -> None:
    steps = np.diff(entry_of_template, prepend=np.int32(-1))
    grouped = len(steps) > 0 and steps[0] == 1 and ((steps == 0) | (steps == 1)).all()
    if not grouped or entry_of_template[-1] != len(entries) - 1:
        raise _malformed("its templates are not grouped by entry")
