"""The recogniser in its child process: right words, and what happens when it dies, hangs or has too much to do."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.agents.messages import Word
from onhook.agents.scripted.dialogue import DECOYS, GOODBYE, NO, REPEAT, YES
from onhook.agents.scripted.recognition import MISSING, Recogniser
from onhook.agents.scripted.recognizer import Result, Spoken
from onhook.agents.scripted.script import phrases_for
from onhook.agents.scripted.talk import words_from
from tests.speech import frames, ms, needs_espeak, quiet, speak, with_noise
from tests.unit.scripted_call import ScriptedCall, needs_pocketsphinx

pytestmark = [pytest.mark.unit, needs_pocketsphinx]

GRAMMAR = (*YES, *NO, *GOODBYE, *REPEAT, *DECOYS)
MEANINGS = {phrase: words[0] for words in (YES, NO, GOODBYE, REPEAT, DECOYS) for phrase in words}
SAYS_NOTHING = (sys.executable, "-c", "import sys; sys.stdin.read()")
EXITS = (sys.executable, "-c", "import sys; open(sys.argv[-2], 'a').write('started ')")


@pytest.fixture(scope="module")
def ear() -> Iterator[Recogniser]:
    recogniser = Recogniser()
    recogniser.warm()
    yield recogniser
    recogniser.close()
    assert children() == []


def children() -> list[int]:
    """Return the recognisers that are our children."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if b"recognizer" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def on_the_line(text: str, voice: str = "en-us", snr_db: float | None = None) -> bytes:
    audio = quiet(400) + speak(text, voice) + quiet(500)
    return audio if snr_db is None else with_noise(audio, snr_db)


async def answer(ear: Recogniser, audio: bytes, phrases: tuple[str, ...] = GRAMMAR) -> str | None:
    """Ask until the child is up: it may be just starting."""
    async with asyncio.timeout(30):
        while (result := await ear.recognise(audio, phrases)) is None:
            pass
    return result.phrase


@needs_espeak
async def test_at_least_95_of_100_answers_are_understood_at_8_khz(ear: Recogniser) -> None:
    said = {phrase: MEANINGS[phrase] for phrase in (*YES, *NO, "goodbye", "bye bye", "repeat")} | {"yeah": "yes"}
    wrong, total = [], 0
    for text, meaning in said.items():
        for voice in ("en-us", "en-gb", "en-us+f3"):
            for snr_db in (None, 15):
                heard = await answer(ear, on_the_line(text, voice, snr_db))
                total += 1
                if heard is None or MEANINGS[heard] != meaning:
                    wrong.append((text, voice, snr_db, heard))
    assert len(wrong) <= 0.05 * total, wrong


@needs_espeak
async def test_words_are_told_with_their_place(ear: Recogniser) -> None:
    audio = on_the_line("yes please")
    await answer(ear, audio)
    result = await ear.recognise(audio, GRAMMAR)
    assert result is not None
    assert [spoken.word for spoken in result.words] == ["yes", "please"]
    assert 250 < result.words[0].start_ms < 500
    assert result.words[0].end_ms <= result.words[1].start_ms
    assert abs(result.words[1].end_ms - (400 + ms(speak("yes please")))) < 200


def test_words_are_put_at_the_time_of_the_call() -> None:
    result = Result("yes please", (Spoken("yes", 300, 620), Spoken("please", 630, 1000)))
    assert words_from(result, 5000, 5600) == (Word("yes", 5000, 5320), Word("please", 5330, 5600))


@needs_espeak
async def test_words_that_are_in_no_dictionary_spoil_nothing_and_are_told_once(
    ear: Recogniser, caplog: pytest.LogCaptureFixture
) -> None:
    assert await answer(ear, on_the_line("yes"), ("yes", "no", "xqzzt", "yes xqzzt")) == "yes"
    result = await ear.recognise(on_the_line("yes"), ("xqzzt",))
    assert result == Result(None, (), ("xqzzt",))
    assert caplog.text.count("xqzzt") == 1


