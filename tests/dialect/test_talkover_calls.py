"""TalkOver's call endpoints, to the letter of their pages."""

import uuid

import httpx
import msgspec
import pytest
from tests.dialect.conftest import Rig

from onhook.calls.call import Direction
from onhook.calls.states import State

pytestmark = pytest.mark.dialect

INVALID = "The given data was invalid."
JSON = {"Content-Type": "application/json"}


def path(rig: Rig, rest: str, agent: str | None = None) -> str:
    return f"/api/v1/agents/{agent or rig.mine.agent_id}/{rest}"


# --- make a call -------------------------------------------------------------------------------------


async def test_make_call_answers_with_the_call_that_is_being_dialled(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post(path(rig, "call"), json={"to": "+12025550101"})

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert answer.json() == {"success": True, "data": data}
    assert set(data) == {"id", "agent_id", "to", "status", "created_at"}
    assert str(uuid.UUID(data["id"])) == data["id"]
    assert (data["agent_id"], data["to"], data["status"]) == (rig.mine.agent_id, "+12025550101", "initiated")
    assert (await rig.settled(data["id"])).state is State.RINGING


async def test_make_call_keeps_payload_and_context(rig: Rig, client: httpx.AsyncClient) -> None:
    body = {"to": "+12025550101", "payload": {"name": "Zoë"}, "context": {"crm": [1, None]}, "is_testing": True}
    answer = await client.post(path(rig, "call"), json=body)

    details = (await rig.settled(answer.json()["data"]["id"])).details
    assert (details.payload, details.context, details.is_testing) == (body["payload"], body["context"], True)


async def test_make_call_takes_null_for_what_may_be_left_out(rig: Rig, client: httpx.AsyncClient) -> None:
    nothing = dict.fromkeys(("payload", "context", "delay_seconds", "is_testing"))
    answer = await client.post(path(rig, "call"), json={"to": "+12025550100"} | nothing)
    call = await rig.settled(answer.json()["data"]["id"])
    assert (call.dial_at, call.details.is_testing, call.details.context) == (None, False, {})


async def test_a_delayed_call_is_initiated_and_not_dialled(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post(path(rig, "call"), json={"to": "+12025550100", "delay_seconds": 3600})

    assert answer.json()["data"]["status"] == "initiated"
    assert (await rig.settled(answer.json()["data"]["id"])).state is State.SCHEDULED
    assert rig.engine.legs == {}


@pytest.mark.parametrize("body", [{}, {"to": None}, {"to": "  "}, []])
async def test_make_call_without_a_number_is_refused(rig: Rig, client: httpx.AsyncClient, body: object) -> None:
    answer = await client.post(path(rig, "call"), json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "MISSING_PHONE_NUMBER"


@pytest.mark.parametrize("to", ["12", "2025550100", "hello", 12025550100, "+1"])
async def test_make_call_to_what_is_no_number_is_refused(rig: Rig, client: httpx.AsyncClient, to: object) -> None:
    answer = await client.post(path(rig, "call"), json={"to": to})

    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": "INVALID_PHONE_NUMBER",
            "message": "Phone number must be in international format (e.g., +1234567890)",
            "details": {"field": "to", "value": to},
        }
    }


async def test_make_call_never_dials_an_emergency_number(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post(path(rig, "call"), json={"to": "+1911"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_PHONE_NUMBER")
    assert "Emergency" in answer.json()["error"]["message"]


async def test_make_call_with_an_unknown_agent_is_not_found(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post(path(rig, "call", agent="nobody"), json={"to": "+12025550100"})

    assert answer.status_code == 404
    assert answer.json() == {
        "error": {"code": "AGENT_NOT_FOUND", "message": "Voice agent not found", "details": {"agent_id": "nobody"}}
    }


async def test_make_call_with_a_draft_agent_is_refused(rig: Rig, client: httpx.AsyncClient) -> None:
    await client.post(path(rig, "unpublish"))
    answer = await client.post(path(rig, "call"), json={"to": "+12025550100"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "AGENT_INACTIVE")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("delay_seconds", 3601, "The delay seconds must be between 0 and 3600."),
        ("delay_seconds", -1, "The delay seconds must be between 0 and 3600."),
        ("delay_seconds", 1.5, "The delay seconds must be an integer."),
        ("delay_seconds", "soon", "The delay seconds must be an integer."),
        ("payload", "x", "The payload must be an object."),
        ("context", 1, "The context must be an object."),
        ("is_testing", "perhaps", "The is testing field must be true or false."),
    ],
)
async def test_make_call_checks_its_fields(
    rig: Rig, client: httpx.AsyncClient, field: str, value: object, message: str
) -> None:
    answer = await client.post(path(rig, "call"), json={"to": "+12025550100", field: value})

    assert answer.status_code == 422
    assert answer.json() == {"success": False, "message": INVALID, "errors": {field: [message]}}


async def test_make_call_without_a_token_says_so_in_its_own_shape(rig: Rig, client: httpx.AsyncClient) -> None:
    answer = await client.post(path(rig, "call"), content=b"{", headers={"Authorization": "Bearer wrong"})

    assert answer.status_code == 401
    assert answer.json() == {"error": {"code": "INVALID_TOKEN", "message": "Invalid or missing authentication token"}}


# --- end a call --------------------------------------------------------------------------------------


async def test_end_call_ends_an_answered_call_and_shows_the_proof(rig: Rig, client: httpx.AsyncClient) -> None:
    call = await rig.call("+12025550100")
    answer = await client.post(path(rig, "end-call"), json={"call_sid": call.id})

    ended = await rig.settled(call.id)
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert answer.json() == {"success": True, "data": data}
    assert set(data) == {"id", "status", "ended_at", "ended_reason"}
    assert (data["id"], data["status"], data["ended_reason"]) == (call.id, "completed", "ended_by_api")
    assert answer.headers["Onhook-Proof"] == "confirmed"
    assert ended.state is State.ENDED
    assert ended.cause is not None
    assert ended.cause.initiator == f"api_key:{rig.mine.key_id}"
    assert [one for one, _ in rig.engine.hangups] == [call.id]


async def test_end_call_ends_a_ringing_and_a_delayed_call(rig: Rig, client: httpx.AsyncClient) -> None:
    ringing = await rig.call("+12025550101")
    delayed = (await client.post(path(rig, "call"), json={"to": "+12025550100", "delay_seconds": 60})).json()
    for call_id in (ringing.id, delayed["data"]["id"]):
        answer = await client.post(path(rig, "end-call"), json={"call_sid": call_id})
        assert (answer.status_code, answer.json()["data"]["status"]) == (200, "completed")
        assert (await rig.settled(call_id)).state is State.ENDED


async def test_end_call_takes_the_sip_call_id_too(rig: Rig, client: httpx.AsyncClient) -> None:
    call = await rig.call()
    answer = await client.post(path(rig, "end-call"), json={"call_sid": call.sip_call_id})

    assert (answer.status_code, answer.json()["data"]["id"]) == (200, call.id)


async def test_end_call_answers_pending_when_the_far_end_is_silent(rig: Rig) -> None:
    call = await rig.call()
    rig.engine.settles = False
    async with rig.client(rig.app(stop_wait_ms=20)) as client:
        answer = await client.post(path(rig, "end-call"), json={"call_sid": call.id})
        assert (answer.status_code, answer.headers["Onhook-Proof"]) == (200, "pending")
        again = await client.post(path(rig, "end-call"), json={"call_sid": call.id})
        assert (again.status_code, again.headers["Onhook-Proof"]) == (409, "pending")
    rig.engine.settle(call.id)


async def test_end_call_on_a_call_that_is_over_is_a_conflict(rig: Rig, client: httpx.AsyncClient) -> None:
    stopped, hung_up, busy = await rig.call(), await rig.call(), await rig.call("+12025550102")
    await client.post(path(rig, "end-call"), json={"call_sid": stopped.id})
    rig.engine.hang_up_far_end(hung_up.id)
    await rig.settled(hung_up.id)
    for call in (stopped, hung_up, busy):
        answer = await client.post(path(rig, "end-call"), json={"call_sid": call.id})
        assert answer.status_code == 409
        assert answer.json() == {"success": False, "message": "Call is not active", "code": "CALL_NOT_ACTIVE"}


async def test_end_call_finds_no_call_of_another_agent_or_environment(rig: Rig, client: httpx.AsyncClient) -> None:
    mine, other = await rig.call(), await rig.call(tenant=rig.other)
    for agent_id, call_id in (
        ("another", mine.id),
        (rig.mine.agent_id, other.id),
        (rig.other.agent_id, other.id),
        (rig.mine.agent_id, "unknown"),
    ):
        answer = await client.post(path(rig, "end-call", agent=agent_id), json={"call_sid": call_id})
        assert answer.status_code == 404
        assert answer.json() == {"success": False, "message": "Call not found for this agent"}
    assert rig.engine.hangups == []


async def test_end_call_checks_token_type_json_field_and_call_in_this_order(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    url = path(rig, "end-call")
    unauthorized = await client.post(url, content=b"{", headers={"Authorization": "Bearer no"})
    not_json_type = await client.post(url, content=b"{", headers={"Content-Type": "text/plain"})
    no_type = await client.post(url)
    not_json = await client.post(url, content=b"{", headers=JSON)
    no_field = await client.post(url, json={"id": "x"})
    unknown = await client.post(url, json={"call_sid": "x"})

    answers = (unauthorized, not_json_type, no_type, not_json, no_field, unknown)
    assert [one.status_code for one in answers] == [401, 415, 415, 400, 422, 404]
    assert unauthorized.json() == {"success": False, "message": "Unauthorized"}
    assert all(one.json()["success"] is False for one in answers)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'"x"', b'{"call_sid":null}', b'{"call_sid":""}', b'{"call_sid":" "}']
)
async def test_end_call_without_a_sid_says_that_it_is_required(
    rig: Rig, client: httpx.AsyncClient, content: bytes
) -> None:
    answer = await client.post(path(rig, "end-call"), content=content, headers=JSON)

    assert answer.status_code == 422
    assert answer.json() == {
        "success": False,
        "message": INVALID,
        "errors": {"call_sid": ["The call sid field is required."]},
    }


@pytest.mark.parametrize("content", [b"{", b'{"call_sid": NaN}', b'"\xff"', b'{"call_sid":"\\ud800"}', b"[" * 50_000])
async def test_end_call_with_broken_json_is_a_bad_request(rig: Rig, client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post(path(rig, "end-call"), content=content, headers=JSON)

    assert answer.status_code == 400
    assert answer.json() == {"success": False, "message": "The request body is not valid JSON."}


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "application/hal+json"])
async def test_end_call_takes_json_under_its_names(rig: Rig, client: httpx.AsyncClient, media_type: str) -> None:
    call = await rig.call()
    body = msgspec.json.encode({"call_sid": call.id})
    answer = await client.post(path(rig, "end-call"), content=body, headers={"Content-Type": media_type})

    assert answer.status_code == 200


# --- find and list -----------------------------------------------------------------------------------


async def test_active_call_lists_what_goes_on_with_a_number(rig: Rig, client: httpx.AsyncClient) -> None:
    talking, ringing = await rig.call("+12025550100"), await rig.call("+12025550101")
    answer = await client.get(path(rig, "active-call/%2B12025550100"))

    assert answer.status_code == 200
    (data,) = answer.json()["data"]
    assert set(data) == {"id", "agent_id", "to", "status", "started_at", "duration_seconds"}
    assert (data["id"], data["status"], data["duration_seconds"]) == (talking.id, "answered", 0)
    both = await client.get(path(rig, f"active-call/{rig.mine.number}"))
    assert {one["id"] for one in both.json()["data"]} == {talking.id, ringing.id}


async def test_active_call_does_not_find_a_call_that_is_ending(rig: Rig) -> None:
    call = await rig.call()
    rig.engine.settles = False
    async with rig.client(rig.app(stop_wait_ms=0)) as client:
        await client.post(path(rig, "end-call"), json={"call_sid": call.id})
        answer = await client.get(path(rig, "active-call/%2B12025550100"))
    rig.engine.settle(call.id)

    assert answer.status_code == 404
    assert answer.json() == {"success": False, "message": "No active call found for this phone number"}


async def test_calls_are_listed_newest_first_with_their_agent(rig: Rig, client: httpx.AsyncClient) -> None:
    first, second = await rig.call("+12025550100"), await rig.call("+12025550102")
    answer = await client.get("/api/v1/calls")

    assert answer.status_code == 200
    items = answer.json()["data"]
    by_time = sorted((first, second), key=lambda call: (call.created_at, call.id), reverse=True)
    assert [item["id"] for item in items] == [call.id for call in by_time]
    item = next(one for one in items if one["id"] == second.id)
    assert set(item) == {
        *("id", "sid", "to", "from", "to_formatted", "from_formatted", "is_testing", "direction", "status"),
        *("duration", "agent", "created_at", "updated_at"),
    }
    assert (item["status"], item["to_formatted"], item["sid"]) == ("busy", "(202) 555-0102", second.sip_call_id)
    assert item["agent"] == {"id": rig.mine.agent_id, "name": "ada", "label": "Ada"}
    assert answer.json()["pagination"] == {
        "current_page": 1, "last_page": 1, "per_page": 20, "total": 2, "from": 1, "to": 2,
    }  # fmt: skip


async def test_the_calls_of_an_agent_are_listed_without_it(rig: Rig, client: httpx.AsyncClient) -> None:
    call = await rig.call()
    answer = await client.get(path(rig, "calls"))

    (item,) = answer.json()["data"]
    assert (item["id"], "agent" in item) == (call.id, False)
    unknown = await client.get(path(rig, "calls", agent="nobody"))
    assert (unknown.status_code, unknown.json()) == (404, {"success": False, "message": "Agent not found"})


async def test_lists_are_cut_into_pages(rig: Rig, client: httpx.AsyncClient) -> None:
    calls = {(await rig.call()).id for _ in range(3)}
    pages = [(await client.get("/api/v1/calls", params={"per_page": 2, "page": page})).json() for page in (1, 2, 3)]

    assert {item["id"] for page in pages for item in page["data"]} == calls
    assert [len(page["data"]) for page in pages] == [2, 1, 0]
    assert pages[1]["pagination"] == {
        "current_page": 2, "last_page": 2, "per_page": 2, "total": 3, "from": 3, "to": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "numbers"),
    [
        ("answered", {"00"}),
        ("ringing", {"01"}),
        ("busy", {"02"}),
        ("no-answer", {"03"}),
        ("failed", {"05", "19"}),
        ("completed", {"09"}),
        ("initiated", set()),
    ],
)
async def test_lists_filter_by_status(rig: Rig, client: httpx.AsyncClient, status: str, numbers: set[str]) -> None:
    for suffix in ("00", "01", "02", "03", "05", "19"):
        await rig.call(f"+120255501{suffix}")
    ended = await rig.call("+12025550109")
    await client.post(path(rig, "end-call"), json={"call_sid": ended.id})
    answer = await client.get("/api/v1/calls", params={"status": status})

    assert {item["to"][-2:] for item in answer.json()["data"]} == numbers
    assert {item["status"] for item in answer.json()["data"]} <= {status}


async def test_lists_filter_by_number_agent_direction_and_day(rig: Rig, client: httpx.AsyncClient) -> None:
    call, other = await rig.call("+12025550101"), await rig.call("+12025550102")
    today = (await client.get("/api/v1/calls")).json()["data"][0]["created_at"][:10]
    one: list[dict[str, str]] = [{"to": call.to_number}, {"search": "550101"}, {"search": call.sip_call_id}]
    both: list[dict[str, str]] = [
        {"agent_id": rig.mine.agent_id},
        {"direction": "outbound"},
        {"date_from": today, "date_to": today},
        {"date_to": "9999-12-31"},
        {},
    ]
    none: list[dict[str, str]] = [
        {"agent_id": "x"}, {"direction": "inbound"}, {"date_to": "2000-01-01"}, {"to": "+12"},
    ]  # fmt: skip

    async def found(params: dict[str, str]) -> set[str]:
        return {item["id"] for item in (await client.get("/api/v1/calls", params=params)).json()["data"]}

    assert call.direction is Direction.OUTBOUND
    assert [await found(params) for params in one] == [{call.id}] * len(one)
    assert [await found(params) for params in both] == [{call.id, other.id}] * len(both)
    assert [await found(params) for params in none] == [set()] * len(none)


@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({"status": "in-progress"}, {"status": ["The selected status is invalid."]}),
        ({"direction": "up"}, {"direction": ["The selected direction is invalid."]}),
        ({"date_from": "yesterday"}, {"date_from": ["The date from must be a valid date."]}),
        ({"date_to": "2024-02-30"}, {"date_to": ["The date to must be a valid date."]}),
        ({"date_from": "2024-W01-1"}, {"date_from": ["The date from must be a valid date."]}),
        ({"per_page": "101"}, {"per_page": ["The per page must be between 1 and 100."]}),
        ({"per_page": "many"}, {"per_page": ["The per page must be an integer."]}),
        ({"page": "0", "per_page": "0"}, {
            "page": ["The page must be between 1 and 1000000."],
            "per_page": ["The per page must be between 1 and 100."],
        }),
    ],
)  # fmt: skip
async def test_lists_check_their_parameters(
    client: httpx.AsyncClient, params: dict[str, str], errors: dict[str, list[str]]
) -> None:
    answer = await client.get("/api/v1/calls", params=params)

    assert answer.status_code == 422
    assert answer.json() == {"success": False, "message": INVALID, "errors": errors}


async def test_health_needs_no_token(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/health", headers={"Authorization": ""})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
