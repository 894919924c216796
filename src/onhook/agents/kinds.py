"""Which class is behind each kind of agent, loaded in the agent process only.

The module of a kind may have two functions beside its class: `components() -> dict[str, str]` says `ok`, or what is
missing, for each part that the kind needs (shown by `/readyz`), and `async warm() -> None` prepares what the first
call would else wait for. What they, or an agent, make for the whole process is made in `belongings.shared()`.
"""

import importlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import cast

from onhook.agents.agent import Agent, AgentError
from onhook.agents.definition import AgentKind

log = logging.getLogger(__name__)

FACTORIES: Mapping[AgentKind, str] = {
    AgentKind.SCRIPTED: "onhook.agents.scripted.agent:ScriptedAgent",
    AgentKind.WEBSOCKET: "onhook.agents.websocket:WebsocketAgent",
    AgentKind.OPENAI_REALTIME: "onhook.agents.openai_realtime:RealtimeAgent",
    AgentKind.CHAIN: "onhook.agents.chain.agent:ChainAgent",
}
"""`module:class` of each kind; the class is called without arguments, once for each call."""


class Kinds:
    """The kinds that could be loaded, and what is missing of the others."""

    def __init__(self, factories: Mapping[AgentKind, str] = FACTORIES) -> None:
        self.components: dict[str, str] = {}
        self._classes: dict[AgentKind, Callable[[], Agent]] = {}
        self._modules: list[ModuleType] = []
        for kind, place in factories.items():
            self._load(kind, place)

    def create(self, kind: AgentKind) -> Agent:
        """Return a new agent. Raises `AgentError` for a kind that could not be loaded."""
        make = self._classes.get(kind)
        if make is None:
            raise AgentError(f"{kind} agents: {self.components.get(kind, 'not hosted here')}")
        return make()

    async def warm(self) -> None:
        """Have every kind prepare what its first call would else wait for."""
        for module in self._modules:
            warm: Callable[[], Awaitable[None]] | None = getattr(module, "warm", None)
            if warm is not None:
                await warm()

    def _load(self, kind: AgentKind, place: str) -> None:
        module_name, _, class_name = place.partition(":")
        try:
            module = importlib.import_module(module_name)
            self._classes[kind] = cast(Callable[[], Agent], getattr(module, class_name))
        except (ImportError, AttributeError) as error:
            log.warning("agents of kind %s cannot be loaded: %s", kind, error)
            self.components[kind] = f"cannot be loaded: {error}"
            return
        self._modules.append(module)
        self.components[kind] = "ok"
        components: Callable[[], dict[str, str]] | None = getattr(module, "components", None)
        if components is not None:
            self.components |= components()
