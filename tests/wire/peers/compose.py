"""Texts of SIP messages for the raw far end, by plain string work."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.wire.peers.packet import Packet


@dataclass(frozen=True)
class Act:
    """One message of the far end: a response ("180 Ringing") or a request of its own ("BYE").

    `after` is in seconds. `to` answers the newest request of that method instead of the one at hand. `again` sends
    the far end's last request once more, unchanged. An empty `tag` on a request puts it outside any dialog. `body`
    None is an SDP answer where one belongs. `edit` has the last word on the text. "PORT" in `extra` becomes the far
    end's own port.
    """

    say: str
    after: float = 0.0
    to: str = ""
    tag: str = "far1"
    extra: str = ""
    body: str | None = None
    again: bool = False
    edit: Callable[[str], str] = str

    @property
    def is_request(self) -> bool:
        """Whether the far end asks rather than answers."""
        return not self.say[0].isdigit()


def response(act: Act, request: Packet, port: int, peer_port: int, media_port: int) -> str:
    """Answer `request`: copy what RFC 3261 8.2.6.2 says, with received and rport (RFC 3581)."""
    vias = "".join(f"Via: {via}\r\n" for via in request.headers("Via"))
    vias = re.sub(r";rport(?!=)", f";received=127.0.0.1;rport={peer_port}", vias, count=1)
    to = request.header("To") + ("" if request.to_tag or act.say.startswith("100") else f";tag={act.tag}")
    names = f"From: {request.header('From')}\r\nTo: {to}\r\nCall-ID: {request.header('Call-ID')}\r\n"
    speaks = act.say[:3] in ("183", "200") and request.method in ("INVITE", "UPDATE") and request.body
    head = f"SIP/2.0 {act.say}\r\n{vias}{names}CSeq: {request.header('CSeq')}\r\n"
    return _finish(head, act, port, sdp(media_port) if speaks else "")


def request(act: Act, invite: Packet | None, port: int, peer_port: int, cseq: int, branch: str) -> str:
    """Compose a request of the far end, in the dialog of our `invite` unless the act has no tag."""
    target, call_id, to = f"sip:127.0.0.1:{peer_port}", f"stray-{branch}", "<sip:us@127.0.0.1>"
    if invite is not None and act.tag:
        target = (re.search(r"<([^>]+)>", invite.header("Contact")) or ["", target])[1]
        call_id, to = invite.header("Call-ID"), invite.header("From")
    head = f"{act.say} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};rport;branch={branch}\r\n"
    names = f"From: <sip:far@127.0.0.1>;tag={act.tag or 'stray'}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
    return _finish(f"{head}Max-Forwards: 70\r\n{names}CSeq: {cseq} {act.say}\r\n", act, port, "")


def sdp(media_port: int, direction: str = "sendrecv", host: str = "127.0.0.1", version: int = 1) -> str:
    """Return a G.711 mu-law offer or answer with telephone events."""
    lines = ["v=0", f"o=- 1 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    lines += [f"m=audio {media_port} RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", f"a={direction}"]
    return "\r\n".join([*lines, ""])


def _finish(head: str, act: Act, port: int, body: str) -> str:
    body = body if act.body is None else act.body
    kind = "Content-Type: application/sdp\r\n" if body else ""
    contact = f"Contact: <sip:{act.tag or 'stray'}@127.0.0.1:{port}>\r\n"
    extra = act.extra.replace("PORT", str(port))
    return f"{head}{contact}{extra}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
