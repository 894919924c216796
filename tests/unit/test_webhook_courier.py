"""The courier's rules: order, retries, breakers, caps, and that nothing is lost on the way out."""

import asyncio
import itertools
from typing import Any

import pytest

from onhook.calls.call import Dialect, EventType
from onhook.store.outbox import Backlog
from onhook.store.store import Progress, StoreError
from onhook.webhooks.courier import Limits
from onhook.webhooks.retries import DIALECT_DELAYS_S, NATIVE_DELAYS_S
from onhook.webhooks.transport import Answer, Request
from tests.unit.courier_bench import Bench, running_courier, status

pytestmark = pytest.mark.unit

SECOND = 1000


async def gaps_s(bench: Bench, moments: int) -> list[float]:
    """Return the seconds between the attempts of a delivery that never succeeds."""
    for _ in range(moments):
        await bench.after(60)
    begun = [one.created_at for one in await bench.attempts()]
    return [(later - earlier) / SECOND for earlier, later in itertools.pairwise(begun)]


async def test_a_commit_wakes_the_courier_at_once() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        await bench.call()
        assert bench.transport.bodies() == ["created 1"]
        (attempt,) = await bench.attempts()
        assert (attempt.status, attempt.http_status, attempt.error) == ("success", 200, None)
        assert await bench.store.backlog() == Backlog()


async def test_what_was_due_before_the_start_is_found_without_a_wake() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = status(500)
        await bench.call()
        assert len(bench.transport.sent) == 1
        await bench.after(4)
        assert len(bench.transport.sent) == 1
        await bench.after(1.25)
        assert len(bench.transport.sent) == 2


@pytest.mark.parametrize(("chance", "factor"), [(0.5, 1.0), (0.0, 0.8), (1.0, 1.2)])
async def test_native_endpoints_retry_for_a_day_with_jitter_then_the_delivery_is_dead(
    chance: float, factor: float
) -> None:
    async with running_courier(chance=chance) as bench:
        await bench.endpoint()
        bench.transport.script = status(500)
        await bench.call()
        gaps = await gaps_s(bench, 40 * 60)
        assert gaps == pytest.approx([delay * factor for delay in NATIVE_DELAYS_S], abs=61)
        assert [one.status for one in await bench.attempts()] == ["retrying"] * 7 + ["failed"]
        assert (await bench.current()).status == "error"
        assert await bench.store.backlog() == Backlog()


async def test_dialect_endpoints_retry_as_often_as_they_say() -> None:
    async with running_courier() as bench:
        await bench.endpoint(dialect=Dialect.ANUNZI, max_retries=3)
        bench.transport.script = status(503)
        await bench.call()
        for delay in DIALECT_DELAYS_S[:3]:
            before = len(bench.transport.sent)
            await bench.after(delay - 0.01)
            assert len(bench.transport.sent) == before
            await bench.after(0.3)
            assert len(bench.transport.sent) == before + 1
        await bench.after(100_000)
        assert len(bench.transport.sent) == 4


async def test_no_retry_at_all_when_none_is_wanted() -> None:
    async with running_courier() as bench:
        await bench.endpoint(dialect=Dialect.TALKOVER, max_retries=0)
        bench.transport.script = lambda _: None
        await bench.call()
        await bench.after(100_000)
        (attempt,) = await bench.attempts()
        assert (attempt.status, attempt.http_status, attempt.response_body) == ("failed", None, None)
        assert attempt.error == "Connection timeout"


@pytest.mark.parametrize("code", [200, 201, 204, 299])
async def test_any_2xx_is_success(code: int) -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = status(code)
        await bench.call()
        assert [one.status for one in await bench.attempts()] == ["success"]


@pytest.mark.parametrize("code", [199, 301, 302, 307, 400, 404, 500])
async def test_anything_else_is_a_failure_redirects_too(code: int) -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = status(code, location="https://elsewhere.example")
        await bench.call()
        assert [(one.status, one.error) for one in await bench.attempts()] == [("retrying", f"HTTP {code}")]


async def test_410_switches_the_endpoint_off() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = status(410)
        call = await bench.call()
        endpoint = await bench.current()
        assert (endpoint.enabled, endpoint.status) == (False, "disabled")
        await bench.answer(call)
        await bench.after(100_000)
        assert len(bench.transport.sent) == 1


@pytest.mark.parametrize(("asked", "waits"), [("120", 120), ("1", 5), ("999999", 3600)])
async def test_a_throttling_receiver_gets_the_pause_it_asks_for_up_to_an_hour(asked: str, waits: int) -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = status(429, retry_after=asked)
        await bench.call()
        await bench.after(waits - 0.1)
        assert len(bench.transport.sent) == 1
        await bench.after(0.4)
        assert len(bench.transport.sent) == 2


