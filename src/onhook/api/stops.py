"""Stopping a call for somebody who asked over HTTP: the same order and the same header in every dialect."""

from onhook.api.services import Caller
from onhook.calls.call import Call
from onhook.calls.causes import REGISTRY, Cause, Reason
from onhook.store.store import StopOrder, Stopped

PROOF_HEADER = "Onhook-Proof"
"""Says on the dialects' stop answers how far the end is proved: `confirmed`, `pending` or `unconfirmed`."""


async def stop_call(
    caller: Caller,
    call_id: str,
    *,
    agent_id: str | None = None,
    or_sip_call_id: bool = False,
    text: str | None = None,
    wait_ms: int | None = None,
) -> Stopped | None:
    """Stop a call of the caller's environment, and wait for its proof (`wait_ms`, else as configured).

    None when there is no such call. Raises `StoreError` when the stop was not recorded; the call has been
    ended on the wire nevertheless.
    """
    order = StopOrder(
        call_id=call_id,
        cause=stop_cause(caller, text),
        at=caller.now_ms(),
        environment_id=caller.environment_id,
        agent_id=agent_id,
        or_sip_call_id=or_sip_call_id,
        request_id=caller.request_id,
    )
    return await caller.services.ending.request_stop(
        order, caller.services.stop_wait_ms if wait_ms is None else wait_ms
    )


def stop_cause(caller: Caller, text: str | None) -> Cause:
    """Return the cause of a stop that the caller asked for, with the text that came with it."""
    return Cause(caller.actor, Reason.API_STOP, q850=REGISTRY[Reason.API_STOP].q850, text=text)


def proof_header(call: Call) -> dict[str, str]:
    """Return the header that tells how far the end of `call` is proved."""
    return {PROOF_HEADER: call.proof_so_far.result.value}
