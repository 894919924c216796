"""The scripted agent on a call: every path of the built-in script, and what scripts of one's own may do."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from onhook.agents.agent import AgentError
from onhook.agents.definition import BargeIn, Consent, MachinePolicy
from onhook.agents.messages import CueKind, Word
from onhook.agents.scripted.prompts import stored_prompt
from onhook.agents.scripted.script import phrases_for
from tests.unit.scripted_call import HearingAid, ScriptedCall

pytestmark = pytest.mark.unit

EN = phrases_for("en")
GREETING = "Hello, this is an automated call."
QUESTION = "Can you hear me well? Please say yes or no, or press one for yes, or two for no."
HELP = "Sorry, please say yes or no, or press one for yes, or two for no."
GOOD = "Thank you, that is good to know. Goodbye."
BAD = "Thank you for telling me. Goodbye."

Act = Callable[[ScriptedCall], None]


def says(phrase: str | None) -> Act:
    return lambda call: call.speaks(phrase)


def presses(key: str) -> Act:
    return lambda call: call.agent.on_dtmf(key)


def cue(kind: CueKind, text: str | None = None) -> Act:
    return lambda call: call.cue(kind, text)


PATHS: list[tuple[str, list[tuple[Act, str]], str | None]] = [
    ("yes", [(says("yes"), GOOD)], "script ended in good"),
    ("no", [(says("no thank you"), BAD)], "script ended in bad"),
    ("key 1", [(presses("1"), GOOD)], "script ended in good"),
    ("key 2", [(presses("2"), BAD)], "script ended in bad"),
    ("repeat", [(says("repeat"), QUESTION), (presses("*"), QUESTION), (says("yes"), GOOD)], "script ended in good"),
    ("hello is no answer", [(says("hello"), QUESTION), (says("who is this"), QUESTION)], None),
    ("goodbye, yes", [(says("goodbye"), EN.confirm_goodbye), (says("yes"), EN.farewell)], "farewell"),
    ("goodbye twice", [(says("bye bye"), EN.confirm_goodbye), (says("bye"), EN.farewell)], "farewell"),
    ("goodbye by keys", [(presses("#"), EN.confirm_goodbye), (presses("1"), EN.farewell)], "farewell"),
    (
        "goodbye, no",
        [(says("bye"), EN.confirm_goodbye), (says("no"), QUESTION), (says("yes"), GOOD)],
        "script ended in good",
    ),
    (
        "goodbye, silence",
        [(says("bye"), EN.confirm_goodbye), (cue(CueKind.STILL_THERE), f"{EN.still_there} {EN.confirm_goodbye}")],
        None,
    ),
    ("no match, then help", [(says(None), HELP), (presses("7"), HELP), (says("yes"), GOOD)], "script ended in good"),
    ("no match at all", [(says(None), HELP), (says(None), HELP), (says(None), EN.give_up)], "not understood"),
    (
        "silence",
        [(cue(CueKind.STILL_THERE), f"{EN.still_there} {QUESTION}"), (says("yes"), GOOD)],
        "script ended in good",
    ),
    ("farewell of the call's", [(cue(CueKind.FAREWELL, "Time is up."), "Time is up.")], "farewell"),
    ("farewell of its own", [(cue(CueKind.FAREWELL), EN.farewell)], "farewell"),
    ("a machine's beep", [(cue(CueKind.LEAVE_MESSAGE, "Call us back."), "Call us back.")], "message left"),
    ("a machine's beep, no text", [(cue(CueKind.LEAVE_MESSAGE), EN.machine_message)], "message left"),
]


@pytest.mark.parametrize(("steps", "end"), [path[1:] for path in PATHS], ids=[path[0] for path in PATHS])
async def test_every_path_of_the_built_in_script(steps: list[tuple[Act, str]], end: str | None) -> None:
    call = await ScriptedCall().begin()
    assert await call.listened() == f"{GREETING} {QUESTION}"
    for act, answer in steps:
        act(call)
        assert await call.listened() == answer
    assert call.media.all_of("hang_up") == ([] if end is None else [(end, True)])
    assert call.media.log[-1][0] == ("mark" if end is None else "hang_up")


async def test_the_initial_message_replaces_the_greeting() -> None:
    call = await ScriptedCall(initial_message="Hello Ada.").begin()
    assert await call.listened() == f"Hello Ada. {QUESTION}"


async def test_every_text_of_the_built_in_conversation_ships_as_audio() -> None:
    call = await ScriptedCall(language="es-MX").begin()
    await call.listened()
    greeting = stored_prompt("es", "Hola, esta es una llamada automática.")
    question = stored_prompt("es", "¿Me oye bien? Pulse uno para sí, o dos para no.")
    assert greeting is not None
    assert question is not None
    (played,) = call.media.all_of("play")
    assert played.startswith(greeting)
    assert played.endswith(question)


async def test_the_agent_waits_for_a_caller_who_is_to_speak_first() -> None:
    call = await ScriptedCall(agent_speaks_first=False).begin()
    assert call.media.log == []
    call.speaks(None)
    assert await call.listened() == f"{GREETING} {QUESTION}"
    assert isinstance(call.ear, HearingAid)
    assert call.ear.asked == []


async def test_a_caller_who_does_not_speak_first_is_spoken_to() -> None:
    call = await ScriptedCall(agent_speaks_first=False).begin()
    call.cue(CueKind.STILL_THERE)
    assert await call.listened() == f"{GREETING} {QUESTION}"


async def test_the_first_words_come_after_the_delay() -> None:
    call = await ScriptedCall(initial_delay_ms=150).begin()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await call.listened()
    assert 0.14 <= loop.time() - began < 2


async def test_a_caller_who_speaks_during_the_delay_is_heard_out_and_then_greeted_once() -> None:
    call = await ScriptedCall(initial_delay_ms=30).begin()
    call.starts_speaking()
    await asyncio.sleep(0.06)
    assert call.media.log == []
    call.stops_speaking()
    assert await call.listened() == f"{GREETING} {QUESTION}"
    assert len(call.media.all_of("say")) == 1


async def test_what_was_heard_is_in_the_transcript_with_its_times() -> None:
    call = await ScriptedCall().begin()
    await call.listened()
    call.speaks("yes", 400)
    await call.listened()
    assert call.media.all_of("heard") == [("yes", 0, 400, (Word("yes", 0, 400),))]


async def test_the_recogniser_gets_the_utterance_with_what_came_just_before_it() -> None:
    call = await ScriptedCall().begin()
    await call.listened()
    for _ in range(100):
        call.agent.on_audio(b"\xff" * 160)
    call.speaks("yes", 400)
    await call.listened()
    assert isinstance(call.ear, HearingAid)
    ((audio, phrases),) = call.ear.asked
    assert audio == b"\xff" * 8 * 600 + b"\x7f" * 8 * 400
    assert {"yes", "no", "goodbye", "repeat", "hello"} <= set(phrases)


async def test_a_long_utterance_is_rejected_without_being_recognised() -> None:
    call = await ScriptedCall(
        {
            "start": "a",
            "states": {
                "a": {"say": "Yes?", "expect": [{"words": ["yes"], "goto": "b"}]},
                "b": {"hang_up": True},
            },
        }
    ).begin()
    await call.listened()
    call.speaks("yes", 1620)
    assert await call.listened() == f"{EN.too_long} Yes?"
    assert isinstance(call.ear, HearingAid)
    assert call.ear.asked == []
    call.speaks("yes", 1580)
    await call.until("hang_up")


@pytest.mark.parametrize(("language", "installed"), [("es-ES", True), ("pt", True), ("en", False)])
async def test_without_a_recogniser_only_keys_are_understood(language: str, installed: bool) -> None:
    script = {
        "start": "a",
        "states": {
            "a": {"say": "Hm.", "expect": [{"words": ["yes"], "keys": "1", "goto": "b"}]},
            "b": {"hang_up": True},
        },
    }
    call = await ScriptedCall(script, language=language, ear=HearingAid(installed=installed)).begin()
    await call.listened()
    call.speaks("yes")
    assert await call.listened() == f"{phrases_for(language).keys_only} Hm."
    call.agent.on_dtmf("1")
    await call.until("hang_up")


# --- interruptions ------------------------------------------------------------------------------------


async def test_a_caller_who_interrupts_is_listened_to() -> None:
    call = await ScriptedCall().begin()
    await call.until("mark")
    call.starts_speaking()
    call.agent.on_interrupted(200)
    call.agent.on_mark(call.media.marks[-1], cleared=True)
    assert isinstance(call.ear, HearingAid)
    call.ear.said = "yes"
    call.stops_speaking()
    await call.until("hang_up")
    assert call.media.all_of("say")[-1] == GOOD


async def test_what_does_not_interrupt_a_prompt_is_no_answer_to_it() -> None:
    call = await ScriptedCall().begin()
    await call.until("mark")
    call.speaks("yes")
    await asyncio.sleep(0)
    assert isinstance(call.ear, HearingAid)
    assert call.ear.asked == []
    assert len(call.media.all_of("say")) == 1


@pytest.mark.parametrize(("barge_in", "cleared"), [(BargeIn.VAD, 1), (BargeIn.DTMF, 1), (BargeIn.OFF, 0)])
async def test_a_key_cuts_a_prompt_short_unless_nothing_may(barge_in: BargeIn, cleared: int) -> None:
    call = await ScriptedCall(barge_in=barge_in).begin()
    await call.until("mark")
    call.agent.on_dtmf("1")
    await call.until("hang_up")
    assert len(call.media.all_of("clear")) == cleared


async def test_last_words_are_spoken_though_the_caller_interrupts_while_they_are_made() -> None:
    call = await ScriptedCall().begin()
    await call.listened()
    call.agent.on_dtmf("1")
    call.agent.on_interrupted(0)
    await call.until("hang_up")
    assert call.media.all_of("say")[-1] == GOOD


async def test_nothing_is_said_after_the_last_words() -> None:
    call = await ScriptedCall().begin()
    await call.listened()
    call.agent.on_dtmf("1")
    await call.until("hang_up")
    before = list(call.media.log)
    call.speaks("yes")
    call.agent.on_dtmf("1")
    for kind in CueKind:
        call.cue(kind)
    await asyncio.sleep(0.01)
    assert call.media.log == before


# --- machines -----------------------------------------------------------------------------------------


async def test_the_agent_is_quiet_before_a_machines_beep_and_goes_on_with_a_person() -> None:
    call = await ScriptedCall(machine=MachinePolicy.LEAVE_MESSAGE).begin()
    await call.until("mark")
    call.cue(CueKind.MACHINE)
    assert call.media.log[-1] == ("clear", None)
    call.agent.on_mark(call.media.marks[-1], cleared=True)
    call.speaks("yes", 3000)
    call.cue(CueKind.STILL_THERE)
    assert len(call.media.all_of("say")) == 1
    call.cue(CueKind.HUMAN)
    await call.until("mark", 2)
    assert call.media.all_of("say")[-1] == f"{GREETING} {QUESTION}"


async def test_a_machine_that_is_only_reported_changes_nothing() -> None:
    call = await ScriptedCall(machine=MachinePolicy.REPORT).begin()
    await call.listened()
    call.cue(CueKind.MACHINE)
    call.speaks("yes")
    assert await call.listened() == GOOD


# --- recordings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "granted"), [("1", True), ("2", False)])
async def test_consent_to_a_recording_is_asked_first(key: str, granted: bool) -> None:
    call = await ScriptedCall(record=True, consent=Consent.ASK).begin()
    assert await call.listened() == EN.recording_question
    assert call.media.all_of("consent") == []
    call.agent.on_dtmf(key)
    assert await call.listened() == f"{GREETING} {QUESTION}"
    assert call.media.all_of("consent") == [granted]


async def test_a_caller_who_never_answers_clearly_is_not_recorded() -> None:
    call = await ScriptedCall(record=True, consent=Consent.ASK, recording_notice="May I?").begin()
    assert await call.listened() == "May I?"
    for _ in range(3):
        call.speaks(None)
        await call.listened()
    assert call.media.all_of("consent") == [False]


async def test_a_goodbye_to_the_question_of_recording_is_confirmed_too() -> None:
    call = await ScriptedCall(record=True, consent=Consent.ASK, recording_notice="May I?").begin()
    await call.listened()
    call.speaks("goodbye")
    assert await call.listened() == EN.confirm_goodbye
    call.speaks("no")
    assert await call.listened() == "May I?"


async def test_a_notice_comes_before_the_greeting() -> None:
    call = await ScriptedCall(record=True, consent=Consent.NOTICE, recording_notice="We record.").begin()
    assert await call.listened() == f"{GREETING} {QUESTION}"
    assert call.media.all_of("say")[0] == "We record."
    assert [what for what, _ in call.media.log[:6]] == ["notice", "say", "play", "notice", "say", "play"]


async def test_a_caller_who_speaks_first_is_given_the_notice_with_the_first_words() -> None:
    call = await ScriptedCall(record=True, consent=Consent.NOTICE, agent_speaks_first=False).begin()
    assert call.media.log == []
    call.speaks(None)
    await call.listened()
    assert call.media.all_of("say") == [EN.recording_notice, f"{GREETING} {QUESTION}"]


async def test_a_notice_that_was_not_begun_is_given_with_the_next_words() -> None:
    call = await ScriptedCall(record=True, consent=Consent.NOTICE, agent_speaks_first=False).begin()
    call.speaks(None)
    call.agent.on_dtmf("*")  # before any of the first words is spoken
    await call.listened()
    assert call.media.all_of("say") == [EN.recording_notice, QUESTION]
    assert call.media.all_of("notice") == [True, False]


# --- scripts of one's own -----------------------------------------------------------------------------


def cancelling(**answer: Any) -> dict[str, Any]:
    action = {"name": "cancel", "arguments": {"id": 7}}
    usual = {"words": ["yes"], "keys": "1", "goto": "done", "action": action}
    return {
        "start": "ask",
        "states": {
            "ask": {"say": "Cancel?", "expect": [usual | answer]},
            "done": {"say": "Done.", "hang_up": True},
        },
    }


async def test_a_spoken_answer_with_an_action_is_confirmed() -> None:
    call = await ScriptedCall(cancelling()).begin()
    await call.listened()
    call.speaks("yes")
    assert await call.listened() == "You said yes. Is that right? Please say yes or no."
    assert call.media.all_of("action") == []
    call.speaks("no")
    assert await call.listened() == "Cancel?"
    call.speaks("yes")
    await call.listened()
    call.speaks("yes")
    assert await call.listened() == "Done."
    assert call.media.all_of("action") == [("cancel", '{"id":7}')]


async def test_a_pressed_answer_is_sure() -> None:
    call = await ScriptedCall(cancelling()).begin()
    await call.listened()
    call.agent.on_dtmf("1")
    assert await call.listened() == "Done."
    assert len(call.media.all_of("action")) == 1


@pytest.mark.parametrize(
    ("confirm", "answer"),
    [(False, "Done."), (True, "You said 1. Is that right? Please say yes or no."), ("Really?", "Really?")],
)
async def test_a_script_says_what_is_confirmed(confirm: bool | str, answer: str) -> None:
    call = await ScriptedCall(cancelling(confirm=confirm)).begin()
    await call.listened()
    call.agent.on_dtmf("1")
    assert await call.listened() == answer


async def test_replies_of_the_script_lead_elsewhere() -> None:
    script = {
        "start": "a",
        "states": {
            "a": {
                "say": "A?",
                "retries": 0,
                "expect": [{"keys": "1", "goto": "end"}],
                "on_silence": {"say": "Hello?", "goto": "b"},
                "on_no_match": {"goto": "b"},
                "on_goodbye": {"say": "Leave?", "goto": "end"},
            },
            "b": {"say": "B.", "action": {"name": "in_b"}, "goto": "a"},
            "end": {"say": "End.", "hang_up": True},
        },
    }
    call = await ScriptedCall(script).begin()
    await call.listened()
    call.cue(CueKind.STILL_THERE)
    assert await call.listened() == "Hello? B. A?"
    call.speaks(None)
    assert await call.listened() == "B. A?"
    assert call.media.all_of("action") == [("in_b", "{}")] * 2
    call.agent.on_dtmf("#")
    assert await call.listened() == "Leave?"
    call.agent.on_dtmf("1")
    assert await call.listened() == "End."


async def test_an_expected_goodbye_needs_no_confirmation() -> None:
    call = await ScriptedCall(
        {
            "start": "a",
            "states": {
                "a": {"expect": [{"words": ["goodbye"], "goto": "end"}]},
                "end": {"say": "End.", "hang_up": True},
            },
        }
    ).begin()
    await call.until("mark")
    call.agent.on_mark(call.media.marks[-1], cleared=False)
    call.speaks("goodbye")
    await call.until("hang_up")
    assert call.media.all_of("say") == ["End."]


async def test_noise_that_never_ends_does_not_keep_the_call() -> None:
    script = {
        "start": "a",
        "states": {
            "a": {"expect": [{"keys": "1", "goto": "end"}], "retries": 0, "on_no_match": {"goto": "b"}},
            "b": {"say": "B.", "goto": "a"},
            "end": {"hang_up": True},
        },
    }
    call = await ScriptedCall(script).begin()
    await call.until("mark")
    call.agent.on_mark(call.media.marks[-1], cleared=False)
    for count in range(13):
        call.speaks(None)
        await call.until("mark", count + 2)
        call.agent.on_mark(call.media.marks[-1], cleared=False)
    assert call.media.all_of("hang_up") == [("not understood", True)]


async def test_a_script_with_a_fault_does_not_start() -> None:
    with pytest.raises(AgentError, match=r"script\.start: there is no state 'x'"):
        await ScriptedCall({"start": "x", "states": {"a": {"hang_up": True}}}).begin()


async def test_a_stopped_agent_does_nothing_more_and_leaves_no_task() -> None:
    call = await ScriptedCall(initial_delay_ms=10).begin()
    before = asyncio.all_tasks()
    call.speaks("yes")
    await call.agent.stop("the call is over")
    call.agent.kill()
    call.speaks("yes")
    call.agent.on_dtmf("1")
    await asyncio.sleep(0.05)
    assert call.media.log == []
    assert asyncio.all_tasks() == before


async def test_an_agent_that_was_never_started_can_be_killed() -> None:
    call = ScriptedCall()
    call.agent.on_audio(b"\xff" * 160)
    call.agent.kill()
    await call.agent.stop("")
    assert call.media.log == []
