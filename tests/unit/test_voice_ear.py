"""The ear on espeak-ng voices: when turns begin and end, what interrupts the agent and what does not."""

from collections.abc import Callable, Sequence
from itertools import product
from statistics import median
from typing import Any, NamedTuple

import pytest

from onhook.agents.definition import AgentDefinition, AgentKind, BargeIn, Sensitivity
from onhook.lines.engine import Tick
from onhook.voice.ear import BargedIn, Ear, EarEvent, SpeechEnded, SpeechStarted
from onhook.voice.vad import WINDOW_MS, VadModel, load_vad
from tests import speech

pytestmark = [pytest.mark.unit, speech.needs_espeak]

VOICES = ["en-us", "en-us+f3", "en-gb+m4"]
PHRASES = ["Wait.", "Hold on.", "No, that is wrong.", "Sorry?", "I have a question.", "Hello?", "Yes."]
AGENT_TEXT = (
    "Good morning. I am calling from the dental practice about your appointment next Tuesday at ten o'clock. "
    "We would like to know whether that still suits you, or whether you want another day."
)
ONSET_MS = 1480
"""When the caller begins, where nothing else is said."""


class Noticed(NamedTuple):
    """An event, and the end of the tick that brought it."""

    now_ms: int
    event: EarEvent


Listen = Callable[..., list[Noticed]]


@pytest.fixture(scope="module")
def model() -> VadModel:
    return load_vad(lambda _judge: None)


@pytest.fixture
def listen(model: VadModel) -> Listen:
    """Run an ear over what is heard, and sent at the same time; the agent speaks as long as something is sent."""

    def run(heard: bytes, sent: bytes = b"", **settings: Any) -> list[Noticed]:
        events: list[EarEvent] = []
        ear = Ear(model, AgentDefinition(**{"kind": AgentKind.SCRIPTED, **settings}), events.append)
        ours = speech.frames(sent)
        found = []
        for index, frame in enumerate(speech.frames(heard)):
            speaking = index < len(ours)
            tick = Tick(heard=frame, sent=ours[index] if speaking else speech.quiet(20), arrived=True)
            now_ms = 20 * (index + 1)
            ear.hear(tick, now_ms, agent_speaking=speaking)
            model.judge()
            found += [Noticed(now_ms, event) for event in events]
            events.clear()
        return found

    return run


@pytest.fixture(scope="module")
def agent() -> bytes:
    return speech.speak(AGENT_TEXT, speed=150)


def interruptions(found: Sequence[Noticed]) -> list[int]:
    return [noticed.now_ms for noticed in found if isinstance(noticed.event, BargedIn)]


# --- turns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [None, 25, 15])
def test_each_utterance_is_one_turn_with_its_true_begin_and_end(listen: Listen, snr_db: float | None) -> None:
    onsets, ends, delays = [], [], []
    for voice, phrase in product(VOICES, PHRASES):
        said = speech.speak(phrase, voice)
        line = speech.quiet(ONSET_MS) + said + speech.quiet(1200)
        heard = line if snr_db is None else speech.with_noise(line, snr_db)
        begin, end = listen(heard)
        assert isinstance(begin.event, SpeechStarted)
        assert isinstance(end.event, SpeechEnded)
        assert end.event.duration_ms == end.event.at_ms - begin.event.at_ms
        onsets.append(begin.event.at_ms - ONSET_MS)
        ends.append(end.event.at_ms - ONSET_MS - speech.ms(said))
        delays.append(begin.now_ms - ONSET_MS)
    assert abs(median(onsets)) <= 32
    assert max(map(abs, onsets)) <= 120
    assert abs(median(ends)) <= 32
    assert max(map(abs, ends)) <= 130
    assert median(delays) <= 120
    assert max(delays) <= 240


@pytest.mark.parametrize(
    ("kind", "pause_ms"), [(AgentKind.SCRIPTED, 400), (AgentKind.WEBSOCKET, 500), (AgentKind.CHAIN, 600)]
)
def test_a_turn_is_over_after_a_pause_that_suits_what_is_said_to_the_agent(
    listen: Listen, kind: AgentKind, pause_ms: int
) -> None:
    heard = speech.quiet(ONSET_MS) + speech.speak("Yes, please.") + speech.quiet(1200)
    end = listen(heard, kind=kind)[-1]
    assert pause_ms - 20 <= end.now_ms - end.event.at_ms <= pause_ms + 60


