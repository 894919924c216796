"""Bad input on real sockets: a clear error in the dialect's own shape, nothing changed, no 5xx, the server lives."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.dialect.raw_http import ANUNZI, NATIVE, TALKOVER, Site, assert_error, dialect_of, site

from onhook.store.store import ApiKey

pytestmark = pytest.mark.dialect


@dataclass(frozen=True)
class Endpoint:
    """One endpoint that takes a body. `good` is one that it accepts; CALL in the path is the live call's id."""

    method: str
    path: str
    good: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


AGENT = "/api/v1/agents/agent_mine"
AGENT_FIELDS = {
    "name": "bo", "label": "Bo", "language": "en-US", "interrupt_sensitivity": "low", "endpointing_sensitivity": "auto",
    "ivr_navigation_mode": "off", "conversation_speed": 1.0, "initial_message_delay": 0, "idle_time_seconds": 10,
    "ask_if_human_present_on_idle": True, "llm_temperature": 0.5, "enable_recording": False, "direction": "outbound",
    "who_speaks_first": "agent", "phone_number_ids": ["num_mine"], "max_call_duration_seconds": 60,
}  # fmt: skip
TRUNK_FIELDS = {"name": "t", "uri": "sip:127.0.0.1:5060", "username": "u", "password": "p", "session_expires_s": 900}
DIAL_FIELDS = {
    "to_number": "+12025550101", "agent_id": "agent_mine", "from_number": "+12025550190", "delay_seconds": 3600,
    "ring_timeout_ms": 5000, "max_duration_ms": 60000, "metadata": {}, "sip_headers": {"X-A": "b"},
}  # fmt: skip
PHONE_CALL_FIELDS = {
    "from_number": "+12025550190", "to_number": "+12025550101", "override_agent_id": "agent_mine",
    "override_agent_version": "latest", "metadata": {}, "retell_llm_dynamic_variables": {"a": "b"},
    "custom_sip_headers": {"X-A": "b"},
}  # fmt: skip
MAKE_CALL_FIELDS = {"to": "+12025550101", "delay_seconds": 3600, "payload": {}, "context": {}, "is_testing": True}
WEBHOOK_FIELDS = {
    "name": "w", "webhook_url": "https://example.com/", "events": ["event_phone_call_ended"], "webhook_secret": "s",
    "timeout": 5, "max_retries": 0, "enabled": True, "http_method": "PUT", "authorization_scheme": "none",
    "custom_headers": [{"key": "X-A", "value": "b"}], "payload_templates": {"event_phone_call_ended": {"a": "{{b}}"}},
}  # fmt: skip
KNOWLEDGE_FIELDS = {
    "description": "knows all", "initial_message": "hello", "interrupt_sensitivity": "low", "llm_temperature": 0.5,
    "ask_if_human_present_on_idle": True, "initial_message_delay": 0,
}  # fmt: skip
VOICE_FIELDS = {
    "voice_id": "v", "conversation_speed": 1.5, "who_speaks_first": "user", "ambient_background": "cafe",
    "ambient_volume": 1, "language": "de-DE", "similarity": 0.5, "stability": 0.5,
}  # fmt: skip
LIST_FIELDS = {
    "limit": 10, "skip": 0, "sort_order": "ascending", "include_total": True, "pagination_key": None,
    "filter_criteria": {"call_id": {"type": "string", "op": "eq", "value": "x"}},
}  # fmt: skip

