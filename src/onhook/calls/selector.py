"""Which calls a bulk stop or a dial block means."""

from typing import Any

import msgspec

from onhook.calls.call import Call
from onhook.calls.states import LIVE, State


class SelectorError(ValueError):
    """A selector that no careful person can have meant; the message says what is wrong with it."""


class CallSelector(msgspec.Struct, frozen=True, omit_defaults=True):
    """Conditions on a call. All that are given hold together; each is met by any one of its values.

    `number_prefixes` are the beginnings of `to_number`. A call is older than `older_than_ms` when it was created that
    long ago. `metadata` must be in the call's, all of it; a value there that is no string is compared as JSON. `all`
    stands for every call, alone: a selector that says nothing means no call, so that none is stopped by an omission.
    """

    agent_ids: tuple[str, ...] = ()
    trunk_ids: tuple[str, ...] = ()
    number_prefixes: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    older_than_ms: int | None = None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    all: bool = False


def check(selector: CallSelector) -> None:
    """Raise `SelectorError` for a selector that is empty, contradicts itself, or can match no live call."""
    narrowed = _narrows_new(selector) or bool(selector.states) or selector.older_than_ms is not None
    if selector.all and narrowed:
        raise SelectorError("`all` means every call: it goes with no other condition")
    if not selector.all and not narrowed:
        raise SelectorError("an empty selector matches no call: to mean every call, say so with `all`")
    if not LIVE.issuperset(selector.states):
        raise SelectorError(f"only live calls can be selected: {', '.join(sorted(LIVE))}")
    if selector.older_than_ms is not None and selector.older_than_ms < 0:
        raise SelectorError("`older_than_ms` is at least 0")
    if "" in (*selector.agent_ids, *selector.trunk_ids, *selector.number_prefixes):
        raise SelectorError("an agent, a trunk and a number prefix have at least one character")


def check_new(selector: CallSelector) -> None:
    """Raise `SelectorError` as `check` does, and for a selector that says nothing of a call not yet dialled."""
    check(selector)
    if not selector.all and not _narrows_new(selector):
        raise SelectorError("a call that is not dialled yet has no state and no age: name an agent, a trunk, ...")


def matches(selector: CallSelector, call: Call, now: int) -> bool:
    """Say whether a selector means a call as it is at `now` (ms)."""
    if selector.all:
        return True
    if not (_narrows_new(selector) or selector.states or selector.older_than_ms is not None):
        return False
    return (
        (not selector.states or call.state in selector.states)
        and (selector.older_than_ms is None or now - call.created_at >= selector.older_than_ms)
        and _matches_identity(selector, call)
    )


def matches_new(selector: CallSelector, call: Call) -> bool:
    """Say whether a selector means a call that is not dialled yet: states and age do not count there."""
    return selector.all or (_narrows_new(selector) and _matches_identity(selector, call))


def _narrows_new(selector: CallSelector) -> bool:
    return bool(selector.agent_ids or selector.trunk_ids or selector.number_prefixes or selector.metadata)


def _matches_identity(selector: CallSelector, call: Call) -> bool:
    """Say whether the conditions hold that never change in a call's life."""
    given = call.details.metadata
    return (
        (not selector.agent_ids or call.agent_id in selector.agent_ids)
        and (not selector.trunk_ids or call.trunk_id in selector.trunk_ids)
        and (not selector.number_prefixes or call.to_number.startswith(selector.number_prefixes))
        and all(name in given and _text(given[name]) == value for name, value in selector.metadata.items())
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
