"""Agents for the calls of a `BenchNode`."""

import asyncio
from typing import Any

import msgspec

from benchmarks.node import BenchNode
from onhook.agents.definition import AgentKind
from onhook.agents.pool import COMMAND, AgentPool
from onhook.calls.call import Dialect
from onhook.provision import DEFAULT_ENVIRONMENT, create_key
from onhook.store.store import Agent

READY_LIMIT_S = 60.0


async def open_pool(onhook: BenchNode, command: tuple[str, ...] = COMMAND) -> AgentPool:
    """Start the node's agent processes; return when all are up. Raises `TimeoutError`."""
    node = onhook.node
    node.agents = node.pool = pool = AgentPool(node.settings.agent_processes, command)
    await pool.open()
    async with asyncio.timeout(READY_LIMIT_S):
        while pool.ready() < pool.count:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.05)
    return pool


async def seat(onhook: BenchNode, kind: AgentKind, **settings: Any) -> None:
    """Put another agent in the place of the sandbox's: calls from now on are its."""
    node = onhook.node
    (agent,) = await node.store.find(Agent, DEFAULT_ENVIRONMENT)
    await node.store.put(msgspec.structs.replace(agent, dialect=Dialect.NATIVE, kind=kind.value, settings=settings))
    await create_key(node.store, node.clock, DEFAULT_ENVIRONMENT, "signs", kept_in=node.secrets)