LIST_V2_FIELDS = {
    "limit": 10, "sort_order": "ascending", "pagination_key": None,
    "filter_criteria": {"call_id": ["x"], "metadata.a": ["b"], "start_timestamp": {"lower_threshold": 1}},
}  # fmt: skip
UPDATE_CALL_FIELDS = {"metadata": {}, "custom_attributes": {"a": 1}, "data_storage_setting": "everything"}
BATCH_FIELDS = {
    "from_number": "+12025550190", "tasks": [{"to_number": "+12025550101", "override_agent_id": "agent_mine"}],
    "name": "n", "reserved_concurrency": 1, "trigger_timestamp": 0, "call_time_window": None,
}  # fmt: skip
RETELL_AGENT_FIELDS = {
    "response_engine": {"type": "custom-llm", "llm_websocket_url": "wss://x"}, "voice_id": "v", "agent_name": "n",
    "max_call_duration_ms": 60000, "ring_duration_ms": 5000, "webhook_url": "https://example.com/",
    "webhook_events": ["call_ended"], "webhook_timeout_ms": 1000, "language": "de-DE",
}  # fmt: skip
IMPORT_FIELDS = {
    "phone_number": "+12025550178", "termination_uri": "sip.example.com", "sip_trunk_auth_username": "u",
    "sip_trunk_auth_password": "p", "transport": "UDP", "nickname": "n", "inbound_agents": None,
    "outbound_agents": [{"agent_id": "agent_mine", "weight": 1}], "inbound_webhook_url": None,
}  # fmt: skip
NATIVE_WEBHOOK_FIELDS = {
    "name": "w", "url": "https://example.com/", "events": ["call.ended"], "agent_id": "agent_mine", "enabled": True,
    "headers": {"X-A": "b"}, "timeout_s": 5, "hold_s": 0,
}  # fmt: skip

ENDPOINTS = [
    Endpoint("POST", f"{AGENT}/call", MAKE_CALL_FIELDS),
    Endpoint("POST", f"{AGENT}/end-call", {"call_sid": "nobody"}),
    Endpoint("POST", "/api/v1/agents", AGENT_FIELDS),
    Endpoint("POST", "/v2/create-phone-call", PHONE_CALL_FIELDS),
    Endpoint("POST", "/v3/list-calls", LIST_FIELDS),
    Endpoint("POST", "/create-batch-call", BATCH_FIELDS),
    Endpoint("POST", "/v1/calls", DIAL_FIELDS),
    Endpoint("POST", "/v1/calls/nobody/stop", {"reason": "enough", "wait_ms": 0}),
    Endpoint("POST", "/v1/agents", {"name": "n", "label": "l"}),
    Endpoint("PUT", "/v1/agents/agent_mine", {"name": "n", "label": "l"}),
    Endpoint("POST", "/v1/numbers", {"number": "+12025550177", "trunk_id": "trunk_mine", "agent_id": "agent_mine"}),
    Endpoint("PUT", "/v1/numbers/num_mine", {"number": "+12025550190", "trunk_id": "trunk_mine"}),
    Endpoint("POST", "/v1/trunks", TRUNK_FIELDS),
    Endpoint("PUT", "/v1/trunks/trunk_mine", TRUNK_FIELDS),
    Endpoint("POST", "/v1/keys", {"name": "k", "prefix": "key_", "signs_webhooks": True}),
    Endpoint("POST", f"{AGENT}/webhooks", WEBHOOK_FIELDS),
    Endpoint("PUT", f"{AGENT}/webhooks/nobody", WEBHOOK_FIELDS),
    Endpoint("PUT", f"{AGENT}/knowledge", KNOWLEDGE_FIELDS),
    Endpoint("PUT", f"{AGENT}/voice", VOICE_FIELDS),
    Endpoint("PUT", f"{AGENT}/calling", {"direction": "outbound", "phone_number_ids": ["num_mine"]}),
    Endpoint("POST", "/v2/list-calls", LIST_V2_FIELDS),
    Endpoint("PATCH", "/v2/update-call/nobody", UPDATE_CALL_FIELDS),
    Endpoint("POST", "/create-agent", RETELL_AGENT_FIELDS),
    Endpoint("PATCH", "/update-agent/agent_mine", RETELL_AGENT_FIELDS),
    Endpoint("POST", "/import-phone-number", IMPORT_FIELDS),
    Endpoint("PATCH", "/update-phone-number/+12025550190", {"outbound_agents": None}),
    Endpoint("POST", "/v1/webhooks", NATIVE_WEBHOOK_FIELDS),
    Endpoint("PUT", "/v1/webhooks/nobody", NATIVE_WEBHOOK_FIELDS),
    Endpoint("POST", "/v1/webhooks/nobody/rotate-secret", {"overlap_hours": 1}),
    Endpoint("POST", "/v1/webhooks/nobody/replay", {"since": 0, "until": 1, "call_id": "x", "events": ["call.ended"]}),
]
each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)

