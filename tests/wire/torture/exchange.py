"""What a far end says over the life of a call, in texts of its own: the raw material of the mutations."""

from tests.wire.peers.compose import Act, request, response, sdp
from tests.wire.peers.packet import Packet

FAR_PORT, OUR_PORT, MEDIA_PORT = 5060, 5070, 4000
CHALLENGE = 'Proxy-Authenticate: Digest realm="far", nonce="n1", algorithm=MD5, qop="auth"\r\n'

TO_INVITE = (
    Act("100 Trying"),
    Act("180 Ringing"),
    Act("183 Session Progress"),
    Act("200 OK", extra="Session-Expires: 1800;refresher=uas\r\nAllow: INVITE, UPDATE\r\n"),
    Act("200 OK", extra="Record-Route: <sip:192.0.2.9;lr>, <sip:192.0.2.10;lr>\r\n"),
    Act("302 Moved Temporarily"),
    Act("401 Unauthorized", extra='WWW-Authenticate: Digest realm="far", nonce="n2", algorithm=SHA-256\r\n'),
    Act("407 Proxy Authentication Required", extra=CHALLENGE),
    Act("422 Session Interval Too Small", extra="Min-SE: 3600\r\n"),
    Act("486 Busy Here", extra='Reason: Q.850;cause=17;text="busy"\r\n'),
    Act("487 Request Terminated"),
    Act("503 Service Unavailable", extra="Retry-After: 3\r\n"),
)
TO_CANCEL = (Act("200 OK"), Act("481 Call/Transaction Does Not Exist"), Act("487 Request Terminated"))
TO_BYE = (
    Act("100 Trying"),
    Act("200 OK"),
    Act("401 Unauthorized", extra='WWW-Authenticate: Digest realm="far", nonce="n3"\r\n'),
    Act("407 Proxy Authentication Required", extra=CHALLENGE),
    Act("408 Request Timeout"),
    Act("481 Call/Transaction Does Not Exist"),
    Act("500 Server Internal Error", extra="Retry-After: 1\r\n"),
)
ANSWERS = {"INVITE": TO_INVITE, "CANCEL": TO_CANCEL, "BYE": TO_BYE}
ASKED = (
    Act("BYE", extra="Reason: Q.850;cause=16\r\n"),
    Act("OPTIONS"),
    Act("INFO", body="Signal=1\r\nDuration=100\r\n"),
    Act("UPDATE", extra="Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n"),
    Act("UPDATE", body=sdp(MEDIA_PORT, "sendonly", "192.0.2.9")),
    Act("INVITE", body=sdp(MEDIA_PORT, "sendrecv", "192.0.2.9", version=2), extra="Require: timer\r\n"),
    Act("ACK"),
    Act("CANCEL"),
    Act("NOTIFY", extra="Event: refer\r\nSubscription-State: active\r\n"),
    Act("BYE", tag="stranger"),
)


def packet(data: bytes) -> Packet:
    """Take a message of ours as a far end sees it."""
    return Packet(at=0, sent=False, raw=data.decode("latin-1"))


def answer(act: Act, ours: Packet) -> bytes:
    """Return the far end's response to a request of ours."""
    return response(act, ours, FAR_PORT, OUR_PORT, MEDIA_PORT).encode("latin-1")


def ask(act: Act, invite: Packet, cseq: int) -> bytes:
    """Return a request of the far end in the dialog of our INVITE."""
    return request(act, invite, FAR_PORT, OUR_PORT, cseq, f"z9hG4bK-far-{cseq}").encode("latin-1")


def all_that_could_be_said(ours: list[bytes]) -> list[bytes]:
    """Return every response to our requests, every request of the far end, and our own words back."""
    packets = [packet(data) for data in ours if not data.startswith((b"SIP/2.0", b"ACK"))]
    invite = next(one for one in packets if one.method == "INVITE")
    newest = {one.method: one for one in packets}
    said = [answer(act, one) for method, one in newest.items() for act in ANSWERS.get(method, (Act("200 OK"),))]
    said += [ask(act, invite, cseq) for cseq, act in enumerate(ASKED, start=101)]
    return [*said, *(one.raw.encode("latin-1") for one in newest.values())]