@needs_espeak
async def test_grammars_come_and_go_without_end(ear: Recogniser) -> None:
    for number in range(100):
        word = ("red", "green", "blue", "black", "white")[number % 5]
        assert await answer(ear, quiet(200), (word, f"{word} " * (number // 20 + 1) + "now")) is None
    assert await answer(ear, on_the_line("no")) in NO


@needs_espeak
async def test_a_whole_dialogue_by_ear(ear: Recogniser) -> None:
    phrases = phrases_for("en")
    call = await ScriptedCall(ear=ear).begin()
    await call.listened()
    await answer(ear, on_the_line("no"))

    async def say(text: str) -> str:
        call.starts_speaking()
        audio = on_the_line(text, snr_db=20)
        for frame in frames(audio):
            call.agent.on_audio(frame)
        call.stops_speaking(ms(speak(text)))
        return await call.listened()

    assert (await say("I am not so sure who you are and what you want from me.")).startswith("Sorry, please say yes")
    assert await say("goodbye") == phrases.confirm_goodbye
    assert (await say("no")).startswith("Can you hear me well?")
    assert await say("goodbye") == phrases.confirm_goodbye
    assert await say("yes") == phrases.farewell
    await call.until("hang_up")


# --- faults -------------------------------------------------------------------------------------------


@needs_espeak
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_recogniser_that_is_killed_or_hangs_costs_one_answer(ear: Recogniser, sign: signal.Signals) -> None:
    await answer(ear, on_the_line("no"))
    (child,) = children()
    os.kill(child, sign)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await ear.recognise(on_the_line("yes"), GRAMMAR) is None
    assert loop.time() - began < 1.5
    assert await answer(ear, on_the_line("yes")) == "yes"
    (successor,) = children()
    assert successor != child


async def test_a_recogniser_that_does_not_start_is_not_started_again_and_again(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    recogniser = Recogniser((*EXITS, str(starts)))
    for _ in range(5):
        assert await recogniser.recognise(quiet(500), ("yes",)) is None
    assert starts.read_text() == "started "
    recogniser.close()


async def test_one_that_never_gets_ready_holds_up_nobody_for_more_than_a_second() -> None:
    recogniser = Recogniser(SAYS_NOTHING)
    loop = asyncio.get_running_loop()
    began = loop.time()
    results = await asyncio.gather(*(recogniser.recognise(quiet(500), ("yes",)) for _ in range(100)))
    assert results == [None] * 100
    assert loop.time() - began < 1.5


@needs_espeak
async def test_answers_beyond_what_it_can_take_are_no_match_at_once(ear: Recogniser) -> None:
    await answer(ear, on_the_line("no"))
    results = await asyncio.gather(*(ear.recognise(on_the_line("no"), GRAMMAR) for _ in range(200)))
    assert 1 <= sum(result is not None for result in results) <= 40
    assert threading.active_count() < 10


def test_without_pocketsphinx_the_components_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    assert Recogniser().component() == MISSING


def test_a_pocketsphinx_that_cannot_be_loaded_is_told_by_the_components(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pocketsphinx.py").write_text("raise ImportError('libpulse.so.0: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pocketsphinx", raising=False)
    assert Recogniser().component() == (
        "pocketsphinx cannot be loaded (libpulse.so.0: cannot open shared object file): callers answer with keys only"
    )


PARENT = """
import asyncio, time
from onhook.agents.scripted.recognition import Recogniser
ear = Recogniser()
while asyncio.run(ear.recognise(b"\\xff" * 4000, ("yes",))) is None: pass
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.usefixtures("ear")
def test_the_recogniser_dies_with_its_parent_even_while_stopped() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        tasks = Path(f"/proc/{parent.pid}/task").iterdir()
        (child,) = (int(pid) for task in tasks for pid in (task / "children").read_text().split())
        watched = os.pidfd_open(child)
        os.kill(child, signal.SIGSTOP)
    finally:
        parent.kill()
        parent.communicate()
    with os.fdopen(watched) as descriptor:
        gone, _, _ = select.select([descriptor], [], [], 10)
    assert gone
