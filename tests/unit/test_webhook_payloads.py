"""The bodies of webhooks in three dialects."""

import json
from typing import Any

import msgspec
import pytest

from onhook.api.anunzi import payloads as anunzi
from onhook.api.native import payloads as native
from onhook.api.renderers import renderers
from onhook.api.talkover import payloads as talkover
from onhook.calls.call import Call, CallDetails, Dialect, Event, EventType, Stop
from onhook.calls.causes import REGISTRY, Cause, Outcome, Reason, outcome_of
from onhook.calls.states import State
from onhook.store import rules
from onhook.store.outbox import WebhookEndpoint
from onhook.store.store import Agent
from onhook.testing.calls import sample_call
from onhook.webhooks.as_of import call_as_of
from tests.contract.store_cases import BUSY, BY_KEY, CONFIRMED, NOW

pytestmark = pytest.mark.unit

AGENT = Agent("agent_1", "env_1", Dialect.TALKOVER, "Ines", "Ines", NOW, NOW)
DETAILS = CallDetails(context={"order": {"id": 7}}, metadata={"crm": "x"}, is_testing=True)
ANSWERED = Event("", 4, NOW + 10, EventType.ANSWERED)
ENDED = Event("", 6, NOW + 42_500, EventType.ENDED, {"proof": msgspec.to_builtins(CONFIRMED)})


def ended(*, answered: bool, cause: Cause = BY_KEY) -> Call:
    return sample_call(
        state=State.ENDED,
        details=DETAILS,
        dialed_at=NOW + 1,
        answered_at=NOW + 10 if answered else None,
        ended_at=NOW + 42_010,
        outcome=outcome_of(cause, answered=answered),
        cause=cause,
        stop=Stop(NOW + 42_010, cause) if cause is BY_KEY else None,
        proof=CONFIRMED,
    )


def endpoint(dialect: Dialect, wants: dict[EventType, tuple[str, ...]], **changes: Any) -> WebhookEndpoint:
    hook = WebhookEndpoint("hook_1", "env_1", dialect, "hook", "https://x.example", NOW, NOW, wants=wants)
    return msgspec.structs.replace(hook, **changes)


def told(
    call: Call,
    event: Event,
    hook: WebhookEndpoint,
    agent: Agent | None = AGENT,
    log: tuple[Event, ...] = (),
    public_url: str | None = None,
) -> list[dict[str, Any]]:
    """Return the bodies that an event of a call makes, as the courier has them made."""
    event = msgspec.structs.replace(event, call_id=call.id)
    bodies = [
        renderers(public_url)[hook.dialect].render(delivery, call_as_of(call, event), event, agent, hook, log)
        for delivery in rules.queued(call.agent_id, event, [hook])
    ]
    return [json.loads(body) for body in bodies if body is not None]


TALKOVER = endpoint(Dialect.TALKOVER, talkover.wants(tuple(talkover.EVENTS)))
ANUNZI = endpoint(Dialect.ANUNZI, anunzi.wants())
NATIVE = endpoint(Dialect.NATIVE, native.wants())


def names(bodies: list[dict[str, Any]]) -> list[str]:
    return [body["event"] for body in bodies]


def test_talkover_has_22_names_of_which_some_are_never_sent() -> None:
    assert len(talkover.EVENTS) == 22
    sent = {name for emitted in talkover.EMITTED.values() for name in emitted}
    assert sent | set(talkover.NEVER_EMITTED) == set(talkover.EVENTS)
    assert sent.isdisjoint(talkover.NEVER_EMITTED)
    assert len(sent) == 20


def test_retell_has_8_names_of_which_four_are_sent() -> None:
    assert len(anunzi.EVENTS) == 8
    sent = {name for emitted in anunzi.EMITTED.values() for name in emitted}
    assert sent == {*anunzi.DEFAULT_EVENTS, "transcript_updated"}
    assert set(anunzi.NEVER_EMITTED) == set(anunzi.EVENTS) - sent


