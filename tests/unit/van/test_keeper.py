"""The record on disk: written before anything is done, and read back by the next process."""

import errno
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.custody import FakeClocks

from lfr_edge import files
from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import ConfigError, PolicyError, Reason
from lfr_edge.messages.examples import RECIPIENT
from lfr_edge.van import keeper as keeping
from lfr_edge.van.keeper import NOT_CHECKED, Keeper, Taking
from lfr_edge.van.lifecycle import Action, Conditions, Record, Request, State, Terms
from lfr_edge.van.trusted_time import Anchor, Reading

START = datetime(2026, 6, 20, 12, tzinfo=timezone.utc)
MET = Conditions(1, 1)
TERMS = Terms(
    order="order-1",
    order_sha256="0" * 64,
    watchlist_sha256="1" * 64,
    recipient=RECIPIENT,
    one_time=True,
    not_before=START,
    not_after=START + timedelta(hours=6),
)


OTHER = SealIdentity.generate().recipient


def taking(**changes: object) -> Taking:
    return Taking(TERMS.model_copy(update=changes), NOT_CHECKED)


@pytest.fixture
def clocks() -> FakeClocks:
    return FakeClocks()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deployment.json"


def live(path: Path, clocks: FakeClocks) -> Keeper:
    keeper = Keeper(path, clocks)
    keeper.load(taking())
    keeper.meet(MET, waive_synchronisation=False)
    assert keeper.decide().actions == (Action.SEE,)
    return keeper


def on_disk(path: Path) -> Record:
    return Record.from_untrusted(path.read_bytes())


def test_every_change_of_state_is_on_disk_when_it_is_decided(path: Path, clocks: FakeClocks) -> None:
    keeper = Keeper(path, clocks)
    assert on_disk(path).state is State.IDLE
    keeper.load(taking())
    assert on_disk(path).state is State.ARMED
    keeper.meet(MET, waive_synchronisation=False)
    keeper.decide()
    assert on_disk(path).state is State.LIVE
    keeper.decide(Request.STOP)
    assert on_disk(path) == keeper.record
    assert (keeper.record.state, keeper.blind) == (State.ENDED, (Reason.STOPPED,))


def full(*_: object, **__: object) -> None:
    raise ConfigError(Reason.FILE_UNWRITABLE, "no space left", fix="make room")


