"""The conversations of a node: which call gets which agent, when, and that nothing of it stays."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from onhook.agents.definition import LINE_KINDS, AgentDefinition, AgentKind, DefinitionError
from onhook.agents.messages import CallInfo
from onhook.agents.placeholders import variables_of
from onhook.agents.port import AgentPort
from onhook.calls.call import Call
from onhook.calls.call import Farewell as LastWords
from onhook.calls.causes import MAX_CAUSE_TEXT, Cause, Reason
from onhook.clock import Clock
from onhook.control.end import Ending
from onhook.control.live import LiveCalls
from onhook.lines.engine import Answered, Dialed, DtmfReceived, Engine, LegEnded, LegEvent, Provisional, Tick
from onhook.metrics.parts import TalkFigures
from onhook.store.secrets import SecretError
from onhook.store.store import Agent, StopOrder, Store, StoreError
from onhook.voice.call_line import CallLine, Note
from onhook.voice.call_recording import CallRecording, OpenRecording
from onhook.voice.conversation import Conversation, Parts
from onhook.voice.ears import Ears, FitEar
from onhook.voice.farewell import Result, Stage
from onhook.voice.line_agents import LineAgents

logger = logging.getLogger(__name__)

LAST_WORDS: dict[Result, LastWords] = {
    Result.PLAYED: "played",
    Result.TRUNCATED: "truncated",
    Result.SKIPPED: "skipped",
}
"""What the record of a stop tells of a farewell; nothing where none was to be said."""


@dataclass(frozen=True)
class Voice:
    """What conversations are made of.

    `define` reads an agent for a call, and raises `DefinitionError`. `credentials` are what an environment's bots are
    signed with; it may raise `DefinitionError`, `SecretError` or `StoreError`. `agents` returns where agents come from,
    and is asked when a call that needs one is dialled; `prepare_recording` when one that is recorded is. `load_ears`
    blocks.
    """

    store: Store
    live: LiveCalls
    engine: Engine
    clock: Clock
    ending: Ending
    note: Note
    agents: Callable[[], Awaitable[AgentPort]]
    define: Callable[[Agent, Call], AgentDefinition]
    credentials: Callable[[str], Awaitable[dict[str, str]]]
    load_ears: Callable[[], FitEar]
    prepare_recording: Callable[[], Awaitable[None]]
    open_recording: OpenRecording
    greeting: bytes


@dataclass
class Seated:
    """What is known of one call, from its dial to the end of its leg."""

    call: Call
    line: CallLine
    preparing: asyncio.Task[None] | None = None
    info: CallInfo | None = None
    agents: AgentPort | None = None
    """Where its agent comes from; None for one that lives in the line process."""
    fault: str | None = None
    answered_at: float | None = None
    """In the clock's monotonic seconds; None before the answer."""
    begun: bool = False
    conversation: Conversation | None = None
    recording: CallRecording | None = None