def test_an_endpoint_wants_what_it_subscribed_to_in_the_order_of_sending() -> None:
    assert talkover.wants(("event_phone_call_ended", "event_client_connected", "event_phone_call_error")) == {
        EventType.ENDED: ("event_phone_call_error", "event_phone_call_ended")
    }
    assert anunzi.wants(("call_analyzed", "call_ended")) == {EventType.ENDED: ("call_ended", "call_analyzed")}
    assert native.wants(("call.ended",)) == {EventType.ENDED: ("call.ended",)}


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("answered", [True, False])
def test_every_end_is_told_once_and_last(reason: Reason, answered: bool) -> None:
    call = ended(answered=answered, cause=Cause("system", reason))
    sent = names(told(call, ENDED, TALKOVER))
    assert sent.count("event_phone_call_ended") == 1
    assert sent[-1] == "event_phone_call_ended"
    assert ("event_phone_call_did_not_connect" in sent) is not answered
    assert ("event_phone_call_disconnected" in sent) is answered
    assert ("event_phone_call_error" in sent) is (not answered and REGISTRY[reason].unanswered is Outcome.FAILED)
    assert names(told(call, ENDED, ANUNZI)) == ["call_ended", "call_analyzed"]


@pytest.mark.parametrize("reason", Reason)
def test_the_words_for_a_stop_through_the_api_are_used_exactly_then(reason: Reason) -> None:
    by_api = reason in {Reason.API_STOP, Reason.OPERATOR_STOP, Reason.SCHEDULED_STOP}
    call = ended(answered=True, cause=Cause("system", reason))
    retell = told(call, ENDED, ANUNZI)[0]["call"]["disconnection_reason"]
    assert (retell == "manual_stopped") is by_api
    body = told(call, ENDED, TALKOVER)[-1]
    assert (body["ended_reason"] == "ended_by_api") is (reason in {Reason.API_STOP, Reason.SCHEDULED_STOP})


def test_talkovers_body_of_an_ended_call() -> None:
    call = ended(answered=True)
    assert told(call, ENDED, TALKOVER)[-1] == {
        "event": "event_phone_call_ended",
        "agent_id": "agent_1",
        "agent_name": "Ines",
        "webhook_id": "hook_1",
        "webhook_name": "hook",
        "timestamp": "2027-01-15T08:00:42.500Z",
        "seq": 6,
        "call_id": call.id,
        "sid": call.sip_call_id,
        "to": "+12025550123",
        "from": "+12025550100",
        "direction": "outbound",
        "status": "completed",
        "duration": 42,
        "is_testing": True,
        "context": {"order": {"id": 7}},
        "created_at": "2027-01-15T08:00:00Z",
        "ended_at": "2027-01-15T08:00:42Z",
        "ended_reason": "ended_by_api",
    }


def test_an_answer_that_is_told_late_does_not_show_the_end() -> None:
    call = ended(answered=True)
    body = told(call, ANSWERED, TALKOVER)[0]
    assert (body["event"], body["status"], body["duration"]) == ("event_phone_call_connected", "answered", 0)
    assert "ended_at" not in body
    started = told(call, ANSWERED, ANUNZI)[0]["call"]
    assert started["call_status"] == "ongoing"
    assert started.keys().isdisjoint({"end_timestamp", "duration_ms", "disconnection_reason"})
    shown = told(call, ANSWERED, NATIVE)[0]["call"]
    assert (shown["state"], shown["ended_at"], shown["cause"], shown["proof"]) == ("answered", None, None, [])


def test_a_call_whose_agent_is_deleted_is_told_of_all_the_same() -> None:
    call = ended(answered=True)
    assert told(call, ENDED, TALKOVER, None)[-1]["agent_name"] == ""
    assert "agent_name" not in told(call, ENDED, ANUNZI, None)[0]["call"]


