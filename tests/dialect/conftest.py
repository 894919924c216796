"""The whole HTTP application over a store and a fake engine: `Rig`, and what tests do with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import uvloop
from cryptography.fernet import Fernet
from starlette.types import ASGIApp
from tests.unit.courier_bench import ScriptedTransport

from onhook.agents.reading import NO_BOTS
from onhook.api.app import create_app
from onhook.api.renderers import renderers
from onhook.api.services import RecordingFiles, Services
from onhook.api.streams import Streams
from onhook.calls.call import Call, Dialect
from onhook.calls.causes import Cause
from onhook.clock import Clock, SystemClock
from onhook.control.bulk import BulkStopper
from onhook.control.capacity import Capacity
from onhook.control.dial import Dialer, trunk_of
from onhook.control.dial_block import DialBlocks
from onhook.control.end import Ending
from onhook.control.graceful import GracefulStops
from onhook.control.inbound import Inbound
from onhook.control.live import LiveCalls
from onhook.control.peers import Peers, resolve
from onhook.control.place import DialPolicy, Placer
from onhook.control.progress import ProgressRecorder
from onhook.control.register import Registrar
from onhook.control.routing import Router
from onhook.control.timers import StopTimers
from onhook.lines.engine import LegEvent, Tick
from onhook.store.secrets import SecretBox, hash_token
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Agent, ApiKey, Environment, Number, Store, TrunkRecord
from onhook.testing.engine import ANSWERS, RINGS, FakeEngine
from onhook.testing.store import MemoryStore
from onhook.voice.fitness import check_agent
from onhook.webhooks.courier import Courier
from onhook.webhooks.requests import RequestMaker

SCRIPT: dict[str, str | int] = {"00": ANSWERS, "01": RINGS, "02": 486, "03": 603, "05": 404, "19": 503}
BASE_URL = "http://onhook.test"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the event loop of the product."""
    return {"uvloop": uvloop.new_event_loop}


async def some_metrics() -> bytes:
    """Return metrics, as a node would."""
    return b"onhook_build_info 1.0\n"


class Tenant:
    """An environment with a published agent, a number, a trunk and a key."""

    def __init__(self, name: str, number: str, token: str) -> None:
        self.environment_id = f"env_{name}"
        self.agent_id = f"agent_{name}"
        self.trunk_id = f"trunk_{name}"
        self.number_id = f"num_{name}"
        self.key_id = f"apikey_{name}"
        self.number = number
        self.token = token
        self.headers = {"Authorization": f"Bearer {token}"}

    async def create(self, store: Store) -> None:
        env, now = self.environment_id, 1_700_000_000_000
        await store.put(Environment(env, env, now))
        await store.put(ApiKey(self.key_id, env, "test", hash_token(self.token), self.token[-4:], now))
        await store.put(TrunkRecord(self.trunk_id, env, "trunk", "sip:127.0.0.1:5060;transport=udp", now))
        agent = Agent(self.agent_id, env, Dialect.TALKOVER, "ada", "Ada", now, now, published=True)
        await store.put(agent)
        await store.put(Number(self.number_id, env, self.number, self.trunk_id, now, self.agent_id))


class Relay:
    """Hands the engine's events to call control; nobody listens to the audio."""

    def __init__(self, recorder: ProgressRecorder, inbound: Inbound) -> None:
        self._recorder = recorder
        self._inbound = inbound

    def on_event(self, event: LegEvent) -> None:
        self._inbound.on_event(event)
        self._recorder.on_event(event)

    def on_audio(self, call_id: str, frame: bytes) -> None:
        pass

    def on_tick(self, call_id: str, tick: Tick) -> None:
        pass

    def on_mark(self, call_id: str, name: str, cleared: bool) -> None:
        pass

    def on_cut(self, call_id: str) -> None:
        pass


class Silent:
    """Calls with nobody on them who could say a farewell."""

    def talks(self, call_id: str) -> bool:
        return False

    def wind_down(
        self, call_id: str, cause: Cause, deadline_ms: int, text: str | None = None, request_id: str | None = None
    ) -> bool:
        return False


