"""A call under any order of commands and wire facts: the invariants that nothing may break, in every store."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.contract.store_cases import NOW, answer, ring

from onhook.calls.call import Call, Event, EventType
from onhook.calls.causes import Cause, Reason, outcome_of
from onhook.calls.proof import Method, Proof, Result
from onhook.calls.states import TRANSITIONS, State
from onhook.calls.timer import CallTimer, TimerKind
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Progress, Settlement, StopOrder, Store
from onhook.store.timers import TimerCleared, TimerSet
from onhook.testing.calls import sample_call
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.contract

T = TypeVar("T")
CAUSES = st.builds(Cause, initiator=st.sampled_from(["timer", "operator", "callee"]), reason=st.sampled_from(Reason))
PROOFS = st.builds(Proof, result=st.sampled_from(Result), method=st.sampled_from(Method))
FROZEN = ("outcome", "cause", "ended_at")
AUDITED = {
    EventType.STOP_REQUESTED: "call.stop",
    EventType.STOP_SCHEDULED: "call.stop_scheduled",
    EventType.STOP_UNSCHEDULED: "call.stop_unscheduled",
    EventType.FAREWELL_STARTED: "call.farewell_started",
}


class Lifecycle(RuleBasedStateMachine):
    """One call; every rule is a command or a wire fact that may come at any time, and more than once."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = self.make_store()
        self.now = NOW
        self.seen: list[Call] = []
        """The call after each step."""

    def make_store(self) -> Store:
        return MemoryStore()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self.now += 1
        return self.runner.run(work)

    def see(self) -> Call:
        call = self.runner.run(self.store.get_call(self.seen[0].id, None))
        assert call is not None
        self.seen.append(call)
        return call

    def events(self) -> list[Event]:
        return self.runner.run(self.store.events(self.seen[0].id))

    def timers(self) -> dict[TimerKind, CallTimer]:
        return {timer.kind: timer for timer in self.runner.run(self.store.timers(self.seen[0].id))}

    @initialize(state=st.sampled_from([State.SCHEDULED, State.DIALING]))
    def create(self, state: State) -> None:
        self.runner.run(self.store.open())
        call = sample_call(state=state, created_at=NOW)
        self.run(self.store.create_call(call))
        self.seen.append(call)

    @rule()
    def dial(self) -> None:
        may = self.seen[-1].state is State.SCHEDULED
        assert self.run(self.store.dial(self.seen[0].id, self.now, self.now + 100)) is may
        self.see()

    @rule()
    def snapshot(self) -> None:
        may = self.seen[-1].state in (State.DIALING, State.RINGING)
        assert self.run(self.store.save_snapshot(self.seen[0].id, b"x", before_invite=True)) is may

    @rule()
    def ringing(self) -> None:
        assert self.run(self.store.record_progress(ring(self.seen[0], self.now))) == self.see()

    @rule()
    def answered(self) -> None:
        assert self.run(self.store.record_progress(answer(self.seen[0], self.now))) == self.see()

    @rule()
    def key_pressed(self) -> None:
        fact = Progress(self.seen[0].id, self.now, EventType.DTMF, data={"digit": "1"})
        assert self.run(self.store.record_progress(fact)) == self.see()

    @rule(cause=CAUSES)
    def stop(self, cause: Cause) -> None:
        before = self.seen[-1]
        stopped = self.run(self.store.request_stop(StopOrder(before.id, cause, self.now)))
        assert stopped is not None
        assert stopped.call == self.see()
        assert stopped.first is not before.is_over
        if stopped.first:
            assert stopped.call.cause == cause
            assert stopped.call.outcome is outcome_of(cause, answered=before.state is State.ANSWERED)

    @rule(kind=st.sampled_from(TimerKind), only_answered=st.booleans(), if_absent=st.booleans())
    def set_timer(self, kind: TimerKind, only_answered: bool, if_absent: bool) -> None:
        before, present = self.seen[-1], self.timers().get(kind)
        timer = CallTimer(kind, self.now + 10, Cause("operator", Reason.OPERATOR_STOP), self.now)
        found = self.run(self.store.set_timer(before.id, None, timer, only_answered=only_answered, if_absent=if_absent))
        may = not before.is_over and (not only_answered or before.state is State.ANSWERED)
        may = may and not (if_absent and present is not None)
        assert found == TimerSet(self.see(), timer if may else present, may)
        assert self.timers().get(kind) == found.timer_now

    @rule(kind=st.sampled_from(TimerKind))
    def clear_timer(self, kind: TimerKind) -> None:
        present = self.timers().get(kind)
        cleared = self.run(self.store.clear_timer(self.seen[0].id, None, kind, self.now))
        assert cleared == TimerCleared(self.see(), present)
        assert kind not in self.timers()

    @rule(causes=st.lists(CAUSES, min_size=2, max_size=4))
    def stops_at_once(self, causes: list[Cause]) -> None:
        before = self.seen[-1]
        orders = [StopOrder(before.id, cause, self.now) for cause in causes]

        async def all_of_them() -> int:
            found = await asyncio.gather(*(self.store.request_stop(order) for order in orders))
            return sum(stopped is not None and stopped.first for stopped in found)

        assert self.run(all_of_them()) == (0 if before.is_over else 1)
        self.see()

    @rule(cause=CAUSES, proof=PROOFS)
    def settle(self, cause: Cause, proof: Proof) -> None:
        before = self.seen[-1]
        settled = self.run(self.store.settle(Settlement(before.id, self.now, proof, cause, self.now)))
        assert settled == self.see()
        if before.state in (State.ENDED, State.SCHEDULED):
            assert settled == before
        else:
            assert settled is not None
            assert (settled.state, settled.proof) == (State.ENDED, proof)

    @rule(proof=PROOFS)
    def late_evidence(self, proof: Proof) -> None:
        assert self.run(self.store.append_proof(self.seen[0].id, self.now, proof)) == self.see()

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        for before, after in zip(self.seen, self.seen[1:], strict=False):
            assert after.state is before.state or after.state in TRANSITIONS[before.state].values()

    @invariant()
    def what_is_frozen_stays(self) -> None:
        for before, after in zip(self.seen, self.seen[1:], strict=False):
            assert all(getattr(before, name) in (None, getattr(after, name)) for name in FROZEN)
            assert before.stop is None or (after.stop is not None and before.stop.cause == after.stop.cause)

    @invariant()
    def over_means_a_cause_an_outcome_and_a_time(self) -> None:
        for call in self.seen:
            assert {getattr(call, name) is None for name in FROZEN} == {not call.is_over}
            assert call.stop is None or call.stop.result is call.proof_so_far.result

    @invariant()
    def the_log_has_no_gap_and_tells_each_end_once(self) -> None:
        if not self.seen:
            return
        events, last = self.events(), self.seen[-1]
        kinds = [event.type for event in events]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert kinds.count(EventType.STOP_REQUESTED) == (last.stop is not None)
        assert kinds.count(EventType.ENDED) == (last.state is State.ENDED)
        assert kinds.count(EventType.ANSWERED) == (last.answered_at is not None)
        assert kinds.count(EventType.ANSWERED_AFTER_STOP) == (last.answered_on_wire_at is not None)

    @invariant()
    def only_a_live_call_has_timers_and_only_they_are_due(self) -> None:
        if not self.seen:
            return
        timers = self.timers()
        due = self.runner.run(self.store.due(self.now + 1000)).timers
        assert {timer.kind: timer for _, timer in due} == timers
        assert not (timers and self.seen[-1].is_over)

    @invariant()
    def the_audit_log_has_each_stop_and_each_timer_that_the_events_tell_of(self) -> None:
        if not self.seen:
            return
        told = [event for event in self.events() if event.type in AUDITED]
        entries = self.runner.run(self.store.audit_entries(self.seen[0].environment_id))
        assert [(one.action, one.at) for one in entries] == [(AUDITED[one.type], one.at) for one in told]

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()


class SqliteLifecycle(Lifecycle):
    """The same on a database."""

    def make_store(self) -> Store:
        self.directory = tempfile.TemporaryDirectory()
        return SqliteStore(Path(self.directory.name) / "onhook.db")

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


QUICK = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TestLifecycleInMemory = Lifecycle.TestCase
TestLifecycleInMemory.settings = QUICK
TestLifecycleInSqlite = SqliteLifecycle.TestCase
TestLifecycleInSqlite.settings = QUICK
