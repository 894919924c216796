"""What is tried again, once: a start, or a request of a turn, that failed before the first byte of its answer."""

import asyncio

import pytest
from tests.providers.cloud import Cloud, Fault
from tests.providers.kinds import CHAIN, CHAIN_OPENAI, KINDS, QUICK, Kind, caller_talks
from tests.providers.line import FakeLine

from onhook.agents.agent import STOP_LIMIT_S, AgentError
from onhook.agents.providers.deadlines import USUAL
from onhook.agents.providers.environment import OPENAI, ProviderError
from onhook.agents.providers.http import ProviderHttp, Request
from onhook.agents.providers.retries import PAUSE_S, pause_after

pytestmark = [pytest.mark.contract, pytest.mark.timing]

PASSING = [Fault(503), Fault(429, "0"), Fault(None)]
FINAL = [[Fault(401)], [Fault(429, "3")], [Fault(503), Fault(503)], [Fault(None), Fault(None)]]
STREAMING = [kind for kind in KINDS if kind.streams]

REQUESTS = [
    (CHAIN, "/chat/completions"),
    (CHAIN, "/text-to-speech"),
    (CHAIN_OPENAI, "/audio/transcriptions"),
    (CHAIN_OPENAI, "/chat/completions"),
    (CHAIN_OPENAI, "/audio/speech"),
]
"""Each request that a turn takes."""


def _start(kind: Kind) -> str:
    return "/realtime" if kind.name == "realtime" else "/listen"


@pytest.mark.parametrize(
    ("status", "retry_after", "pause"),
    [
        (503, None, PAUSE_S),
        (503, "1", 1.0),
        (503, "1.5", 1.5),
        (503, "2", 2.0),
        (503, "2.1", None),
        (429, "0", PAUSE_S),
        (429, None, None),
        (429, "nan", None),
        (429, "-1", None),
        (429, "9" * 5_000, None),
        (503, "Fri, 31 Dec 1999 23:59:59 GMT", None),
        (501, None, None),
        (401, "1", None),
    ],
)
def test_a_refusal_is_tried_again_when_it_may_pass_soon(
    status: int, retry_after: str | None, pause: float | None
) -> None:
    assert pause_after(status, retry_after) == pause


# --- the start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("kind", STREAMING, ids=lambda kind: kind.name)
async def test_a_start_that_fails_once_is_tried_again(kind: Kind, fault: Fault, cloud: Cloud, line: FakeLine) -> None:
    cloud.faults[_start(kind)] = [fault]
    agent = kind.create(QUICK)
    await agent.start(kind.call(agent_speaks_first=False), line)
    await caller_talks(agent, cloud)
    await line.until(lambda: "".join(line.all("say")).endswith("How are you?"))
    assert cloud.asked.count(_start(kind)) == 2
    await agent.stop("over")
    agent.kill()


@pytest.mark.parametrize("faults", FINAL)
@pytest.mark.parametrize("kind", STREAMING, ids=lambda kind: kind.name)
async def test_a_start_that_will_not_do_better_fails(
    kind: Kind, faults: list[Fault | None], cloud: Cloud, line: FakeLine
) -> None:
    cloud.faults[_start(kind)] = list(faults)
    agent = kind.create(QUICK)
    with pytest.raises(AgentError):
        await agent.start(kind.call(), line)
    assert cloud.asked.count(_start(kind)) == len(faults)
    await agent.stop("over")
    agent.kill()


@pytest.mark.parametrize("kind", STREAMING, ids=lambda kind: kind.name)
async def test_a_start_and_its_retry_have_one_limit(kind: Kind, cloud: Cloud, line: FakeLine) -> None:
    cloud.faults[_start(kind)] = [Fault(503, "2")]
    agent = kind.create(QUICK)
    async with asyncio.timeout(QUICK.connect + 0.5):
        with pytest.raises(AgentError):
            await agent.start(kind.call(), line)
    assert cloud.asked.count(_start(kind)) == 1
    await agent.stop("over")
    agent.kill()


@pytest.mark.parametrize("kind", STREAMING, ids=lambda kind: kind.name)
async def test_a_start_that_is_stopped_is_not_tried_again(kind: Kind, cloud: Cloud, line: FakeLine) -> None:
    cloud.faults[_start(kind)] = [Fault(429, "2")]
    agent = kind.create(USUAL)
    starting = asyncio.create_task(agent.start(kind.call(), line))
    await cloud.until(_start(kind))
    async with asyncio.timeout(STOP_LIMIT_S):
        await agent.stop("over")
    with pytest.raises(AgentError):
        await starting
    assert cloud.asked == [_start(kind)]
    agent.kill()


