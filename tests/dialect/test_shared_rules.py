"""What holds in every dialect: errors in its own shape, storage failures, limits, documents, total mappings."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import httpx
import pytest
from retell.types import phone_call_response
from tests.dialect.conftest import Rig

from onhook.api.anunzi import errors as anunzi_errors
from onhook.api.anunzi.mapping import ANSWERED_END, STATUS_BY_STATE, UNANSWERED_END
from onhook.api.app import ROUTERS, openapi_document
from onhook.api.native import errors as native_errors
from onhook.api.native.mapping import STOP_RESULT
from onhook.api.talkover import errors as talkover_errors
from onhook.api.talkover import mapping as talkover
from onhook.calls.causes import Outcome, Reason
from onhook.calls.proof import Result
from onhook.calls.states import LIVE
from onhook.store.queries import CallFilter, Page
from onhook.store.store import StoreError
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
JSON = {"Content-Type": "application/json"}

STOPS = {
    "talkover": ("/api/v1/agents/{agent}/end-call", {"call_sid": "{call}"}),
    "anunzi": ("/v2/stop-call/{call}", None),
    "native": ("/v1/calls/{call}/stop", {}),
}


def shape_of(answer: httpx.Response) -> str:
    """Name the dialect whose error body this is."""
    body = answer.json()
    if answer.headers["Content-Type"] == "application/problem+json":
        return "native" if {"type", "title", "status", "detail"} <= set(body) else "?"
    if body.get("success") is False and isinstance(body["message"], str):
        return "talkover"
    return "anunzi" if body.get("status") == "error" and set(body) == {"status", "message"} else "?"


async def send_stop(rig: Rig, client: httpx.AsyncClient, dialect: str, call_id: str) -> httpx.Response:
    path, body = STOPS[dialect]
    url = path.format(agent=rig.mine.agent_id, call=call_id)
    if body is None:
        return await client.post(url)
    return await client.post(url, json={name: value.format(call=call_id) for name, value in body.items()})


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "dialect"),
    [
        ("GET", "/api/v1/nothing", 404, "talkover"),
        ("GET", "/api/user", 404, "talkover"),
        ("GET", "/v2/nothing", 404, "anunzi"),
        ("GET", "/v3/nothing", 404, "anunzi"),
        ("GET", "/v1/nothing", 404, "native"),
        ("GET", "/", 404, "native"),
        ("GET", "/v2/stop-call", 404, "anunzi"),
        ("GET", "/docs", 404, "native"),
        ("DELETE", "/api/v1/calls", 405, "talkover"),
        ("GET", "/v3/list-calls", 405, "anunzi"),
        ("PATCH", "/v1/agents/x", 405, "native"),
    ],
)
async def test_no_framework_error_ever_leaves(
    memory_rig: Rig, method: str, path: str, status: int, dialect: str
) -> None:
    async with memory_rig.client() as client:
        answer = await client.request(method, path)

    assert (answer.status_code, shape_of(answer)) == (status, dialect)
    assert ("Allow" in answer.headers) == (status == 405)


async def test_allow_names_every_method_of_the_path(memory_rig: Rig) -> None:
    async with memory_rig.client() as client:
        answers = [await client.patch(path) for path in ("/v1/calls", "/v1/agents/x", "/api/v1/agents")]

    assert [one.headers["Allow"] for one in answers] == ["GET, POST", "DELETE, GET, PUT", "GET, POST"]
    message = "The PATCH method is not supported for this route. Supported methods: GET, POST."
    assert answers[2].json()["message"] == message


@pytest.mark.parametrize("path", ["/api/v1/calls", "/v2/get-call/x", "/v1/calls"])
async def test_every_dialect_wants_a_token_and_says_which_kind(memory_rig: Rig, path: str) -> None:
    async with memory_rig.client() as client:
        answer = await client.get(path, headers={"Authorization": "Bearer nope"})

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("path", ["/api/v1/calls", "/v2/get-call/x", "/v1/calls"])
async def test_a_bug_is_a_500_in_the_dialects_shape(
    memory_rig: Rig, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(memory_rig.store, "list_calls", broken)
    monkeypatch.setattr(memory_rig.store, "get_call", broken)
    async with memory_rig.client() as client:
        answer = await client.get(path)

    assert answer.status_code == 500
    assert shape_of(answer) in {"talkover", "anunzi", "native"}
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"), [("/api/v1/agents/a/end-call", 400), ("/v2/create-phone-call", 400), ("/v1/calls", 400)]
)
async def test_json_that_nests_too_deep_is_refused(memory_rig: Rig, path: str, status: int) -> None:
    body = b'{"metadata":' + b'{"a":' * 200 + b"1" + b"}" * 201
    async with memory_rig.client() as client:
        answer = await client.post(path, content=body, headers=JSON)

    assert answer.status_code == status
    assert shape_of(answer) != "?"


# --- storage down ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "status"), [("talkover", 500), ("anunzi", 500), ("native", 503)])
async def test_a_stop_that_cannot_be_recorded_still_ends_the_call(memory_rig: Rig, dialect: str, status: int) -> None:
    rig = memory_rig
    assert isinstance(rig.store, MemoryStore)
    call = await rig.call()
    rig.engine.settles = False
    rig.store.fail_writes = True
    async with rig.client() as client:
        answer = await send_stop(rig, client, dialect, call.id)
    rig.store.fail_writes = False

    assert (answer.status_code, shape_of(answer)) == (status, dialect)
    assert [one for one, _ in rig.engine.hangups] == [call.id]
    rig.engine.settle(call.id)
    ended = await rig.settled(call.id)
    assert ended.cause is not None
    assert ended.cause.initiator == f"api_key:{rig.mine.key_id}"


@pytest.mark.parametrize(("path", "status"), [("/api/v1/calls", 500), ("/v2/get-call/x", 500), ("/v1/calls", 503)])
async def test_a_store_that_cannot_be_read_is_an_error_of_the_dialect(
    memory_rig: Rig, path: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreError("away")

    monkeypatch.setattr(memory_rig.store, "key_by_hash", away)
    async with memory_rig.client() as client:
        answer = await client.get(path)

    assert answer.status_code == status
    assert shape_of(answer) != "?"


async def test_a_call_that_cannot_be_recorded_is_not_dialled(memory_rig: Rig) -> None:
    rig = memory_rig
    assert isinstance(rig.store, MemoryStore)
    rig.store.fail_writes = True
    bodies = {
        f"/api/v1/agents/{rig.mine.agent_id}/call": {"to": "+12025550100"},
        "/v2/create-phone-call": {"to_number": "+12025550100", "from_number": rig.mine.number},
        "/v1/calls": {"to_number": "+12025550100", "agent_id": rig.mine.agent_id},
    }
    async with rig.client() as client:
        answers = [await client.post(path, json=body) for path, body in bodies.items()]
    rig.store.fail_writes = False

    assert [one.status_code for one in answers] == [500, 500, 503]
    assert await rig.store.list_calls(CallFilter(), Page()) == []
    assert rig.engine.legs == {}


# --- limits ------------------------------------------------------------------------------------------


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024


@pytest.mark.parametrize("path", ["/api/v1/agents/a/call", "/v2/create-phone-call", "/v1/calls"])
@pytest.mark.parametrize("framing", ["announced", "chunked"])
async def test_a_body_over_the_limit_is_refused(memory_rig: Rig, path: str, framing: str) -> None:
    content = b" " * 70_000 if framing == "announced" else chunks(70 * 1024)
    async with memory_rig.client() as client:
        answer = await client.post(path, content=content, headers=JSON)

    assert (answer.status_code, answer.headers["Connection"]) == (413, "close")
    assert shape_of(answer) != "?"


async def test_stops_pass_when_the_server_is_full(memory_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = memory_rig
    calls = {dialect: await rig.call() for dialect in STOPS}
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> list[object]:
        entered.set()
        await release.wait()
        return []

    monkeypatch.setattr(rig.store, "list_calls", slow)
    async with rig.client(rig.app(max_connections=1)) as client:
        stuck = asyncio.create_task(client.get("/v1/calls"))
        await entered.wait()
        refused = [await client.get(path) for path in ("/api/v1/calls", "/v2/get-call/x", "/v1/calls")]
        stopped = [await send_stop(rig, client, dialect, call.id) for dialect, call in calls.items()]
        release.set()
        assert (await stuck).status_code == 200
        freed = await client.get("/v1/calls")

    assert [one.status_code for one in refused] == [503] * 3
    assert [shape_of(one) for one in refused] == ["talkover", "anunzi", "native"]
    assert all(one.headers["Retry-After"] == "1" for one in refused)
    assert [one.status_code for one in stopped] == [200, 204, 200]
    assert freed.status_code == 200


# --- documents and tables ----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", sorted(ROUTERS))
async def test_the_openapi_document_is_served_and_is_the_committed_one(memory_rig: Rig, dialect: str) -> None:
    async with memory_rig.client() as client:
        served = (await client.get(f"/openapi/{dialect}.json", headers={"Authorization": ""})).json()

    assert served == openapi_document(dialect)
    committed = json.loads((REFERENCE / f"openapi-{dialect}.json").read_text())
    assert served == committed, "the interface changed: run `python -m onhook.api docs/reference` and look"
    assert "HTTPValidationError" not in json.dumps(served)


def test_our_own_errors_are_promised_as_the_problem_documents_that_they_are() -> None:
    responses = openapi_document("native")["paths"]["/v1/calls"]["post"]["responses"]
    errors = {status: list(one["content"]) for status, one in responses.items() if status != "201"}
    statuses = ("400", "401", "403", "404", "409", "413", "415", "422", "429", "503")
    assert errors == {status: ["application/problem+json"] for status in statuses}


def test_what_a_retell_call_may_leave_out_is_not_promised() -> None:
    schema = openapi_document("anunzi")["components"]["schemas"]["PhoneCall"]
    unknown_at_first = {"start_timestamp", "end_timestamp", "duration_ms", "disconnection_reason", "call_analysis"}
    assert not unknown_at_first & set(schema["required"])
    assert unknown_at_first <= set(schema["properties"])


def test_every_state_outcome_and_reason_has_a_word_in_every_dialect() -> None:
    assert set(talkover.STATUS_BY_STATE) == set(STATUS_BY_STATE) == LIVE
    assert set(talkover.STATUS_BY_OUTCOME) == set(Outcome)
    assert set(talkover.ENDED_REASON) == set(UNANSWERED_END) == set(ANSWERED_END) == set(Reason)
    assert set(STOP_RESULT) == set(Result)


def test_every_refusal_has_an_answer_in_every_dialect() -> None:
    codes = {
        *("agent_unknown", "agent_inactive", "number_unknown", "number_unbound", "no_number", "no_trunk"),
        *("invalid_number", "emergency_number", "destination_not_allowed", "invalid_header"),
        *("agent_invalid", "dialing_blocked", "no_capacity"),
    }
    tables = (talkover_errors.REFUSALS, anunzi_errors.REFUSALS, native_errors.REFUSALS)
    assert [set(table) for table in tables] == [codes] * 3


def test_the_retell_words_are_words_of_the_sdk() -> None:
    fields = phone_call_response.PhoneCallResponse.model_fields
    statuses = set(get_args(fields["call_status"].annotation))
    (reasons, _none) = get_args(fields["disconnection_reason"].annotation)
    newer = {"user_requested_dnc", "user_requested_callback", "credit_exhausted", "budget_reached", "network_blocked"}
    ends = {*UNANSWERED_END.values(), *ANSWERED_END.values()}

    assert {end.status for end in ends} | set(STATUS_BY_STATE.values()) <= statuses
    assert {end.reason for end in ends} <= set(get_args(reasons)) - newer


async def test_a_storage_failure_is_logged_without_the_phone_number_of_its_path(
    memory_rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig = memory_rig
    assert isinstance(rig.store, MemoryStore)
    rig.store.fail_writes = True
    async with rig.client() as client:
        path = f"/update-phone-number/{rig.mine.number}"
        assert (await client.patch(path, json={"outbound_agents": None})).status_code == 500
    assert "PATCH /update-phone-number/{phone_number}: storage failed" in caplog.text
    assert rig.mine.number.removeprefix("+") not in caplog.text
