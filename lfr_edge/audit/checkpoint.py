"""Checkpoints: the size and root of a log's tree at one moment, in a signed note (C2SP tlog-checkpoint).

Whoever keeps a copy elsewhere is a witness: from then on the log cannot lose or change what the checkpoint covers.
"""

import base64
import re
from dataclasses import dataclass

from lfr_edge.audit.merkle import HASH_BYTES
from lfr_edge.crypto.notes import NoteSigner, NoteVerifier
from lfr_edge.errors import Reason, UntrustedInputError

# Further lines are extensions: their specification has us ignore what they say, the signature covers them.
_TEXT = re.compile(r"(?P<origin>[^\n]+)\n(?P<size>0|[1-9][0-9]{0,15})\n(?P<root>[A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*")
_NOTE = re.compile(rb"(?:[^\n]+\n)+\n(?:\xe2\x80\x94 [^\n]+\n)+")
_ORIGIN = re.compile(rb"([!-*,-~]{1,255})\n")  # printable ASCII without a plus: it is shown in errors


def log_origin(force: str, writer: str) -> str:
    """What the log of a van, an office or a control room is called, everywhere and for ever."""
    return f"lfr-edge/{force}/{writer}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log `origin` had this many entries, and this root over them."""

    origin: str
    size: int
    root: bytes

    def sign(self, signer: NoteSigner) -> bytes:
        """The signed note; the key's name is the origin."""
        if signer.name != self.origin:
            raise RuntimeError("a log's key is named after the log")
        root = base64.b64encode(self.root).decode("ascii")
        return signer.sign(f"{self.origin}\n{self.size}\n{root}\n")


def open_checkpoint(untrusted_note: bytes, verifier: NoteVerifier) -> Checkpoint:
    """The checkpoint, if the log that this key belongs to signed it; else UntrustedInputError."""
    match = _TEXT.fullmatch(verifier.open(untrusted_note))
    root = base64.b64decode(match["root"]) if match is not None else b""
    if match is None or len(root) != HASH_BYTES or base64.b64encode(root).decode("ascii") != match["root"]:
        raise UntrustedInputError(
            Reason.MALFORMED, "this signed note is not a checkpoint", fix="give a checkpoint of the log"
        )
    if match["origin"] != verifier.name:
        raise UntrustedInputError(
            Reason.OUTER_INNER_DIFFER,
            f"this checkpoint is of another log than '{verifier.name}'",
            fix="give a checkpoint of the same log",
        )
    return Checkpoint(match["origin"], int(match["size"]), root)


def claimed_origin(untrusted_note: bytes) -> str:
    """Which log a note says it is of: for finding the key's name, and not believed before it was verified."""
    match = _ORIGIN.match(untrusted_note)
    return match[1].decode("ascii") if match is not None else "unknown"


def split_notes(untrusted: bytes) -> tuple[list[bytes], bytes]:
    """Notes that stand one after the other in a file, as a witness keeps them; and what follows them and is none."""
    notes, end = [], 0
    while match := _NOTE.match(untrusted, end):
        notes.append(match[0])
        end = match.end()
    return notes, untrusted[end:]