def test_a_short_pause_within_a_sentence_does_not_end_the_turn_and_a_long_one_does(listen: Listen) -> None:
    for pause_ms, turns in ((300, 1), (900, 2)):
        heard = speech.quiet(500) + speech.talk("I would like", pause_ms, "an appointment.") + speech.quiet(1200)
        assert [type(noticed.event) for noticed in listen(heard)] == [SpeechStarted, SpeechEnded] * turns


def test_a_voice_on_a_call_whose_first_sound_is_the_voice_is_heard(listen: Listen) -> None:
    begin, _ = listen(speech.speak("Hello, who is this?") + speech.quiet(1000))
    assert begin.event.at_ms <= 64


@pytest.mark.parametrize("level_db", [-45, -30, -12])
def test_quiet_and_loud_callers_are_heard(listen: Listen, level_db: float) -> None:
    heard = speech.quiet(ONSET_MS) + speech.speak("I have a question.", level_db=level_db) + speech.quiet(1000)
    assert [type(noticed.event) for noticed in listen(heard)] == [SpeechStarted, SpeechEnded]


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(speech.ringback(1), id="ringback"),
        pytest.param(speech.busy(), id="busy"),
        pytest.param(speech.dtmf("0123456789*#"), id="keys"),
        pytest.param(speech.beep(1000), id="beep"),
        pytest.param(speech.music(6000), id="music"),
        pytest.param(speech.noise(5000, -30), id="noise"),
        pytest.param(speech.quiet(1000) + speech.noise(2000, -25) + speech.quiet(1000), id="a burst of noise"),
    ],
)
def test_sounds_of_the_line_are_no_turns_and_interrupt_nobody(listen: Listen, agent: bytes, sound: bytes) -> None:
    assert listen(sound) == []
    assert listen(sound, agent) == []


# --- interruptions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_ms", [900, 3037])
def test_a_caller_who_talks_over_the_agent_interrupts_it_within_200_ms(
    listen: Listen, agent: bytes, at_ms: int
) -> None:
    delays = []
    for voice, phrase in product(VOICES, PHRASES):
        found = listen(speech.quiet(at_ms) + speech.speak(phrase, voice) + speech.quiet(300), agent)
        assert isinstance(found[0].event, SpeechStarted)
        assert isinstance(found[1].event, BargedIn)
        assert found[1].event.at_ms == found[1].now_ms
        delays.append(interruptions(found)[0] - at_ms)
    assert median(delays) <= 160
    assert sum(delay <= 200 for delay in delays) >= 0.95 * len(delays)


@pytest.mark.parametrize("echo_db", [-12, -20])
@pytest.mark.parametrize("delay_ms", [0, 10, 75, 315])
def test_the_echo_of_the_agent_does_not_interrupt_it_and_is_no_turn(
    listen: Listen, agent: bytes, echo_db: float, delay_ms: int
) -> None:
    echo = speech.quiet(delay_ms) + speech.louder(agent, echo_db) + speech.quiet(800)
    assert listen(echo, agent) == []
    assert listen(speech.mix(echo, speech.noise(speech.ms(echo), -50)), agent) == []


def test_the_caller_is_heard_over_the_echo_of_the_agent(listen: Listen, agent: bytes) -> None:
    delays = []
    echo = speech.quiet(75) + speech.louder(agent, -12)
    for voice, phrase in product(VOICES, PHRASES):
        caller = speech.quiet(3037) + speech.speak(phrase, voice) + speech.quiet(1000)
        first, *_ = interruptions(listen(speech.mix(caller, echo[: len(caller)]), agent))
        delays.append(first - 3037)
    assert min(delays) > 0
    assert median(delays) <= 200
    assert max(delays) <= 700


def test_an_echo_that_begins_in_the_middle_of_the_call_interrupts_once(model: VadModel, agent: bytes) -> None:
    """The agent falls silent when it is interrupted, and tries again 2 s later."""
    found: list[EarEvent] = []
    ear = Ear(model, AgentDefinition(kind=AgentKind.SCRIPTED), found.append)
    sent, interrupted = [speech.quiet(20)] * 5, []
    for attempt in range(4):
        words = speech.frames(agent)
        silence = 100
        while words or silence:
            ours = words.pop(0) if words else speech.quiet(20)
            silence -= not words
            sent.append(ours)
            tick = Tick(heard=speech.louder(sent[-6], -12 if attempt else -99), sent=ours, arrived=True)
            found.clear()
            ear.hear(tick, 20 * len(sent), agent_speaking=bool(words))
            model.judge()
            if any(isinstance(event, BargedIn) for event in found):
                interrupted.append(attempt)
                words = []
    assert interrupted == [1]


