"""A stop is on disk before its answer; when the disk is ill, the call ends on the wire and the answer says so."""

import asyncio
import contextlib
import os
import re
import resource
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from tests.chaos.carrier import GatedCarrier, packets
from tests.chaos.server import AGENT, FROM_NUMBER, Server, running_server

pytestmark = pytest.mark.chaos

SHIM = Path(__file__).with_name("fsync_shim.c")
FAULTS = ("fail", "slow", "full")
BYE_WITHIN_S = 1.5
"""A commit is given 1 s; then the call is ended on the wire without it."""


def program(name: str) -> str:
    """Return a program's path. Where it is missing the test is skipped, but never in CI."""
    path = shutil.which(name)
    if path is None and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed")
    return path or name


class Disk:
    """The disk under a node, and the faults it can be given."""

    def __init__(self, control: Path) -> None:
        self.control = control

    @contextlib.contextmanager
    def ill(self, fault: str, pid: int) -> Iterator[None]:
        """Let flushes fail or be slow, or leave no room in any file of the process."""
        no_limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        if fault == "full":
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, no_limit[1]))
        else:
            self.control.write_text(fault)
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, no_limit)
            self.control.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gcc = program("gcc")
    library = tmp_path_factory.mktemp("shim") / "fsync_shim.so"
    assert os.spawnl(os.P_WAIT, gcc, gcc, "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl") == 0
    return library


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "fault")


@pytest.fixture
async def server(tmp_path: Path, carrier: GatedCarrier, shim: Path, disk: Disk) -> AsyncIterator[Server]:
    environment = {"LD_PRELOAD": str(shim), "FSYNC_FAULT": str(disk.control)}
    data = tmp_path / "data"
    data.mkdir()
    async with running_server(data, carrier.uri, ["onhook.node"], environment=environment) as server:
        yield server


async def stop_by(server: Server, api: str, call_id: str) -> httpx.Response:
    match api:
        case "talkover":
            return await server.client.post(f"/api/v1/agents/{AGENT}/end-call", json={"call_sid": call_id})
        case "retell":
            return await server.client.post(f"/v2/stop-call/{call_id}")
        case _:
            return await server.client.post(f"/v1/calls/{call_id}/stop")


async def answered(server: Server, digits: str = "00") -> str:
    call_id = await server.call(digits)
    await server.until_state(call_id, "answered")
    return call_id


async def test_a_lone_stop_is_flushed_to_disk_between_its_request_and_its_answer(
    tmp_path: Path, carrier: GatedCarrier
) -> None:
    trace = tmp_path / "trace"
    calls = "trace=read,recvfrom,recvmsg,write,writev,sendto,sendmsg,sendmmsg,fsync,fdatasync"
    strace = [program("strace"), "-f", "-qq", "--seccomp-bpf", "-s", "100", "-e", calls, "-o", str(trace)]
    async with running_server(tmp_path, carrier.uri, ["onhook.node"], wrapper=strace) as server:
        call_id = await answered(server)
        assert (await stop_by(server, "retell", call_id)).status_code == 204
        await carrier.free(2)
        await server.ended_once(call_id)
    lines = trace.read_text().splitlines()
    arrival = _first(lines, 0, rf'"POST /v2/stop-call/{call_id} ')
    begun = _first(lines, arrival, r"\b(fsync|fdatasync)\(")
    flushed = _first(lines, begun, r"\b(fsync|fdatasync)(\(\d+| resumed>)\)\s+= 0")
    goodbye = _first(lines, arrival, r'"BYE sip:')
    answer = _first(lines, arrival, r'"HTTP/1\.1 204')
    assert arrival < begun <= flushed < goodbye < answer


