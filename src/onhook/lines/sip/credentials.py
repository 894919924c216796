"""Digest credentials of one leg (RFC 3261 section 22): one session for the far end, one for the proxy before it."""

from onhook.lines.engine import Trunk
from onhook.lines.sip.auth import DigestSession
from onhook.lines.sip.message import Header, Response, from_wire, to_wire

CHALLENGES = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
"""Which header of which response carries the challenge."""

Tries = dict[int, int]
"""How often each kind of challenge was answered for one request."""


class Account:
    """A trunk's user name and password, and the nonces in use. Without an account every challenge is refused."""

    def __init__(self, account: tuple[str, str] | None) -> None:
        self._sessions = {} if account is None else {status: DigestSession(*account) for status in CHALLENGES}

    @classmethod
    def of(cls, trunk: Trunk) -> "Account":
        """Return the account of a trunk."""
        return cls(None if trunk.username is None else (trunk.username, trunk.password or ""))

    def headers(self, method: str, uri: str, body: bytes) -> list[Header]:
        """Return credentials for the nonces known so far, sent before anybody asks."""
        return [
            _wired(header) for s in self._sessions.values() if (header := s.preemptive(method, from_wire(uri), body))
        ]

    def answer(self, response: Response, tries: Tries, method: str, uri: str, body: bytes) -> list[Header] | None:
        """Answer a 401 or 407; None when it cannot be, or has been.

        Each kind is answered once per request, and once more when the server says that only the nonce was stale.
        """
        session = self._sessions.get(response.status)
        if session is None:
            return None
        challenges = [from_wire(value) for value in response.raw(CHALLENGES[response.status])]
        allowed = 2 if session.is_stale(challenges) else 1
        tried = tries.get(response.status, 0)
        proxy = response.status == 407
        others = [
            _wired(header)
            for status, other in self._sessions.items()
            if status != response.status and (header := other.preemptive(method, from_wire(uri), body))
        ]
        if tried >= allowed:
            return None
        header = session.answer(challenges, proxy=proxy, method=method, uri=from_wire(uri), body=body)
        if header is None:
            return None
        tries[response.status] = tried + 1
        return [_wired(header), *others]


def _wired(header: Header) -> Header:
    return header[0], to_wire(header[1])
