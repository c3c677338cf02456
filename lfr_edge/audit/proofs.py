"""Proofs for somebody who is not shown the log: that an entry is in it (C2SP tlog-proof).

That a log only grew shows by comparing it with kept checkpoints (`reader.verify_log`).
"""

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from lfr_edge.audit.checkpoint import Checkpoint, open_checkpoint
from lfr_edge.audit.entries import LARGEST_ENTRY_BYTES, Entry
from lfr_edge.audit.merkle import leaf_hash, root_of_inclusion
from lfr_edge.audit.reader import LogReader, log_verifier, open_log
from lfr_edge.crypto.signing import VerifyKey
from lfr_edge.errors import ConfigError, Reason, UntrustedInputError

LARGEST_PROOF_BYTES = 2 * LARGEST_ENTRY_BYTES + 80 * 1024  # the entry in base64, a path, a note of any size we read
_PROOF = re.compile(
    rb"c2sp\.org/tlog-proof@v1\n"
    rb"extra (?P<entry>[A-Za-z0-9+/]+={0,2})\n"
    rb"index (?P<index>0|[1-9][0-9]{0,15})\n"
    rb"(?P<path>(?:[A-Za-z0-9+/]{43}=\n){0,64})\n"
    rb"(?P<note>.+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Proved:
    """An entry that a log's checkpoint covers."""

    entry: Entry
    checkpoint: Checkpoint


def prove_inclusion(path: Path, key: VerifyKey, index: int) -> bytes:
    """The proof file of one entry, against the log's last checkpoint; the whole log is verified on the way."""
    with open_log(path) as file:
        reader = LogReader(file, key, follow=index)
        wanted = [entry for entry in reader.entries() if entry.index == index]
    reader.require_whole(path)
    if not wanted:
        raise ConfigError(
            Reason.VALUE_INVALID,
            f"{path} has no entry {index}",
            fix=f"its entries are numbered from 0 to {reader.tree.size - 1}",
        )
    lines = [b"c2sp.org/tlog-proof@v1", b"extra " + base64.b64encode(wanted[0].to_canonical()), b"index %d" % index]
    lines += [base64.b64encode(node) for node in reader.tree.path()]
    return b"\n".join([*lines, b"", reader.note])


def check_inclusion(untrusted_proof: bytes, key: VerifyKey) -> Proved:
    """The entry, if the log that this key belongs to held it when it signed; else UntrustedInputError."""
    match = _PROOF.fullmatch(untrusted_proof) if len(untrusted_proof) <= LARGEST_PROOF_BYTES else None
    if match is None:
        raise _no_proof()
    checkpoint = open_checkpoint(match["note"], log_verifier(match["note"], key))
    content = _from_base64(match["entry"])
    path = [_from_base64(line) for line in match["path"].splitlines()]
    index = int(match["index"])
    if root_of_inclusion(leaf_hash(content), index, checkpoint.size, path) != checkpoint.root:
        raise UntrustedInputError(
            Reason.DIGEST_MISMATCH,
            f"the log '{checkpoint.origin}' did not hold this as its entry {index}",
            fix="ask for the proof again; if it stays wrong, the entry was changed",
        )
    return Proved(Entry.from_canonical(content), checkpoint)


def _from_base64(text: bytes) -> bytes:
    """The bytes, if this is the one spelling of them."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise _no_proof() from None  # the error would quote what it could not read
    if base64.b64encode(content) != text:
        raise _no_proof()
    return content


def _no_proof() -> UntrustedInputError:
    return UntrustedInputError(Reason.MALFORMED, "this is not a proof", fix="give the file that `audit prove` wrote")
