"""The life of one outbound leg, as data.

A leg is a conversation that we started and must be able to end at any moment. What makes this hard is that the far
end learns of our wish only through a network that loses, delays and reorders, and that SIP lets us speak only at
certain moments: no CANCEL before the first 1xx (RFC 3261 section 9.1), no BYE before a 2xx. So the wish to end is a
*state*, not a message, and there are three of them before the answer and one after it:

- PREPARING, the stop comes while nothing is out: nothing will be.
- HOLDING, the INVITE is out and nobody has replied. Its repetitions go on, for they draw the 1xx that lets us CANCEL.
  This is the state everyone forgets; without it the far end rings and answers a call that our side calls ended.
- CANCELING, the CANCEL is out. Only the INVITE's own final response ends it, and that may still be a 2xx.
- CLEARING, there is at least one dialog and each is being ended by a BYE, ours or theirs.

SETTLED is when `LegEnded` has been reported. The leg stays there to listen, for 64*T1 or, when the end is not proved,
for the whole watch: whatever turns up late is ended too and reported as `ProofUpdated`. No state but PREPARING starts
an INVITE, and no way leads back to PREPARING after a stop: RETRY is only in the rows of CALLING and PROCEEDING.

An input that is not in the table moves nothing; an action of None is a change of state alone. The other actions are
methods of `leg.Leg` of the same name.
"""

from enum import StrEnum


class LegState(StrEnum):
    """Where a leg is."""

    PREPARING = "preparing"
    """The snapshot is being committed; this INVITE has not left."""
    CALLING = "calling"
    """The INVITE is out, nobody replied."""
    PROCEEDING = "proceeding"
    """A 1xx came."""
    ACCEPTED = "accepted"
    """A 2xx came; the dialog is being committed, then the ACK leaves."""
    ANSWERED = "answered"
    HOLDING = "holding"
    CANCELING = "canceling"
    CLEARING = "clearing"
    SETTLED = "settled"


class LegInput(StrEnum):
    """What can happen to a leg."""

    SENT = "sent"
    UNSENT = "unsent"
    """The INVITE could not, or may not, leave."""
    PROVISIONAL = "provisional"
    RETRY = "retry"
    """A challenge or a 422 that we can meet with a new INVITE."""
    REJECT = "reject"
    """The INVITE's final response of 300 or more."""
    ACCEPT = "accept"
    """A 2xx with a tag not seen before: a new dialog."""
    COMMITTED = "committed"
    """The dialog is durable, or waited for long enough."""
    SILENCE = "silence"
    """No response in 64*T1: timer B, or as long after a CANCEL; or the network says nobody is there."""
    STOP = "stop"
    FAR_BYE = "far_bye"
    """The far end ended the dialog that won."""
    CLEARED = "cleared"
    """Every dialog is settled."""


class LegAction(StrEnum):
    """What the leg does on a move."""

    ANNOUNCE = "announce"
    RETRY = "retry"
    COMMIT = "commit"
    ANSWER = "answer"
    REFUSE_FORK = "refuse_fork"
    CUT = "cut"
    CANCEL = "cancel"
    CLEAR = "clear"
    SETTLE = "settle"
    UPDATE_PROOF = "update_proof"


_Moves = dict[LegInput, tuple[LegState, LegAction | None]]

LEG_MOVES: dict[LegState, _Moves] = {
    LegState.PREPARING: {
        LegInput.SENT: (LegState.CALLING, LegAction.ANNOUNCE),
        LegInput.UNSENT: (LegState.SETTLED, LegAction.SETTLE),
        LegInput.STOP: (LegState.SETTLED, LegAction.SETTLE),
    },
    LegState.CALLING: {
        LegInput.PROVISIONAL: (LegState.PROCEEDING, None),
        LegInput.RETRY: (LegState.PREPARING, LegAction.RETRY),
        LegInput.REJECT: (LegState.SETTLED, LegAction.SETTLE),
        LegInput.ACCEPT: (LegState.ACCEPTED, LegAction.COMMIT),
        LegInput.SILENCE: (LegState.SETTLED, LegAction.SETTLE),
        LegInput.STOP: (LegState.HOLDING, LegAction.CUT),
    },
    LegState.PROCEEDING: {
        LegInput.PROVISIONAL: (LegState.PROCEEDING, None),
        LegInput.RETRY: (LegState.PREPARING, LegAction.RETRY),
        LegInput.REJECT: (LegState.SETTLED, LegAction.SETTLE),
        LegInput.ACCEPT: (LegState.ACCEPTED, LegAction.COMMIT),
        LegInput.STOP: (LegState.CANCELING, LegAction.CANCEL),
    },
    LegState.HOLDING: {
        LegInput.PROVISIONAL: (LegState.CANCELING, LegAction.CANCEL),
        LegInput.REJECT: (LegState.SETTLED, LegAction.SETTLE),
        LegInput.ACCEPT: (LegState.CLEARING, LegAction.CLEAR),
        LegInput.SILENCE: (LegState.SETTLED, LegAction.SETTLE),
    },
    LegState.CANCELING: {
        LegInput.REJECT: (LegState.SETTLED, LegAction.SETTLE),
        LegInput.ACCEPT: (LegState.CLEARING, LegAction.CLEAR),
        LegInput.SILENCE: (LegState.SETTLED, LegAction.SETTLE),
    },
    LegState.ACCEPTED: {
        LegInput.COMMITTED: (LegState.ANSWERED, LegAction.ANSWER),
        LegInput.ACCEPT: (LegState.ACCEPTED, LegAction.REFUSE_FORK),
        LegInput.STOP: (LegState.CLEARING, LegAction.CLEAR),
        LegInput.FAR_BYE: (LegState.CLEARING, LegAction.CUT),
    },
    LegState.ANSWERED: {
        LegInput.ACCEPT: (LegState.ANSWERED, LegAction.REFUSE_FORK),
        LegInput.STOP: (LegState.CLEARING, LegAction.CLEAR),
        LegInput.FAR_BYE: (LegState.CLEARING, LegAction.CUT),
    },
    LegState.CLEARING: {
        LegInput.ACCEPT: (LegState.CLEARING, LegAction.REFUSE_FORK),
        LegInput.CLEARED: (LegState.SETTLED, LegAction.SETTLE),
    },
    LegState.SETTLED: {
        LegInput.PROVISIONAL: (LegState.SETTLED, LegAction.CANCEL),
        LegInput.REJECT: (LegState.SETTLED, LegAction.UPDATE_PROOF),
        LegInput.ACCEPT: (LegState.SETTLED, LegAction.REFUSE_FORK),
        LegInput.CLEARED: (LegState.SETTLED, LegAction.UPDATE_PROOF),
    },
}
"""The table: for each state, what each input leads to."""
