"""The life of one leg that a far end started, as data.

Here the far end asks and we reply, so most is simpler than in `leg_states.py`: whoever calls us knows that it does, and
a refusal ends the call whatever the network loses. Three moments are not simple:

- ANSWERING, we want to say 200 and make the dialog durable first. The caller may cancel while we write; then nothing
  was said yet, and 487 is the truth.
- ACCEPTED, the 200 is out and repeated until its ACK. A CANCEL comes too late now (RFC 3261 section 9.2); the caller
  that meant it sends a BYE after its ACK.
- HOLDING, a stop came in that moment. A BYE must wait for the ACK, or until 64*T1 have passed (section 15): the caller
  that has not seen our 200 yet would not know the dialog, refuse the BYE, and then find itself answered.

SETTLED is when `LegEnded` has been reported; the leg stays for a while to answer what comes late.

An input that is not in the table moves nothing; the actions are methods of `inbound_leg.InboundLeg` of the same name.
"""

from enum import StrEnum


class InboundState(StrEnum):
    """Where a leg is."""

    INCOMING = "incoming"
    """The INVITE was answered with 100; nobody has decided anything."""
    RINGING = "ringing"
    """Our 180 is out."""
    ANSWERING = "answering"
    """The snapshot is being committed, then the 200 leaves."""
    ACCEPTED = "accepted"
    """The 200 is out, its ACK has not come."""
    ANSWERED = "answered"
    REFUSING = "refusing"
    """Our final response of 300 or more is out, its ACK has not come."""
    HOLDING = "holding"
    CLEARING = "clearing"
    """The dialog is being ended by a BYE, ours or theirs."""
    SETTLED = "settled"


class InboundInput(StrEnum):
    """What can happen to a leg."""

    RING = "ring"
    ANSWER = "answer"
    COMMITTED = "committed"
    """The dialog is durable."""
    STOP = "stop"
    """We want it over: a refusal before the 200, a BYE after."""
    CANCEL = "cancel"
    """The far end's CANCEL."""
    ACK = "ack"
    """The ACK to our 200."""
    REFUSED = "refused"
    """The ACK to our refusal."""
    SILENCE = "silence"
    """No ACK in 64*T1."""
    FAR_BYE = "far_bye"
    CLEARED = "cleared"
    """The dialog is settled."""


class InboundAction(StrEnum):
    """What the leg does on a move."""

    RING = "ring"
    COMMIT = "commit"
    ACCEPT = "accept"
    ANNOUNCE = "announce"
    REFUSE = "refuse"
    TERMINATE = "terminate"
    CUT = "cut"
    CLEAR = "clear"
    SETTLE = "settle"
    UPDATE_PROOF = "update_proof"


UNANSWERED = (InboundState.INCOMING, InboundState.RINGING, InboundState.ANSWERING)
"""No final response has left."""
TALKING = (InboundState.ACCEPTED, InboundState.ANSWERED)

_Moves = dict[InboundInput, tuple[InboundState, InboundAction]]

_UNANSWERED: _Moves = {
    InboundInput.STOP: (InboundState.REFUSING, InboundAction.REFUSE),
    InboundInput.CANCEL: (InboundState.SETTLED, InboundAction.TERMINATE),
    InboundInput.FAR_BYE: (InboundState.CLEARING, InboundAction.REFUSE),
}
"""The ways out before the 200. A caller may also say BYE there (RFC 3261 section 15)."""

INBOUND_MOVES: dict[InboundState, _Moves] = {
    InboundState.INCOMING: {
        InboundInput.RING: (InboundState.RINGING, InboundAction.RING),
        InboundInput.ANSWER: (InboundState.ANSWERING, InboundAction.COMMIT),
        **_UNANSWERED,
    },
    InboundState.RINGING: {
        InboundInput.ANSWER: (InboundState.ANSWERING, InboundAction.COMMIT),
        **_UNANSWERED,
    },
    InboundState.ANSWERING: {
        InboundInput.COMMITTED: (InboundState.ACCEPTED, InboundAction.ACCEPT),
        **_UNANSWERED,
    },
    InboundState.ACCEPTED: {
        InboundInput.ACK: (InboundState.ANSWERED, InboundAction.ANNOUNCE),
        InboundInput.SILENCE: (InboundState.CLEARING, InboundAction.CLEAR),
        InboundInput.STOP: (InboundState.HOLDING, InboundAction.CUT),
        InboundInput.FAR_BYE: (InboundState.CLEARING, InboundAction.CUT),
    },
    InboundState.ANSWERED: {
        InboundInput.STOP: (InboundState.CLEARING, InboundAction.CLEAR),
        InboundInput.FAR_BYE: (InboundState.CLEARING, InboundAction.CUT),
    },
    InboundState.HOLDING: {
        InboundInput.ACK: (InboundState.CLEARING, InboundAction.CLEAR),
        InboundInput.SILENCE: (InboundState.CLEARING, InboundAction.CLEAR),
        InboundInput.FAR_BYE: (InboundState.CLEARING, InboundAction.CUT),
    },
    InboundState.REFUSING: {
        InboundInput.REFUSED: (InboundState.SETTLED, InboundAction.SETTLE),
        InboundInput.SILENCE: (InboundState.SETTLED, InboundAction.SETTLE),
    },
    InboundState.CLEARING: {
        InboundInput.CLEARED: (InboundState.SETTLED, InboundAction.SETTLE),
    },
    InboundState.SETTLED: {
        InboundInput.CLEARED: (InboundState.SETTLED, InboundAction.UPDATE_PROOF),
    },
}
"""The table: for each state, what each input leads to."""
