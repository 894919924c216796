"""Metrics: what parts count, what a reading says of zombies and overruns, and the alerts that are made of it."""

import asyncio
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from onhook.agents.messages import HangUp
from onhook.calls.call import Call, Dialect, EventType
from onhook.calls.causes import Outcome, Reason
from onhook.calls.proof import Method, Proof, Result
from onhook.calls.selector import CallSelector
from onhook.calls.states import State
from onhook.calls.timeline import moments, spans
from onhook.lines.engine import LegEnded
from onhook.lines.media.pump import MediaPump
from onhook.lines.sip.sdp import RemoteMedia
from onhook.metrics import scrape
from onhook.metrics.catalog import CATALOG
from onhook.metrics.histogram import Histogram
from onhook.metrics.parts import EndFigures, TalkFigures
from onhook.metrics.scrape import Reading, Sources, read
from onhook.store.figures import Standing
from onhook.store.outbox import DeliveryState, WebhookEndpoint
from onhook.store.records import DialBlock
from onhook.store.store import StoreError
from onhook.testing.calls import sample_call
from onhook.testing.clock import ManualClock
from onhook.testing.store import MemoryStore
from onhook.voice.ear import BargedIn, SpeechEnded, SpeechStarted
from tests.unit.control_bench import Bench
from tests.unit.courier_bench import running_courier, status
from tests.unit.voice_bench import VoiceBench

pytestmark = pytest.mark.unit

ALERTS = Path(__file__).parents[2] / "docs" / "reference" / "alerts.yml"
ONLY = ()


class Watched:
    """The parts of a node, as far as metrics read them: call control on fakes, and nobody who talks."""

    def __init__(self, bench: Bench) -> None:
        self.store, self.clock, self.ending, self.live = bench.store, bench.clock, bench.ending, bench.live
        self.capacity = bench.capacity
        self.ends = EndFigures()
        self.ending.on_end.append(self.ends.on_end)
        self.media = MediaPump(bench.clock)
        self.courier = SimpleNamespace(results=Counter())
        self.conversations = SimpleNamespace(live=0, figures=TalkFigures())
        self.pool = None
        self.settle_limit_ms = 32_000
        self.said = {"store": "ok"}

    async def ready(self) -> dict[str, str]:
        return self.said

    async def reading(self) -> Reading:
        return await read(cast(Sources, self))

    async def value(self, name: str, *labels: str) -> float | Histogram:
        return (await self.reading())[name][labels]


@pytest.fixture
async def bench() -> Bench:
    return await Bench().open()


@pytest.fixture
def watched(bench: Bench) -> Watched:
    return Watched(bench)


async def talking(bench: Bench) -> Call:
    call = await bench.place()
    bench.engine.answer(call.id)
    return await bench.written(call.id)


# --- histograms


def test_a_value_belongs_to_the_first_bound_that_is_not_below_it() -> None:
    histogram = Histogram((0.1, 0.5, 1.0))
    for value in (0.0, 0.1, 0.11, 1.0, 7.0):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [("0.1", 2), ("0.5", 3), ("1.0", 4), ("+Inf", 5)]
    assert histogram.total == pytest.approx(8.21)


# --- ends and stops


async def test_a_stop_is_counted_with_the_times_of_the_calls_own_timeline(bench: Bench, watched: Watched) -> None:
    call = await talking(bench)
    bench.engine.settles = False
    order = bench.stop_order(call.id)
    bench.clock.advance(0.003)
    await bench.ending.request_stop(order)
    bench.clock.advance(0.04)
    bench.engine.settle(call.id)
    ended = await bench.written(call.id)
    took = spans(moments(ended, ()))

    assert watched.ends.stops == {Reason.API_STOP: 1}
    assert watched.ends.ends == {(Outcome.COMPLETED, Reason.API_STOP): 1}
    assert watched.ends.unconfirmed == 0
    assert took.stop_to_confirmed == 43
    assert watched.ends.to_proof[Method.BYE].total == pytest.approx(0.043)
    assert watched.ends.to_wire[Method.BYE].total == pytest.approx((took.stop_to_wire or 0) / 1000)


async def test_a_stop_that_the_wire_does_not_confirm_is_counted_as_that_and_has_no_time_of_proof(
    bench: Bench, watched: Watched
) -> None:
    call = await talking(bench)
    bench.engine.settles = False
    await bench.ending.request_stop(bench.stop_order(call.id))
    bench.engine.settle(call.id, confirmed=False)
    await bench.written(call.id)
    assert await watched.value("onhook_stops_unconfirmed_total") == 1
    assert watched.ends.to_proof == {}
    assert sum(watched.ends.to_wire[Method.BYE].counts) == 1


async def test_the_end_by_the_far_end_is_an_end_and_no_stop(bench: Bench, watched: Watched) -> None:
    call = await talking(bench)
    bench.engine.hang_up_far_end(call.id)
    await bench.written(call.id)
    reading = await watched.reading()
    assert reading["onhook_calls_ended_total"] == {("completed", "hangup"): 1}
    assert reading["onhook_stops_total"] == {}
    assert reading["onhook_stop_proof_seconds"] == {}


