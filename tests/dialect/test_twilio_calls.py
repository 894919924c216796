"""Twilio's call resource, as bots use it to hang up: by hand, and with Twilio's own Python client."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import ASGIApp
from tests.dialect.conftest import BASE_URL, Rig, Tenant
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from onhook.agents.twilio import account_sid, call_sid
from onhook.api.app import create_app
from onhook.api.http_server import HttpServer
from onhook.api.limits import is_stop
from onhook.api.services import Services
from onhook.api.twilio.mapping import STATUS_BY_OUTCOME, STATUS_BY_STATE
from onhook.calls.call import Call
from onhook.calls.causes import Outcome, Reason
from onhook.calls.states import OVER, State
from onhook.store.secrets import hash_token
from onhook.store.store import ApiKey
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

RINGING, BUSY = "+12025550101", "+12025550102"
COMPLETED = {"Status": "completed"}


@dataclass
class Conversations:
    """Stands for the agents on the line: takes wishes while somebody is there."""

    talking: bool = True
    wishes: list[str] = field(default_factory=list)

    def hang_up(self, call_id: str, _reason: str) -> bool:
        self.wishes.append(call_id)
        return self.talking


def app_with(rig: Rig, conversations: Conversations) -> ASGIApp:
    async def readiness() -> dict[str, str]:
        return {}

    services = Services(
        store=rig.store,
        placer=rig.placer,
        registrar=rig.registrar,
        ending=rig.ending,
        clock=rig.clock,
        secrets=rig.secrets,
        courier=rig.courier,
        bulk=rig.bulk,
        dial_blocks=rig.dial_blocks,
        timers=rig.timers,
        graceful=rig.graceful,
        readiness=readiness,
        hang_up=conversations.hang_up,
    )
    return create_app(services)


def bot(rig: Rig, conversations: Conversations | None = None, user: str | None = None) -> httpx.AsyncClient:
    """Return a client that logs in as a bot does: with the account's SID, and the key it shares with us."""
    transport = httpx.ASGITransport(app_with(rig, conversations or Conversations()), raise_app_exceptions=False)
    auth = (user or account_sid(rig.mine.environment_id), rig.mine.token)
    return httpx.AsyncClient(transport=transport, base_url=BASE_URL, auth=auth)


def path_of(call: Call, tenant: Tenant | None = None, sid: str | None = None) -> str:
    account = account_sid(tenant.environment_id if tenant else call.environment_id)
    return f"/2010-04-01/Accounts/{account}/Calls/{sid or call_sid(call.id)}.json"


def assert_error(answer: httpx.Response, status: int, code: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"code", "message", "more_info", "status"}
    assert (answer.json()["code"], answer.json()["status"]) == (code, status)


async def test_a_bots_hang_up_is_its_own_wish_and_the_call_goes_on_until_its_words_are_heard(rig: Rig) -> None:
    call, conversations = await rig.call(), Conversations()

    async with bot(rig, conversations) as client:
        first = await client.post(path_of(call), data=COMPLETED)
        again = await client.post(path_of(call), data=COMPLETED)

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["status"] == "in-progress"
    assert conversations.wishes == [call.id] * 2
    assert (await rig.settled(call.id)).state is State.ANSWERED


async def test_without_an_agent_on_the_line_the_call_is_stopped_at_once(rig: Rig) -> None:
    call = await rig.call()

    async with bot(rig, Conversations(talking=False)) as client:
        answer = await client.post(path_of(call), data=COMPLETED)

    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    stopped = await rig.settled(call.id)
    assert stopped.cause is not None
    assert (stopped.cause.reason, stopped.cause.initiator) == (Reason.API_STOP, f"api_key:{rig.mine.key_id}")


@pytest.mark.parametrize("status", ["completed", "canceled"])
async def test_a_call_that_is_not_answered_yet_is_stopped_at_once(memory_rig: Rig, status: str) -> None:
    rig, conversations = memory_rig, Conversations()
    call = await rig.call(RINGING)

    async with bot(rig, conversations) as client:
        answer = await client.post(path_of(call), data={"Status": status})

    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert (await rig.settled(call.id)).outcome is Outcome.CANCELED
    assert conversations.wishes == []


