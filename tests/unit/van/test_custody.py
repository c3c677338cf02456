"""From a package to its erasure: what is refused leaves nothing, what is taken is logged, what ended is gone."""

import errno
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.custody import START, Holder, Kit, kit

from lfr_edge.audit.events import DeploymentRefused
from lfr_edge.audit.reader import unverified_entries, verify_log
from lfr_edge.crypto.signing import SigningKey
from lfr_edge.errors import DeviceError, LfrEdgeError, Reason, UntrustedInputError
from lfr_edge.messages.erasure import open_receipt
from lfr_edge.messages.examples import ORDER
from lfr_edge.van import custody, deployment
from lfr_edge.van.custody import warn_of_low_stock
from lfr_edge.van.erasure import note_sent, waiting
from lfr_edge.van.lifecycle import Action, Request, State
from lfr_edge.van.prekeys import PrekeyStock
from lfr_edge.van.succession import Commit, InTheDark
from lfr_edge.van.trusted_time import Reading

HOUR = timedelta(hours=1)


@pytest.fixture
def van(tmp_path: Path) -> Kit:
    return kit(tmp_path / "van")


@contextmanager
def running(van: Kit) -> Iterator[Holder]:
    holder = van.process()
    try:
        yield holder
    finally:
        holder.close()


def take(van: Kit, holder: Holder) -> None:
    with van.package.open("rb") as file:
        holder.custody.take(file, "account:technician")


def logged(van: Kit) -> list[str]:
    verify_log(van.state / "audit.log", SigningKey.from_file(van.folder / "alert.key").public)
    with (van.state / "audit.log").open("rb") as file:
        return [entry.event.kind for entry in unverified_entries(file)]


def test_a_genuine_package_arms_the_van_which_then_sees(van: Kit) -> None:
    with running(van) as holder:
        take(van, holder)
        assert holder.keeper.record.state is State.ARMED
        assert holder.keeper.decide().actions == (Action.SEE,)
    assert logged(van) == ["log-created", "deployment-loaded"]
    van.package.unlink()
    with running(van) as holder:
        assert holder.keeper.decide().actions == (Action.SEE,), "it has a copy of its own"


def refusal(van: Kit) -> Reason:
    before = van.files()
    with running(van) as holder:
        with pytest.raises(LfrEdgeError) as refused:
            take(van, holder)
        assert holder.keeper.record.state is State.IDLE
    assert van.files() == before
    assert logged(van) == ["log-created", "deployment-refused"]
    return refused.value.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"not_after": START}, Reason.OUTSIDE_WINDOW),
        ({"force": "elsewhere"}, Reason.WRONG_VAN),
        ({"threshold": 0.1}, Reason.THRESHOLD_BELOW_FLOOR),
        ({"contract": "0" * 64}, Reason.CONTRACT_MISMATCH),
        ({"engine_sets": ("0" * 64,)}, Reason.ENGINE_SET_NOT_ALLOWED),
        ({"watchlist_sha256": "0" * 64}, Reason.DIGEST_MISMATCH),
        ({"pictures_sha256": "0" * 64}, Reason.DIGEST_MISMATCH),
        ({"budget": 1e-12}, Reason.BUDGET_EXCEEDED),
        ({"key_protection": "tpm2"}, Reason.KEY_PROTECTION_TOO_WEAK),
        ({"key_protection": "host-key"}, Reason.KEY_PROTECTION_TOO_WEAK),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_order_that_does_not_fit_is_refused(van: Kit, changes: dict[str, Any], reason: Reason) -> None:
    van.seal(**changes)
    assert refusal(van) is reason


