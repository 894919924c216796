"""The transactions of SIP, as data.

A transaction is one request and all the responses to it. Over UDP both may be lost, so the client repeats the
request until a response comes and the server repeats the response until it is known to have arrived. Four machines
do this: the INVITE is special because a person may take a minute to pick up, so its client stops repeating at the first
1xx, and its final response is acknowledged by an ACK.

RFC 3261 section 17 draws the four machines; RFC 6026 corrects the two of the INVITE. In the old drawing a 2xx
destroyed the transaction at once, and a second 2xx, of another fork or a repetition, found nobody. The state ACCEPTED
keeps listening for 64*T1. For a server that ends calls this is the difference between a hung-up call and a ghost.

Three tables make up a machine:

- `moves`: what happens, in which state, leads to which state and has us do what;
- `timers`: which timers run in which state. Entering a state stops the timers that it does not name and starts
  those it newly names, so no row of `moves` mentions a timer. A, E and G repeat; the others run once;
- `TIMER_LENGTHS`: how long each runs. Timers that only repeat, or only absorb repetitions, are for
  unreliable transports: over TCP A, E and G do not run, and D, I, J and K end at once.

A destination that the network calls unreachable fails an INVITE at once. Not so a BYE or CANCEL: a proxy that is
failing over, a connection that a firewall forgot and an ICMP message that anybody may forge all look like this, and
giving up would leave a phone line open. They are repeated until timer F; over TCP on a new connection.

What is not in a table moves nothing: a response that comes too late, an ACK to nothing. `machine.py` runs the tables.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec


class State(StrEnum):
    """Where a transaction is. The names are the RFCs'; INITIAL is before the first message."""

    INITIAL = "initial"
    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    TERMINATED = "terminated"


class Event(StrEnum):
    """What can happen to a transaction."""

    START = "start"
    ADOPT = "adopt"
    """Take over an INVITE of an earlier life, ours or the far end's, or one past timer B: listen, do not send."""
    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    REQUEST = "request"
    """The request came again."""
    ACK = "ack"
    OBSOLETE = "obsolete"
    """The response does not matter any more: listen for it, but do not repeat the request."""
    UNREACHABLE = "unreachable"
    """The transport says that nobody is there."""
    RETRANSMIT = "retransmit"
    """Timer A, E or G."""
    TIMEOUT = "timeout"
    """Timer B, F or H."""
    EXPIRE = "expire"
    """Timer D, I, J, K, L or M: nothing more will come."""


class Action(StrEnum):
    """What a move has us do."""

    SEND = "send"
    """Send the request, or the last response, (again)."""
    PASS = "pass"  # noqa: S105 - not a password
    """Hand the message to the user of the transaction."""
    REPEAT = "repeat"
    """Send the request once more, later: the connection that carried it is gone, a new one will be opened."""
    ACK = "ack"
    """Acknowledge a final response of 300 or more (RFC 3261 section 17.1.1.3)."""
    TELL_TIMEOUT = "tell_timeout"
    TELL_ACKNOWLEDGED = "tell_acknowledged"
    TELL_UNREACHABLE = "tell_unreachable"


class Timer(StrEnum):
    """The timers of RFC 3261 table 4, and L and M of RFC 6026."""

    A = "A"
    B = "B"
    D = "D"
    E = "E"
    F = "F"
    G = "G"
    H = "H"
    I = "I"  # noqa: E741 - the RFC's name
    J = "J"
    K = "K"
    L = "L"
    M = "M"


