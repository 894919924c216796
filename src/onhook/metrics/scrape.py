"""What a node says when it is asked for its metrics: the figures of its parts, read at that moment."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from onhook import __version__
from onhook.calls.states import State
from onhook.clock import Clock
from onhook.control.capacity import SHORTAGES, Capacity
from onhook.control.end import Ending
from onhook.control.live import LiveCalls
from onhook.lines.media.pump import MediaPump
from onhook.metrics.histogram import Histogram
from onhook.metrics.parts import EndFigures
from onhook.store.figures import Standing
from onhook.store.outbox import DeliveryState
from onhook.store.records import DialBlock
from onhook.store.store import Store, StoreError
from onhook.voice.conversations import Conversations

if TYPE_CHECKING:
    from onhook.agents.pool import AgentPool
    from onhook.webhooks.courier import Courier

OVERRUN_GRACE_MS = 2_000
"""How long after a deadline a call may live on: sweeps come every half second."""

LEG_GRACE_MS = 5_000
"""How long a call's row may stand in a state of the wire before a leg of ours must be there."""

READY_LIMIT_S = 1.0

Samples = Mapping[tuple[str, ...], float | Histogram]
"""The values of one metric by its labels' values, in the order of the catalogue."""

Reading = dict[str, Samples]


class Sources(Protocol):
    """The parts of a node that are read (`onhook.server.Node` has them).

    `pool` is None while no agent process was needed. A call may be `ending` for `settle_limit_ms`.
    """

    store: Store
    clock: Clock
    ending: Ending
    ends: EndFigures
    live: LiveCalls
    capacity: Capacity
    media: MediaPump
    courier: "Courier"
    conversations: Conversations
    pool: "AgentPool | None"
    settle_limit_ms: int

    async def ready(self) -> dict[str, str]:
        """Return what `/readyz` says."""
        ...


async def scrape(sources: Sources) -> bytes:
    """Return every metric in Prometheus' text format."""
    text = await asyncio.to_thread(_writer)
    return text(await read(sources))


def _writer() -> Callable[[Reading], bytes]:
    from onhook.metrics.exposition import text  # noqa: PLC0415 (0.1 s that only those pay who want metrics)

    return text


async def read(sources: Sources) -> Reading:
    """Read every metric. What only the store knows is missing while the store cannot be read."""
    try:
        stored = await _stored(sources)
    except StoreError:
        stored = {}
    return {
        "onhook_build_info": {(__version__,): 1},
        "onhook_component_up": await _components(sources),
        **stored,
        **_calls(sources),
        **_deliveries(sources),
        **_agents(sources),
        **_audio(sources),
    }


async def _components(sources: Sources) -> Samples:
    try:
        async with asyncio.timeout(READY_LIMIT_S):
            said = await sources.ready()
    except TimeoutError:
        said = {"store": "it does not answer"}
    return {(name,): float(words == "ok" or words.startswith("limited: ")) for name, words in said.items()}


async def _stored(sources: Sources) -> Reading:
    """Read what the store knows. Raises `StoreError`."""
    store, now = sources.store, sources.clock.now_ms()
    counts, standings = await store.live_call_counts(), await store.standings()
    backlog, next_at = await store.backlog(), await store.next_delivery_at()
    return {
        "onhook_calls": {(str(state),): count for state, count in counts.items()},
        "onhook_zombie_calls": _zombies(standings, sources, now),
        "onhook_deadline_overruns": _only(await store.count_overdue(now, OVERRUN_GRACE_MS)),
        "onhook_dial_blocks": _only(len(await store.find(DialBlock, None))),
        "onhook_webhook_lag_seconds": _only(_age_s(next_at, now)),
        "onhook_webhook_oldest_seconds": _only(_age_s(backlog.oldest_at, now)),
        "onhook_webhook_deliveries": {("due",): backlog.due, ("inflight",): backlog.inflight},
    }


def _zombies(standings: list[Standing], sources: Sources, now: int) -> Samples:
    unsettled = [one for one in standings if one.state is State.ENDING]
    talking = [one for one in standings if one.state is not State.ENDING and one.call_id not in sources.live]
    return {
        ("ending",): sum(now - one.since > sources.settle_limit_ms for one in unsettled),
        ("no_leg",): sum(now - one.since > LEG_GRACE_MS for one in talking),
    }


def _calls(sources: Sources) -> Reading:
    ends = sources.ends
    return {
        "onhook_legs": _only(len(sources.live)),
        "onhook_max_calls": _only(sources.capacity.max_calls),
        "onhook_calls_refused_total": {(why,): sources.capacity.refused[why] for why in SHORTAGES},
        "onhook_conversations": _only(sources.conversations.live),
        "onhook_calls_ended_total": {(str(outcome), str(why)): count for (outcome, why), count in ends.ends.items()},
        "onhook_stops_total": {(str(why),): count for why, count in ends.stops.items()},
        "onhook_stops_unconfirmed_total": _only(ends.unconfirmed),
        "onhook_stops_unrecorded": _only(sources.ending.unrecorded),
        "onhook_stop_wire_seconds": {(str(method),): took for method, took in ends.to_wire.items()},
        "onhook_stop_proof_seconds": {(str(method),): took for method, took in ends.to_proof.items()},
    }


def _deliveries(sources: Sources) -> Reading:
    results = sources.courier.results
    states = (state for state in DeliveryState if state is not DeliveryState.INFLIGHT)
    return {"onhook_webhook_attempts_total": {(str(state),): results[state] for state in states}}


def _agents(sources: Sources) -> Reading:
    pool, talk = sources.pool, sources.conversations.figures
    reading: Reading = {"onhook_reply_seconds": _only(talk.replies), "onhook_barge_in_seconds": _only(talk.barge_in)}
    if pool is None:
        return reading
    ready, counters = pool.ready(), pool.counters
    return reading | {
        "onhook_agent_processes": {("ready",): ready, ("not_ready",): pool.count - ready},
        "onhook_agent_processes_killed_total": _only(counters.killed),
        "onhook_agents_lost_total": _only(counters.lost),
        "onhook_agent_leaks_total": _only(counters.leaks),
        "onhook_agent_audio_dropped_total": _only(counters.dropped),
    }


def _audio(sources: Sources) -> Reading:
    sent, received = sources.media.packets()
    return {
        "onhook_rtp_packets_total": {("sent",): sent, ("received",): received},
        "onhook_media_tick_lateness_seconds": _only(sources.media.lateness),
    }


def _only(value: float | Histogram) -> Samples:
    """Return the samples of a metric without labels."""
    return {(): value}


def _age_s(since: int | None, now: int) -> float:
    return 0.0 if since is None else max(0, now - since) / 1000
