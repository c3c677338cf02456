"""The state machine: each line of its table, and what holds after any history of clocks, restarts and lost writes."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lfr_edge.crypto.sealed import SealIdentity
from lfr_edge.errors import PolicyError, Reason
from lfr_edge.messages.examples import RECIPIENT
from lfr_edge.van import lifecycle
from lfr_edge.van.lifecycle import RULES, UNERASED, Action, Conditions, EndedOrder, Record, Request, State, Terms, step
from lfr_edge.van.trusted_time import Anchor, Reading, Time, believe

START = datetime(2026, 6, 20, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
MET = Conditions(2, 2)
ORDERS = ["order-1", "order-2", "order-3"]
RECIPIENTS = {order: SealIdentity.generate().recipient for order in ORDERS}
DOCUMENT = Path(__file__).parents[3] / "docs" / "deployment.md"


def terms(order: str = "order-1", start: datetime = START, hours: float = 6) -> Terms:
    return Terms(
        order=order,
        order_sha256="0" * 64,
        watchlist_sha256="1" * 64,
        recipient=RECIPIENT,
        one_time=True,
        not_before=start,
        not_after=start + timedelta(hours=hours),
    )


def replacement(order: str = "order-2", replaces: str = "order-1") -> Terms:
    recipient = RECIPIENTS[order]
    return terms(order).model_copy(update={"replaces": replaces, "recipient": recipient})


def at(hours: float, doubt: Reason | None = None) -> Time:
    now = START + timedelta(hours=hours)
    return Time(now, doubt, Anchor(mark=now, boot_id="boot", boot_s=0.0, synchronised=True))


def record(state: State, **changes: object) -> Record:
    return Record(**{"state": state, "anchor": at(0).anchor, "terms": terms(), **changes})


@pytest.mark.parametrize("state", [State.ARMED, State.LIVE])
@pytest.mark.parametrize(
    ("time", "conditions", "request_", "to", "why"),
    [
        (at(1), MET, Request.NONE, State.LIVE, None),
        (at(1), MET, Request.STOP, State.ENDED, Reason.STOPPED),
        (at(-9, Reason.CLOCK_BEHIND), MET, Request.REVOKE, State.ENDED, Reason.STOPPED),
        (at(1), MET, Request.FILES_OVER, State.ENDED, Reason.STOPPED),
        (at(6), MET, Request.NONE, State.ENDED, Reason.OUTSIDE_WINDOW),
        (at(6, Reason.CLOCK_BEHIND), MET, Request.NONE, State.ENDED, Reason.OUTSIDE_WINDOW),
        (at(-0.01), MET, Request.NONE, State.ARMED, Reason.OUTSIDE_WINDOW),
        (at(1), Conditions(1, 2), Request.NONE, State.ENDED, Reason.NOT_AUTHORISED),
        (at(1), Conditions(0, 0), Request.NONE, State.ENDED, Reason.NOT_AUTHORISED),
        (at(1, Reason.CLOCK_AHEAD), MET, Request.NONE, State.ARMED, Reason.CLOCK_AHEAD),
        (at(1, Reason.CLOCK_UNSYNCHRONISED), MET, Request.NONE, State.ARMED, Reason.CLOCK_UNSYNCHRONISED),
        (at(1), replace(MET, fault=Reason.SWAP_POSSIBLE), Request.NONE, State.ARMED, Reason.SWAP_POSSIBLE),
        (at(1), replace(MET, locked=True), Request.NONE, State.ARMED, Reason.UNLOCK_REQUIRED),
        (at(-1), replace(MET, locked=True), Request.NONE, State.ARMED, Reason.UNLOCK_REQUIRED),
        (at(6), replace(MET, locked=True), Request.NONE, State.ENDED, Reason.OUTSIDE_WINDOW),
    ],
)
def test_a_loaded_deployment(
    state: State, time: Time, conditions: Conditions, request_: Request, to: State, why: Reason | None
) -> None:
    decision = step(record(state), time, conditions, request_)
    assert (decision.record.state, next(iter(decision.blind), None)) == (to, why)
    assert (Action.SEE in decision.actions) == (to is State.LIVE and state is State.ARMED)
    assert (Action.ERASE in decision.actions) == (to is State.ENDED)
    assert (Action.PURGE in decision.actions) == (request_ is Request.REVOKE)
    if state is State.LIVE and to is not State.LIVE:
        assert Action.BLIND in decision.actions


@pytest.mark.parametrize("state", [State.ARMED, State.LIVE])
def test_whoever_waits_for_several_things_says_all_of_them(state: State) -> None:
    conditions = replace(MET, fault=Reason.SWAP_POSSIBLE, locked=True)
    early = step(record(state), at(-1), conditions).blind
    assert early == (Reason.SWAP_POSSIBLE, Reason.UNLOCK_REQUIRED, Reason.OUTSIDE_WINDOW)
    # By a clock that is doubted nobody can say that it is too early.
    doubted = step(record(state), at(-1, Reason.CLOCK_UNSYNCHRONISED), conditions).blind
    assert doubted == (Reason.CLOCK_UNSYNCHRONISED, Reason.SWAP_POSSIBLE, Reason.UNLOCK_REQUIRED)


def test_an_idle_van_stays_idle_and_says_why() -> None:
    idle = Record(state=State.IDLE, anchor=at(0).anchor)
    decision = step(idle, at(1), MET, Request.STOP)
    assert (decision.record.state, decision.actions, decision.blind) == (State.IDLE, (), (Reason.NO_ORDER,))


def test_an_end_is_erased_until_that_is_complete_and_never_sees_again() -> None:
    ended = step(record(State.LIVE), at(1), MET, Request.STOP).record
    assert ended.cause == "stop"
    again = step(lifecycle.restarted(ended), at(2), MET)
    assert (again.record.state, again.actions) == (State.ENDED, (Action.ERASE,))
    done = step(lifecycle.erased(again.record), at(3), MET)
    assert (done.record.state, done.actions) == (State.ENDED, ())


@pytest.mark.parametrize(
    ("before", "new", "reason"),
    [
        (record(State.ARMED), terms("order-2"), Reason.ORDER_LOADED),
        (record(State.LIVE), terms("order-2"), Reason.ORDER_LOADED),
        (record(State.ENDED), terms("order-2"), Reason.ERASURE_PENDING),
        (record(State.IDLE), terms(start=START - 9 * HOUR), Reason.OUTSIDE_WINDOW),
        (record(State.IDLE), terms(hours=24.01), Reason.OUTSIDE_WINDOW),
        (record(State.IDLE), terms(hours=-1), Reason.OUTSIDE_WINDOW),
        (
            lifecycle.erased(step(record(State.LIVE), at(1), MET, Request.STOP).record),
            terms(),
            Reason.ORDER_ENDED,
        ),
    ],
)
def test_what_cannot_be_loaded(before: Record, new: Terms, reason: Reason) -> None:
    with pytest.raises(PolicyError) as refused:
        lifecycle.load(before, at(1), new)
    assert refused.value.reason is reason


@pytest.mark.parametrize("state", [State.ARMED, State.LIVE])
def test_an_order_takes_over_from_the_one_that_it_replaces_and_that_has_ended(state: State) -> None:
    before = record(state, purge=("order-0",))
    after = lifecycle.load(before, at(1), replacement())
    assert (after.state, after.terms, after.replaced) == (state, replacement(), terms())
    assert [one.order for one in after.ended] == ["order-1"]
    assert after.purge == ("order-0",)
    with pytest.raises(PolicyError) as refused:
        lifecycle.load(lifecycle.replaced_erased(after), at(1), terms().model_copy(update={"replaces": "order-2"}))
    assert refused.value.reason is Reason.ORDER_ENDED


@pytest.mark.parametrize("state", [State.ARMED, State.LIVE])
@pytest.mark.parametrize("request_", list(Request))
def test_what_was_replaced_is_erased_whatever_becomes_of_its_successor(state: State, request_: Request) -> None:
    after = lifecycle.load(record(state), at(1), replacement())
    for _ in range(2):
        decision = step(lifecycle.restarted(after), at(1), MET, request_)
        assert Action.ERASE_REPLACED in decision.actions
        after = decision.record
    with pytest.raises(PolicyError) as refused:
        lifecycle.load(after, at(1), replacement("order-3", "order-2"))
    assert refused.value.reason is Reason.ERASURE_PENDING
    assert Action.ERASE_REPLACED not in step(lifecycle.replaced_erased(after), at(1), MET).actions


def test_a_replacement_that_would_use_up_its_own_key_is_refused() -> None:
    with pytest.raises(PolicyError) as refused:
        lifecycle.load(record(State.ARMED), at(1), terms("order-2").model_copy(update={"replaces": "order-1"}))
    assert refused.value.reason is Reason.KEY_USED


@pytest.mark.parametrize(
    ("time", "conditions", "reason"),
    [
        (at(1), replace(MET, fault=Reason.UNLOCK_REQUIRED), Reason.UNLOCK_REQUIRED),
        (at(1, Reason.CLOCK_AHEAD), MET, Reason.CLOCK_AHEAD),
        (at(-1), MET, Reason.OUTSIDE_WINDOW),
        (at(1), Conditions(1, 2), Reason.NOT_AUTHORISED),
    ],
)
def test_a_replacement_that_would_blind_a_van_that_sees_is_refused(
    time: Time, conditions: Conditions, reason: Reason
) -> None:
    with pytest.raises(PolicyError) as refused:
        lifecycle.require_sight(lifecycle.load(record(State.LIVE), time, replacement()), time, conditions)
    assert refused.value.reason is reason
    lifecycle.require_sight(lifecycle.load(record(State.ARMED), time, replacement()), time, conditions)


def test_ended_orders_are_remembered_a_hundred_of_them_and_all_whose_window_is_open() -> None:
    many = tuple(EndedOrder(order=f"order-{n}", not_after=START + (n % 2) * 9 * HOUR) for n in range(104))
    ended = step(record(State.ENDED, ended=many), at(1), MET).record.ended
    assert [one.order for one in ended[:3]] == ["order-1", "order-3", "order-4"]
    assert ended[2:] == many[4:]


def test_a_revoked_deployment_is_purged_until_that_is_done_whenever_it_was_revoked() -> None:
    ended = step(record(State.LIVE), at(1), MET, Request.STOP).record
    for before in (ended, lifecycle.erased(ended)):
        erase = () if before.erased else (Action.ERASE,)
        revoked = step(before, at(1), MET, Request.REVOKE)
        assert revoked.actions == (Action.PURGE, *erase)
        again = step(lifecycle.restarted(revoked.record), at(2), MET)
        assert again.actions == (Action.PURGE, *erase)
        assert (again.record.cause, again.record.purge) == ("stop", ("order-1",))
        assert step(lifecycle.purged(again.record, "order-1"), at(3), MET).actions == erase


def test_a_new_deployment_forgets_no_purge() -> None:
    before = lifecycle.erased(step(record(State.LIVE), at(1), MET, Request.REVOKE).record)
    assert lifecycle.load(before, at(1), terms("order-2")).purge == ("order-1",)


def test_a_record_survives_its_file() -> None:
    ended = step(record(State.LIVE), at(1), MET, Request.STOP).record
    assert Record.from_untrusted(ended.to_json()) == ended


def test_the_documented_table_is_the_one_that_is_carried_out() -> None:
    lines = ["| state | when | becomes | actions |", "|---|---|---|---|"]
    lines += [
        f"| {state.value} | {one.when} | {one.to.value} | {', '.join(action.value for action in one.actions)} |"
        for state, rules in RULES.items()
        for one in rules
    ]
    lines.append(f"| any | {UNERASED} | as above | as above, and {Action.ERASE_REPLACED.value} |")
    assert "\n".join(lines) in DOCUMENT.read_text("utf-8")


class AnyHistory(RuleBasedStateMachine):
    """A van whose clocks, power, disk and officers do anything."""

    @initialize()
    def begin(self) -> None:
        self.passed_s = 0.0  # true time since START, power on or off
        self.booted_s = -100.0
        self.boot = 1
        self.wall_off = timedelta(0)
        self.synchronised = True
        self.conditions = MET
        self.disk = lifecycle.first_record(self.time(None))
        self.running = self.disk
        self.sees = False
        self.latest = self.disk.anchor.mark
        self.finished: set[str] = set()
        self.loads = 0
        self.loaded_in_boot = 0
        self.honest_load = False

    def reading(self) -> Reading:
        wall = START + timedelta(seconds=self.passed_s) + self.wall_off
        return Reading(wall, self.passed_s - self.booted_s, f"boot-{self.boot}", self.synchronised)

    def time(self, anchor: Anchor | None) -> Time:
        return believe(anchor, self.reading(), latest=lifecycle.latest(self.running) if anchor else None)

    @rule(seconds=st.floats(0, 30_000))
    def wait(self, seconds: float) -> None:
        self.passed_s += seconds

    @rule(jump=st.sampled_from([-365 * 86_400, -86_400, -3600, -20, 20, 3600, 86_400, 365 * 86_400]))
    def set_clock(self, jump: int) -> None:
        self.wall_off += timedelta(seconds=jump)

    @rule()
    def put_clock_right(self) -> None:
        self.wall_off = timedelta(0)

    @rule(synchronised=st.booleans())
    def lose_or_find_the_time_source(self, synchronised: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        self.synchronised = synchronised

    @rule(off_s=st.floats(0, 100_000))
    def power_cut(self, off_s: float) -> None:
        self.passed_s += off_s
        self.booted_s = self.passed_s
        self.boot += 1
        self.restart()

    @rule()
    def restart(self) -> None:
        self.sees = False
        self.running = lifecycle.restarted(self.disk)

    @rule(
        signatures=st.integers(0, 3),
        required=st.integers(0, 3),
        fault=st.none() | st.just(Reason.WRONG_CAMERA),
        locked=st.booleans(),
    )
    def change_conditions(self, signatures: int, required: int, fault: Reason | None, locked: bool) -> None:  # noqa: FBT001
        self.conditions = Conditions(signatures, required, fault, locked)

    @rule()
    def meet_conditions(self) -> None:
        self.conditions = MET

    @rule(
        name=st.sampled_from(ORDERS),
        replaces=st.sampled_from(ORDERS),
        hours=st.floats(0.1, 24),
        starts_h=st.floats(-5, 5),
        lost=st.booleans(),
    )
    def load(self, name: str, replaces: str, hours: float, starts_h: float, lost: bool) -> None:  # noqa: FBT001
        start = START + timedelta(seconds=self.passed_s, hours=starts_h)
        changes = {"replaces": replaces, "not_before": start, "not_after": start + timedelta(hours=hours)}
        new = replacement(name).model_copy(update=changes)
        try:
            time = believe(self.running.anchor, self.reading(), latest=new.not_after)
            after = lifecycle.load(self.running, time, new)
            lifecycle.require_sight(after, time, self.conditions)
        except PolicyError:
            return
        if lost:  # power goes before the write is safe
            self.power_cut(1.0)
            return
        if lifecycle.loaded(self.running) is not None:
            assert self.running.terms is not None
            assert replaces == self.running.terms.order
            assert self.running.replaced is None, "no erasure is lost"
            self.finished.add(replaces)
        self.running = after
        assert name not in self.finished, "an end is final"
        self.disk = self.running
        self.loaded_in_boot = self.boot
        self.honest_load = self.time(self.disk.anchor).doubt is None and self.wall_off == timedelta(0)

    @rule(request=st.sampled_from([*[Request.NONE] * 4, Request.STOP, Request.REVOKE]), lost=st.booleans())
    def decide(self, request: Request, lost: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        time = self.time(self.running.anchor)
        decision = step(self.running, time, self.conditions, request)
        if lost:  # power goes before the write is safe, and no action was carried out
            self.power_cut(1.0)
            return
        self.running = self.disk = decision.record
        self.sees = self.running.state is State.LIVE
        assert self.running.anchor.mark >= self.latest, "believed time never goes back"
        self.latest = self.running.anchor.mark
        if self.sees:
            self.check_that_it_may_see(time)
        if self.running.state is State.ENDED and self.running.terms is not None:
            self.finished.add(self.running.terms.order)

    def check_that_it_may_see(self, time: Time) -> None:
        assert self.running.terms is not None
        assert time.doubt is None
        assert self.conditions.signatures >= max(self.conditions.required, 1)
        assert self.conditions.fault is None
        assert not self.conditions.locked
        assert self.running.terms.not_before <= time.no_earlier < self.running.terms.not_after
        assert self.running.terms.order not in {one.order for one in self.running.ended}
        if self.honest_load and self.boot == self.loaded_in_boot:
            truth = START + timedelta(seconds=self.passed_s)
            assert truth < self.running.terms.not_after, "no clock that was set back lengthens a deployment"

    @rule()
    @precondition(lambda self: self.running.state is State.ENDED)
    def complete_the_erasure(self) -> None:
        self.running = self.disk = lifecycle.erased(self.running)

    @rule()
    @precondition(lambda self: self.running.replaced is not None)
    def complete_the_erasure_of_what_was_replaced(self) -> None:
        self.running = self.disk = lifecycle.replaced_erased(self.running)

    @invariant()
    def nothing_that_was_replaced_sees(self) -> None:
        for one in (self.running, self.disk):
            assert one.replaced is None or one.replaced.order in self.finished
            if lifecycle.loaded(one) is not None:
                assert one.terms is not None
                assert one.terms.order not in self.finished

    @invariant()
    def a_restart_is_never_more_permissive(self) -> None:
        assert lifecycle.restarted(self.disk).state is not State.LIVE
        if self.running.state is State.ENDED:
            assert self.disk.state is State.ENDED


AnyHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAnyHistory = AnyHistory.TestCase
