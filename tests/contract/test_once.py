"""Requests under a key, on every store."""

import asyncio

import msgspec
import pytest
from tests.contract.store_cases import NOW

from onhook.store.idempotency import OnceRequest
from onhook.store.store import Store

pytestmark = pytest.mark.contract

HOUR = 3_600_000
FIRST = OnceRequest("env_1", "key", "body", "nonce_1", NOW, NOW + HOUR)
SECOND = msgspec.structs.replace(FIRST, nonce="nonce_2", begun_at=NOW + 10, expires_at=NOW + 10 + HOUR)


async def test_the_first_request_under_a_key_is_to_be_carried_out(store: Store) -> None:
    begun = await store.begin_once(FIRST, stale_before=0)

    assert (begun.request, begun.mine) == (FIRST, True)


async def test_a_second_request_under_a_key_finds_the_first(store: Store) -> None:
    await store.begin_once(FIRST, stale_before=0)
    begun = await store.begin_once(SECOND, stale_before=0)

    assert (begun.request, begun.mine) == (FIRST, False)


async def test_an_answered_request_is_found_with_its_answer(store: Store) -> None:
    await store.begin_once(FIRST, stale_before=0)
    await store.finish_once("env_1", "key", 201, "sealed")
    begun = await store.begin_once(SECOND, stale_before=NOW + HOUR)

    assert (begun.request.status, begun.request.answer, begun.request.nonce) == (201, "sealed", "nonce_1")
    assert not begun.mine


async def test_a_request_that_was_never_answered_is_taken_up_under_its_nonce(store: Store) -> None:
    await store.begin_once(FIRST, stale_before=0)
    begun = await store.begin_once(SECOND, stale_before=NOW)

    assert begun.mine
    assert (begun.request.nonce, begun.request.begun_at) == ("nonce_1", NOW + 10)


async def test_another_request_does_not_take_up_what_a_key_stands_for(store: Store) -> None:
    await store.begin_once(FIRST, stale_before=0)
    begun = await store.begin_once(msgspec.structs.replace(SECOND, fingerprint="other"), stale_before=NOW)

    assert (begun.request, begun.mine) == (FIRST, False)


async def test_a_key_is_free_again_once_it_has_expired(store: Store) -> None:
    await store.begin_once(FIRST, stale_before=0)
    late = msgspec.structs.replace(SECOND, fingerprint="other", begun_at=FIRST.expires_at)

    assert (await store.begin_once(late, stale_before=0)).mine


async def test_a_key_is_free_again_once_it_is_forgotten(store: Store) -> None:
    await store.begin_once(FIRST, stale_before=0)
    await store.forget_once("env_1", "key")
    begun = await store.begin_once(SECOND, stale_before=0)

    assert (begun.request, begun.mine) == (SECOND, True)


async def test_afresh_replaces_what_stands(store: Store) -> None:
    await store.begin_once(FIRST, stale_before=0)
    await store.begin_once(SECOND, stale_before=0, afresh=True)
    begun = await store.begin_once(FIRST, stale_before=0)

    assert (begun.request, begun.mine) == (SECOND, False)


async def test_scopes_know_nothing_of_each_other(store: Store) -> None:
    await store.begin_once(FIRST, stale_before=0)
    begun = await store.begin_once(msgspec.structs.replace(SECOND, scope="env_2"), stale_before=0)

    assert begun.mine


async def test_of_many_at_once_one_is_to_carry_it_out(store: Store) -> None:
    requests = [msgspec.structs.replace(FIRST, nonce=f"nonce_{number}") for number in range(20)]
    begun = await asyncio.gather(*(store.begin_once(one, stale_before=0) for one in requests))

    assert sum(one.mine for one in begun) == 1
    assert len({one.request.nonce for one in begun}) == 1
