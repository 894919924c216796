"""The demo's receiver tells a good signature from a bad one."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest

from onhook.cli.receiver import Delivered, Receiver, retell_check, running_receiver, talkover_check
from onhook.webhooks.signatures import body_signature, retell_signature

pytestmark = pytest.mark.dialect

TALKOVER = b'{"event":"event_phone_call_ended","call_id":"1"}'
RETELL = b'{"event":"call_ended","call":{"call_id":"call_1"}}'


@pytest.fixture(name="receiver")
async def started_receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


async def post(url: str, body: bytes, **headers: str) -> int:
    async with httpx.AsyncClient() as client:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await client.post(url, content=body, headers=given)).status_code


@pytest.mark.parametrize(("key", "signed", "status"), [("right", True, 200), ("wrong", False, 401)])
async def test_talkovers_signature_is_checked(receiver: Receiver, key: str, signed: bool, status: int) -> None:
    url = receiver.expect("talkover", talkover_check("right"))
    assert await post(url, TALKOVER, x_talkover_signature=body_signature(key, TALKOVER)) == status
    assert await receiver.next() == Delivered("event_phone_call_ended", "1", signed, status)


@pytest.mark.parametrize(
    ("key", "age_ms", "signed"), [("right", 0, True), ("wrong", 0, False), ("right", 301_000, False)]
)
async def test_retells_signature_is_checked_and_its_age(
    receiver: Receiver, key: str, age_ms: int, signed: bool
) -> None:
    url = receiver.expect("retell", retell_check("right"))
    at = round(time.time() * 1000) - age_ms
    status = await post(url, RETELL, x_retell_signature=retell_signature(key, at, RETELL))
    assert await receiver.next() == Delivered("call_ended", "call_1", signed, status)
    assert status == (200 if signed else 401)


async def test_a_delivery_without_a_signature_reads_wrong(receiver: Receiver) -> None:
    assert await post(receiver.expect("retell", retell_check("right")), RETELL) == 401
    assert str(await receiver.next()) == "   webhook  call_ended                  signature WRONG  401"


async def test_what_is_no_delivery_is_refused_and_not_shown(receiver: Receiver) -> None:
    url = receiver.expect("talkover", talkover_check("right"))
    assert await post(f"{receiver.url}/elsewhere", TALKOVER) == 404
    assert await post(url, b"not JSON", x_talkover_signature=body_signature("right", b"not JSON")) == 400
    assert await post(url, TALKOVER, x_talkover_signature=body_signature("right", TALKOVER)) == 200
    assert [one.status for one in await receiver.until("1", "event_phone_call_ended")] == [200]
