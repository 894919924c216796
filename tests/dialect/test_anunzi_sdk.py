"""The official retell-sdk, strict and without retries, from create to delete on live SIP calls."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from retell import BadRequestError, Omit, Retell, UnprocessableEntityError, omit
from retell.types import PhoneCallResponse
from tests.dialect.server_process import local_environment, serving

pytestmark = pytest.mark.dialect

ANSWERS, RINGS = "+12025550100", "+12025550101"
LIMIT_S = 10.0


class Client:
    """The SDK, and the number to call from."""

    def __init__(self, cwd: Path) -> None:
        sandbox = json.loads((cwd / "onhook-data" / "sandbox.json").read_text())
        self.number: str = sandbox["from_number"]
        self.agent_id: str = sandbox["agent_id"]
        self.sdk = Retell(
            api_key=sandbox["token"],
            base_url=sandbox["base_url"],
            max_retries=0,
            _strict_response_validation=True,
        )

    def call(self, to_number: str = ANSWERS) -> PhoneCallResponse:
        return self.sdk.call.create_phone_call(from_number=self.number, to_number=to_number)

    def shown(self, call_id: str) -> PhoneCallResponse:
        call = self.sdk.call.retrieve(call_id)
        assert isinstance(call, PhoneCallResponse)
        return call

    def reached(self, call_id: str, status: str) -> PhoneCallResponse:
        """Return a call once it has a status: the SDK has no other way to learn of it than to ask."""
        deadline = time.monotonic() + LIMIT_S
        while (call := self.shown(call_id)).call_status != status:
            assert time.monotonic() < deadline, f"{call_id} is {call.call_status}, not {status}"
            time.sleep(0.02)
        return call


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    cwd = tmp_path_factory.mktemp("server")
    with serving(cwd, local_environment(), "--sandbox"):
        yield Client(cwd)


def test_a_call_from_create_to_delete(client: Client) -> None:
    retell = client.sdk
    call = retell.call.create_phone_call(
        from_number=client.number,
        to_number=ANSWERS,
        metadata={"customer": "c-1"},
        retell_llm_dynamic_variables={"name": "Ada"},
        custom_sip_headers={"X-Campaign": "spring"},
    )
    assert (call.call_type, call.call_status, call.direction) == ("phone_call", "registered", "outbound")
    ongoing = client.reached(call.call_id, "ongoing")
    assert (ongoing.metadata, ongoing.retell_llm_dynamic_variables) == ({"customer": "c-1"}, {"name": "Ada"})
    assert ongoing.custom_sip_headers == {"X-Campaign": "spring"}
    assert ongoing.call_analysis is None

    updated = retell.call.update(
        call.call_id, metadata={"customer": "c-2"}, data_storage_setting="everything_except_pii"
    )
    assert isinstance(updated, PhoneCallResponse)
    assert (updated.metadata, updated.data_storage_setting) == ({"customer": "c-2"}, "everything_except_pii")
    with pytest.raises(BadRequestError):
        retell.call.update(call.call_id, data_storage_setting="everything")

    stopped = retell.call.with_raw_response.stop(call.call_id)
    assert (stopped.status_code, stopped.headers["onhook-proof"]) == (204, "confirmed")
    ended = client.shown(call.call_id)
    assert (ended.call_status, ended.disconnection_reason) == ("ended", "manual_stopped")
    assert ended.duration_ms == (ended.end_timestamp or 0) - (ended.start_timestamp or 0)
    assert ended.call_analysis is not None
    assert ended.call_analysis.user_sentiment == "Unknown"
    assert retell.call.with_raw_response.stop(call.call_id).status_code == 204
    assert client.shown(call.call_id) == ended

    assert retell.call.with_raw_response.delete(call.call_id).status_code == 204
    for gone in (retell.call.retrieve, retell.call.stop, retell.call.delete):
        with pytest.raises(UnprocessableEntityError):
            gone(call.call_id)


def test_a_ringing_call_is_stopped_and_a_live_one_deleted(client: Client) -> None:
    ringing, talking = client.call(RINGS), client.call()
    client.reached(talking.call_id, "ongoing")
    client.sdk.call.stop(ringing.call_id)
    deleted = client.sdk.call.with_raw_response.delete(talking.call_id)

    canceled = client.shown(ringing.call_id)
    assert (canceled.call_status, canceled.disconnection_reason) == ("ended", "manual_stopped")
    assert (canceled.start_timestamp, canceled.duration_ms) == (None, None)
    assert (deleted.status_code, deleted.headers["onhook-proof"]) == (204, "confirmed")


def test_a_list_of_three_pages(client: Client) -> None:
    made = [client.call(RINGS).call_id for _ in range(5)]
    seen: list[str] = []
    key: str | Omit = omit
    pages = 0
    while True:
        page = client.sdk.call.list(
            filter_criteria={"call_id": {"type": "enum", "op": "in", "value": made}},
            limit=2,
            include_total=True,
            pagination_key=key,
        )
        seen += [item.call_id for item in page.items]
        pages += 1
        assert page.total == 5
        if not page.has_more:
            break
        assert page.pagination_key is not None
        key = page.pagination_key

    assert pages == 3
    assert sorted(seen) == sorted(made)
    for call_id in made:
        client.sdk.call.stop(call_id)


def test_one_key_is_one_call(client: Client) -> None:
    first, second = (
        client.sdk.call.create_phone_call(from_number=client.number, to_number=RINGS, idempotency_key="one-wish")
        for _ in range(2)
    )

    assert first.call_id == second.call_id
    client.sdk.call.stop(first.call_id)


def test_batches_and_concurrency(client: Client) -> None:
    trigger = int(time.time() * 1000) + 3_600_000
    batch = client.sdk.batch_call.create_batch_call(
        from_number=client.number, tasks=[{"to_number": RINGS}, {"to_number": ANSWERS}], trigger_timestamp=trigger
    )
    listed = client.sdk.call.list(
        filter_criteria={"batch_call_id": {"type": "string", "op": "eq", "value": batch.batch_call_id}}
    )

    assert (batch.total_task_count, batch.scheduled_timestamp) == (2, trigger)
    assert {item.to_dict()["to_number"] for item in listed.items} == {RINGS, ANSWERS}
    for item in listed.items:
        client.sdk.call.stop(item.call_id)
    assert isinstance(client.sdk.concurrency.retrieve().current_concurrency, int)


def test_agents_and_numbers(client: Client) -> None:
    retell = client.sdk
    agent = retell.agent.create(
        response_engine={"type": "retell-llm", "llm_id": "llm_1"}, voice_id="11labs-Adrian", agent_name="Jarvis"
    )
    number = retell.phone_number.import_(
        phone_number="+12025550188",
        termination_uri="sip.example.com",
        outbound_agents=[{"agent_id": agent.agent_id, "weight": 1}],
    )

    assert retell.agent.retrieve(agent.agent_id) == agent
    assert {client.agent_id, agent.agent_id} <= {item.agent_id for item in retell.agent.list().items}
    assert retell.agent.update(agent.agent_id, agent_name="Friday").agent_name == "Friday"
    assert retell.phone_number.retrieve("+12025550188") == number
    assert {item.phone_number for item in retell.phone_number.list().items} == {client.number, "+12025550188"}
    assert retell.phone_number.update("+12025550188", outbound_agents=None).outbound_agents == []
    retell.phone_number.delete("+12025550188")
    retell.agent.delete(agent.agent_id)
    assert retell.agent.retrieve(client.agent_id).agent_id == client.agent_id


def test_what_is_not_provided_is_refused_and_says_so(client: Client) -> None:
    with pytest.raises(BadRequestError, match="not provided"):
        client.sdk.call.create_web_call(agent_id=client.agent_id)
    with pytest.raises(BadRequestError, match="not provided"):
        client.sdk.call.listen_live("call_1")
