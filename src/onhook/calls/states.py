"""The state machine of one call, as data.

A call is a row that remembers a conversation on a wire which it cannot see. The wire moves first: a
phone rings, somebody answers, somebody hangs up; the row follows. Only one thing travels the other
way, the wish that the call be over, and the whole machine is built around it.

Two rules shape the table:

1. **A stop is a state, not a request.** `ENDING` is entered by one durable write, in every state that
   is not already over, and it is a promise: nobody on our side talks any more, no new INVITE leaves,
   and the line owes us a proof. There is no way back out of it but to `ENDED`.
2. **`ENDED` is written once, from the wire.** It is entered when the wire is settled: the far end's own
   BYE or rejection, the answer to our BYE, the 487 to our cancelled INVITE, or the plain fact that no
   INVITE ever left. It has no exits.

A call that a far end starts begins in `RINGING`: its INVITE is there before its row is.

A 2xx may come without any provisional response before it, so `DIALING` goes to `ANSWERED` directly.
A wire fact that comes too late (a 180 after the stop, a 200 that crosses our CANCEL) finds no entry in
the table: it is a timeline fact of the call and moves nothing.

`control/end.py` holds the only two functions that enter `ENDING` and `ENDED`; the rest of the table is
walked by `control/progress.py`. Stores turn the table into the `WHERE state IN (...)` of their
conditional updates through `sources`, so there is no second copy of it.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a call is, as onhook's own API shows it."""

    SCHEDULED = "scheduled"
    """Nothing is on the wire: it waits for its `delay_seconds`, or, registered, for its caller."""
    DIALING = "dialing"
    """The INVITE is about to leave, or has left and nobody rings yet."""
    RINGING = "ringing"
    """The far end sent a 180 or 183, or it calls us and we have not answered."""
    ANSWERED = "answered"
    """A 2xx arrived and was acknowledged: people may talk, and pay."""
    ENDING = "ending"
    """A stop is durable; audio is cut; the wire is not settled yet."""
    ENDED = "ended"
    """The wire is settled. Nothing follows."""


class Input(StrEnum):
    """What can happen to a call."""

    DIAL = "dial"
    """The delay is over: place the call."""
    ARRIVE = "arrive"
    """The far end that a registered call waits for calls us."""
    RING = "ring"
    """180 or 183 from the far end."""
    ANSWER = "answer"
    """2xx to the INVITE."""
    STOP = "stop"
    """Somebody, or one of our clocks, wants the call over."""
    SETTLE = "settle"
    """The wire is settled, by the far end's act or by the proof of ours."""


TRANSITIONS: dict[State, dict[Input, State]] = {
    State.SCHEDULED: {
        Input.DIAL: State.DIALING,
        Input.ARRIVE: State.RINGING,
        Input.STOP: State.ENDING,
    },
    State.DIALING: {
        Input.RING: State.RINGING,
        Input.ANSWER: State.ANSWERED,
        Input.STOP: State.ENDING,
        Input.SETTLE: State.ENDED,
    },
    State.RINGING: {
        Input.ANSWER: State.ANSWERED,
        Input.STOP: State.ENDING,
        Input.SETTLE: State.ENDED,
    },
    State.ANSWERED: {
        Input.STOP: State.ENDING,
        Input.SETTLE: State.ENDED,
    },
    State.ENDING: {
        Input.SETTLE: State.ENDED,
    },
    State.ENDED: {},
}

LIVE = frozenset({State.SCHEDULED, State.DIALING, State.RINGING, State.ANSWERED})
"""States in which a call can still be stopped."""

OVER = frozenset({State.ENDING, State.ENDED})
"""States that the two dialects read as over: irrevocably stopped."""


def next_state(state: State, happened: Input) -> State | None:
    """Return the state that follows, or None when `happened` moves nothing in `state`."""
    return TRANSITIONS[state].get(happened)


def sources(happened: Input) -> frozenset[State]:
    """Return the states in which `happened` moves a call."""
    return frozenset(state for state, row in TRANSITIONS.items() if happened in row)


def target(happened: Input) -> State:
    """Return the one state that `happened` leads to; every input has exactly one."""
    (state,) = {row[happened] for row in TRANSITIONS.values() if happened in row}
    return state


def mermaid() -> str:
    """Draw the table as a Mermaid state diagram (docs/reference/states.md is made of it)."""
    lines = [
        "stateDiagram-v2",
        "    [*] --> scheduled: created with a delay, or registered",
        "    [*] --> dialing: created",
        "    [*] --> ringing: called by a far end",
    ]
    for state, row in TRANSITIONS.items():
        lines += [f"    {state} --> {after}: {happened}" for happened, after in row.items()]
    return "\n".join([*lines, "    ended --> [*]"])