async def test_a_pause_may_be_asked_for_as_a_date() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = status(503, retry_after="Fri, 15 Jan 2027 08:01:40 GMT")
        assert bench.clock.now_ms() == 1_800_000_000_000  # 08:00:00 that day
        await bench.call()
        await bench.after(99.9)
        assert len(bench.transport.sent) == 1
        await bench.after(0.4)
        assert len(bench.transport.sent) == 2


async def test_a_pause_that_makes_no_sense_or_comes_with_another_status_is_ignored() -> None:
    for script in (
        status(503, retry_after="soon"),
        status(503, retry_after="Mon, 01 Jan 99999999999999999999 00:00:00 GMT"),
        status(500, retry_after="600"),
    ):
        async with running_courier() as bench:
            await bench.endpoint()
            bench.transport.script = script
            await bench.call()
            await bench.after(5.3)
            assert len(bench.transport.sent) == 2


async def test_first_attempts_of_a_call_keep_the_order_of_its_events() -> None:
    async with running_courier() as bench:
        endpoint = await bench.endpoint()
        bench.transport.hanging.add(endpoint.url)
        call = await bench.call()
        await bench.answer(call)
        other = await bench.call()
        assert bench.transport.bodies() == ["created 1", "created 1"]
        await bench.answer(other)
        bench.transport.release.set()
        await bench.settle()
        assert bench.transport.bodies() == ["created 1", "created 1", "answered 2", "answered 2"]


async def test_a_failed_event_does_not_hold_later_ones() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = lambda request: Answer(500 if request.body.startswith(b"created") else 200, {}, "")
        call = await bench.call()
        await bench.answer(call)
        assert bench.transport.bodies() == ["created 1", "answered 2"]


async def test_a_held_event_goes_out_when_the_hold_is_over() -> None:
    async with running_courier() as bench:
        await bench.endpoint(hold_s=60)
        bench.transport.script = lambda request: Answer(500 if request.body.startswith(b"created") else 200, {}, "")
        call = await bench.call()
        await bench.answer(call)
        await bench.after(59)
        assert "answered 2" not in bench.transport.bodies()
        await bench.after(1.3)
        assert "answered 2" in bench.transport.bodies()


async def test_an_event_that_does_not_apply_is_skipped_without_an_attempt() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        call = await bench.call()
        await bench.store.record_progress(Progress(call.id, bench.clock.now_ms(), EventType.RINGING))
        await bench.answer(call)
        assert bench.transport.bodies() == ["created 1", "answered 3"]
        assert await bench.store.backlog() == Backlog()


async def test_one_hanging_endpoint_holds_its_own_slots_only() -> None:
    async with running_courier(Limits(total=4, per_endpoint=3, grace_s=0)) as bench:
        hanging = await bench.endpoint(id="hanging")
        healthy = await bench.endpoint(id="healthy")
        bench.transport.hanging.add(hanging.url)
        for _ in range(10):
            await bench.call()
        assert len(bench.transport.bodies(hanging.url)) == 3
        assert len(bench.transport.bodies(healthy.url)) == 10


async def test_five_failures_in_a_row_open_the_breaker_which_then_lets_one_try() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = status(500)
        for _ in range(8):
            await bench.call()
        assert len(bench.transport.sent) == 5
        await bench.after(29)
        assert len(bench.transport.sent) == 5
        await bench.after(1.3)
        assert len(bench.transport.sent) == 6
        await bench.after(59)
        assert len(bench.transport.sent) == 6
        bench.transport.script = status(200)
        await bench.after(1.3)
        assert await bench.store.backlog() == Backlog()


async def test_a_success_starts_the_count_of_failures_again() -> None:
    async with running_courier() as bench:
        await bench.endpoint(max_retries=0)
        answers = iter([500, 500, 500, 500, 200, 500, 500, 500, 500, 200])
        bench.transport.script = lambda _: Answer(next(answers), {}, "")
        for _ in range(10):
            await bench.call()
        assert len(bench.transport.sent) == 10


async def test_an_endpoint_in_error_is_active_again_after_a_success() -> None:
    async with running_courier() as bench:
        await bench.endpoint(status="error")
        await bench.call()
        assert (await bench.current()).status == "active"