async def test_an_end_that_is_told_again_is_counted_once(bench: Bench, watched: Watched) -> None:
    call = await talking(bench)
    bench.engine.hang_up_far_end(call.id)
    ended = await bench.written(call.id)
    assert ended.proof is not None
    assert ended.cause is not None
    bench.clock.advance(1)
    await bench.ending.settle(LegEnded(call.id, bench.clock.now_ms(), ended.proof, ended.cause))
    assert watched.ends.ends.total() == 1


async def test_a_stopped_call_that_was_never_dialled_is_counted_once(bench: Bench, watched: Watched) -> None:
    call = await bench.place(delay_s=60)
    await bench.ending.request_stop(bench.stop_order(call.id))
    stopped = await bench.written(call.id)
    bench.clock.advance(1)
    await bench.ending.carry_out([stopped])
    assert watched.ends.stops == {Reason.API_STOP: 1}
    assert watched.ends.to_wire == {}
    assert sum(watched.ends.to_proof[Method.NONE].counts) == 1


async def test_a_stop_that_is_not_recorded_shows_until_it_is(bench: Bench, watched: Watched) -> None:
    call = await talking(bench)
    bench.engine.settles = False
    bench.store.fail_writes = True
    with pytest.raises(StoreError):
        await bench.ending.request_stop(bench.stop_order(call.id))
    assert await watched.value("onhook_stops_unrecorded") == 1
    bench.store.fail_writes = False
    await bench.reconciler.sweep()
    assert await watched.value("onhook_stops_unrecorded") == 0


# --- what must be 0


async def test_a_call_that_is_ending_for_longer_than_sip_allows_is_a_zombie(bench: Bench, watched: Watched) -> None:
    call = await talking(bench)
    bench.engine.settles = False
    await bench.ending.request_stop(bench.stop_order(call.id))
    bench.clock.advance(32)
    assert await watched.value("onhook_zombie_calls", "ending") == 0
    bench.clock.advance(0.001)
    assert (await watched.reading())["onhook_zombie_calls"] == {("ending",): 1, ("no_leg",): 0}


async def test_a_live_call_without_a_leg_of_ours_is_a_zombie(bench: Bench, watched: Watched) -> None:
    await talking(bench)
    await bench.store.create_call(sample_call(created_at=bench.clock.now_ms()))
    bench.clock.advance(5)
    assert await watched.value("onhook_zombie_calls", "no_leg") == 0
    bench.clock.advance(0.001)
    assert (await watched.reading())["onhook_zombie_calls"] == {("ending",): 0, ("no_leg",): 1}
    assert await watched.value("onhook_legs") == 1


async def test_a_call_past_its_deadline_shows_until_it_is_stopped(bench: Bench, watched: Watched) -> None:
    call = await bench.place()
    assert call.deadline_at is not None
    bench.clock.advance((call.deadline_at - bench.clock.now_ms()) / 1000 + 2)
    assert await watched.value("onhook_deadline_overruns") == 0
    bench.clock.advance(0.001)
    assert await watched.value("onhook_deadline_overruns") == 1
    await bench.reconciler.sweep()
    assert await watched.value("onhook_deadline_overruns") == 0


# --- gauges of the store


async def test_calls_are_counted_by_state_and_dial_blocks_in_all(bench: Bench, watched: Watched) -> None:
    await bench.place(delay_s=60)
    await talking(bench)
    await bench.store.put(DialBlock("b1", "a", CallSelector(agent_ids=("x",)), 0, "api_key:k"))
    reading = await watched.reading()
    assert reading["onhook_calls"] == {
        (str(state),): int(state in (State.SCHEDULED, State.ANSWERED)) for state in State if state is not State.ENDED
    }
    assert reading["onhook_dial_blocks"] == {ONLY: 1}


async def test_webhooks_that_are_due_and_not_sent_are_told_with_their_age(bench: Bench, watched: Watched) -> None:
    wants: dict[EventType, tuple[str, ...]] = {EventType.CREATED: ("call.created",)}
    now = bench.clock.now_ms()
    hook = WebhookEndpoint("h", "a", Dialect.NATIVE, "h", "https://h.example", now, now, wants=wants)
    await bench.store.put(hook)
    await bench.place()
    bench.clock.advance(70)
    reading = await watched.reading()
    assert reading["onhook_webhook_lag_seconds"] == {ONLY: 70}
    assert reading["onhook_webhook_oldest_seconds"] == {ONLY: 70}
    assert reading["onhook_webhook_deliveries"] == {("due",): 1, ("inflight",): 0}


async def test_without_webhooks_there_is_no_lag(watched: Watched) -> None:
    assert await watched.value("onhook_webhook_lag_seconds") == 0
    assert await watched.value("onhook_webhook_oldest_seconds") == 0


class Unreadable(MemoryStore):
    """A store whose sweeps' connection is broken."""

    async def standings(self) -> list[Standing]:
        raise StoreError("cannot read")


