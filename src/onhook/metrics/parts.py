"""What parts of a node keep for the metrics while they work."""

from collections import Counter

from onhook.calls.call import Call
from onhook.calls.causes import Outcome, Reason
from onhook.calls.proof import Method, Result
from onhook.calls.timeline import moments, spans
from onhook.metrics.histogram import STOP_BOUNDS_S, TALK_BOUNDS_S, Histogram


class TalkFigures:
    """How soon agents fall silent, and speak. In seconds."""

    def __init__(self) -> None:
        self.barge_in = Histogram(TALK_BOUNDS_S)
        """From the first sound of a caller who talks over the agent to the agent's silence."""
        self.replies = Histogram(TALK_BOUNDS_S)
        """From the end of the caller's speech to the first sound of the agent's reply."""


class EndFigures:
    """How calls end. The times are those of each call's own timeline, so a metric says nothing that a call does not."""

    def __init__(self) -> None:
        self.ends: Counter[tuple[Outcome, Reason]] = Counter()
        self.stops: Counter[Reason] = Counter()
        self.unconfirmed = 0
        """Stops whose end the wire has not confirmed in time."""
        self.to_wire: dict[Method, Histogram] = {}
        """From the request of a stop to our first CANCEL, BYE or refusal, in seconds, by what ended the call."""
        self.to_proof: dict[Method, Histogram] = {}
        """From the request of a stop to its confirmation, likewise."""

    def on_end(self, call: Call) -> None:
        """Count a call whose end has been written."""
        if call.outcome is None or call.cause is None or call.proof is None:
            return
        self.ends[call.outcome, call.cause.reason] += 1
        if call.stop is None:
            return
        self.stops[call.stop.cause.reason] += 1
        self.unconfirmed += call.proof.result is Result.UNCONFIRMED
        took = spans(moments(call, ()))
        _observe(self.to_wire, call.proof.method, took.stop_to_wire)
        _observe(self.to_proof, call.proof.method, took.stop_to_confirmed)


def _observe(histograms: dict[Method, Histogram], method: Method, took_ms: int | None) -> None:
    if took_ms is not None:
        histograms.setdefault(method, Histogram(STOP_BOUNDS_S)).observe(took_ms / 1000)
