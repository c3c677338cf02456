"""Sealing: only the right key opens, and only what is whole."""

import io
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfr_edge.crypto.sealed import (
    SealIdentity,
    is_recipient,
    new_member_key,
    open_member,
    open_sealed,
    open_stream,
    seal,
    seal_member,
    seal_stream,
)
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError

VECTORS = Path(__file__).parents[2] / "vectors" / "age"
IDENTITY = SealIdentity.generate()
SEALED = seal(b"sample" * 20_000, [IDENTITY.recipient])


def _reason(ciphertext: bytes, identity: SealIdentity = IDENTITY) -> Reason:
    with pytest.raises(UntrustedInputError) as caught:
        open_sealed(ciphertext, identity)
    return caught.value.reason


def _flipped(data: bytes, position: int, bit: int = 1) -> bytes:
    return data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]


@given(plaintext=st.binary(max_size=2000))
@settings(max_examples=25, deadline=None)
def test_what_is_sealed_opens_unchanged(plaintext: bytes) -> None:
    assert open_sealed(seal(plaintext, [IDENTITY.recipient]), IDENTITY) == plaintext


def test_each_of_several_recipients_opens_alone() -> None:
    identities = [SealIdentity.generate() for _ in range(3)]
    ciphertext = seal(b"secret", [identity.recipient for identity in identities])
    assert [open_sealed(ciphertext, identity) for identity in identities] == [b"secret"] * 3


def test_another_key_is_refused() -> None:
    assert _reason(SEALED, SealIdentity.generate()) is Reason.DECRYPTION_FAILED


def test_a_flipped_bit_is_refused_wherever_it_is() -> None:
    # Every byte of the header, then the first and last of the payload's chunks and tags.
    header = SEALED.index(b"\n--- ") + 60
    chunk = 65536 + 16
    positions = [*range(header), header + 20, header + chunk - 1, header + chunk, len(SEALED) - 1]
    for position in positions:
        assert _reason(_flipped(SEALED, position)) in {Reason.DECRYPTION_FAILED, Reason.TRUNCATED}, position


@pytest.mark.parametrize("length", [0, 1, 30, 150])
def test_a_truncated_header_is_called_truncated(length: int) -> None:
    assert _reason(SEALED[:length]) is Reason.TRUNCATED


