"""A running server, as the command line talks to it: over its own API."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import typer

from onhook.cli.common import fail, settings_or_exit
from onhook.provision import read_sandbox
from onhook.settings import Settings, http_url

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

UrlOption = typer.Option(
    None, "--url", envvar="ONHOOK_URL", help="Base URL of the server. Default: the sandbox's, else ONHOOK_HTTP_BIND."
)
TokenOption = typer.Option(
    None, "--token", envvar="ONHOOK_TOKEN", help="API key. Default: the sandbox's, if there is one."
)
TIMEOUT_S = 60.0
PATIENCE_S = 30.0
"""How long a command that goes on until Ctrl-C waits for a server that is away: longer than it takes to restart one."""
RETRY_S = 1.0
ANY_HOST = ("0.0.0.0", "::")


def local_url(settings: Settings) -> str:
    """Return the URL at which a server with these settings answers on this machine."""
    host, port = settings.http_address
    return http_url("127.0.0.1" if host in ANY_HOST else host, port)


def call_path(call_id: str, *rest: str) -> str:
    """Return the path of a call, or of something that it has."""
    return "/".join(("/v1/calls", quote(call_id, safe=""), *rest))


class RemoteError(Exception):
    """The server refuses, with this HTTP status, or nothing that answers is one; the message says what to do."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(RemoteError):
    """No server answers, or the connection broke."""


class Remote:
    """A client of our own API. A `RemoteError` that leaves the `with` block ends the program with its message."""

    def __init__(self, url: str | None, token: str | None, data: Path | None, config: Path | None) -> None:
        import httpx  # noqa: PLC0415 (a server starts without it)

        settings = settings_or_exit(config, data)
        sandbox = read_sandbox(settings.data_dir)
        token = token or (sandbox.token if sandbox else None)
        if token is None:
            fail("no API key: give --token or ONHOOK_TOKEN (`onhook keys create` makes one)")
        self.url = url or (sandbox.base_url if sandbox else local_url(settings))
        try:
            self._client = httpx.Client(
                base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S
            )
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            fail(f"the URL or the API key cannot be used: {error}")

    def __enter__(self) -> Self:
        """Keep the connection open."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connection; say what went wrong with the server."""
        self._client.close()
        if isinstance(error, RemoteError):
            fail(str(error))

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """Return the body of the answer to a GET. Raises `RemoteError`."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body of the answer to a POST. Raises `RemoteError`."""
        return self._ask("POST", path, json=body)

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body of the answer to a PUT. Raises `RemoteError`."""
        return self._ask("PUT", path, json=body)

    def delete(self, path: str) -> dict[str, Any]:
        """Return the body of the answer to a DELETE, which may be empty. Raises `RemoteError`."""
        return self._ask("DELETE", path)

    def lines(self, method: str, path: str, accept: str, silence_s: float, **parts: Any) -> Iterator[bytes]:
        """Yield the lines of an answer as they come. Raises `RemoteError`, too when none comes for `silence_s`."""
        headers = {"Accept": accept}
        with (
            self._reached(),
            self._client.stream(method, path, headers=headers, timeout=silence_s, **parts) as response,
        ):
            if response.is_error:
                response.read()
                raise self._refusal(response)
            yield from _lines(response.iter_bytes())

    def _ask(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        with self._reached():
            response = self._client.request(method, path, **parts)
        if response.is_error:
            raise self._refusal(response)
        return self._body(response) if response.content else {}

    @contextmanager
    def _reached(self) -> Iterator[None]:
        import httpx  # noqa: PLC0415

        try:
            yield
        except httpx.RequestError as error:
            raise UnreachableError(
                f"no server answers at {self.url} ({error}); start one with `onhook serve`, or name one with --url"
            ) from error

    def _refusal(self, response: "httpx.Response") -> RemoteError:
        return RemoteError(f"{response.status_code}: {_reason(self._body(response))}", response.status_code)

    def _body(self, response: "httpx.Response") -> dict[str, Any]:
        try:
            body: dict[str, Any] = response.json()
        except ValueError as error:
            raise RemoteError(f"what answers at {self.url} is not an onhook server") from error
        return body


def patiently(ask: Callable[[], T]) -> T:
    """Return what a server says; ask again while none answers, for `PATIENCE_S`. Raises `RemoteError`."""
    until = time.monotonic() + PATIENCE_S
    told = False
    while True:
        try:
            return ask()
        except UnreachableError as error:
            if time.monotonic() >= until:
                raise
            if not told:
                typer.echo(f"onhook: {error}; trying again for {PATIENCE_S:.0f} s", err=True)
            told = True
            time.sleep(RETRY_S)


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    r"""Yield lines that end with `\n` alone: a text in them may hold other characters that end lines elsewhere."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def _reason(problem: dict[str, Any]) -> str:
    """Return a problem document as one line, with the fields that are at fault."""
    fields = "; ".join(f"{one['field']}: {one['message']}" for one in problem.get("errors") or ())
    return f"{problem.get('detail', problem)}" + (f" {fields}" if fields else "")
