"""From a call and its log to spans, and over OTLP to a collector. Needs the extra `otel`.

A trace can be found without a search: its id is made of the call's. It tells what happened when, and for which cause;
no number, no word and no key of anybody is in it.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from onhook import __version__
from onhook.calls.call import Call, Direction, Event, EventType
from onhook.calls.causes import Outcome
from onhook.calls.proof import ProofStep, Result
from onhook.calls.timeline import Moments, moments, spans
from onhook.tracing.traces import Logged, Send

EXPORT_LIMIT_S = 3.0
TRACES_PATH = "/v1/traces"

CALL, DIAL, RING, TALK, STOP, WIRE = "call", "dial", "ring", "talk", "stop", "wire"


class Stretch(NamedTuple):
    """A span to be: from when to when (ms since the epoch), and inside which other."""

    name: str
    start: int
    end: int
    parent: str | None = CALL


def trace_id(call_id: str) -> int:
    """Return the id of a call's trace: the first 16 bytes of the SHA-256 of the call's id."""
    return _hashed(call_id, 16)


def stretches(call: Call, log: Sequence[Event]) -> Iterator[Stretch]:
    """Yield the spans of a call that is over, each after the one it is in."""
    of = moments(call, log)
    settled = max((event.at for event in log if event.type is EventType.ENDED), default=of.ended_at or of.created_at)
    over = of.ended_at if of.ended_at is not None else settled
    yield Stretch(CALL, of.created_at, settled, None)
    if of.dialed_at is not None:
        yield Stretch(DIAL, of.dialed_at, _first(of.ringing_at, of.answered_at, over))
    if of.ringing_at is not None:
        yield Stretch(RING, of.ringing_at, _first(of.answered_at, over))
    if call.answered_at is not None:
        yield Stretch(TALK, call.answered_at, over)
    if of.stop_requested_at is not None:
        yield Stretch(STOP, of.stop_requested_at, settled)
    if of.end_sent_at is not None:
        yield Stretch(WIRE, of.end_sent_at, _first(of.confirmed_at, settled), STOP if call.stop else CALL)


def otlp_sender(endpoint: str) -> Send:
    """Return what sends calls to an OTLP/HTTP collector at a base URL, or at the whole URL of its traces.

    Headers and certificates come from OpenTelemetry's own variables, such as `OTEL_EXPORTER_OTLP_HEADERS`.
    """
    url = endpoint if endpoint.endswith(TRACES_PATH) else endpoint + TRACES_PATH
    return Exporting(OTLPSpanExporter(endpoint=url, timeout=EXPORT_LIMIT_S))


class Exporting:
    """Makes the spans of calls and hands them to an exporter; a `Send`."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._ids = _CallIds()
        self._finished = _Finished()
        resource = Resource.create({"service.name": "onhook", "service.version": __version__})
        provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False, id_generator=self._ids)
        provider.add_span_processor(self._finished)
        self._tracer = provider.get_tracer("onhook", __version__)

    def __call__(self, logged: Sequence[Logged]) -> bool:
        """Send calls; False when the exporter failed."""
        for call, log in logged:
            self._record(call, log)
        return self._exporter.export(self._finished.take()) is SpanExportResult.SUCCESS

    def _record(self, call: Call, log: Sequence[Event]) -> None:
        self._ids.begin(call.id)
        open_spans: dict[str, Span] = {}
        ends: dict[str, int] = {}
        for one in stretches(call, log):
            context = set_span_in_context(open_spans[one.parent], Context()) if one.parent else Context()
            kind = _kind(call) if one.parent is None else SpanKind.INTERNAL
            open_spans[one.name] = self._tracer.start_span(one.name, context, kind, start_time=_ns(one.start))
            ends[one.name] = max(one.start, one.end)
        _describe(open_spans[CALL], call, log)
        if WIRE in open_spans and call.proof is not None:
            for step in call.proof.steps:
                _add_step(open_spans[WIRE], step)
        for name, span in reversed(open_spans.items()):
            span.end(_ns(ends[name]))


def _describe(span: Span, call: Call, log: Sequence[Event]) -> None:
    """Say of the call's span what it was, and what happened when."""
    span.set_attributes(
        {name: value for name, value in _attributes(call, moments(call, log)).items() if value is not None}
    )
    for event in log:
        span.add_event(event.type.value, {"seq": event.seq}, _ns(event.at))
    if call.proof is not None and call.proof.result is Result.UNCONFIRMED:
        span.set_status(Status(StatusCode.ERROR, "the far end did not confirm the end"))
    elif call.outcome is Outcome.FAILED and call.cause is not None:
        span.set_status(Status(StatusCode.ERROR, call.cause.reason.value))


def _attributes(call: Call, of: Moments) -> dict[str, AttributeValue | None]:
    cause, proof, took = call.cause, call.proof, spans(of)
    return {
        "onhook.call.id": call.id,
        "onhook.call.direction": call.direction.value,
        "onhook.call.dialect": call.dialect.value,
        "onhook.call.outcome": call.outcome.value if call.outcome else None,
        "onhook.call.talk_ms": took.talk,
        "onhook.call.wire_ms": took.wire,
        "onhook.environment.id": call.environment_id,
        "onhook.agent.id": call.agent_id,
        "onhook.trunk.id": call.trunk_id,
        "onhook.cause.initiator": cause.initiator if cause else None,
        "onhook.cause.reason": cause.reason.value if cause else None,
        "onhook.cause.q850": cause.q850 if cause else None,
        "onhook.proof.result": proof.result.value if proof else None,
        "onhook.proof.method": proof.method.value if proof else None,
        "sip.call_id": call.sip_call_id,
        "sip.status": cause.sip_status if cause else None,
    }


def _add_step(span: Span, step: ProofStep) -> None:
    """Say of the wire's span what was sent or came, and what answered it."""
    way = "sent" if step.sent else "received"
    span.add_event(f"{step.method} {way}", {"cseq": step.cseq, "count": step.count}, _ns(step.at))
    if step.status is not None and step.answered_at is not None:
        span.add_event(f"{step.method} answered", {"cseq": step.cseq, "status": step.status}, _ns(step.answered_at))


def _kind(call: Call) -> SpanKind:
    return SpanKind.CLIENT if call.direction is Direction.OUTBOUND else SpanKind.SERVER


def _first(*times: int | None) -> int:
    return min(at for at in times if at is not None)


def _ns(at: int) -> int:
    return at * 1_000_000


def _hashed(text: str, length: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:length])


class _CallIds(IdGenerator):
    """Ids made of a call's own, so that a call has the same trace whoever tells of it, and how often."""

    def __init__(self) -> None:
        self.begin("")

    def begin(self, call_id: str) -> None:
        """Make the ids of this call from now on."""
        self._call_id = call_id
        self._numbers = itertools.count(1)

    def generate_trace_id(self) -> int:
        return trace_id(self._call_id)

    def generate_span_id(self) -> int:
        return _hashed(f"{self._call_id} {next(self._numbers)}", 8)


class _Finished(SpanProcessor):
    """Keeps the spans that have ended until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        """Return all spans, and forget them."""
        finished, self._spans = self._spans, []
        return finished