def test_sensitivity_says_how_long_the_caller_must_talk(listen: Listen, agent: bytes) -> None:
    callers = [speech.quiet(3000) + speech.speak(phrase) + speech.quiet(300) for phrase in PHRASES]
    total = [
        sum(interruptions(listen(caller, agent, sensitivity=sensitivity))[0] for caller in callers)
        for sensitivity in (Sensitivity.HIGH, Sensitivity.MEDIUM, Sensitivity.LOW)
    ]
    assert total == sorted(set(total))


@pytest.mark.parametrize("barge_in", [BargeIn.OFF, BargeIn.DTMF])
def test_a_voice_interrupts_nobody_where_it_may_not_but_its_turn_is_told(
    listen: Listen, agent: bytes, barge_in: BargeIn
) -> None:
    caller = speech.quiet(3000) + speech.speak("I have a question.") + speech.quiet(1000)
    found = listen(caller, agent, barge_in=barge_in)
    assert [type(noticed.event) for noticed in found] == [SpeechStarted, SpeechEnded]


def test_the_agent_is_interrupted_once_however_long_the_caller_goes_on(listen: Listen, agent: bytes) -> None:
    caller = speech.quiet(1000) + speech.speak("No, that is wrong, for I have never been to your practice in my life.")
    assert len(interruptions(listen(caller, agent))) == 1


def test_a_caller_who_goes_on_while_the_agent_begins_interrupts_it(listen: Listen, agent: bytes) -> None:
    caller = speech.speak("No, that is wrong, for I have never been to your practice in my life.")
    found = listen(caller, speech.quiet(0))
    assert interruptions(found) == []
    (first,) = interruptions(listen(caller + speech.quiet(300), agent))
    assert first < 1000


# --- a loop that was held up ----------------------------------------------------------------------------


@pytest.mark.parametrize("delay_ms", [200, 400])
def test_an_echo_that_is_judged_late_is_not_taken_for_the_caller(model: VadModel, agent: bytes, delay_ms: int) -> None:
    stall = slice(200, 250)
    ours = speech.frames(agent)
    ours[stall] = [speech.quiet(20)] * 50
    echo = speech.frames(speech.louder(speech.quiet(delay_ms) + b"".join(ours), -8))
    events: list[EarEvent] = []
    ear = Ear(model, AgentDefinition(AgentKind.SCRIPTED), events.append)
    for index, (sent, heard) in enumerate(zip(ours, echo, strict=False)):
        ear.hear(Tick(heard=heard, sent=sent, arrived=True), 20 * (index + 1), agent_speaking=True)
        if not stall.start <= index < stall.stop - 1:
            model.judge()
    assert events == []


def test_what_comes_at_once_after_a_stall_was_said_one_after_the_other(model: VadModel) -> None:
    said = speech.speak("I have a question.")
    line = speech.quiet(1000) + said + speech.quiet(1000)
    events: list[EarEvent] = []
    ear = Ear(model, AgentDefinition(AgentKind.SCRIPTED), events.append)
    for frame in speech.frames(line):
        ear.hear(Tick(heard=frame, sent=speech.quiet(20), arrived=True), speech.ms(line), agent_speaking=False)
    for _ in range(speech.ms(line) // WINDOW_MS):
        model.judge()
    begin, end = events
    assert isinstance(begin, SpeechStarted)
    assert isinstance(end, SpeechEnded)
    assert begin.at_ms == pytest.approx(1000, abs=100)
    assert end.at_ms == pytest.approx(1000 + speech.ms(said), abs=100)


# --- a model that failed --------------------------------------------------------------------------------


def test_a_turn_is_told_with_its_true_times_after_windows_that_the_model_could_not_judge(
    model: VadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[EarEvent] = []
    ear = Ear(model, AgentDefinition(AgentKind.SCRIPTED), events.append)
    said = speech.speak("Hold on.")
    heard = speech.frames(speech.quiet(ONSET_MS) + said + speech.quiet(1200))
    with monkeypatch.context() as patch:
        patch.setattr(model, "_session", None)
        for index, frame in enumerate(heard[:50]):
            ear.hear(Tick(heard=frame, sent=speech.quiet(20), arrived=True), 20 * (index + 1), agent_speaking=False)
            model.judge()
    for index, frame in enumerate(heard[50:], 50):
        ear.hear(Tick(heard=frame, sent=speech.quiet(20), arrived=True), 20 * (index + 1), agent_speaking=False)
        model.judge()
    begin, end = events
    assert isinstance(begin, SpeechStarted)
    assert isinstance(end, SpeechEnded)
    assert abs(begin.at_ms - ONSET_MS) <= 120
    assert abs(end.at_ms - ONSET_MS - speech.ms(said)) <= 130
