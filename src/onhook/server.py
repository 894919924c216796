"""The composition root: the only place that knows all parts and wires them into one node."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from onhook.agents.port import AgentPort
from onhook.agents.reading import BotUrls, definition_of
from onhook.api.services import Services
from onhook.audit.heads import Heads
from onhook.audit.sealer import Sealer
from onhook.calls.causes import Cause, Reason
from onhook.clock import Clock, SystemClock
from onhook.control.bulk import BulkStopper
from onhook.control.capacity import Capacity
from onhook.control.dial import Dialer, trunk_of
from onhook.control.dial_block import DialBlocks
from onhook.control.end import Ending
from onhook.control.graceful import GracefulStops
from onhook.control.inbound import Inbound
from onhook.control.journal import StoreJournal
from onhook.control.live import LiveCalls
from onhook.control.peers import Peers, resolve
from onhook.control.place import DialPolicy, Placer
from onhook.control.progress import ProgressRecorder
from onhook.control.reconcile import Reconciler
from onhook.control.register import Registrar
from onhook.control.routing import Router
from onhook.control.timers import StopTimers
from onhook.lines.engine import Trunk
from onhook.lines.media.pump import MediaPump
from onhook.lines.media.wav import GREETING, load_mulaw
from onhook.lines.sip.engine import SipEngine, SipSettings
from onhook.metrics.parts import EndFigures
from onhook.metrics.scrape import scrape
from onhook.process import owning, spare_what_stays, stop_signal
from onhook.provision import ensure_environment, ensure_sandbox, ensure_trunk
from onhook.readiness import readiness
from onhook.recording_desk import LeftRecordings, RecordingDesk
from onhook.relay import LineRelay
from onhook.settings import Settings, http_url, is_loopback
from onhook.store.secrets import SecretBox, load_or_create_key
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Agent, StopOrder, Store, StoreError, TrunkRecord
from onhook.tracing.traces import otlp_traces
from onhook.voice.conversations import Conversations, Voice
from onhook.voice.credentials import signing_credentials
from onhook.voice.ears import load_ears
from onhook.voice.fitness import check_agent
from onhook.voice.recordings import Recordings

if TYPE_CHECKING:
    from onhook.agents.pool import AgentPool
    from onhook.webhooks.courier import Courier

logger = logging.getLogger(__name__)

SHUTDOWN_PROOF_S = 3.0


class Node:
    """One process: store, line, call control, courier. The HTTP door is opened by `run_node`.

    With `carrier_uri` every call goes to that sandbox carrier and nowhere else. `sip`, `store` and `agents` replace
    what the settings say, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: SecretBox,
        carrier_uri: str | None = None,
        sip: SipSettings | None = None,
        store: Store | None = None,
        agents: AgentPort | None = None,
    ) -> None:
        self.settings = settings
        self.secrets = secrets
        self.clock: Clock = SystemClock()
        self.courier: Courier
        self._webhook_allow_private = settings.webhook_allow_private or carrier_uri is not None
        self.store: Store = store or SqliteStore(settings.database_path)
        self.agents = agents
        self.pool: AgentPool | None = None
        self._opening_agents: asyncio.Task[AgentPort] | None = None
        sip = sip or sip_settings(settings)
        self.relay = LineRelay()
        self.media = MediaPump(self.clock, settings.sip_address[0], settings.rtp_ports)
        self._accounts: dict[str, tuple[str, str]] = {}
        journal = StoreJournal(self.store)
        self.engine = SipEngine(sip, journal, self.relay, self.clock, self.media, self._accounts.get)
        self._wire_control(settings, sip, carrier_uri)
        self._wire_conversations(settings)

    def _wire_control(self, settings: Settings, sip: SipSettings, carrier_uri: str | None) -> None:
        """Put call control between the store and the line."""
        relay, decrypt = self.relay, self.secrets.decrypt
        self.live = LiveCalls()
        self.capacity = Capacity(self.live, settings.max_calls, lambda: self.media.is_late)
        self.ending = Ending(self.store, self.engine, self.clock, self.live)
        self.dial_blocks = DialBlocks(self.store, self.clock)
        self.bulk = BulkStopper(self.store, self.ending, self.dial_blocks, self.clock)
        self.ends, self.settle_limit_ms = EndFigures(), round(64_000 * sip.t1)
        self.ending.on_end.append(self.ends.on_end)
        self.traces = otlp_traces(self.store, settings.otel_endpoint) if settings.otel_endpoint else None
        self.dialer = Dialer(
            self.store,
            self.engine,
            self.clock,
            self.live,
            self.capacity,
            relay.on_event,
            decrypt,
            carrier_uri,
            self._check_agent,
        )
        policy = DialPolicy(allow=settings.dial_allow, default_region=settings.default_region)
        self.bot_urls = BotUrls(settings.agent_url_allow, allow_private=carrier_uri is not None)
        self.placer = Placer(self.store, self.clock, policy, self.capacity, self.dialer.start, self._check_agent)
        self.timers = StopTimers(self.store, self.clock, self.ending)
        self.reconciler = Reconciler(
            self.store, self.engine, self.clock, self.live, self.ending, self.dialer, self.timers
        )
        late_watch_s = sip.watch + 64 * sip.t1
        self.recorder = ProgressRecorder(self.store, self.ending, self.live, self.clock, late_watch_s)
        relay.recorder = self.recorder
        self.registrar = Registrar(self.store, self.clock, self._check_agent)
        self.peers = Peers(self.store, self.clock, decrypt, resolve, settings.inbound_allow)
        self.inbound = relay.inbound = self._inbound()
        self.sealer = Sealer(self.store, Heads(settings.audit_path), self.clock)

    def _wire_conversations(self, settings: Settings) -> None:
        """Put agents and recordings on the calls that are up."""
        self.recordings = Recordings(
            settings.recordings_path, settings.recording_days, to_ogg=settings.recording_format == "ogg"
        )
        self.recording_desk = RecordingDesk(self.recordings)
        left = LeftRecordings(self.recordings, self.store, self.clock)
        self.reconciler.on_left, self.ending.log_left = left.measure, left.log
        self.conversations = self.relay.conversations = Conversations(self._voice())
        self.ending.cut_farewell = self.conversations.cut_farewell
        self.graceful = GracefulStops(self.store, self.clock, self.ending, self.timers, self.conversations)

    def services(self) -> Services:
        """Return what the HTTP application needs of this node."""
        (host, _), token = self.settings.http_address, self.settings.metrics_token
        return Services(
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
            readiness=self.ready,
            stop_wait_ms=self.settings.stop_wait_ms,
            max_body_bytes=self.settings.max_body_bytes,
            max_connections=self.settings.max_requests,
            rate_limit_per_minute=self.settings.rate_limit_per_minute,
            webhook_allow_private=self._webhook_allow_private,
            agent_kind=self.settings.agent_kind,
            bot_urls=self.bot_urls,
            recordings=self.recordings,
            public_url=self.settings.public_url,
            hang_up=self.conversations.hang_up,
            metrics=functools.partial(scrape, self) if token is not None or is_loopback(host) else None,
            metrics_token=token.get_secret_value() if token is not None else None,
        )

    async def ready(self) -> dict[str, str]:
        """Say what state each part is in (see `readiness`)."""
        return await readiness(self.store, self.courier, self.agents, self.capacity)

    async def open_agents(self) -> AgentPort:
        """Begin to start the agent processes, unless they are there; return where agents come from.

        The first call that needs an agent process does it, if nobody has before.
        """
        if self.agents is not None:
            return self.agents
        if self._opening_agents is None:
            self._opening_agents = asyncio.create_task(self._open_pool())
        return await asyncio.shield(self._opening_agents)

    async def _open_pool(self) -> AgentPort:
        from onhook.agents.pool import AgentPool  # noqa: PLC0415 (nobody needs it until the server serves)

        self.agents = self.pool = AgentPool(self.settings.agent_processes)
        await self.pool.open()
        return self.pool

    def _voice(self) -> Voice:
        """Return what conversations are made of."""
        return Voice(
            store=self.store,
            live=self.live,
            engine=self.engine,
            clock=self.clock,
            ending=self.ending,
            note=self.recorder.note,
            agents=self.open_agents,
            define=lambda agent, call: definition_of(agent, call, self.bot_urls),
            credentials=lambda environment_id: signing_credentials(self.store, self.secrets.decrypt, environment_id),
            load_ears=lambda: load_ears(self.clock),
            prepare_recording=self.recording_desk.prepare,
            open_recording=self.recording_desk.open,
            greeting=load_mulaw(GREETING),
        )

    def _inbound(self) -> Inbound:
        """Return what takes the calls of far ends."""

        def trunk(record: TrunkRecord) -> Trunk | None:
            return trunk_of(record, self.secrets.decrypt)

        router = Router(self.store, self.peers, trunk, self._check_agent, self.settings.default_region)
        return Inbound(self.store, self.engine, self.live, self.capacity, self.recorder, router)

    async def _check_agent(self, agent: Agent) -> None:
        """See `check_agent`."""
        await check_agent(agent, self.bot_urls, self.store, self.secrets.decrypt)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the parts, end what an earlier life left, sweep; on the way out end all calls and close."""
        async with contextlib.AsyncExitStack() as stack:
            await self.store.open()
            stack.push_async_callback(self.store.close)
            if self.traces is not None:
                self.ending.on_end.append(self.traces.on_end)
                self.traces.start()
                stack.push_async_callback(self.traces.close)
            stack.push_async_callback(self.recording_desk.close)
            await self.media.start()
            stack.push_async_callback(self.media.close)
            await self.engine.start()
            stack.push_async_callback(self.engine.close)
            stack.push_async_callback(self._close_agents)
            await self._read_accounts()
            await self.bulk.promise_what_was_left()
            left = await self.reconciler.settle_earlier_life()
            if left:
                logger.warning("%d calls of an earlier life are being ended", left)
            await ensure_environment(self.store, self.clock)
            await ensure_trunk(self.store, self.settings, self.secrets, self.clock)
            await self._take_calls(stack)
            await self._start_courier(stack)
            jobs = [
                asyncio.create_task(job) for job in (self.reconciler.run(), self.recordings.run(), self.sealer.run())
            ]
            try:
                yield
            finally:
                await self._end_all_calls()
                for job in jobs:
                    job.cancel()
                await asyncio.wait(jobs)
                await self.sealer.seal_safely()

    async def _take_calls(self, stack: contextlib.AsyncExitStack) -> None:
        """Let the far ends of our trunks call us."""
        await self.peers.refresh()
        self.engine.trust(self.peers.find)
        watching = asyncio.create_task(self.peers.run())
        stack.callback(watching.cancel)

    async def _close_agents(self) -> None:
        """End the agent processes, if there are any."""
        if self._opening_agents is not None:
            await self._opening_agents
        if self.pool is not None:
            await self.pool.close()

    async def _start_courier(self, stack: contextlib.AsyncExitStack) -> None:
        """Deliver webhooks until the stack is left."""
        # Imported late, like the web framework: the calls of an earlier life come first.
        from onhook.api.renderers import renderers  # noqa: PLC0415
        from onhook.webhooks.courier import Courier  # noqa: PLC0415
        from onhook.webhooks.guard import Guard  # noqa: PLC0415
        from onhook.webhooks.late_transport import LateTransport  # noqa: PLC0415
        from onhook.webhooks.requests import RequestMaker  # noqa: PLC0415

        guard = Guard(allow_private=self._webhook_allow_private)
        transport = await stack.enter_async_context(LateTransport(guard))
        header = self.settings.talkover_signature_header
        requests = RequestMaker(self.store, self.secrets.decrypt, self.clock, header)
        self.courier = Courier(self.store, transport, requests, renderers(self.settings.public_url), self.clock)
        await self.courier.start()
        stack.push_async_callback(self.courier.close)

    async def _read_accounts(self) -> None:
        """Have the trunks' passwords at hand for the legs of an earlier life, whose snapshots hold none."""
        for record in await self.store.find(TrunkRecord, None):
            trunk = trunk_of(record, self.secrets.decrypt)
            if trunk is not None and trunk.username and trunk.password:
                self._accounts[trunk.id] = (trunk.username, trunk.password)

    async def _end_all_calls(self) -> None:
        """End every live call and give the wire a moment to confirm; what is left is for the next start.

        The calls come from our own directory, not from the store: that may be what is failing.
        """
        self.inbound.close()
        self.dialer.close()
        now = self.clock.now_ms()
        cause = Cause("system", Reason.SHUTDOWN)
        try:
            await self.ending.end_many([StopOrder(call.id, cause, now) for call in self.live.all()])
        except StoreError:
            logger.exception("calls ended on the wire, their records are completed at the next start")
        try:
            async with asyncio.timeout(SHUTDOWN_PROOF_S):
                await self.live.wait_until_empty()
                await self.recorder.drained()
        except TimeoutError:
            logger.warning("%d calls are not confirmed or not written yet; the next start goes on", len(self.live))


