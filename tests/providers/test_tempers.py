"""Every cloud kind against a provider in every temper, in every state: stop is quick and complete, a loss is told."""

import asyncio
import gc
import inspect
import warnings
from collections.abc import Iterator

import pytest
from tests.providers.cloud import LOSSES, REFUSALS, Cloud, Temper
from tests.providers.kinds import CHAIN, CHAIN_OPENAI, FRAME, KINDS, QUICK, REALTIME, STATES, Kind, caller_talks
from tests.providers.line import FakeLine

from onhook.agents.agent import STOP_LIMIT_S, Agent, AgentError
from onhook.agents.messages import Speech
from onhook.agents.providers.deadlines import USUAL

pytestmark = [pytest.mark.contract, pytest.mark.timing]

CLOSE_LIMIT_S = 0.6
OURS = ("/onhook/agents/", "/websockets/", "/aiohttp/client", "/aiohttp/connector")
STOPPED_IN = [temper for temper in Temper if temper not in (Temper.UNAUTHORIZED, Temper.THROTTLED)]
"""To be refused is the same whatever the number."""


@pytest.fixture(autouse=True)
def nothing_unclosed() -> Iterator[None]:
    """Fail for a session or socket that was dropped without being closed."""
    gc.freeze()  # what was there before need not be looked at
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    gc.unfreeze()
    assert [str(warning.message) for warning in caught if "unclosed" in str(warning.message).lower()] == []


def _tasks() -> list[str]:
    """Return where the tasks of the agents and of their clients are from; the providers' own are from elsewhere."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    files = [coroutine.cr_code.co_filename for coroutine in coroutines if inspect.iscoroutine(coroutine)]
    return [file for file in files if any(place in file for place in OURS)]


async def _assert_over(cloud: Cloud, began: float) -> None:
    """Every provider has seen its connection close in time; nothing is left on our side."""
    for watched in cloud.watch.all:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await watched.closed.wait()
        assert watched.closed_at - began < CLOSE_LIMIT_S, watched.path
    assert _tasks() == []


async def _stop(agent: Agent, cloud: Cloud) -> None:
    """Stop and kill as the host does."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(STOP_LIMIT_S):
        await agent.stop("the call is over")
    agent.kill()
    await _assert_over(cloud, began)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("temper", STOPPED_IN)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_stop_in_any_state_closes_all_connections_within_the_limit(
    kind: Kind, temper: Temper, state: str, cloud: Cloud, line: FakeLine
) -> None:
    agent = kind.create(USUAL)
    await agent.start(kind.call(agent_speaks_first=False), line)
    await STATES[state](agent, cloud, line)
    cloud.become(temper)

    await _stop(agent, cloud)

    said = len(line.wishes)
    await asyncio.sleep(0)
    assert len(line.wishes) == said


@pytest.mark.parametrize("temper", STOPPED_IN)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.streams], ids=lambda kind: kind.name)
async def test_a_stop_while_starting_ends_the_start_and_closes_all_connections(
    kind: Kind, temper: Temper, cloud: Cloud, line: FakeLine
) -> None:
    cloud.become(temper)
    agent = kind.create(USUAL)
    starting = asyncio.create_task(agent.start(kind.call(agent_speaks_first=False), line))
    await cloud.until("session.update" if kind.name == "realtime" and temper not in LOSSES else _first_path(kind))

    await _stop(agent, cloud)

    with pytest.raises(AgentError):
        await starting


def _first_path(kind: Kind) -> str:
    return "/realtime" if kind.name == "realtime" else "/listen"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.streams], ids=lambda kind: kind.name)
@pytest.mark.parametrize("temper", sorted(LOSSES))
async def test_a_provider_that_cannot_be_used_fails_the_start(
    kind: Kind, temper: Temper, cloud: Cloud, line: FakeLine
) -> None:
    cloud.become(temper)
    agent = kind.create(QUICK)

    with pytest.raises(AgentError) as refused:
        await agent.start(kind.call(), line)

    if temper in REFUSALS:
        assert temper.value in str(refused.value)
    assert "sk-" not in str(refused.value)
    await _stop(agent, cloud)
    assert line.all("fail") == []


