"""Whether a node is fit to take calls, part by part: what `/readyz` says."""

from typing import TYPE_CHECKING

from onhook.agents.port import AgentPort
from onhook.control.capacity import Capacity
from onhook.store.store import Store, StoreError

if TYPE_CHECKING:
    from onhook.webhooks.courier import Courier

AGENTS, STARTING = "agent_processes", "are starting"
"""The component of `/readyz` that agents cannot do without, and what it says while calls already wait for it."""


async def readiness(store: Store, courier: "Courier", agents: AgentPort | None, capacity: Capacity) -> dict[str, str]:
    """Say `ok`, or what is wrong, for each part that the server needs.

    What begins with `limited: ` is no fault of the node: a kind of agent that was not set up, the operator's own limit.
    """
    parts = {
        "store": "ok",
        "webhooks": "ok" if courier.running else "nothing is delivered; restart the server",
        "capacity": capacity.standing(),
    }
    for name, said in (agents.components() if agents is not None else {AGENTS: STARTING}).items():
        vital = name == AGENTS and said != STARTING
        parts[name] = said if said == "ok" or vital else f"limited: {said}"
    try:
        await store.check()
    except StoreError as error:
        parts["store"] = str(error)
    return parts
