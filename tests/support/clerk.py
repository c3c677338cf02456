"""A clerk who types the office's commands, and reads the office's log."""

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lfr_edge.audit.entries import Entry
from lfr_edge.audit.log import AuditLog
from lfr_edge.audit.reader import open_log, unverified_entries, verify_log
from lfr_edge.cli.main import main
from lfr_edge.clock import ManualClock, SystemClock
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.signing import SigningKey, VerifyKey

HEADER = "id,photo,category,response,legal_basis,source,captured,rationale,expires"
REST = "wanted on warrant,red,common law,custody,2025-03-01,warrant,2027-01-01"
ORDER = """
id = "harbour-2026-06-01"
purpose = "find people wanted on warrant"
legal_basis = "common law; PACE 1984"
place = "Harbour Street"
authorising_officer = "Supt A. Example"
force = "example"
not_before = 2026-06-01T09:00:00Z
not_after = 2026-06-01T17:00:00Z
threshold = 0.55
margin = 0.05
confirmation = 2
cooldown_s = 300
expected_faces = 10000
notice_url = "https://example.org/notice"
demo = false

[[vans]]
id = "van-1"
cameras = ["front"]
"""
BEFORE = datetime(2026, 5, 30, 9, 30, tzinfo=timezone.utc)
"""Two days before the order's window: when a list is made."""


@dataclass
class Clerk:
    """Somebody at a desk that `office setup` made, and what lies on it."""

    folder: Path
    photos: Path
    key: str
    clock: ManualClock

    def __call__(self, action: str, *arguments: object) -> int:
        who = ("--office", self.folder / "desk" / "office.toml", "--by", "J. Clerk", "--why", "deployment 17")
        logged = () if action in {"merge", "verify", "inspect"} else who
        return main(["office", action, *map(str, (*arguments, *logged))])

    def write_list(self, *lines: str) -> Path:
        path = self.folder / "list.csv"
        path.write_text("\n".join([HEADER, *(f"{line},{REST}" for line in lines)]) + "\n", "utf-8")
        return path

    def enrol(self, *arguments: object) -> int:
        where = ("--photos", self.photos, "--list", self.folder / "list.csv", "--out", self.folder / "work")
        return self("enrol", *where, "--engine-set", "yunet-mobilefacenet", *arguments)

    def seal(self, *arguments: object, order: str = ORDER) -> int:
        (self.folder / "order.toml").write_text(order, "utf-8")
        where = (self.folder / "work", "--order", self.folder / "order.toml", "--recipient", self.key)
        van = () if {"--prekeys", "--van-recipient"} & set(arguments) else ("--van-recipient", f"van-1={self.key}")
        out = () if "--out" in arguments else ("--out", self.folder / "x.lfrd")
        return self("seal", *where, *van, *out, *arguments)

    def officer(self, name: str) -> Path:
        assert main(["office", "keygen", "--no-passphrase", "--out", str(self.folder / name)]) == 0
        return self.folder / name

    def hold_log(self) -> AuditLog:
        """As another process that has the log open: nobody else can write it until it is closed."""
        key = SigningKey.from_file(self.folder / "desk" / "log.key")
        signer = NoteSigner("lfr-edge/example/office", key)
        return AuditLog.open(self.folder / "desk" / "office.log", signer, SystemClock())

    def log(self) -> list[Entry]:
        """Everything in the office's log, verified."""
        path = self.folder / "desk" / "office.log"
        verify_log(path, VerifyKey.from_file(self.folder / "desk" / "log.pub"), [])
        with open_log(path) as file:
            return list(unverified_entries(file))

    def events(self, *kinds: str) -> list[Any]:
        """Any: each kind of event has fields of its own."""
        return [entry.event for entry in self.log() if not kinds or entry.event.kind in kinds]