@pytest.mark.parametrize("temper", sorted(LOSSES - {Temper.UNAUTHORIZED, Temper.THROTTLED}))
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_provider_that_is_lost_in_the_middle_of_a_call_is_reported_once(
    kind: Kind, state: str, temper: Temper, cloud: Cloud, line: FakeLine
) -> None:
    agent = kind.create(QUICK)
    await agent.start(kind.call(agent_speaks_first=False), line)
    await STATES[state](agent, cloud, line)
    cloud.become(temper)
    cloud.holds.set()
    if not kind.streams and (state == "listening" or temper in REFUSALS):
        await caller_talks(agent, cloud)  # what is not asked cannot refuse

    error = await line.first("fail")

    assert error
    assert "sk-" not in error
    await _stop(agent, cloud)
    assert len(line.all("fail")) == 1
    assert line.all("hang_up") == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_kill_without_a_stop_closes_all_connections_at_once(kind: Kind, cloud: Cloud, line: FakeLine) -> None:
    agent = kind.create(USUAL)
    await agent.start(kind.call(agent_speaks_first=False), line)
    await STATES["speaking"](agent, cloud, line)
    began = asyncio.get_running_loop().time()

    agent.kill()
    agent.kill()

    for watched in cloud.watch.all:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await watched.closed.wait()
        assert watched.closed_at - began < 0.1
    await agent.stop("the call is over")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_slow_provider_is_waited_for(kind: Kind, cloud: Cloud, line: FakeLine) -> None:
    agent = kind.create(QUICK)
    cloud.become(Temper.SLOW)
    await agent.start(kind.call(agent_speaks_first=False), line)
    await caller_talks(agent, cloud)

    await line.until(lambda: "".join(line.all("say")).endswith("How are you?"))

    assert line.all("fail") == []
    await _stop(agent, cloud)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_an_agent_that_never_started_can_be_stopped(kind: Kind) -> None:
    agent = kind.create(USUAL)

    await agent.stop("the call is over")
    agent.kill()

    assert _tasks() == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_missing_key_is_named(
    kind: Kind, cloud: Cloud, line: FakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")

    with pytest.raises(AgentError, match="OPENAI_API_KEY is not set"):
        await kind.create(USUAL).start(kind.call(), line)

    assert cloud.watch.all == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_an_option_that_is_not_known_is_named(kind: Kind, cloud: Cloud, line: FakeLine) -> None:
    with pytest.raises(AgentError, match="base_url"):
        await kind.create(USUAL).start(kind.call(options={"base_url": "http://elsewhere.example"}), line)


@pytest.mark.parametrize("kind", [REALTIME, CHAIN, CHAIN_OPENAI], ids=lambda kind: kind.name)
async def test_a_provider_that_has_long_read_nothing_is_cut_all_the_same(
    kind: Kind, cloud: Cloud, line: FakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unsent fills all buffers then, and an orderly end would wait behind it for ever."""
    monkeypatch.setattr("onhook.agents.providers.websocket.MAX_WAITING", 100_000)
    agent = kind.create(USUAL)
    await agent.start(kind.call(agent_speaks_first=False), line)
    cloud.become(Temper.HALF_DEAD)
    agent.on_speech(Speech(started=True, at_ms=0))
    for _ in range(6_000):
        agent.on_audio(FRAME)
    agent.on_speech(Speech(started=False, at_ms=60_000))
    if kind is CHAIN_OPENAI:
        await cloud.until("/audio/transcriptions")
    else:
        await asyncio.sleep(0.3)  # for the buffers to fill: nothing tells when they have

    await _stop(agent, cloud)
