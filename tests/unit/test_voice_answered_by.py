"""Who answered: the verdict on espeak-ng greetings, counted, and the beep that follows a machine's."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from onhook.agents.definition import AgentDefinition, AgentKind, MachinePolicy
from onhook.lines.engine import Tick
from onhook.voice.answered_by import AnsweredBy, Beep, FirstWords, Verdict
from onhook.voice.ear import Ear, EarEvent
from onhook.voice.turns import Hearing, Onset, TurnMachine
from onhook.voice.vad import WINDOW_MS, load_vad
from tests import speech

pytestmark = pytest.mark.unit

HUMANS = [
    "Hello?",
    "Hello.",
    "Hello? Hello?",
    "Yes?",
    "Yes, speaking.",
    "Yeah, hello?",
    "Hi.",
    "Hi, John speaking.",
    "Hi there. Can I help you?",
    "Hello, Miller.",
    "Hello, this is Anna.",
    "Hello, who is this?",
    "Who is this?",
    "Hello. Who is calling, please?",
    "Good morning.",
    "Smith residence.",
    "Kitchen, Tom here.",
    "Johnson and sons, good morning.",
    "Sales, Maria speaking, good afternoon.",
    "Doctor Brown's office, please hold.",
    "Acme plumbing, this is Bob, how may I help?",
    "Thank you for calling Acme, how can I help you?",
    "Good morning, Acme dental, how can I help you?",
]
MACHINES = [
    "Hi, you have reached John Smith. I can't take your call right now. Please leave a message after the tone.",
    "Hello, this is Anna. I am not available at the moment. Please leave your name and number.",
    "Your call has been forwarded to an automatic voice message system. At the tone, record your message.",
    "The person you are calling is not available. Please leave a message after the beep.",
    "Thank you for calling Acme dental. Our office is currently closed. Our hours are Monday to Friday.",
    "Hey, it's Bob, leave a message.",
    "You have reached the Smith family. We are not home. Leave a message.",
    "Please leave your message after the tone. When done, hang up or press the pound key.",
    "We're sorry, the number you have dialled is not in service. Please check the number and dial again.",
    "Hi. This is the voicemail of Doctor Brown. I am away until Monday.",
    "Hello. You have reached the voicemail box of Sarah Miller. Please leave your message after the beep.",
    "We are currently closed. Please call again tomorrow between nine and five.",
    "The mobile phone you have called is switched off. Please try again later.",
    "Welcome to City Bank. For English, press one. For Spanish, press two.",
    "Sorry I missed your call. Please leave your name and your number after the tone.",
    "This number is not in service. Please check it and dial again.",
]
VOICES = ["en-us", "en-us+f3", "en-gb+m4"]
SPEEDS = [150, 165, 180]
SNRS = [None, 25, 15]

Listen = Callable[[bytes], Iterator[AnsweredBy | Beep]]


@pytest.fixture(scope="module")
def listen() -> Listen:
    """Run an ear over what is heard from the answer on, as long as the test asks for more events."""
    model = load_vad(lambda _judge: None)

    def run(heard: bytes) -> Iterator[AnsweredBy | Beep]:
        events: list[EarEvent] = []
        ear = Ear(model, AgentDefinition(kind=AgentKind.SCRIPTED, machine=MachinePolicy.REPORT), events.append)
        for index, frame in enumerate(speech.frames(heard)):
            tick = Tick(heard=frame, sent=speech.quiet(20), arrived=True)
            ear.hear(tick, 20 * (index + 1), agent_speaking=False)
            model.judge()
            yield from (event for event in events if isinstance(event, AnsweredBy | Beep))
            events.clear()

    return run


def verdicts(listen: Listen, texts: list[str]) -> tuple[Counter[Verdict], list[int]]:
    """Return the verdicts on each text in each voice, and how long after the first word they came."""
    found: Counter[Verdict] = Counter()
    delays = []
    for number, text in enumerate(texts):
        for turn, voice in enumerate(VOICES):
            first_ms = 300 + 100 * (number % 6)
            said = speech.speak(text, voice, SPEEDS[number % 3])
            line = speech.quiet(first_ms) + said + speech.quiet(3600)
            snr_db = SNRS[(number + turn) % 3]
            event = next(listen(line if snr_db is None else speech.with_noise(line, snr_db)))
            assert isinstance(event, AnsweredBy)
            found[event.verdict] += 1
            delays.append(event.at_ms - first_ms)
    return found, delays


@speech.needs_espeak
def test_at_least_nine_of_ten_people_are_people(listen: Listen) -> None:
    """66 of 69; a long company greeting said slowly is taken for a machine."""
    found, delays = verdicts(listen, HUMANS)
    assert found[Verdict.HUMAN] >= 0.9 * found.total()
    assert max(delays) <= 3600


@speech.needs_espeak
def test_at_least_nine_of_ten_machines_are_machines(listen: Listen) -> None:
    """45 of 48; the shortest greeting is taken for a person's where no beep comes soon."""
    found, delays = verdicts(listen, MACHINES)
    assert found[Verdict.MACHINE] >= 0.9 * found.total()
    assert max(delays) <= 3600


