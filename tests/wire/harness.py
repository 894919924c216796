"""Our side of the wire suite: a SIP engine with everything it says and saves, and the judge of its proofs."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import TypeVar

from tests.wire.peers.compose import Act
from tests.wire.peers.packet import PASSWORD, USER, Packet, PacketLog
from tests.wire.peers.raw_uas import RawUas

from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Proof, ProofStep, Result
from onhook.clock import SystemClock
from onhook.lines.engine import DialOrder, LegEnded, LegEvent, Tick, Trunk
from onhook.lines.media.pump import MediaPump
from onhook.lines.sip.engine import SipEngine, SipSettings

REAL_TIMERS = SipSettings(bind_port=0)
"""The RFC's own T1, T2 and T4."""
FAST = SipSettings(bind_port=0, t1=0.05, t2=0.4, t4=0.5, watch=6.0)
"""A tenth of the RFC's timers: 64*T1 is 3.2 s."""
STOP = Cause("api_key:test", Reason.API_STOP, q850=16)
RESTART = Cause("system", Reason.RESTART, q850=41)
TOLERANCE_MS = 5.0
"""How far a proof's times may be from the packets they speak of."""

E = TypeVar("E", bound=LegEvent)
_numbers = itertools.count(1)


class MemoryJournal:
    """A `SnapshotJournal` that keeps every snapshot, oldest first; `may_dial` False refuses the next INVITE."""

    def __init__(self) -> None:
        self.snapshots: dict[str, list[bytes]] = {}
        self.may_dial = True

    async def before_invite(self, call_id: str, snapshot: bytes) -> bool:
        if self.may_dial:
            self.snapshots.setdefault(call_id, []).append(snapshot)
        return self.may_dial

    async def update(self, call_id: str, snapshot: bytes) -> None:
        self.snapshots.setdefault(call_id, []).append(snapshot)


class MachineLag:
    """How late the event loop ran because the machine gave us no CPU: `ms` is the worst so far.

    Time that our own process spent computing does not count, so a slow engine finds no excuse here.
    """

    PERIOD = 0.002

    def __init__(self) -> None:
        self.ms = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the running loop."""
        wall, cpu = time.monotonic(), time.process_time()

        def tick() -> None:
            idle = (time.monotonic() - wall) - (time.process_time() - cpu)
            self.ms = max(self.ms, 1000 * (idle - self.PERIOD))
            self.start()

        self._timer = asyncio.get_running_loop().call_later(self.PERIOD, tick)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()


class Line:
    """One engine; `events` holds all that it reported, `audio` the far end's voice per call."""

    def __init__(self, settings: SipSettings) -> None:
        self.lag = MachineLag()
        self.events: list[LegEvent] = []
        self.audio: dict[str, bytearray] = {}
        self.ticks: list[Tick] = []
        self.marks: list[tuple[str, bool]] = []
        self.cuts: list[str] = []
        self.journal = MemoryJournal()
        clock = SystemClock()
        self._pump = MediaPump(clock, "127.0.0.1")
        self.engine = SipEngine(settings, self.journal, self, clock, self._pump, lambda _trunk: (USER, PASSWORD))
        self._news = asyncio.Event()
        self._closed = False

    async def start(self) -> None:
        """Bind the sockets."""
        self.lag.start()
        await self._pump.start()
        await self.engine.start()

    async def close(self) -> None:
        """Drop the sockets, as a crash does: nothing is ended on the wire. Harmless when repeated."""
        if not self._closed:
            self._closed = True
            self.lag.stop()
            await self.engine.close()
            await self._pump.close()

    def on_event(self, event: LegEvent) -> None:
        self.events.append(event)
        self._news.set()

    def on_audio(self, call_id: str, frame: bytes) -> None:
        self.audio.setdefault(call_id, bytearray()).extend(frame)
        self._news.set()

    def on_tick(self, call_id: str, tick: Tick) -> None:
        self.ticks.append(tick)
        self._news.set()

    def on_mark(self, call_id: str, name: str, cleared: bool) -> None:
        self.marks.append((name, cleared))
        self._news.set()

    def on_cut(self, call_id: str) -> None:
        self.cuts.append(call_id)

    @property
    def port(self) -> int:
        """The port the engine is bound to."""
        _, port = self.engine.address
        return port

    async def place(self, port: int, *, transport: str = "udp", session_expires_s: int = 1800, **names: str) -> str:
        """Dial the far end at `port`; return the call's id."""
        call_id = f"call_{next(_numbers)}"
        uri = f"sip:127.0.0.1:{port};transport={transport}"
        trunk = Trunk("trunk", uri, username=USER, password=PASSWORD, session_expires_s=session_expires_s)
        await self.engine.place(
            DialOrder(call_id, f"{call_id}@wire.test", trunk, "+12025550100", names.get("to", "+12025550123"))
        )
        return call_id

    async def until(self, kind: type[E], within: float = 5.0, nth: int = 1) -> E:
        """Wait for the `nth` event of a kind."""
        async with asyncio.timeout(within):
            while len(found := [event for event in self.events if isinstance(event, kind)]) < nth:
                self._news.clear()
                await self._news.wait()
        return found[nth - 1]

    async def heard(self, call_id: str, true: Callable[[bytearray], bool], within: float = 5.0) -> None:
        """Wait until the far end's voice satisfies `true`."""
        async with asyncio.timeout(within):
            while not true(self.audio.get(call_id, bytearray())):
                self._news.clear()
                await self._news.wait()

    async def marked(self, echo: tuple[str, bool], within: float = 5.0) -> None:
        """Wait until a mark was echoed."""
        async with asyncio.timeout(within):
            while echo not in self.marks:
                self._news.clear()
                await self._news.wait()

    async def ended(self, within: float = 5.0) -> LegEnded:
        """Wait for the end of the only leg."""
        return await self.until(LegEnded, within)

    def assert_proved(self, proof: Proof, log: PacketLog) -> None:
        """Judge a proof by the far end's packets; only the machine's own lateness widens the tolerance."""
        assert_proof_equals_capture(proof, log, TOLERANCE_MS + self.lag.ms)

    def ends(self) -> int:
        """How many ends were reported."""
        return sum(isinstance(event, LegEnded) for event in self.events)