@pytest.mark.parametrize("possible", ["swap_is_on", "core_files_are_possible"])
def test_an_order_that_forbids_swap_or_core_files_is_refused_where_they_are_possible(
    van: Kit, possible: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    van.seal(no_swap=True, no_core_dumps=True)
    monkeypatch.setattr(deployment, "swap_is_on", lambda: possible == "swap_is_on")
    monkeypatch.setattr(deployment, "core_files_are_possible", lambda: possible == "core_files_are_possible")
    expected = {"swap_is_on": Reason.SWAP_POSSIBLE, "core_files_are_possible": Reason.CORE_FILES_POSSIBLE}
    assert refusal(van) is expected[possible]


def test_what_the_system_says_of_swap_is_understood(tmp_path: Path) -> None:
    heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    (tmp_path / "none").write_text(heading)
    (tmp_path / "some").write_text(heading + "/dev/zram0  partition  1000  0  5\n")
    assert not deployment.swap_is_on(tmp_path / "none")
    assert deployment.swap_is_on(tmp_path / "some")


@pytest.mark.parametrize(
    "signers",
    [
        lambda officers: officers[:1],
        lambda officers: [officers[0], officers[0]],
        lambda officers: [officers[0], SigningKey.generate()],
        lambda _: [SigningKey.generate(), SigningKey.generate()],
    ],
    ids=["one of two", "the same key twice", "one known, one not", "nobody known"],
)
def test_too_few_signatures_are_refused(van: Kit, signers: Callable[[list[SigningKey]], list[SigningKey]]) -> None:
    van.seal(signers=signers(van.officers))
    assert refusal(van) in {Reason.SIGNATURE_INVALID, Reason.SIGNER_UNKNOWN}


def test_a_second_package_is_refused_and_the_first_stays(van: Kit) -> None:
    with running(van) as holder:
        take(van, holder)
        first = holder.custody.package.read_bytes()
        van.seal(id="another")
        with pytest.raises(LfrEdgeError) as refused:
            take(van, holder)
        assert refused.value.reason is Reason.ORDER_LOADED
        assert holder.custody.package.read_bytes() == first
        assert holder.keeper.decide().actions == (Action.SEE,)


def replacing(van: Kit, **changes: Any) -> Path:
    """A package whose order replaces the loaded one, sealed to another prekey."""
    return van.seal_another(**{"id": "high-street-again", "replaces": ORDER.id, **changes})


def test_an_order_that_replaces_an_armed_one_holds_and_the_old_list_is_erased(van: Kit) -> None:
    public = SigningKey.from_file(van.folder / "alert.key").public
    later = replacing(van, not_before=START + HOUR)
    with running(van) as holder:
        take(van, holder)
        first = holder.keeper.record.terms
        assert first is not None
        with later.open("rb") as file:
            new = holder.custody.take(file, "account:technician")
        record = holder.keeper.record
        assert (record.state, record.terms, record.replaced) == (State.ARMED, new, first)
        assert holder.keeper.decide().actions == (Action.ERASE_REPLACED,)
        holder.custody.erase_replaced()
        assert holder.keeper.decide().actions == ()
        (path,) = waiting(holder.custody.holding.receipts)
        receipt = open_receipt(path.read_bytes(), public)
        assert (receipt.order, receipt.cause, receipt.level) == (first.order, "replaced", "key-destroyed")
        assert "old-heap" in receipt.unverified
        assert van.files() == {
            f"receipts/{path.name}",
            f"deployment/{later_name(holder)}",
            f"prekeys/{new.recipient}.prekey",
        }
        with pytest.raises(LfrEdgeError) as refused:
            take(van, holder)
        assert refused.value.reason in {Reason.ORDER_ENDED, Reason.WRONG_RECIPIENT, Reason.ORDER_LOADED}
    assert logged(van) == [
        "log-created",
        "deployment-loaded",
        "deployment-loaded",
        "deployment-erased",
        "deployment-refused",
    ]
    van.clocks.advance(3600)
    with running(van) as holder:
        assert holder.keeper.decide().actions == (Action.SEE,)


def later_name(holder: Holder) -> str:
    return holder.custody.package.name


def test_an_erasure_of_what_was_replaced_is_completed_by_the_next_process(van: Kit) -> None:
    later = replacing(van)
    with running(van) as holder:
        take(van, holder)
        with later.open("rb") as file:
            holder.custody.take(file, "account:technician")
        holder.custody.tidy()
        assert len(list((van.state / "deployment").iterdir())) == 2, "both are named by the record"
        assert holder.keeper.decide().actions == (Action.SEE, Action.ERASE_REPLACED)
    with running(van) as holder:
        assert holder.keeper.decide().actions == (Action.SEE,)
        assert [path.name for path in (van.state / "deployment").iterdir()] == [later_name(holder)]
    assert logged(van).count("deployment-erased") == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"replaces": None}, Reason.ORDER_LOADED),
        ({"replaces": "yet-another"}, Reason.ORDER_LOADED),
        ({"force": "elsewhere"}, Reason.WRONG_VAN),
        ({"engine_sets": ("0" * 64,)}, Reason.ENGINE_SET_NOT_ALLOWED),
        ({"pictures_sha256": "0" * 64}, Reason.DIGEST_MISMATCH),
        ({"not_before": START + HOUR}, Reason.OUTSIDE_WINDOW),
        ({"not_after": START}, Reason.OUTSIDE_WINDOW),
    ],
    ids=lambda value: "-".join(map(str, value.items())) if isinstance(value, dict) else "",
)
def test_a_replacement_that_is_refused_leaves_a_live_order_as_it_was(
    van: Kit, changes: dict[str, Any], reason: Reason
) -> None:
    new = replacing(van, **changes)
    with running(van) as holder:
        take(van, holder)
        holder.keeper.decide()
        before, record = van.files(), holder.keeper.record
        with new.open("rb") as file, pytest.raises(LfrEdgeError) as refused:
            holder.custody.take(file, "account:technician")
        assert refused.value.reason is reason
        assert (van.files(), holder.keeper.record) == (before, record)
        assert holder.keeper.decide().record.state is State.LIVE
    assert logged(van) == ["log-created", "deployment-loaded", "deployment-refused"]


