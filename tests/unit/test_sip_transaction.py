"""The four transaction machines on a clock that we move."""

import pytest

from onhook.lines.sip.address import Destination
from onhook.lines.sip.layer import TransactionLayer, server_key
from onhook.lines.sip.machine import ClientTransaction, Failure, ServerTransaction
from onhook.lines.sip.message import Request, Response, parse
from onhook.lines.sip.transaction import (
    CLIENT_INVITE,
    CLIENT_NON_INVITE,
    REPEATING,
    SERVER_INVITE,
    SERVER_NON_INVITE,
    TIMER_EVENTS,
    TIMER_LENGTHS,
    Event,
    Machine,
    State,
    Timing,
)
from onhook.testing.clock import ManualClock
from tests.unit.sip_world import FAR, FakeNetwork, reply_to

pytestmark = pytest.mark.unit

TCP = Destination("tcp", "192.0.2.9", 5060)
MACHINES = [CLIENT_INVITE, CLIENT_NON_INVITE, SERVER_INVITE, SERVER_NON_INVITE]


class Stack:
    """A transaction layer and its user, who writes down what it is told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.network = FakeNetwork()
        self.layer = TransactionLayer(self.network, self.clock, Timing())
        self.layer.user = self
        self.statuses: list[int] = []
        self.failures: list[Failure] = []
        self.strays: list[int] = []
        self.acks: list[Request] = []
        self.requests: list[ServerTransaction] = []

    def on_request(self, transaction: ServerTransaction) -> None:
        self.requests.append(transaction)

    def on_ack(self, ack: Request) -> None:
        self.acks.append(ack)

    def on_stray_response(self, response: Response) -> None:
        self.strays.append(response.status)

    def send(self, method: str, destination: Destination = FAR) -> ClientTransaction:
        return self.layer.send(
            ours(method), destination, lambda r: self.statuses.append(r.status), self.failures.append
        )

    def answer(self, transaction: ClientTransaction, status: int) -> None:
        self.layer.receive(reply_to(transaction.request, status), transaction.destination)

    def receive(self, data: bytes, source: Destination = FAR) -> ServerTransaction:
        self.layer.receive(data, source)
        return self.requests[-1]

    def sent_at(self, seconds: float) -> list[float]:
        """Move on in small steps; return the moments at which something was sent."""
        moments = []
        for _ in range(round(seconds * 10)):
            before = len(self.network.sent)
            self.clock.advance(0.1)
            moments += [round(self.clock.monotonic(), 1)] * (len(self.network.sent) - before)
        return moments


def ours(method: str) -> Request:
    return Request(
        method=method,
        uri="sip:far@192.0.2.9",
        headers=(
            ("Via", f"SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK-{method}"),
            ("Route", "<sip:proxy;lr>"),
            ("From", "<sip:a@b>;tag=1"),
            ("To", "<sip:c@d>"),
            ("Call-ID", "1@x"),
            ("CSeq", f"5 {method}"),
        ),
    )


def theirs(method: str, branch: str = "z9hG4bKt", **changes: str) -> bytes:
    head = {
        "Via": f"SIP/2.0/UDP 192.0.2.9:5060;branch={branch}",
        "From": "<sip:c@d>;tag=2",
        "To": "<sip:a@b>;tag=1",
        "Call-ID": "1@x",
        "CSeq": f"9 {method}",
        **changes,
    }
    return (
        f"{method} sip:onhook@192.0.2.1 SIP/2.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()) + "\r\n"
    ).encode()


# --- the tables themselves


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_is_reached_and_terminated_is_the_only_end(machine: Machine) -> None:
    sources = {state for state, _ in machine.moves}
    targets = {state for state, _ in machine.moves.values()}
    assert targets - sources == {State.TERMINATED}
    assert sources - targets == {State.INITIAL}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_running_timer_has_its_move(machine: Machine) -> None:
    for state, timers in machine.timers.items():
        for timer in timers:
            assert (state, TIMER_EVENTS[timer]) in machine.moves


def test_every_timer_has_a_length_and_a_meaning() -> None:
    assert set(TIMER_LENGTHS) == set(TIMER_EVENTS)
    assert {TIMER_EVENTS[timer] for timer in REPEATING} == {Event.RETRANSMIT}


# --- client INVITE


def test_an_invite_is_repeated_with_doubled_intervals_until_timer_b() -> None:
    stack = Stack()
    transaction = stack.send("INVITE")
    assert stack.sent_at(33) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert (transaction.sends, transaction.state, stack.failures) == (7, State.TERMINATED, [Failure.TIMEOUT])
    assert transaction.last_sent_at - transaction.first_sent_at == 31_500
    assert len(stack.layer) == 0


def test_a_provisional_stops_the_repetitions_for_good() -> None:
    stack = Stack()
    transaction = stack.send("INVITE")
    stack.answer(transaction, 100)
    assert stack.sent_at(60) == []
    assert (stack.statuses, stack.failures, transaction.state) == ([100], [], State.PROCEEDING)


def test_a_rejection_is_acked_inside_the_transaction_each_time_it_comes() -> None:
    stack = Stack()
    transaction = stack.send("INVITE")
    stack.answer(transaction, 486)
    stack.answer(transaction, 486)
    acks = [parse(data) for data, _ in stack.network.sent[1:]]
    assert [ack.cseq.method for ack in acks] == ["ACK", "ACK"]
    assert acks[0].via.branch == transaction.request.via.branch
    assert acks[0].raw("Route") == ["<sip:proxy;lr>"]
    assert acks[0].to_tag == "far"
    assert stack.statuses == [486], "the user hears of it once"
    stack.clock.advance(32.1)
    assert len(stack.layer) == 0


def test_a_2xx_keeps_the_transaction_for_64_t1_and_every_2xx_is_passed_on() -> None:
    stack = Stack()
    transaction = stack.send("INVITE")
    stack.answer(transaction, 200)
    stack.clock.advance(31)
    stack.answer(transaction, 200)
    assert (stack.statuses, transaction.state, len(stack.network.sent)) == ([200, 200], State.ACCEPTED, 1)
    stack.clock.advance(1.1)
    stack.answer(transaction, 200)
    assert (stack.strays, len(stack.layer)) == ([200], 0)


def test_an_adopted_invite_listens_and_says_nothing() -> None:
    stack = Stack()
    adopted = stack.layer.adopt(ours("INVITE"), FAR, lambda r: stack.statuses.append(r.status), stack.failures.append)
    assert stack.sent_at(60) == []
    stack.answer(adopted, 487)
    assert stack.statuses == [487]
    assert stack.network.sent[-1][0].startswith(b"ACK ")


def test_a_foreign_branch_or_method_or_number_is_no_response_of_ours() -> None:
    stack = Stack()
    transaction = stack.send("BYE")
    good = reply_to(transaction.request, 200)
    for old, new in [
        (b"z9hG4bK-BYE", b"z9hG4bK-other"),
        (b"5 BYE", b"5 INVITE"),
        (b"5 BYE", b"6 BYE"),
        (b"1@x", b"2@x"),
    ]:
        stack.layer.receive(good.replace(old, new), FAR)
    assert (stack.statuses, len(stack.strays), transaction.status) == ([], 4, None)


# --- client non-INVITE


def test_a_bye_is_repeated_up_to_t2_until_timer_f() -> None:
    stack = Stack()
    transaction = stack.send("BYE")
    assert stack.sent_at(33) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert (transaction.sends, stack.failures) == (11, [Failure.TIMEOUT])


def test_after_a_provisional_a_bye_is_repeated_every_t2() -> None:
    stack = Stack()
    transaction = stack.send("BYE")
    stack.clock.advance(0.2)
    stack.answer(transaction, 100)
    assert stack.sent_at(10) == [0.5, 4.5, 8.5]
    stack.answer(transaction, 200)
    assert (stack.sent_at(5), len(stack.layer)) == ([], 0)


def test_a_repeated_final_response_is_absorbed() -> None:
    stack = Stack()
    transaction = stack.send("BYE")
    stack.answer(transaction, 200)
    answered_at = transaction.status_at
    stack.clock.advance(1)
    stack.answer(transaction, 200)
    assert (stack.statuses, transaction.status_at) == ([200], answered_at)


def test_an_obsolete_request_is_not_repeated_but_its_answer_is_noted() -> None:
    stack = Stack()
    transaction = stack.send("CANCEL")
    transaction.happen(Event.OBSOLETE)
    assert stack.sent_at(2) == []
    stack.answer(transaction, 200)
    assert (stack.statuses, transaction.status) == ([], 200)
    stack.clock.advance(5)
    assert len(stack.layer) == 0


def test_over_tcp_nothing_is_repeated_and_nothing_lingers() -> None:
    stack = Stack()
    transaction = stack.send("BYE", TCP)
    assert stack.sent_at(20) == []
    stack.answer(transaction, 200)
    stack.clock.advance(0)
    assert len(stack.layer) == 0
    silent = stack.send("INVITE", TCP)
    stack.clock.advance(32.1)
    assert (silent.sends, stack.failures) == (1, [Failure.TIMEOUT])


def test_a_dead_destination_fails_an_invite_that_waits_there_and_nothing_else() -> None:
    stack = Stack()
    ringing = stack.send("INVITE")
    stack.answer(ringing, 180)
    stack.layer.unreachable(FAR)
    assert (ringing.state, stack.failures) == (State.PROCEEDING, [])
    calling, bye = stack.send("INVITE"), stack.send("BYE")
    stack.layer.unreachable(TCP)
    assert stack.failures == []
    stack.layer.unreachable(FAR)
    assert stack.failures == [Failure.UNREACHABLE]
    assert (calling.state, bye.state) == (State.TERMINATED, State.TRYING)


def test_a_request_whose_connection_breaks_is_repeated_on_a_new_one_ever_more_patiently() -> None:
    stack = Stack()
    bye = stack.send("BYE", TCP)
    stack.clock.advance(10)
    assert bye.sends == 1
    for sends, wait in enumerate((0.5, 1, 2, 4, 4), 1):
        stack.layer.unreachable(TCP)
        stack.layer.unreachable(TCP)
        stack.clock.advance(wait - 0.01)
        assert bye.sends == sends
        stack.clock.advance(0.01)
        assert bye.sends == sends + 1
    stack.clock.advance(9)
    assert (bye.sends, stack.failures) == (6, [])
    stack.answer(bye, 200)
    assert bye.status == 200


# --- server


def test_a_repeated_request_gets_the_same_response_again_for_64_t1() -> None:
    stack = Stack()
    stack.receive(theirs("BYE")).respond(200)
    stack.clock.advance(31)
    stack.receive(theirs("BYE"))
    assert (len(stack.requests), len(stack.network.sent)) == (1, 2)
    assert stack.network.sent[0] == stack.network.sent[1]
    stack.clock.advance(1.1)
    assert len(stack.layer) == 0


def test_a_request_that_repeats_before_our_response_is_absorbed() -> None:
    stack = Stack()
    stack.receive(theirs("BYE"))
    stack.receive(theirs("BYE"))
    assert (len(stack.requests), stack.network.sent) == (1, [])


def test_a_rejected_invite_is_answered_until_its_ack() -> None:
    stack = Stack()
    stack.receive(theirs("INVITE")).respond(403, tag="us")
    assert stack.sent_at(8) == [0.5, 1.5, 3.5, 7.5]
    stack.layer.receive(theirs("ACK"), FAR)
    assert (stack.sent_at(10), stack.acks, len(stack.layer)) == ([], [], 0)


def test_a_rejected_invite_that_is_never_acked_is_given_up_at_timer_h() -> None:
    stack = Stack()
    stack.receive(theirs("INVITE")).respond(403)
    stack.clock.advance(32.1)
    assert len(stack.layer) == 0


def test_a_2xx_to_an_invite_is_repeated_by_the_user_and_its_ack_is_the_user_s() -> None:
    stack = Stack()
    transaction = stack.receive(theirs("INVITE"))
    transaction.respond(200)
    assert stack.sent_at(3) == []
    transaction.respond_again()
    stack.receive(theirs("INVITE"))
    assert len(stack.network.sent) == 2, "the repeated INVITE is absorbed, the 2xx went twice"
    stack.layer.receive(theirs("ACK", branch="z9hG4bKother"), FAR)
    stack.layer.receive(theirs("ACK"), FAR)
    assert len(stack.acks) == 2
    stack.clock.advance(32.1)
    assert len(stack.layer) == 0


def test_a_provisional_response_is_repeated_with_its_request() -> None:
    stack = Stack()
    stack.receive(theirs("INVITE")).respond(100)
    stack.receive(theirs("INVITE"))
    assert len(stack.network.sent) == 2


def test_a_cancel_finds_its_invite_by_branch_and_sent_by() -> None:
    stack = Stack()
    invite = stack.receive(theirs("INVITE"))
    cancel = stack.receive(theirs("CANCEL")).request
    assert stack.layer.invite_of(cancel) is invite
    other = stack.receive(theirs("CANCEL", branch="z9hG4bKother")).request
    assert stack.layer.invite_of(other) is None


def test_requests_of_rfc_2543_are_told_apart_without_a_branch() -> None:
    def key(data: bytes) -> tuple[str, ...]:
        message = parse(data)
        assert isinstance(message, Request)
        return server_key(message)

    old = theirs("INVITE", branch="1")
    assert key(old) == key(theirs("INVITE", branch="1", To="<sip:a@b>"))
    assert key(old) == key(theirs("ACK", branch="2")), "the ACK matches its INVITE"
    assert key(old) != key(theirs("INVITE", branch="1", CSeq="10 INVITE"))


def test_responses_go_where_the_request_came_from() -> None:
    stack = Stack()
    nat = Destination("udp", "198.51.100.7", 40_000)
    stack.receive(theirs("OPTIONS", Via="SIP/2.0/UDP 10.0.0.1:5066;rport;branch=z9hG4bK1"), nat).respond(200)
    stack.receive(theirs("OPTIONS", Via="SIP/2.0/UDP 10.0.0.1:5066;branch=z9hG4bK2"), nat).respond(200)
    stack.receive(theirs("OPTIONS", Via="SIP/2.0/TCP 10.0.0.1:5066;branch=z9hG4bK3"), TCP).respond(200)
    assert [to for _, to in stack.network.sent] == [nat, Destination("udp", "198.51.100.7", 5066), TCP]


def test_garbage_is_dropped_and_a_closed_layer_is_empty() -> None:
    stack = Stack()
    stack.layer.receive(b"\x00garbage", FAR)
    stack.layer.receive(b"\r\n\r\n", FAR)
    stack.send("INVITE")
    stack.receive(theirs("INVITE"))
    stack.layer.drop_all()
    assert (len(stack.layer), stack.clock.pending, stack.failures) == (0, 0, [])