def test_retells_bodies_of_an_ended_call() -> None:
    call = ended(answered=True)
    call_ended, call_analyzed = told(call, ENDED, ANUNZI)
    shown = call_ended["call"]
    assert set(call_ended) == {"event", "call"}
    assert (shown["call_id"], shown["call_status"], shown["duration_ms"]) == (call.id, "ended", 42_000)
    assert shown["metadata"] == {"crm": "x"}
    assert "retell_llm_dynamic_variables" not in shown
    assert "call_analysis" not in shown
    assert call_analyzed["call"] == shown | {"call_analysis": {"user_sentiment": "Unknown"}}


def test_a_call_that_was_never_answered_has_no_start_in_retells_words() -> None:
    call = ended(answered=False, cause=BUSY)
    shown = told(call, ENDED, ANUNZI)[0]["call"]
    assert (shown["call_status"], shown["disconnection_reason"]) == ("not_connected", "dial_busy")
    assert shown["end_timestamp"] == NOW + 42_010
    assert shown.keys().isdisjoint({"start_timestamp", "duration_ms"})


def test_our_own_body_carries_the_event_its_seq_and_the_proof() -> None:
    (body,) = told(ended(answered=True), ENDED, NATIVE)
    assert (body["type"], body["seq"], body["timestamp"]) == ("call.ended", 6, "2027-01-15T08:00:42.500Z")
    assert body["data"]["proof"]["result"] == "confirmed"
    assert body["call"]["proof_method"] == "bye"
    assert body["call"]["cause"]["initiator"] == "api_key:key_1"


def test_a_template_replaces_the_body_of_its_event_only() -> None:
    template = {
        "id": "{{call.id}}",
        "seconds": "{{call.duration}}",
        "context": "{{ context }}",
        "order": "{{call.context.order.id}}",
        "text": "{{agent.name}}: {{call.duration}} s, {{call.context.order}}",
        "list": ["{{event}}", 1, None, True],
        "unknown": "{{call.nothing.here}}",
        "{{call.id}}": "{{}} {call.id} {{call.id.upper()}} {{__class__}}",
    }
    hook = msgspec.structs.replace(TALKOVER, payload_templates={"event_phone_call_ended": template})
    call = ended(answered=True)
    *others, body = told(call, ENDED, hook)
    assert body == {
        "id": call.id,
        "seconds": 42,
        "context": {"order": {"id": 7}},
        "order": 7,
        "text": 'Ines: 42 s, {"id":7}',
        "list": ["event_phone_call_ended", 1, None, True],
        "unknown": "",
        "{{call.id}}": "{{}} {call.id} {{call.id.upper()}} ",
    }
    assert all("webhook_id" in other for other in others)


def test_what_a_template_inserts_is_not_read_as_a_template_again() -> None:
    scope = {"a": "{{b}}", "b": "secret"}
    assert talkover.filled({"x": "{{a}}", "y": "-{{a}}-"}, scope) == {"x": "{{b}}", "y": "-{{b}}-"}


def test_talkovers_probe_is_as_published() -> None:
    body = json.loads(talkover.probe_body(TALKOVER, AGENT, NOW))
    assert body == {
        "event": "webhook.test",
        "agent_id": "agent_1",
        "agent_name": "Ines",
        "webhook_id": "hook_1",
        "webhook_name": "hook",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "test": True,
    }


# --- the conversation ------------------------------------------------------------------------------------


def fact(kind: EventType, seq: int = 5, **data: object) -> Event:
    return Event("", seq, NOW + 20_000, kind, data)


TURN = fact(
    EventType.TURN, role="agent", text="Hello.", start_ms=0, end_ms=700, words=[], interrupted=False, latency_ms=None
)
RECORDED = fact(EventType.RECORDING, duration_ms=42_000, channels=2, format="wav", consent="none")


