"""What is done about an answering machine, by the agent's policy."""

from typing import Any

import pytest

from onhook.agents.definition import AgentDefinition, AgentKind, IdleRules, MachinePolicy
from onhook.agents.messages import Cue, CueKind, HangUp, Lost, MarkAsked, Marked
from onhook.calls.call import Call, EventType
from onhook.calls.causes import Cause, Reason
from onhook.voice.answered_by import AnsweredBy, Beep, Verdict
from tests.unit.voice_bench import VoiceBench

pytestmark = pytest.mark.unit

PATIENT = IdleRules(after_ms=600_000)
BOT = AgentDefinition(AgentKind.WEBSOCKET, url="wss://bot.example/media")


async def answered_by(verdict: Verdict, **changes: Any) -> tuple[VoiceBench, Call]:
    bench = VoiceBench(**changes)
    await bench.open()
    call = await bench.talk()
    bench.hears(call, AnsweredBy(verdict, 1000))
    return bench, call


async def machine(policy: MachinePolicy, **changes: Any) -> tuple[VoiceBench, Call]:
    bench = VoiceBench(**{"machine": policy, "voicemail_message": "Call us back.", "idle": PATIENT, **changes})
    await bench.open()
    call = await bench.talk()
    bench.speaks("Hello, this is Ann.", 4000, MarkAsked("greeted"))
    bench.pass_time(call, 2000)
    bench.hears(call, AnsweredBy(Verdict.MACHINE, 2000))
    return bench, call


async def test_a_person_and_a_doubt_are_reported_and_the_call_goes_on() -> None:
    for verdict, cues in ((Verdict.HUMAN, [CueKind.HUMAN]), (Verdict.UNSURE, [])):
        bench, call = await answered_by(verdict, machine=MachinePolicy.HANG_UP)
        assert await bench.noted(call, EventType.ANSWERED_BY) == [{"verdict": str(verdict)}]
        assert bench.cues() == cues
        assert await bench.goes_on(call)


async def test_a_machine_is_hung_up_on_where_the_agent_says_so() -> None:
    bench, call = await machine(MachinePolicy.HANG_UP)
    assert await bench.ended_for(call) == Cause("agent", Reason.VOICEMAIL)
    assert await bench.noted(call, EventType.ANSWERED_BY) == [{"verdict": "machine"}]


async def test_a_machine_is_only_reported_where_the_agent_says_so() -> None:
    bench, call = await machine(MachinePolicy.REPORT)
    assert bench.cues() == [CueKind.MACHINE]
    assert bench.engine.queued_ms(call.id) > 0
    assert await bench.goes_on(call)


@pytest.mark.parametrize("beeps", [True, False])
async def test_a_message_is_left_after_the_beep_or_when_none_comes(beeps: bool) -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE)
    assert bench.engine.queued_ms(call.id) == 0, "a machine that speaks is not spoken to"
    bench.speaks("Hello, this is Ann, again.", 4000, MarkAsked("greeted again"))
    assert Marked("greeted again", cleared=True) in bench.agent.sent
    bench.pass_time(call, 4000)
    assert bench.engine.queued_ms(call.id) == 0
    if beeps:
        bench.hears(call, Beep(6000))
    else:
        bench.pass_time(call, 4000)
    assert bench.agent.sent[-1] == Cue(CueKind.LEAVE_MESSAGE, "Call us back.")
    bench.speaks("Call us back.", 12_000, HangUp("", drain=True))
    bench.pass_time(call, 11_900)
    assert not await bench.noted(call, EventType.VOICEMAIL_LEFT)
    bench.pass_time(call, 400)

    assert await bench.noted(call, EventType.VOICEMAIL_LEFT) == [{}]
    assert await bench.ended_for(call) == Cause("agent", Reason.VOICEMAIL)
    assert bench.engine.hangups == [(call.id, Cause("agent", Reason.VOICEMAIL))]


