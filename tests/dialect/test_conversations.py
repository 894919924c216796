"""What was said on a call, in three dialects: transcripts, latency, recordings, and who may have them."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from retell import AsyncRetell
from tests.dialect.conftest import BASE_URL, Rig

from onhook.calls.call import Call, Event, EventType
from onhook.store.logs import log_of
from onhook.voice.recordings import Recordings

pytestmark = pytest.mark.dialect

PUBLIC_URL = "https://onhook.example.com"


def turn(role: str, text: str, start_ms: int, latency_ms: int | None = None, **more: object) -> dict[str, Any]:
    return {
        "role": role,
        "text": text,
        "start_ms": start_ms,
        "end_ms": start_ms + 900,
        "words": [],
        "interrupted": False,
        "latency_ms": latency_ms,
    } | more


WORDS = [{"word": "Yes", "start_ms": 1500, "end_ms": 1750}, {"word": "please", "start_ms": 1800, "end_ms": 2400}]
FACTS: list[tuple[EventType, dict[str, Any]]] = [
    (EventType.AGENT_STARTED, {"kind": "scripted", "start_ms": 12}),
    (EventType.ANSWERED_BY, {"verdict": "human"}),
    (EventType.TURN, turn("agent", "Shall we call you back?", 0)),
    (EventType.CONVERSATION_STARTED, {"at_ms": 1500}),
    (EventType.TURN, turn("user", "Yes please", 1500, words=WORDS)),
    (EventType.ACTION, {"name": "book", "arguments": '{"day":"monday"}', "result": "{}"}),
    (EventType.TURN, turn("agent", "Thank you.", 2700, 300)),
    (EventType.DTMF, {"digit": "5", "duration_ms": 80}),
    (EventType.TURN, turn("agent", "Good-bye.", 4000, 500, interrupted=True)),
    (EventType.CONVERSATION_ENDED, {"turns": 4, "farewell": "played", "reply_latency_ms": {"p50": 400, "max": 500}}),
    (EventType.RECORDING, {"duration_ms": 5000, "channels": 2, "format": "wav", "consent": "none"}),
]


async def talked(rig: Rig, facts: list[tuple[EventType, dict[str, Any]]] = FACTS) -> Call:
    """Return a call that was answered, talked on, and hung up by the far end."""
    call = await rig.call()
    for kind, data in facts:
        rig.recorder.note(call.id, kind, data)
    rig.engine.hang_up_far_end(call.id)
    return await rig.settled(call.id)


def recorded(rig: Rig, directory: Path, call_id: str, content: bytes = b"RIFF and so on") -> Path:
    """Give a call a recording."""
    kept = Recordings(directory)
    rig.recordings = kept
    path = kept.path_for(call_id)
    path.write_bytes(content)
    return path


# --- transcripts ---------------------------------------------------------------------------------------


async def test_the_native_transcript_is_what_was_said(rig: Rig) -> None:
    call = await talked(rig)
    async with rig.client() as client:
        answer = await client.get(f"/v1/calls/{call.id}/transcript")
    assert answer.json()["call_id"] == call.id
    turns = answer.json()["turns"]
    assert [(one["role"], one["text"]) for one in turns] == [
        ("agent", "Shall we call you back?"),
        ("user", "Yes please"),
        ("agent", "Thank you."),
        ("agent", "Good-bye."),
    ]
    assert turns[1] == turn("user", "Yes please", 1500, words=WORDS)
    assert turns[3] == turn("agent", "Good-bye.", 4000, 500, interrupted=True)


async def test_a_call_that_nobody_talked_on_has_an_empty_transcript(rig: Rig) -> None:
    call = await rig.call("+12025550102")
    async with rig.client() as client:
        assert (await client.get(f"/v1/calls/{call.id}/transcript")).json()["turns"] == []
        shown = (await client.get(f"/v2/get-call/{call.id}")).json()
    assert shown.keys().isdisjoint({"transcript", "transcript_object", "transcript_with_tool_calls", "latency"})


async def test_retells_call_tells_of_the_conversation_once_it_is_over(rig: Rig) -> None:
    rig.public_url = PUBLIC_URL
    call = await talked(rig)
    async with rig.client() as client:
        shown = (await client.get(f"/v2/get-call/{call.id}")).json()
    assert shown["transcript"] == (
        "Agent: Shall we call you back?\nUser: Yes please\nAgent: Thank you.\nAgent: Good-bye.\n"
    )
    assert shown["transcript_object"][1] == {
        "role": "user",
        "content": "Yes please",
        "words": [{"word": "Yes", "start": 1.5, "end": 1.75}, {"word": "please", "start": 1.8, "end": 2.4}],
    }
    with_tools = shown["transcript_with_tool_calls"]
    assert [one["role"] for one in with_tools] == [
        *("agent", "user", "tool_call_invocation", "tool_call_result", "agent", "dtmf", "agent")
    ]
    assert with_tools[2] == {
        "role": "tool_call_invocation",
        "tool_call_id": with_tools[3]["tool_call_id"],
        "name": "book",
        "arguments": '{"day":"monday"}',
    }
    assert (with_tools[3]["content"], with_tools[3]["successful"]) == ("{}", True)
    assert with_tools[5] == {"role": "dtmf", "digit": "5"}
    assert shown["latency"]["e2e"] == {
        **{"p50": 300, "p90": 500, "p95": 500, "p99": 500, "min": 300, "max": 500},
        **{"num": 2, "values": [300, 500]},
    }
    assert shown["call_analysis"] == {"user_sentiment": "Unknown", "in_voicemail": False}
    url = f"{PUBLIC_URL}/v1/calls/{call.id}/recording"
    assert (shown["recording_url"], shown["recording_multi_channel_url"]) == (url, url)


async def test_a_call_that_goes_on_shows_no_transcript_to_retells_clients(rig: Rig) -> None:
    call = await rig.call()
    rig.recorder.note(call.id, *FACTS[2])
    await rig.settled(call.id)
    async with rig.client() as client:
        assert "transcript" not in (await client.get(f"/v2/get-call/{call.id}")).json()
        assert len((await client.get(f"/v1/calls/{call.id}/transcript")).json()["turns"]) == 1


@pytest.mark.parametrize(("verdict", "in_voicemail"), [("machine", True), ("human", False), ("unsure", None)])
async def test_retells_analysis_says_whether_a_machine_answered(
    memory_rig: Rig, verdict: str, in_voicemail: bool | None
) -> None:
    call = await talked(memory_rig, [(EventType.ANSWERED_BY, {"verdict": verdict})])
    async with memory_rig.client() as client:
        shown = (await client.get(f"/v2/get-call/{call.id}")).json()
    assert shown["call_analysis"].get("in_voicemail") == in_voicemail


async def test_the_strict_sdk_reads_a_conversation(rig: Rig) -> None:
    rig.public_url = PUBLIC_URL
    call = await talked(rig)
    failed = (EventType.ACTION_FAILED, {"name": "book", "arguments": "{}", "result": '"no"'})
    other = await talked(rig, [FACTS[2], failed])
    transport = httpx.ASGITransport(rig.app(), raise_app_exceptions=False)
    http = httpx.AsyncClient(transport=transport)
    async with AsyncRetell(
        api_key=rig.mine.token,
        base_url=BASE_URL,
        http_client=http,
        max_retries=0,
        _strict_response_validation=True,
    ) as sdk:
        shown = await sdk.call.retrieve(call.id)
        broken = await sdk.call.retrieve(other.id)
        listed = await sdk.call.list()
    assert shown.transcript_object is not None
    assert shown.transcript_object[1].words[0].start == 1.5
    assert shown.transcript_with_tool_calls is not None
    assert [type(one).__name__ for one in shown.transcript_with_tool_calls][1:4] == [
        "TranscriptWithToolCallUtterance",
        "TranscriptWithToolCallToolCallInvocationUtterance",
        "TranscriptWithToolCallToolCallResultUtterance",
    ]
    assert shown.latency is not None
    assert shown.latency.e2e is not None
    assert shown.latency.e2e.p50 == 300
    assert broken.transcript_with_tool_calls is not None
    assert {item.call_id for item in listed.items or []} == {call.id, other.id}


async def test_what_may_not_be_kept_is_not_shown(rig: Rig, tmp_path: Path) -> None:
    rig.public_url = PUBLIC_URL
    call = await talked(rig)
    path = recorded(rig, tmp_path, call.id)
    async with rig.client() as client:
        change = {"data_storage_setting": "basic_attributes_only"}
        assert (await client.patch(f"/v2/update-call/{call.id}", json=change)).status_code == 200
        shown = (await client.get(f"/v2/get-call/{call.id}")).json()
        assert (await client.get(f"/v1/calls/{call.id}/transcript")).json()["turns"] == []
        assert (await client.get(f"/v1/calls/{call.id}/recording")).status_code == 404
    assert shown.keys().isdisjoint({"transcript", "transcript_object", "latency", "recording_url"})
    assert not path.exists()


async def test_a_retell_agent_decides_what_is_kept_of_its_calls(rig: Rig) -> None:
    agent = {
        "response_engine": {"type": "retell-llm", "llm_id": "x"},
        "voice_id": "v",
        "data_storage_setting": "basic_attributes_only",
    }
    async with rig.client() as client:
        agent_id = (await client.post("/create-agent", json=agent)).json()["agent_id"]
        order = {"from_number": rig.mine.number, "to_number": "+12025550100", "override_agent_id": agent_id}
        created = (await client.post("/v2/create-phone-call", json=order)).json()
    assert created["data_storage_setting"] == "basic_attributes_only"


# --- recordings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "media_type"), [("wav", "audio/wav"), ("ogg", "audio/ogg")])
async def test_a_recording_is_downloaded_whole(memory_rig: Rig, tmp_path: Path, suffix: str, media_type: str) -> None:
    call = await talked(memory_rig)
    content = bytes(range(256)) * 1000
    recorded(memory_rig, tmp_path, call.id, content).rename(tmp_path / f"{call.id}.{suffix}")
    async with memory_rig.client() as client:
        answer = await client.get(f"/v1/calls/{call.id}/recording")
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-disposition"] == f'attachment; filename="{call.id}.{suffix}"'


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_only_its_own_environment_gets_at_a_recording(memory_rig: Rig, tmp_path: Path, method: str) -> None:
    call = await talked(memory_rig)
    path = recorded(memory_rig, tmp_path, call.id)
    async with memory_rig.client(tenant=memory_rig.other) as stranger:
        foreign = await stranger.request(method, f"/v1/calls/{call.id}/recording")
        unknown = await stranger.request(method, "/v1/calls/call_0/recording")
        nobody = await stranger.request(method, f"/v1/calls/{call.id}/recording", headers={"Authorization": "Bearer x"})
    assert (foreign.status_code, nobody.status_code) == (404, 401)
    assert foreign.json() == unknown.json()
    assert foreign.json()["code"] == "call_not_found"
    assert path.exists()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_call_without_a_recording_has_none_to_give(memory_rig: Rig, method: str) -> None:
    call = await talked(memory_rig)
    async with memory_rig.client() as client:
        answer = await client.request(method, f"/v1/calls/{call.id}/recording")
    assert (answer.status_code, answer.json()["code"]) == (404, "recording_not_found")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_call_that_goes_on_keeps_its_recording_to_itself(memory_rig: Rig, tmp_path: Path, method: str) -> None:
    call = await memory_rig.call()
    path = recorded(memory_rig, tmp_path, call.id)
    async with memory_rig.client() as client:
        answer = await client.request(method, f"/v1/calls/{call.id}/recording")
    assert (answer.status_code, answer.json()["code"]) == (409, "call_not_ended")
    assert path.exists()


async def test_a_deleted_recording_is_gone(memory_rig: Rig, tmp_path: Path) -> None:
    call = await talked(memory_rig)
    path = recorded(memory_rig, tmp_path, call.id)
    async with memory_rig.client() as client:
        assert (await client.delete(f"/v1/calls/{call.id}/recording")).status_code == 204
        assert (await client.delete(f"/v1/calls/{call.id}/recording")).status_code == 404
        assert (await client.get(f"/v1/calls/{call.id}")).status_code == 200
    assert not path.exists()


async def test_a_wav_that_becomes_an_ogg_under_our_hands_is_given_as_the_ogg(memory_rig: Rig, tmp_path: Path) -> None:
    class Replaced(Recordings):
        looked = 0

        def find(self, call_id: str) -> Path | None:
            self.looked += 1
            return tmp_path / f"{call_id}.{'wav' if self.looked == 1 else 'ogg'}"

    call = await talked(memory_rig)
    (tmp_path / f"{call.id}.ogg").write_bytes(b"OggS")
    memory_rig.recordings = Replaced(tmp_path)
    async with memory_rig.client() as client:
        answer = await client.get(f"/v1/calls/{call.id}/recording")
    assert (answer.content, answer.headers["content-type"]) == (b"OggS", "audio/ogg")


async def test_a_deleted_call_takes_its_recording_along(memory_rig: Rig, tmp_path: Path) -> None:
    call = await talked(memory_rig)
    path = recorded(memory_rig, tmp_path, call.id)
    async with memory_rig.client() as client:
        assert (await client.delete(f"/v2/delete-call/{call.id}")).status_code == 204
    assert not path.exists()


async def test_a_deleted_agent_takes_the_recordings_of_its_calls_along(memory_rig: Rig, tmp_path: Path) -> None:
    call = await talked(memory_rig)
    path = recorded(memory_rig, tmp_path, call.id)
    agent = f"/api/v1/agents/{memory_rig.mine.agent_id}"
    async with memory_rig.client() as client:
        assert (await client.post(f"{agent}/unpublish")).status_code == 200
        assert (await client.delete(agent)).status_code == 200
    assert not path.exists()


async def test_the_log_of_a_call_can_be_read_up_to_an_event(memory_rig: Rig) -> None:
    call = await talked(memory_rig)
    whole = await log_of(memory_rig.store, call.id)
    assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
    assert await log_of(memory_rig.store, call.id, last=3) == whole[:3]
    assert [type(event) for event in whole[:1]] == [Event]
