"""kill -9 at every step on the disk, from loading to the last step of the erasure: the next start makes it right.

A child process lives a deployment's whole life and dies before its n-th access to a file of the state folder; other
accesses are none of the disk's business. What the disk then holds must allow no more than before, and the next process,
which is killed too or is not, must come to the same end.
"""

import base64
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from support.bech32 import secret_bytes
from support.custody import ENGINE_SET, Kit, kit

from lfr_edge.audit.events import PeriodEnded
from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.clock import ManualClock
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import LfrEdgeError, Reason
from lfr_edge.messages.erasure import open_receipt
from lfr_edge.messages.examples import ORDER
from lfr_edge.messages.order import Order
from lfr_edge.van import lifecycle
from lfr_edge.van.authority import Ending
from lfr_edge.van.commands import Commands
from lfr_edge.van.duties import Duties
from lfr_edge.van.erasure import waiting
from lfr_edge.van.late_log import LateLog
from lfr_edge.van.lifecycle import Record, Request, State
from lfr_edge.van.period import Period
from lfr_edge.van.succession import Commit
from lfr_edge.watchlist.package import open_package

_ACCESSES = {"open", "os.remove", "os.rename", "os.link", "os.mkdir", "os.chmod", "os.truncate", "shutil.copyfileobj"}
_EXIT_DONE = 17
SUCCESSOR = "high-street-again"
SHARE = SealIdentity.generate()
SECRETS = (SHARE.secret.encode(), secret_bytes(SHARE))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return kit(tmp_path_factory.mktemp("faults") / "van")


@pytest.fixture(scope="module")
def succeeded(tmp_path_factory: pytest.TempPathFactory, original: Kit) -> Kit:
    """With a second package, which replaces the first."""
    made = copied(original, tmp_path_factory.mktemp("faults-of-two") / "van")
    made.seal_another(id=SUCCESSOR, replaces=ORDER.id)
    return made


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, original: Kit) -> Kit:
    """With an order that asks for a share."""
    made = copied(original, tmp_path_factory.mktemp("faults-of-a-share") / "van")
    made.seal(share=SHARE)
    return made


