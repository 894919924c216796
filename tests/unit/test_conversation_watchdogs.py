"""Calls that go wrong end by themselves, each for its own cause."""

from typing import Any

import pytest

from onhook.agents.definition import AgentDefinition, AgentKind, Consent, IdleRules
from onhook.agents.messages import (
    Acted,
    Consented,
    Cue,
    CueKind,
    Failed,
    FromAgent,
    Gone,
    HangUp,
    Heard,
    Lost,
    Notice,
)
from onhook.calls.call import Call, EventType
from onhook.calls.causes import Cause, Reason
from onhook.voice.ear import SpeechEnded, SpeechStarted
from tests.unit.voice_bench import SCRIPTED, VOICE, VoiceBench, timer

pytestmark = pytest.mark.unit

PATIENT = IdleRules(after_ms=600_000)


async def talking(definition: AgentDefinition = SCRIPTED, **changes: Any) -> tuple[VoiceBench, Call]:
    bench = VoiceBench(definition, **changes)
    await bench.open()
    return bench, await bench.talk()


# --- the agent ------------------------------------------------------------------------------------------------


async def test_an_agent_that_does_not_start_ends_the_call() -> None:
    bench = VoiceBench(start_timeout_ms=2000)
    await bench.open()
    bench.agents.starts = False
    call = await bench.talk()
    bench.pass_time(call, 1900)
    assert await bench.goes_on(call)
    bench.pass_time(call, 200)

    cause = await bench.ended_for(call)
    assert (cause.initiator, cause.reason) == ("system", Reason.AGENT_START_TIMEOUT)
    assert bench.agent.stopped_for is not None


@pytest.mark.parametrize(
    ("message", "starts", "reason"),
    [
        (Failed("no such model"), False, Reason.AGENT_START_TIMEOUT),
        (Failed("connection lost"), True, Reason.AGENT_LOST),
        (Lost("killed"), False, Reason.AGENT_LOST),
        (Lost("killed"), True, Reason.AGENT_LOST),
        (Gone(clean=False), True, Reason.AGENT_LOST),
    ],
)
async def test_an_agent_that_breaks_ends_the_call(message: Any, starts: bool, reason: Reason) -> None:
    bench = VoiceBench()
    await bench.open()
    bench.agents.starts = starts
    call = await bench.talk()
    bench.agent.say(message)
    cause = await bench.ended_for(call)
    assert (cause.initiator, cause.reason) == ("system", reason)
    assert len(bench.agents.sessions) == 1


async def test_a_lost_agent_is_apologised_for_by_another_one() -> None:
    bench, call = await talking(apology="We are sorry.", language="pt-BR", idle=PATIENT)
    lost = bench.agent
    bench.speaks("A long story.", 10_000)
    bench.pass_time(call, 500)
    lost.say(Lost("killed"))

    assert bench.engine.queued_ms(call.id) == 0, "what the lost agent had queued is not said"
    apology = bench.agent.call.definition
    assert (apology.kind, apology.language) == (AgentKind.SCRIPTED, "pt-BR")
    assert apology.script == {"say": "We are sorry.", "hang_up": True}
    bench.speaks("We are sorry.", 1000, HangUp("", drain=True))
    bench.pass_time(call, 1180)
    assert await bench.goes_on(call)
    bench.pass_time(call, 40)
    assert await bench.ended_for(call) == Cause("system", Reason.AGENT_LOST, text="killed")
    assert [one["kind"] for one in await bench.noted(call, EventType.AGENT_STARTED)] == ["scripted"]
    assert all(session.stopped_for is not None for session in bench.agents.sessions)


async def test_an_apology_that_does_not_come_is_not_waited_for() -> None:
    bench, call = await talking(apology="We are sorry.")
    bench.agents.starts = False
    bench.agent.say(Lost("killed"))
    bench.pass_time(call, 9_900)
    assert await bench.goes_on(call)
    bench.pass_time(call, 200)
    assert (await bench.ended_for(call)).reason is Reason.AGENT_LOST


async def test_an_apology_whose_agent_is_lost_too_ends_the_call() -> None:
    bench, call = await talking(apology="We are sorry.")
    bench.agent.say(Lost("killed"))
    bench.agent.say(Lost("killed, too"))
    bench.pass_time(call, 300)
    assert (await bench.ended_for(call)).text == "killed"
    assert len(bench.agents.sessions) == 2


async def test_an_apology_whose_agent_is_lost_before_it_started_is_given_to_another_a_few_times() -> None:
    bench, call = await talking(apology="We are sorry.")
    bench.agents.starts = False
    bench.agent.say(Lost("killed"))
    bench.agent.say(Lost("its process was killed, too, which was not known yet"))
    bench.agent.say(Lost("and this one"))
    assert len(bench.agents.sessions) == 4
    assert await bench.goes_on(call)
    bench.agent.say(Lost("and this one"))
    bench.pass_time(call, 300)
    assert (await bench.ended_for(call)).text == "killed"
    assert len(bench.agents.sessions) == 4
    assert all(session.stopped_for is not None for session in bench.agents.sessions)


