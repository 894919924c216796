"""Signatures, against the official verifiers of Standard Webhooks and Retell."""

import datetime
import hashlib
import hmac
import json
from collections.abc import Callable

import msgspec
import pytest
from retell import Retell
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from onhook.calls.call import Dialect
from onhook.store.outbox import WebhookEndpoint
from onhook.store.secrets import SecretError
from onhook.store.store import ApiKey
from onhook.webhooks.requests import RequestMaker
from onhook.webhooks.signatures import (
    body_signature,
    key_of,
    new_webhook_secret,
    retell_signature,
    standard_headers,
)
from onhook.webhooks.transport import Request
from tests.unit.courier_bench import Bench, running_courier

pytestmark = pytest.mark.unit

BODY = '{"event":"call_ended","texto":"¿qué?"}'.encode()


def seconds_now() -> int:
    return int(datetime.datetime.now(datetime.UTC).timestamp())


def test_the_standard_webhooks_library_accepts_our_signature() -> None:
    secret = new_webhook_secret()
    headers = standard_headers("msg_1", seconds_now(), BODY, [secret])
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)


def test_the_standard_webhooks_library_refuses_another_body_id_or_secret() -> None:
    secret = new_webhook_secret()
    headers = standard_headers("msg_1", seconds_now(), BODY, [secret])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers | {"webhook-id": "msg_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_webhook_secret()).verify(BODY, headers)


def test_two_secrets_sign_so_that_either_verifies() -> None:
    new, old = new_webhook_secret(), new_webhook_secret()
    headers = standard_headers("msg_1", seconds_now(), BODY, [new, old])
    for secret in (new, old):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)


def test_a_secret_of_somebody_elses_making_signs_with_its_own_bytes() -> None:
    assert key_of("correct horse") == b"correct horse"
    assert key_of("whsec_not base64!") == b"whsec_not base64!"
    assert key_of("whsec_AQID") == b"\x01\x02\x03"


def test_retells_published_vector() -> None:
    digest = "07024cabe7dd8f6d1c6e4a8324ca92c812e6ad4a7ee506c04f7e462e3321823e"
    signature = retell_signature("test-api-key", 1_700_000_000_000, b'{"event":"call_ended"}')
    assert signature == f"v=1700000000000,d={digest}"


def test_retells_sdk_accepts_our_signature_and_no_other_body() -> None:
    signature = retell_signature("key_1", seconds_now() * 1000, BODY)
    verify: Callable[[str, str, str], bool] = Retell(api_key="key_1").verify
    assert verify(BODY.decode(), "key_1", signature)
    assert not verify(BODY.decode() + " ", "key_1", signature)
    assert not verify(BODY.decode(), "key_2", signature)


def test_talkovers_signature_is_the_hmac_of_the_raw_body() -> None:
    assert body_signature("shh", BODY) == hmac.new(b"shh", BODY, hashlib.sha256).hexdigest()


async def made(bench: Bench, **changes: object) -> Request:
    endpoint = await bench.endpoint(**changes)
    await bench.courier.try_once(endpoint, "msg_1", BODY)
    return bench.transport.sent[-1]


async def test_without_a_secret_a_delivery_still_has_its_id_and_time() -> None:
    async with running_courier() as bench:
        headers = (await made(bench)).headers
        assert headers["webhook-id"] == "msg_1"
        assert headers["webhook-timestamp"] == "1800000000"
        assert not any("signature" in name.lower() for name in headers)


async def test_the_previous_secret_signs_until_its_time_is_over() -> None:
    async with running_courier() as bench:
        until = bench.clock.now_ms() + 1000
        request = await made(bench, secret="new", previous_secret="old", previous_secret_until=until)
        assert request.headers["webhook-signature"].count("v1,") == 2
        bench.clock.advance(1)
        request = await made(bench, secret="new", previous_secret="old", previous_secret_until=until)
        assert request.headers["webhook-signature"].count("v1,") == 1


async def test_talkover_endpoints_get_their_header_beside_the_standard_ones() -> None:
    async with running_courier() as bench:
        headers = (await made(bench, dialect=Dialect.TALKOVER, secret="shh")).headers
        assert headers["X-TalkOver-Signature"] == body_signature("shh", BODY)
        assert "webhook-signature" in headers
        assert "x-retell-signature" not in headers


async def test_anunzi_endpoints_are_signed_by_the_newest_key_that_may_sign() -> None:
    async with running_courier() as bench:
        old = ApiKey("key_old", "env_1", "old", "a", "1", created_at=1, secret="token_old")
        for key in (
            old,
            ApiKey("key_new", "env_1", "new", "b", "2", created_at=2, secret="token_new"),
            ApiKey("key_gone", "env_1", "gone", "c", "3", created_at=3, secret="token_gone", revoked_at=4),
            ApiKey("key_mute", "env_1", "mute", "d", "4", created_at=5),
            ApiKey("key_other", "env_2", "other", "e", "5", created_at=6, secret="token_other"),
        ):
            await bench.store.put(key)
        headers = (await made(bench, dialect=Dialect.ANUNZI)).headers
        assert headers["x-retell-signature"] == retell_signature("token_new", bench.clock.now_ms(), BODY)


async def test_an_anunzi_endpoint_without_a_key_that_may_sign_is_not_signed() -> None:
    async with running_courier() as bench:
        assert "x-retell-signature" not in (await made(bench, dialect=Dialect.ANUNZI)).headers


async def test_a_secret_that_cannot_be_read_fails_the_attempt_and_sends_nothing() -> None:
    async with running_courier() as bench:

        def unreadable(_: str) -> str:
            raise SecretError("this secret was encrypted with another key, or is damaged")

        maker = RequestMaker(bench.store, unreadable, bench.clock, "X")
        endpoint: WebhookEndpoint = msgspec.structs.replace(await bench.endpoint(), secret="box")
        with pytest.raises(SecretError):
            await maker.make(endpoint, "msg_1", BODY)


async def test_an_endpoints_own_headers_cannot_replace_ours() -> None:
    async with running_courier() as bench:
        own = {"Webhook-Id": "forged", "Authorization": "Bearer x", "Content-Length": "1"}
        headers = (await made(bench, headers=own)).headers
        assert headers["Authorization"] == "Bearer x"
        assert [value for name, value in headers.items() if name.lower() == "webhook-id"] == ["msg_1"]
        assert "Content-Length" not in headers