NOT_JSON = [
    b"{", b"[1", b'{"to": }', b"{}{}", b'{"to":1,}', b"{'to':1}", b"to=1", b"\xff\xfe{}", b'{"to":"\xc3\x28"}',
    b'{"to":"\\ud800"}', b'{"\\udfff":1}', b"NaN", b'{"to":NaN}', b'{"to":-Infinity}', b"nul", b"{}\0", b"\0", b" ",
    b'{"to":"a\nb"}', b'{"to":"\\x41"}', b'{"to":01}', b'{"to":1e99999}', b"\xef\xbb\xbf{}", b"<call/>",
    b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 9_000 + b"1" + b"}" * 9_000, b"[" * 65_000, b'{"to":' + b"9" * 60_000,
]  # fmt: skip

ODD_VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 2**63, 2**64, 10**30, 10**400, "", " ", "\0", "\x7f", "x\r\nVia: y", "\ufffe",
    "💥" * 60, "x" * 5_000, "+" + "9" * 400, "a/b", "../..", "%00", "' OR 1=1 --", [], [[]], [None], [{"a": 1}], {},
    {"": ""}, {"a": {"b": [None]}}, {"\0": "\0"}, {"a": 10**30}, {"a": "x\r\ny"}, {"X-A": ["b"]}, {"__proto__": 1},
]  # fmt: skip

READS = [
    "/api/v1/calls", "/api/v1/agents", "/api/v1/phone-numbers", f"{AGENT}/calls", f"{AGENT}/webhooks", "/v1/calls",
    "/v1/agents", "/v1/numbers", "/v1/trunks", "/v1/keys", "/v1/webhooks", "/v1/events", "/list-agents",
    "/list-phone-numbers", "/v2/list-phone-numbers", "/get-concurrency", "/get-agent/agent_mine",
    "/get-phone-number/+12025550190",
]  # fmt: skip

WITH_IDS = [
    ("POST", "/v2/stop-call/{}"), ("GET", "/v2/get-call/{}"), ("GET", "/v1/calls/{}"), ("POST", "/v1/calls/{}/stop"),
    ("GET", "/v1/calls/{}/timeline"), ("GET", "/v1/agents/{}"), ("DELETE", "/v1/agents/{}"), ("DELETE", "/v1/keys/{}"),
    ("DELETE", "/v1/numbers/{}"), ("DELETE", "/v1/trunks/{}"), ("GET", "/api/v1/agents/{}"),
    ("POST", "/api/v1/agents/{}/publish"), ("GET", "/api/v1/agents/{}/calls"),
    ("GET", "/api/v1/agents/{}/active-call/+12025550100"), ("GET", f"{AGENT}/active-call/{{}}"),
    ("GET", f"{AGENT}/webhooks/{{}}"), ("DELETE", f"{AGENT}/webhooks/{{}}"), ("POST", f"{AGENT}/webhooks/{{}}/test"),
    ("DELETE", "/api/v1/agents/{}"), ("GET", "/api/v1/agents/{}/webhooks"), ("DELETE", "/v2/delete-call/{}"),
    ("GET", "/v1/webhooks/{}"), ("DELETE", "/v1/webhooks/{}"), ("POST", "/v1/webhooks/{}/test"),
    ("GET", "/v1/webhooks/{}/attempts/x"),
]  # fmt: skip
OTHERS = ["agent_other", "num_other", "trunk_other", "apikey_other"]
ODD_IDS = [
    "a%2Fb", "", "..", ".", "%2E%2E", "%00", "%0A", "a%0A", "x" * 65, "x" * 4_000, "%E2%98%8E", "%FF%FE", "%20", "%",
    "%zz", "a;b", "*", "'", "%22", "call_%", *OTHERS,
]  # fmt: skip