def test_a_truncated_or_lengthened_payload_is_refused() -> None:
    for damaged in (SEALED[:-1], SEALED[: len(SEALED) // 2], SEALED + b"x"):
        assert _reason(damaged) is Reason.DECRYPTION_FAILED


@given(garbage=st.binary(max_size=500))
@settings(max_examples=100, deadline=None)
def test_garbage_is_refused_and_never_crashes(garbage: bytes) -> None:
    _reason(garbage)
    _reason(SEALED[:100] + garbage)


def test_a_file_made_by_the_age_tool_opens() -> None:
    """`hello.age` was made by Debian's age 1.1.1, `hello.txt` is what it was given; the key is a test key."""
    identity = SealIdentity.from_file(VECTORS / "test-only.key")
    assert open_sealed((VECTORS / "hello.age").read_bytes(), identity) == (VECTORS / "hello.txt").read_bytes()


def test_a_stream_opens_to_the_same_bytes() -> None:
    sealed, opened = io.BytesIO(), io.BytesIO()
    seal_stream(io.BytesIO(b"frame" * 100_000), sealed, [IDENTITY.recipient])
    sealed.seek(0)
    open_stream(sealed, opened, IDENTITY)
    assert opened.getvalue() == b"frame" * 100_000


@pytest.mark.parametrize("damaged", [SEALED[:-1], SEALED[:40], _flipped(SEALED, len(SEALED) - 1), b""])
def test_a_damaged_stream_is_refused(damaged: bytes) -> None:
    with pytest.raises(UntrustedInputError):
        open_stream(io.BytesIO(damaged), io.BytesIO(), IDENTITY)


def test_a_full_disk_while_opening_is_not_blamed_on_the_sender() -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        open_stream(io.BytesIO(SEALED), Full(), IDENTITY)


SHARE = SealIdentity.generate()
TWICE = seal(seal(b"template" * 50_000, [SHARE.recipient]), [IDENTITY.recipient])


class Pieces(io.BytesIO):
    """Remembers how long each write was."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def write(self, data: Any) -> int:
        self.lengths.append(len(data))
        return super().write(data)


def test_what_is_sealed_twice_opens_with_both_keys_in_the_same_pieces_as_what_is_sealed_once() -> None:
    once, twice = Pieces(), Pieces()
    open_stream(io.BytesIO(seal(b"template" * 50_000, [IDENTITY.recipient])), once, IDENTITY)
    open_stream(io.BytesIO(TWICE), twice, IDENTITY, SHARE)
    assert twice.getvalue() == once.getvalue() == b"template" * 50_000
    assert twice.lengths == once.lengths, "the list's padding counts on it"


def refusal_of(sealed: bytes, outer: SealIdentity = IDENTITY, inner: SealIdentity = SHARE) -> Reason:
    threads = threading.active_count()
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(UntrustedInputError) as refused:
        open_stream(io.BytesIO(sealed), io.BytesIO(), outer, inner)
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    return refused.value.reason


def test_each_layer_is_refused_for_its_own_fault() -> None:
    other = SealIdentity.generate()
    once = seal(b"template" * 50_000, [IDENTITY.recipient])
    inside = seal(b"template" * 50_000, [SHARE.recipient])
    assert refusal_of(TWICE, outer=other) is Reason.DECRYPTION_FAILED
    assert refusal_of(TWICE, inner=other) is Reason.DECRYPTION_FAILED
    assert refusal_of(TWICE, outer=SHARE, inner=IDENTITY) is Reason.DECRYPTION_FAILED
    assert refusal_of(once) is Reason.MALFORMED
    assert refusal_of(seal(b"", [IDENTITY.recipient])) is Reason.MALFORMED
    assert refusal_of(b"") is Reason.TRUNCATED
    assert refusal_of(TWICE[:-1]) is Reason.DECRYPTION_FAILED
    for cut in (inside[:40], inside[:-1], inside[: len(inside) // 2], inside + b"x"):
        assert refusal_of(seal(cut, [IDENTITY.recipient])) in {Reason.DECRYPTION_FAILED, Reason.TRUNCATED}
    long = inside.replace(b"->", b"-> a b\nAAAA\n" * 10_000 + b"->", 1)
    assert refusal_of(seal(long, [IDENTITY.recipient])) is Reason.DECRYPTION_FAILED, "13 s otherwise"


def test_a_flipped_bit_in_either_layer_is_refused() -> None:
    inside = seal(b"template" * 100, [SHARE.recipient])
    for place in range(0, len(inside), 7):
        refusal_of(seal(_flipped(inside, place), [IDENTITY.recipient]))
    whole = seal(inside, [IDENTITY.recipient])
    for place in range(0, len(whole), 7):
        refusal_of(_flipped(whole, place))


def of_one_chunk(recipient: str) -> bytes:
    """A sealed file that is exactly as long as what age seals at a time; its header's length may vary."""
    chunk, overhead = 65536, 0
    while len(sealed := seal(bytes(chunk - overhead), [recipient])) != chunk:
        overhead += len(sealed) - chunk
    return sealed


def test_an_outer_layer_that_is_damaged_behind_a_whole_inner_one_is_refused() -> None:
    whole = seal(of_one_chunk(SHARE.recipient) + b"more", [IDENTITY.recipient])
    assert refusal_of(_flipped(whole, len(whole) - 1)) is Reason.DECRYPTION_FAILED
    assert refusal_of(whole) is Reason.DECRYPTION_FAILED, "something follows the inner one"


def test_a_disk_that_fails_under_two_layers_is_not_blamed_on_the_sender() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(OSError, match="Input/output"):
        open_stream(Failing(TWICE), io.BytesIO(), IDENTITY, SHARE)


def test_who_stops_reading_in_the_middle_of_two_layers_stops_both() -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        open_stream(io.BytesIO(TWICE), Full(), IDENTITY, SHARE)


def test_a_secret_may_be_typed_in_lower_case_with_spaces_and_not_with_an_error() -> None:
    secret = IDENTITY.secret
    typed = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)).lower() + "\n"
    assert SealIdentity.from_secret(typed).recipient == IDENTITY.recipient
    wrong = secret[:-1] + ("Q" if secret[-1] != "Q" else "P")
    for bad in (wrong, secret[:-1], secret + "Q", "", IDENTITY.recipient, "\ufffd" * 74, secret.replace("1", "\0")):
        with pytest.raises(ConfigError) as refused:
            SealIdentity.from_secret(bad)
        assert refused.value.reason is Reason.VALUE_INVALID
        assert "SECRET-KEY-1" not in refused.value.message
        assert refused.value.__context__ is None


