"""Our own API's audit log: who did what, in order."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from onhook.api.native.errors import COMMON
from onhook.api.native.schemas import Request
from onhook.api.routing import CallerRequest, CheckedRoute
from onhook.api.schema import Schema
from onhook.api.times import iso_ms
from onhook.store.audit import AuditEntry

router = APIRouter(prefix="/v1", route_class=CheckedRoute, tags=["audit"], responses=COMMON)


class AuditQuery(Request):
    """Which entries to list."""

    after: Annotated[int, Field(ge=0, lt=2**60, description="`next` of the page before")] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class AuditEntryOut(Schema):
    """One act. `seq` grows in the order of commits; other environments' entries leave gaps in it."""

    seq: int
    at: str
    actor: str
    action: str
    target: str
    reason: str | None
    request_id: str | None
    data: dict[str, Any]


class AuditPage(Schema):
    """A page of entries, oldest first; `next` is where the next page begins."""

    items: list[AuditEntryOut]
    next: int


@router.get("/audit")
async def list_audit(request: CallerRequest, query: Annotated[AuditQuery, Query()]) -> AuditPage:
    """List what was done in the environment, and by whom: stops, creates, changes of configuration, recordings."""
    caller = request.caller
    found = await caller.store.audit_entries(caller.environment_id, query.after, query.limit)
    return AuditPage(items=[_out(entry) for entry in found], next=found[-1].seq if found else query.after)


def _out(entry: AuditEntry) -> AuditEntryOut:
    return AuditEntryOut(
        seq=entry.seq,
        at=iso_ms(entry.at),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        reason=entry.reason,
        request_id=entry.request_id,
        data=entry.data,
    )
