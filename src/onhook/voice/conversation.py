"""One answered call and its agent: what is heard goes to the agent, what it says is played, and the call decides.

A conversation is fed by the line's ticks, marks and keys and by its agent's messages. It never waits: it has no task of
its own, only a few timers. It plays, it logs, and it may ask for the call's end; nothing in it can hold up an end that
somebody else asked for. Times are ms since the answer.
"""

import logging
from dataclasses import dataclass, field

from onhook.agents.definition import BargeIn
from onhook.agents.messages import (
    Acted,
    CallInfo,
    Clear,
    Consented,
    Cue,
    CueKind,
    Dtmf,
    Failed,
    FromAgent,
    Gone,
    HangUp,
    Heard,
    Interrupted,
    Lost,
    MarkAsked,
    Marked,
    Notice,
    Play,
    PressKeys,
    Say,
    Speech,
    Started,
)
from onhook.agents.port import AgentPort
from onhook.calls.call import EventType
from onhook.calls.causes import MAX_CAUSE_TEXT, Cause, Reason
from onhook.clock import Clock, Timer
from onhook.lines.engine import Tick
from onhook.metrics.parts import TalkFigures
from onhook.voice import watchdogs
from onhook.voice.answered_by import AnsweredBy, Beep
from onhook.voice.call_line import CallLine
from onhook.voice.call_recording import CallRecording, OpenRecording
from onhook.voice.ear import BargedIn, EarEvent, SpeechEnded, SpeechStarted
from onhook.voice.ears import OpenEar
from onhook.voice.farewell import FAREWELL, Farewell
from onhook.voice.mouth import UTTERANCE, Mouth
from onhook.voice.seat import Seat
from onhook.voice.transcript import Transcript, Turn
from onhook.voice.voicemail import Stage, Voicemail
from onhook.voice.watchdogs import Clocks, Idle

logger = logging.getLogger(__name__)

CHECK_S = 0.1
"""How often the watchdogs look."""

APOLOGY_LIMIT_MS = 10_000
"""How long an apology for a lost agent may take, its own agent's start included."""

GOODBYE_LEAD_MS = 5_000
"""How long before the maximum duration a farewell is asked for; a quarter of the duration where that is less."""

MAX_LOGGED = 4_000
"""Characters of a tool call's arguments and result that are kept."""

AGENT_MARK = "agent:"
"""What is put before the agent's own marks, so that they cannot be taken for ours."""


@dataclass(frozen=True)
class Parts:
    """What a conversation is made with. `answered_at` is the moment of the answer, in the clock's monotonic seconds."""

    line: CallLine
    info: CallInfo
    agents: AgentPort
    clock: Clock
    answered_at: float
    open_recording: OpenRecording
    open_ear: OpenEar | None = None
    figures: TalkFigures = field(default_factory=TalkFigures)