UNKNOWN = [
    "/api/", "/api/v1", "/api/v1/", "/api/v1/nope", "/api/v2/calls", "/v2/", "/v2/stop-call", "/v2/nope/x", "/v3/nope",
    "/", "/v1", "/v1/", "/v1/calls/", "/nope", "//", "/v1//calls", "/v1/calls/x/nope", "/openapi/none.json", "/*",
    "/V1/calls", "/%76%31/%00", "/docs", "/openapi.json", "/v1/calls/x/stop/", "/api/v1/agents/a/b/c/d",
]  # fmt: skip


async def test_the_bodies_that_are_spoiled_here_are_good_ones(tmp_path: Path) -> None:
    async with site(tmp_path) as served:
        for one in ENDPOINTS:
            answer = await served.ask(one.method, one.path, json.dumps(one.good).encode())
            good = (404, 422) if "nobody" in f"{one.path}{one.good}" else (200, 201)
            assert answer.status in good, f"{one}: {answer}"
            await served.quiet()


@each_endpoint
async def test_a_body_that_is_no_json_is_a_400_and_changes_nothing(tmp_path: Path, endpoint: Endpoint) -> None:
    async with site(tmp_path) as served:
        before = served.tables()
        for body in NOT_JSON:
            answer = await served.ask(endpoint.method, endpoint.path, body)
            assert_error(f"{endpoint.path} {body[:40]!r}", answer, 400)
        assert served.tables() == before


@each_endpoint
async def test_another_content_type_is_refused_before_the_body_is_read(tmp_path: Path, endpoint: Endpoint) -> None:
    body = json.dumps(endpoint.good).encode()
    refused = 400 if dialect_of(endpoint.path) == ANUNZI else 415
    kinds = [
        "",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ]
    async with site(tmp_path) as served:
        before = served.tables()
        for kind in [*kinds, "application/jsonx", "text/json", "json", ";", "\xff"]:
            assert_error(endpoint.path, await served.ask(endpoint.method, endpoint.path, body, kind), refused)
        assert served.tables() == before


@each_endpoint
async def test_json_of_the_wrong_type_is_a_4xx_and_changes_nothing(tmp_path: Path, endpoint: Endpoint) -> None:
    async with site(tmp_path) as served:
        before = served.tables()
        for body in (b"[]", b'"x"', b"1", b"true", b"1.5", b"[{}]", b"9" * 5_000):
            answer = await served.ask(endpoint.method, endpoint.path, body)
            assert_error(endpoint.path, answer, 400, 404, 422)
        assert served.tables() == before


@each_endpoint
async def test_an_odd_field_is_taken_whole_or_refused_and_never_a_5xx(tmp_path: Path, endpoint: Endpoint) -> None:
    async with site(tmp_path) as served:
        for body in odd_bodies(endpoint.good):
            before = served.tables()
            answer = await served.ask(endpoint.method, endpoint.path, body)
            if answer.status >= 300:
                assert_error(endpoint.path, answer, 400, 404, 409, 422)
                assert served.tables() == before, body[:200]
            await served.quiet()
        for path in READS:
            assert (await served.ask("GET", path)).status == 200, "what was taken can be read again"


def odd_bodies(good: dict[str, Any]) -> Iterator[bytes]:
    """Yield the good body with each field odd in each way, and with one field too many."""
    for name in [*good, "no_such_field"]:
        for value in ODD_VALUES:
            yield json.dumps(good | {name: value}, ensure_ascii=False).encode("utf-8", "surrogatepass")


async def test_an_odd_id_is_not_found_or_refused(tmp_path: Path) -> None:
    async with site(tmp_path) as served:
        before = served.tables()
        for method, path in WITH_IDS:
            statuses = (400, 422) if dialect_of(path) == ANUNZI else (404, 405)
            for odd in ODD_IDS:
                answer = await served.ask(method, path.format(odd))
                assert_error(path.format(odd), answer, *statuses)
                if dialect_of(path) == ANUNZI and odd not in OTHERS:
                    assert answer.status == 400, odd
        assert served.tables() == before


