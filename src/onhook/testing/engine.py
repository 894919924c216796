"""An `Engine` without a wire: it does what a test tells it, and reports as a real one does."""

from dataclasses import dataclass, field

from onhook.calls.call import Dialect, new_call_id
from onhook.calls.causes import Cause, Reason, cause_of_status
from onhook.calls.proof import Method, Proof, ProofStep, Result
from onhook.clock import Clock
from onhook.lines.engine import (
    Answered,
    Dialed,
    DialOrder,
    DtmfReceived,
    FindPeer,
    Incoming,
    LegEnded,
    LegEvent,
    LineEvents,
    ProofUpdated,
    Provisional,
    Tick,
    Trunk,
)
from onhook.lines.media.session import FRAME_BYTES, FRAME_MS, SILENCE

RINGS = "ring"
ANSWERS = "answer"

_BYTES_PER_MS = 8


@dataclass
class FakeLeg:
    """One leg, as far as a fake needs it.

    `order` is None for a leg of an earlier life, `inbound` is True for one that the far end started.
    `played` is what is queued to play, `marks` are in it at their byte; `left` is what the far end has heard of it.
    """

    order: DialOrder | None
    inbound: bool = False
    ringing: bool = False
    answered: bool = False
    stopped_for: Cause | None = None
    refused_with: int = 480
    trunk: Trunk | None = None
    played: bytearray = field(default_factory=bytearray)
    left: bytearray = field(default_factory=bytearray)
    marks: list[tuple[int, str]] = field(default_factory=list)
    listening: bool = False
    keys: str = ""
    muted: bool = False

    @property
    def is_refused(self) -> bool:
        """True once we told the caller of an unanswered leg no."""
        return self.inbound and not self.answered and self.stopped_for is not None


class FakeEngine:
    """An `Engine` whose far ends are moved by `ring`, `answer`, `reject`, `hang_up_far_end` and `press`.

    A far end calls us by `call_in`, and gives up by `cancel_far_end`. On such a leg `ring` and `answer` are the port's
    own; its caller acknowledges at once, or, while `acknowledges` is False, when `acknowledge` is called.

    A number that ends in a key of `script` moves by itself: its value is `RINGS`, `ANSWERS`, or the SIP status
    (300 or more) with which it refuses. While `settles` is False, stopped legs stay unsettled until `settle` is
    called: a far end that does not reply to our BYE. `hangups` lists what the engine was told to end, and why,
    `refusals` what it was told to refuse, with which status. Time stands still on a leg's audio until `played` or
    `tick` moves it. Connect it with `report_to` before the first call.
    """

    def __init__(self, clock: Clock, script: dict[str, str | int] | None = None) -> None:
        self.settles = True
        self.acknowledges = True
        self.hangups: list[tuple[str, Cause]] = []
        self.legs: dict[str, FakeLeg] = {}
        self.refusals: list[tuple[str, int]] = []
        self.find_peer: FindPeer | None = None
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

    def trust(self, find_peer: FindPeer) -> None:
        """Keep how peers are found."""
        self.find_peer = find_peer

    def rename(self, call_id: str, to: str) -> None:
        """Know an incoming leg by another call's id. Raises `ValueError` when that has a leg."""
        if to in self.legs:
            raise ValueError(f"call {to} has a leg")
        leg = self.legs.get(call_id)
        if leg is not None and leg.inbound and not leg.answered:
            self.legs[to] = self.legs.pop(call_id)

    def refuse(self, call_id: str, status: int, cause: Cause) -> None:
        """Note the refusal and, while `settles`, let the caller acknowledge it."""
        leg = self.legs.get(call_id)
        if leg is None or not leg.inbound or leg.answered or leg.is_refused:
            return
        self.refusals.append((call_id, status))
        leg.stopped_for, leg.refused_with = cause, status
        if self.settles:
            self.settle(call_id)

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

    def call_in(self, from_number: str, to_number: str, **headers: str) -> str:
        """Let a far end call us; return the new call's id. Header names are written with underscores."""
        call_id = new_call_id(Dialect.NATIVE)
        self.legs[call_id] = FakeLeg(None, inbound=True)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sip_call_id, peer = f"{call_id}@far.test", ("192.0.2.9", 5060)
        self._report(Incoming(call_id, self._clock.now_ms(), sip_call_id, from_number, to_number, peer, headers=named))
        return call_id

    def cancel_far_end(self, call_id: str) -> None:
        """Let the caller of an unanswered leg give up."""
        now = self._clock.now_ms()
        steps = (self._far_step("CANCEL", 200), self._far_step("INVITE", 487))
        proof = Proof(Result.CONFIRMED, Method.FAR_END_CANCEL, steps, confirmed_at=now)
        self._end(call_id, proof, Cause("caller", Reason.CALLER_CANCELED, sip_status=487, q850=16))

    def acknowledge(self, call_id: str) -> None:
        """Let the caller send the ACK to our 200."""
        self._report(Answered(call_id, self._clock.now_ms()))

    def ring(self, call_id: str) -> None:
        """Let the far end send a 180, or send it to a caller; harmless for a leg that is gone."""
        leg = self.legs.get(call_id)
        if leg is not None and not leg.is_refused:
            leg.ringing = True
            self._report(Provisional(call_id, self._clock.now_ms(), 180, ringing=True))

    def answer(self, call_id: str, trunk: Trunk | None = None) -> None:
        """Let the far end send a 200 to the INVITE, or send it to a caller; harmless for a leg that is gone."""
        leg = self.legs.get(call_id)
        if leg is None or leg.is_refused:
            return
        leg.answered, leg.trunk = True, trunk
        if not leg.inbound or self.acknowledges:
            self.acknowledge(call_id)

    def reject(self, call_id: str, status: int) -> None:
        """Let the far end refuse the INVITE with `status`, 300 or more."""
        now = self._clock.now_ms()
        proof = Proof(Result.CONFIRMED, Method.REJECTED, (self._step("INVITE", status),), confirmed_at=now)
        self._end(call_id, proof, cause_of_status(status))

    def hang_up_far_end(self, call_id: str) -> None:
        """Let the far end send a BYE."""
        now = self._clock.now_ms()
        initiator = "caller" if self.legs[call_id].inbound else "callee"
        self._end(
            call_id,
            Proof(Result.CONFIRMED, Method.FAR_END_BYE, (self._far_step("BYE", 200),), confirmed_at=now),
            Cause(initiator, Reason.HANGUP, q850=16),
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
        if leg.inbound and not leg.answered:
            result = Result.CONFIRMED if confirmed else Result.UNCONFIRMED
            refusal = (self._far_step("INVITE", leg.refused_with),)
            return Proof(result, Method.REFUSED, refusal, confirmed_at=now if confirmed else None)
        method = Method.BYE if leg.answered else Method.CANCEL
        if not confirmed:
            return Proof(Result.UNCONFIRMED, method, (self._step(method.name, None),))
        steps = [self._step(method.name, 200)] + ([] if leg.answered else [self._step("INVITE", 487)])
        return Proof(Result.CONFIRMED, method, tuple(steps), confirmed_at=now)

    def _step(self, method: str, status: int | None) -> ProofStep:
        now = self._clock.now_ms()
        cseq = 2 if method == "BYE" else 1
        return ProofStep(method, cseq, sent=True, at=now, status=status, answered_at=now if status else None)

    def _far_step(self, method: str, status: int) -> ProofStep:
        now = self._clock.now_ms()
        return ProofStep(method, cseq=1, sent=False, at=now, status=status, answered_at=now)

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