@pytest.mark.parametrize(
    ("event", "name", "more"),
    [
        (fact(EventType.CONVERSATION_STARTED, at_ms=900), "event_conversation_started", {}),
        (fact(EventType.ANSWERED_BY, verdict="machine"), "event_voicemail_detected", {}),
        (fact(EventType.VOICEMAIL_LEFT), "event_voicemail_message_left", {}),
        (
            fact(EventType.ACTION, name="book", arguments="{}", result="1"),
            "event_action",
            {"action": {"name": "book", "arguments": "{}", "result": "1"}},
        ),
        (fact(EventType.ACTION_FAILED, name="book"), "event_action_failed", {"action": {"name": "book"}}),
        (
            fact(EventType.CONVERSATION_ENDED, turns=3, farewell="played", reply_latency_ms=None),
            "event_conversation_ended",
            {"conversation": {"turns": 3, "farewell": "played", "reply_latency_ms": None}},
        ),
        (RECORDED, "event_recording", {"recording": {"duration_ms": 42_000, "channels": 2, "format": "wav"}}),
    ],
)
def test_talkover_is_told_of_the_conversation(event: Event, name: str, more: dict[str, Any]) -> None:
    call = ended(answered=True)
    (body,) = told(call, event, TALKOVER)
    (plain,) = [one for one in told(call, ANSWERED, TALKOVER) if one["event"] == "event_phone_call_connected"]
    assert body["event"] == name
    assert {field: value for field, value in body.items() if field not in plain} == more
    assert (body["status"], body["duration"]) == ("answered", 19)


@pytest.mark.parametrize("verdict", ["human", "unsure"])
def test_only_a_machine_is_told_of(verdict: str) -> None:
    assert told(ended(answered=True), fact(EventType.ANSWERED_BY, verdict=verdict), TALKOVER) == []


def test_with_a_public_url_both_dialects_link_to_the_recording() -> None:
    call = ended(answered=True)
    url = f"https://onhook.example.com/v1/calls/{call.id}/recording"
    (recording,) = told(call, RECORDED, TALKOVER, public_url="https://onhook.example.com")
    assert recording["recording"]["url"] == url
    call_ended, _ = told(call, ENDED, ANUNZI, log=(RECORDED,), public_url="https://onhook.example.com")
    assert call_ended["call"]["recording_url"] == call_ended["call"]["recording_multi_channel_url"] == url
    assert "recording_url" not in told(call, ENDED, ANUNZI, public_url="https://onhook.example.com")[0]["call"]


def test_retells_end_tells_what_was_said_and_its_analysis_who_answered() -> None:
    log = (fact(EventType.ANSWERED_BY, verdict="machine"), TURN)
    call_ended, call_analyzed = told(ended(answered=True), ENDED, ANUNZI, log=log)
    assert call_ended["call"]["transcript"] == "Agent: Hello.\n"
    assert "call_analysis" not in call_ended["call"]
    analysis = {"user_sentiment": "Unknown", "in_voicemail": True}
    assert call_analyzed["call"] == call_ended["call"] | {"call_analysis": analysis}


def test_retell_is_told_of_every_turn_and_once_more_at_the_end() -> None:
    hook = endpoint(Dialect.ANUNZI, anunzi.wants(("transcript_updated",)))
    call = ended(answered=True)
    last = fact(EventType.CONVERSATION_ENDED, turns=1, farewell="none", reply_latency_ms=None)
    for event in (TURN, last):
        (body,) = told(call, event, hook, log=(TURN,))
        assert body["event"] == "transcript_updated"
        assert body["transcript_with_tool_calls"] == [{"role": "agent", "content": "Hello.", "words": []}]
        assert body["call"]["transcript_with_tool_calls"] == body["transcript_with_tool_calls"]
        assert body["call"]["call_status"] == "ongoing"


def test_nothing_that_was_said_is_told_of_a_call_of_which_it_may_not_be_kept() -> None:
    details = CallDetails(data_storage_setting="everything_except_pii")
    call = msgspec.structs.replace(ended(answered=True), details=details)
    shown = told(call, ENDED, ANUNZI, log=(TURN, RECORDED), public_url="https://x.example")[1]["call"]
    assert shown.keys().isdisjoint({"transcript", "transcript_object", "transcript_with_tool_calls", "recording_url"})
