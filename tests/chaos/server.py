"""A real server in processes of its own; the carrier lives in the test's process, so that it survives them."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from onhook.calls.call import Dialect, new_agent_id
from onhook.clock import SystemClock
from onhook.lines.sandbox.numbers import PASSWORD, USERNAME
from onhook.provision import CONFIGURED_TRUNK, DEFAULT_ENVIRONMENT, create_key, ensure_environment
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Agent, Number

FROM_NUMBER = "+12025550100"
AGENT = new_agent_id(Dialect.TALKOVER)
READY = "onhook is ready at "
START_LIMIT_S = 15.0
POLL_S = 0.02


class Server:
    """A running `onhook serve` or node alone, and a client of its API."""

    def __init__(self, directory: Path, process: asyncio.subprocess.Process, token: str) -> None:
        self.directory = directory
        self.process = process
        self.client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"}, timeout=10, limits=httpx.Limits(max_connections=None)
        )
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    @property
    def node_pid(self) -> int:
        """The process id of the node that is running now."""
        return int((self.directory / "node.pid").read_text())

    @property
    def log(self) -> str:
        """What the processes wrote to standard error."""
        return (self.directory / "stderr.log").read_text()

    async def ready(self) -> None:
        """Wait for the next node to say that it is ready; an empty line stands for the end of all nodes."""
        async with asyncio.timeout(START_LIMIT_S):
            url = await self._ready.get()
        assert url, f"the server left instead of being ready:\n{self.log}"
        self.client.base_url = httpx.URL(url)

    async def call(self, digits: str, **fields: int) -> str:
        """Dial a number of the sandbox and return the call's id."""
        body = {"to_number": f"+120255501{digits}", "agent_id": AGENT, **fields}
        response = await self.client.post("/v1/calls", json=body)
        assert response.status_code == 201, response.text
        call_id: str = response.json()["call_id"]
        return call_id

    async def get(self, call_id: str) -> dict[str, Any]:
        """Return one call."""
        response = await self.client.get(f"/v1/calls/{call_id}")
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def events(self, call_id: str) -> list[str]:
        """Return the types of a call's events, having looked that they are numbered without a gap."""
        response = await self.client.get(f"/v1/calls/{call_id}/timeline")
        events = response.json()["events"]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        return [event["type"] for event in events]

    async def until_state(self, call_id: str, state: str, limit_s: float = 5) -> dict[str, Any]:
        """Wait until a call reads `state`."""
        deadline = time.monotonic() + limit_s
        while (call := await self.get(call_id))["state"] != state:
            assert time.monotonic() < deadline, f"{call['state']}, not {state}"
            await asyncio.sleep(POLL_S)
        return call

    async def ended_once(self, call_id: str, limit_s: float = 5) -> dict[str, Any]:
        """Wait for the end of a call, look that it has one end event, and return the call."""
        call = await self.until_state(call_id, "ended", limit_s)
        assert (await self.events(call_id)).count("call.ended") == 1
        return call

    async def stop(self, call_id: str) -> dict[str, Any]:
        """Stop a call without waiting for its proof, and return the answer."""
        response = await self.client.post(f"/v1/calls/{call_id}/stop", json={"wait_ms": 0})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def close(self) -> None:
        """End the processes."""
        await self.client.aclose()
        if self.process.returncode is None:
            self.process.terminate()
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 15)
        except TimeoutError:
            for pid in (self.process.pid, self.node_pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise
        await self._reader

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode()
            if text.startswith(READY):
                self._ready.put_nowait(text.removeprefix(READY).strip())
        self._ready.put_nowait("")


@contextlib.asynccontextmanager
async def running_server(
    directory: Path,
    trunk_uri: str,
    command: Sequence[str] = ("onhook", "serve"),
    wrapper: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Server]:
    """Run a server (a module and its arguments) on free ports with its trunk at `trunk_uri` until the block is left."""
    token = await _provisioned(directory)
    with (directory / "stderr.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *wrapper,
            sys.executable,
            "-m",
            *command,
            env=server_environment(directory, trunk_uri) | dict(environment or {}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    server = Server(directory, process, token)
    try:
        await server.ready()
        yield server
    finally:
        await server.close()


def server_environment(directory: Path, trunk_uri: str) -> dict[str, str]:
    """Return the environment that a server on `directory` runs in."""
    return os.environ | {
        "ONHOOK_DATA_DIR": str(directory),
        "ONHOOK_HTTP_BIND": "127.0.0.1:0",
        "ONHOOK_SIP_BIND": "127.0.0.1:0",
        "ONHOOK_TRUNK_URI": trunk_uri,
        "ONHOOK_TRUNK_USERNAME": USERNAME,
        "ONHOOK_TRUNK_PASSWORD": PASSWORD,
        "ONHOOK_STOP_WAIT_MS": "0",
    }


async def until(condition: Callable[[], bool], limit_s: float) -> None:
    """Wait for a change outside this process. Raises `TimeoutError`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(POLL_S)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def _provisioned(directory: Path) -> str:
    """Write an agent, its number on the configured trunk, and a key; return the key's token."""
    clock, store = SystemClock(), SqliteStore(directory / "onhook.db")
    await store.open()
    try:
        await ensure_environment(store, clock)
        now = clock.now_ms()
        agent = Agent(AGENT, DEFAULT_ENVIRONMENT, Dialect.TALKOVER, "Greeter", "Greeter", now, now, published=True)
        await store.put(agent)
        await store.put(Number("number_1", DEFAULT_ENVIRONMENT, FROM_NUMBER, CONFIGURED_TRUNK, now, agent.id))
        _, token = await create_key(store, clock, DEFAULT_ENVIRONMENT, "test")
        return token
    finally:
        await store.close()
