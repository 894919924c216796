"""One call of the scripted agent: the caller's words and keys go to the dialogue, its turns to the speaker."""

import asyncio

import msgspec

from onhook.agents.agent import CallMedia, QuietAgent
from onhook.agents.definition import AgentDefinition, BargeIn
from onhook.agents.messages import Cue, CueKind, Speech, Word
from onhook.agents.scripted.dialogue import NOTHING, Dialogue, Miss, Phase, Turn
from onhook.agents.scripted.recognition import Recogniser
from onhook.agents.scripted.recognizer import Result
from onhook.agents.scripted.speaker import Speaker
from onhook.agents.scripted.utterance import UtteranceCutter

LONGEST_ANSWER_MS = 1600
"""What takes longer is no answer of one or two words; the recogniser would hear one in it all the same."""


class Talk(QuietAgent):
    """What happens on one call between `begin` and `kill`. Its methods are those of `Agent`."""

    def __init__(
        self,
        definition: AgentDefinition,
        dialogue: Dialogue,
        speaker: Speaker,
        media: CallMedia,
        ear: Recogniser | None,
    ) -> None:
        self._definition = definition
        self._dialogue = dialogue
        self._speaker = speaker
        self._media = media
        self._ear = ear
        self._utterance = UtteranceCutter()
        self._recognising: asyncio.Task[None] | None = None
        self._first_words: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Speak first, after the agent's delay, unless the caller is faster or is to speak first."""
        if self._definition.agent_speaks_first and self._dialogue.phase is Phase.LISTENING:
            self._first_words = asyncio.get_running_loop().call_later(
                self._definition.initial_delay_ms / 1000, lambda: self._perform(self._dialogue.silent())
            )

    def on_audio(self, mulaw: bytes) -> None:
        """Keep what the caller says."""
        self._utterance.add(mulaw)

    def on_speech(self, speech: Speech) -> None:
        """Cut the caller's words out. What is said over a prompt without interrupting it is no answer to it."""
        self._cancel_first_words()
        if speech.started:
            self._utterance.begin()
            return
        audio = self._utterance.end()
        if not self._speaker.speaking:
            self._understand(audio, speech)

    def on_dtmf(self, digit: str) -> None:
        """Take a key as an answer; it cuts a prompt short, unless nothing may."""
        self._perform(self._dialogue.pressed(digit), at_once=self._definition.barge_in is not BargeIn.OFF)

    def on_interrupted(self, played_ms: int) -> None:
        """Stop speaking, listen on."""
        self._speaker.silence()

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Learn what has been heard."""
        self._speaker.on_mark(name)

    def on_cue(self, cue: Cue) -> None:
        """Do what the call wants."""
        match cue.kind:
            case CueKind.STILL_THERE:
                self._perform(self._dialogue.silent())
            case CueKind.FAREWELL:
                self._perform(self._dialogue.farewell(cue.text), at_once=True)
            case CueKind.MACHINE:
                if self._dialogue.machine():
                    self._be_quiet()
            case CueKind.LEAVE_MESSAGE:
                self._perform(self._dialogue.leave_message(cue.text), at_once=True)
            case CueKind.HUMAN:
                self._perform(self._dialogue.human())

    def kill(self) -> None:
        """Stop for good."""
        self._cancel_first_words()
        self._cancel_recognising()
        self._speaker.close()

    # --- listening ------------------------------------------------------------------------------------

    def _understand(self, audio: bytes, speech: Speech) -> None:
        phrases = self._dialogue.expected
        if not phrases:
            self._perform(self._dialogue.heard(None))
        elif self._ear is None:
            self._perform(self._dialogue.missed(Miss.KEYS_ONLY))
        elif speech.duration_ms > LONGEST_ANSWER_MS:
            self._perform(self._dialogue.missed(Miss.TOO_LONG))
        else:
            self._cancel_recognising()
            work = self._recognise(self._ear, audio, phrases, speech)
            self._recognising = asyncio.get_running_loop().create_task(work)

    async def _recognise(self, ear: Recogniser, audio: bytes, phrases: tuple[str, ...], speech: Speech) -> None:
        result = await ear.recognise(audio, phrases)
        self._recognising = None
        phrase = None if result is None else result.phrase
        if result is not None and phrase is not None:
            start_ms = max(0, speech.at_ms - speech.duration_ms)
            self._media.heard(phrase, start_ms, speech.at_ms, words_from(result, start_ms, speech.at_ms))
        self._perform(self._dialogue.heard(phrase))

    # --- acting ---------------------------------------------------------------------------------------

    def _perform(self, turn: Turn, *, at_once: bool = False) -> None:
        """Do what the dialogue wants next, `at_once` by cutting off what is being said."""
        if turn is NOTHING:
            return
        self._cancel_first_words()
        self._cancel_recognising()
        if at_once:
            self._media.clear()
        if turn.consent is not None:
            self._media.consent(granted=turn.consent)
        for action in turn.actions:
            self._media.action(action.name, msgspec.json.encode(action.arguments).decode(), "{}")
        if turn.notice is not None:
            self._speaker.owe_notice(turn.notice)
        self._speaker.say(turn.texts, turn.hang_up)

    def _be_quiet(self) -> None:
        self._cancel_first_words()
        self._cancel_recognising()
        self._speaker.silence()
        self._media.clear()

    def _cancel_first_words(self) -> None:
        if self._first_words is not None:
            self._first_words.cancel()
            self._first_words = None

    def _cancel_recognising(self) -> None:
        if self._recognising is not None:
            self._recognising.cancel()
            self._recognising = None


def words_from(result: Result, start_ms: int, end_ms: int) -> tuple[Word, ...]:
    """Return the words at the call's time: the first one begins with the speech, none goes beyond its end."""
    if not result.words:
        return ()
    shift = start_ms - result.words[0].start_ms
    return tuple(
        Word(spoken.word, min(spoken.start_ms + shift, end_ms), min(spoken.end_ms + shift, end_ms))
        for spoken in result.words
    )
