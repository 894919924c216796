"""Each OpenAPI document against the application: requests made from it, answers as it promises.

Every request is made in an environment of its own, so what one changes no other sees.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.dialect.conftest import BASE_URL, Rig

from onhook.agents.twilio import account_sid
from onhook.api.app import ROUTERS, TWILIO, dialect_of, openapi_document
from onhook.calls.call import Dialect, EventType
from onhook.calls.causes import Cause, Reason
from onhook.calls.selector import CallSelector
from onhook.calls.states import State
from onhook.control.place import PlaceOrder
from onhook.lines.media.wav import GREETING
from onhook.store.outbox import Attempt, WebhookEndpoint
from onhook.store.records import BulkStop, DialBlock
from onhook.store.store import Agent, ApiKey, TrunkRecord
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

Operation = schemathesis.APIOperation[Any, Any, Any, Any]
AnyCase = schemathesis.Case[Operation]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 20
"""Requests to each operation."""

CALLS = {"call_answered": "00", "call_ringing": "01", "call_busy": "02", "call_stopped": "00", "call_later": "00"}
"""The calls that there are, and the end of the number that each was placed to."""
AGENTS = ("agent_mine", "agent_draft", "agent_retell")
HOOKS = ("hook_talkover", "hook_native")
NUMBERS = ("+12025550100", "+12025550102", "+12025550190", "+12025550177")
OURS = ("+12025550190", "+12025550178")
URLS = ("https://example.com/hook",)

KNOWN: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("call_id", "call_sid"), tuple(CALLS)),
    **dict.fromkeys(("agent_id", "override_agent_id"), AGENTS),
    **dict.fromkeys(("to", "to_number", "phone", "number"), NUMBERS),
    **dict.fromkeys(("phone_number", "from_number"), OURS),
    **dict.fromkeys(("attempt_id", "log_id"), tuple(f"attempt_{hook}" for hook in HOOKS)),
    **dict.fromkeys(("url", "webhook_url"), URLS),
    **dict.fromkeys(("agent_override", "at", "call_time_window", "trigger_timestamp", "stop_at"), (None,)),
    "stop_after_ms": (60_000, None),
    "after_ms": (60_000,),
    "override_agent_version": ("latest",),
    "account_sid": (account_sid("env_mine"),),
    "webhook_id": HOOKS,
    "number_id": ("num_mine",),
    "trunk_id": ("trunk_mine", "trunk_spare"),
    "key_id": ("apikey_spare", "apikey_mine"),
    "bulk_id": ("bulk_old",),
    "block_id": ("block_old",),
    "phone_number_ids": (["num_mine"],),
}
"""Good values by field: an id that is made up leads to a 404 and no further."""


class Recorded:
    """Has the same recording of every call, and lets go of none."""

    def find(self, call_id: str) -> Path | None:
        del call_id
        return GREETING

    def delete(self, call_id: str) -> bool:
        del call_id
        return True


def operations() -> Iterator[Any]:
    """Return the operations of all documents, each as a test's parameter."""
    for dialect in ROUTERS:
        document = schemathesis.openapi.from_dict(openapi_document(dialect))
        sound = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
        for operation in sound:
            yield pytest.param(operation, id=f"{dialect}: {operation.method.upper()} {operation.path}")


@st.composite
def cases(draw: st.DrawFn, operation: Operation) -> AnyCase:
    """Make a request from the document, sound or not, that mostly names what is there."""
    mode = draw(st.sampled_from(schemathesis.GenerationMode))
    case = draw(operation.as_strategy(generation_mode=mode))
    for fields in (case.path_parameters, case.query, case.body):
        name_known(draw, fields)
    return case


def name_known(draw: st.DrawFn, value: object) -> None:
    """Put good values for three out of four fields that have one, at any depth."""
    if isinstance(value, list):
        for one in value:
            name_known(draw, one)
    if isinstance(value, dict):
        for name in value:
            if name in KNOWN and draw(st.integers(0, 3)) < 3:
                value[name] = draw(st.sampled_from(KNOWN[name]))
            else:
                name_known(draw, value[name])


