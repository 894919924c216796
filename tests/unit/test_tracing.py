"""Traces: the spans of every kind of call, their way to a collector, and that nothing waits for it."""

import asyncio
import hashlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from onhook.calls.call import Call, Direction, Event, EventType, Stop
from onhook.calls.causes import Cause, Outcome, Reason
from onhook.calls.proof import Method, Proof, ProofStep, Result
from onhook.calls.states import State
from onhook.settings import SettingsError, load_settings
from onhook.store.store import StoreError
from onhook.testing.calls import sample_call
from onhook.testing.store import MemoryStore
from onhook.tracing import traces
from onhook.tracing.spans import Exporting, otlp_sender, trace_id
from onhook.tracing.traces import CallTraces, Logged, Send, otlp_traces
from tests.unit.otlp_collector import Collector

pytestmark = pytest.mark.unit

T = 1_800_000_000_000
STOPPED = Cause("api_key:k1", Reason.API_STOP, q850=16, text="a private word")
BYE = ProofStep("BYE", 2, True, T + 9_003, status=200, answered_at=T + 9_040)
TALKED = sample_call(
    created_at=T,
    state=State.ENDED,
    outcome=Outcome.COMPLETED,
    cause=STOPPED,
    dialed_at=T + 10,
    ringing_at=T + 300,
    answered_at=T + 2_000,
    ended_at=T + 9_000,
    stop=Stop(T + 9_000, STOPPED, Result.CONFIRMED),
    proof=Proof(Result.CONFIRMED, Method.BYE, (BYE,), T + 9_040),
)
Times = tuple[int, int]


def log(call: Call) -> list[Event]:
    turn = {"role": "user", "text": "my card number"}
    events = [(T, EventType.CREATED, {}), (T + 5_000, EventType.TURN, turn), (T + 9_050, EventType.ENDED, {})]
    return [Event(call.id, seq, at, kind, data) for seq, (at, kind, data) in enumerate(events, 1)]


def spans_of(call: Call) -> dict[str, ReadableSpan]:
    exporter = InMemorySpanExporter()
    assert Exporting(exporter)([(call, log(call))])
    return {span.name: span for span in exporter.get_finished_spans()}


