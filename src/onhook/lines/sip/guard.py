"""Who may call us: known peers, and where they have accounts only with digest credentials (RFC 3261 section 22).

The nonces hold no state: each is the time of its making under a keyed hash, so that asking for one a million times
fills no memory. Only of a nonce that has been used rightly is the highest count kept, which keeps anybody who overheard
a request from sending it again (RFC 7616 section 3.4).
"""

import hmac
import logging
import re
import secrets

import msgspec

from onhook.clock import Clock
from onhook.lines.engine import FindPeer, Peer
from onhook.lines.sip.auth import ALGORITHMS, Challenge, digest_parameters, digest_response
from onhook.lines.sip.message import Header, Request, from_wire, to_wire
from onhook.lines.sip.screening import Refusal

log = logging.getLogger(__name__)

REALM = "onhook"
OFFERED = ("SHA-256", "MD5")
"""Most preferred first, each in a header of its own (RFC 8760 section 2.4)."""
NONCE_LIFETIME_S = 300.0
MAX_USED_NONCES = 10_000
"""With more the first is forgotten, and no nonce made before it is taken any more."""

STRANGER = Refusal(403)

_COUNT = re.compile(r"[0-9a-fA-F]{8}$")
_NONCE = re.compile(r"([0-9a-f]{16})([0-9a-f]{48})$")
_ESCAPED = re.compile(r"\\(.)")


class Visitor(msgspec.Struct, frozen=True):
    """A caller that may come in; `account` is the user name that it proved, None where none was asked for."""

    account: str | None = None


class _Credentials(msgspec.Struct, frozen=True):
    """What an Authorization header gives."""

    username: str
    nonce: str
    challenge: Challenge
    uri: str
    response: str
    count: str
    cnonce: str


class Guard:
    """Decides on the INVITEs of far ends. `find_peer` is set by whoever takes calls."""

    def __init__(self, clock: Clock) -> None:
        self.find_peer: FindPeer = lambda _host: None
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._born = clock.monotonic()
        self._used: dict[str, tuple[int, str]] = {}
        self._floor = 0

    def check(self, invite: Request, host: str) -> Visitor | Refusal:
        """Let an INVITE from `host` in, or say how it is to be refused."""
        peer = self.find_peer(host)
        if peer is None:
            return STRANGER
        if not peer.accounts:
            return Visitor()
        for value in invite.raw("Authorization"):
            given = _read(from_wire(value))
            if given is not None:
                return self._judge(given, peer, invite, host)
        return self._challenge(stale=False)

    def _judge(self, given: _Credentials, peer: Peer, invite: Request, host: str) -> Visitor | Refusal:
        made_at = self._made_at(given.nonce)
        if made_at is None or not _is_right(given, peer, invite):
            log.warning("an INVITE from %s has wrong credentials", host)
            return self._challenge(stale=False)
        is_fresh = self._now() - made_at <= NONCE_LIFETIME_S * 1000 and self._use(given, made_at, invite.via.branch)
        return Visitor(given.username) if is_fresh else self._challenge(stale=True)

    def _challenge(self, *, stale: bool) -> Refusal:
        nonce = self._nonce(self._now())
        tail = ", stale=true" if stale else ""
        headers: list[Header] = [
            ("WWW-Authenticate", f'Digest realm="{REALM}", nonce="{nonce}", algorithm={name}, qop="auth"{tail}')
            for name in OFFERED
        ]
        return Refusal(401, tuple(headers))

    def _use(self, given: _Credentials, made_at: int, branch: str) -> bool:
        """Note a use of a nonce; False for a count that was used. The same branch is the same request once more."""
        count = int(given.count, 16)
        used = self._used.get(given.nonce)
        if used is None and made_at < self._floor:
            return False
        if used is not None and count <= used[0]:
            return used == (count, branch)
        while used is None and len(self._used) >= MAX_USED_NONCES:
            oldest = next(iter(self._used))
            self._floor = max(self._floor, (self._made_at(oldest) or 0) + 1)
            del self._used[oldest]
        self._used[given.nonce] = (count, branch)
        return True

    def _now(self) -> int:
        return int((self._clock.monotonic() - self._born) * 1000)

    def _nonce(self, made_at: int) -> str:
        salt = secrets.token_hex(8)
        moment = f"{made_at:016x}"
        return moment + salt + self._seal(moment + salt)

    def _made_at(self, nonce: str) -> int | None:
        """Return when a nonce was made (ms of our own clock); None for one that is not ours."""
        found = _NONCE.match(nonce)
        if found is None or not hmac.compare_digest(self._seal(nonce[:32]), nonce[32:]):
            return None
        return int(found[1], 16)

    def _seal(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()[:32]


def _read(value: str) -> _Credentials | None:
    """Read an Authorization header; None unless it answers a challenge such as ours."""
    given = digest_parameters(value)
    if given is None or not _COUNT.match(given.get("nc", "")) or given.get("qop", "").lower() != "auth":
        return None
    name = given.get("algorithm", "MD5").upper()
    wanted = ("username", "nonce", "uri", "response", "cnonce")
    if name not in OFFERED or name not in ALGORITHMS or not all(given.get(part) for part in wanted):
        return None
    challenge = Challenge(
        realm=REALM,
        nonce=given["nonce"],
        hash_name=name,
        sess=False,
        algorithm=name,
        qop="auth",
        opaque=None,
        stale=False,
    )
    return _Credentials(
        username=_ESCAPED.sub(r"\1", given["username"]),
        nonce=given["nonce"],
        challenge=challenge,
        uri=given["uri"],
        response=given["response"].lower(),
        count=given["nc"],
        cnonce=given["cnonce"],
    )


def _is_right(given: _Credentials, peer: Peer, invite: Request) -> bool:
    """Say whether credentials fit one of the peer's accounts and this very request."""
    password = peer.accounts.get(given.username)
    expected = digest_response(
        given.challenge,
        username=given.username,
        password=password or "",
        method=invite.method,
        uri=given.uri,
        body=invite.body,
        nc=given.count,
        cnonce=given.cnonce,
    )
    matches = hmac.compare_digest(expected.encode(), given.response.encode())
    return matches and password is not None and to_wire(given.uri) == invite.uri
