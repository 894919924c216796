"""Calls, timelines, ledgers and selectors as text for people."""

import re
from datetime import datetime
from typing import Any

from onhook.calls.call import mask_number

WIDTH = 24
NUMBER = re.compile(r"\+[0-9]{7,15}")
SINCE = {
    "scheduled": "created_at",
    "dialing": "dialed_at",
    "ringing": "ringing_at",
    "answered": "answered_at",
    "ending": "stop_requested_at",
}
"""Which of a call's moments began its state."""


def hide_numbers(text: str, numbers: bool) -> str:
    """Return a text with all but the last 4 digits of phone numbers hidden, unless they are wanted."""
    return text if numbers else NUMBER.sub(lambda found: mask_number(found[0]), text)


def call_line(call: dict[str, Any], *, numbers: bool = False) -> str:
    """Return one line about a call of the native API."""
    line = (
        f"{call['created_at']}  {call['call_id']}  {call['from_number']} -> {call['to_number']}"
        f"  {call['state']:9}  {call['outcome'] or '-':9}  {(call['cause'] or {}).get('reason', '-')}"
    )
    return hide_numbers(line, numbers)


def live_line(call: dict[str, Any], now: datetime, *, numbers: bool = False) -> str:
    """Return one line about a call that is up: how it stands, and for how long it has."""
    began = datetime.fromisoformat(call[SINCE.get(call["state"], "updated_at")] or call["created_at"])
    seconds = max(0, round((now - began).total_seconds()))
    lasted = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    line = f"{call['state']:9}  {lasted:>8}  {call['from_number']} -> {call['to_number']}  {call['call_id']}"
    return hide_numbers(line, numbers)


def stop_line(call: dict[str, Any], result: str) -> str:
    """Return one line about a stop of a call."""
    farewell = (call["stop"] or {}).get("farewell")
    line = f"{call['call_id']}  {call['state']}  {call['outcome'] or '-'}  {result}"
    return f"{line}  farewell {farewell}" if farewell else line


def ledger_line(item: dict[str, Any], requested_at: str) -> str:
    """Return one line of a bulk stop's ledger: how a call stood, how it stands, and how soon that was proved."""
    line = f"{item['call_id']}  {item['state_before']:9}"
    if item["result"] is None:
        return line.rstrip() if item["state"] else f"{line}  deleted since"
    line += f"  {item['state']:8}  {item['outcome'] or '-':9}  {item['result']}"
    if item["confirmed_at"] is not None and item["first"]:
        line += f" after {_ms(item['confirmed_at']) - _ms(requested_at)} ms"
    return line if item["first"] is not False else f"{line}, not by this stop"


def selector_words(selector: dict[str, Any], *, numbers: bool = False) -> str:
    """Return which calls a selector means, as the options that say so."""
    words = ["--all"] if selector["all"] else []
    words += [f"--agent {one}" for one in selector["agent_ids"]]
    words += [f"--trunk {one}" for one in selector["trunk_ids"]]
    words += [f"--prefix {hide_numbers(one, numbers)}" for one in selector["number_prefixes"]]
    words += [f"--state {one}" for one in selector["states"]]
    words += [f"--metadata {name}={hide_numbers(value, numbers)}" for name, value in selector["metadata"].items()]
    age = selector["older_than_ms"]
    return " ".join(words if age is None else [*words, f"--older-than {age / 1000:g}s"])


def event_line(event: dict[str, Any], *, numbers: bool = False) -> str:
    """Return one line about an event of the log of all calls, with its place there."""
    line = f"{event['id']:>6}  {event['at']}  {event['call_id']}  {_what(event)}"
    return hide_numbers(line, numbers)


def timeline_lines(call: dict[str, Any], timeline: dict[str, Any], *, numbers: bool = False) -> list[str]:
    """Return a call of the native API and its timeline: each event with its ms since the first, then the proof."""
    events = timeline["events"]
    start = _ms(events[0]["at"]) if events else 0
    lines = [hide_numbers(f"{_ms(event['at']) - start:>7} ms  {_what(event)}", numbers) for event in events]
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
        case "call.stop_scheduled" | "call.stop_unscheduled" | "call.farewell_started":
            return f"{data['at']} by {data['actor']}"
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