async def test_an_agent_that_calls_its_tools_for_ever_is_ended() -> None:
    bench, call = await talking(max_tool_calls=3)
    calls = [Acted("look_up", "{}", "{}")] * 2
    bench.agent.say(*calls)
    bench.agent.say(Heard("and then?", 0, 100))
    bench.agent.say(*calls)
    bench.engine.press(call.id, "1")
    bench.agent.say(*calls)
    bench.pass_time(call, 200)
    assert await bench.goes_on(call), "the caller spoke, or pressed a key, between them"
    bench.agent.say(*calls)
    bench.pass_time(call, 200)
    assert await bench.ended_for(call) == Cause("system", Reason.AGENT_LOOP)


# --- silence --------------------------------------------------------------------------------------------------


async def test_a_silent_caller_is_asked_and_then_let_go() -> None:
    bench, call = await talking(idle=IdleRules(after_ms=5000, max_checks=2))
    bench.speaks("Hello?", 1000)
    bench.pass_time(call, 5_900)
    assert not bench.agent.sent
    bench.pass_time(call, 200)
    assert bench.agent.sent == [Cue(CueKind.STILL_THERE, number=1)]
    bench.speaks("Are you still there?", 1000)
    bench.pass_time(call, 6_200)
    assert bench.agent.sent[1:] == [Cue(CueKind.STILL_THERE, number=2)]
    bench.pass_time(call, 4_600)
    assert await bench.goes_on(call)
    bench.pass_time(call, 400)
    assert await bench.ended_for(call) == timer(Reason.CALLER_SILENCE)


async def test_a_caller_who_speaks_again_starts_the_count_anew() -> None:
    bench, call = await talking(idle=IdleRules(after_ms=5000, max_checks=1))
    bench.pass_time(call, 5_100)
    bench.hears(call, SpeechStarted(5_100))
    bench.pass_time(call, 30_000)
    assert bench.cues() == [CueKind.STILL_THERE], "the caller speaks"
    bench.hears(call, SpeechEnded(35_000, 30_000))
    bench.pass_time(call, 5_200)
    assert bench.cues() == [CueKind.STILL_THERE] * 2
    bench.pass_time(call, 5_200)
    assert await bench.ended_for(call) == timer(Reason.CALLER_SILENCE)


async def test_a_caller_who_never_spoke_has_rules_of_his_own() -> None:
    rules = IdleRules(after_ms=20_000, max_checks=2, first_after_ms=3000, first_max_checks=0)
    bench, call = await talking(idle=rules)
    bench.pass_time(call, 3_200)
    assert await bench.ended_for(call) == timer(Reason.CALLER_SILENCE)
    assert not bench.cues()


async def test_without_questions_the_whole_time_passes_in_silence() -> None:
    bench, call = await talking(idle=IdleRules(after_ms=2000, max_checks=2, ask=False))
    bench.pass_time(call, 5_900)
    assert await bench.goes_on(call)
    bench.pass_time(call, 200)
    assert await bench.ended_for(call) == timer(Reason.CALLER_SILENCE)
    assert not bench.cues()


async def test_an_inactive_caller_is_let_go_however_much_the_agent_talks() -> None:
    bench, call = await talking(idle=IdleRules(after_ms=600_000, inactivity_ms=10_000))
    bench.speaks("A long story.", 30_000)
    bench.pass_time(call, 10_200)
    assert await bench.ended_for(call) == timer(Reason.CALLER_SILENCE)


async def test_nobody_is_taken_for_silent_while_on_hold_or_while_there_is_no_ear() -> None:
    bench, call = await talking(
        idle=IdleRules(after_ms=2000, max_checks=0), media_timeout_ms=2000, both_silent_ms=10**6
    )
    bench.pass_time(call, 5_000, arrived=False, held=True)
    assert await bench.goes_on(call)

    deaf = VoiceBench(idle=IdleRules(after_ms=2000, max_checks=0), has_ear=False)
    await deaf.open()
    call = await deaf.talk()
    deaf.pass_time(call, 5_000)
    assert await deaf.goes_on(call)
    deaf.ears_there.set()
    await deaf.settled()
    deaf.pass_time(call, 2_200)
    assert await deaf.ended_for(call) == timer(Reason.CALLER_SILENCE)


async def test_a_call_on_which_both_are_silent_ends() -> None:
    bench, call = await talking(idle=PATIENT, both_silent_ms=10_000)
    bench.speaks("Hello?", 1000)
    bench.pass_time(call, 10_900)
    assert await bench.goes_on(call)
    bench.pass_time(call, 300)
    assert await bench.ended_for(call) == timer(Reason.BOTH_SILENT)


async def test_a_far_end_that_sends_no_audio_is_let_go() -> None:
    bench, call = await talking(idle=PATIENT, media_timeout_ms=5_000)
    bench.pass_time(call, 1_000)
    bench.pass_time(call, 4_900, arrived=False)
    assert await bench.goes_on(call)
    bench.pass_time(call, 300, arrived=False)
    assert await bench.ended_for(call) == timer(Reason.NO_INBOUND_AUDIO)


