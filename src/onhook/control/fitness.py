"""Whether an agent can be put on a call: asked before a call is placed, registered, taken, and when its time comes."""

from collections.abc import Awaitable, Callable

from onhook.store.store import Agent

CheckAgent = Callable[[Agent], Awaitable[None]]
"""Raises `DefinitionError` for an agent that could not be put on a call now, or `StoreError`."""


async def any_agent(_agent: Agent) -> None:
    """Stand in for a check where every agent will do."""