async def test_canceled_leaves_a_call_alone_that_is_answered(memory_rig: Rig) -> None:
    rig, conversations = memory_rig, Conversations()
    call = await rig.call()

    async with bot(rig, conversations) as client:
        answer = await client.post(path_of(call), data={"Status": "canceled"})

    assert (answer.status_code, answer.json()["status"]) == (200, "in-progress")
    assert conversations.wishes == []
    assert (await rig.settled(call.id)).state is State.ANSWERED


async def test_a_call_that_is_over_is_not_found_by_a_hang_up_but_can_be_looked_at(rig: Rig) -> None:
    call = await rig.call(BUSY)

    async with bot(rig) as client:
        hang_up = await client.post(path_of(call), data=COMPLETED)
        seen = await client.get(path_of(call))

    assert_error(hang_up, 404, 20404)
    assert (seen.status_code, seen.json()["status"], seen.json()["duration"]) == (200, "busy", "0")


async def test_the_resource_has_twilios_fields(memory_rig: Rig) -> None:
    rig = memory_rig
    call = await rig.call()

    async with bot(rig) as client:
        live = (await client.get(path_of(call))).json()
        by_own_id = (await client.get(path_of(call, sid=call.id))).json()
    async with rig.client() as owner:
        assert (await owner.post(f"/v1/calls/{call.id}/stop")).status_code == 200
    ended = await rig.settled(call.id)
    async with bot(rig) as client:
        over = (await client.get(path_of(call))).json()

    created = live.pop("date_created")
    assert parsedate_to_datetime(created).timestamp() == call.created_at // 1000
    assert created.endswith(" +0000") or created.endswith(" -0000")
    assert live.pop("date_updated")
    assert live == {
        "sid": call_sid(call.id),
        "account_sid": account_sid(rig.mine.environment_id),
        "api_version": "2010-04-01",
        "from": rig.mine.number,
        "to": "+12025550100",
        "status": "in-progress",
        "direction": "outbound-api",
        "start_time": live["start_time"],
        "end_time": None,
        "duration": None,
        "uri": path_of(call),
    }
    assert by_own_id["sid"] == live["sid"]
    assert over["status"] == "completed"
    assert parsedate_to_datetime(over["end_time"]).timestamp() == (ended.ended_at or 0) // 1000
    assert over["duration"] == str(round(ended.duration_ms / 1000))


async def test_a_stranger_is_told_nothing(memory_rig: Rig) -> None:
    rig = memory_rig
    call, theirs = await rig.call(), await rig.call(tenant=rig.other)
    mine, foreign = account_sid(rig.mine.environment_id), account_sid(rig.other.environment_id)
    await rig.store.put(
        ApiKey("apikey_old", rig.mine.environment_id, "old", hash_token("key_old"), "_old", 1, revoked_at=2)
    )
    wrong = [
        (mine, "key_wrong"),
        (mine, ""),
        ("", rig.mine.token),
        (foreign, rig.mine.token),
        (mine, "key_old"),
        ("apikey_other", rig.mine.token),
    ]
    async with bot(rig) as client:
        for auth in wrong:
            assert_error(await client.post(path_of(call), data=COMPLETED, auth=auth), 401, 20003)
        for header in ("", "Basic", "Basic !", "Basic ////", f"Bearer {rig.mine.token}", "Basic bm9jb2xvbg=="):
            refused = await client.get(path_of(call), headers={"Authorization": header}, auth=lambda request: request)
            assert_error(refused, 401, 20003)
            assert refused.headers["WWW-Authenticate"].startswith("Basic ")
        for path in (path_of(theirs), path_of(theirs, rig.mine), path_of(call, rig.other), path_of(call, sid="CA1")):
            assert_error(await client.get(path), 404, 20404)
            assert_error(await client.post(path, data=COMPLETED), 404, 20404)

    assert (await rig.settled(call.id)).state is (await rig.settled(theirs.id)).state is State.ANSWERED


async def test_a_keys_own_id_is_as_good_a_user_name(memory_rig: Rig) -> None:
    call = await memory_rig.call()
    async with bot(memory_rig, user=memory_rig.mine.key_id) as client:
        assert (await client.post(path_of(call), data=COMPLETED)).status_code == 200


