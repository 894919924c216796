"""What the audit log says of changes that are neither stops nor timers, as pure functions (see `rules`)."""

from onhook.calls.call import Call
from onhook.store.audit import Act, AuditEntry
from onhook.store.outbox import WebhookEndpoint
from onhook.store.records import BulkStop, DialBlock
from onhook.store.store import Agent, ApiKey, Environment, Number, Record, TrunkRecord

NAMES: dict[type[Record], str] = {
    Environment: "environment",
    ApiKey: "key",
    TrunkRecord: "trunk",
    Number: "number",
    Agent: "agent",
    WebhookEndpoint: "webhook",
    DialBlock: "dial_block",
    BulkStop: "bulk_stop",
}
"""What each kind of record is called in the audit log; written into databases, so never changed."""


def of_put(record: Record, by: Act, *, is_new: bool) -> AuditEntry:
    """Return the entry of a record that was put."""
    revoked = isinstance(record, ApiKey) and record.revoked_at is not None
    return _of_record(record, "revoke" if revoked else "create" if is_new else "update", by)


def of_deletion(record: Record, by: Act) -> AuditEntry:
    """Return the entry of a record that was deleted; a dial block is released by it."""
    return _of_record(record, "release" if isinstance(record, DialBlock) else "delete", by)


def of_call(call: Call, verb: str, by: Act) -> AuditEntry:
    """Return the entry of a call that was created or deleted."""
    return entry(call.environment_id, f"call.{verb}", call.id, by, agent_id=call.agent_id, state=call.state.value)


def entry(environment_id: str, action: str, target: str, by: Act, **data: str) -> AuditEntry:
    """Return the entry of anything that somebody does."""
    return AuditEntry(
        environment_id=environment_id,
        at=by.at,
        actor=by.actor,
        action=action,
        target=target,
        reason=by.reason,
        request_id=by.request_id,
        data=dict(data),
    )


def _of_record(record: Record, verb: str, by: Act) -> AuditEntry:
    """Return the entry of what was done to a record: its kind and its id, nothing that it holds."""
    owner = record.id if isinstance(record, Environment) else record.environment_id
    return entry(owner, f"{NAMES[type(record)]}.{verb}", record.id, by)