async def test_a_message_that_never_ends_is_ended_and_does_not_count_as_left() -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE)
    bench.hears(call, Beep(3000))
    bench.pass_time(call, 60_100)
    assert await bench.ended_for(call) == Cause("agent", Reason.VOICEMAIL)
    assert not await bench.noted(call, EventType.VOICEMAIL_LEFT)


async def test_an_agent_that_hangs_up_before_the_beep_has_left_no_message() -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE)
    bench.agent.say(HangUp("a machine", drain=True))
    bench.speaks("Oh, a machine.", 400)
    bench.hears(call, Beep(3000))
    bench.pass_time(call, 1000)
    assert await bench.ended_for(call) == Cause("agent", Reason.AGENT_HANGUP, text="a machine")
    assert not await bench.noted(call, EventType.VOICEMAIL_LEFT)


IMPATIENT = {"idle": IdleRules(after_ms=2_000, max_checks=1, inactivity_ms=3_000), "both_silent_ms": 4_000}


async def test_nobody_is_thought_to_be_silent_while_the_beep_is_waited_for() -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE, **IMPATIENT)
    bench.pass_time(call, 7_900)
    assert await bench.goes_on(call)
    assert CueKind.STILL_THERE not in bench.cues()
    bench.hears(call, Beep(9_900))
    bench.speaks("Call us back.", 1_000, HangUp("", drain=True))
    bench.pass_time(call, 1_400)
    assert await bench.noted(call, EventType.VOICEMAIL_LEFT) == [{}]


async def test_a_line_that_is_dead_is_not_waited_on_for_a_beep() -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE, media_timeout_ms=3_000)
    bench.pass_time(call, 3_200, arrived=False)
    assert (await bench.ended_for(call)).reason is Reason.NO_INBOUND_AUDIO


async def test_for_a_bot_which_cannot_be_asked_the_message_is_spoken_by_an_agent_of_ours() -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE, definition=BOT, language="pt-BR")
    bot = bench.agent
    bench.hears(call, Beep(6000))
    assert bot.stopped_for is not None
    assert not any(isinstance(told, Cue) and told.kind is CueKind.LEAVE_MESSAGE for told in bot.sent)
    ours = bench.agent.call.definition
    assert (ours.kind, ours.language) == (AgentKind.SCRIPTED, "pt-BR")
    assert ours.script == {"say": "Call us back.", "hang_up": True}
    bench.speaks("Call us back.", 1_000, HangUp("", drain=True))
    bench.pass_time(call, 1_400)

    assert await bench.noted(call, EventType.VOICEMAIL_LEFT) == [{}]
    assert await bench.ended_for(call) == Cause("agent", Reason.VOICEMAIL)


async def test_for_a_bot_no_message_is_left_that_nobody_wrote() -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE, definition=BOT, voicemail_message=None)
    assert await bench.ended_for(call) == Cause("agent", Reason.VOICEMAIL)
    assert len(bench.agents.sessions) == 1


async def test_an_agent_of_ours_that_is_lost_has_left_no_message() -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE, definition=BOT)
    bench.hears(call, Beep(6000))
    bench.agent.say(Lost("killed"))
    bench.pass_time(call, 400)
    assert await bench.ended_for(call) == Cause("agent", Reason.VOICEMAIL)
    assert not await bench.noted(call, EventType.VOICEMAIL_LEFT)


@pytest.mark.parametrize("kind", [AgentKind.SCRIPTED, AgentKind.CHAIN])
async def test_an_agent_that_is_lost_while_the_beep_is_waited_for_ends_the_call_at_once(kind: AgentKind) -> None:
    bench, call = await machine(MachinePolicy.LEAVE_MESSAGE, kind=kind, apology="I am sorry, I have to go.")
    bench.agent.say(Lost("killed"))
    assert await bench.ended_for(call) == Cause("system", Reason.AGENT_LOST, text="killed")
    assert bench.engine.hangups == [(call.id, Cause("system", Reason.AGENT_LOST, text="killed"))]
    assert len(bench.agents.sessions) == 1, "nobody apologises to a machine that has not beeped"
    assert not await bench.noted(call, EventType.VOICEMAIL_LEFT)