@pytest.mark.parametrize("recipients", [[], ["age1nonsense"], [IDENTITY.recipient, ""]])
def test_sealing_to_nobody_or_nonsense_is_a_configuration_error(recipients: list[str]) -> None:
    with pytest.raises(ConfigError):
        seal(b"secret", recipients)


def test_a_recipient_with_a_typing_error_is_not_one() -> None:
    recipient = IDENTITY.recipient
    assert is_recipient(recipient)
    assert not is_recipient(recipient[:-1] + ("q" if recipient[-1] != "q" else "p"))


def test_an_identity_survives_its_file_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    IDENTITY.to_file(path)
    assert SealIdentity.from_file(path).recipient == IDENTITY.recipient
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    IDENTITY.to_file(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        SealIdentity.generate().to_file(path)
    assert caught.value.reason is Reason.FILE_EXISTS
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        IDENTITY.to_file(tmp_path / "nowhere" / "identity.key")


@pytest.mark.parametrize("content", [b"", b"AGE-SECRET-KEY-1NONSENSE\n", b"\xff\xfe", b"x" * 100_000])
def test_a_file_that_is_no_identity_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        SealIdentity.from_file(path)
    assert caught.value.reason is Reason.FILE_MALFORMED
    assert "SECRET" not in str(caught.value)
    assert caught.value.__context__ is None


def test_two_identities_in_one_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    IDENTITY.to_file(path)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ConfigError, match="not one age identity"):
        SealIdentity.from_file(path)


def test_an_identity_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        SealIdentity.from_file(tmp_path / "absent.key")
    assert caught.value.reason is Reason.FILE_MISSING
    assert "absent.key" in str(caught.value)


@given(plaintext=st.binary(max_size=500), associated=st.binary(max_size=50))
@settings(max_examples=25, deadline=None)
def test_a_member_opens_with_its_key_in_its_place(plaintext: bytes, associated: bytes) -> None:
    key = new_member_key()
    assert open_member(seal_member(plaintext, key, associated=associated), key, associated=associated) == plaintext


def test_a_member_is_refused_with_another_key_place_or_bit() -> None:
    key = new_member_key()
    sealed = seal_member(b"picture", key, associated=b"entry 1")
    attempts = [
        (sealed, new_member_key(), b"entry 1"),
        (sealed, key, b"entry 2"),
        (sealed[:-1], key, b"entry 1"),
        (b"", key, b"entry 1"),
        (sealed, b"short", b"entry 1"),
        *((_flipped(sealed, position), key, b"entry 1") for position in range(len(sealed))),
    ]
    for ciphertext, attempt, associated in attempts:
        with pytest.raises(UntrustedInputError) as caught:
            open_member(ciphertext, attempt, associated=associated)
        assert caught.value.reason is Reason.DECRYPTION_FAILED
