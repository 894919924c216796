"""The port to HTTP: one request, one answer."""

from typing import Protocol

import msgspec


class Request(msgspec.Struct, frozen=True):
    """What to send, and how long to wait for the answer (seconds)."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    timeout_s: float


class Answer(msgspec.Struct, frozen=True):
    """What a receiver answered; `text` is the beginning of the body."""

    status: int
    headers: dict[str, str]
    text: str


TIMED_OUT = "Connection timeout"
"""What `NoAnswerError` says when the answer did not come in time; TalkOver's words."""


class NoAnswerError(Exception):
    """There was no answer; the message says why."""


class Transport(Protocol):
    """Sends requests. Follows no redirect, keeps no cookie, uses no proxy."""

    async def send(self, request: Request) -> Answer:
        """Return the answer, whatever its status. Raises `NoAnswerError`."""
        ...
