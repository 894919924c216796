"""The sandbox's numbers: one line of data for each way a call can go.

The last two digits of `+120255501NN` choose the behaviour. The carrier is a correct user agent server
except for what the line says; `docs/how-to/failure-sandbox.md` is generated from this table.
"""

import re
from enum import StrEnum

import msgspec

from onhook.lines.sandbox.talker import Line, When

EVERY = 1_000_000
"""A count for "all of them"."""

USERNAME = "onhook"
PASSWORD = "sandbox"  # noqa: S105 - published in the documentation, it guards nothing
REALM = "sandbox"


class Act(StrEnum):
    """What the far end does of its own accord."""

    RING = "ring"
    ANSWER = "answer"
    REFUSE = "refuse"
    HANG_UP = "hang_up"
    HOLD = "hold"
    RESUME = "resume"


class Step(msgspec.Struct, frozen=True):
    """Do `act`, `after_s` seconds after the step before it. Steps that follow an answer wait for its ACK."""

    after_s: float
    act: Act
    status: int = 0


class OnCancel(StrEnum):
    """What a CANCEL of a ringing INVITE leads to; the CANCEL itself always gets its 200."""

    TERMINATE = "terminate"
    IGNORE = "ignore"
    ANSWER_FIRST = "answer_first"


class Challenge(msgspec.Struct, frozen=True):
    """One demand for credentials (RFC 8760): `status` is 401 or 407, `algorithm` MD5 or SHA-256."""

    status: int
    algorithm: str = "MD5"
    stale: bool = False


RINGS = Step(0.05, Act.RING)
ANSWERS = (RINGS, Step(0.25, Act.ANSWER))


class Number(msgspec.Struct, frozen=True):
    """One line of the table.

    `loses` counts, per method, how many of the first arrivals are treated as lost on the way (repeats
    count). `bye_reply` is the status that answers a BYE; None hangs up and stays silent. `lines` is what somebody says
    there; None echoes.
    """

    digits: str
    title: str
    does: str
    script: tuple[Step, ...] = ANSWERS
    trying: bool = True
    loses: dict[str, int] = msgspec.field(default_factory=dict)
    on_cancel: OnCancel = OnCancel.TERMINATE
    bye_reply: int | None = 200
    invite_challenges: tuple[Challenge, ...] = ()
    bye_challenges: tuple[Challenge, ...] = ()
    forks: int = 1
    record_routes: int = 0
    lines: tuple[Line, ...] | None = None


def _refuses(digits: str, status: int, title: str, does: str) -> Number:
    return Number(digits, title, does, script=(Step(0.25, Act.REFUSE, status),))


ECHO = Number("00", "answers", "Rings, answers after 0.3 s, and echoes all audio and keys.")