async def test_while_the_store_is_away_the_rest_is_told_all_the_same() -> None:
    watched = Watched(await Bench(Unreadable()).open())
    watched.said = {"store": "disk full", "webhooks": "ok", "speech": "limited: no espeak-ng"}
    reading = await watched.reading()
    assert reading["onhook_component_up"] == {("store",): 0, ("webhooks",): 1, ("speech",): 1}
    assert "onhook_zombie_calls" not in reading
    assert reading["onhook_stops_unconfirmed_total"] == {ONLY: 0}


async def test_a_store_that_does_not_answer_keeps_nobody_waiting(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(scrape, "READY_LIMIT_S", 0.01)
    monkeypatch.setattr(watched, "ready", never)
    assert await watched.value("onhook_component_up", "store") == 0


# --- parts


async def test_deliveries_are_counted_by_what_came_of_them(watched: Watched) -> None:
    async with running_courier() as bench:
        bench.transport.script = status(500)
        await bench.endpoint(max_retries=1)
        await bench.call()
        await bench.after(3600)
        watched.courier = cast(Any, bench.courier)
        assert (await watched.reading())["onhook_webhook_attempts_total"] == {
            (str(DeliveryState.DUE),): 1,
            (str(DeliveryState.DONE),): 0,
            (str(DeliveryState.DEAD),): 1,
            (str(DeliveryState.SKIPPED),): 0,
        }


async def test_replies_and_interruptions_are_timed_over_all_calls() -> None:
    bench = VoiceBench()
    await bench.open()
    call = await bench.talk()
    bench.hears(call, SpeechStarted(0), SpeechEnded(0, 0))
    bench.pass_time(call, 300)
    bench.speaks("A long story.", 4000)
    bench.pass_time(call, 1000)
    bench.hears(call, SpeechStarted(1_200), BargedIn(1_340, 1_200))
    figures = bench.conversations.figures
    assert sum(figures.barge_in.counts) == sum(figures.replies.counts) == 1
    assert figures.barge_in.total == pytest.approx(1.340 - 1.200)
    assert figures.replies.total == pytest.approx(0.34)


async def test_last_words_that_go_on_are_no_interruption() -> None:
    bench = VoiceBench()
    await bench.open()
    call = await bench.talk()
    bench.speaks("Good bye.", 4000, HangUp("done", drain=True))
    bench.pass_time(call, 1000)
    bench.hears(call, SpeechStarted(900), BargedIn(1_020, 900))
    assert sum(bench.conversations.figures.barge_in.counts) == 0


async def test_every_tick_is_timed_and_packets_outlive_their_session() -> None:
    clock = ManualClock()
    pump = MediaPump(clock)
    await pump.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        session = pump.open("call_1", lambda _: None, lambda _, __: None, lambda _, __: None)
        session.set_remote(RemoteMedia("127.0.0.1", far.getsockname()[1], 0, 101))
        clock.advance(0.2)
        assert sum(pump.lateness.counts) == 10
        assert pump.lateness.total == pytest.approx(0, abs=1e-6)
        before = pump.packets()
        await pump.close()
    assert pump.packets() == before == (11, 0), "one at once, ten by ticks"


def test_nothing_is_loaded_for_metrics_and_traces_before_somebody_wants_them() -> None:
    loaded = "import sys, onhook.server; print(*sorted({'prometheus_client', 'opentelemetry.sdk'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def test_a_call_without_an_end_is_not_counted() -> None:
    figures = EndFigures()
    figures.on_end(sample_call(proof=Proof(Result.CONFIRMED, Method.NONE)))
    assert figures.ends.total() == 0


# --- the catalogue and the alerts


async def test_every_metric_that_is_read_is_in_the_catalogue_with_its_labels(watched: Watched) -> None:
    for name, samples in (await watched.reading()).items():
        assert {len(labels) for labels in samples} <= {len(CATALOG[name].labels)}, name


def test_names_tell_units_and_kinds_as_prometheus_wants_them() -> None:
    for name, metric in CATALOG.items():
        assert name.startswith("onhook_")
        assert (metric.kind == "counter") is name.endswith("_total"), name
        assert metric.kind != "histogram" or name.endswith("_seconds"), name


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_metrics_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    asked = re.findall(r"\b(onhook_\w+?)(?:_bucket|_sum|_count)?\b(?:\{(.*?)\})?", rule["expr"])
    assert asked or rule["alert"] == "OnhookDown", "up is Prometheus' own"
    for name, selector in asked:
        assert name in CATALOG, name
        assert {one.partition("=")[0] for one in selector.split(",") if one} <= set(CATALOG[name].labels)
    known = {label for name, _ in asked for label in CATALOG[name].labels} | {"instance", "le"}
    for grouped in re.findall(r"by \(([^)]*)\)", rule["expr"]):
        assert {label.strip() for label in grouped.split(",")} <= known
    for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
        assert label in known


def test_an_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "action"}
