"""The scripted agent on calls of a whole node: callers with espeak-ng's voices over SIP and RTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.speech import SPEECH_DB, needs_espeak, noise, speak, with_noise
from tests.unit.scripted_call import needs_pocketsphinx
from tests.wire.node import NodeUnderTest, running_node
from tests.wire.peers.raw_uas import RawUas
from tests.wire.peers.rtp_caller import Press, RtpCaller, Say
from tests.wire.test_audio import correlation, decode

from onhook.agents.pool import AgentPool
from onhook.agents.process import Counters
from onhook.agents.scripted.prompts import stored_prompt
from onhook.provision import DEFAULT_ENVIRONMENT
from onhook.store.store import Number, TrunkRecord

pytestmark = [pytest.mark.wire, needs_espeak, needs_pocketsphinx]

LIMIT_S = 75.0
QUESTION = "Can you hear me well? Please say yes or no, or press one for yes, or two for no."
GOOD = "Thank you, that is good to know. Goodbye."
BAD = "Thank you for telling me. Goodbye."
FAREWELL = "Goodbye."


@dataclass(frozen=True)
class Dialogue:
    """What a caller does, one step for each turn of the agent, and the agent's last words."""

    steps: tuple[str | Press, ...]
    farewell: str


DIALOGUES = (
    Dialogue(("yes",), GOOD),
    Dialogue(("no",), BAD),
    Dialogue(("no thank you",), BAD),
    Dialogue(("repeat", "yes please"), GOOD),
    Dialogue(("goodbye", "yes"), FAREWELL),
    Dialogue(("bye bye", "no", "no"), BAD),
    Dialogue((Press("2"),), BAD),
)
VOICES = (("en-us", 25.0), ("en-gb", 20.0), ("en-us+f3", 15.0))


@dataclass
class Caller:
    """A far end of its own: a trunk, a number, a phone with somebody at it."""

    far: RawUas
    phone: RtpCaller
    number: str
    call_id: str = ""


@asynccontextmanager
async def callers(site: NodeUnderTest, plans: list[tuple[list[Say | Press], bytes]]) -> AsyncIterator[list[Caller]]:
    """Set up far ends."""
    async with AsyncExitStack() as stack:
        made = []
        for index, (steps, background) in enumerate(plans):
            phone = stack.enter_context(RtpCaller(steps, background))
            far = RawUas(media_port=phone.port)
            stack.callback(far.close)
            number, trunk = f"+1202556{index:04}", f"trunk_{index}"
            uri = f"sip:127.0.0.1:{far.port};transport=udp"
            await site.node.store.put(TrunkRecord(trunk, DEFAULT_ENVIRONMENT, trunk, uri, 0))
            await site.node.store.put(Number(f"number_{index}", DEFAULT_ENVIRONMENT, number, trunk, 0))
            made.append(Caller(far, phone, number))
        yield made


async def create_agent(site: NodeUnderTest, **settings: Any) -> str:
    made = await site.client.post("/v1/agents", json={"name": "Ada", "kind": "scripted", "settings": settings})
    assert made.status_code == 201, made.text
    agent_id: str = made.json()["id"]
    return agent_id


async def call(site: NodeUnderTest, caller: Caller, agent_id: str) -> None:
    order = {"to_number": "+12025550100", "from_number": caller.number, "agent_id": agent_id}
    made = await site.client.post("/v1/calls", json=order)
    assert made.status_code == 201, made.text
    caller.call_id = made.json()["call_id"]


def plan(steps: tuple[str | Press, ...], voice: str, snr_db: float) -> tuple[list[Say | Press], bytes]:
    """Return what a caller does, and the noise of where the caller is, which is under the words, too."""
    background = noise(1000, SPEECH_DB - snr_db)
    acts = [step if isinstance(step, Press) else Say(with_noise(speak(step, voice), snr_db)) for step in steps]
    return acts, background


def hears(caller: Caller, language: str, text: str) -> bool:
    """Tell whether a built-in prompt arrived whole at the far end."""
    prompt = stored_prompt(language, text)
    assert prompt is not None
    return correlation(decode(prompt), decode(caller.phone.heard)) >= 0.98


async def turns(site: NodeUnderTest, caller: Caller) -> list[tuple[str, str]]:
    """Return who said what, by the transcript."""
    body = await site.get(f"/v1/calls/{caller.call_id}/transcript")
    return [(turn["role"], turn["text"]) for turn in body["turns"]]


async def test_95_of_100_dialogues_are_right_and_every_farewell_is_heard_whole(tmp_path: Path) -> None:
    cases = [(dialogue, voice, snr_db) for dialogue in DIALOGUES for voice, snr_db in VOICES]
    plans = [plan(dialogue.steps, voice, snr_db) for dialogue, voice, snr_db in cases]
    right, wrong = 0, []
    async with (
        asyncio.timeout(LIMIT_S),
        running_node(tmp_path, own_trunks=True) as site,
        callers(site, plans) as phones,
    ):
        agent_id = await create_agent(site, idle={"after_ms": 6000, "max_checks": 0})
        await asyncio.gather(*(call(site, caller, agent_id) for caller in phones))
        await site.all_ended()
        for caller, (dialogue, voice, snr_db) in zip(phones, cases, strict=True):
            ended = await site.get(f"/v1/calls/{caller.call_id}")
            said = await turns(site, caller)
            assert ended["proof_result"] == "confirmed"
            assert said[0] == ("agent", f"Hello, this is an automated call. {QUESTION}")
            if ended["cause"]["reason"] == "agent_hangup":
                assert hears(caller, "en", said[-1][1]), "no farewell is cut off, not even a wrong one"
            if ended["cause"]["reason"] == "agent_hangup" and said[-1] == ("agent", dialogue.farewell):
                right += 1
            else:
                wrong.append((dialogue.steps, voice, snr_db, ended["cause"]["reason"], said))
        agents = site.node.agents
        assert isinstance(agents, AgentPool)
        assert agents.counters == Counters()
    assert right >= 0.95 * len(cases), wrong


async def test_a_caller_may_interrupt_and_spain_has_keys(tmp_path: Path) -> None:
    over: list[Say | Press] = [Say(with_noise(speak("yes"), 25.0), over_ms=1500)]
    plans = [(over, noise(1000, SPEECH_DB - 25.0)), plan((Press("1"),), "es", 25.0)]
    async with (
        asyncio.timeout(LIMIT_S),
        running_node(tmp_path, own_trunks=True) as site,
        callers(site, plans) as phones,
    ):
        rude, spanish = phones
        await call(site, rude, await create_agent(site))
        await call(site, spanish, await create_agent(site, language="es-ES", initial_message="Hola."))
        await site.all_ended()
        for caller, language, farewell in ((rude, "en", GOOD), (spanish, "es", "Gracias, me alegra saberlo. Adiós.")):
            ended = await site.get(f"/v1/calls/{caller.call_id}")
            assert (ended["cause"]["reason"], ended["proof_result"]) == ("agent_hangup", "confirmed")
            assert hears(caller, language, farewell)
        assert not hears(rude, "en", QUESTION), "interrupted before it"
        assert [role for role, _ in await turns(site, rude)] == ["agent", "user", "agent"]