@speech.needs_espeak
@pytest.mark.parametrize("text", MACHINES[:4])
@pytest.mark.parametrize("snr_db", [None, 20])
def test_the_beep_comes_after_the_verdict(listen: Listen, text: str, snr_db: float | None) -> None:
    greeting = speech.quiet(400) + speech.speak(text) + speech.quiet(500)
    line = greeting + speech.beep(400) + speech.quiet(2000)
    answered, beep = listen(line if snr_db is None else speech.with_noise(line, snr_db))
    assert isinstance(answered, AnsweredBy)
    assert answered.verdict is Verdict.MACHINE
    assert isinstance(beep, Beep)
    assert 0 <= beep.at_ms - (speech.ms(greeting) + 400) <= 60


@speech.needs_espeak
def test_an_early_beep_gives_a_machine_away_whatever_it_said(listen: Listen) -> None:
    answered, beep = listen(
        speech.quiet(300) + speech.speak("Leave a message.") + speech.quiet(400) + speech.beep(250) + speech.quiet(1000)
    )
    assert isinstance(answered, AnsweredBy)
    assert answered.verdict is Verdict.MACHINE
    assert beep == Beep(answered.at_ms)


@speech.needs_espeak
def test_a_tone_after_a_person_has_answered_is_no_beep(listen: Listen) -> None:
    (answered,) = listen(speech.speak("Hello?") + speech.quiet(1500) + speech.beep(400) + speech.quiet(500))
    assert isinstance(answered, AnsweredBy)
    assert answered.verdict is Verdict.HUMAN


@pytest.mark.parametrize("sound", [speech.quiet(5000), speech.ringback(1), speech.music(5000), speech.noise(5000, -35)])
def test_nobody_is_sure_of_a_line_on_which_nobody_speaks(listen: Listen, sound: bytes) -> None:
    (answered,) = listen(sound)
    assert isinstance(answered, AnsweredBy)
    assert answered.verdict is Verdict.UNSURE
    assert answered.at_ms <= 3540


def test_without_a_policy_nobody_listens_for_a_machine() -> None:
    events: list[EarEvent] = []
    model = load_vad(lambda _judge: None)
    ear = Ear(model, AgentDefinition(kind=AgentKind.SCRIPTED), events.append)
    for index, frame in enumerate(speech.frames(speech.beep(400) + speech.quiet(5000))):
        ear.hear(Tick(heard=frame, sent=speech.quiet(20), arrived=True), 20 * index, agent_speaking=False)
        model.judge()
    assert not events


@pytest.mark.parametrize(
    ("heard", "verdict"),
    [
        pytest.param("." * 20 + "v" * 20 + "." * 40, Verdict.HUMAN, id="a short hello and a pause"),
        pytest.param("." * 20 + "v" * 120, Verdict.MACHINE, id="talks on"),
        pytest.param("." * 20 + ("v" * 25 + "." * 10) * 5, Verdict.MACHINE, id="talks on, with short pauses"),
        pytest.param("." * 20 + "v" * 80 + "." * 40, Verdict.HUMAN, id="a long hello and a pause"),
        pytest.param("." * 20 + "v" * 96 + "." * 40, Verdict.UNSURE, id="stops when time is nearly up"),
        pytest.param("." * 20 + "v" + "." * 120, Verdict.UNSURE, id="a click"),
        pytest.param("." * 105 + "v" * 20 + "." * 40, Verdict.HUMAN, id="a hello when time is nearly up"),
    ],
)
def test_the_verdict_follows_from_the_timing(heard: str, verdict: Verdict) -> None:
    turn, words = TurnMachine(500), FirstWords()
    found = []
    for index, kind in enumerate(heard):
        end_ms = (index + 1) * WINDOW_MS
        turn.hear(Hearing(end_ms, voiced=kind == "v", loud=kind == "v"), Onset(96, 2))
        found.append(words.hear(end_ms, turn))
    assert next(filter(None, found)) is verdict
