"""A far end that calls the user agent of a `World`: its requests as text, and what it is answered."""

import hashlib
import re
from collections.abc import Callable, Mapping

from onhook.lines.engine import Incoming, Peer
from onhook.lines.sip.address import Destination
from onhook.lines.sip.message import Response
from tests.unit.sip_world import FAR, NOTHING, SDP, World

US = "sip:+12025550100@192.0.2.1:5070"


class Caller:
    """One call of a far end. Header names in keywords are written with underscores; `garble` spoils what is sent."""

    def __init__(
        self, world: World, *, call_id: str = "in1@far", tag: str = "caller", source: Destination = FAR
    ) -> None:
        self.world = world
        self.call_id = call_id
        self.tag = tag
        self.source = source
        self.uri = US
        self.garble: Callable[[bytes], bytes] = bytes
        self._branches = 0
        self._cseq = 1

    def invite(self, more: Mapping[str, str] = NOTHING, *, sdp: bytes = SDP, branch: str = "", **headers: str) -> bytes:
        """Send an INVITE; return its bytes."""
        return self.send("INVITE", more, cseq=self._cseq, body=sdp, branch=branch or self.branch, to_tag="", **headers)

    def cancel(self) -> None:
        self.send("CANCEL", cseq=self._cseq, branch=self.branch, to_tag="")

    def ack(self, *, sdp: bytes = b"") -> None:
        """Acknowledge the newest final response to the INVITE, by the rules for its status."""
        refused = self.response.status >= 300
        self.send("ACK", cseq=self._cseq, body=sdp, branch=self.branch if refused else "", uri=US if refused else "")

    def ask(self, method: str, more: Mapping[str, str] = NOTHING, *, body: bytes = b"", **headers: str) -> Response:
        """Send a request in the dialog; return what it was answered."""
        self._cseq += 1
        before = len(self.world.messages())
        self.send(method, more, cseq=self._cseq, body=body, **headers)
        answers = [m for m in self.world.messages()[before:] if isinstance(m, Response) and m.cseq.method == method]
        assert len(answers) == 1
        return answers[0]

    def send(
        self,
        method: str,
        more: Mapping[str, str] = NOTHING,
        *,
        cseq: int,
        body: bytes = b"",
        branch: str = "",
        to_tag: str | None = None,
        uri: str = "",
        **headers: str,
    ) -> bytes:
        self._branches += 1
        transport = self.source.transport.upper()
        to_tag = self.our_tag if to_tag is None else to_tag
        head = {
            "Via": f"SIP/2.0/{transport} 192.0.2.9:5060;rport;branch={branch or f'z9hG4bKmore{self._branches}'}",
            "Max-Forwards": "70",
            "From": f'"Ann" <sip:+12025550123@192.0.2.9>;tag={self.tag}',
            "To": "<sip:+12025550100@192.0.2.1>" + (f";tag={to_tag}" if to_tag else ""),
            "Call-ID": self.call_id,
            "CSeq": f"{cseq} {method}",
            "Contact": "<sip:ann@192.0.2.9:5062>",
            **({"Content-Type": "application/sdp"} if body else {}),
            **{name.replace("_", "-"): value for name, value in {**more, **headers}.items()},
            "Content-Length": str(len(body)),
        }
        lines = [f"{method} {uri or self.uri} SIP/2.0", *(f"{name}: {value}" for name, value in head.items() if value)]
        data = self.garble("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        self.world.agent.layer.receive(data, self.source)
        return data

    @property
    def branch(self) -> str:
        """The branch of the INVITE."""
        return f"z9hG4bK{self.tag}{self.call_id.partition('@')[0]}"

    @property
    def responses(self) -> list[Response]:
        """All responses to this caller's INVITE."""
        found = [m for m in self.world.messages() if isinstance(m, Response) and m.cseq.method == "INVITE"]
        return [one for one in found if (one.call_id, one.from_tag) == (self.call_id, self.tag)]

    @property
    def response(self) -> Response:
        """The newest response to the INVITE."""
        return self.responses[-1]

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]

    @property
    def our_tag(self) -> str:
        return self.response.to_tag if self.responses else ""

    @property
    def leg(self) -> str:
        """The id of the newest call that was told of."""
        return self.world.of(Incoming)[-1].call_id


def trusting(world: World | None = None, peer: Peer | None = None) -> World:
    """Return a world whose user agent takes the calls of one far end."""
    world = world or World()
    known = peer or Peer()
    world.agent.trust(lambda host: known if host == FAR.host else None)
    return world


async def ringing(world: World) -> Caller:
    """Have a far end call, and our side ring."""
    caller = Caller(world)
    caller.invite()
    world.agent.ring(caller.leg)
    await world.idle()
    return caller


async def accepted(world: World, more: Mapping[str, str] = NOTHING, *, sdp: bytes = SDP) -> Caller:
    """Have a far end call, and our side answer; the ACK has not come."""
    caller = Caller(world)
    caller.invite(more, sdp=sdp)
    world.agent.answer(caller.leg, world.trunk)
    await world.idle()
    return caller


async def answered(world: World, **headers: str) -> Caller:
    """Have a far end call, our side answer, and the far end acknowledge."""
    caller = await accepted(world, {name.replace("_", "-"): value for name, value in headers.items()})
    caller.ack()
    await world.idle()
    return caller


def authorization(challenge: str, *, username: str, password: str, uri: str = US, nc: str = "00000001") -> str:
    """Answer a challenge as RFC 7616 says, by plain string work."""
    found = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge.partition(" ")[2]))
    hash_of = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}[found["algorithm"]]

    def h(text: str) -> str:
        return hash_of(text.encode()).hexdigest()

    secret, what = h(f"{username}:{found['realm']}:{password}"), h(f"INVITE:{uri}")
    response = h(f"{secret}:{found['nonce']}:{nc}:c0ffee:auth:{what}")
    return (
        f'Digest username="{username}", realm="{found["realm"]}", nonce="{found["nonce"]}", uri="{uri}", '
        f'algorithm={found["algorithm"]}, qop=auth, nc={nc}, cnonce="c0ffee", response="{response}"'
    )