async def test_a_watchdog_does_not_cut_a_farewell() -> None:
    bench, call = await talking(both_silent_ms=1000)
    bench.pass_time(call, 900)
    bench.conversations.wind_down(call.id, timer(Reason.MAX_DURATION), 3000)
    bench.pass_time(call, 2_900)
    assert await bench.goes_on(call)
    bench.pass_time(call, 200)
    assert await bench.ended_for(call) == timer(Reason.MAX_DURATION)


async def test_a_store_that_is_away_does_not_keep_a_watchdog_from_ending_the_call() -> None:
    bench, call = await talking(both_silent_ms=1000)
    bench.store.fail_writes = True
    bench.pass_time(call, 1_200)
    await bench.conversations.settled()
    assert bench.engine.hangups == [(call.id, timer(Reason.BOTH_SILENT))]
    bench.store.fail_writes = False
    assert await bench.ended_for(call) == timer(Reason.BOTH_SILENT)


# --- what is kept ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("consent", "told", "kept"),
    [
        (Consent.NONE, None, 100),
        (Consent.NONE, Notice(begins=True), 100),
        (Consent.NOTICE, None, 0),
        (Consent.NOTICE, Notice(begins=True), 50),
        (Consent.NOTICE, Notice(begins=False), 0),
        (Consent.ASK, None, 0),
        (Consent.ASK, Notice(begins=True), 0),
        (Consent.ASK, Consented(granted=True), 50),
        (Consent.ASK, Consented(granted=False), 0),
    ],
)
async def test_a_recording_keeps_what_the_caller_allows(consent: Consent, told: FromAgent | None, kept: int) -> None:
    bench, call = await talking(record=True, consent=consent)
    bench.pass_time(call, 1000, VOICE)
    if told is not None:
        bench.agent.say(told)
    bench.pass_time(call, 1000, VOICE)
    bench.engine.hang_up_far_end(call.id)

    assert sum(len(file.ticks) for file in bench.files) == kept
    expected = {"duration_ms": kept * 20, "channels": 2, "format": "wav", "consent": str(consent)}
    assert await bench.noted(call, EventType.RECORDING) == ([expected] if kept else [])


async def test_a_recording_that_the_caller_forbids_is_deleted() -> None:
    bench, call = await talking(record=True, consent=Consent.NOTICE)
    bench.agent.say(Notice(begins=True))
    bench.pass_time(call, 1000, VOICE)
    bench.agent.say(Consented(granted=False))
    bench.engine.hang_up_far_end(call.id)
    assert bench.files[0].discarded
    assert not await bench.noted(call, EventType.RECORDING)


@pytest.mark.parametrize("setting", ["everything_except_pii", "basic_attributes_only"])
async def test_a_call_that_keeps_less_keeps_no_word(setting: Any) -> None:
    bench = VoiceBench(record=True)
    await bench.open()
    bench.storage_setting = setting
    call = await bench.talk()
    bench.agent.say(Heard("my secret", 0, 100), Acted("note", '"my secret"', '"my secret"'))
    bench.speaks("Your secret.", 400)
    bench.pass_time(call, 2000, VOICE)
    bench.engine.hang_up_far_end(call.id)

    assert not bench.files
    await bench.settled()
    assert "secret" not in str(await bench.store.events(call.id))
    (ended,) = await bench.noted(call, EventType.CONVERSATION_ENDED)
    assert ended["turns"] == 2


@pytest.mark.parametrize("drain", [True, False])
async def test_a_call_that_keeps_no_words_keeps_no_reason_of_its_agents(drain: bool) -> None:
    bench = VoiceBench()
    await bench.open()
    bench.storage_setting = "basic_attributes_only"
    call = await bench.talk()
    bench.agent.say(HangUp("Ann's card is 4242", drain=drain))
    bench.pass_time(call, 400)
    assert await bench.ended_for(call) == Cause("agent", Reason.AGENT_HANGUP)


async def test_a_call_whose_agent_cannot_be_prepared_for_whatever_reason_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = VoiceBench()
    await bench.open()

    def breaks(*_: object) -> None:
        raise RecursionError("a secret")

    monkeypatch.setattr("onhook.voice.conversations.variables_of", breaks)
    call = await bench.talk()
    cause = await bench.ended_for(call)
    assert cause == Cause("system", Reason.AGENT_LOST, text="the agent could not be prepared")


async def test_a_process_is_wanted_with_the_first_dial_not_before() -> None:
    bench = VoiceBench()
    await bench.open()
    assert bench.warmed == 0
    await bench.dial()
    assert (bench.warmed, bench.agents.sessions) == (1, [])


async def test_a_websocket_agent_gets_what_it_signs_with_and_others_do_not() -> None:
    bench, _call = await talking(AgentDefinition(AgentKind.WEBSOCKET, url="wss://bots.example.com/"))
    assert bench.agent.call.secrets == {"account_sid": "ACa"}
    bench, _call = await talking()
    assert bench.agent.call.secrets == {}