async def seen(far: RawUas, true: Callable[[PacketLog], object], within: float = 5.0) -> None:
    """Wait until the far end's log satisfies `true`; fail with the log if it does not come to that."""
    assert await asyncio.to_thread(far.wait_for, true, within), f"not on the wire within {within} s:\n{far.log}"


async def fence(far: RawUas, line: Line) -> None:
    """Return once the engine has dealt with all that the far end sent before (it answers a stray OPTIONS)."""
    before = len(far.log.responses("OPTIONS", sent=False))
    far.perform(Act("OPTIONS", tag=""), peer_port=line.port)
    await seen(far, lambda log: len(log.responses("OPTIONS", sent=False)) > before)


def assert_proof_equals_capture(proof: Proof, log: PacketLog, tolerance_ms: float = TOLERANCE_MS) -> None:
    """Every step of the proof is what the far end's packets show, and every teardown packet has its step."""
    told = f"{proof}\n{log}"
    for step in proof.steps:
        _assert_step_equals_capture(step, log, tolerance_ms, told)
    shown = {(p.method, p.cseq, p.sent) for p in (*log.requests("BYE"), *log.requests("CANCEL"))}
    if proof.method is Method.FAR_END_BYE:
        shown |= {(p.method, p.cseq, p.sent) for p in log.requests("BYE", sent=True)}
    assert shown <= {(step.method, step.cseq, not step.sent) for step in proof.steps}, told
    assert (proof.confirmed_at is not None) is (proof.result is Result.CONFIRMED), told
    if proof.confirmed_at is not None and proof.method is not Method.NONE:
        assert abs(proof.confirmed_at - _confirmation(proof, log).at) <= tolerance_ms, told


def _assert_step_equals_capture(step: ProofStep, log: PacketLog, tolerance_ms: float, told: str) -> None:
    requests = [p for p in log.requests(step.method, sent=not step.sent) if p.cseq == step.cseq]
    if step.remote_tag is not None and step.method == "BYE" and step.sent:
        requests = [p for p in requests if p.to_tag == step.remote_tag]
    assert requests, f"no such request on the wire: {step}\n{told}"
    assert len({p.branch for p in requests}) == 1, told
    assert step.count == len(requests), f"{step.method} went out {len(requests)} times, the proof says {step.count}"
    assert abs(step.at - requests[0].at) <= tolerance_ms, told
    if step.count > 1 and step.sent:
        assert step.last_at is not None, told
        assert abs(step.last_at - requests[-1].at) <= tolerance_ms, told
    answers = [
        p for p in log.responses(step.method, sent=step.sent) if p.cseq == step.cseq and p.branch == requests[0].branch
    ]
    if step.status is None:
        assert step.answered_at is None, told
        assert not [p for p in answers if (p.status or 0) >= 200], f"answered on the wire, not in the proof\n{told}"
        return
    of_status = [p for p in answers if p.status == step.status]
    assert of_status, f"the proof has {step.status}, the wire has not\n{told}"
    assert step.answered_at is not None, told
    assert any(abs(step.answered_at - p.at) <= tolerance_ms for p in of_status), told


def _confirmation(proof: Proof, log: PacketLog) -> Packet:
    """Return the packet that, by DESIGN's table of proofs, confirmed the end."""
    if proof.method is Method.FAR_END_BYE:
        return log.requests("BYE", sent=True)[0]
    if proof.method is Method.FAR_END_CANCEL:
        return log.requests("CANCEL", sent=True)[0]
    if proof.method is Method.REFUSED:
        return log.requests("ACK", sent=True)[0]
    if proof.method is Method.BYE:
        byes = log.branches("BYE")
        return next(p for p in reversed(log.responses("BYE")) if p.branch in byes and p.status in (200, 202, 481))
    last = log.branches("INVITE")[-1]
    return next(p for p in log.responses("INVITE") if p.branch == last and (p.status or 0) >= 300)


async def assert_confirmed(line: Line, far: RawUas, method: Method, within: float = 5.0) -> LegEnded:
    """Wait for the one end of the only leg: confirmed by `method`, and equal to the far end's packets."""
    ended = await line.ended(within)
    await fence(far, line)
    assert ended.proof.result is Result.CONFIRMED, f"{ended}\n{far.log}"
    assert ended.proof.method is method, f"{ended}\n{far.log}"
    assert line.ends() == 1
    assert line.engine.live_legs() == 0
    line.assert_proved(ended.proof, far.log)
    return ended
