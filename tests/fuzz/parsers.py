"""Every parser of bytes from outside, each with what must be around it; and the damage that is done to its seeds."""

import contextlib
import io
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from hypothesis import strategies as st

from lfr_edge.audit.entries import Entry as LogEntry
from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.biometrics.arena import Arena
from lfr_edge.config import load_config
from lfr_edge.crypto.sealed import SealIdentity, open_sealed, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, sign, signers, unverified_payload
from lfr_edge.errors import LfrEdgeError
from lfr_edge.inference.manifest import load_engine_set
from lfr_edge.messages.alert import SealedAlert, open_alert
from lfr_edge.messages.command import CommandResult, open_command
from lfr_edge.messages.erasure import open_receipt
from lfr_edge.messages.examples import ALERT, HEALTH, ORDER, STATUS, VOLUNTEER_PASS
from lfr_edge.messages.order import open_order
from lfr_edge.messages.prekey import open_prekeys
from lfr_edge.messages.status import Health, Status
from lfr_edge.messages.topics import parse_topic
from lfr_edge.messages.volunteer_pass import SealedPass, open_pass
from lfr_edge.office.order_file import end_of, read_order
from lfr_edge.van import control
from lfr_edge.van.lifecycle import Record
from lfr_edge.van.share import Share
from lfr_edge.watchlist.container import ContainerReader, read_watchlist
from lfr_edge.watchlist.entries import Entry
from lfr_edge.watchlist.package import open_package
from lfr_edge.watchlist.pictures import PictureStore
from lfr_edge.watchlist.span import Span

SEEDS = Path(__file__).parent / "seeds"
CONTRACT, DIMENSION = "c0" * 32, 8
KEY = SigningKey.generate()
ROOM = SealIdentity.generate()
_NOW = datetime(2026, 6, 20, 9, 15, tzinfo=timezone.utc)
_ENGINE_SET = load_engine_set("yunet-mobilefacenet")

Parse = Callable[[bytes, Path], None]
"""Parse the bytes; the file is a place where they may be written."""


def _package(untrusted: bytes, path: Path) -> None:
    path.write_bytes(untrusted)
    with open_package(path) as package:
        package.watchlist().sha256_to_end()
        open_order(package.order, [KEY.public])


def _container(untrusted: bytes, _: Path) -> None:
    with ContainerReader(Arena(1 << 20), contract=CONTRACT, dimension=DIMENSION) as reader:
        for start in range(0, len(untrusted), 8192):
            reader.write(untrusted[start : start + 8192])
        reader.finish().wipe()


def _age(untrusted: bytes, _: Path) -> None:
    identity = SealIdentity.from_file(SEEDS / "age" / "test-only.key")
    with contextlib.suppress(LfrEdgeError):
        open_sealed(untrusted, identity)
    reader = io.BytesIO(untrusted)
    read_watchlist(reader, identity, Arena(1 << 20), contract=CONTRACT, dimension=DIMENSION).wipe()


def _inner_age(untrusted: bytes, _: Path) -> None:
    """What anybody sealed to this van: it must be sealed to the share inside."""
    share = SealIdentity.from_file(SEEDS / "age" / "test-only.key")
    reader = io.BytesIO(seal(untrusted, [ROOM.recipient]))
    read_watchlist(reader, ROOM, Arena(1 << 20), contract=CONTRACT, dimension=DIMENSION, share=share).wipe()


def _share(untrusted: bytes, path: Path) -> None:
    """What somebody gives as the unlock share."""
    path.write_bytes(untrusted)
    with contextlib.suppress(LfrEdgeError):
        SealIdentity.from_secret(untrusted.decode("utf-8", "replace"))
    with path.open("rb") as file:
        Share().take(file.fileno(), ROOM.recipient, lambda: None)


def _pictures(untrusted: bytes, path: Path) -> None:
    """The entry that says where a picture is, over a file of 64 bytes."""
    entry = Entry.from_untrusted(untrusted)
    path.write_bytes(bytes(64))
    with path.open("rb") as file:
        if not entry.is_volunteer:
            PictureStore(Span(file, 0, 64)).open(entry)


