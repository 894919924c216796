"""What the chain asks of its three providers, and what it says and remembers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.providers.cloud import TONE, Cloud
from tests.providers.kinds import CHAIN, CHAIN_OPENAI, FRAME, QUICK, Kind, caller_talks
from tests.providers.line import FakeLine

from onhook.agents.agent import AgentError
from onhook.agents.chain.agent import ChainAgent, components
from onhook.agents.definition import Consent
from onhook.agents.messages import Cue, CueKind, Speech, Word

pytestmark = [pytest.mark.contract, pytest.mark.timing]

Start = Callable[..., Awaitable[ChainAgent]]

SAID = "I am fine. How are you?"


@pytest.fixture
async def start(cloud: Cloud, line: FakeLine) -> AsyncIterator[Start]:
    """Start an agent: `await start(CHAIN, initial_message="Hi")`."""
    agents = []

    async def begin(kind: Kind = CHAIN, **changes: Any) -> ChainAgent:
        agent = ChainAgent(QUICK)
        agents.append(agent)
        await agent.start(kind.call(**{"agent_speaks_first": False, **changes}), line)
        return agent

    yield begin
    for agent in agents:
        await agent.stop("over")


def _told(cloud: Cloud, at: int = -1) -> list[tuple[str, str]]:
    """Return what the model was told, by role, without the instructions."""
    return [(one["role"], one.get("content", "")) for one in cloud.of("/chat/completions")[at]["messages"][1:]]


async def _spoken(line: FakeLine, text: str) -> None:
    await line.until(lambda: " ".join(line.all("say")).endswith(text) and len(line.all("mark")) == len(line.all("say")))


async def test_a_turn_of_the_caller_goes_through_all_three(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start(CHAIN, prompt="Sell nothing.", temperature=0.3, voice="v/1", language="pt-BR")

    await caller_talks(agent, cloud)
    await _spoken(line, SAID)

    assert cloud.of("/listen")[0] | {"model": ""} == {
        "model": "",
        "language": "pt-BR",
        "encoding": "mulaw",
        "sample_rate": "8000",
        "channels": "1",
        "interim_results": "true",
        "smart_format": "true",
        "endpointing": "300",
    }
    assert cloud.headers["/listen"]["Authorization"] == "Token deepgram-key"
    assert b"".join(cloud.of("audio")) == FRAME * 10
    asked = cloud.of("/chat/completions")[0]
    assert asked["messages"][0]["content"].startswith("Sell nothing.")
    assert _told(cloud) == [("user", "I need a taxi")]
    assert (asked["stream"], asked["temperature"]) == (True, 0.3)
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["end_call", "press_keys"]
    spoken = cloud.of("/text-to-speech")[0]
    assert (spoken["text"], spoken["voice"], spoken["output_format"]) == (SAID, "v/1", "ulaw_8000")
    assert cloud.headers["/text-to-speech/v/1/stream"]["xi-api-key"] == "elevenlabs-key"
    assert bytes(line.played) == TONE * 6


async def test_one_key_is_enough_for_a_chain(
    start: Start, cloud: Cloud, line: FakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPGRAM_API_KEY")
    monkeypatch.delenv("ELEVENLABS_API_KEY")
    agent = await start(CHAIN, options={}, language="pt-BR", voice="nova", speed=1.1)

    await caller_talks(agent, cloud)
    await _spoken(line, SAID)

    heard = cloud.of("/audio/transcriptions")[0]
    assert (heard["language"], heard["seconds"]) == ("pt", 0.2)
    spoken = cloud.of("/audio/speech")[0]
    assert (spoken["input"], spoken["voice"], spoken["response_format"]) == (SAID, "nova", "pcm")
    assert spoken["speed"] == 1.1
    assert 0.8 * 4800 < len(line.played) <= 4800


async def test_a_provider_that_was_chosen_needs_its_key(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPGRAM_API_KEY")

    with pytest.raises(AgentError, match="DEEPGRAM_API_KEY"):
        await start(CHAIN)


async def test_words_are_put_where_the_line_heard_the_turn(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start(CHAIN)
    cloud.caller_says = "yes please"

    await caller_talks(agent, cloud)

    text, begin, end, words = await line.first("heard")
    assert (text, begin, end) == ("yes please", 1_000, 1_900)
    assert words == (Word("yes", 1_000, 1_400), Word("please", 1_500, 1_900))


async def test_sentences_are_spoken_as_soon_as_they_are_complete(start: Start, cloud: Cloud, line: FakeLine) -> None:
    cloud.answers = [("This is the first sentence. This is the second one! And a third", [])]
    agent = await start(CHAIN)

    await caller_talks(agent, cloud)
    await _spoken(line, "third")

    expected = ["This is the first sentence.", "This is the second one!", "And a third"]
    assert line.all("say") == expected
    assert [one["text"] for one in cloud.of("/text-to-speech")] == expected


async def test_the_initial_message_needs_no_model(start: Start, cloud: Cloud, line: FakeLine) -> None:
    await start(CHAIN, agent_speaks_first=True, initial_message="Good morning.")

    await _spoken(line, "Good morning.")

    assert cloud.of("/chat/completions") == []


async def test_without_an_initial_message_the_model_finds_one(start: Start, cloud: Cloud, line: FakeLine) -> None:
    await start(CHAIN, agent_speaks_first=True)

    await _spoken(line, SAID)

    assert "Greet" in _told(cloud)[-1][1]


async def test_nothing_is_answered_while_the_caller_speaks(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start(CHAIN)
    agent.on_speech(Speech(started=True, at_ms=1_000))
    agent.on_audio(FRAME)
    agent.on_speech(Speech(started=False, at_ms=1_500))
    agent.on_speech(Speech(started=True, at_ms=1_700))

    await cloud.until("Finalize")
    assert cloud.of("/chat/completions") == []
    cloud.caller_says = "to the station"
    agent.on_audio(FRAME)
    await cloud.until("audio", 2)
    agent.on_speech(Speech(started=False, at_ms=2_500))
    await _spoken(line, SAID)

    assert _told(cloud) == [("user", "I need a taxi to the station")]


async def test_a_caller_who_goes_on_before_the_answer_was_heard_is_answered_as_a_whole(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start(CHAIN_OPENAI)
    cloud.answers = [("", []), (SAID, [])]
    cloud.holds.clear()
    await caller_talks(agent, cloud)
    await cloud.until("/chat/completions")

    cloud.caller_says = "to the station"
    cloud.holds.set()
    await caller_talks(agent, cloud)
    await _spoken(line, SAID)

    assert _told(cloud) == [("user", "I need a taxi"), ("user", "to the station")]


async def test_after_an_interruption_the_model_remembers_what_was_heard(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start(CHAIN)
    cloud.answers = [("one two three four five six seven eight nine ten", [])]
    await caller_talks(agent, cloud)
    await line.until(lambda: len(line.played) == 10 * len(TONE))

    agent.on_interrupted(400)
    agent.on_mark(line.all("mark")[0], cleared=True)
    cloud.caller_says = "stop counting"
    await caller_talks(agent, cloud)
    await _spoken(line, SAID)

    assert _told(cloud)[1:] == [("assistant", "one two three four"), ("user", "stop counting")]


async def test_an_interruption_stops_the_answer_in_flight(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start(CHAIN)
    cloud.holds.clear()
    await caller_talks(agent, cloud)
    await line.until(lambda: len(line.played) > 0)
    speech = next(one for one in cloud.watch.all if one.path.startswith("/text-to-speech"))

    agent.on_interrupted(20)

    await speech.closed.wait()
    assert line.all("fail") == []


async def test_tools_are_run_and_their_results_told(start: Start, cloud: Cloud, line: FakeLine) -> None:
    cloud.answers = [
        ("One moment please.", [("press_keys", {"digits": "12#"}), ("fly", {"to": "the moon"})]),
        ("Done, I have pressed them.", []),
    ]
    agent = await start(CHAIN)

    await caller_talks(agent, cloud)
    await _spoken(line, "pressed them.")

    assert line.all("keys") == ["12#"]
    assert [(name, failed) for name, _, _, failed in line.all("action")] == [("press_keys", False), ("fly", True)]
    messages = cloud.of("/chat/completions")[1]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "tool"]
    assert messages[2]["tool_calls"][0] == {
        "id": "c0",
        "type": "function",
        "function": {"name": "press_keys", "arguments": '{"digits": "12#"}'},
    }
    assert messages[3]["tool_call_id"] == "c0"
    assert "there is no tool" in messages[4]["content"]


@pytest.mark.parametrize(
    ("said", "farewell", "goodbye", "last"),
    [
        ("Goodbye then, my friend.", {}, "So long.", "Goodbye then, my friend."),
        ("", {"farewell": "Take care."}, "So long.", "Take care."),
        ("", {}, "So long.", "So long."),
    ],
)
async def test_the_last_words_are_said_before_the_agent_hangs_up(
    said: str, farewell: dict[str, str], goodbye: str, last: str, start: Start, cloud: Cloud, line: FakeLine
) -> None:
    cloud.answers = [(said, [("end_call", {**farewell, "reason": "done"})])]
    agent = await start(CHAIN, goodbye_message=goodbye)

    await caller_talks(agent, cloud)

    assert await line.first("hang_up") == ("done", True)
    assert line.all("say") == [last]
    assert len(line.played) == len(last.split()) * len(TONE)


async def test_a_provider_lost_in_the_farewell_does_not_keep_the_call(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    cloud.holds.clear()
    agent = await start(CHAIN)

    agent.on_cue(Cue(CueKind.FAREWELL, "Bye bye."))

    assert (await line.first("hang_up"))[1] is True
    assert line.all("fail") == []


@pytest.mark.parametrize(
    ("cue", "words", "hangs_up"),
    [
        (Cue(CueKind.STILL_THERE, number=1), SAID, False),
        (Cue(CueKind.STILL_THERE, "Hello?"), "Hello?", False),
        (Cue(CueKind.FAREWELL), SAID, True),
        (Cue(CueKind.LEAVE_MESSAGE, "Call us back."), "Call us back.", True),
    ],
)
async def test_a_cue_makes_the_agent_speak(
    cue: Cue, words: str, hangs_up: bool, start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start(CHAIN)

    agent.on_cue(cue)

    await _spoken(line, words)
    if hangs_up:
        assert (await line.first("hang_up"))[1] is True


async def test_a_farewell_cue_cuts_what_the_agent_is_saying(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start(CHAIN)
    cloud.holds.clear()
    await caller_talks(agent, cloud)
    await line.until(lambda: len(line.played) > 0)

    cloud.holds.set()
    agent.on_cue(Cue(CueKind.FAREWELL, "Time is up."))

    await line.first("hang_up")
    assert line.all("clear") == [None]
    assert line.all("say")[-1] == "Time is up."


async def test_keys_of_the_caller_are_answered(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start(CHAIN)

    for key in "42#":
        agent.on_dtmf(key)

    await _spoken(line, SAID)
    assert "42#" in _told(cloud)[-1][1]


async def test_a_notice_of_recording_comes_before_the_greeting(start: Start, cloud: Cloud, line: FakeLine) -> None:
    await start(
        CHAIN,
        agent_speaks_first=True,
        initial_message="Hello.",
        record=True,
        consent=Consent.NOTICE,
        recording_notice="We record.",
    )

    await line.until(lambda: line.all("notice") == [True, False])
    assert line.all("say") == ["We record. Hello."]


async def test_a_notice_in_the_models_own_words_begins_with_its_first_utterance(
    start: Start, cloud: Cloud, line: FakeLine
) -> None:
    agent = await start(CHAIN, record=True, consent=Consent.NOTICE, initial_delay_ms=60_000)
    assert line.all("notice") == []

    await caller_talks(agent, cloud)
    await line.until(lambda: line.all("notice") == [True, False])
    assert " ".join(line.all("say")) == SAID


async def test_without_a_notice_the_line_is_told_of_none(start: Start, cloud: Cloud, line: FakeLine) -> None:
    await start(CHAIN, agent_speaks_first=True, initial_message="Hello.", record=True)

    await _spoken(line, "Hello.")
    await line.first("mark")
    assert line.all("notice") == []


async def test_a_turn_without_words_is_not_answered(start: Start, cloud: Cloud, line: FakeLine) -> None:
    agent = await start(CHAIN)
    cloud.caller_says = ""
    await caller_talks(agent, cloud)
    await cloud.until("Finalize")

    cloud.caller_says = "now I speak"
    await caller_talks(agent, cloud)
    await _spoken(line, SAID)

    assert _told(cloud, 0) == [("user", "now I speak")]


def test_components_name_the_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert components() == {"chain": "ok"}
    monkeypatch.delenv("OPENAI_API_KEY")
    assert components() == {"chain": "OPENAI_API_KEY is not set"}
