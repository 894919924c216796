"""A conversation: what is heard reaches the agent, what it says is played and written down, and every end is final."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from onhook.agents.definition import AgentDefinition, BargeIn, Consent, MachinePolicy
from onhook.agents.messages import (
    Acted,
    Clear,
    Cue,
    CueKind,
    Dtmf,
    FromAgent,
    HangUp,
    Heard,
    Interrupted,
    Lost,
    MarkAsked,
    Marked,
    Notice,
    Play,
    PressKeys,
    Say,
    Speech,
    Word,
)
from onhook.calls.call import Call, EventType
from onhook.calls.causes import Cause, Reason
from onhook.voice.answered_by import AnsweredBy, Beep, Verdict
from onhook.voice.ear import BargedIn, SpeechEnded, SpeechStarted
from tests.unit.voice_bench import SCRIPTED, SILENCE, VOICE, VoiceBench, timer

pytestmark = pytest.mark.unit


async def talking(definition: AgentDefinition = SCRIPTED, **changes: Any) -> tuple[VoiceBench, Call]:
    bench = VoiceBench(definition, **changes)
    await bench.open()
    return bench, await bench.talk()


async def test_the_agent_is_put_on_the_call_when_it_is_answered_and_hears_the_caller() -> None:
    bench = VoiceBench()
    await bench.open()
    call = await bench.dial()
    assert not bench.agents.sessions

    bench.engine.answer(call.id)
    await bench.settled()
    bench.pass_time(call, 40, VOICE)

    assert bench.agent.call.call_id == call.id
    assert bench.agent.heard == VOICE * 2
    assert await bench.noted(call, EventType.AGENT_STARTED) == [{"kind": "scripted", "start_ms": 0}]
    assert bench.conversations.live == 1


async def test_what_the_agent_says_is_played_and_written_with_the_times_it_was_heard_at() -> None:
    bench, call = await talking()
    bench.pass_time(call, 100)
    bench.agent.say(Say("Hello."), Play(VOICE * 20 + SILENCE * 5 + VOICE * 5), Say("Who is there?"), Play(VOICE * 30))
    bench.pass_time(call, 3000)

    first, second = await bench.noted(call, EventType.TURN)
    assert bench.engine.legs[call.id].left.rstrip(b"\xff") == (VOICE * 20 + SILENCE * 5 + VOICE * 35)
    assert (first["role"], first["text"], first["interrupted"]) == ("agent", "Hello.", False)
    assert (first["start_ms"], first["end_ms"]) == (120, 720)
    assert (second["text"], second["start_ms"], second["end_ms"]) == ("Who is there?", 720, 1320)


async def test_a_text_that_comes_while_its_audio_is_still_to_be_heard_belongs_to_it() -> None:
    bench, call = await talking()
    bench.agent.say(Play(VOICE * 20))
    bench.pass_time(call, 100)
    bench.agent.say(Say("Hello."), Play(VOICE * 5))
    bench.pass_time(call, 2000)

    (turn,) = await bench.noted(call, EventType.TURN)
    assert (turn["text"], turn["start_ms"], turn["end_ms"]) == ("Hello.", 20, 520)


async def test_the_callers_words_are_written_as_the_agent_heard_them_and_its_wait_is_measured() -> None:
    bench, call = await talking()
    bench.hears(call, SpeechStarted(0))
    bench.pass_time(call, 980)
    bench.hears(call, SpeechEnded(500, 500))
    bench.agent.say(Heard("yes please", 20, 500, (Word("yes", 20, 200), Word("please", 210, 500))))
    bench.speaks("Fine.", 400)
    bench.pass_time(call, 2000)
    bench.engine.hang_up_far_end(call.id)

    caller, agent = await bench.noted(call, EventType.TURN)
    assert (caller["role"], caller["text"], caller["words"][1]["word"]) == ("user", "yes please", "please")
    assert (agent["start_ms"], agent["latency_ms"]) == (1040, 540)
    assert await bench.noted(call, EventType.CONVERSATION_STARTED) == [{"at_ms": 0}]
    (ended,) = await bench.noted(call, EventType.CONVERSATION_ENDED)
    assert ended == {"turns": 2, "farewell": "none", "reply_latency_ms": {"p50": 540, "max": 540}}


async def test_an_answer_that_begins_before_the_ear_is_sure_of_the_callers_end_is_still_measured() -> None:
    bench, call = await talking()
    bench.hears(call, SpeechStarted(0))
    bench.pass_time(call, 480)
    bench.speaks("Fine.", 400)
    bench.pass_time(call, 200)
    bench.hears(call, SpeechEnded(300, 300))
    bench.pass_time(call, 2000)

    (turn,) = await bench.noted(call, EventType.TURN)
    assert turn["latency_ms"] == 520 - 300


async def test_speech_keys_and_marks_reach_the_agent() -> None:
    bench, call = await talking()
    bench.hears(call, SpeechStarted(0))
    bench.hears(call, SpeechEnded(30, 30))
    bench.engine.press(call.id, "5")
    bench.agent.say(Play(VOICE), MarkAsked("farewell"), MarkAsked("utterance:1"))
    bench.pass_time(call, 40)

    assert bench.agent.sent == [
        Speech(started=True, at_ms=0),
        Speech(started=False, at_ms=30, duration_ms=30),
        Dtmf("5"),
        Marked("farewell", cleared=False),
        Marked("utterance:1", cleared=False),
    ]


async def test_the_caller_who_talks_over_the_agent_silences_it_at_once() -> None:
    bench, call = await talking()
    bench.speaks("A long story.", 4000, MarkAsked("done"))
    bench.speaks("Which goes on.", 4000)
    bench.pass_time(call, 1000)
    assert bench.ear.agent_speaking
    bench.hears(call, SpeechStarted(900), BargedIn(1020, 900))

    assert bench.engine.queued_ms(call.id) == 0
    assert [one for one in bench.agent.sent if not isinstance(one, Speech)] == [Interrupted(1020)]
    bench.pass_time(call, 20)
    assert bench.agent.sent[-1] == Marked("done", cleared=True)
    (turn,) = await bench.noted(call, EventType.TURN)
    assert (turn["text"], turn["interrupted"], turn["end_ms"]) == ("A long story.", True, 1040)
    assert not bench.ear.agent_speaking


async def test_after_an_interruption_the_next_words_are_a_turn_of_their_own() -> None:
    bench, call = await talking()
    bench.speaks("A long story.", 4000)
    bench.pass_time(call, 1000)
    bench.hears(call, BargedIn(1000, 900))
    bench.speaks("Sorry?", 500)
    bench.pass_time(call, 2000)

    assert [turn["text"] for turn in await bench.noted(call, EventType.TURN)] == ["A long story.", "Sorry?"]


async def test_a_caller_who_interrupts_nothing_drops_nothing() -> None:
    bench, call = await talking()
    bench.pass_time(call, 100)
    bench.hears(call, BargedIn(100, 0))
    bench.engine.press(call.id, "1")
    assert not any(isinstance(message, Interrupted) for message in bench.agent.sent)


@pytest.mark.parametrize(("barge_in", "left_ms"), [(BargeIn.OFF, 900), (BargeIn.DTMF, 0), (BargeIn.VAD, 0)])
async def test_a_key_interrupts_unless_nothing_may(barge_in: BargeIn, left_ms: int) -> None:
    bench, call = await talking(barge_in=barge_in)
    bench.speaks("Press one.", 1000)
    bench.pass_time(call, 100)
    bench.engine.press(call.id, "1")
    assert bench.engine.queued_ms(call.id) == left_ms


async def test_the_agent_may_drop_its_own_words_and_press_keys() -> None:
    bench, call = await talking()
    bench.speaks("A long story.", 4000)
    bench.pass_time(call, 100)
    bench.agent.say(Clear(), PressKeys("12#"))
    bench.pass_time(call, 100)

    assert bench.engine.legs[call.id].keys == "12#"
    (turn,) = await bench.noted(call, EventType.TURN)
    assert (turn["interrupted"], turn["end_ms"]) == (True, 120)


@pytest.mark.parametrize("text_first", [True, False])
async def test_a_notice_is_heard_whole_and_what_comes_behind_it_can_be_interrupted(text_first: bool) -> None:
    bench, call = await talking()
    begin: list[FromAgent] = [Say("We record."), Notice(begins=True)]
    bench.agent.say(*(begin if text_first else reversed(begin)), Play(VOICE * 50), Notice(begins=False))
    bench.speaks("Hello.", 1000)
    bench.pass_time(call, 500)
    bench.hears(call, BargedIn(500, 400))
    bench.engine.press(call.id, "1")
    bench.agent.say(Clear())
    assert not any(isinstance(message, Interrupted) for message in bench.agent.sent)
    bench.pass_time(call, 1000)
    bench.hears(call, BargedIn(1500, 1400))
    assert Interrupted(540) in bench.agent.sent
    turns = await bench.noted(call, EventType.TURN)
    assert [(turn["text"], turn["interrupted"]) for turn in turns] == [("We record.", False), ("Hello.", True)]


async def test_a_notice_in_pieces_is_heard_whole() -> None:
    bench, call = await talking()
    bench.agent.say(Notice(begins=True), Say("We"), Play(VOICE * 50), Say("record."), Play(VOICE * 50))
    bench.pass_time(call, 1500)
    bench.hears(call, BargedIn(1500, 1400))
    bench.agent.say(Notice(begins=False))
    bench.pass_time(call, 2000)
    turns = await bench.noted(call, EventType.TURN)
    assert [(turn["text"], turn["interrupted"]) for turn in turns] == [("We", False), ("record.", False)]


async def test_a_notice_that_waits_for_its_turn_is_heard_whole() -> None:
    bench, call = await talking()
    bench.speaks("Hello.", 1000)
    bench.agent.say(Notice(begins=True), Say("We record."), Play(VOICE * 50), Notice(begins=False))
    bench.pass_time(call, 500)
    bench.hears(call, BargedIn(500, 400))
    bench.pass_time(call, 3000)
    turns = await bench.noted(call, EventType.TURN)
    assert [(turn["text"], turn["interrupted"]) for turn in turns] == [("Hello.", False), ("We record.", False)]


async def test_a_notice_is_dropped_when_a_machine_is_to_be_heard_out_and_nothing_is_recorded_for_one_unheard() -> None:
    bench, call = await talking(machine=MachinePolicy.LEAVE_MESSAGE, record=True, consent=Consent.NOTICE)
    bench.hears(call, AnsweredBy(Verdict.MACHINE, 100))
    bench.agent.say(Notice(begins=True), Say("We record."), Play(VOICE * 50), Notice(begins=False))
    assert bench.engine.queued_ms(call.id) == 0
    assert bench.files == []
    bench.hears(call, Beep(200))
    bench.agent.say(Notice(begins=True), Say("We record."), Play(VOICE * 50), Notice(begins=False))
    assert len(bench.files) == 1


async def test_a_notice_that_is_being_given_is_dropped_when_a_machine_is_to_be_heard_out() -> None:
    bench, call = await talking(machine=MachinePolicy.LEAVE_MESSAGE)
    bench.agent.say(Notice(begins=True), Say("We record."), Play(VOICE * 50), Notice(begins=False))
    bench.pass_time(call, 100)
    bench.hears(call, AnsweredBy(Verdict.MACHINE, 100))
    assert bench.engine.queued_ms(call.id) == 0


async def test_tool_calls_are_logged() -> None:
    bench, call = await talking()
    bench.agent.say(Acted("book", '{"at": 9}', '"ok"'), Acted("book", "{}", '"full"', failed=True))
    assert await bench.noted(call, EventType.ACTION) == [{"name": "book", "arguments": '{"at": 9}', "result": '"ok"'}]
    assert await bench.noted(call, EventType.ACTION_FAILED) == [{"name": "book", "arguments": "{}", "result": '"full"'}]


# --- the end --------------------------------------------------------------------------------------------------


async def test_the_agents_farewell_is_heard_whole_before_the_call_ends() -> None:
    bench, call = await talking()
    bench.speaks("Good-bye.", 1000, HangUp("all said", drain=True))
    bench.pass_time(call, 1100)
    bench.hears(call, SpeechStarted(500), BargedIn(600, 500))
    assert not bench.engine.hangups
    assert bench.engine.legs[call.id].left.rstrip(b"\xff") == VOICE * 50
    bench.pass_time(call, 200)

    assert await bench.ended_for(call) == Cause("agent", Reason.AGENT_HANGUP, text="all said")
    (ended,) = await bench.noted(call, EventType.CONVERSATION_ENDED)
    assert ended["farewell"] == "played"
    types = await bench.event_types(call.id)
    assert types.index("call.turn") < types.index("call.stop_requested")


async def test_neither_the_caller_nor_a_late_clear_cuts_a_farewell() -> None:
    bench, call = await talking()
    bench.speaks("Good-bye.", 1000, HangUp("", drain=True))
    bench.pass_time(call, 200)
    bench.hears(call, SpeechStarted(100), BargedIn(220, 100))
    bench.agent.say(Clear())
    bench.engine.press(call.id, "1")
    assert bench.engine.queued_ms(call.id) == 780


async def test_words_that_come_behind_the_wish_to_hang_up_are_waited_for() -> None:
    bench, call = await talking()
    bench.speaks("Good-bye, ", 500)
    assert bench.conversations.hang_up(call.id, "by another way")
    bench.agent.say(Play(VOICE * 50))
    bench.pass_time(call, 1600)
    assert await bench.goes_on(call)
    bench.pass_time(call, 200)
    assert await bench.ended_for(call) == Cause("agent", Reason.AGENT_HANGUP, text="by another way")


async def test_a_farewell_without_end_is_cut() -> None:
    bench, call = await talking(drain_ms=1000)
    bench.speaks("Good-bye, and another thing.", 60_000, HangUp("bye", drain=True))
    bench.pass_time(call, 980)
    assert await bench.goes_on(call)
    bench.pass_time(call, 40)
    assert await bench.ended_for(call) == Cause("timer", Reason.FAREWELL_OVERRUN, text="bye")
    (ended,) = await bench.noted(call, EventType.CONVERSATION_ENDED)
    assert ended["farewell"] == "truncated"


async def test_an_agent_that_hangs_up_without_waiting_is_not_waited_for() -> None:
    bench, call = await talking()
    bench.speaks("Good-bye.", 1000, HangUp("rude", drain=False))
    assert await bench.ended_for(call) == Cause("agent", Reason.AGENT_HANGUP, text="rude")
    (ended,) = await bench.noted(call, EventType.CONVERSATION_ENDED)
    assert ended["farewell"] == "skipped"


@pytest.mark.parametrize(
    ("said_ms", "hangs_up", "after_ms", "result"),
    [
        (400, True, 640, "played"),
        (0, False, 3000, "skipped"),
        (60_000, False, 3000, "truncated"),
        (60_000, True, 3000, "truncated"),
    ],
)
async def test_a_polite_end_leaves_the_agent_a_bounded_time(
    said_ms: int, hangs_up: bool, after_ms: int, result: str
) -> None:
    bench, call = await talking()
    cause = Cause("api_key:k1", Reason.API_STOP)
    assert bench.conversations.wind_down(call.id, cause, 3000, "So long.")
    assert bench.agent.sent == [Cue(CueKind.FAREWELL, "So long.")]
    bench.speaks("So long.", said_ms, *([HangUp("", drain=True)] if hangs_up else []))
    bench.pass_time(call, after_ms - 60)
    assert await bench.goes_on(call)
    assert not bench.conversations.wind_down(call.id, cause, 3000), "one is under way"
    bench.pass_time(call, 80)

    assert await bench.ended_for(call) == cause
    (ended,) = await bench.noted(call, EventType.CONVERSATION_ENDED)
    assert ended["farewell"] == result


async def test_the_maximum_duration_is_announced_to_the_agent() -> None:
    bench = VoiceBench(goodbye_on_max_duration=True, goodbye_message="Time is up.")
    await bench.open()
    call = await bench.talk(max_duration_ms=12_000)
    bench.pass_time(call, 8_980)
    assert not bench.agent.sent
    bench.pass_time(call, 40)
    assert bench.agent.sent == [Cue(CueKind.FAREWELL, "Time is up.")]
    bench.speaks("Time is up.", 1000, HangUp("", drain=True))
    bench.pass_time(call, 1300)
    assert await bench.ended_for(call) == timer(Reason.MAX_DURATION)


async def stop(bench: VoiceBench, call: Call) -> None:
    await bench.ending.request_stop(bench.stop_order(call.id))


STATES = ["starting", "listening", "hearing", "speaking", "asked", "draining", "tail", "apologising", "awaiting a beep"]


@pytest.mark.parametrize("settles", [True, False])
@pytest.mark.parametrize("state", STATES)
async def test_a_stop_in_any_state_silences_the_agent_and_leaves_nothing(state: str, settles: bool) -> None:
    bench = VoiceBench(apology="Sorry.", machine=MachinePolicy.LEAVE_MESSAGE)
    await bench.open()
    bench.agents.starts = state != "starting"
    call = await bench.talk()
    await brought_to(state, bench, call)
    conversation = weakref.ref(bench.conversations._calls[call.id].conversation or pytest.fail("no conversation"))
    sessions = bench.agents.sessions
    bench.engine.settles = settles
    await stop(bench, call)

    assert all(session.stopped_for is not None for session in sessions)
    assert bench.conversations.hang_up(call.id, "too late") is False
    told = [len(session.sent) for session in sessions]
    bench.pass_time(call, 12_000)
    bench.engine.settle(call.id) if not settles else None
    await bench.settled()

    assert [len(session.sent) for session in sessions] == told
    assert (await bench.written(call.id)).cause == bench.stop_order(call.id).cause
    types = await bench.event_types(call.id)
    assert types[-2:] == ["call.conversation_ended", "call.ended"]
    assert types.count("call.conversation_ended") == 1
    assert bench.clock.pending == 0
    assert not bench.conversations._calls
    bench.agents.sessions.clear()
    bench.ear.tell = None
    sessions = []
    gc.collect()
    assert conversation() is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("settles", [True, False])
async def test_what_the_model_judges_after_a_stop_changes_nothing(settles: bool) -> None:
    bench, call = await talking(machine=MachinePolicy.LEAVE_MESSAGE)
    bench.pass_time(call, 100)
    tell, told = bench.ear.tell or pytest.fail("no ear"), len(bench.agent.sent)
    bench.engine.settles = settles
    await stop(bench, call)
    for event in (
        SpeechStarted(100),
        BargedIn(200, 100),
        SpeechEnded(300, 200),
        AnsweredBy(Verdict.MACHINE, 300),
        Beep(300),
    ):
        tell(event)
    bench.engine.settle(call.id) if not settles else None
    await bench.settled()

    assert len(bench.agent.sent) == told
    types = await bench.event_types(call.id)
    assert types[-2:] == ["call.conversation_ended", "call.ended"]
    assert not {"call.conversation_started", "call.answered_by"} & set(types)


async def brought_to(state: str, bench: VoiceBench, call: Call) -> None:
    """Bring a conversation into a state of `STATES`."""
    bench.pass_time(call, 100)
    match state:
        case "hearing":
            bench.hears(call, SpeechStarted(100))
        case "speaking":
            bench.speaks("A long story.", 10_000)
        case "asked":
            bench.conversations.wind_down(call.id, timer(Reason.MAX_DURATION), 5000)
        case "draining":
            bench.speaks("Good-bye.", 1000, HangUp("", drain=True))
        case "tail":
            bench.speaks("Good-bye.", 100, HangUp("", drain=True))
            bench.pass_time(call, 200)
        case "apologising":
            bench.agent.say(Lost("killed"))
            bench.speaks("Sorry.", 1000)
        case "awaiting a beep":
            bench.hears(call, AnsweredBy(Verdict.MACHINE, 100))
    bench.pass_time(call, 40)
    assert not bench.engine.hangups


async def test_the_far_ends_goodbye_closes_the_conversation_before_the_calls_end_is_logged() -> None:
    bench, call = await talking(record=True)
    bench.speaks("A long story.", 4000)
    bench.pass_time(call, 1000)
    bench.engine.hang_up_far_end(call.id)
    await bench.settled()

    assert (await bench.event_types(call.id))[-4:] == [
        "call.turn",
        "call.recording",
        "call.conversation_ended",
        "call.ended",
    ]
    assert (await bench.noted(call, EventType.TURN))[0]["interrupted"] is True
    assert bench.agent.stopped_for is not None