async def test_a_bad_token_is_a_401_everywhere_before_anything_else(tmp_path: Path) -> None:
    paths = [(one.method, one.path) for one in ENDPOINTS] + [("GET", path) for path in READS]
    paths += [(method, path.format("x" * 65)) for method, path in WITH_IDS]
    async with site(tmp_path) as served:
        await served.rig.store.put(
            msgspec.structs.replace(await _key(served, "apikey_mine"), id="old", token_sha256=b"", revoked_at=1)
        )
        before = served.tables()
        for method, path in paths:
            for line in bad_authorizations():
                data = b"%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: 1\r\n\r\n{" % (
                    method.encode(), path.encode(), line
                )  # fmt: skip
                answer = await served.send(data)
                assert_error(path, answer, 401)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        assert served.tables() == before


def bad_authorizations() -> list[bytes]:
    """Return header lines that name nobody."""
    values = [b"", b"Bearer", b"Bearer ", b"Basic a2V5Og==", b"key_mine_0123456789abcdef", b"Bearer wrong"]
    values += [b"Bearer k\xe9y", b"Bearer \xff\xfe", b"Bearer key_mine_0123456789abcde", b"Bearer " + b"x" * 8_000]
    values += [b"Bearer key_mine_0123456789abcdef, Bearer x", b"Token key_mine_0123456789abcdef"]
    return [b"", *(b"Authorization: " + value + b"\r\n" for value in values)]


async def _key(served: Site, key_id: str) -> ApiKey:
    key = await served.rig.store.get(ApiKey, key_id, "env_mine")
    assert key is not None
    return key


async def test_a_revoked_key_is_a_401_at_once(tmp_path: Path) -> None:
    async with site(tmp_path) as served:
        made = (await served.ask("POST", "/v1/keys", b'{"name":"k"}')).json
        for path in ("/api/v1/calls", "/v2/get-call/x", "/v1/calls"):
            assert (await served.send(served.head("GET", path, token=made["token"]))).status != 401
        assert (await served.ask("DELETE", f"/v1/keys/{made['id']}")).status == 204
        for path in ("/api/v1/calls", "/v2/get-call/x", "/v1/calls"):
            assert_error(path, await served.send(served.head("GET", path, token=made["token"])), 401)


async def test_another_environments_key_finds_nothing_of_ours(tmp_path: Path) -> None:
    async with site(tmp_path) as served:
        call, token, before = served.call.id, served.rig.other.token, served.tables()
        sid = b'{"call_sid":"%s"}' % call.encode()
        lines = ("Content-Type: application/json", f"Content-Length: {len(sid)}")
        for method, path, status in (
            ("POST", f"/v2/stop-call/{call}", 422),
            ("GET", f"/v2/get-call/{call}", 422),
            ("GET", f"/v1/calls/{call}", 404),
            ("POST", f"/v1/calls/{call}/stop", 404),
            ("DELETE", "/v1/trunks/trunk_mine", 404),
        ):
            assert_error(path, await served.send(served.head(method, path, token=token)), status)
        for agent in ("agent_mine", "agent_other"):
            path = f"/api/v1/agents/{agent}/end-call"
            assert_error(path, await served.send(served.head("POST", path, *lines, token=token) + sid), 404)
        assert served.tables() == before


async def test_a_wrong_method_is_a_405_that_names_the_right_ones(tmp_path: Path) -> None:
    paths = {one.path.replace("_mine", "_none") for one in ENDPOINTS} | {*READS, "/v2/stop-call/x", "/v2/get-call/x"}
    async with site(tmp_path) as served:
        before = served.tables()
        for path in sorted(paths):
            for method in ("PATCH", "OPTIONS", "TRACE", "DELETE", "PUT", "GET", "POST"):
                answer = await served.ask(method, path)
                assert answer.status < 500, path
                if answer.status == 405:
                    assert_error(path, answer, 405)
                    assert method not in answer.headers["allow"].split(", ")
                assert answer.status == 405 or method != "TRACE", path
        assert served.tables() == before