@pytest.mark.parametrize(
    "form",
    ["", "Status=", "Status=paused", "status=completed", "Url=http%3A%2F%2Fexample.com", "&" * 200, "Status=%ff"],
)
async def test_anything_else_to_be_changed_is_refused(memory_rig: Rig, form: str) -> None:
    call, conversations = await memory_rig.call(), Conversations()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    async with bot(memory_rig, conversations) as client:
        assert_error(await client.post(path_of(call), content=form, headers=headers), 400, 20001)

    assert conversations.wishes == []


async def test_other_failures_have_twilios_shape_too(memory_rig: Rig) -> None:
    rig = memory_rig
    call = await rig.call()
    async with bot(rig) as client:
        assert_error(await client.post(path_of(call), json=COMPLETED), 400, 20001)
        assert_error(await client.delete(path_of(call)), 405, 20405)
        assert_error(await client.get("/2010-04-01/Accounts.json"), 404, 20404)
        assert_error(await client.post(path_of(call), data={"Status": "x" * 70_000}), 413, 20413)
        assert isinstance(rig.store, MemoryStore)
        rig.store.fail_writes = True
        no_agent = bot(rig, Conversations(talking=False))
        async with no_agent:
            assert_error(await no_agent.post(path_of(call), data=COMPLETED), 500, 20500)
    rig.store.fail_writes = False


def test_a_hang_up_passes_when_the_server_is_full() -> None:
    def scope(method: str, path: str) -> dict[str, Any]:
        return {"type": "http", "method": method, "path": path}

    assert is_stop(scope("POST", "/2010-04-01/Accounts/AC1/Calls/CA1.json"))
    assert not is_stop(scope("GET", "/2010-04-01/Accounts/AC1/Calls/CA1.json"))


def test_every_state_and_outcome_has_twilios_word() -> None:
    assert set(STATUS_BY_STATE) == set(State) - OVER
    assert set(STATUS_BY_OUTCOME) == set(Outcome)


class ToUs(TwilioHttpClient):  # type: ignore[misc]  # the package has no types
    """Twilio's own HTTP client, with its address changed to ours."""

    def __init__(self, origin: str) -> None:
        super().__init__(timeout=5)
        self._origin = origin

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        return super().request(method, self._origin + urlsplit(url).path, *args, **kwargs)


@contextmanager
def twilio_client(rig: Rig, server: HttpServer) -> Iterator[Client]:
    http = ToUs(f"http://127.0.0.1:{server.port}")
    yield Client(account_sid(rig.mine.environment_id), rig.mine.token, http_client=http)
    assert http.session is not None
    http.session.close()


async def test_twilios_own_client_looks_at_a_call_hangs_up_and_is_told_when_it_is_over(rig: Rig) -> None:
    call, conversations = await rig.call(), Conversations(talking=False)
    sid = call_sid(call.id)

    async with HttpServer(app_with(rig, conversations), "127.0.0.1", 0) as server:
        with twilio_client(rig, server) as client:
            before = await asyncio.to_thread(client.calls(sid).fetch)
            after = await asyncio.to_thread(client.calls(sid).update, status="completed")
            with pytest.raises(TwilioRestException) as again:
                await asyncio.to_thread(client.calls(sid).update, status="completed")

    assert (before.sid, before.status, before.to) == (sid, "in-progress", "+12025550100")
    assert (after.status, conversations.wishes) == ("completed", [call.id])
    assert after.start_time is not None
    assert after.end_time is not None
    assert after.end_time >= after.start_time
    assert (again.value.status, again.value.code) == (404, 20404)


async def test_twilios_own_client_is_refused_in_words_that_it_knows(memory_rig: Rig) -> None:
    rig = memory_rig
    call = await rig.call()

    async with HttpServer(app_with(rig, Conversations()), "127.0.0.1", 0) as server:
        with twilio_client(rig, server) as client:
            with pytest.raises(TwilioRestException) as bad:
                await asyncio.to_thread(client.calls(call_sid(call.id)).update, twiml="<Response/>")
            client.auth = (client.username, "key_wrong")
            with pytest.raises(TwilioRestException) as stranger:
                await asyncio.to_thread(client.calls(call_sid(call.id)).fetch)

    assert (bad.value.status, bad.value.code) == (400, 20001)
    assert (stranger.value.status, stranger.value.code) == (401, 20003)