NUMBERS: tuple[Number, ...] = (
    ECHO,
    Number("01", "rings for ever", "Rings and never answers; a CANCEL ends it with 487.", script=(RINGS,)),
    _refuses("02", 486, "busy", "Refuses with 486 Busy Here."),
    Number(
        "03",
        "declines",
        "Rings, then refuses with 603 Decline after 0.5 s.",
        script=(RINGS, Step(0.5, Act.REFUSE, 603)),
    ),
    Number(
        "04",
        "hangs up",
        "Answers, and sends a BYE 3 s later.",
        script=(*ANSWERS, Step(3.0, Act.HANG_UP)),
    ),
    _refuses("05", 404, "does not exist", "Refuses with 404 Not Found."),
    Number(
        "06",
        "never replies",
        "Ignores everything: the INVITE runs into timer B after 32 s.",
        loses={"INVITE": EVERY, "CANCEL": EVERY, "BYE": EVERY},
    ),
    Number(
        "07",
        "slow trunk, answers whatever happens",
        "Sends no 100; rings at 1.5 s and answers at 1.8 s, even when a CANCEL came (which gets its 200).",
        script=(Step(1.5, Act.RING), Step(0.3, Act.ANSWER)),
        trying=False,
        on_cancel=OnCancel.IGNORE,
    ),
    Number(
        "08",
        "answers as the CANCEL comes",
        "Rings; a CANCEL crosses the answer: the INVITE gets 200, then the CANCEL gets 200. Else answers after 4 s.",
        script=(RINGS, Step(3.95, Act.ANSWER)),
        on_cancel=OnCancel.ANSWER_FIRST,
    ),
    Number("09", "loses two BYEs", "Answers; the first two BYEs to arrive are lost.", loses={"BYE": 2}),
    Number("10", "never answers a BYE", "Answers; a BYE ends the call there, but gets no answer.", bye_reply=None),
    Number("11", "answers BYE with 481", "Answers; a BYE ends the call and is answered 481.", bye_reply=481),
    Number(
        "12",
        "loses the first CANCEL",
        "Rings for ever; the first CANCEL to arrive is lost.",
        script=(RINGS,),
        loses={"CANCEL": 1},
    ),
    Number("13", "loses two INVITEs", "The first two INVITEs to arrive are lost; then answers.", loses={"INVITE": 2}),
    Number(
        "14",
        "asks for credentials, 407",
        f"Answers once the INVITE has digest credentials (MD5, qop=auth; user `{USERNAME}`, password `{PASSWORD}`).",
        invite_challenges=(Challenge(407),),
    ),
    Number(
        "15",
        "asks for credentials, 401",
        "The same with 401 and SHA-256.",
        invite_challenges=(Challenge(401, "SHA-256"),),
    ),
    Number(
        "16",
        "holds and resumes",
        "Answers; re-INVITEs with sendonly 1 s later, and with sendrecv 0.5 s after that.",
        script=(*ANSWERS, Step(1.0, Act.HOLD), Step(0.5, Act.RESUME)),
    ),
    Number("17", "forks", "Two phones ring and both answer: two 200s with different To tags and Contacts.", forks=2),
    Number(
        "18",
        "insists on the route set",
        "Answers through two Record-Routes; a request in the dialog with other Routes gets 403, "
        "with another Request-URI 481.",
        record_routes=2,
    ),
    _refuses("19", 503, "trunk unavailable", "Refuses with 503 Service Unavailable."),
    Number(
        "20",
        "challenges BYE, 407",
        "Answers; a BYE must come again with credentials.",
        bye_challenges=(Challenge(407),),
    ),
    Number(
        "21",
        "challenges BYE, 401 stale",
        "Answers; a BYE gets 401, the answer to it gets 401 with stale=true and a new nonce, the next one 200.",
        bye_challenges=(Challenge(401), Challenge(401, stale=True)),
    ),
    Number(
        "22",
        "says yes",
        'Answers; after each of the caller\'s first two prompts somebody says "yes".',
        lines=(Line(When.AFTER_A_PROMPT, 1.2, say="yes"), Line(When.AFTER_A_PROMPT, 1.2, say="yes")),
    ),
    Number(
        "23",
        "says goodbye",
        'Answers; after the caller\'s first prompt somebody says "goodbye", after the second "yes".',
        lines=(Line(When.AFTER_A_PROMPT, 1.2, say="goodbye"), Line(When.AFTER_A_PROMPT, 1.2, say="yes")),
    ),
    Number(
        "24",
        "presses 1",
        "Answers; after each of the caller's first two prompts somebody presses 1.",
        lines=(Line(When.AFTER_A_PROMPT, 1.2, press="1"), Line(When.AFTER_A_PROMPT, 1.2, press="1")),
    ),
    Number(
        "25",
        "talks over the caller",
        "Answers; somebody speaks over the caller's first prompt, one second into it, and is silent afterwards.",
        lines=(Line(When.OVER_A_PROMPT, 1.0, say="interruption"),),
    ),
    Number(
        "26",
        "answering machine",
        "Answers; a machine speaks for 7 s, beeps, and records what it is told.",
        lines=(Line(When.AT_ONCE, 0.5, say="machine"),),
    ),
    Number("27", "says nothing", "Answers; sends nothing but silence.", lines=()),
)

BY_DIGITS: dict[str, Number] = {number.digits: number for number in NUMBERS}

_DIALLED = re.compile(r"(?:\+?1)?20255501(\d\d)")


def number_of(user: str) -> Number:
    """Return the behaviour for the user part of a Request-URI; whatever is not in the table is an echo.

    The number may come with or without the plus and the country code.
    """
    match = _DIALLED.fullmatch(user)
    return BY_DIGITS.get(match[1], ECHO) if match else ECHO


def markdown_table() -> str:
    """Return the table as Markdown, for the documentation."""
    rows = [f"| `+120255501{number.digits}` | {number.title} | {number.does} |" for number in NUMBERS]
    return "\n".join(["| number | title | what it does |", "|---|---|---|", *rows]) + "\n"
