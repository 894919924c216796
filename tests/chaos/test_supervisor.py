"""The supervisor: what becomes of calls and processes when it, or its node, is told to go or is killed."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.chaos.carrier import GatedCarrier
from tests.chaos.server import children_of, is_running, running_server, server_environment, until

from onhook.calls.call import EventType
from onhook.calls.causes import Reason
from onhook.calls.states import State
from onhook.provision import sandbox_path
from onhook.store.sqlite import SqliteStore
from onhook.webhooks.courier import Limits

pytestmark = pytest.mark.chaos


async def cause_and_ends(directory: Path, call_id: str) -> tuple[State, str | None, int]:
    """Read what a server that is gone wrote of a call: its state, its reason, how many ends."""
    store = SqliteStore(directory / "onhook.db")
    await store.open()
    try:
        call = await store.get_call(call_id, None)
        assert call is not None
        events = [event.type for event in await store.events(call_id)]
        return call.state, call.cause.reason if call.cause else None, events.count(EventType.ENDED)
    finally:
        await store.close()


async def test_sigterm_ends_every_call_and_leaves_with_0(tmp_path: Path, carrier: GatedCarrier) -> None:
    async with running_server(tmp_path, carrier.uri) as server:
        calls = [await server.call("00"), await server.call("01")]
        await server.until_state(calls[0], "answered")
        await server.until_state(calls[1], "ringing")
        node = server.node_pid
        server.process.terminate()
        await carrier.free(2)
        assert await asyncio.wait_for(server.process.wait(), 10) == 0
        assert not is_running(node)
    for call_id in calls:
        assert await cause_and_ends(tmp_path, call_id) == (State.ENDED, Reason.SHUTDOWN, 1)
    assert carrier.faults() == []


async def test_one_webhook_cannot_take_all_the_threads_that_look_up_names(
    tmp_path: Path, carrier: GatedCarrier
) -> None:
    async with running_server(tmp_path, carrier.uri) as server:
        hook = {"name": "hook", "url": "https://name.invalid/"}
        webhook_id = (await server.client.post("/v1/webhooks", json=hook)).json()["id"]
        tried = (await server.client.post(f"/v1/webhooks/{webhook_id}/test")).json()
        threads = len(os.listdir(f"/proc/{server.node_pid}/task"))
    assert (tried["status"], tried["http_status"]) == ("failed", None)
    assert threads > Limits().total


async def test_a_scheduled_call_outlives_a_shutdown(tmp_path: Path, carrier: GatedCarrier) -> None:
    async with running_server(tmp_path, carrier.uri) as server:
        call_id = await server.call("00", delay_seconds=600)
    assert await cause_and_ends(tmp_path, call_id) == (State.SCHEDULED, None, 0)


async def test_a_node_whose_supervisor_is_killed_ends_its_calls_and_leaves(
    tmp_path: Path, carrier: GatedCarrier
) -> None:
    async with running_server(tmp_path, carrier.uri) as server:
        call_id = await server.call("00")
        await server.until_state(call_id, "answered")
        node = server.node_pid
        server.process.kill()
        await carrier.free(2)
        await until(lambda: not is_running(node), 10)
    assert await cause_and_ends(tmp_path, call_id) == (State.ENDED, Reason.SHUTDOWN, 1)
    assert carrier.faults() == []


async def test_five_quick_deaths_are_enough(tmp_path: Path, carrier: GatedCarrier) -> None:
    async with running_server(tmp_path, carrier.uri) as server:
        killed: list[int] = []
        for _ in range(5):
            await until(lambda: server.node_pid not in killed, 10)
            killed.append(server.node_pid)
            os.kill(killed[-1], signal.SIGKILL)
        assert await asyncio.wait_for(server.process.wait(), 10) == 1
        assert "giving up" in server.log
        assert server.node_pid == killed[-1]


async def test_a_second_server_on_the_same_directory_is_refused(tmp_path: Path, carrier: GatedCarrier) -> None:
    async with running_server(tmp_path, carrier.uri) as server:
        node = server.node_pid
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "onhook", "serve"),
            env=server_environment(tmp_path, carrier.uri),
            stderr=asyncio.subprocess.PIPE,
        )
        _, stderr = await asyncio.wait_for(second.communicate(), 15)
        assert second.returncode == 78
        assert f"another onhook server is running on {tmp_path}" in stderr.decode()
        call_id = await server.call("00")
        await server.until_state(call_id, "answered")
        assert server.node_pid == node


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_no_process_of_a_sandbox_is_left_behind(number: signal.Signals, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "onhook", "serve", "--sandbox"),
        env=os.environ
        | {"ONHOOK_DATA_DIR": str(tmp_path), "ONHOOK_HTTP_BIND": "127.0.0.1:0", "ONHOOK_SIP_BIND": "127.0.0.1:0"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await until(sandbox_path(tmp_path).exists, 15)
    children = children_of(process.pid)
    assert len(children) == 2
    process.send_signal(number)
    await asyncio.wait_for(process.wait(), 15)
    try:
        await until(lambda: not any(is_running(pid) for pid in children), 10)
    finally:
        for pid in filter(is_running, children):
            os.kill(pid, signal.SIGKILL)