async def test_a_store_that_is_away_is_asked_again_and_nothing_is_sent_twice() -> None:
    async with running_courier() as bench:
        endpoint = await bench.endpoint()
        bench.transport.hanging.add(endpoint.url)
        await bench.call()
        bench.store.fail_writes = True
        bench.transport.release.set()
        await bench.settle()
        await bench.after(3)
        bench.store.fail_writes = False
        await bench.after(2)
        assert len(bench.transport.sent) == 1
        assert await bench.store.backlog() == Backlog()


async def test_a_store_that_cannot_be_read_during_a_delivery_costs_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_courier() as bench:
        await bench.endpoint(dialect=Dialect.ANUNZI, max_retries=0)

        async def away(*_: object) -> list[Any]:
            raise StoreError("disk I/O error")

        with monkeypatch.context() as broken:
            broken.setattr(bench.store, "find", away)  # where the signing key comes from
            await bench.call()
        assert bench.transport.sent == []
        await bench.after(1.3)
        assert bench.transport.bodies() == ["created 1"]
        assert await bench.store.backlog() == Backlog()


async def test_a_bug_of_ours_is_a_failed_attempt_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        with monkeypatch.context() as broken:
            broken.setattr(bench.transport, "script", lambda _: 1 / 0)
            call = await bench.call()
        await bench.answer(call)
        assert bench.transport.bodies() == ["created 1", "answered 2"]
        await bench.after(5.3)
        assert bench.transport.bodies() == ["created 1", "answered 2", "created 1"]
        assert [(one.status, one.error) for one in await bench.attempts()] == [
            ("retrying", "internal error"),
            ("success", None),
            ("success", None),
        ]


async def test_a_courier_that_died_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_courier() as bench:
        assert bench.courier.running
        monkeypatch.setattr(bench.store, "next_delivery_at", lambda: 1 / 0)
        await bench.after(0.3)
        assert not bench.courier.running
        assert "no webhook is delivered any more" in caplog.text


async def test_closing_puts_back_what_is_under_way() -> None:
    async with running_courier() as bench:
        endpoint = await bench.endpoint()
        bench.transport.hanging.add(endpoint.url)
        await bench.call()
        assert (await bench.store.backlog()).inflight == 1
    assert (await bench.store.backlog()).due == 1


async def test_closing_gives_what_is_under_way_a_moment() -> None:
    async with running_courier(Limits(grace_s=5)) as bench:
        endpoint = await bench.endpoint()
        bench.transport.hanging.add(endpoint.url)
        await bench.call()
        asyncio.get_running_loop().call_soon(bench.transport.release.set)
    assert await bench.store.backlog() == Backlog()


async def test_a_start_takes_over_what_an_earlier_life_left_under_way() -> None:
    async with running_courier() as bench:
        await bench.courier.close()
        await bench.endpoint()
        await bench.call()
        assert await bench.store.claim(bench.clock.now_ms(), 10, 10, {}) != []
        await bench.courier.start()
        await bench.settle()
        assert bench.transport.bodies() == ["created 1"]


async def test_attempts_are_purged_after_30_days() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        await bench.call()
        await bench.after(30 * 86_400 - 1)
        assert len(await bench.attempts()) == 1
        await bench.after(3601)
        assert await bench.attempts() == []


async def test_every_attempt_has_the_same_id_and_a_fresh_time() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = status(500)
        await bench.call()
        await bench.after(5.3)
        first, second = (request.headers for request in bench.transport.sent)
        assert first["webhook-id"] == second["webhook-id"]
        assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 5


async def test_the_attempts_record_holds_what_was_sent_and_answered() -> None:
    async with running_courier() as bench:
        await bench.endpoint()
        bench.transport.script = lambda _: Answer(404, {"server": "x"}, "nobody here")
        await bench.call()
        (attempt,) = await bench.attempts()
        assert attempt.request_payload == "created 1"
        assert (attempt.response_body, attempt.response_headers) == ("nobody here", {"server": "x"})
        assert attempt.id == f"{attempt.delivery_id}-1"


async def test_a_body_can_be_tried_once_outside_the_outbox() -> None:
    async with running_courier() as bench:
        endpoint = await bench.endpoint(http_method="PUT", headers={"X-Own": "1", "Host": "evil"})
        tried = await bench.courier.try_once(endpoint, "msg_test", b"{}")
        (request,) = bench.transport.sent
        assert (tried.status, tried.succeeded, tried.fault) == (200, True, None)
        assert (request.method, request.headers["X-Own"], "Host" in request.headers) == ("PUT", "1", False)
        bench.transport.script = _nothing
        assert (await bench.courier.try_once(endpoint, "msg_test", b"{}")).fault == "Connection timeout"
        assert await bench.attempts() == []


def _nothing(_: Request) -> Answer | None:
    return None
