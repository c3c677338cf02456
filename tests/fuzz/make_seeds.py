"""Writes the seeds: `PYTHONPATH=tests python -m fuzz.make_seeds`. After a change of format. Nobody real is in them."""

import io
import json
import tempfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from fuzz.parsers import CONTRACT, DIMENSION, SEEDS
from support.audit_events import EXAMPLES, signer, write_log

from lfr_edge.crypto.sealed import SealIdentity, seal
from lfr_edge.crypto.signing import Purpose, SigningKey, sign
from lfr_edge.messages.command import CommandResult, StopCommand
from lfr_edge.messages.erasure import ErasureReceipt
from lfr_edge.messages.examples import ALERT, HEALTH, ORDER, RECIPIENT, STATUS, VOLUNTEER_PASS
from lfr_edge.messages.prekey import Prekey, Prekeys
from lfr_edge.office.order_file import _FILLED_IN
from lfr_edge.van import control
from lfr_edge.van.lifecycle import first_record
from lfr_edge.van.trusted_time import Reading, believe
from lfr_edge.watchlist.container import write_watchlist
from lfr_edge.watchlist.entries import Entry, PictureMember
from lfr_edge.watchlist.package import write_package

_START = ORDER.not_before
_KEY = SigningKey.generate()  # and forgotten
_DOCUMENTS = Path(__file__).parents[2] / "docs"


def _entry(number: int) -> Entry:
    return Entry(
        id=f"E-{number:03}",
        category="wanted on warrant",
        response="red",
        legal_basis="PACE 1984 s.64A",
        source="custody",
        captured=date(2025, 3, 1),
        picture=PictureMember(offset=16 * number, length=16, key="ab" * 32),
    )


def _container() -> bytes:
    rows = np.eye(4, DIMENSION, dtype=np.float32)
    owners = np.array([0, 1, 1, 2], np.int32)
    whole = write_watchlist(tuple(map(_entry, range(3))), rows, owners, contract=CONTRACT)
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])  # without the padding: damage is to hit something
    header["__metadata__"]["entries"] = header["__metadata__"]["entries"].rstrip()
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


def _package(folder: Path) -> bytes:
    path = folder / "seed.lfrd"
    order = sign(ORDER.to_json(), Purpose.ORDER, [_KEY])
    write_package(path, order, io.BytesIO(bytes(range(256))), io.BytesIO(bytes(48)))
    return path.read_bytes()


def _log(folder: Path) -> bytes:
    write_log(folder / "seed.log", signer(_KEY), EXAMPLES[2:5])
    return (folder / "seed.log").read_bytes()


def _order_file() -> bytes:
    """The order as the officer writes it: TOML takes JSON's texts and numbers as they are."""
    fields = {name: value for name, value in json.loads(ORDER.to_json()).items() if name not in _FILLED_IN}
    vans = fields.pop("vans")
    lines = [
        f"{name} = {value if name in {'not_before', 'not_after'} else json.dumps(value)}"
        for name, value in fields.items()
        if value is not None
    ]
    return "\n".join([*lines, "[[vans]]", 'id = "van-1"', f"cameras = {json.dumps(vans[0]['cameras'])}", ""]).encode()


def _config() -> bytes:
    return (_DOCUMENTS / "configuration.md").read_text("utf-8").split("```toml\n")[1].split("```")[0].encode()


def _seeds(folder: Path, identity: SealIdentity) -> dict[str, bytes]:
    prekeys = Prekeys(
        force="example",
        van="van-1",
        made_at=_START,
        prekeys=(Prekey(recipient=RECIPIENT, expires_at=_START + timedelta(days=90)),),
    )
    receipt = ErasureReceipt(
        force="example",
        van="van-1",
        order=ORDER.id,
        order_sha256="1" * 64,
        watchlist_sha256="2" * 64,
        cause="window-over",
        erased_at=ORDER.not_after,
        level="key-destroyed",
        unverified=("old-blocks",),
    )
    command = StopCommand(force="example", van="van-1", order=ORDER.id, revoke=False, by="Supt A. Example", why="over")
    result = CommandResult(force="example", van="van-1", command_sha256="3" * 64, outcome="done", at=_START)
    alert = json.loads(ALERT.to_json()) | {"recipients": [RECIPIENT]}
    return {
        "package": _package(folder),
        "container": _container(),
        "age": seal(_container(), [identity.recipient]),
        "inner-age": seal(_container(), [identity.recipient]),
        "share": SealIdentity.generate().secret.encode(),
        "entry": _entry(1).to_json(),
        "envelope": sign(ORDER.to_json(), Purpose.ORDER, [_KEY]),
        "order": ORDER.to_json(),
        "prekeys": prekeys.to_json(),
        "receipt": receipt.to_json(),
        "command": command.to_json(),
        "command-result": result.to_json(),
        "alert": json.dumps(alert).encode(),
        "sealed-alert": sign(ALERT.to_json(), Purpose.ALERT, [_KEY]),
        "test-pass": VOLUNTEER_PASS.to_json(),
        "status": STATUS.to_json(),
        "health": HEALTH.to_json(),
        "control": control.Order(do="prekeys", count=3).to_json(),
        "control-reply": control.Reply(done=True, state="armed", order=ORDER.id, not_before=_START).to_json(),
        "topic": b"lfr/v1/example/van-1/ack/01978cb6-8f2d-7c30-89ed-08ae518037f0",
        "log": _log(folder),
        "config": _config(),
        "order-file": _order_file(),
        "record": first_record(believe(None, Reading(_START, 100.0, "boot", synchronised=True))).to_json(),
    }


def main() -> None:
    """Write every seed anew."""
    identity = SealIdentity.generate()
    with tempfile.TemporaryDirectory() as folder:
        for name, content in _seeds(Path(folder), identity).items():
            (SEEDS / name).mkdir(parents=True, exist_ok=True)
            (SEEDS / name / "seed").write_bytes(content)
    (SEEDS / "age" / "test-only.key").unlink(missing_ok=True)
    identity.to_file(SEEDS / "age" / "test-only.key")


if __name__ == "__main__":
    main()
