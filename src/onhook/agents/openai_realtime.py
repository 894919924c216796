"""A speech-to-speech model behind one websocket: the OpenAI Realtime API.

An interruption is the line's or the provider's, whichever notices first; both cut the item in the model's memory to
what was heard. The API has no temperature. Written against loopback fakes, not run against the live service.
"""

import asyncio
import base64
import logging

from onhook.agents import tools
from onhook.agents.agent import AgentError, CallMedia, QuietAgent
from onhook.agents.definition import BargeIn, DefinitionError
from onhook.agents.messages import CallInfo, Cue, CueKind, Speech
from onhook.agents.model_options import RealtimeOptions, options_of
from onhook.agents.openai_events import ALREADY_ACTIVE, OutputItem, ServerEvent, session
from onhook.agents.openai_responses import ModelSpeech, Responses
from onhook.agents.openai_session import RealtimeSession
from onhook.agents.providers.deadlines import USUAL, Deadline, Limits
from onhook.agents.providers.environment import OPENAI, readiness
from onhook.agents.turns import Hearing, Keypad

log = logging.getLogger(__name__)


def components() -> dict[str, str]:
    """Say whether the key is there."""
    return readiness("openai_realtime", [OPENAI])


class RealtimeAgent(QuietAgent):
    """One session with the model."""

    def __init__(self, limits: Limits = USUAL) -> None:
        self._call: CallInfo
        self._media: CallMedia
        self._toolbox: tools.Toolbox
        self._first_words: tools.FirstWords
        self._hearing: Hearing
        self._responses: Responses
        self._speech: ModelSpeech
        self._deadline = Deadline(self._late)
        self._keypad = Keypad(self._keys)
        self._delay: asyncio.TimerHandle | None = None
        self._listens = False
        self._ending: str | None = None  # why we hang up after the next response
        handlers = {
            "error": self._on_error,
            "input_audio_buffer.speech_started": self._on_speech_started,
            "input_audio_buffer.committed": lambda _event: self._responses.expect(),
            "conversation.item.input_audio_transcription.completed": self._on_heard,
            "response.created": lambda _event: self._responses.begun(),
            "response.output_audio.delta": self._on_audio,
            "response.output_audio_transcript.delta": self._on_text,
            "response.output_audio_transcript.done": self._on_text_done,
            "response.done": self._on_response_done,
        }
        self._session = RealtimeSession(limits, handlers, self._lost)
        self._responses = Responses(self._session.send, self._deadline, limits)

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        """Open the session and configure it. Raises `AgentError`."""
        try:
            options = options_of(call.definition, RealtimeOptions)
        except DefinitionError as error:
            raise AgentError(str(error)) from error
        self._call, self._media = call, media
        self._hearing, self._speech = Hearing(media), ModelSpeech(media, self._session.send)
        self._toolbox, self._first_words = tools.Toolbox(call, media), tools.FirstWords(call, media)
        configuration = session(call.definition, options, tools.instructions(call), self._toolbox.tools)
        await self._session.open(options.model, configuration)
        self._listens = True
        self._delay = asyncio.get_running_loop().call_later(call.definition.initial_delay_ms / 1000, self._greet)

    def on_audio(self, mulaw: bytes) -> None:
        """Pass on the caller's voice; not while we give a notice or say goodbye, which nothing shall interrupt."""
        if self._listens and self._ending is None and not self._first_words.in_progress:
            self._session.send({"type": "input_audio_buffer.append", "audio": mulaw})

    def on_dtmf(self, digit: str) -> None:
        """Collect a key."""
        self._keypad.press(digit)

    def on_speech(self, speech: Speech) -> None:
        """Note when the caller spoke, for the transcript."""
        self._hearing.note(speech)

    def on_interrupted(self, played_ms: int) -> None:
        """Stop the model, and have it remember only what was heard."""
        self._responses.cancel()
        self._speech.cut(played_ms)

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Note what has been heard."""
        self._first_words.on_mark(name)
        self._speech.on_mark(name, cleared=cleared)

    def on_cue(self, cue: Cue) -> None:
        """Have the model say what the call wants said."""
        if cue.kind is CueKind.MACHINE:
            self._session.tell(tools.machine_answered(self._call))
        wanted = tools.wanted(cue)
        if wanted is None or not self._listens:
            return
        if cue.kind in tools.ENDS:
            self._responses.cancel()
            self._speech.hush()
            self._leave(cue.kind.value, wanted)
        else:
            self._respond(wanted)

    async def stop(self, reason: str) -> None:
        """Close the session."""
        self._let_go()
        await self._session.close()

    def kill(self) -> None:
        """Cut the connection."""
        self._let_go()
        self._session.abort()

    # --- what we ask of the model ---

    def _greet(self) -> None:
        words = tools.opening(self._call)
        if words is not None:
            self._respond(tools.EXACTLY.format(text=words))
        elif self._call.definition.agent_speaks_first:
            self._respond(tools.GREET)

    def _keys(self, keys: str) -> None:
        self._session.tell(tools.KEYS_PRESSED.format(keys=keys))
        self._respond()

    def _respond(self, wanted: str | None = None, **more: str) -> None:
        """Ask for a response, after the present one. Its instructions replace the session's, so they repeat them."""
        if self._listens:
            said = {} if wanted is None else {"instructions": f"{tools.instructions(self._call)}\n\n{wanted}"}
            self._responses.ask({**said, **more})

    def _leave(self, reason: str, wanted: str) -> None:
        """Have the last words said, then hang up."""
        self._ending = reason
        self._respond(wanted, tool_choice="none")

    # --- what the provider says ---

    def _on_error(self, event: ServerEvent) -> None:
        error = event.error
        if error is not None and error.code == ALREADY_ACTIVE and self._responses.refused():
            return
        if error is None or error.is_fatal:
            self._session.abort()
            self._lost(f"{OPENAI.name} reported an error: {error}")
        else:
            log.info("call %s: OpenAI did not take an event: %s", self._call.call_id, error)

    def _on_speech_started(self, _event: ServerEvent) -> None:
        interrupts = self._ending is None and not self._first_words.in_progress
        if self._call.definition.barge_in is BargeIn.VAD and interrupts:
            self._deadline.lift()
            self._speech.hush()

    def _on_heard(self, event: ServerEvent) -> None:
        if event.transcript.strip():
            self._hearing.heard(event.transcript.strip())

    def _on_audio(self, event: ServerEvent) -> None:
        self._responses.goes_on()
        self._responses.has_spoken = True
        self._first_words.begin()
        self._speech.audio(event.item_id, base64.b64decode(event.delta))

    def _on_text(self, event: ServerEvent) -> None:
        self._responses.goes_on()
        self._speech.text(event.item_id, event.delta)

    def _on_text_done(self, event: ServerEvent) -> None:
        self._speech.text_done(event.item_id, event.transcript)

    def _on_response_done(self, event: ServerEvent) -> None:
        self._speech.end()
        self._first_words.end()
        response = event.response
        if response is None or response.status == "failed":
            details = None if response is None else response.status_details
            self._session.abort()
            self._lost(f"{OPENAI.name} failed to respond: {details and details.error}")
            return
        calls = [item for item in response.output if item.type == "function_call"]
        farewell = self._run(calls) if response.status == "completed" else None
        if self._responses.done():
            return
        if self._ending is not None:
            self._hang_up(self._ending)
        elif farewell is not None:
            self._say_farewell(farewell)
        elif calls and response.status == "completed":
            self._respond()

    # --- tools, the end ---

    def _run(self, calls: list[OutputItem]) -> tools.Farewell | None:
        """Run what the model calls, tell it the results, return its wish to end the call, if that was among them."""
        farewell = None
        for call in calls:
            ran = self._toolbox.run(call.name or "", call.arguments or "")
            self._session.add({"type": "function_call_output", "call_id": call.call_id, "output": ran.result})
            farewell = ran.farewell or farewell
        return farewell

    def _say_farewell(self, farewell: tools.Farewell) -> None:
        """Have the last words said, unless the model has just said some."""
        words = farewell.words or ("" if self._responses.has_spoken else self._call.definition.goodbye_message)
        if words:
            self._leave(farewell.reason, tools.EXACTLY.format(text=words))
        elif self._responses.has_spoken:
            self._hang_up(farewell.reason)
        else:
            self._leave(farewell.reason, tools.SAY_GOODBYE)

    def _hang_up(self, reason: str) -> None:
        self._let_go()
        self._media.hang_up(reason, drain=True)

    def _late(self, seconds: float) -> None:
        self._session.abort()
        self._lost(f"{OPENAI.name} sent nothing for {seconds:g} s")

    def _lost(self, error: str) -> None:
        """Take the loss of the provider: a farewell is over, or there is no agent any more."""
        if not self._listens:
            return
        if self._ending is not None:
            self._hang_up(self._ending)
        else:
            self._let_go()
            self._media.fail(error)

    def _let_go(self) -> None:
        """Do nothing more on our own account."""
        self._listens = False
        self._deadline.lift()
        self._keypad.lift()
        if self._delay is not None:
            self._delay.cancel()
