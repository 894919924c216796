"""Dial blocks in SQLite, read from their rows within the very transaction that they guard.

No copy of them is kept: where there are none, asking costs a look into an index, and nobody sees one that is gone,
or not yet committed, whoever put it there. Only the decoding of a row's text is remembered.
"""

import functools

import apsw
import msgspec

from onhook.calls.call import Call
from onhook.store import control_rules
from onhook.store.records import DialBlock

_OF_ENVIRONMENT = """
    SELECT body FROM records WHERE kind = 'dial_block' AND environment_id = ? ORDER BY created_at DESC, id
"""
_ALL = "SELECT environment_id, body FROM records WHERE kind = 'dial_block'"


def blocking(db: apsw.Connection, call: Call) -> DialBlock | None:
    """Return the block that keeps a call's INVITE from leaving."""
    return control_rules.blocking(of_environment(db, call.environment_id), call)


def of_environment(db: apsw.Connection, environment_id: str) -> list[DialBlock]:
    """Return the blocks that stand in an environment, newest first."""
    return [_block(body) for (body,) in db.execute(_OF_ENVIRONMENT, (environment_id,))]


def by_environment(db: apsw.Connection) -> dict[str, list[DialBlock]]:
    """Return all blocks that stand."""
    found: dict[str, list[DialBlock]] = {}
    for environment_id, body in db.execute(_ALL):
        found.setdefault(environment_id, []).append(_block(body))
    return found


@functools.lru_cache(maxsize=1024)
def _block(body: str) -> DialBlock:
    return msgspec.json.decode(body, type=DialBlock)
