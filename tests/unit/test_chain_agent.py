"""The parts of the chain that need no socket: sentences, samples, Deepgram's results, tools, deadlines."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.agents.chain.deepgram import DeepgramEar
from onhook.agents.chain.downsample import Downsampler
from onhook.agents.chain.parts import Heard
from onhook.agents.chain.sentences import Sentences
from onhook.agents.definition import AgentDefinition, AgentKind, Consent, DefinitionError, MachinePolicy
from onhook.agents.messages import Speech
from onhook.agents.model_options import check_options
from onhook.agents.providers.deadlines import Limits, paced
from onhook.agents.providers.environment import ProviderError
from onhook.agents.tools import Toolbox, instructions, machine_answered, opening
from onhook.lines.media.g711 import mulaw_to_linear
from tests.providers.line import FakeLine, call_for

pytestmark = pytest.mark.unit

RATE = 24_000


def _tone(hertz: float, seconds: float = 0.5) -> bytes:
    time = np.arange(int(seconds * RATE)) / RATE
    return (10_000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()


def _level(mulaw: bytes) -> float:
    """Return the RMS of the middle, where no edge is."""
    samples = np.frombuffer(mulaw_to_linear(mulaw), np.int16).astype(float)
    return float(np.sqrt(np.mean(samples[1000:-1000] ** 2)))


@pytest.mark.parametrize("hertz", [300, 1_000, 3_000])
def test_the_telephone_band_passes(hertz: float) -> None:
    assert _level(Downsampler().add(_tone(hertz))) == pytest.approx(7_071, rel=0.1)


@pytest.mark.parametrize("hertz", [4_600, 6_000, 7_500, 11_000])
def test_what_would_fold_back_into_the_band_does_not_pass(hertz: float) -> None:
    assert _level(Downsampler().add(_tone(hertz))) < 7_071 / 100


@given(st.lists(st.integers(1, 4_000), max_size=12))
def test_the_cut_of_the_stream_makes_no_difference(sizes: list[int]) -> None:
    tone = _tone(440, 0.2)
    whole = Downsampler().add(tone)
    pieces, down, at = b"", Downsampler(), 0
    for size in [*sizes, len(tone)]:
        pieces += down.add(tone[at : at + size])
        at += size

    assert pieces == whole


@pytest.mark.parametrize(
    ("pieces", "sentences", "rest"),
    [
        (["Hello there, caller. How ", "are you"], ["Hello there, caller."], "How are you"),
        (["Yes. No. That will be fine. And"], ["Yes. No. That will be fine."], "And"),
        (["It costs 3.5 dollars and 20 cents"], [], "It costs 3.5 dollars and 20 cents"),
        (["Is that what you want?", " Good"], ["Is that what you want?"], "Good"),
        (["こんにちは、お元気ですか今日は。はい"], ["こんにちは、お元気ですか今日は。"], "はい"),
        (["", "  "], [], ""),
    ],
)
def test_text_is_cut_into_sentences(pieces: list[str], sentences: list[str], rest: str) -> None:
    cutter = Sentences()

    assert [sentence for piece in pieces for sentence in cutter.add(piece)] == sentences
    assert cutter.rest() == rest


@given(st.lists(st.text(alphabet="abc .!?\n", max_size=9)))
def test_no_word_is_lost_in_the_cutting(pieces: list[str]) -> None:
    cutter = Sentences()
    said = [sentence for piece in pieces for sentence in cutter.add(piece)] + [cutter.rest()]

    assert "".join("".join(said).split()) == "".join("".join(pieces).split())


class Ear:
    """A Deepgram ear without a socket, and the turns that it reports."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.ear = DeepgramEar("en", None, Limits())
        self.ear._on_heard = self._heard

    def result(self, text: str, until: float, **flags: bool) -> None:
        alternative: dict[str, Any] = {"transcript": text, "words": []}
        result = {"type": "Results", "start": 0.0, "duration": until, "channel": {"alternatives": [alternative]}}
        self.ear._take(json.dumps({**result, **flags}))

    def _heard(self, heard: Heard) -> None:
        self.turns.append(heard.text)


def test_without_the_lines_ear_deepgram_ends_the_turn() -> None:
    ear = Ear()

    ear.result("I need", 1.0, is_final=True)
    ear.result("a taxi", 2.0, is_final=True, speech_final=True)

    assert ear.turns == ["I need a taxi"]


