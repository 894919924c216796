"""An `Engine` without a wire: it does what a test tells it, and reports as a real one does."""

from dataclasses import dataclass, field

from onhook.calls.causes import Cause, Reason, cause_of_status
from onhook.calls.proof import Method, Proof, ProofStep, Result
from onhook.clock import Clock
from onhook.lines.engine import (
    Answered,
    Dialed,
    DialOrder,
    DtmfReceived,
    LegEnded,
    LegEvent,
    LineEvents,
    ProofUpdated,
    Provisional,
    Tick,
)
from onhook.lines.media.session import FRAME_BYTES, FRAME_MS, SILENCE

RINGS = "ring"
ANSWERS = "answer"

_BYTES_PER_MS = 8


@dataclass
class FakeLeg:
    """One leg, as far as a fake needs it.

    `played` is what is queued to play, `marks` are in it at their byte; `left` is what the far end has heard of it.
    """

    order: DialOrder | None
    ringing: bool = False
    answered: bool = False
    stopped_for: Cause | None = None
    played: bytearray = field(default_factory=bytearray)
    left: bytearray = field(default_factory=bytearray)
    marks: list[tuple[int, str]] = field(default_factory=list)
    listening: bool = False
    keys: str = ""
    muted: bool = False


class FakeEngine:
    """An `Engine` whose far ends are moved by `ring`, `answer`, `reject`, `hang_up_far_end` and `press`.

    A number that ends in a key of `script` moves by itself: its value is `RINGS`, `ANSWERS`, or the SIP status
    (300 or more) with which it refuses. While `settles` is False, stopped legs stay unsettled until `settle` is
    called: a far end that does not reply to our BYE. `hangups` lists what the engine was told to end, and why.
    Time stands still on a leg's audio until `played` or `tick` moves it. Connect it with `report_to` before the
    first call.
    """

    def __init__(self, clock: Clock, script: dict[str, str | int] | None = None) -> None:
        self.settles = True
        self.hangups: list[tuple[str, Cause]] = []
        self.legs: dict[str, FakeLeg] = {}
        self._clock = clock
        self._script = script or {}
        self._events: LineEvents | None = None
        self._dropped: list[tuple[str, str]] = []

    def report_to(self, events: LineEvents) -> None:
        """Send all events to `events` from now on."""
        self._events = events

    # the port

    async def place(self, order: DialOrder) -> None:
        """Start a leg, and let the script move it."""
        self.legs[order.call_id] = FakeLeg(order)
        self._report(Dialed(order.call_id, self._clock.now_ms()))
        for suffix, act in self._script.items():
            if order.to_number.endswith(suffix):
                self._perform(order.call_id, act)
                return

    def hangup(self, call_id: str, cause: Cause) -> bool:
        """Note the order and, while `settles`, settle the leg at once."""
        leg = self.legs.get(call_id)
        if leg is None:
            return False
        self.hangups.append((call_id, cause))
        first = leg.stopped_for is None
        leg.stopped_for = leg.stopped_for or cause
        if first:
            self._clear_marks(call_id, leg)
            self._listener().on_cut(call_id)
        if self.settles:
            self.settle(call_id)
        return True

    def send_audio(self, call_id: str, mulaw: bytes) -> None:
        """Keep what would be played in the leg's `played`."""
        leg = self.legs.get(call_id)
        if leg is not None and leg.stopped_for is None and not leg.muted:
            leg.played += mulaw

    def flush_audio(self, call_id: str) -> int:
        """Forget what would be played; return its length in ms."""
        leg = self.legs.get(call_id)
        if leg is None:
            return 0
        dropped = len(leg.played) // _BYTES_PER_MS
        leg.played.clear()
        self._clear_marks(call_id, leg)
        return dropped

    def mark(self, call_id: str, name: str) -> None:
        """Keep a mark in the queue; a leg that is ending, muted or not there echoes it as cleared, soon."""
        leg = self.legs.get(call_id)
        if leg is None or leg.stopped_for is not None or leg.muted:
            self._clock.call_later(0, lambda: self._listener().on_mark(call_id, name, cleared=True))
        else:
            leg.marks.append((len(leg.played), name))

    def queued_ms(self, call_id: str) -> int:
        """Return how much is queued to play."""
        leg = self.legs.get(call_id)
        return len(leg.played) // _BYTES_PER_MS if leg is not None else 0

    def listen(self, call_id: str) -> None:
        """Take ticks of this leg from now on."""
        if (leg := self.legs.get(call_id)) is not None:
            leg.listening = True

    def mute(self, call_id: str) -> None:
        """Forget what would be played, and take no more."""
        leg = self.legs.get(call_id)
        if leg is not None:
            leg.played.clear()
            leg.muted = True
            self._clear_marks(call_id, leg)

    def send_dtmf(self, call_id: str, digits: str) -> None:
        """Keep the keys in the leg's `keys`."""
        leg = self.legs.get(call_id)
        if leg is not None:
            leg.keys += digits

    def resume(self, call_id: str, snapshot: bytes, cause: Cause) -> None:
        """Take over an answered leg of an earlier life, and end it."""
        self.legs[call_id] = FakeLeg(None, ringing=True, answered=True)
        self.hangup(call_id, cause)

    def live_legs(self) -> int:
        """How many legs are not settled."""
        return len(self.legs)

    # the far end

    def ring(self, call_id: str) -> None:
        """Let the far end send a 180."""
        self.legs[call_id].ringing = True
        self._report(Provisional(call_id, self._clock.now_ms(), 180, ringing=True))

    def answer(self, call_id: str) -> None:
        """Let the far end send a 200 to the INVITE."""
        self.legs[call_id].answered = True
        self._report(Answered(call_id, self._clock.now_ms()))

    def reject(self, call_id: str, status: int) -> None:
        """Let the far end refuse the INVITE with `status`, 300 or more."""
        now = self._clock.now_ms()
        proof = Proof(Result.CONFIRMED, Method.REJECTED, (self._step("INVITE", status),), confirmed_at=now)
        self._end(call_id, proof, cause_of_status(status))

    def hang_up_far_end(self, call_id: str) -> None:
        """Let the far end send a BYE."""
        now = self._clock.now_ms()
        step = ProofStep("BYE", cseq=1, sent=False, at=now, status=200, answered_at=now)
        self._end(
            call_id,
            Proof(Result.CONFIRMED, Method.FAR_END_BYE, (step,), confirmed_at=now),
            Cause("callee", Reason.HANGUP, q850=16),
        )

    def press(self, call_id: str, digit: str) -> None:
        """Let the far end press a key for 100 ms."""
        self._report(DtmfReceived(call_id, self._clock.now_ms(), digit, 100))

    def played(self, call_id: str, ms: int | None = None) -> bytes:
        """Let `ms` of the queue leave, or all of it; echo the marks behind it. Return what left."""
        gone, reached = self._let_leave(self.legs[call_id], ms)
        self._echo(call_id, reached)
        return gone

    def tick(self, call_id: str, heard: bytes = SILENCE, *, arrived: bool = True, held: bool = False) -> None:
        """Let 20 ms pass: the far end says `heard`, and a frame of the queue leaves; marks behind it come last."""
        leg = self.legs[call_id]
        gone, reached = self._let_leave(leg, FRAME_MS)
        if leg.listening:
            self._listener().on_tick(call_id, Tick(heard, gone.ljust(FRAME_BYTES, SILENCE[:1]), arrived, held))
        self._echo(call_id, reached)

    def settle(self, call_id: str, *, confirmed: bool = True) -> None:
        """Let the far end reply to our BYE or CANCEL, or, with `confirmed=False`, never reply."""
        leg = self.legs[call_id]
        if leg.stopped_for is None:
            raise ValueError(f"call {call_id} was not told to end")
        self._end(call_id, self._stop_proof(leg, confirmed=confirmed), leg.stopped_for)

    def update_proof(self, call_id: str, proof: Proof) -> None:
        """Report evidence that came after the end."""
        self._report(ProofUpdated(call_id, self._clock.now_ms(), proof))

    def _perform(self, call_id: str, act: str | int) -> None:
        if isinstance(act, int):
            self.reject(call_id, act)
            return
        self.ring(call_id)
        if act == ANSWERS:
            self.answer(call_id)

    def _stop_proof(self, leg: FakeLeg, *, confirmed: bool) -> Proof:
        now = self._clock.now_ms()
        method = Method.BYE if leg.answered else Method.CANCEL
        if not confirmed:
            return Proof(Result.UNCONFIRMED, method, (self._step(method.name, None),))
        steps = [self._step(method.name, 200)] + ([] if leg.answered else [self._step("INVITE", 487)])
        return Proof(Result.CONFIRMED, method, tuple(steps), confirmed_at=now)

    def _step(self, method: str, status: int | None) -> ProofStep:
        now = self._clock.now_ms()
        cseq = 2 if method == "BYE" else 1
        return ProofStep(method, cseq, sent=True, at=now, status=status, answered_at=now if status else None)

    def _end(self, call_id: str, proof: Proof, cause: Cause) -> None:
        del self.legs[call_id]
        self._report(LegEnded(call_id, self._clock.now_ms(), proof, cause))

    def _let_leave(self, leg: FakeLeg, ms: int | None) -> tuple[bytes, list[str]]:
        """Take `ms` (None: all) of the queue; return them, and the marks that they lead to."""
        count = len(leg.played) if ms is None else ms * _BYTES_PER_MS
        gone = bytes(leg.played[:count])
        del leg.played[:count]
        leg.left += gone
        reached = [name for at, name in leg.marks if at <= len(gone)]
        leg.marks = [(at - len(gone), name) for at, name in leg.marks if at > len(gone)]
        return gone, reached

    def _echo(self, call_id: str, names: list[str]) -> None:
        for name in names:
            self._listener().on_mark(call_id, name, cleared=False)

    def _clear_marks(self, call_id: str, leg: FakeLeg) -> None:
        """Echo the marks of a queue that was dropped: soon, but before the leg's end is told."""
        self._dropped += [(call_id, name) for _, name in leg.marks]
        leg.marks.clear()
        self._clock.call_later(0, self._tell_dropped)

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, []
        for call_id, name in dropped:
            self._listener().on_mark(call_id, name, cleared=True)

    def _report(self, event: LegEvent) -> None:
        if isinstance(event, LegEnded):
            self._tell_dropped()
        self._listener().on_event(event)

    def _listener(self) -> LineEvents:
        if self._events is None:
            raise RuntimeError("connect the engine with report_to() first")
        return self._events
