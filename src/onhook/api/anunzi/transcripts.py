"""From a call's log to what Retell tells of a conversation: its transcript, its latency, its recording, its machine."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from onhook.api.anunzi.schemas import (
    CallAnalysis,
    DtmfEntry,
    Latencies,
    Latency,
    ToolCall,
    ToolResult,
    TranscriptEntry,
    Utterance,
    UtteranceWord,
)
from onhook.api.links import recording_url
from onhook.calls.call import Call, Event, EventType

SPEAKERS = {"agent": "Agent", "user": "User"}
PERCENTILES = (50, 90, 95, 99)


def conversation_fields(call: Call, log: Sequence[Event], public_url: str | None) -> dict[str, Any]:
    """Return the fields of a call object that its log gives; only `everything` may be kept of a conversation."""
    if call.details.data_storage_setting != "everything":
        return {}
    entries = transcript(call, log)
    spoken = [entry for entry in entries if isinstance(entry, Utterance)]
    fields: dict[str, Any] = {"latency": latencies(log)}
    if spoken:
        fields |= {
            "transcript": "".join(f"{SPEAKERS[one.role]}: {one.content}\n" for one in spoken),
            "transcript_object": spoken,
        }
    if entries:
        fields["transcript_with_tool_calls"] = entries
    if public_url is not None and any(event.type is EventType.RECORDING for event in log):
        url = recording_url(public_url, call.id)
        fields |= {"recording_url": url, "recording_multi_channel_url": url}
    return fields


def transcript(call: Call, log: Sequence[Event]) -> list[TranscriptEntry]:
    """Return what was said, done and pressed, in the order of the log; nothing where it may not be kept."""
    if call.details.data_storage_setting != "everything":
        return []
    return [entry for event in log for entry in _entries(call.id, event)]


def latencies(log: Sequence[Event]) -> Latencies | None:
    """Return how long the agent's answers took; None without one that was measured."""
    spans = [event.data.get("latency_ms") for event in log if event.type is EventType.TURN]
    values = [float(span) for span in spans if span is not None]
    if not values:
        return None
    ranked = sorted(values)
    ranks = {f"p{share}": ranked[-(-len(ranked) * share // 100) - 1] for share in PERCENTILES}
    return Latencies(e2e=Latency(min=ranked[0], max=ranked[-1], num=len(values), values=values, **ranks))


def analysis(call: Call, log: Sequence[Event]) -> CallAnalysis | None:
    """Return what is known of a call that is over: whether a machine answered, where somebody listened for one."""
    if not call.is_over:
        return None
    verdicts = [str(event.data.get("verdict")) for event in log if event.type is EventType.ANSWERED_BY]
    known = {"machine": True, "human": False}
    return CallAnalysis(in_voicemail=known.get(verdicts[-1]) if verdicts else None)


def _entries(call_id: str, event: Event) -> Iterator[TranscriptEntry]:
    match event.type:
        case EventType.TURN:
            yield _utterance(event.data)
        case EventType.DTMF:
            yield DtmfEntry(digit=event.data["digit"])
        case EventType.ACTION | EventType.ACTION_FAILED:
            data, tool_call_id = event.data, f"{call_id}_{event.seq}"
            yield ToolCall(tool_call_id=tool_call_id, name=data["name"], arguments=data.get("arguments", ""))
            succeeded = event.type is EventType.ACTION
            yield ToolResult(tool_call_id=tool_call_id, content=data.get("result", ""), successful=succeeded)


def _utterance(data: dict[str, Any]) -> Utterance:
    role: Literal["agent", "user"] = "agent" if data["role"] == "agent" else "user"
    words = [
        UtteranceWord(word=one["word"], start=one["start_ms"] / 1000, end=one["end_ms"] / 1000)
        for one in data.get("words") or ()
    ]
    return Utterance(role=role, content=data["text"], words=words)
