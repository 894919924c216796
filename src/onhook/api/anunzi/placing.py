"""From create-phone-call's body to a call: the agent, the order, the refusals."""

from onhook.api.anunzi.errors import failure
from onhook.api.anunzi.schemas import CallTask
from onhook.api.services import Caller
from onhook.calls.call import CallDetails, Dialect
from onhook.control.place import PlaceOrder
from onhook.store.store import Agent

LATEST = ("latest", "latest_published")
"""Version names that mean the agent as it stands; earlier versions are not kept."""


async def order_for(caller: Caller, from_number: str, task: CallTask, batch_call_id: str | None = None) -> PlaceOrder:
    """Return the order to place a call, or raise the error 422 (400 when no agent is bound to the number)."""
    if task.agent_override:
        raise failure(400, "agent_override is not supported by this server.")
    agent = await _agent_for(caller, from_number, task)
    return PlaceOrder(
        environment_id=caller.environment_id,
        dialect=Dialect.ANUNZI,
        to_number=task.to_number,
        agent_id=task.override_agent_id,
        from_number=from_number,
        by=caller.act(),
        details=CallDetails(
            metadata=task.metadata or {},
            dynamic_variables=task.retell_llm_dynamic_variables or {},
            sip_headers=dict(task.custom_sip_headers or {}),
            batch_call_id=batch_call_id,
            agent_version=agent.version,
            data_storage_setting=agent.data_storage,
        ),
    )


async def agent_by_id(caller: Caller, agent_id: str) -> Agent | None:
    """Return an agent of the caller's environment."""
    return await caller.store.get(Agent, agent_id, caller.environment_id)


def is_at_version(agent: Agent, version: int | str | None) -> bool:
    """Say whether an agent stands at the version that a client asks for, if it asks for any."""
    return str(version) in {"None", *LATEST, str(agent.version)}


async def _agent_for(caller: Caller, from_number: str, task: CallTask) -> Agent:
    """Return the agent that is to speak, in the version asked for."""
    number = await caller.store.number_by_value(caller.environment_id, from_number)
    if number is None:
        raise failure(422)
    agent_id = task.override_agent_id or number.agent_id
    if agent_id is None:
        raise failure(400, "No agent is bound to this number")
    agent = await agent_by_id(caller, agent_id)
    if agent is None or not is_at_version(agent, task.override_agent_version):
        raise failure(422)
    return agent