class Conversations:
    """Puts agents on answered calls. Call control is told of each event first, except of a leg's end."""

    def __init__(self, voice: Voice) -> None:
        self.figures = TalkFigures()
        self._voice = voice
        self._line_agents = LineAgents(voice.greeting, voice.engine)
        self.ears = Ears(voice.load_ears, self._give_ears)
        self._calls: dict[str, Seated] = {}
        self._stops: set[asyncio.Task[None]] = set()

    @property
    def live(self) -> int:
        """How many calls have an agent process's agent."""
        return sum(seated.conversation is not None for seated in self._calls.values())

    def hang_up(self, call_id: str, reason: str) -> bool:
        """Take an agent's wish to end its call, its last words played first; False when it has no live call."""
        conversation = self._conversation(call_id)
        if conversation is not None:
            conversation.hang_up(reason)
        return conversation is not None

    def talks(self, call_id: str) -> bool:
        """Say whether there is an agent on a call that could be asked for a farewell, or is saying one."""
        conversation = self._conversation(call_id)
        return conversation is not None and conversation.farewell.stage is not Stage.OVER

    def wind_down(
        self, call_id: str, cause: Cause, deadline_ms: int, text: str | None = None, request_id: str | None = None
    ) -> bool:
        """End a call politely (see `Conversation.wind_down`); False when there is no conversation to wind down."""
        conversation = self._conversation(call_id)
        return conversation is not None and conversation.wind_down(cause, deadline_ms, text, request_id)

    def cut_farewell(self, call_id: str) -> LastWords | None:
        """Let no farewell begin or go on, for somebody ends the call; return what became of one that was wished."""
        conversation = self._conversation(call_id)
        if conversation is None:
            return None
        conversation.farewell.cut()
        return LAST_WORDS.get(conversation.farewell.result)

    async def settled(self) -> None:
        """Wait until every stop that was asked for is carried out, and every agent read."""
        while tasks := self._stops | {one.preparing for one in self._calls.values() if one.preparing is not None}:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)

    # --- the line -----------------------------------------------------------------------------------------

    def on_event(self, event: LegEvent) -> None:
        """Take one event of one leg."""
        match event:
            case Dialed(call_id) | Provisional(call_id):  # The second is the first of a call that a far end makes.
                self._enter(call_id)
            case Answered(call_id):
                self._on_answered(call_id)
            case DtmfReceived(call_id, digit=digit):
                conversation = self._conversation(call_id)
                if conversation is not None:
                    conversation.on_dtmf(digit)
            case LegEnded(call_id):
                self._leave(call_id)

    def on_audio(self, call_id: str, frame: bytes) -> None:
        """Take 20 ms of the far end's voice, as it came."""
        self._line_agents.on_audio(call_id, frame)

    def on_tick(self, call_id: str, tick: Tick) -> None:
        """Take 20 ms of a leg that is listened to."""
        seated = self._calls.get(call_id)
        if seated is None:
            return
        if seated.conversation is not None:
            seated.conversation.on_tick(tick)
        elif seated.recording is not None:
            seated.recording.write(tick)

    def on_mark(self, call_id: str, name: str, *, cleared: bool) -> None:
        """Take the echo of a mark."""
        seated = self._calls.get(call_id)
        if seated is not None and seated.conversation is not None:
            seated.conversation.on_mark(name, cleared=cleared)

    def on_cut(self, call_id: str) -> None:
        """A leg is being ended: its agent goes now, what is to be logged waits for the leg's end."""
        seated = self._calls.get(call_id) or self._register(call_id)
        if seated is None:
            return
        self._line_agents.forget(call_id)
        if seated.conversation is not None:
            seated.conversation.cut("the call is being ended")
        seated.line.is_cut = True

    # --- one call's way ------------------------------------------------------------------------------------

    def _enter(self, call_id: str) -> Seated | None:
        """Begin to read what will speak on a call, so that it is at hand when the call is answered."""
        if call_id in self._calls:
            return self._calls[call_id]
        seated = self._register(call_id)
        if seated is not None:
            seated.preparing = asyncio.get_running_loop().create_task(self._prepare(seated))
        return seated

    def _register(self, call_id: str) -> Seated | None:
        call = self._voice.live.get(call_id)
        if call is None:
            return None
        seated = Seated(call, CallLine(call, self._voice.engine, self._voice.note, self._end))
        self._calls[call_id] = seated
        return seated

    async def _prepare(self, seated: Seated) -> None:
        try:
            info = await self._read(seated.call)
            if info.definition.record:
                await self._voice.prepare_recording()
            if info.definition.kind not in LINE_KINDS:
                self.ears.want()
                seated.agents = await self._voice.agents()
            seated.info = info
        except (StoreError, SecretError, DefinitionError) as error:
            seated.fault = str(error)
        except Exception:  # A call that nobody speaks on, and no watchdog looks after, must not go on.
            logger.exception("call %s: its agent could not be prepared", seated.call.id)
            seated.fault = "the agent could not be prepared"
        finally:
            seated.preparing = None
        self._begin(seated)

    async def _read(self, call: Call) -> CallInfo:
        """Return what an agent is told of its call. Raises `StoreError`, `SecretError`, `DefinitionError`."""
        agent = await self._voice.store.get(Agent, call.agent_id, call.environment_id)
        if agent is None:
            raise DefinitionError("the agent is not there any more")
        definition = self._voice.define(agent, call)
        signed = definition.kind is AgentKind.WEBSOCKET
        return CallInfo(
            call_id=call.id,
            sip_call_id=call.sip_call_id,
            agent_id=call.agent_id,
            direction=str(call.direction),
            from_number=call.from_number,
            to_number=call.to_number,
            definition=definition,
            variables=variables_of(call),
            secrets=await self._voice.credentials(call.environment_id) if signed else {},
        )

    def _on_answered(self, call_id: str) -> None:
        seated = self._enter(call_id)
        if seated is not None and seated.answered_at is None:
            seated.answered_at = self._voice.clock.monotonic()
            self._begin(seated)

    def _begin(self, seated: Seated) -> None:
        """Put the agent on the call, once the call is answered, the agent read, and nobody has ended the call."""
        if seated.answered_at is None or seated.begun or seated.line.is_cut:
            return
        if seated.fault is not None:
            seated.begun = True
            logger.error("call %s has no agent: %s", seated.call.id, seated.fault)
            seated.line.end(Cause("system", Reason.AGENT_LOST, text=seated.fault[:MAX_CAUSE_TEXT]))
        elif seated.info is not None:
            seated.begun = True
            self._seat(seated, seated.info, seated.answered_at)

    def _seat(self, seated: Seated, info: CallInfo, answered_at: float) -> None:
        voice, definition = self._voice, info.definition
        if seated.agents is None:
            recording = CallRecording(seated.line, definition, voice.open_recording)
            if recording.wanted:
                seated.recording = recording
                seated.line.listen()
            self._line_agents.begin(seated.call.id, definition.kind)
            return
        open_ear = self.ears.ear(definition)
        parts = Parts(
            seated.line, info, seated.agents, voice.clock, answered_at, voice.open_recording, open_ear, self.figures
        )
        seated.conversation = Conversation(parts)
        seated.conversation.begin()

    def _give_ears(self) -> None:
        """Give an ear to the calls that were answered before the model was there."""
        for seated in self._calls.values():
            conversation, info = seated.conversation, seated.info
            if conversation is not None and info is not None and conversation.needs_ear:
                open_ear = self.ears.ear(info.definition)
                if open_ear is not None:
                    conversation.give_ear(open_ear)

    def _leave(self, call_id: str) -> None:
        """Close all that there is of a call; its last facts are logged now, before its end is."""
        seated = self._calls.pop(call_id, None)
        if seated is None:
            return
        self._line_agents.forget(call_id)
        if seated.preparing is not None:
            seated.preparing.cancel()
        if seated.recording is not None:
            seated.recording.close()
        if seated.conversation is not None:
            seated.conversation.close()
        seated.line.is_cut = True

    # --- ends -----------------------------------------------------------------------------------------------

    def _conversation(self, call_id: str) -> Conversation | None:
        """Return the conversation of a call that nobody is ending."""
        seated = self._calls.get(call_id)
        return None if seated is None or seated.line.is_cut else seated.conversation

    def _end(self, call_id: str, cause: Cause, request_id: str | None) -> None:
        """Have call control end a call, through the one door that there is."""
        order = StopOrder(call_id, cause, self._voice.clock.now_ms(), request_id=request_id)
        task = asyncio.get_running_loop().create_task(self._stop(order))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    async def _stop(self, order: StopOrder) -> None:
        try:
            await self._voice.ending.request_stop(order)
        except StoreError:
            logger.exception("call %s was ended on the wire, its record comes later", order.call_id)
