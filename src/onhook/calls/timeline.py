"""The moments of a call, and how long was between them. Bills and latencies are made of these and of nothing else."""

from collections.abc import Sequence

import msgspec

from onhook.calls.call import Call, Event, EventType


class Moments(msgspec.Struct, frozen=True):
    """When what happened to a call (ms since the epoch); None for what did not happen, or is not known yet.

    Those of the wire are what a packet capture on this machine shows. `dialed_at` is when the INVITE left, or that of a
    call to us came. `answered_at` is the first 2xx, also one that crossed a stop. `end_sent_at` is our first CANCEL or
    BYE, or our refusal of a call to us. The last packets of audio are known when the leg is gone.
    """

    created_at: int
    dialed_at: int | None = None
    first_provisional_at: int | None = None
    ringing_at: int | None = None
    answered_at: int | None = None
    stop_requested_at: int | None = None
    last_audio_sent_at: int | None = None
    end_sent_at: int | None = None
    bye_sent_at: int | None = None
    confirmed_at: int | None = None
    last_audio_received_at: int | None = None
    ended_at: int | None = None


class Spans(msgspec.Struct, frozen=True):
    """How long things took (ms); None where one of the two moments is missing.

    `talk` is from the answer to `ended_at`, 0 for a call that was over before it was answered. `wire` is from the first
    2xx to the confirmation of the end: what a carrier may bill.
    """

    dial_to_ringing: int | None
    dial_to_answer: int | None
    stop_to_silence: int | None
    stop_to_wire: int | None
    stop_to_bye: int | None
    stop_to_confirmed: int | None
    talk: int
    wire: int | None


def moments(call: Call, log: Sequence[Event]) -> Moments:
    """Return the moments of a call; the log holds those of its audio."""
    proof = call.proof
    audio = [event.data for event in log if event.type is EventType.AUDIO]
    return Moments(
        created_at=call.created_at,
        dialed_at=call.dialed_at,
        first_provisional_at=call.first_provisional_at,
        ringing_at=call.ringing_at,
        answered_at=call.answered_at if call.answered_at is not None else call.answered_on_wire_at,
        stop_requested_at=call.stop.requested_at if call.stop else None,
        last_audio_sent_at=_latest([data.get("last_sent_at") for data in audio]),
        end_sent_at=proof.end_sent_at if proof else None,
        bye_sent_at=proof.bye_sent_at if proof else None,
        confirmed_at=proof.confirmed_at if proof else None,
        last_audio_received_at=_latest([data.get("last_received_at") for data in audio]),
        ended_at=call.ended_at,
    )


def spans(of: Moments) -> Spans:
    """Return what follows from the moments."""
    return Spans(
        dial_to_ringing=_between(of.dialed_at, of.ringing_at),
        dial_to_answer=_between(of.dialed_at, of.answered_at),
        stop_to_silence=_between(of.stop_requested_at, of.last_audio_sent_at),
        stop_to_wire=_between(of.stop_requested_at, of.end_sent_at),
        stop_to_bye=_between(of.stop_requested_at, of.bye_sent_at),
        stop_to_confirmed=_between(of.stop_requested_at, of.confirmed_at),
        talk=_between(of.answered_at, of.ended_at) or 0,
        wire=_between(of.answered_at, of.confirmed_at),
    )


def _between(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None else max(0, end - start)


def _latest(times: list[int | None]) -> int | None:
    return max((at for at in times if at is not None), default=None)