def test_a_replacement_sealed_to_the_key_that_goes_with_the_old_order_is_refused(van: Kit) -> None:
    with running(van) as holder:
        take(van, holder)
        van.seal(id="high-street-again", replaces=ORDER.id)
        with pytest.raises(LfrEdgeError) as refused:
            take(van, holder)
        assert refused.value.reason is Reason.KEY_USED
        assert holder.keeper.decide().actions == (Action.SEE,)


def test_a_replacement_during_which_the_loaded_order_is_ended_is_refused(van: Kit) -> None:
    class Stopped(InTheDark):
        @contextmanager
        def prepared(self, package: Path) -> Iterator[Callable[[Commit], None]]:
            holder.keeper.decide(Request.STOP)
            holder.custody.erase()
            with super().prepared(package) as carry_out:
                yield carry_out

    new = replacing(van)
    with running(van) as holder:
        take(van, holder)
        with new.open("rb") as file, pytest.raises(LfrEdgeError) as refused:
            holder.custody.take(file, "account:technician", Stopped())
        assert refused.value.reason is Reason.STOPPED
        assert holder.keeper.record.state is State.ENDED
        assert list((van.state / "deployment").iterdir()) == []


def test_an_end_does_not_wait_for_a_package_that_comes_slowly(van: Kit) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if Action.ERASE in holder.keeper.decide(Request.STOP).actions:
                holder.custody.erase()
            return super().read(size)

    with running(van) as holder:
        take(van, holder)
        with pytest.raises(LfrEdgeError):
            holder.custody.take(Slow(replacing(van).read_bytes()[:100]), "account:technician")
        assert holder.keeper.record.erased


def test_an_end_leaves_no_package_no_key_and_a_signed_receipt(van: Kit) -> None:
    public = SigningKey.from_file(van.folder / "alert.key").public
    with running(van) as holder:
        take(van, holder)
        holder.keeper.decide()
        holder.keeper.decide(Request.STOP)
        holder.custody.erase()
        assert (holder.keeper.record.erased, len(holder.custody.holding.stock)) == (True, 0)
        (path,) = waiting(holder.custody.holding.receipts)
        receipt = open_receipt(path.read_bytes(), public)
        assert (receipt.order, receipt.cause, receipt.level) == ("high-street-2026-06-20", "stop", "key-destroyed")
        assert van.files() == {f"receipts/{path.name}"}
        note_sent(path)
        assert waiting(holder.custody.holding.receipts) == []
        with pytest.raises(LfrEdgeError):
            take(van, holder)
    assert logged(van) == ["log-created", "deployment-loaded", "deployment-erased", "deployment-refused"]


def test_another_order_for_a_used_prekey_is_useless(van: Kit) -> None:
    with running(van) as holder:
        take(van, holder)
        holder.keeper.decide(Request.STOP)
        holder.custody.erase()
        van.seal(id="another")
        with pytest.raises(LfrEdgeError) as refused:
            take(van, holder)
        assert refused.value.reason is Reason.WRONG_RECIPIENT


def test_trust_that_was_withdrawn_ends_the_deployment_at_the_next_start(van: Kit) -> None:
    with running(van) as holder:
        take(van, holder)
    (van.folder / "order-1.pub").unlink()
    SigningKey.generate().public.to_file(van.folder / "order-1.pub")
    with running(van) as holder:
        decision = holder.keeper.decide()
        assert (decision.record.cause, decision.actions[-1]) == ("not-authorised", Action.ERASE)


@pytest.mark.parametrize("what", ["changed", "missing", "exchanged"])
def test_a_package_that_is_not_the_loaded_one_any_more_blinds(van: Kit, what: str) -> None:
    with running(van) as holder:
        take(van, holder)
        copy = holder.custody.package
    if what == "changed":
        content = bytearray(copy.read_bytes())
        content[-2000] ^= 1
        copy.write_bytes(content)
    elif what == "missing":
        copy.unlink()
    else:
        van.seal(id="another")
        copy.write_bytes(van.package.read_bytes())
    with running(van) as holder:
        decision = holder.keeper.decide()
        assert (decision.record.state, decision.actions) == (State.ARMED, ())
        assert decision.blind[0] in {Reason.DIGEST_MISMATCH, Reason.FILE_MISSING, Reason.MALFORMED}


def test_what_was_left_of_an_interrupted_load_goes_at_the_next_start(van: Kit) -> None:
    folder = van.state / "deployment"
    folder.mkdir()
    for name in ("0123456789abcdef.lfrd", "incoming.lfrd", ".incoming.lfrd.half"):
        (folder / name).write_bytes(b"half")
    with running(van):
        assert list(folder.iterdir()) == []