# --- a turn -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize(("kind", "path"), REQUESTS)
async def test_a_request_that_fails_once_is_made_again(
    kind: Kind, path: str, fault: Fault, cloud: Cloud, line: FakeLine
) -> None:
    agent = kind.create(QUICK)
    await agent.start(kind.call(agent_speaks_first=False), line)
    cloud.faults[path] = [fault]
    await caller_talks(agent, cloud)
    await line.until(lambda: bool(line.all("mark")))
    assert line.all("say") == ["I am fine. How are you?"]
    assert cloud.faults[path] == []
    assert line.all("heard")[0][0] == cloud.caller_says
    assert line.all("fail") == []
    await agent.stop("over")
    agent.kill()


@pytest.mark.parametrize("faults", FINAL)
@pytest.mark.parametrize(("kind", "path"), REQUESTS)
async def test_a_request_that_will_not_do_better_is_the_agents_loss(
    kind: Kind, path: str, faults: list[Fault | None], cloud: Cloud, line: FakeLine
) -> None:
    agent = kind.create(QUICK)
    await agent.start(kind.call(agent_speaks_first=False), line)
    cloud.faults[path] = list(faults)
    await caller_talks(agent, cloud)
    await line.first("fail")
    assert sum(asked.startswith(path) for asked in cloud.asked) == len(faults)
    await agent.stop("over")
    agent.kill()


@pytest.mark.parametrize("kind", [CHAIN, CHAIN_OPENAI], ids=lambda kind: kind.name)
async def test_nothing_is_tried_again_in_a_turn_that_the_caller_hears_already(
    kind: Kind, cloud: Cloud, line: FakeLine
) -> None:
    path = "/text-to-speech" if kind is CHAIN else "/audio/speech"
    agent = kind.create(QUICK)
    await agent.start(kind.call(agent_speaks_first=False), line)
    cloud.answers = [("This is the first of the two sentences. And this is the second one of them.", [])]
    cloud.faults[path] = [None, Fault(503)]
    await caller_talks(agent, cloud)
    await line.first("fail")
    assert line.played
    assert sum(asked.startswith(path) for asked in cloud.asked) == 2
    await agent.stop("over")
    agent.kill()


@pytest.mark.parametrize("kind", [CHAIN, CHAIN_OPENAI], ids=lambda kind: kind.name)
async def test_the_next_turn_may_be_tried_again(kind: Kind, cloud: Cloud, line: FakeLine) -> None:
    agent = kind.create(QUICK)
    await agent.start(kind.call(agent_speaks_first=False), line)
    await caller_talks(agent, cloud)
    await line.until(lambda: len(line.all("mark")) == 1)
    cloud.faults["/chat/completions"] = [Fault(503)]
    await caller_talks(agent, cloud)
    await line.until(lambda: len(line.all("mark")) == 2)
    assert line.all("fail") == []
    await agent.stop("over")
    agent.kill()


@pytest.mark.parametrize(("kind", "path"), REQUESTS)
async def test_a_turn_that_is_stopped_is_not_tried_again(kind: Kind, path: str, cloud: Cloud, line: FakeLine) -> None:
    agent = kind.create(USUAL)
    await agent.start(kind.call(agent_speaks_first=False), line)
    cloud.faults[path] = [Fault(503, "2")]
    await caller_talks(agent, cloud)
    async with asyncio.timeout(3):
        while cloud.faults[path]:
            await cloud.changed()
    async with asyncio.timeout(STOP_LIMIT_S):
        await agent.stop("over")
    agent.kill()
    assert sum(asked.startswith(path) for asked in cloud.asked) == 1
    assert line.all("fail") == []


async def test_nothing_is_asked_once_more_over_connections_that_were_cut(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_in_the_pause(_status: int, _retry_after: str | None) -> float:
        asyncio.get_running_loop().call_soon(http.abort)
        return 0.01

    monkeypatch.setattr("onhook.agents.providers.http.pause_after", cut_in_the_pause)
    cloud.faults["/chat/completions"] = [Fault(503)]
    http = ProviderHttp(USUAL)
    with pytest.raises(ProviderError):
        async with http.post(Request("openai", OPENAI.url("/chat/completions"), {}, json={})):
            pass
    assert cloud.asked == ["/chat/completions"]
    await http.close()