class Timing(msgspec.Struct, frozen=True):
    """The base times of RFC 3261 section 17.1.1.1, in seconds."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def timeout(self) -> float:
        """64*T1: how long anything in SIP is waited for."""
        return 64 * self.t1


Move = tuple[State, tuple[Action, ...]]


class Machine(msgspec.Struct, frozen=True):
    """One machine: its moves, and the timers that run in each state."""

    moves: dict[tuple[State, Event], Move]
    timers: dict[State, tuple[Timer, ...]]


CLIENT_INVITE = Machine(
    moves={
        (State.INITIAL, Event.START): (State.CALLING, (Action.SEND,)),
        (State.INITIAL, Event.ADOPT): (State.PROCEEDING, ()),
        (State.CALLING, Event.RETRANSMIT): (State.CALLING, (Action.SEND,)),
        (State.CALLING, Event.TIMEOUT): (State.TERMINATED, (Action.TELL_TIMEOUT,)),
        (State.CALLING, Event.UNREACHABLE): (State.TERMINATED, (Action.TELL_UNREACHABLE,)),
        (State.CALLING, Event.PROVISIONAL): (State.PROCEEDING, (Action.PASS,)),
        (State.CALLING, Event.SUCCESS): (State.ACCEPTED, (Action.PASS,)),
        (State.CALLING, Event.FAILURE): (State.COMPLETED, (Action.ACK, Action.PASS)),
        (State.PROCEEDING, Event.PROVISIONAL): (State.PROCEEDING, (Action.PASS,)),
        (State.PROCEEDING, Event.SUCCESS): (State.ACCEPTED, (Action.PASS,)),
        (State.PROCEEDING, Event.FAILURE): (State.COMPLETED, (Action.ACK, Action.PASS)),
        (State.ACCEPTED, Event.SUCCESS): (State.ACCEPTED, (Action.PASS,)),
        (State.ACCEPTED, Event.EXPIRE): (State.TERMINATED, ()),
        (State.COMPLETED, Event.FAILURE): (State.COMPLETED, (Action.ACK,)),
        (State.COMPLETED, Event.EXPIRE): (State.TERMINATED, ()),
    },
    timers={
        State.CALLING: (Timer.A, Timer.B),
        State.ACCEPTED: (Timer.M,),
        State.COMPLETED: (Timer.D,),
    },
)

CLIENT_NON_INVITE = Machine(
    moves={
        (State.INITIAL, Event.START): (State.TRYING, (Action.SEND,)),
        (State.TRYING, Event.RETRANSMIT): (State.TRYING, (Action.SEND,)),
        (State.TRYING, Event.TIMEOUT): (State.TERMINATED, (Action.TELL_TIMEOUT,)),
        (State.TRYING, Event.UNREACHABLE): (State.TRYING, (Action.REPEAT,)),
        (State.TRYING, Event.PROVISIONAL): (State.PROCEEDING, (Action.PASS,)),
        (State.TRYING, Event.SUCCESS): (State.COMPLETED, (Action.PASS,)),
        (State.TRYING, Event.FAILURE): (State.COMPLETED, (Action.PASS,)),
        (State.TRYING, Event.OBSOLETE): (State.COMPLETED, ()),
        (State.PROCEEDING, Event.OBSOLETE): (State.COMPLETED, ()),
        (State.PROCEEDING, Event.RETRANSMIT): (State.PROCEEDING, (Action.SEND,)),
        (State.PROCEEDING, Event.TIMEOUT): (State.TERMINATED, (Action.TELL_TIMEOUT,)),
        (State.PROCEEDING, Event.UNREACHABLE): (State.PROCEEDING, (Action.REPEAT,)),
        (State.PROCEEDING, Event.PROVISIONAL): (State.PROCEEDING, (Action.PASS,)),
        (State.PROCEEDING, Event.SUCCESS): (State.COMPLETED, (Action.PASS,)),
        (State.PROCEEDING, Event.FAILURE): (State.COMPLETED, (Action.PASS,)),
        (State.COMPLETED, Event.EXPIRE): (State.TERMINATED, ()),
    },
    timers={
        State.TRYING: (Timer.E, Timer.F),
        State.PROCEEDING: (Timer.E, Timer.F),
        State.COMPLETED: (Timer.K,),
    },
)

SERVER_INVITE = Machine(
    moves={
        (State.INITIAL, Event.START): (State.PROCEEDING, (Action.PASS,)),
        (State.INITIAL, Event.ADOPT): (State.PROCEEDING, ()),
        (State.PROCEEDING, Event.REQUEST): (State.PROCEEDING, (Action.SEND,)),
        (State.PROCEEDING, Event.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
        (State.PROCEEDING, Event.SUCCESS): (State.ACCEPTED, (Action.SEND,)),
        (State.PROCEEDING, Event.FAILURE): (State.COMPLETED, (Action.SEND,)),
        (State.ACCEPTED, Event.SUCCESS): (State.ACCEPTED, (Action.SEND,)),
        (State.ACCEPTED, Event.ACK): (State.ACCEPTED, (Action.PASS,)),
        (State.ACCEPTED, Event.EXPIRE): (State.TERMINATED, ()),
        (State.COMPLETED, Event.REQUEST): (State.COMPLETED, (Action.SEND,)),
        (State.COMPLETED, Event.RETRANSMIT): (State.COMPLETED, (Action.SEND,)),
        (State.COMPLETED, Event.ACK): (State.CONFIRMED, (Action.TELL_ACKNOWLEDGED,)),
        (State.COMPLETED, Event.TIMEOUT): (State.TERMINATED, (Action.TELL_TIMEOUT,)),
        (State.CONFIRMED, Event.EXPIRE): (State.TERMINATED, ()),
    },
    timers={
        State.ACCEPTED: (Timer.L,),
        State.COMPLETED: (Timer.G, Timer.H),
        State.CONFIRMED: (Timer.I,),
    },
)

SERVER_NON_INVITE = Machine(
    moves={
        (State.INITIAL, Event.START): (State.TRYING, (Action.PASS,)),
        (State.TRYING, Event.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
        (State.TRYING, Event.SUCCESS): (State.COMPLETED, (Action.SEND,)),
        (State.TRYING, Event.FAILURE): (State.COMPLETED, (Action.SEND,)),
        (State.PROCEEDING, Event.REQUEST): (State.PROCEEDING, (Action.SEND,)),
        (State.PROCEEDING, Event.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
        (State.PROCEEDING, Event.SUCCESS): (State.COMPLETED, (Action.SEND,)),
        (State.PROCEEDING, Event.FAILURE): (State.COMPLETED, (Action.SEND,)),
        (State.COMPLETED, Event.REQUEST): (State.COMPLETED, (Action.SEND,)),
        (State.COMPLETED, Event.EXPIRE): (State.TERMINATED, ()),
    },
    timers={State.COMPLETED: (Timer.J,)},
)

TIMER_EVENTS: dict[Timer, Event] = {
    **dict.fromkeys((Timer.A, Timer.E, Timer.G), Event.RETRANSMIT),
    **dict.fromkeys((Timer.B, Timer.F, Timer.H), Event.TIMEOUT),
    **dict.fromkeys((Timer.D, Timer.I, Timer.J, Timer.K, Timer.L, Timer.M), Event.EXPIRE),
}
"""What each timer means."""

Length = Callable[[Timing, int, State], float]
"""Seconds of a timer, by the base times, how often it has fired already, and the state."""

TIMER_LENGTHS: dict[Timer, Length] = {
    Timer.A: lambda timing, fired, _: timing.t1 * 2**fired,
    Timer.E: lambda timing, fired, state: (
        timing.t2 if state is State.PROCEEDING else min(timing.t1 * 2**fired, timing.t2)
    ),
    Timer.G: lambda timing, fired, _: min(timing.t1 * 2**fired, timing.t2),
    **dict.fromkeys(
        (Timer.B, Timer.D, Timer.F, Timer.H, Timer.J, Timer.L, Timer.M), lambda timing, _fired, _state: timing.timeout
    ),
    **dict.fromkeys((Timer.I, Timer.K), lambda timing, _fired, _state: timing.t4),
}
"""RFC 3261 table 4. Timer D is 64*T1 here: 32 s with the standard T1, as section 17.1.1.2 asks."""

REPEATING = frozenset({Timer.A, Timer.E, Timer.G})
"""Timers that start again when they fire; they do not run over reliable transports."""

ABSORBING = frozenset({Timer.D, Timer.I, Timer.J, Timer.K})
"""Timers that only wait for repetitions; of no length over reliable transports."""
