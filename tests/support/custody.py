"""A van without cameras, engines or a broker: keys, prekeys, and a genuine package with one entry."""

import hashlib
import io
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from support.swap import require_no_swap

from lfr_edge.audit.checkpoint import log_origin
from lfr_edge.audit.log import AuditLog
from lfr_edge.clock import ManualClock
from lfr_edge.config import VanConfig
from lfr_edge.crypto.notes import NoteSigner
from lfr_edge.crypto.sealed import SealIdentity, seal
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.inference.manifest import EngineSet, load_engine_set
from lfr_edge.messages.examples import ORDER
from lfr_edge.messages.order import Order, VanAssignment, sign_order
from lfr_edge.van.custody import Custody
from lfr_edge.van.duties import Duties
from lfr_edge.van.history import History
from lfr_edge.van.keeper import Keeper
from lfr_edge.van.late_log import LateLog
from lfr_edge.van.prekeys import PrekeyStock
from lfr_edge.van.trusted_time import Reading
from lfr_edge.watchlist.container import write_watchlist
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.package import write_package

START = datetime(2026, 6, 20, 12, tzinfo=timezone.utc)
ENGINE_SET = load_engine_set("yunet-mobilefacenet")


@dataclass
class FakeClocks:
    """All clocks, set by the test."""

    reading: Reading = field(default_factory=lambda: Reading(START, 100.0, "boot", synchronised=True))

    def read(self) -> Reading:
        return self.reading

    def advance(self, seconds: float) -> None:
        now = self.reading
        later = now.wall + timedelta(seconds=seconds)
        self.reading = Reading(later, now.boot_s + seconds, now.boot_id, now.synchronised)


@dataclass
class Holder:
    """One process of the van, as far as custody goes."""

    keeper: Keeper
    custody: Custody
    log: AuditLog

    def close(self) -> None:
        self.log.close()


@dataclass
class Kit:
    """A van's folder and its officers."""

    folder: Path
    officers: list[SigningKey]
    recipient: str
    clocks: FakeClocks = field(default_factory=FakeClocks)
    name: str = "sent.lfrd"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def package(self) -> Path:
        return self.folder / self.name

    @property
    def config(self) -> VanConfig:
        absent = self.folder / "absent"
        return VanConfig.model_validate(
            {
                "van": "van-1",
                "force": "example",
                "state": self.state,
                "control": self.folder / "control.sock",
                "demo_orders": True,
                "keys": {
                    "alert": self.folder / "alert.key",
                    "trusted_order_signers": tuple(self.folder / f"order-{n}.pub" for n in range(len(self.officers))),
                    "order_signatures": len(self.officers),
                },
                "engines": {"set": ENGINE_SET.name, "store": absent},
                "broker": {"host": "x", "ca": absent, "certificate": absent, "key": absent},
                "cameras": ({"id": "north", "source": "rtsp://x/"},),
            }
        )

    def process(self) -> Holder:
        """The van starts, in the order of `Service.run`."""
        clock = ManualClock(self.clocks.reading.wall)
        key = SigningKey.from_file(self.folder / "alert.key")
        history = History()
        signer = NoteSigner(log_origin("example", "van-1"), key)
        log = AuditLog.open(self.state / "audit.log", signer, clock, history.hear)
        try:
            keeper = Keeper(self.state / "deployment.json", self.clocks)
            custody = Custody(self.config, ENGINE_SET, keeper, log, clock)
            late = LateLog(log)
            missing = history.missing(keeper.record)
            Duties(keeper, custody, late).erase(keeper.decide())
            late.say(*missing)
            custody.tidy()
            custody.verify()
        except BaseException:
            log.close()
            raise
        return Holder(keeper, custody, log)

    def seal(
        self, *, signers: list[SigningKey] | None = None, share: SealIdentity | None = None, **changes: Any
    ) -> Order:
        """The office seals a package, over the one before."""
        content = _list(ENGINE_SET)
        if share is not None:
            content = seal(content, [share.recipient])
            require_no_swap()
            changes |= {"unlock": "required", "unlock_recipient": share.recipient, "no_swap": True}
        watchlist = seal(content, [self.recipient])
        order = Order(**{**dict(_order(self.recipient)), "watchlist_sha256": _sha256(watchlist), **changes})
        self.package.unlink(missing_ok=True)
        signed = sign_order(order, self.officers if signers is None else signers)
        write_package(self.package, signed, io.BytesIO(watchlist), io.BytesIO(b"pictures"))
        return order

    def seal_another(self, **changes: Any) -> Path:
        """Another package, sealed to another prekey of the van."""
        (prekey,) = self.stock.make(1, START)
        other = replace(self, recipient=prekey.recipient, name=f"{changes['id']}.lfrd")
        other.seal(**changes)
        return other.package

    @property
    def stock(self) -> PrekeyStock:
        return PrekeyStock(self.state / "prekeys", self.state / "wrapping.key")

    def files(self) -> set[str]:
        """What is in the state folder, but for the log and the record."""
        found = {str(path.relative_to(self.state)) for path in self.state.rglob("*") if path.is_file()}
        return found - {"audit.log", "deployment.json", "wrapping.key"}


def kit(folder: Path, *, officers: int = 2) -> Kit:
    """A van with two officers and one prekey, and a package sealed to that."""
    (folder / "state").mkdir(parents=True)
    SigningKey.generate().to_file(folder / "alert.key")
    keys = [SigningKey.generate() for _ in range(officers)]
    for number, key in enumerate(keys):
        key.public.to_file(folder / f"order-{number}.pub")
    (prekey,) = PrekeyStock(folder / "state" / "prekeys", folder / "state" / "wrapping.key").make(1, START)
    made = Kit(folder, keys, prekey.recipient)
    made.seal()
    return made


def _order(recipient: str) -> Order:
    return Order(
        **{
            **dict(ORDER),
            "vans": (VanAssignment(id="van-1", recipient=recipient, cameras=("north",)),),
            "not_before": START - timedelta(hours=1),
            "not_after": START + timedelta(hours=5),
            "threshold": ENGINE_SET.threshold,
            "list_size": 1,
            "template_count": 1,
            "contract": ENGINE_SET.contract,
            "engine_sets": (ENGINE_SET.digest,),
            "pictures_sha256": _sha256(b"pictures"),
        }
    )


def _list(engine_set: EngineSet) -> bytes:
    template = np.zeros((1, engine_set.dimension), np.float32)
    template[0, 0] = 1
    entry = Entry(
        id="W-1",
        category="wanted",
        response="red",
        legal_basis="test",
        source="made up",
        captured=date(2026, 1, 1),
        picture=PictureMember(offset=0, length=16, key="00" * 32),
    )
    return write_watchlist((entry,), template, np.zeros(1, np.int32), contract=engine_set.contract)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