class Conversation:
    """The agent on one call; see the module."""

    def __init__(self, parts: Parts) -> None:
        self._line = parts.line
        self._info = parts.info
        self._clock = parts.clock
        self._answered_at = parts.answered_at
        self._hearing = None if parts.open_ear is None else parts.open_ear(self._on_ear)
        self._agent = parts.info.definition
        self._clocks = Clocks(hearing=self._hearing is not None)
        self._figures = parts.figures
        self._transcript = Transcript(self._line, self._figures.replies)
        self._mouth = Mouth(self._line, self._transcript)
        self._recording = CallRecording(self._line, self._agent, parts.open_recording)
        self._voicemail = Voicemail(
            self._line,
            self._clock,
            self._agent,
            hush=self._hush,
            cue=self._cue,
            ask=self._ask_farewell,
            announce=self._announce,
        )
        self.farewell = Farewell(self._line, self._clock, self._spoke_since, self._on_farewell_played)
        self._seat = Seat(parts.agents, self._on_agent)
        self._timers: dict[str, Timer] = {}
        self._conversing = False
        self._closed = False

    @property
    def needs_ear(self) -> bool:
        """True while nothing tells the caller's voice from silence."""
        return self._hearing is None and not self._line.is_cut

    def begin(self) -> None:
        """Put the agent on the call and listen."""
        self._line.listen()
        self._seat.offer(self._info)
        self._watch()
        if self._agent.goodbye_on_max_duration:
            self._prepare_goodbye(self._line.call.max_duration_ms)

    def give_ear(self, open_ear: OpenEar) -> None:
        """Hear from now on: the model came later than the call."""
        self._hearing = open_ear(self._on_ear)
        self._clocks.hearing = True

    def hang_up(self, reason: str) -> None:
        """Take the agent's wish to end the call, as it may come by another way: what it has said is played first."""
        self._mouth.hushed = False
        self.farewell.hang_up(reason, self._agent.drain_ms)

    def wind_down(self, cause: Cause, deadline_ms: int, text: str | None = None, request_id: str | None = None) -> bool:
        """Have the agent say `text`, or a farewell of its own, and end the call for `cause`, at most `deadline_ms` on.

        False when a farewell is under way already, which goes on as it is.
        """
        asked = self.farewell.ask(cause, deadline_ms, request_id)
        if asked:
            self._cue(CueKind.FAREWELL, text)
        return asked

    def cut(self, reason: str) -> None:
        """The call is being ended: the agent has to go, at once, and nothing more is said or asked for."""
        if self._line.is_cut:
            return
        self._line.is_cut = True
        self.farewell.cut()
        self._voicemail.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._seat.clear(reason)

    def close(self) -> None:
        """Log what is left to log; the leg is gone."""
        if self._closed:
            return
        self._closed = True
        self.cut("the call is over")
        self._mouth.close()
        self._recording.close()
        summary = self._transcript.summary() | {"farewell": str(self.farewell.result)}
        self._line.note(EventType.CONVERSATION_ENDED, summary)

    # --- the line -----------------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> None:
        """Take 20 ms of both sides."""
        if self._line.is_cut:
            return
        now = self._now()
        self._recording.write(tick)
        self._clocks.held = tick.held
        if tick.arrived:
            self._clocks.packet_at = now
        if self._mouth.on_sent(tick.sent, now):
            self._clocks.agent_at = now
        self._seat.audio(tick.heard)
        if self._hearing is not None:
            self._hearing.hear(tick, now, agent_speaking=self._mouth.speaking)

    def on_mark(self, name: str, *, cleared: bool) -> None:
        """Take the echo of a mark, ours or the agent's."""
        if self._line.is_cut:
            return
        if name.startswith(AGENT_MARK):
            self._seat.tell(Marked(name.removeprefix(AGENT_MARK), cleared))
        elif cleared:
            return  # We dropped what was before it, and know.
        elif name.startswith(UTTERANCE):
            self._mouth.on_mark(name, self._now())
        elif name == FAREWELL:
            self.farewell.on_mark()

    def on_dtmf(self, digit: str) -> None:
        """Take a key of the caller."""
        if self._line.is_cut:
            return
        self._clocks.caller_heard(self._now())
        if self._agent.barge_in is not BargeIn.OFF:
            self._interrupt()
        self._seat.tell(Dtmf(digit))

    def _on_ear(self, event: EarEvent) -> None:
        if self._line.is_cut:
            return
        match event:
            case SpeechStarted(at_ms):
                self._clocks.caller_heard(self._now())
                self._clocks.caller_speaking = True
                self._note_beginning(at_ms)
                self._seat.tell(Speech(started=True, at_ms=at_ms))
            case SpeechEnded(at_ms, duration_ms):
                self._clocks.caller_speaking = False
                self._transcript.caller_ended(at_ms)
                self._seat.tell(Speech(started=False, at_ms=at_ms, duration_ms=duration_ms))
            case BargedIn(since_ms=since_ms):
                if self._interrupt():
                    self._figures.barge_in.observe((self._now() - since_ms) / 1000)
            case AnsweredBy(verdict):
                self._voicemail.on_verdict(verdict)
            case Beep():
                self._voicemail.on_beep()

    def _note_beginning(self, at_ms: int) -> None:
        if not self._conversing:
            self._conversing = True
            self._line.note(EventType.CONVERSATION_STARTED, {"at_ms": at_ms})

    def _interrupt(self) -> bool:
        """Silence the agent that the caller talks over; False for last words, a notice, and where nothing is said."""
        if self.farewell.in_progress or self._mouth.unbroken or not self._mouth.speaking:
            return False
        self._seat.tell(Interrupted(self._mouth.played_ms))
        return self._mouth.interrupt()

    # --- the agent ----------------------------------------------------------------------------------------

    def _on_agent(self, message: FromAgent) -> None:
        match message:
            case Say() | Play() | MarkAsked() | Clear() | PressKeys():
                self._on_voice(message)
            case HangUp(reason, drain=True):
                self.hang_up(reason)
            case HangUp(reason):
                self.farewell.hang_up_now(reason)
            case Heard():
                self._on_heard(message)
            case Acted():
                self._on_acted(message)
            case Consented(granted):
                self._recording.consented(granted=granted)
            case Notice(begins):
                if self._mouth.notice(begins=begins):
                    self._recording.noticed()
            case Started():
                self._on_started()
            case Failed(error):
                started = self._clocks.started_at is not None
                self._on_lost(Reason.AGENT_LOST if started else Reason.AGENT_START_TIMEOUT, error)
            case Lost(error):
                self._on_lost(Reason.AGENT_LOST, error)
            case Gone():
                self._on_lost(Reason.AGENT_LOST, "the agent left")

    def _on_voice(self, message: Say | Play | MarkAsked | Clear | PressKeys) -> None:
        match message:
            case Play(mulaw):
                self._mouth.play(mulaw, self._now())
            case Say(text):
                self._mouth.say(text)
            case MarkAsked(name):
                self._mark(name)
            case Clear() if not self._mouth.unbroken:
                self._clear()
            case PressKeys(digits):
                self._press(digits)

    def _on_started(self) -> None:
        first, self._clocks.started_at = self._clocks.started_at is None, self._now()
        if first and not self.farewell.in_progress:
            kind = str(self._agent.kind)
            self._line.note(EventType.AGENT_STARTED, {"kind": kind, "start_ms": self._clocks.started_at})

    def _mark(self, name: str) -> None:
        if self._mouth.hushed:
            self._seat.tell(Marked(name, cleared=True))
        else:
            self._line.mark(f"{AGENT_MARK}{name}")

    def _clear(self) -> None:
        """Drop what is queued, unless the agent has hung up: its last words are to be heard."""
        if not self.farewell.is_draining:
            self._mouth.interrupt()

    def _on_heard(self, heard: Heard) -> None:
        self._clocks.caller_heard(self._now())
        self._note_beginning(heard.start_ms)
        self._transcript.add(Turn("user", heard.text, heard.start_ms, heard.end_ms, heard.words))

    def _on_acted(self, acted: Acted) -> None:
        self._clocks.tool_calls += 1
        data: dict[str, str] = {"name": acted.name}
        if self._line.keeps_words:
            data |= {"arguments": acted.arguments[:MAX_LOGGED], "result": acted.result[:MAX_LOGGED]}
        self._line.note(EventType.ACTION_FAILED if acted.failed else EventType.ACTION, data)

    def _press(self, digits: str) -> None:
        try:
            unsent = self._line.press(digits)
        except ValueError:
            logger.warning("call %s: the agent pressed a key that no phone has", self._line.call.id)
        else:
            if unsent:
                logger.warning("call %s: too much is to be played, %d keys are dropped", self._line.call.id, unsent)

    def _on_lost(self, reason: Reason, error: str) -> None:
        """The agent is gone: end the call, after the words its maker has for that; not to a machine before its beep."""
        self._seat.clear("the agent was lost")
        logger.warning("call %s: its agent is lost: %s", self._line.call.id, error)
        if self.farewell.in_progress:
            self.farewell.lose()
            return
        cause = Cause("system", reason, text=error[:MAX_CAUSE_TEXT] or None)
        if self._agent.apology is None or self._voicemail.stage is Stage.AWAITING_BEEP:
            self._line.end(cause)
        elif self._ask_farewell(cause, APOLOGY_LIMIT_MS):
            self._announce(self._agent.apology)

    def _announce(self, text: str) -> None:
        """Have an agent of ours say a text and hang up, in the place of the call's own."""
        self._mouth.interrupt()
        self._seat.announce(self._info, text)

    # --- what the call wants ------------------------------------------------------------------------------

    def _cue(self, kind: CueKind, text: str | None = None, number: int = 0) -> None:
        self._seat.tell(Cue(kind, text, number))

    def _hush(self, silent: bool) -> None:
        self._mouth.hushed = silent
        if silent:
            self._clear()

    def _ask_farewell(self, cause: Cause, limit_ms: int) -> bool:
        return self.farewell.ask(cause, limit_ms)

    def _on_farewell_played(self) -> None:
        self._mouth.close()
        if not self.farewell.unfinished:
            self._voicemail.on_played()

    def _prepare_goodbye(self, maximum_ms: int) -> None:
        """Have a farewell asked for shortly before the stored deadline, which ends the call in any case."""
        lead_ms = min(GOODBYE_LEAD_MS, maximum_ms // 4)

        def say_goodbye() -> None:
            self.wind_down(Cause("timer", Reason.MAX_DURATION), lead_ms, self._agent.goodbye_message)

        self._timers["goodbye"] = self._clock.call_later((maximum_ms - lead_ms) / 1000, say_goodbye)

    def _watch(self) -> None:
        """Have the watchdogs asked, again and again, until the call is to end."""
        self._timers["watch"] = self._clock.call_later(CHECK_S, self._check)

    def _check(self) -> None:
        self._clocks.awaiting_beep = self._voicemail.stage is Stage.AWAITING_BEEP
        self._clocks.advance(self._now())
        if self._line.is_ending or self.farewell.in_progress:
            return
        cause = watchdogs.check(self._clocks, self._agent)
        if cause is watchdogs.AGENT_START:
            self._on_lost(cause.reason, "the agent did not start in time")
        elif cause is not None:
            self._line.end(cause)
        elif watchdogs.idle(self._clocks, self._agent.idle) is Idle.ASK:
            self._ask_who_is_there()
        self._watch()

    def _ask_who_is_there(self) -> None:
        self._clocks.asked += 1
        self._clocks.asked_at = self._clocks.now
        self._cue(CueKind.STILL_THERE, number=self._clocks.asked)

    def _spoke_since(self, moment: float) -> bool:
        """Say whether the agent was heard after a moment (monotonic seconds)."""
        return self._clocks.agent_at / 1000 > moment - self._answered_at

    def _now(self) -> int:
        return round((self._clock.monotonic() - self._answered_at) * 1000)
