"""docs/formats/log.md is the contract for other implementations: its tables are the code's, its hashes are real."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from support.audit_events import START

from lfr_edge.audit import log as log_module
from lfr_edge.audit.entries import LARGEST_ENTRY_BYTES
from lfr_edge.audit.events import EVENTS, Consulted, Stopped
from lfr_edge.audit.fields import Clause
from lfr_edge.audit.log import AuditLog
from lfr_edge.audit.proofs import check_inclusion, prove_inclusion
from lfr_edge.audit.reader import verify_log
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.signing import SigningKey

DOCS = Path(__file__).parents[3] / "docs"
FORMAT = (DOCS / "formats" / "log.md").read_text("utf-8")
GUIDE = (DOCS / "audit.md").read_text("utf-8")
LOG, NOTE, PROOF = (block.encode() for block in re.findall(r"^```\n(.*?)^```", FORMAT, re.DOTALL | re.MULTILINE))
ORIGIN = "lfr-edge/example/office"
RFC_8032_TEST_1 = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(RFC_8032_TEST_1))


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = page.partition(f"{heading}\n")[2].partition("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_events_is_the_vocabulary() -> None:
    expected = []
    for event in EVENTS:
        members = [
            f"`{name}`" + ("" if field.is_required() else "?")
            for name, field in event.model_fields.items()
            if name not in {"kind", "by", "why"}
        ]
        kind = f"`{event.model_fields['kind'].default}`"
        clauses = ", ".join(clause.value for clause in event.clauses)
        expected.append([kind, clauses, ", ".join(members), event.writer.value])
    assert rows(FORMAT, "### Kinds of event") == expected


def test_every_member_is_explained() -> None:
    explained = {name for first, *_ in rows(FORMAT, "### Members") for name in re.findall(r"`(\w+)`", first)}
    assert explained == {name for event in EVENTS for name in event.model_fields} - {"kind"}


def test_the_auditors_table_names_the_events_of_each_clause() -> None:
    named = {row[0]: set(re.findall(r"`([a-z-]+)`", row[2])) for row in rows(GUIDE, "## What the log is")}
    assert named.keys() == {clause.value for clause in Clause} - {Clause.LOG.value}
    for clause in set(Clause) - {Clause.LOG, Clause.OPERATION}:
        assert named[clause.value] == {
            event.model_fields["kind"].default for event in EVENTS if clause in event.clauses
        }


def test_the_example_log_is_what_the_code_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "version", lambda _name: "0.1.0")
    path, clock = tmp_path / "office.log", ManualClock(START)
    log = AuditLog.open(path, NoteSigner(ORIGIN, KEY), clock)
    clock.advance(60.5)
    asked = "subject access request 17"
    consulted = Consulted(by="person:J. Clerk", why=asked, what="registry", order="high-street-2026-06-20")
    log.append(consulted, Stopped(by=f"system:{ORIGIN}", why="end of day"))
    log.close()
    assert path.read_bytes() == LOG
    assert verify_log(path, KEY.public, [NOTE]).note == NOTE
    assert prove_inclusion(path, KEY.public, 1) == PROOF
    assert check_inclusion(PROOF, KEY.public).entry.event == consulted


def test_the_hashes_of_the_example_follow_from_the_description_alone() -> None:
    """Written from the page, without our code."""

    def sha256(content: bytes) -> bytes:
        return hashlib.sha256(content).digest()

    entries = [line for line in LOG.split(b"\n") if line.startswith(b'{"at":')]
    leaves = [sha256(b"\x00" + entry) for entry in entries]
    node = sha256(b"\x01" + leaves[0] + leaves[1])
    root = sha256(b"\x01" + node + leaves[2])
    for number, (entry, leaf) in enumerate(zip(entries, leaves, strict=True)):
        assert f"| leaf {number}, {len(entry)} bytes | `{leaf.hex()}` |" in FORMAT
    assert f"| node over 0 and 1 | `{node.hex()}` |" in FORMAT
    assert f"| root over all three | `{root.hex()}` |" in FORMAT

    text = f"{ORIGIN}\n3\n{base64.b64encode(root).decode()}\n".encode()
    private = Ed25519PrivateKey.from_private_bytes(RFC_8032_TEST_1)
    public = private.public_key().public_bytes_raw()
    assert f"`{public.hex()}`" in FORMAT
    key_id = sha256(ORIGIN.encode() + b"\n\x01" + public)[:4]
    assert f"`{key_id.hex()}`" in FORMAT
    assert f"`{ORIGIN}+{key_id.hex()}+{base64.b64encode(bytes([1]) + public).decode()}`" in FORMAT
    signature = base64.b64encode(key_id + private.sign(text))
    assert text + f"\n\u2014 {ORIGIN} ".encode() + signature + b"\n" == NOTE
    Ed25519PublicKey.from_public_bytes(public).verify(private.sign(text), text)

    path = b"\n".join(base64.b64encode(hashed) for hashed in (leaves[0], leaves[2]))
    extra = base64.b64encode(entries[1])
    assert b"c2sp.org/tlog-proof@v1\nextra " + extra + b"\nindex 1\n" + path + b"\n\n" + NOTE == PROOF


def test_the_documented_limit_is_the_enforced_one() -> None:
    assert f"at most {LARGEST_ENTRY_BYTES:,} bytes" in FORMAT


def test_the_auditor_is_told_what_nothing_writes_yet() -> None:
    package = Path(log_module.__file__).parents[1]
    vocabulary = {package / "audit" / "events.py", package / "audit" / "office_events.py"}
    code = "".join(path.read_text("utf-8") for path in package.rglob("*.py") if path not in vocabulary)
    unwritten = {event.model_fields["kind"].default for event in EVENTS if f"{event.__name__}(" not in code}
    said = GUIDE.partition("nothing writes yet: ")[2].partition("**")[0]
    assert set(re.findall(r"`([a-z-]+)`", said)) == unwritten