async def test_an_unknown_route_is_a_404_in_its_dialect(tmp_path: Path) -> None:
    async with site(tmp_path) as served:
        for path in UNKNOWN:
            assert_error(path, await served.ask("GET", path), 404)


@pytest.mark.parametrize("path", [f"{AGENT}/call", f"{AGENT}/end-call", "/v2/create-phone-call", "/v1/calls"])
async def test_a_body_over_the_limit_is_a_413_however_it_is_framed(tmp_path: Path, path: str) -> None:
    kind = "Content-Type: application/json"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    async with site(tmp_path) as served:
        before = served.tables()
        for length in (65_537, 10**9, 10**18):
            assert_error(path, await served.send(served.head("POST", path, kind, f"Content-Length: {length}")), 413)
        chunked = served.head("POST", path, kind, "Transfer-Encoding: chunked")
        assert_error(path, await served.send(chunked + chunk * 2), 413)
        assert_error(path, await served.send(chunked + b"1\r\n \r\n" * 70_000), 413)
        assert served.tables() == before


async def test_a_stop_at_retell_does_not_care_what_its_body_is(tmp_path: Path) -> None:
    async with site(tmp_path) as served:
        for body, kind in [
            (b"{", "application/json"),
            (b"<x/>", "text/xml"),
            (b"\xff" * 100, ""),
            (b"x" * 60_000, "a/b"),
        ]:
            call = await served.rig.call("+12025550200")
            assert (await served.ask("POST", f"/v2/stop-call/{call.id}", body, kind)).status == 204
        call = await served.rig.call("+12025550200")
        huge = served.head("POST", f"/v2/stop-call/{call.id}", "Content-Length: 1000000000")
        assert (await served.send(huge)).status == 204


GET = b"GET /v1/calls HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BROKEN = {
    "no http": b"hello\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 200,
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "sip": b"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP z\r\n\r\n",
    "http 0.9": b"GET /\r\n\r\n",
    "http 9.9": b"GET / HTTP/9.9\r\n\r\n",
    "no colon": GET + b"nocolon\r\n\r\n",
    "empty name": GET + b": x\r\n\r\n",
    "space in name": GET + b"a b: x\r\n\r\n",
    "null in value": GET + b"a: \0\r\n\r\n",
    "null in path": b"GET /v1/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in path": b"GET /v1/ calls HTTP/1.1\r\nHost: x\r\n\r\n",
    "high bytes in path": b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "length in words": POST + b"Content-Length: five\r\n\r\n",
    "plus length": POST + b"Content-Length: +5\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length list": POST + b"Content-Length: 2, 3\r\n\r\n{}",
    "endless length": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "both framings": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: bzip\r\n\r\n{}",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "huge chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n{}",
    "negative chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n",
    "chunk overrun": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "long chunk extension": POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 100_000,
    "long line": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": GET + b"a: " + b"x" * 200_000 + b"\r\n\r\n",
    "many headers": GET + b"a: b\r\n" * 30_000 + b"\r\n",
    "half a head": GET + b"Author",
    "half a line": b"POS",
    "half a body": POST + b"Content-Length: 100\r\n\r\n{",
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    "nothing": b"",
    "line ends": b"\r\n" * 1000,
    "websocket": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
    "absolute form": b"GET http://evil.test/v1/calls HTTP/1.1\r\nHost: x\r\n\r\n",
    "authority form": b"CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"FOO /v1/calls HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=list(BROKEN))
async def test_what_is_no_sound_http_gets_a_4xx_or_a_closed_connection(tmp_path: Path, data: bytes) -> None:
    async with site(tmp_path) as served:
        before = served.tables()
        answer = await served.send(data, finish=True)
        assert answer.status == 0 or 400 <= answer.status < 500, answer
        if answer.status:
            assert_error("/", answer, answer.status)
        assert served.tables() == before


def test_every_dialect_is_under_fire() -> None:
    assert {dialect_of(one.path) for one in ENDPOINTS} == {TALKOVER, ANUNZI, NATIVE}
