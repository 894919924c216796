"""HTTP by hand for hostile tests: bytes in, one answer out, and each dialect's idea of an error."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.dialect.conftest import Rig

from onhook.api.http_server import HttpServer
from onhook.calls.call import Call
from onhook.calls.states import State
from onhook.store.sqlite import SqliteStore

TALKOVER, ANUNZI, NATIVE = "talkover", "anunzi", "native"
LIMIT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """A response; status 0 means that the server closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass
class Site:
    """A served application over SQLite, with one live call that nothing here may touch."""

    rig: Rig
    port: int
    call: Call
    database: sqlite3.Connection

    def head(self, method: str, path: str, *lines: str, token: str | None = None) -> bytes:
        """Return a request's head with a good token, or with `token`."""
        authorization = f"Authorization: Bearer {self.rig.mine.token if token is None else token}"
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", authorization, *lines, "", ""]).encode()

    async def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Answer:
        """Send a whole request."""
        lines = [] if body is None else [f"Content-Length: {len(body)}", *([f"Content-Type: {kind}"] if kind else [])]
        return await self.send(self.head(method, path, *lines) + (body or b""), bodiless=method == "HEAD")

    async def send(self, data: bytes, *, finish: bool = False, bodiless: bool = False) -> Answer:
        """Send bytes and return the answer; with `finish`, close our side after them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                if finish:
                    writer.write_eof()
                async with asyncio.timeout(LIMIT_S):
                    return await _answer(reader, bodiless=bodiless)
        finally:
            writer.close()
        return Answer(0, {}, b"")

    def tables(self) -> dict[str, list[tuple[object, ...]]]:
        """Return every row of every table but the heartbeat's, by table, and the schema."""
        names = [name for (name,) in self.database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        read = ["sqlite_schema", *(name for name in names if name != "heartbeat")]
        return {name: self.database.execute(f'SELECT * FROM "{name}"').fetchall() for name in read}

    async def quiet(self) -> None:
        """Wait until nothing is being dialled or written."""
        await self.rig.dialer.started()
        await self.rig.recorder.drained()

    async def assert_alive(self) -> None:
        """The server answers, the live call is live, and a stop still ends it."""
        assert (await self.ask("GET", "/api/v1/health")).status == 200
        assert (await self.rig.settled(self.call.id)).state is State.ANSWERED
        assert (await self.ask("POST", f"/v2/stop-call/{self.call.id}")).status == 204
        assert (await self.rig.settled(self.call.id)).state is State.ENDED


@contextlib.asynccontextmanager
async def site(tmp_path: Path, patience_s: float = 10.0) -> AsyncIterator[Site]:
    """Serve an application; leaving checks that it is alive."""
    database = tmp_path / "onhook.db"
    rig = Rig(SqliteStore(database))
    await rig.start()
    async with HttpServer(rig.app(), "127.0.0.1", 0, slow_client_s=patience_s) as server:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
            opened = Site(rig, server.port, await rig.call(), reader)
            yield opened
            await opened.assert_alive()
    await rig.recorder.drained()
    await rig.store.close()


RETELL_PATHS = (
    "/v2/", "/v3/", "/create-", "/get-", "/update-", "/delete-", "/list-", "/import-phone-number",
    "/rerun-call-analysis",
)  # fmt: skip


def dialect_of(path: str) -> str:
    """Return the dialect of a path."""
    return TALKOVER if path.startswith("/api/") else ANUNZI if path.startswith(RETELL_PATHS) else NATIVE


def assert_error(path: str, answer: Answer, *statuses: int) -> None:
    """The answer is an error, of one of `statuses`, in the shape of the path's dialect and no framework's."""
    told = f"{path}: {answer}"
    assert answer.status in statuses, told
    body = answer.json
    match dialect_of(path):
        case "talkover":
            assert answer.headers["content-type"] == "application/json", told
            assert _is_talkover(path, body), told
        case "anunzi":
            assert answer.headers["content-type"] == "application/json", told
            assert set(body) == {"status", "message"}, told
            assert body["status"] == "error", told
            assert body["message"], told
        case _:
            assert answer.headers["content-type"] == "application/problem+json", told
            assert {"type", "title", "status", "code", "detail"} <= set(body), told
            assert (body["status"], type(body["detail"])) == (answer.status, str), told


def _is_talkover(path: str, body: dict[str, Any]) -> bool:
    if set(body) == {"error"}:
        return {"code", "message"} <= set(body["error"]) <= {"code", "message", "details"}
    return (
        (body.get("success") is False or ("/webhooks" in path and "success" not in body))
        and isinstance(body.get("message"), str)
        and set(body) <= {"success", "message", "code", "errors"}
        and all(isinstance(said, list) and said for said in body.get("errors", {}).values())
    )


async def _answer(reader: asyncio.StreamReader, *, bodiless: bool) -> Answer:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return Answer(0, {}, b"")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = 0 if bodiless else int(headers.get("content-length", "0"))
    return Answer(int(first.split()[1]), headers, await reader.readexactly(length))
