"""Whether an agent could speak on a call, as far as it shows before anybody is rung."""

from collections.abc import Callable

from onhook.agents.definition import AgentKind, DefinitionError
from onhook.agents.providers.needed import check_keys
from onhook.agents.reading import BotUrls, definition_of
from onhook.store.secrets import SecretError
from onhook.store.store import Agent, Store
from onhook.voice.credentials import signing_credentials


async def check_agent(agent: Agent, bot_urls: BotUrls, store: Store, decrypt: Callable[[str], str]) -> None:
    """Check an agent's settings, and that the keys are there which it speaks, or is signed, with.

    Raises `DefinitionError`, which holds no key, or `StoreError`.
    """
    definition = definition_of(agent, None, bot_urls)
    check_keys(definition)
    if definition.kind is AgentKind.WEBSOCKET:
        try:
            await signing_credentials(store, decrypt, agent.environment_id)
        except SecretError as error:
            raise DefinitionError(f"url: the key that signs cannot be read: {error}") from error
