# ruff: noqa: E501 - hostile messages stand as they are sent
"""Hostile messages never crash the user agent, leave nothing behind, and do not keep a call from ending."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onhook.calls.proof import Result
from onhook.lines.engine import Incoming, LegEnded, Peer
from onhook.lines.sip.message import MessageError, parse
from tests.unit.sip_caller import Caller, trusting
from tests.unit.sip_world import FAR, SDP, World, reply_to

pytestmark = pytest.mark.unit

TORTURE = [
    # After RFC 4475, in our words: 3.1.1.1, 3.1.1.9, 3.1.1.13, 3.1.2.1, 3.1.2.2, 3.1.2.4, 3.1.2.16, 3.1.2.18, 3.3.1, 3.3.8.
    b"INVITE sip:x@192.0.2.1;unknownparam SIP/2.0\r\nTO :\r\n sip:x@h ;   tag    = 1\r\nfrom   : \"J \\\\\\\" R\"   <sip:j@h>\r\n"
    b"  ;\r\n  tag = 9\r\nCall-ID: a\r\nCSeq: 0009\r\n  INVITE\r\nVia  : SIP  / 2.0\r\n /UDP\r\n    192.0.2.2;branch=390\r\n\r\n",
    b"OPTIONS sip:u@h SIP/2.0\r\nt: <sip:u@h>\r\nf: <sip:a@b>;tag=1\r\ni: a\r\nCSeq: 1 OPTIONS\r\nv: SIP/2.0/UDP h\r\nl: 0\r\n\r\n",
    b"!#%&*+-.^_`{|}~ sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK\r\nTo: a\r\nFrom: b\r\nCall-ID: c\r\nCSeq: 1 X\r\n\r\n",
    b"INVITE sip:u@h SIP/2.0\r\nTo: s;tag\r\nFrom: <sip:a@b;;;>;;,;tag=\r\nCall-ID: @\r\nCSeq: 1 INVITE\r\nVia: SIP/2.0/UDP h;;,;,,\r\n"
    b"Contact: \"\" <> ;,\"Joe\" <\r\nContent-Length: 9999\r\n\r\n",
    b"INVITE sip:u@h SIP/2.0\r\nTo: <sip:u@h>\r\nFrom: \xff\xfe;tag=\xe9\r\nCall-ID: c\r\nCSeq: 36893488147419103232 INVITE\r\n"
    b"Via: SIP/2.0/UDP h;branch=z9hG4bKz\r\nMax-Forwards: 300\r\nContent-Length: -999\r\n\r\n",
    b"SIP/2.0 4294967301 better not break\r\nVia: SIP/2.0/UDP h\r\nTo: a\r\nFrom: b\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n",
    b"SIP/7.0 200 OK\r\n\r\n",
    b"OPTIONS <sip:u@h> SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: a\r\nFrom: b\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
    b"BYE sip:u@h?Route=%3Csip:x%3E;self=1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK;self=2\r\nTo: a;tag=1\r\nFrom: b\r\n"
    b"Call-ID: c\r\nCSeq: 0 BYE\r\nRoute: <>,<sip:>,;lr\r\nReason: Q.850;;;;cause=\r\n\r\n",
    b"INVITE",
    b"\r\n" * 500,
    b"\x00" * 64,
]  # fmt: skip


@pytest.mark.parametrize("data", TORTURE)
async def test_torture_messages_are_answered_or_dropped(data: bytes) -> None:
    world = World()
    invite = await world.answered()
    world.agent.layer.receive(data, FAR)
    world.hang_up()
    world.reply(world.last("BYE"), 200)
    world.clock.advance(300)
    assert world.proof.result is Result.CONFIRMED
    assert (len(world.agent.layer), world.clock.pending) == (0, 0)
    assert invite.call_id == "c1@test"


@pytest.mark.parametrize("piece", [b"Q.850;", b"a,", b"\r\n x", b'"', b"<", b";a=b", b"sip:", b"-a"])
def test_long_repetitions_are_read_in_no_time(piece: bytes) -> None:
    head = b"BYE sip:u@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: a\r\nFrom: b\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n"
    for name in (b"Reason", b"Contact", b"From", b"Route", b"Via", b"CSeq"):
        data = head.replace(name + b": ", name + b": " + piece * (40_000 // len(piece)), 1)
        if data == head:
            data = head + name + b": " + piece * (40_000 // len(piece)) + b"\r\n"
        try:
            message = parse(data + b"\r\n")
        except MessageError:
            continue
        assert isinstance((message.q850, message.contact_uri, message.from_tag), tuple)


def mutate(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, cut, junk in edits:
        start = at % max(1, len(data))
        data = data[:start] + junk + data[start + cut :]
    return data


JUNK = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\r\n", b";tag=", b"BYE", b"SIP/2.0", b",", b"<", b'"', b"0", b"4294967296", b"\r\n\r\n", b"%", b"\xff"]
    ),
)
CREDENTIALS = (
    'Digest username="carrier", realm="onhook", nonce="00", uri="sip:+12025550100@192.0.2.1:5070", algorithm=MD5, '
    'qop=auth, nc=00000001, cnonce="c", response="00"'
)
EDITS = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 12), JUNK), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EDITS, st.sampled_from(["answer", "487", "bye", "bye-200", "update", "reinvite", "challenge"]))
def test_mutated_messages_never_crash_a_call_or_outlive_it(edits: list[tuple[int, int, bytes]], kind: str) -> None:
    async def play() -> None:
        world = World()
        invite = await world.place()
        world.reply(invite, 180)
        if kind not in ("answer", "487", "challenge"):
            world.reply(invite, 200, sdp=SDP, Session_Expires="90;refresher=uac")
            await world.idle()
        if kind in ("487", "bye-200"):
            world.hang_up()
        subject = {
            "answer": lambda: reply_to(invite, 200, sdp=SDP, Record_Route="<sip:p;lr>", Session_Expires="90"),
            "487": lambda: reply_to(invite, 487),
            "challenge": lambda: reply_to(invite, 401, WWW_Authenticate='Digest realm="r", nonce="n", qop="auth"'),
            "bye-200": lambda: reply_to(world.last("BYE"), 200),
            "bye": lambda: world.compose("BYE", invite),
            "update": lambda: world.compose("UPDATE", invite, body=SDP),
            "reinvite": lambda: world.compose("INVITE", invite, body=SDP),
        }[kind]()
        world.agent.layer.receive(mutate(subject, edits), FAR)
        await world.idle()
        world.hang_up()
        world.clock.advance(700)
        await world.idle()
        assert world.ended.proof.result is not Result.PENDING
        assert (world.agent.remembered_legs(), len(world.agent.layer), world.clock.pending) == (0, 0, 0)

    asyncio.run(play())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    EDITS, st.sampled_from(["invite", "credentials", "cancel", "early-bye", "refusal-ack", "ack", "bye", "reinvite"])
)
def test_a_caller_that_says_mutated_messages_crashes_nothing_and_leaves_nothing(
    edits: list[tuple[int, int, bytes]], kind: str
) -> None:
    async def play() -> None:
        world = trusting(peer=Peer({"carrier": "pa55"}) if kind == "credentials" else None)
        caller = Caller(world)
        if kind not in ("invite", "credentials"):
            caller.invite()
            world.agent.ring(caller.leg)
            if kind in ("ack", "bye", "reinvite"):
                world.agent.answer(caller.leg)
                await world.idle()
            if kind == "refusal-ack":
                world.hang_up(caller.leg)
            if kind in ("bye", "reinvite"):
                caller.ack()
        caller.garble = lambda data: mutate(data, edits)
        acts: dict[str, Callable[[], object]] = {
            "invite": caller.invite,
            "credentials": lambda: caller.invite({"Authorization": CREDENTIALS, "P-Asserted-Identity": '"A" <tel:+1>'}),
            "cancel": caller.cancel,
            "early-bye": lambda: caller.send("BYE", cseq=2),
            "refusal-ack": caller.ack,
            "ack": lambda: caller.ack(sdp=SDP),
            "bye": lambda: caller.send("BYE", cseq=2),
            "reinvite": lambda: caller.send("INVITE", cseq=2, body=SDP),
        }
        acts[kind]()
        await world.idle()
        for told in world.of(Incoming):
            world.agent.answer(told.call_id)
            await world.idle()
            world.hang_up(told.call_id)
        world.clock.advance(700)
        await world.idle()
        assert {told.call_id for told in world.of(Incoming)} == {ended.call_id for ended in world.of(LegEnded)}
        assert len(world.of(Incoming)) == len(world.of(LegEnded))
        assert (world.agent.remembered_legs(), len(world.agent.layer), world.clock.pending) == (0, 0, 0)

    asyncio.run(play())