def test_a_receipt_is_believed_only_from_its_van(van: Kit) -> None:
    with running(van) as holder:
        take(van, holder)
        holder.keeper.decide(Request.STOP)
        holder.custody.erase()
        (path,) = waiting(holder.custody.holding.receipts)
    with pytest.raises(UntrustedInputError):
        open_receipt(path.read_bytes(), SigningKey.generate().public)


def full(*_: object, **__: object) -> None:
    raise DeviceError(Reason.FILE_UNWRITABLE, "the disk is full", fix="make room")


def test_an_order_logged_as_loaded_that_the_disk_does_not_take_is_logged_as_not_armed(
    van: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = van.files()
    with running(van) as holder:
        monkeypatch.setattr(holder.keeper, "load", full)
        with pytest.raises(DeviceError, match="the disk is full"):
            take(van, holder)
        assert (holder.keeper.record.state, van.files()) == (State.IDLE, before)
    assert logged(van) == ["log-created", "deployment-loaded", "deployment-refused"]
    with (van.state / "audit.log").open("rb") as file:
        event = list(unverified_entries(file))[-1].event
    assert isinstance(event, DeploymentRefused)
    assert (event.order, event.reason) == ("high-street-2026-06-20", Reason.FILE_UNWRITABLE.value)
    assert event.why == "it was logged as loaded, but the van was not armed"
    with running(van) as holder:
        assert holder.keeper.decide().actions == (), "nor does the next process see"


def test_an_order_that_the_log_does_not_take_is_not_loaded(van: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    before = van.files()
    with running(van) as holder:
        monkeypatch.setattr(holder.log, "append", full)
        with pytest.raises(DeviceError, match="the disk is full"):
            take(van, holder)
        assert (holder.keeper.record.state, van.files()) == (State.IDLE, before)
    assert logged(van) == ["log-created"]
    with running(van) as holder:
        assert holder.keeper.decide().actions == (), "nor does the next process see"


@pytest.mark.parametrize("broken", ["log", "folder"])
def test_a_disk_that_fails_does_not_hide_why_a_package_was_refused(
    van: Kit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    def unremovable(_: Path, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    van.seal(not_after=START)
    with running(van) as holder:
        if broken == "log":
            monkeypatch.setattr(holder.log, "append", full)
        else:
            monkeypatch.setattr(custody, "clear", unremovable)
        with pytest.raises(LfrEdgeError) as refused:
            take(van, holder)
        assert refused.value.reason is Reason.OUTSIDE_WINDOW
        assert len(caplog.records) == 1
        assert holder.keeper.decide().actions == ()


def test_a_fault_while_loading_leaves_no_package(van: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(deployment, "check", fault)
    with running(van) as holder:
        with pytest.raises(RuntimeError):
            take(van, holder)
        assert list((van.state / "deployment").iterdir()) == []
    assert logged(van) == ["log-created", "deployment-refused"]


def test_a_start_removes_what_was_half_written_and_no_other_dotfile(van: Kit) -> None:
    (van.state / "receipts").mkdir()
    names = ("receipts/.order-1-0123456789abcdef.json.a1b2c3_4", ".deployment.json.abcdefgh", ".wrapping.key.abcdefgh")
    prekey = f"prekeys/.{van.recipient}.prekey.abcdefgh"
    for name in (*names, prekey, ".keep", ".bashrc"):
        (van.state / name).write_bytes(b"x")
    with running(van):
        left = {name for name in van.files() if Path(name).name.startswith(".")}
    assert left == {".keep", ".bashrc"}


@pytest.mark.parametrize(("left", "lasting", "warned"), [(0, False, 1), (0, True, 0), (2, True, 1), (3, False, 0)])
def test_a_low_stock_of_prekeys_is_said_above_all_when_there_is_none(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    left: int,
    lasting: bool,  # noqa: FBT001 - pytest gives it
    warned: int,
) -> None:
    stock = PrekeyStock(tmp_path / "prekeys", tmp_path / "wrapping.key")
    if left:
        stock.make(left, START)
    warn_of_low_stock(stock, lasting=lasting)
    assert len(caplog.records) == warned


def test_a_receipt_is_not_dated_by_a_clock_that_is_not_believed(van: Kit) -> None:
    with running(van) as holder:
        take(van, holder)
        holder.keeper.decide()
        right = van.clocks.reading
        van.clocks.reading = Reading(START - 1000 * HOUR, right.boot_s + 60, right.boot_id, synchronised=True)
    with running(van) as holder:
        holder.keeper.decide(Request.STOP)
        holder.custody.erase()
        (path,) = waiting(holder.custody.holding.receipts)
    receipt = open_receipt(path.read_bytes(), SigningKey.from_file(van.folder / "alert.key").public)
    assert receipt.erased_at == START + timedelta(seconds=60)