def test_a_van_whose_disk_takes_no_record_does_not_see_until_it_does(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(path, clocks)
    keeper.load(taking())
    keeper.meet(MET, waive_synchronisation=False)
    monkeypatch.setattr(keeping, "new_file", full)
    decision = keeper.decide()
    assert (decision.record.state, decision.blind, Action.SEE in decision.actions) == (
        State.ARMED,
        (Reason.FILE_UNWRITABLE,),
        False,
    )
    monkeypatch.setattr(keeping, "new_file", files.new_file)
    assert keeper.decide().actions == (Action.SEE,)


def test_a_live_van_whose_disk_takes_no_mark_is_blind(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = live(path, clocks)
    monkeypatch.setattr(keeping, "new_file", full)
    clocks.advance(31)
    assert keeper.decide().record.state is State.ARMED
    assert (keeper.record.state, keeper.blind) == (State.ARMED, (Reason.FILE_UNWRITABLE,))


@pytest.mark.parametrize(
    ("request_", "hours", "cause"),
    [(Request.STOP, 0, "stop"), (Request.REVOKE, 0, "revoke"), (Request.NONE, 6, "window-over")],
)
def test_an_end_that_the_disk_does_not_take_ends_and_is_written_later(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch, request_: Request, hours: int, cause: str
) -> None:
    keeper = live(path, clocks)
    monkeypatch.setattr(keeping, "new_file", full)
    clocks.advance(hours * 3600)
    assert Action.BLIND in keeper.decide(request_).actions
    assert keeper.unwritten
    assert keeper.decide().record.state is State.ENDED, "the request is not lost"
    assert on_disk(path).state is State.LIVE
    monkeypatch.setattr(keeping, "new_file", files.new_file)
    keeper.decide()
    assert not keeper.unwritten
    assert (on_disk(path).state, on_disk(path).cause) == (State.ENDED, cause)


def test_a_process_starts_on_a_disk_that_takes_nothing(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(path, clocks).decide(Request.STOP)
    monkeypatch.setattr(keeping, "new_file", full)
    assert Keeper(path, clocks).decide().actions == (Action.ERASE,)


def fail_one_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next folder cannot be synced: the name in it is changed all the same."""
    genuine = files.sync_folder

    def failing(_: Path) -> None:
        monkeypatch.setattr(files, "sync_folder", genuine)
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(files, "sync_folder", failing)


def test_an_order_whose_record_was_renamed_but_not_synced_is_not_loaded_on_the_disk_either(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(path, clocks)
    fail_one_sync(monkeypatch)
    with pytest.raises(ConfigError):
        keeper.load(taking())
    assert not keeper.unwritten
    assert on_disk(path) == keeper.record
    assert Keeper(path, clocks).record.state is State.IDLE


def test_a_record_that_cannot_be_taken_back_at_once_is_with_a_later_decision(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(path, clocks)

    def broken(_: Path) -> None:
        monkeypatch.setattr(keeping, "new_file", full)
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(files, "sync_folder", broken)
    with pytest.raises(ConfigError):
        keeper.load(taking())
    assert on_disk(path).state is State.ARMED, "what the disk was left with"
    for _ in range(2):
        assert keeper.decide().record.state is State.IDLE
        assert keeper.unwritten
    monkeypatch.undo()
    keeper.decide()
    assert not keeper.unwritten
    assert on_disk(path).state is State.IDLE


def test_a_replacement_that_was_renamed_but_not_synced_leaves_the_live_order_on_the_disk(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = live(path, clocks)
    fail_one_sync(monkeypatch)
    with pytest.raises(ConfigError):
        keeper.load(replacing())
    assert on_disk(path) == keeper.record
    assert on_disk(path).terms == TERMS
    assert keeper.decide().record.state is State.LIVE


def test_a_van_that_may_see_but_whose_record_is_not_synced_is_armed_on_the_disk(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(path, clocks)
    keeper.load(taking())
    keeper.meet(MET, waive_synchronisation=False)
    fail_one_sync(monkeypatch)
    assert Action.SEE not in keeper.decide().actions
    assert (keeper.record.state, on_disk(path).state) == (State.ARMED, State.ARMED)
    assert keeper.decide().actions == (Action.SEE,)


def test_a_replacement_is_on_disk_when_it_is_taken_and_goes_on_seeing(path: Path, clocks: FakeClocks) -> None:
    keeper = live(path, clocks)
    keeper.load(replacing())
    assert on_disk(path) == keeper.record
    decision = keeper.decide()
    assert (decision.record.state, decision.blind) == (State.LIVE, ())
    assert (on_disk(path).terms, on_disk(path).replaced) == (replacing().terms, TERMS)
    again = Keeper(path, clocks)
    assert again.decide().actions == (Action.ERASE_REPLACED,), "what the process before met says nothing to this one"


def test_a_replacement_that_the_disk_does_not_take_changes_nothing(
    path: Path, clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = live(path, clocks)
    before = keeper.record
    monkeypatch.setattr(keeping, "new_file", full)
    with pytest.raises(ConfigError):
        keeper.load(replacing())
    assert keeper.record == on_disk(path) == before
    assert keeper.decide().record.state is State.LIVE


def replacing() -> Taking:
    terms = TERMS.model_copy(update={"order": "order-2", "replaces": "order-1", "recipient": OTHER})
    return Taking(terms, MET, over=TERMS)


def test_what_the_deployment_before_met_says_nothing_of_a_new_one(path: Path, clocks: FakeClocks) -> None:
    keeper = live(path, clocks)
    keeper.decide(Request.STOP)
    keeper.erased()
    keeper.load(taking(order="order-2"))
    assert (keeper.decide().actions, keeper.blind) == ((), (Reason.NO_ORDER,))


def test_a_new_process_is_armed_and_sees_only_after_it_verified_again(path: Path, clocks: FakeClocks) -> None:
    live(path, clocks)
    again = Keeper(path, clocks)
    assert again.record.state is State.ARMED
    assert again.decide().actions == ()
    again.meet(MET, waive_synchronisation=False)
    assert again.decide().actions == (Action.SEE,)


def test_an_end_survives_a_new_process_and_is_erased_once(path: Path, clocks: FakeClocks) -> None:
    live(path, clocks).decide(Request.REVOKE)
    again = Keeper(path, clocks)
    assert (again.decide().actions, again.record.cause) == ((Action.PURGE, Action.ERASE), "revoke")
    again.erased()
    again = Keeper(path, clocks)
    assert again.decide().actions == (Action.PURGE,)
    again.purged("order-1")
    assert Keeper(path, clocks).decide().actions == ()


def test_the_mark_is_written_every_half_minute_not_with_each_look(path: Path, clocks: FakeClocks) -> None:
    keeper = live(path, clocks)
    written = path.read_bytes()
    for _ in range(29):
        clocks.advance(1)
        keeper.decide()
    assert path.read_bytes() == written
    clocks.advance(1)
    keeper.decide()
    assert on_disk(path).anchor.mark == START + timedelta(seconds=30)


def test_slow_steps_back_of_the_wall_clock_are_seen_between_two_writes(path: Path, clocks: FakeClocks) -> None:
    keeper = live(path, clocks)
    clocks.advance(29)
    keeper.decide()
    clocks.reading = Reading(START - timedelta(seconds=10), 129.0, "boot", synchronised=True)
    assert keeper.decide().blind == (Reason.CLOCK_BEHIND,)


def test_an_order_is_ended_by_its_name_loaded_or_not(path: Path, clocks: FakeClocks) -> None:
    keeper = live(path, clocks)
    assert not keeper.end("another", Request.STOP)
    assert keeper.record.state is State.LIVE
    assert keeper.end("order-1", Request.REVOKE)
    assert (keeper.record.state, keeper.record.cause) == (State.ENDED, "revoke")
    assert not keeper.end("order-1", Request.STOP), "again, and nothing happens"
    assert on_disk(path).purge == ("order-1",)
    assert not keeper.end("before", Request.REVOKE)
    assert on_disk(path).purge == ("order-1", "before")
    keeper.erased()
    again = Keeper(path, clocks)
    for order in ("another", "order-1"):
        with pytest.raises(PolicyError) as refused:
            again.load(taking(order=order))
        assert refused.value.reason is Reason.ORDER_ENDED


def test_a_clock_that_ran_ahead_is_recovered_by_an_answer_to_the_last_question_once(
    path: Path, clocks: FakeClocks
) -> None:
    ahead = Anchor(mark=START + timedelta(days=365), boot_id="boot", boot_s=5.0, synchronised=True)
    path.write_bytes(Record(state=State.IDLE, anchor=ahead).to_json())
    keeper = Keeper(path, clocks)
    clocks.reading = Reading(START, 10.0, "boot", synchronised=True)
    old = keeper.challenge()
    question = keeper.challenge()
    for wrong in (old, "0" * 32):
        with pytest.raises(PolicyError):
            keeper.recover_clock(wrong, START)
        question = keeper.challenge()
    clocks.advance(60)
    _, after = keeper.recover_clock(question, START)
    assert after == START + timedelta(seconds=60)
    keeper.load(taking())
    keeper.meet(MET, waive_synchronisation=False)
    assert keeper.decide().actions == (Action.SEE,)
    with pytest.raises(PolicyError):
        keeper.recover_clock(question, START)


def test_a_time_source_that_lies_after_a_start_ends_a_deployment_and_spoils_no_other(
    path: Path, clocks: FakeClocks
) -> None:
    live(path, clocks)
    clocks.reading = Reading(START + timedelta(days=7000), 5.0, "boot-2", synchronised=True)
    keeper = Keeper(path, clocks)
    assert (keeper.decide().record.state, keeper.record.cause) == (State.ENDED, "window-over")
    keeper.erased()
    assert keeper.record.anchor.mark == TERMS.not_after
    clocks.reading = Reading(TERMS.not_after + timedelta(hours=1), 3605.0, "boot-2", synchronised=True)
    day = {"not_before": TERMS.not_after, "not_after": TERMS.not_after + timedelta(hours=9), "order": "order-2"}
    keeper.load(taking(**day))
    keeper.meet(MET, waive_synchronisation=False)
    assert keeper.decide().actions == (Action.SEE,)


def test_a_time_source_that_lies_to_an_idle_van_spoils_nothing(path: Path, clocks: FakeClocks) -> None:
    right = clocks.reading
    clocks.reading = replace(right, wall=START + timedelta(days=7000))
    keeper = Keeper(path, clocks)
    keeper.decide()
    with pytest.raises(PolicyError):
        keeper.load(taking())
    clocks.reading = right
    assert live(path, clocks).record.anchor.mark == START


def test_an_answer_that_comes_after_an_hour_is_refused(path: Path, clocks: FakeClocks) -> None:
    keeper = Keeper(path, clocks)
    question = keeper.challenge()
    clocks.advance(3601)
    with pytest.raises(PolicyError):
        keeper.recover_clock(question, START)


def test_a_recovered_clock_brings_back_nothing_that_has_ended(path: Path, clocks: FakeClocks) -> None:
    keeper = live(path, clocks)
    keeper.decide(Request.STOP)
    keeper.erased()
    keeper.recover_clock(keeper.challenge(), START - timedelta(hours=1))
    with pytest.raises(PolicyError) as refused:
        keeper.load(taking())
    assert refused.value.reason is Reason.ORDER_ENDED


def test_a_damaged_record_stops_the_van(path: Path, clocks: FakeClocks) -> None:
    path.write_bytes(b'{"version":1,')
    with pytest.raises(ConfigError) as refused:
        Keeper(path, clocks)
    assert refused.value.reason is Reason.FILE_MALFORMED