def _envelope(untrusted: bytes, _: Path) -> None:
    unverified_payload(untrusted, Purpose.ORDER)
    signers(untrusted, Purpose.ORDER, [KEY.public])
    open_order(untrusted, [KEY.public])


def _alert(untrusted: bytes, _: Path) -> None:
    """What a van of ours signed and sealed, and is no alert."""
    sealed = seal(sign(untrusted, Purpose.ALERT, [KEY]), [ROOM.recipient])
    outside = SealedAlert("01978cb6-8f2d-7c30-89ed-08ae518037f0", _NOW, "van-1", "example", "o", sealed)
    open_alert(outside, ROOM, {"van-1": KEY.public}, now=_NOW)


def _sealed_alert(untrusted: bytes, _: Path) -> None:
    """What anybody sealed to the control room."""
    outside = SealedAlert("01978cb6-8f2d-7c30-89ed-08ae518037f0", _NOW, "van-1", "example", "o", untrusted)
    for ciphertext in (untrusted, seal(untrusted, [ROOM.recipient])):
        with contextlib.suppress(LfrEdgeError):
            open_alert(_with(outside, ciphertext), ROOM, {"van-1": KEY.public}, now=_NOW)


def _volunteer_pass(untrusted: bytes, _: Path) -> None:
    """What a van of ours signed and sealed, and is no test pass."""
    sealed = seal(sign(untrusted, Purpose.TEST_PASS, [KEY]), [ROOM.recipient])
    outside = SealedPass("01978cb8-5a1e-7f02-a3c4-51d0e27b9a68", _NOW, "van-1", "example", "o", sealed)
    open_pass(outside, ROOM, {"van-1": KEY.public}, now=_NOW)


def _with(alert: SealedAlert, ciphertext: bytes) -> SealedAlert:
    return SealedAlert(alert.id, alert.time, alert.van, alert.force, alert.order, ciphertext)


def _config(untrusted: bytes, path: Path) -> None:
    path.write_bytes(untrusted)
    load_config(path)


def _order_file(untrusted: bytes, path: Path) -> None:
    path.write_bytes(untrusted)
    with contextlib.suppress(LfrEdgeError):
        end_of(path)
    read_order(path, _ENGINE_SET, van_recipients={"van-1": ROOM.recipient}, recipients=[ROOM.recipient])


def _log(untrusted: bytes, path: Path) -> None:
    path.write_bytes(untrusted)
    with contextlib.suppress(LfrEdgeError), path.open("rb") as file:
        list(unverified_entries(file))
    with contextlib.suppress(LfrEdgeError):
        LogEntry.from_canonical(untrusted.split(b"\n", 1)[0])
    verify_log(path, KEY.public)


def _topic(untrusted: bytes, _: Path) -> None:
    parse_topic(untrusted.decode("utf-8", errors="replace"))


def _signed(open_it: Callable[[bytes], object], purpose: Purpose) -> Parse:
    """What somebody trusted signed, whatever it is: parsing begins behind the signature."""
    return lambda untrusted, _: _discard(open_it(sign(untrusted, purpose, [KEY])))


def _message(parse: Callable[[bytes], object]) -> Parse:
    return lambda untrusted, _: _discard(parse(untrusted))


def _discard(_: object) -> None:
    """A parser's result is of no interest here: that it came back is."""


PARSERS: dict[str, Parse] = {
    "package": _package,
    "container": _container,
    "age": _age,
    "inner-age": _inner_age,
    "share": _share,
    "entry": _pictures,
    "envelope": _envelope,
    "order": _signed(lambda signed: open_order(signed, [KEY.public]), Purpose.ORDER),
    "prekeys": _signed(lambda signed: open_prekeys(signed, KEY.public), Purpose.PREKEY),
    "receipt": _signed(lambda signed: open_receipt(signed, KEY.public), Purpose.ERASURE),
    "command": _signed(lambda signed: open_command(signed, [KEY.public]), Purpose.COMMAND),
    "command-result": _message(CommandResult.from_untrusted),
    "alert": _alert,
    "sealed-alert": _sealed_alert,
    "test-pass": _volunteer_pass,
    "status": _message(Status.from_untrusted),
    "health": _message(Health.from_untrusted),
    "record": _message(Record.from_untrusted),
    "control": _message(control.Order.from_untrusted),
    "control-reply": _message(control.Reply.from_untrusted),
    "topic": _topic,
    "log": _log,
    "config": _config,
    "order-file": _order_file,
}
"""By the name of the folder with their seeds."""