async def run_node(settings: Settings, carrier_uri: str | None = None) -> None:
    """Run one node until SIGTERM, SIGINT or the end of standard input.

    Raises `NodeError` or `StoreError` when it cannot start.
    """
    with owning(settings.data_dir):
        node = Node(settings, SecretBox(_secret_key(settings)), carrier_uri)
        stopping = stop_signal()
        async with node.running():
            # Imported late: the calls of an earlier life are ended before the web framework is loaded.
            from onhook.api.app import create_app  # noqa: PLC0415
            from onhook.api.http_server import HttpServer  # noqa: PLC0415

            host, port = settings.http_address
            services = node.services()
            app, streams = create_app(services), services.streams
            async with HttpServer(app, host, port, settings.slow_client_s, streams) as server:
                base_url = http_url(host, server.port)
                if carrier_uri is not None:
                    await ensure_sandbox(node.store, node.secrets, node.clock, settings.data_dir, base_url, carrier_uri)
                    await node.peers.refresh()
                spare_what_stays()
                print(f"onhook is ready at {base_url}", flush=True)
                await node.open_agents()
                await stopping.wait()


def sip_settings(settings: Settings) -> SipSettings:
    """Return the SIP engine's part of the settings."""
    host, port = settings.sip_address
    return SipSettings(bind_host=host, bind_port=port, advertised_address=settings.sip_advertised_address)


def _secret_key(settings: Settings) -> bytes:
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    return load_or_create_key(settings.data_dir / "secret.key")