def times(found: dict[str, ReadableSpan]) -> dict[str, Times]:
    """Return from when to when each span is, in ms since the call was created."""
    return {
        name: ((span.start_time or 0) // 1_000_000 - T, (span.end_time or 0) // 1_000_000 - T)
        for name, span in found.items()
    }


def changed(**fields: object) -> Call:
    return msgspec.structs.replace(TALKED, **fields)


# --- spans


def test_a_call_that_was_talked_on_and_stopped_has_all_spans_one_after_the_other() -> None:
    found = spans_of(TALKED)
    assert times(found) == {
        "call": (0, 9_050),
        "dial": (10, 300),
        "ring": (300, 2_000),
        "talk": (2_000, 9_000),
        "stop": (9_000, 9_050),
        "wire": (9_003, 9_040),
    }
    parents = {name: span.parent.span_id if span.parent else None for name, span in found.items()}
    of = {name: span.context.span_id for name, span in found.items() if span.context}
    assert parents == {"call": None, "wire": of["stop"], **dict.fromkeys(("dial", "ring", "talk", "stop"), of["call"])}
    assert {span.context.trace_id for span in found.values() if span.context} == {trace_id(TALKED.id)}


NO_ANSWER = {"answered_at": None, "ringing_at": None}
CANCEL = ProofStep("CANCEL", 1, True, T + 9_002)
THEIR_BYE = ProofStep("BYE", 7, False, T + 9_000)
UNSENT = Proof(Result.CONFIRMED, Method.NONE, (), T + 9_001)
UNANSWERED = Proof(Result.UNCONFIRMED, Method.CANCEL, (CANCEL,))
HUNG_UP = Proof(Result.CONFIRMED, Method.FAR_END_BYE, (THEIR_BYE,), T + 9_000)
REJECTED = Proof(Result.CONFIRMED, Method.REJECTED, (), T + 40)

CASES: dict[str, tuple[Call, dict[str, Times]]] = {
    "never dialled": (changed(dialed_at=None, **NO_ANSWER, proof=UNSENT), {"stop": (9_000, 9_050)}),
    "cancelled, unconfirmed": (
        changed(answered_at=None, proof=UNANSWERED),
        {"dial": (10, 300), "ring": (300, 9_000), "stop": (9_000, 9_050), "wire": (9_002, 9_050)},
    ),
    "the far end hung up": (
        changed(stop=None, proof=HUNG_UP),
        {"dial": (10, 300), "ring": (300, 2_000), "talk": (2_000, 9_000)},
    ),
    "rejected": (changed(stop=None, **NO_ANSWER, ended_at=T + 40, proof=REJECTED), {"dial": (10, 40)}),
    "a 2xx that crossed the stop": (
        changed(**NO_ANSWER, answered_on_wire_at=T + 9_010),
        {"dial": (10, 9_000), "stop": (9_000, 9_050), "wire": (9_003, 9_040)},
    ),
}


@pytest.mark.parametrize(("call", "expected"), CASES.values(), ids=CASES)
def test_a_call_has_the_spans_of_what_happened_to_it(call: Call, expected: dict[str, Times]) -> None:
    assert times(spans_of(call)) == {"call": (0, 9_050), **expected}


def test_a_trace_tells_cause_and_proof_and_every_event() -> None:
    found = spans_of(TALKED)
    attributes = dict(found["call"].attributes or {})
    assert attributes["onhook.call.id"] == TALKED.id
    assert attributes["onhook.cause.reason"] == "api_stop"
    assert (attributes["onhook.proof.result"], attributes["onhook.call.wire_ms"]) == ("confirmed", 7_040)
    assert [event.name for event in found["call"].events] == ["call.created", "call.turn", "call.ended"]
    assert [(event.name, event.timestamp // 1_000_000 - T) for event in found["wire"].events] == [
        ("BYE sent", 9_003),
        ("BYE answered", 9_040),
    ]
    assert found["call"].kind is SpanKind.CLIENT
    assert spans_of(changed(direction=Direction.INBOUND))["call"].kind is SpanKind.SERVER


def test_no_number_and_no_word_of_anybody_is_in_a_trace() -> None:
    text = "".join(span.to_json() for span in spans_of(TALKED).values())
    for secret in (TALKED.from_number, TALKED.to_number, "my card number", "a private word"):
        assert secret not in text


def test_an_end_without_proof_and_a_failed_call_are_errors() -> None:
    unconfirmed = changed(proof=Proof(Result.UNCONFIRMED, Method.BYE, (BYE,)))
    failed = changed(outcome=Outcome.FAILED, cause=Cause("carrier", Reason.NO_RESPONSE))
    status = {call.proof_so_far.result: spans_of(call)["call"].status for call in (unconfirmed, TALKED)}
    assert status[Result.UNCONFIRMED].status_code is StatusCode.ERROR
    assert status[Result.CONFIRMED].status_code is StatusCode.UNSET
    assert spans_of(failed)["call"].status.description == "no_response"


def test_a_trace_is_found_by_its_calls_id_and_told_twice_it_is_the_same() -> None:
    assert f"{trace_id(TALKED.id):032x}" == hashlib.sha256(TALKED.id.encode()).hexdigest()[:32]
    first, second = spans_of(TALKED), spans_of(TALKED)
    assert {name: span.context for name, span in first.items()} == {name: span.context for name, span in second.items()}
    assert len({span.context.span_id for span in first.values() if span.context}) == len(first)


# --- the way to the collector


class Taken:
    """A `Send` that keeps the ids of calls; it waits while `open` is not set."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.succeeds = True
        self.open = threading.Event()
        self.open.set()
        self.took = threading.Event()

    def __call__(self, logged: Sequence[Logged]) -> bool:
        assert self.open.wait(5)
        self.batches.append([call.id for call, _ in logged])
        self.took.set()
        return self.succeeds


async def stored(store: MemoryStore, count: int) -> list[Call]:
    calls = [sample_call() for _ in range(count)]
    for call in calls:
        await store.create_call(call)
    return calls


async def sent(calls: list[Call], store: MemoryStore, send: Send, linger_s: float = 60.0) -> None:
    """Have calls traced, and close before the gathering is over."""
    queue = CallTraces(store, lambda: send, linger_s)
    queue.start()
    for call in calls:
        queue.on_end(call)
    await asyncio.sleep(0)
    await queue.close()


async def test_calls_are_sent_in_batches_and_the_end_waits_for_no_gathering() -> None:
    store, taken = MemoryStore(), Taken()
    calls = await stored(store, traces.BATCH + 1)
    await sent(calls, store, taken)
    assert [len(batch) for batch in taken.batches] == [traces.BATCH, 1]
    assert [one for batch in taken.batches for one in batch] == [call.id for call in calls]


async def test_calls_that_end_while_others_are_gathered_are_sent_with_them() -> None:
    store, taken = MemoryStore(), Taken()
    queue = CallTraces(store, lambda: taken, linger_s=0.05)
    queue.start()
    for call in await stored(store, 3):
        queue.on_end(call)
    assert await asyncio.to_thread(taken.took.wait, 5)
    assert [len(batch) for batch in taken.batches] == [3]
    await queue.close()


async def test_nothing_is_loaded_before_a_call_has_ended() -> None:
    def load() -> Send:
        raise AssertionError("loaded")

    queue = CallTraces(MemoryStore(), load)
    queue.start()
    await queue.close()


async def test_a_collector_that_hangs_holds_up_nothing_and_the_end_only_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(traces, "CLOSE_LIMIT_S", 0.05)
    monkeypatch.setattr(traces, "BATCH", 1)
    store, taken = MemoryStore(), Taken()
    taken.open.clear()
    try:
        await sent(await stored(store, 3), store, taken)
    finally:
        taken.open.set()
    assert "2 calls are not traced: the collector is slow" in caplog.text


async def test_what_a_collector_does_not_take_is_told(caplog: pytest.LogCaptureFixture) -> None:
    store, taken = MemoryStore(), Taken()
    taken.succeeds = False
    await sent(await stored(store, 2), store, taken)
    assert "2 calls are not traced: the collector did not take them" in caplog.text


async def test_a_backlog_is_bounded_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(traces, "BACKLOG", 2)
    store, taken = MemoryStore(), Taken()
    calls = await stored(store, 3)
    await sent(calls, store, taken)
    assert taken.batches == [[calls[1].id, calls[2].id]]
    assert f"call {calls[0].id} is not traced" in caplog.text


class Away(MemoryStore):
    """A store whose logs cannot be read for a while."""

    away = True

    async def events(self, call_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
        if self.away:
            raise StoreError("cannot read")
        return await super().events(call_id, after, limit)


async def test_a_log_that_cannot_be_read_costs_its_trace_and_not_the_next(caplog: pytest.LogCaptureFixture) -> None:
    store, taken = Away(), Taken()
    first, second = await stored(store, 2)
    await sent([first], store, taken)
    store.away = False
    await sent([second], store, taken)
    assert taken.batches == [[second.id]]
    assert "their logs cannot be read" in caplog.text


async def test_a_call_that_was_erased_meanwhile_has_no_trace() -> None:
    store, taken = MemoryStore(), Taken()
    (call,) = await stored(store, 1)
    await sent([sample_call(), call], store, taken)
    assert taken.batches == [[call.id]]


async def test_an_exporter_that_cannot_be_loaded_is_a_critical_error(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Send:
        raise ImportError("no exporter")

    store = MemoryStore()
    queue = CallTraces(store, load, linger_s=0)
    queue.start()
    queue.on_end((await stored(store, 1))[0])
    await queue.close()
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]


def missing(module: str) -> None:
    """Find a module whose package is there and which is not."""


def missing_altogether(module: str) -> None:
    """Find a module whose package is not there."""
    raise ModuleNotFoundError(module)


@pytest.mark.parametrize("find", [missing, missing_altogether])
def test_traces_without_their_extra_are_an_error_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, find: Callable[[str], None]
) -> None:
    assert load_settings(otel_endpoint="http://127.0.0.1:4318/").otel_endpoint == "http://127.0.0.1:4318"
    monkeypatch.setattr("importlib.util.find_spec", find)
    with pytest.raises(SettingsError, match=r"otel_endpoint: traces need `pip install onhook\[otel\]`"):
        load_settings(otel_endpoint="http://127.0.0.1:4318")


# --- OTLP over HTTP


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.stop()


@pytest.mark.parametrize("path", ["", "/v1/traces"])
def test_a_collector_gets_spans_in_otlp(collector: Collector, path: str) -> None:
    assert otlp_sender(collector.url + path)([(TALKED, log(TALKED))])
    (scope,) = collector.scopes("/v1/traces")
    assert collector.service == "onhook"
    assert {span.name for span in scope.spans} == {"call", "dial", "ring", "talk", "stop", "wire"}
    assert collector.trace_ids() == {f"{trace_id(TALKED.id):032x}"}


async def test_a_call_that_ends_comes_to_the_collector(collector: Collector) -> None:
    store = MemoryStore()
    (call,) = await stored(store, 1)
    queue = otlp_traces(store, collector.url)
    queue.start()
    queue.on_end(call)
    await queue.close()
    assert collector.trace_ids() == {f"{trace_id(call.id):032x}"}


def test_a_collector_that_is_not_there_is_a_failure_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onhook.tracing.spans.EXPORT_LIMIT_S", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        port = taken.getsockname()[1]
        assert not otlp_sender(f"http://127.0.0.1:{port}")([(TALKED, log(TALKED))])