def copied(original: Kit, folder: Path) -> Kit:
    """A van that is the same as another, over the one that is there."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original.folder, folder)
    return Kit(folder, original.officers, original.recipient)


@pytest.fixture
def van(tmp_path: Path, original: Kit) -> Kit:
    return copied(original, tmp_path / "van")


def live_and_end(van: Kit) -> None:
    """Whatever is on the disk: load if nothing was, see, stop, erase."""
    holder = van.process()
    try:
        if holder.keeper.record.state is State.IDLE:
            with van.package.open("rb") as file:
                holder.custody.take(file, "account:technician")
        holder.keeper.decide()
        holder.keeper.decide(Request.REVOKE)
        if not holder.keeper.record.erased:
            holder.custody.erase()
        for order in holder.keeper.record.purge:
            holder.keeper.purged(order)
    finally:
        holder.close()


class Seeing:
    """Recognition without cameras: passes an order on as `Daemon` does."""

    def __init__(self, period: Period) -> None:
        self.period = period

    @contextmanager
    def prepared(self, package: Path) -> Iterator[Callable[[Commit], None]]:
        with closing(open_package(package)) as opened:
            successor = order_in(opened.order)

            def carry_out(commit: Commit) -> None:
                commit()
                assert self.period.passes(successor, ("north",), Ending(None, 50, 2, 1, unhurt=True))

            yield carry_out


def order_in(signed: bytes) -> Order:
    """An order whose signatures somebody else has checked."""
    return Order.from_untrusted(base64.b64decode(json.loads(signed)["payload"]))


def be_replaced_and_end(van: Kit) -> None:
    """Whatever is on the disk: load, see, let the successor take over while the van sees, be blind, stop, erase."""
    holder = van.process()
    late = LateLog(holder.log)
    commands = Commands("example", "van-1", [], lambda _: None, ManualClock())
    period = Period(holder.keeper, Duties(holder.keeper, holder.custody, late), holder.log, late, ENGINE_SET, commands)
    try:
        if holder.keeper.record.state is State.IDLE:
            with van.package.open("rb") as file:
                holder.custody.take(file, "account:technician", period)
        if holder.keeper.record.state is State.ARMED:
            with closing(open_package(holder.custody.package)) as opened:
                order = order_in(opened.order)
            assert period.begins(order, ("north",), Seeing(period))
            if order.id == ORDER.id:
                with (van.folder / f"{SUCCESSOR}.lfrd").open("rb") as file:
                    holder.custody.take(file, "account:technician", period)
            assert period.may_see()
            period.stop_asked = True
            period.blinded(Ending(None, 70, 3, 1, unhurt=True))
    finally:
        holder.close()
    live_and_end(van)


def be_unlocked_and_end(van: Kit) -> None:
    """Whatever is on the disk: load if nothing was, give the share, see; end as the others do."""
    holder = van.process()
    try:
        if holder.keeper.record.state is State.IDLE:
            with van.package.open("rb") as file:
                holder.custody.take(file, "account:technician")
        if lifecycle.loaded(holder.keeper.record) is not None:
            given = os.memfd_create("given")
            os.write(given, SHARE.secret.encode())
            holder.keeper.share.take(given, SHARE.recipient, lambda: None)
            os.close(given)
        holder.keeper.decide()
    finally:
        holder.close()
    live_and_end(van)


def require_blind_without_the_share(van: Kit) -> None:
    """A new process does not see, and nothing on the disk could help it."""
    holder = van.process()
    try:
        assert holder.keeper.decide().record.state is not State.LIVE
    finally:
        holder.close()
    files = [path for path in van.folder.rglob("*") if path.is_file()]
    assert not any(secret in path.read_bytes() for path in files for secret in SECRETS)


def killed_at(van: Kit, step: int, life: Callable[[Kit], None] = live_and_end) -> bool:
    """Whether a process that dies before its access number `step` got so far."""
    child = os.fork()
    if child == 0:
        _die_at(str(van.state), step)
        life(van)
        os._exit(_EXIT_DONE)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == _EXIT_DONE
    return os.WIFSIGNALED(status)


def _die_at(state: str, step: int) -> None:
    left = step

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _ACCESSES and any(str(argument).startswith(state) for argument in arguments[:2]):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def require_consistent(van: Kit) -> None:
    """What must hold whenever the power fails."""
    path = van.state / "deployment.json"
    state = Record.from_untrusted(path.read_bytes()) if path.exists() else None
    keys = {path.stem for path in (van.state / "prekeys").glob("*.prekey")}
    ended = state is not None and state.state is State.ENDED
    needed = van.recipient if state is None or state.terms is None else state.terms.recipient
    assert ended or needed in keys, "a key is destroyed only after the end is on the disk"
    if state is not None and state.erased:
        assert needed not in keys
        assert list((van.state / "deployment").iterdir()) == []
    if state is not None and state.terms is not None and state.terms.order == SUCCESSOR:
        require_replaced(van, state)


def require_replaced(van: Kit, record: Record) -> None:
    """The successor holds, and the first order has ended for good."""
    assert ORDER.id in {ended.order for ended in record.ended}
    assert record.terms is not None
    if record.replaced is None:
        assert not (van.state / "prekeys" / f"{van.recipient}.prekey").exists()
        own = {f"{record.terms.order_sha256[:16]}.lfrd"}
        assert {path.name for path in (van.state / "deployment").glob("[!.]*")} <= own
        assert [path for path in waiting(van.state / "receipts") if path.name.startswith(ORDER.id)]
    else:
        assert record.replaced.order == ORDER.id


def require_the_end(van: Kit) -> None:
    """The only end there is, whatever happened on the way."""
    require_consistent(van)
    key = SigningKey.from_file(van.folder / "alert.key").public
    holder = van.process()
    try:
        record = holder.keeper.record
        assert (record.state, record.erased, record.cause) == (State.ENDED, True, "revoke")
        assert holder.keeper.decide().actions == ()
        assert van.files() == {f"receipts/{path.name}" for path in waiting(holder.custody.holding.receipts)}
        (receipt,) = waiting(holder.custody.holding.receipts)
        assert open_receipt(receipt.read_bytes(), key).order_sha256 == record.terms.order_sha256  # type: ignore[union-attr]
        with van.package.open("rb") as file, pytest.raises(LfrEdgeError) as refused:
            holder.custody.take(file, "account:technician")
        assert refused.value.reason in {Reason.ORDER_ENDED, Reason.WRONG_RECIPIENT}
    finally:
        holder.close()
    verify_log(van.state / "audit.log", key)
    with (van.state / "audit.log").open("rb") as file:
        kinds = [entry.event.kind for entry in unverified_entries(file)]
    assert "deployment-erased" in kinds
    lives = [kind for kind in kinds if kind in {"deployment-loaded", "deployment-refused", "deployment-erased"}]
    assert lives[0] == "deployment-loaded"
    assert not {("deployment-loaded",) * 2, ("deployment-refused", "deployment-erased")} & {*pairwise(lives)}, (
        "a loading that was cut off is in the log as one"
    )


def test_a_deployment_killed_at_every_step_comes_to_its_end(van: Kit, original: Kit) -> None:
    step = 0
    while killed_at(van, step):
        require_consistent(van)
        live_and_end(van)
        require_the_end(van)
        copied(original, van.folder)
        step += 1
    require_the_end(van)
    assert step > 40, "the life of a deployment has many steps"


def test_a_deployment_with_a_share_killed_at_every_step_does_not_see_without_it_and_comes_to_its_end(
    tmp_path: Path, locked: Kit
) -> None:
    step = 0
    killed = True
    while killed:
        van = copied(locked, tmp_path / "van")
        killed = killed_at(van, step, be_unlocked_and_end)
        require_consistent(van)
        require_blind_without_the_share(van)
        be_unlocked_and_end(van)
        require_the_end(van)
        step += 1
    assert step > 40, "the life of a deployment has many steps"


def require_both_ends(van: Kit) -> None:
    """Nothing of either order is left but receipts, and the log has loading and erasure of both."""
    require_consistent(van)
    key = SigningKey.from_file(van.folder / "alert.key").public
    receipts = [open_receipt(path.read_bytes(), key) for path in waiting(van.state / "receipts")]
    causes = {(receipt.order, receipt.cause) for receipt in receipts}
    assert causes == {(ORDER.id, "replaced"), (SUCCESSOR, "revoke")}
    assert van.files() == {f"receipts/{path.name}" for path in waiting(van.state / "receipts")}
    verify_log(van.state / "audit.log", key)
    with (van.state / "audit.log").open("rb") as file:
        entries = [entry.event for entry in unverified_entries(file)]
    events = [(event.kind, getattr(event, "order", None)) for event in entries]
    ends = [event.cause for event in entries if isinstance(event, PeriodEnded) and event.order == ORDER.id]
    assert ends[-1] == "replaced", ends
    for order in (ORDER.id, SUCCESSOR):
        assert {("deployment-loaded", order), ("deployment-erased", order)} <= set(events)
    require_periods_in_order([event for event in events if event[0].startswith("period-")])


def require_periods_in_order(periods: list[tuple[str, str]]) -> None:
    """What began has ended, before anything else began; nothing began under an order that had been replaced."""
    for began, ended in zip(periods[::2], periods[1::2], strict=True):
        assert (began[0], ended[0], began[1]) == ("period-began", "period-ended", ended[1]), periods
    orders = [order for _, order in periods]
    assert orders == sorted(orders, key=[ORDER.id, SUCCESSOR].index), periods


@pytest.mark.slow
def test_a_replacement_killed_at_every_step_comes_to_its_end(tmp_path: Path, succeeded: Kit) -> None:
    step = 0
    killed = True
    while killed:
        van = copied(succeeded, tmp_path / "van")
        killed = killed_at(van, step, be_replaced_and_end)
        require_consistent(van)
        be_replaced_and_end(van)
        require_both_ends(van)
        step += 1
    assert step > 80, "the life of two deployments has many steps"


@pytest.mark.parametrize("points", [12, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_van_killed_again_and_again_comes_to_its_end(van: Kit, original: Kit, points: int) -> None:
    dice = random.Random(points)  # noqa: S311 - where to kill, no secret
    killed = 0
    while killed < points:
        while killed_at(van, dice.randrange(60)):
            killed += 1
            require_consistent(van)
        require_the_end(van)
        copied(original, van.folder)


@pytest.mark.parametrize("points", [12, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_van_killed_again_and_again_while_orders_change_comes_to_both_ends(
    tmp_path: Path, succeeded: Kit, points: int
) -> None:
    dice = random.Random(points)  # noqa: S311 - where to kill, no secret
    killed = 0
    while killed < points:
        van = copied(succeeded, tmp_path / "van")
        while killed_at(van, dice.randrange(120), be_replaced_and_end):
            killed += 1
            require_consistent(van)
        require_both_ends(van)