def test_a_pause_while_the_line_hears_speech_does_not_end_the_turn() -> None:
    ear = Ear()
    ear.ear.on_speech(Speech(started=True, at_ms=0))

    ear.result("I need", 1.0, is_final=True, speech_final=True)

    assert ear.turns == []


def test_interim_results_are_replaced_by_final_ones() -> None:
    ear = Ear()

    ear.result("I knee", 1.0)
    ear.result("I need", 1.1, is_final=True)
    ear.result("", 1.5, is_final=True, speech_final=True)

    assert ear.turns == ["I need"]


def test_a_result_about_a_turn_that_is_over_is_ignored() -> None:
    ear = Ear()
    ear.result("yes", 1.0, is_final=True, speech_final=True)

    ear.result("yes", 1.0, is_final=True, from_finalize=True)

    assert ear.turns == ["yes"]


def test_messages_of_other_types_are_ignored_and_nonsense_is_reported() -> None:
    ear = Ear()

    ear.ear._take('{"type": "Metadata", "channels": 1}')
    with pytest.raises(ProviderError):
        ear.ear._take("<html>")

    assert ear.turns == []


async def _pieces(*pieces: str) -> AsyncGenerator[str, None]:
    for piece in pieces:
        yield piece


async def test_a_stream_in_time_is_passed_on() -> None:
    assert [piece async for piece in paced(_pieces("a", "b"), "X", Limits())] == ["a", "b"]


def _call(**changes: Any) -> Any:
    return call_for(AgentDefinition(AgentKind.CHAIN, **changes))


def test_arguments_that_are_no_json_are_told_to_the_model() -> None:
    line = FakeLine()

    ran = Toolbox(_call(), line).run("press_keys", '{"digits": ')

    assert "error" in json.loads(ran.result)
    assert line.all("action")[0][3] is True


def test_consent_is_a_tool_only_where_it_is_asked() -> None:
    asks = _call(record=True, consent=Consent.ASK)

    assert [tool.name for tool in Toolbox(asks, FakeLine()).tools][-1] == "recording_consent"
    assert len(Toolbox(_call(), FakeLine()).tools) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"initial_message": "Hi."}, "Hi."),
        ({"initial_message": "Hi.", "agent_speaks_first": False}, None),
        ({"initial_message": "Hi.", "consent": Consent.NOTICE, "recording_notice": "Recorded."}, "Hi."),
        ({"record": True, "consent": Consent.NOTICE, "recording_notice": "Recorded."}, "Recorded."),
        ({"record": True, "consent": Consent.NOTICE, "initial_message": "Hi."}, "This call is recorded. Hi."),
        ({"record": True, "consent": Consent.ASK, "initial_message": "Hi."}, "May we record this call?"),
    ],
)
def test_what_is_said_first(changes: dict[str, Any], words: str | None) -> None:
    assert opening(_call(**changes)) == words


def test_the_model_is_told_the_greeting_that_follows_the_question_for_consent() -> None:
    told = instructions(_call(prompt="Be kind.", record=True, consent=Consent.ASK, initial_message="Hi {you}."))

    assert told.startswith("Be kind.")
    assert "Hi {you}." in told


def test_a_model_that_the_caller_forestalled_still_tells_of_the_recording() -> None:
    notice = {"consent": Consent.NOTICE, "recording_notice": "We record."}

    assert "We record." in instructions(_call(record=True, **notice))
    assert "We record." not in instructions(_call(record=False, **notice))


def test_a_model_waits_for_a_machines_beep_only_where_it_is_to_leave_a_message() -> None:
    assert "Say nothing" in machine_answered(_call(machine=MachinePolicy.LEAVE_MESSAGE))
    assert "Say nothing" not in machine_answered(_call(machine=MachinePolicy.REPORT))


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        (AgentKind.CHAIN, {"stt": "whisper"}, "stt"),
        (AgentKind.CHAIN, {"base_url": "http://10.0.0.1"}, "base_url"),
        (AgentKind.OPENAI_REALTIME, {"turn_detection": "none"}, "turn_detection"),
    ],
)
def test_options_are_checked_before_any_call(kind: AgentKind, options: dict[str, str], named: str) -> None:
    with pytest.raises(DefinitionError, match=rf"options: .*{named}"):
        check_options(AgentDefinition(kind, options=options))