class Rig:
    """Everything but the wire."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self.store = store
        self.clock = clock or SystemClock()
        self.engine = FakeEngine(self.clock, SCRIPT)
        self.live = LiveCalls()
        self.capacity = Capacity(self.live)
        self.ending = Ending(store, self.engine, self.clock, self.live)
        self.dial_blocks = DialBlocks(store, self.clock)
        self.bulk = BulkStopper(store, self.ending, self.dial_blocks, self.clock)
        self.timers = StopTimers(store, self.clock, self.ending)
        self.graceful = GracefulStops(store, self.clock, self.ending, self.timers, Silent())
        self.recorder = ProgressRecorder(store, self.ending, self.live, self.clock, late_watch_s=180.0)
        self.secrets = SecretBox(Fernet.generate_key())
        self.bot_urls = NO_BOTS
        self.peers = Peers(store, self.clock, self.secrets.decrypt, resolve, ("192.0.2.0/24",))
        router = Router(
            store,
            self.peers,
            lambda record: trunk_of(record, self.secrets.decrypt),
            self.check_agent,
        )
        self.inbound = Inbound(store, self.engine, self.live, self.capacity, self.recorder, router)
        self.engine.report_to(Relay(self.recorder, self.inbound))
        self.dialer = Dialer(
            store,
            self.engine,
            self.clock,
            self.live,
            self.capacity,
            self.recorder.on_event,
            self.secrets.decrypt,
            check_agent=self.check_agent,
        )
        self.placer = Placer(store, self.clock, DialPolicy(), self.capacity, self.dialer.start, self.check_agent)
        self.registrar = Registrar(store, self.clock, self.check_agent)
        self.transport = ScriptedTransport()
        requests = RequestMaker(store, self.secrets.decrypt, self.clock, "X-TalkOver-Signature")
        self.courier = Courier(store, self.transport, requests, renderers(), self.clock)
        self.ready = {"store": "ok", "sip": "ok"}
        self.recordings: RecordingFiles | None = None
        self.public_url: str | None = None
        self.mine = Tenant("mine", "+12025550190", "key_mine_0123456789abcdef")
        self.other = Tenant("other", "+12025550191", "talq_other_0123456789abcdef")

    async def check_agent(self, agent: Agent) -> None:
        await check_agent(agent, self.bot_urls, self.store, self.secrets.decrypt)

    async def start(self) -> None:
        await self.store.open()
        await self.mine.create(self.store)
        await self.other.create(self.store)

    def app(
        self,
        *,
        stop_wait_ms: int = 1000,
        max_connections: int = 1000,
        rate_limit_per_minute: int = 0,
        streams: Streams | None = None,
    ) -> ASGIApp:
        async def readiness() -> dict[str, str]:
            return self.ready

        return create_app(
            Services(
                store=self.store,
                placer=self.placer,
                registrar=self.registrar,
                ending=self.ending,
                clock=self.clock,
                secrets=self.secrets,
                courier=self.courier,
                bulk=self.bulk,
                dial_blocks=self.dial_blocks,
                timers=self.timers,
                graceful=self.graceful,
                readiness=readiness,
                stop_wait_ms=stop_wait_ms,
                max_connections=max_connections,
                rate_limit_per_minute=rate_limit_per_minute,
                streams=streams or Streams(),
                recordings=self.recordings,
                bot_urls=self.bot_urls,
                public_url=self.public_url,
                metrics=some_metrics,
            )
        )

    def client(self, app: ASGIApp | None = None, tenant: Tenant | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app or self.app(), raise_app_exceptions=False)
        headers = (tenant or self.mine).headers
        return httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=headers)

    async def call(self, to: str = "+12025550100", tenant: Tenant | None = None) -> Call:
        """Place a call through TalkOver and return it once everything the script did is written."""
        owner = tenant or self.mine
        async with self.client(tenant=owner) as client:
            answer = await client.post(f"/api/v1/agents/{owner.agent_id}/call", json={"to": to})
        assert answer.status_code == 200, answer.text
        return await self.settled(answer.json()["data"]["id"])

    async def settled(self, call_id: str) -> Call:
        """Return a call once all that was reported of it is written."""
        await self.dialer.started()
        await self.recorder.drained()
        call = await self.store.get_call(call_id, None)
        assert call is not None
        return call


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "onhook.db")
    built = Rig(store)
    await built.start()
    yield built
    await built.recorder.drained()
    await store.close()


@pytest.fixture
async def memory_rig() -> Rig:
    built = Rig(MemoryStore())
    await built.start()
    return built


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as opened:
        yield opened