def _first(lines: list[str], start: int, pattern: str) -> int:
    """Return the place of the first line from `start` on that matches."""
    return next(place for place in range(start, len(lines)) if re.search(pattern, lines[place]))


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stop_that_cannot_be_recorded_ends_the_call_and_is_not_answered_as_done(
    fault: str, server: Server, carrier: GatedCarrier, disk: Disk
) -> None:
    calls = {api: await answered(server) for api in ("talkover", "retell", "native")}
    with disk.ill(fault, server.node_pid):
        stops = asyncio.gather(*(stop_by(server, api, call_id) for api, call_id in calls.items()))
        await carrier.free(BYE_WITHIN_S)
        assert [answer.status_code for answer in await stops] == [500, 500, 503]
    for call_id in calls.values():
        call = await server.ended_once(call_id)
        assert call["cause"]["initiator"].startswith("api_key:")
        assert (call["cause"]["reason"], call["outcome"]) == ("api_stop", "completed")
        assert (call["proof_result"], call["proof_method"]) == ("confirmed", "bye")
        assert (await server.events(call_id)).count("call.stop_requested") <= 1
    assert carrier.faults() == []


@pytest.mark.parametrize(("digits", "fault"), [("01", "fail"), ("01", "slow"), ("07", "fail"), ("07", "full")])
async def test_a_call_that_is_not_answered_yet_is_ended_without_the_disk_too(
    digits: str, fault: str, server: Server, carrier: GatedCarrier, disk: Disk
) -> None:
    call_id = await server.call(digits)
    await carrier.called(digits)
    if digits == "01":
        await server.until_state(call_id, "ringing")
    with disk.ill(fault, server.node_pid):
        assert (await stop_by(server, "native", call_id)).status_code == 503
        await carrier.free(5)
    call = await server.ended_once(call_id)
    assert (call["cause"]["reason"], call["outcome"], call["proof_result"]) == ("api_stop", "canceled", "confirmed")
    assert carrier.faults() == []


@pytest.mark.parametrize("fault", ["fail", "full"])
async def test_nothing_is_dialled_that_cannot_be_recorded(
    fault: str, server: Server, carrier: GatedCarrier, disk: Disk
) -> None:
    numbers = {"from_number": FROM_NUMBER, "to_number": "+12025550101"}
    with disk.ill(fault, server.node_pid):
        made = [
            await server.client.post(f"/api/v1/agents/{AGENT}/call", json={"to": "+12025550101"}),
            await server.client.post("/v2/create-phone-call", json=numbers),
            await server.client.post("/v1/calls", json=numbers),
        ]
        assert [response.status_code for response in made] == [500, 500, 503]
    # The first call that is dialled afterwards is the first the carrier ever sees.
    call_id = await server.call("01")
    await server.until_state(call_id, "ringing")
    await stop_by(server, "native", call_id)
    await server.ended_once(call_id)
    assert len(carrier.calls) == 1
    assert (await server.client.get("/v1/calls")).json()["items"] == [await server.get(call_id)]


@pytest.mark.parametrize("fault", ["fail", "full"])
async def test_the_far_end_hangs_up_while_the_disk_is_ill_and_the_end_is_written_later(
    fault: str, server: Server, carrier: GatedCarrier, disk: Disk
) -> None:
    call_id = await answered(server, "04")
    (far_end,) = carrier.calls
    with disk.ill(fault, server.node_pid):
        await carrier.until(lambda: packets(far_end, "in", "BYE") == ["200"], 5)
        assert (await server.get(call_id))["state"] == "answered"
    call = await server.ended_once(call_id)
    assert (call["cause"]["initiator"], call["cause"]["reason"]) == ("callee", "hangup")
    assert call["proof_method"] == "far_end_bye"
    assert carrier.faults() == []


async def test_a_stop_repeated_on_an_ill_disk_is_recorded_once(
    server: Server, carrier: GatedCarrier, disk: Disk
) -> None:
    call_id = await answered(server)
    with disk.ill("fail", server.node_pid):
        for api in ("native", "retell", "talkover"):
            assert (await stop_by(server, api, call_id)).status_code in (500, 503)
        await carrier.free(BYE_WITHIN_S)
    await server.ended_once(call_id)
    assert (await stop_by(server, "retell", call_id)).status_code == 204
    assert (await stop_by(server, "talkover", call_id)).status_code == 409
    assert carrier.faults() == []
