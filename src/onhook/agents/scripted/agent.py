"""The scripted agent: the default that needs no network, no key and no download.

All calls of a process share one `Synthesiser` and one `Recogniser`.
"""

from functools import cache

from onhook.agents.agent import Agent, AgentError, CallMedia, QuietAgent
from onhook.agents.definition import DefinitionError
from onhook.agents.messages import CallInfo, Cue, Speech
from onhook.agents.scripted.dialogue import Dialogue
from onhook.agents.scripted.prompts import stored_prompt
from onhook.agents.scripted.recognition import Recogniser
from onhook.agents.scripted.script import default_script, parse_script
from onhook.agents.scripted.speaker import Speaker
from onhook.agents.scripted.speech import Synthesiser
from onhook.agents.scripted.talk import Talk


class ScriptedAgent:
    """Follows the script of its definition, or the built-in one. Implements `Agent`."""

    def __init__(self, synthesiser: Synthesiser | None = None, recogniser: Recogniser | None = None) -> None:
        self._synthesiser = synthesiser or shared_synthesiser()
        self._recogniser = recogniser or shared_recogniser()
        self._talk: Agent = QuietAgent()

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        """Read the script and have its first words ready. Raises `AgentError` for a script with faults."""
        definition = call.definition
        try:
            script = default_script() if definition.script is None else parse_script(definition.script)
        except DefinitionError as error:
            raise AgentError(str(error)) from error
        dialogue = Dialogue(script, definition)
        speaker = Speaker(self._synthesiser, media, definition)
        in_english = definition.language.lower().partition("-")[0] == "en"
        listens = in_english and self._recogniser.component() == "ok"
        if listens and script.asks:
            self._recogniser.warm()
        talk = self._talk = Talk(definition, dialogue, speaker, media, self._recogniser if listens else None)
        await speaker.prepare(dialogue.opening)
        if self._talk is talk:
            talk.begin()

    def on_audio(self, mulaw: bytes) -> None:
        """See `Agent`."""
        self._talk.on_audio(mulaw)

    def on_dtmf(self, digit: str) -> None:
        """See `Agent`."""
        self._talk.on_dtmf(digit)

    def on_speech(self, speech: Speech) -> None:
        """See `Agent`."""
        self._talk.on_speech(speech)

    def on_interrupted(self, played_ms: int) -> None:
        """See `Agent`."""
        self._talk.on_interrupted(played_ms)

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """See `Agent`."""
        self._talk.on_mark(name, cleared=cleared)

    def on_cue(self, cue: Cue) -> None:
        """See `Agent`."""
        self._talk.on_cue(cue)

    async def stop(self, reason: str) -> None:
        """See `Agent`."""
        self.kill()

    def kill(self) -> None:
        """See `Agent`."""
        self._talk.kill()
        self._talk = QuietAgent()


@cache
def shared_synthesiser() -> Synthesiser:
    """Return what speaks in this process."""
    return Synthesiser(stored_prompt)


@cache
def shared_recogniser() -> Recogniser:
    """Return the recogniser of this process; its child is started by the first call that needs it."""
    return Recogniser()


def components() -> dict[str, str]:
    """Say `ok`, or what is missing, for each part."""
    return {"speech": shared_synthesiser().component(), "recognition": shared_recogniser().component()}


async def warm() -> None:
    """Load what the first call would else wait for (half a second)."""
    default_script()
    await shared_synthesiser().warm()