_EXAMPLES = {"order": ORDER, "alert": ALERT, "test-pass": VOLUNTEER_PASS, "status": STATUS, "health": HEALTH}


def seeds(name: str) -> list[bytes]:
    """What one parser's damage begins with: its files, which may be of an older format, and today's example."""
    stored = [path.read_bytes() for path in sorted((SEEDS / name).iterdir()) if path.suffix != ".key"]
    return stored + [_EXAMPLES[name].to_json() for _ in range(name in _EXAMPLES)]


_TOKENS = (
    *(b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\", b"\n", b"\0", b"\xff", b"\xc0\x80", b"=", b"-> a b\n", b"#"),
    *(
        b"null",
        b"true",
        b"-1",
        b"0.5",
        b"1e999",
        b"-0",
        b"NaN",
        b"Infinity",
        b"nan",
        b"9" * 30,
        b"9" * 5000,
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b"[0," * 500, b"a." * 3000, b"{a=" * 2000, b"0x" + b"f" * 6000, b'"x",' * 3000),
    *(b'"\\ud800"', b'"\\u0000"', b'"\\u202e"', b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"18446744073709551616"),
    *(b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59.999999Z", b"2026-02-30T00:00:00Z", b"00:00:00", b"1979-05-27"),
    *(b"../", b"/dev/stdin", b"%s", b"\x7f\xf0\0\0\0\0\0\0", b"\x7f" * 8, b"\xff" * 8, b"\0" * 512),
)
_AT = st.integers(0, 1 << 24)
_VALUE = st.tuples(st.just("value"), _AT, st.integers(0, len(_TOKENS) - 1))
_DAMAGE = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), _AT, st.integers(0, 7)),
        st.tuples(st.just("cut"), _AT, st.integers(1, 700)),
        st.tuples(st.just("repeat"), _AT, st.integers(1, 700)),
        st.tuples(st.just("end"), _AT, st.just(0)),
        st.tuples(st.just("insert"), _AT, st.integers(0, len(_TOKENS) - 1)),
        _VALUE,
    ),
    min_size=1,
    max_size=5,
)


def damaged(seed: bytes) -> st.SearchStrategy[bytes]:
    """The seed with one to five things done to it; or with one value changed and well-formed but for that."""
    return st.one_of(st.tuples(_VALUE).map(list), _DAMAGE).map(lambda steps: _apply(seed, steps))


def _apply(seed: bytes, steps: list[tuple[str, int, int]]) -> bytes:
    content = seed
    for what, where, how in steps:
        at = where % (len(content) + 1)
        if what == "flip":
            content = content[:at] + bytes(byte ^ 1 << how for byte in content[at : at + 1]) + content[at + 1 :]
        elif what == "cut":
            content = content[:at] + content[at + how :]
        elif what == "repeat":
            content = content[: at + how] + content[at:]
        elif what == "end":
            content = content[:at]
        elif what == "insert":
            content = content[:at] + _TOKENS[how] + content[at:]
        else:
            content = _with_value(content, at, _TOKENS[how])
    return content


def _with_value(content: bytes, at: int, token: bytes) -> bytes:
    """The token instead of what follows the next colon or equals sign: the value of a member, where there is any."""
    start = min((place for place in (content.find(b":", at), content.find(b"=", at)) if place >= 0), default=at) + 1
    end = min(
        (place for mark in (b",", b"}", b"\n") if (place := content.find(mark, start)) >= 0), default=len(content)
    )
    return content[:start] + token + content[end:]
