"""What the Realtime agent asks of the model, and what it makes of what the model says."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.providers.cloud import TONE, Cloud, Temper
from tests.providers.kinds import FRAME, QUICK, REALTIME
from tests.providers.line import FakeLine

from onhook.agents.definition import BargeIn, Consent, Sensitivity
from onhook.agents.messages import Cue, CueKind, Speech
from onhook.agents.openai_realtime import RealtimeAgent, components

pytestmark = [pytest.mark.contract, pytest.mark.timing]

Start = Callable[..., Awaitable[RealtimeAgent]]


@pytest.fixture
async def start(cloud: Cloud, line: FakeLine) -> AsyncIterator[Start]:
    """Start an agent: `await start(initial_message="Hi")`."""
    agents = []

    async def begin(**changes: Any) -> RealtimeAgent:
        agent = RealtimeAgent(QUICK)
        agents.append(agent)
        await agent.start(REALTIME.call(**{"agent_speaks_first": False, **changes}), line)
        return agent

    yield begin
    for agent in agents:
        await agent.stop("over")


async def test_the_session_is_configured_by_the_definition(start: Start, cloud: Cloud) -> None:
    await start(
        prompt="Sell nothing.",
        language="es-MX",
        voice="cedar",
        speed=9,
        sensitivity=Sensitivity.HIGH,
        options={"model": "gpt-realtime-2"},
    )

    session = (await cloud.until("session.update"))["session"]

    assert session["type"] == "realtime"
    assert session["instructions"].startswith("Sell nothing.")
    assert "es-MX" in session["instructions"]
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["transcription"]["language"] == "es"
    detection = session["audio"]["input"]["turn_detection"]
    assert detection == {"type": "server_vad", "create_response": True, "interrupt_response": True, "threshold": 0.3}
    assert session["audio"]["output"]["voice"] == "cedar"
    assert session["audio"]["output"]["speed"] == 1.5
    assert [tool["name"] for tool in session["tools"]] == ["end_call", "press_keys"]
    assert cloud.headers["/realtime"]["Authorization"] == "Bearer openai-key"


async def test_without_barge_in_the_provider_does_not_interrupt_itself(start: Start, cloud: Cloud) -> None:
    await start(barge_in=BargeIn.OFF, options={"turn_detection": "semantic_vad", "eagerness": "low"})

    session = (await cloud.until("session.update"))["session"]

    detection = session["audio"]["input"]["turn_detection"]
    assert detection["interrupt_response"] is False
    assert detection["eagerness"] == "low"


async def test_the_initial_message_is_said_first(start: Start, cloud: Cloud, line: FakeLine) -> None:
    cloud.answers = [("Good morning.", [])]
    await start(agent_speaks_first=True, initial_message="Good morning.")

    asked = await cloud.until("response.create")
    await line.until(lambda: len(line.played) == 2 * len(TONE))

    assert "Good morning." in asked["response"]["instructions"]
    assert line.all("say") == ["", "Good morning."]


async def test_the_callers_voice_is_sent_as_it_is(start: Start, cloud: Cloud) -> None:
    agent = await start()

    agent.on_audio(FRAME)

    assert base64.b64decode((await cloud.until("input_audio_buffer.append"))["audio"]) == FRAME


async def test_a_turn_of_the_caller_is_transcribed_and_answered(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start()
    agent.on_speech(Speech(started=True, at_ms=3_000))
    agent.on_speech(Speech(started=False, at_ms=4_200, duration_ms=1_200))

    await cloud.caller_talks()

    assert await line.first("heard") == ("I need a taxi", 3_000, 4_200, ())
    await line.first("mark")
    assert line.all("say") == ["", "I am fine.", "How are you?"]
    assert len(line.played) == 6 * len(TONE)


async def test_after_an_interruption_the_model_remembers_what_was_heard(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start()
    cloud.holds.clear()
    await cloud.caller_talks()
    await line.until(lambda: len(line.played) > 0)

    agent.on_interrupted(60)

    await cloud.until("response.cancel")
    cut = await cloud.until("conversation.item.truncate")
    assert (cut["item_id"], cut["content_index"], cut["audio_end_ms"]) == ("item_1", 0, 60)


async def test_the_provider_hearing_the_caller_first_silences_the_agent(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    await start()
    await cloud.caller_talks()
    await line.until(lambda: len(line.played) == 6 * len(TONE))

    await cloud.caller_talks()

    await line.first("clear")
    cut = await cloud.until("conversation.item.truncate")
    assert 0 <= cut["audio_end_ms"] < 600


async def test_what_was_played_to_its_end_is_not_cut(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start()
    await cloud.caller_talks()
    await line.until(lambda: len(line.played) == 6 * len(TONE))
    await line.until(lambda: len(line.all("mark")) == 2)
    for name in line.all("mark"):
        agent.on_mark(name, cleared=False)

    await cloud.caller_talks()
    await line.until(lambda: len(line.played) == 12 * len(TONE))

    assert line.all("clear") == []
    assert cloud.of("conversation.item.truncate") == []


async def test_keys_pressed_by_the_model_are_sent_and_the_model_goes_on(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    cloud.answers = [("", [("press_keys", {"digits": "12#"})]), ("Done.", [])]
    await start()

    await cloud.caller_talks()

    assert await line.first("keys") == "12#"
    output = (await cloud.until("conversation.item.create"))["item"]
    assert (output["type"], output["call_id"]) == ("function_call_output", "c0")
    await line.until(lambda: line.all("say") == ["Done."])


async def test_a_key_that_no_phone_has_is_told_to_the_model(start: Start, cloud: Cloud, line: FakeLine) -> None:
    cloud.answers = [("", [("press_keys", {"digits": "x"})]), ("Sorry.", [])]
    await start()

    await cloud.caller_talks()

    output = (await cloud.until("conversation.item.create"))["item"]
    assert "no such key" in output["output"]
    assert (await line.first("action"))[3] is True


async def test_the_last_words_are_played_before_the_agent_hangs_up(start: Start, cloud: Cloud, line: FakeLine) -> None:
    cloud.answers = [("Goodbye then.", [("end_call", {"reason": "all said"})])]
    await start()

    await cloud.caller_talks()

    assert await line.first("hang_up") == ("all said", True)
    assert len(line.played) == 2 * len(TONE)
    assert cloud.of("response.create") == []


async def test_a_farewell_that_was_not_said_is_said_before_the_agent_hangs_up(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    cloud.answers = [("", [("end_call", {"farewell": "Take care.", "reason": "done"})]), ("Take care.", [])]
    agent = await start()

    await cloud.caller_talks()

    asked = await cloud.until("response.create")
    assert "Take care." in asked["response"]["instructions"]
    assert asked["response"]["tool_choice"] == "none"
    assert await line.first("hang_up") == ("done", True)
    assert line.wishes.index(("say", "Take care.")) < line.wishes.index(("hang_up", ("done", True)))
    agent.on_audio(FRAME)
    assert cloud.of("input_audio_buffer.append") == []


async def test_a_provider_lost_in_the_farewell_does_not_keep_the_call(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    cloud.holds.clear()
    agent = await start()

    agent.on_cue(Cue(CueKind.FAREWELL, "Bye."))

    await cloud.until("response.create")
    assert (await line.first("hang_up"))[1] is True
    assert line.all("fail") == []


async def test_a_provider_that_goes_after_the_agent_hung_up_is_no_loss(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start()
    agent.on_cue(Cue(CueKind.FAREWELL, "Bye."))
    await line.first("hang_up")

    cloud.become(Temper.CUT)
    agent.on_audio(FRAME)
    await cloud.watch.all[0].closed.wait()
    await agent.stop("over")

    assert len(line.all("hang_up")) == 1
    assert line.all("fail") == []


@pytest.mark.parametrize(
    ("cue", "words", "hangs_up"),
    [
        (Cue(CueKind.STILL_THERE, number=1), "silent", False),
        (Cue(CueKind.STILL_THERE, "Hello?"), "Hello?", False),
        (Cue(CueKind.FAREWELL), "goodbye", True),
        (Cue(CueKind.LEAVE_MESSAGE, "Call us back."), "Call us back.", True),
    ],
)
async def test_a_cue_makes_the_model_speak(
    cue: Cue, words: str, hangs_up: bool, start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start()

    agent.on_cue(cue)

    assert words in (await cloud.until("response.create"))["response"]["instructions"]
    await line.until(lambda: len(line.played) == 6 * len(TONE))
    if hangs_up:
        await line.first("hang_up")


async def test_a_farewell_cue_cuts_what_the_model_is_saying(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start()
    cloud.holds.clear()
    await cloud.caller_talks()
    await line.until(lambda: len(line.played) > 0)

    cloud.holds.set()
    agent.on_cue(Cue(CueKind.FAREWELL, "Time is up."))

    await cloud.until("response.cancel")
    await line.first("hang_up")
    assert line.all("clear") == [None]
    assert len(cloud.of("response.create")) == 1


async def test_keys_of_the_caller_are_told_to_the_model_together(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start()

    for key in "42#":
        agent.on_dtmf(key)

    told = (await cloud.until("conversation.item.create"))["item"]
    assert "42#" in told["content"][0]["text"]
    await line.until(lambda: len(line.played) == 6 * len(TONE))


async def test_consent_to_a_recording_is_asked_first_and_told_to_the_call(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    cloud.answers = [("May we record?", []), ("", [("recording_consent", {"granted": True})]), ("Good.", [])]
    await start(record=True, consent=Consent.ASK, recording_notice="May we record?")

    assert "May we record?" in (await cloud.until("response.create"))["response"]["instructions"]
    await line.until(lambda: len(line.played) == 3 * len(TONE))
    await cloud.caller_talks()

    assert await line.first("consent") is True


async def test_a_notice_of_recording_begins_with_the_models_first_sound_and_is_not_interrupted(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start(record=True, consent=Consent.NOTICE, recording_notice="We record.")
    await line.until(lambda: line.all("notice") == [True, False])
    assert "We record." in (await cloud.until("response.create"))["response"]["instructions"]
    heard = len(cloud.of("input_audio_buffer.append"))

    agent.on_audio(FRAME)
    await cloud.caller_talks()
    await line.until(lambda: len(line.played) == 6 * len(TONE))
    assert line.all("clear") == []
    assert len(cloud.of("input_audio_buffer.append")) == heard

    for name in line.all("mark"):
        agent.on_mark(name, cleared=False)
    agent.on_audio(FRAME)
    await cloud.until("input_audio_buffer.append")
    assert line.all("notice") == [True, False]


async def test_an_error_about_one_event_is_survived(start: Start, cloud: Cloud, line: FakeLine) -> None:
    await start()

    await cloud.report("invalid_request_error", "response_cancel_not_active")
    await cloud.caller_talks()

    await line.until(lambda: len(line.played) == 6 * len(TONE))
    assert line.all("fail") == []


@pytest.mark.parametrize(("error_type", "code"), [("server_error", "x"), ("invalid_request_error", "session_expired")])
async def test_an_error_of_the_session_ends_the_agent(
    error_type: str, code: str, start: Start, cloud: Cloud, line: FakeLine
) -> None:
    await start()

    await cloud.report(error_type, code)

    assert code in await line.first("fail")


async def test_a_response_that_failed_ends_the_agent(start: Start, cloud: Cloud, line: FakeLine) -> None:
    await start()

    await cloud.fail_response("rate_limit_exceeded")

    assert "rate_limit_exceeded" in await line.first("fail")


async def test_a_response_refused_because_one_is_made_is_asked_for_again(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start()
    cloud.holds.clear()
    agent.on_cue(Cue(CueKind.STILL_THERE, "Hello?"))
    await cloud.until("response.create")
    await cloud.report("invalid_request_error", "conversation_already_has_active_response")
    cloud.holds.set()

    await cloud.until("response.create", 2)
    await line.until(lambda: len(line.played) == 12 * len(TONE))


async def test_nothing_is_said_once_the_agent_was_stopped(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start(agent_speaks_first=True, initial_message="Hi.", initial_delay_ms=50)

    await agent.stop("over")
    agent.on_cue(Cue(CueKind.STILL_THERE))
    agent.on_audio(FRAME)
    agent.on_dtmf("#")
    await asyncio.sleep(0.1)  # longer than the delay: nothing is to be seen of it

    assert line.wishes == []
    assert cloud.of("response.create") == []


def test_components_name_the_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert components() == {"openai_realtime": "ok"}
    monkeypatch.delenv("OPENAI_API_KEY")
    assert components() == {"openai_realtime": "OPENAI_API_KEY is not set"}
