"""A call's timeline as the command line shows it."""

from typing import Any

import pytest

from onhook.cli.show import timeline_lines

pytestmark = pytest.mark.unit

TURN = {"role": "agent", "text": "Hello.", "start_ms": 0, "end_ms": 900, "words": [], "latency_ms": None}

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("call.answered", {}, "call.answered"),
    ("call.dtmf", {"digit": "5", "duration_ms": 90}, "call.dtmf                5"),
    (
        "call.agent_started",
        {"kind": "scripted", "start_ms": 12},
        "call.agent_started       scripted, ready after 12 ms",
    ),
    ("call.turn", TURN, 'call.turn                agent: "Hello."'),
    ("call.turn", TURN | {"role": "user", "text": "Yes"}, 'call.turn                caller: "Yes"'),
    (
        "call.turn",
        TURN | {"interrupted": True, "latency_ms": 340},
        'call.turn                agent: "Hello." - interrupted (after 340 ms)',
    ),
    ("call.answered_by", {"verdict": "machine"}, "call.answered_by         machine"),
    ("call.action", {"name": "book", "arguments": "{}", "result": "1"}, "call.action              book {}"),
    ("call.action_failed", {"name": "book"}, "call.action_failed       book"),
    (
        "call.conversation_ended",
        {"turns": 3, "farewell": "played", "reply_latency_ms": None},
        "call.conversation_ended  3 turns, farewell played",
    ),
    ("call.conversation_ended", {"turns": 1, "farewell": "none"}, "call.conversation_ended  1 turn, farewell none"),
    ("call.recording", {"duration_ms": 12_340}, "call.recording           12.3 s"),
    ("call.voicemail_left", {}, "call.voicemail_left"),
    (
        "call.ended",
        {"cause": {"reason": "agent_hangup", "initiator": "agent"}},
        "call.ended               agent_hangup by agent",
    ),
]


@pytest.mark.parametrize(("kind", "data", "line"), CASES, ids=[line for _, _, line in CASES])
def test_an_event_of_a_conversation_reads_well(kind: str, data: dict[str, Any], line: str) -> None:
    call: dict[str, Any] = {"proof_result": "confirmed", "proof_method": "bye", "proof": []}
    event = {"seq": 1, "at": "2027-01-15T08:00:00.000Z", "type": kind, "data": data}
    shown = timeline_lines(call, {"events": [event]})
    assert shown == [f"      0 ms  {line}", "     proof  confirmed, method bye"]
