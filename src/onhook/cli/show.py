"""Calls and timelines as text for people."""

from datetime import datetime
from typing import Any

WIDTH = 24


def call_line(call: dict[str, Any]) -> str:
    """Return one line about a call of the native API."""
    return (
        f"{call['created_at']}  {call['call_id']}  {call['from_number']} -> {call['to_number']}"
        f"  {call['state']:9}  {call['outcome'] or '-':9}  {(call['cause'] or {}).get('reason', '-')}"
    )


def timeline_lines(call: dict[str, Any], timeline: dict[str, Any]) -> list[str]:
    """Return a call of the native API and its timeline: each event with its ms since the first, then the proof."""
    events = timeline["events"]
    start = _ms(events[0]["at"]) if events else 0
    lines = [f"{_ms(event['at']) - start:>7} ms  {_what(event)}" for event in events]
    return [*lines, *proof_lines(call, start)]


def proof_lines(call: dict[str, Any], start: int) -> list[str]:
    """Return the proof of a call: what was sent, how often, and what the far end answered when."""
    lines = [f"     proof  {call['proof_result'] or 'pending'}, method {call['proof_method'] or '-'}"]
    for step in call["proof"]:
        way = "sent" if step["sent"] else "received"
        times = "once" if step["count"] == 1 else f"{step['count']} times"
        line = f"            {step['method']} (CSeq {step['cseq']}) {way} {times} at {_ms(step['at']) - start} ms"
        if step["status"] is not None:
            line += f", answered {step['status']} at {_ms(step['answered_at']) - start} ms"
        lines.append(line)
    return lines


def _what(event: dict[str, Any]) -> str:
    name: str = event["type"]
    said = _said(name, event["data"])
    return f"{name:{WIDTH}} {said}" if said else name


def _said(name: str, data: dict[str, Any]) -> str:
    """Return what an event's data says, in a few words."""
    match name:
        case "call.stop_requested" | "call.ended":
            cause = data.get("cause") or {}
            return f"{cause.get('reason', '')} by {cause.get('initiator', '')}"
        case "call.ringing" | "call.provisional":
            return f"SIP {data.get('status')}"
        case "call.audio":
            return f"RTP {data['packets_sent']} sent, {data['packets_received']} received"
        case "call.dtmf":
            return str(data["digit"])
        case "call.agent_started":
            return f"{data['kind']}, ready after {data['start_ms']} ms"
        case "call.turn":
            return _turn(data)
        case "call.answered_by":
            return str(data["verdict"])
        case "call.action" | "call.action_failed":
            return f"{data['name']} {data.get('arguments', '')}".rstrip()
        case "call.conversation_ended":
            turns = "1 turn" if data["turns"] == 1 else f"{data['turns']} turns"
            return f"{turns}, farewell {data['farewell']}"
        case "call.recording":
            return f"{data['duration_ms'] / 1000:.1f} s"
    return ""


def _turn(data: dict[str, Any]) -> str:
    """Return who said what, how soon, and whether to the end."""
    who = "agent" if data["role"] == "agent" else "caller"
    waited = f" (after {data['latency_ms']} ms)" if data.get("latency_ms") is not None else ""
    return f'{who}: "{data["text"]}"{" - interrupted" if data.get("interrupted") else ""}{waited}'


def _ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
