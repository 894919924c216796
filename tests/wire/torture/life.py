"""One call of a user agent without sockets, and everything that must hold whatever it is fed."""

from tests.unit.sip_world import FAR, World
from tests.wire.peers.compose import Act
from tests.wire.torture import exchange, oracle

from onhook.calls.proof import Result
from onhook.lines.engine import Answered, LegEnded

PHASES = ("calling", "ringing", "canceling", "answered", "clearing")
HIGHEST_CSEQ = 2**31 - 1


class Life:
    """A call brought to `phase`; `feed` it, then `finish`."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.world = World()
        self._material: list[bytes] = []
        self._requests = 0
        self._far_bye = False

    async def begin(self) -> None:
        """Bring the call to its phase."""
        await self.world.place()
        if self.phase != "calling":
            self._say(Act("180 Ringing"), "INVITE")
        if self.phase in ("answered", "clearing"):
            self._say(Act("200 OK"), "INVITE")
            await self.world.idle()
            assert self.world.of(Answered)
        if self.phase in ("canceling", "clearing"):
            self.world.hang_up()

    def material(self) -> list[bytes]:
        """Return what a far end could say now; made anew when we have sent another request."""
        ours = self._ours()
        if len(ours) != self._requests:
            self._requests, self._material = len(ours), exchange.all_that_could_be_said(ours)
        return self._material

    @property
    def has_ended(self) -> bool:
        """Whether an end was reported, or the far end has said BYE and other forks are still being cleared."""
        return self._far_bye or bool(self.world.of(LegEnded))

    async def feed(self, data: bytes) -> None:
        """Let a message come in; only one that may end the call ends it, and only a proof proves it."""
        self.world.agent.layer.receive(data, FAR)
        await self.world.idle()
        assert self.world.agent.remembered_legs() == 1
        tags = (oracle.FAR_TAG,) if self.phase in ("answered", "clearing") else None
        self._far_bye = b"BYE" in data and oracle.is_far_bye(data, oracle.read(self._newest("INVITE")), tags)
        if self.world.of(LegEnded) and not self._far_bye:
            self._judge(data)

    async def finish(self) -> None:
        """End the call as an honest far end would, let all timers run, and find nothing left."""
        if self.phase == "answered" and not self.has_ended:
            self._assert_alive()
        forked = any(data.startswith(b"BYE") for data in self._ours())
        self.world.hang_up()
        answered = 0
        for _ in range(8):
            answered = await self._answer_from(answered)
            self.world.clock.advance(40)
        answered = await self._answer_from(answered)
        self.world.clock.advance(400)
        await self.world.idle()
        self._assert_nothing_is_left()
        if self.phase == "answered" and not forked:
            assert self.world.ended.proof.result is Result.CONFIRMED, self.world.ended

    def _judge(self, data: bytes) -> None:
        """Say whether the response `data` had the right to end the call."""
        ours = [oracle.read(one) for one in self._ours()]
        proof = self.world.ended.proof
        if proof.result is Result.CONFIRMED:
            assert oracle.confirms(data, ours), f"{self.phase}: {proof} by {data!r}"
        else:
            assert oracle.answers(data, ours), f"{self.phase}: {proof} by {data!r}"

    def _assert_alive(self) -> None:
        invite = exchange.packet(self._newest("INVITE"))
        options = exchange.ask(Act("OPTIONS"), invite, HIGHEST_CSEQ)
        self._receive(options.replace(b"z9hG4bK-far-", b"z9hG4bK-alive-"))  # A branch that no spoiled message has.
        last = oracle.read(self.world.network.sent[-1][0])
        assert (last.status, last.number, last.method) == (200, HIGHEST_CSEQ, b"OPTIONS"), last

    async def _answer_from(self, start: int) -> int:
        """Answer every request of ours that has not been answered; return how many there are now."""
        ours = self._ours()
        for data in ours[start:]:
            packet = exchange.packet(data)
            if packet.method == "BYE":
                self._receive(exchange.answer(Act("200 OK"), packet))
            elif packet.method == "CANCEL":
                self._receive(exchange.answer(Act("200 OK"), packet))
                self._say(Act("487 Request Terminated"), "INVITE")
        await self.world.idle()
        return len(ours)

    def _assert_nothing_is_left(self) -> None:
        world = self.world
        assert len(world.of(LegEnded)) == 1, self.phase
        assert (len(world.agent.layer), world.agent.remembered_legs(), world.clock.pending) == (0, 0, 0), self.phase
        assert all(session.closed for session in world.media.sessions)
        broken = [data for data, _ in world.network.sent if not oracle.is_well_formed(data)]
        assert not broken, broken[:3]

    def _say(self, act: Act, method: str) -> None:
        self._receive(exchange.answer(act, exchange.packet(self._newest(method))))

    def _receive(self, data: bytes) -> None:
        self.world.agent.layer.receive(data, FAR)

    def _newest(self, method: str) -> bytes:
        return next(data for data in reversed(self._ours()) if data.startswith(method.encode()))

    def _ours(self) -> list[bytes]:
        """Return the requests that we sent."""
        return [data for data, _ in self.world.network.sent if not data.startswith(b"SIP/2.0")]
