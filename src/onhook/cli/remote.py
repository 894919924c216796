"""A running server, as the command line talks to it: over its own API."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import typer

from onhook.cli.common import fail, settings_or_exit
from onhook.provision import read_sandbox
from onhook.settings import Settings, http_url

UrlOption = typer.Option(
    None, "--url", envvar="ONHOOK_URL", help="Base URL of the server. Default: the sandbox's, else ONHOOK_HTTP_BIND."
)
TokenOption = typer.Option(
    None, "--token", envvar="ONHOOK_TOKEN", help="API key. Default: the sandbox's, if there is one."
)
TIMEOUT_S = 60.0
ANY_HOST = ("0.0.0.0", "::")


def local_url(settings: Settings) -> str:
    """Return the URL at which a server with these settings answers on this machine."""
    host, port = settings.http_address
    return http_url("127.0.0.1" if host in ANY_HOST else host, port)


class RemoteError(Exception):
    """The server cannot be reached, or refuses; the message says which, and what to do."""


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

    def _ask(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        import httpx  # noqa: PLC0415

        try:
            response = self._client.request(method, path, **parts)
            body: dict[str, Any] = response.json()
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            raise RemoteError(
                f"no server answers at {self.url} ({error}); start one with `onhook serve`, or name one with --url"
            ) from error
        except ValueError as error:
            raise RemoteError(f"what answers at {self.url} is not an onhook server") from error
        if response.is_error:
            raise RemoteError(f"{response.status_code}: {_reason(body)}")
        return body


def _reason(problem: dict[str, Any]) -> str:
    """Return a problem document as one line, with the fields that are at fault."""
    fields = "; ".join(f"{one['field']}: {one['message']}" for one in problem.get("errors") or ())
    return f"{problem.get('detail', problem)}" + (f" {fields}" if fields else "")