async def furnish(rig: Rig) -> None:
    """Put there what `KNOWN` names: calls in all states, agents and webhooks of several dialects, attempts."""
    await rig.start()
    rig.recordings = Recorded()
    env, agent_id, now = rig.mine.environment_id, rig.mine.agent_id, rig.clock.now_ms()
    for draft_id, dialect in zip(AGENTS[1:], (Dialect.TALKOVER, Dialect.ANUNZI), strict=True):
        await rig.store.put(Agent(draft_id, env, dialect, "bo", "Bo", now, now))
    await rig.store.put(TrunkRecord("trunk_spare", env, "spare", "sip:127.0.0.1:5060", now))
    await rig.store.put(ApiKey("apikey_spare", env, "spare", "", "", now))
    for hook_id, dialect in zip(HOOKS, (Dialect.TALKOVER, Dialect.NATIVE), strict=True):
        wants: dict[EventType, tuple[str, ...]] = {EventType.CREATED: ("event_phone_call_started",)}
        hook = WebhookEndpoint(hook_id, env, dialect, "hook", URLS[0], now, now, agent_id=agent_id, wants=wants)
        await rig.store.put(hook)
    for call_id, ending in CALLS.items():
        delay_s = 3600 if call_id == "call_later" else 0
        to = f"+120255501{ending}"
        await rig.placer.place(PlaceOrder(env, Dialect.NATIVE, to, agent_id, call_id=call_id, delay_s=delay_s))
        await rig.settled(call_id)
    await furnish_stops(rig)
    async with rig.client() as client:
        assert (await client.post("/v1/calls/call_stopped/stop")).status_code == 200
    for claim in await rig.store.claim(rig.clock.now_ms(), limit=len(HOOKS), cap=1, free={}):
        of = claim.delivery
        attempt_id = f"attempt_{of.endpoint_id}"
        attempt = Attempt(attempt_id, of.id, of.endpoint_id, env, of.call_id, of.event, 1, "failed", "{}", 7, now)
        await rig.store.record_attempt(attempt)


async def furnish_stops(rig: Rig) -> None:
    """Put a bulk stop there, one of its calls deleted since, and a dial block."""
    env, now = rig.mine.environment_id, rig.clock.now_ms()
    bulk = BulkStop(
        id="bulk_old",
        environment_id=env,
        selector=CallSelector(all=True),
        cause=Cause("api_key:apikey_mine", Reason.API_STOP),
        requested_at=now,
        call_ids=("call_busy", "call_deleted"),
        states=(State.RINGING, State.ANSWERED),
        first=(False, True),
    )
    await rig.store.put(bulk)
    await rig.store.put(DialBlock("block_old", env, CallSelector(number_prefixes=("+44",)), now, "operator"))


async def answer_to(case: AnyCase) -> httpx.Response:
    """Send a request in a fresh environment. Events are asked for as a page: their stream has no end."""
    rig = Rig(MemoryStore())
    await furnish(rig)
    sent = requests.Request(**case.as_transport_kwargs(base_url=BASE_URL)).prepare()
    given = {name: value for name, value in sent.headers.items() if isinstance(value, str)}
    headers = given | rig.mine.headers | {"Accept": "application/json"}
    is_twilio = dialect_of(httpx.URL(str(sent.url)).path) == TWILIO
    auth = httpx.BasicAuth(rig.mine.key_id, rig.mine.token) if is_twilio else None
    assert isinstance(sent.body, bytes | str | None)
    async with rig.client() as client:
        answer = await client.request(str(sent.method), str(sent.url), content=sent.body, headers=headers, auth=auth)
    await rig.dialer.started()
    await rig.recorder.drained()
    await rig.store.close()
    return answer


@pytest.mark.parametrize("operation", list(operations()))
def test_every_answer_is_one_that_the_document_promises(operation: Operation) -> None:
    statuses: set[int] = set()

    @given(case=cases(operation))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    def check(case: AnyCase) -> None:
        answer = runner.run(answer_to(case))
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        check()
    refuses_always = operation.tags == ["not provided"]
    assert refuses_always != any(status < 300 for status in statuses), "no request was a good one"


def test_every_operation_of_every_document_is_asked() -> None:
    documents = [openapi_document(dialect)["paths"] for dialect in ROUTERS]
    assert len(list(operations())) == sum(len(path) for paths in documents for path in paths.values())
