"""From bulk stops and dial blocks to the bodies of our own API."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from onhook.api.native.bulk_schemas import (
    BulkStopLedger,
    BulkStopOut,
    DialBlockOut,
    Ended,
    SelectorOut,
    StoppedItem,
    StopResult,
)
from onhook.api.native.mapping import cause_out, result_of_end
from onhook.api.times import iso_ms, iso_ms_or_none
from onhook.calls.selector import CallSelector
from onhook.control.bulk import LedgerLine
from onhook.store.records import BulkStop, DialBlock


def bulk_stop_out(bulk: BulkStop) -> BulkStopOut:
    """Return what was ordered."""
    return BulkStopOut(
        id=bulk.id,
        requested_at=iso_ms(bulk.requested_at),
        requested_by=bulk.cause.initiator,
        reason=bulk.cause.text,
        selector=selector_out(bulk.selector),
        dry_run=bulk.dry_run,
        matched=len(bulk.call_ids),
        stopped=None if bulk.first is None else sum(bulk.first),
        held=bulk.held,
        dial_block_id=bulk.dial_block_id,
    )


def ledger_out(bulk: BulkStop, items: list[StoppedItem]) -> BulkStopLedger:
    """Return what was ordered, and what became of each call."""
    return BulkStopLedger(**dict(bulk_stop_out(bulk)), result=result_of(items), items=items)


def result_of(items: Iterable[StoppedItem]) -> StopResult:
    """Count the results."""
    counted = Counter(item.result for item in items if item.result is not None)
    return StopResult(**{str(word): count for word, count in counted.items()})


def item_out(line: LedgerLine, *, dry_run: bool) -> StoppedItem:
    """Return one call of a ledger."""
    call = line.call
    proof = call.proof if call else None
    return StoppedItem(
        call_id=line.call_id,
        state_before=line.before,
        first=line.first,
        result=None if dry_run else _result(line),
        state=call.state if call else None,
        outcome=call.outcome if call else None,
        cause=cause_out(call.cause) if call else None,
        ended_at=iso_ms_or_none(call.ended_at if call else None),
        proof_method=proof.method if proof else None,
        bye_sent_at=iso_ms_or_none(proof.bye_sent_at if proof else None),
        confirmed_at=iso_ms_or_none(proof.confirmed_at if proof else None),
    )


def dial_block_out(block: DialBlock) -> DialBlockOut:
    """Return a dial block."""
    return DialBlockOut(
        id=block.id,
        selector=selector_out(block.selector),
        reason=block.reason,
        created_at=iso_ms(block.created_at),
        created_by=block.created_by,
        bulk_id=block.bulk_id,
    )


def selector_out(selector: CallSelector) -> SelectorOut:
    """Return a selector."""
    return SelectorOut.model_validate(msgspec.structs.asdict(selector))


def _result(line: LedgerLine) -> Ended | None:
    if line.call is None:
        return None
    return result_of_end(line.call) if line.call.is_over else "pending"
