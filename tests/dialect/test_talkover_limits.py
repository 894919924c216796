"""TalkOver's rate limit: per key and minute, told on every response, and never in the way of a stop."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import ASGIApp
from tests.dialect.conftest import Rig

from onhook.calls.states import State
from onhook.store.secrets import hash_token
from onhook.store.store import ApiKey
from onhook.testing.clock import ManualClock
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

LIMIT = 3
START_S = 1_800_000_000
"""A whole minute, and where the `ManualClock` begins."""
HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


class Limited:
    """The application with a limit of three requests a minute, on a clock that stands still."""

    def __init__(self) -> None:
        self.clock = ManualClock(START_S * 1000)
        self.rig = Rig(MemoryStore(), self.clock)
        self.app: ASGIApp = self.rig.app(rate_limit_per_minute=LIMIT)

    def client(self, **headers: str) -> httpx.AsyncClient:
        client = self.rig.client(self.app)
        client.headers.update(headers)
        return client

    def url(self, rest: str) -> str:
        return f"/api/v1/agents/{self.rig.mine.agent_id}/{rest}"

    async def use_up(self) -> None:
        async with self.client() as client:
            for _ in range(LIMIT):
                assert (await client.get("/api/v1/agents")).status_code == 200


@pytest.fixture
async def limited() -> AsyncIterator[Limited]:
    built = Limited()
    await built.rig.start()
    yield built
    await built.rig.recorder.drained()


def told(answer: httpx.Response) -> tuple[str | None, ...]:
    return tuple(answer.headers.get(name) for name in HEADERS)


async def test_every_response_tells_what_is_left(limited: Limited) -> None:
    limited.clock.advance(20)
    async with limited.client() as client:
        answers = [
            await client.get("/api/v1/agents"),
            await client.get("/api/v1/agents/nobody"),
            await client.get("/api/v1/calls", params={"page": 0}),
            await client.get("/api/v1/calls"),
        ]

    assert [one.status_code for one in answers] == [200, 404, 422, 429]
    reset = str(START_S + 60)
    assert [told(one) for one in answers] == [("3", str(left), reset) for left in (2, 1, 0, 0)]
    assert [one.headers.get("Retry-After") for one in answers] == [None, None, None, "40"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        (
            "POST",
            "call",
            {
                "error": {
                    "code": "RATE_LIMIT_EXCEEDED",
                    "message": "Rate limit exceeded. Please wait before making more requests.",
                    "details": {"retry_after": 60},
                }
            },
        ),
        ("GET", "calls", {"success": False, "message": "Rate limit exceeded"}),
        ("GET", "webhooks", {"success": False, "message": "Rate limit exceeded"}),
        ("POST", "publish", {"success": False, "message": "Too many requests. Please try again later."}),
        ("PUT", "voice", {"success": False, "message": "Too many requests. Please try again later."}),
    ],
)
async def test_a_request_too_many_is_refused_in_the_words_of_its_page(
    limited: Limited, method: str, path: str, body: dict[str, object]
) -> None:
    await limited.use_up()
    async with limited.client() as client:
        answer = await client.request(method, limited.url(path), json={} if method != "GET" else None)

    assert (answer.status_code, answer.json()) == (429, body)


async def test_a_new_minute_is_a_new_allowance(limited: Limited) -> None:
    await limited.use_up()
    async with limited.client() as client:
        limited.clock.advance(59.9)
        late = await client.get("/api/v1/calls")
        limited.clock.advance(0.1)
        fresh = await client.get("/api/v1/calls")

    assert (late.status_code, late.headers["Retry-After"]) == (429, "1")
    assert (fresh.status_code, told(fresh)) == (200, ("3", "2", str(START_S + 120)))


async def test_each_key_has_its_own_allowance(limited: Limited) -> None:
    await limited.use_up()
    rig = limited.rig
    second = ApiKey("apikey_two", rig.mine.environment_id, "two", hash_token("key_two"), "_two", START_S * 1000)
    await rig.store.put(second)
    async with limited.client(Authorization="Bearer key_two") as client:
        answer = await client.get("/api/v1/agents")

    assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (200, "2")


async def test_stops_are_neither_refused_nor_counted(limited: Limited) -> None:
    rig = limited.rig
    calls = [await rig.call() for _ in range(LIMIT + 1)]
    async with limited.client() as client:
        stops = [await client.post(limited.url("end-call"), json={"call_sid": call.id}) for call in calls[:-1]]
        await limited.use_up()
        stops.append(await client.post(limited.url("end-call"), json={"call_sid": calls[-1].id}))

    assert [one.status_code for one in stops] == [200] * len(calls)
    assert [one.headers["X-RateLimit-Remaining"] for one in stops] == ["3", "3", "3", "0"]
    assert [(await rig.settled(call.id)).state for call in calls] == [State.ENDED] * len(calls)


async def test_a_refused_call_is_not_made(limited: Limited) -> None:
    await limited.use_up()
    async with limited.client() as client:
        await client.post(limited.url("call"), json={"to": "+12025550100"})

    assert limited.rig.engine.legs == {}


async def test_health_and_the_other_apis_know_no_limit(limited: Limited) -> None:
    await limited.use_up()
    async with limited.client() as client:
        answers = [await client.get(path) for path in ("/api/v1/health", "/v1/calls", "/v2/get-call/x")]

    assert [one.status_code for one in answers] == [200, 200, 422]
    assert [told(one) for one in answers] == [(None,) * 3] * 3


async def test_without_a_limit_nothing_is_told(memory_rig: Rig) -> None:
    async with memory_rig.client() as client:
        answer = await client.get("/api/v1/calls")

    assert told(answer) == (None,) * 3
