"""Asking for digest credentials and judging them (RFC 3261 22, RFC 7616, RFC 8760)."""

import hashlib
import re
import secrets

import msgspec

from onhook.lines.sandbox.numbers import PASSWORD, REALM, USERNAME, Challenge
from onhook.lines.sandbox.uas import Request, Response

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
_PAIR = re.compile(r"""(\w+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,]+))""")
_HEADERS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


class Demand(msgspec.Struct, frozen=True):
    """A challenge as it was sent, with its nonce."""

    challenge: Challenge
    nonce: str

    @property
    def header(self) -> tuple[str, str]:
        """The header of the 401 or 407 that carries the challenge."""
        stale = ", stale=true" if self.challenge.stale else ""
        value = f'Digest realm="{REALM}", nonce="{self.nonce}", algorithm={self.challenge.algorithm}, qop="auth"{stale}'
        return _HEADERS[self.challenge.status][0], value


class Door:
    """Lets a request pass once it has met each of the challenges in turn."""

    def __init__(self, challenges: tuple[Challenge, ...]) -> None:
        self._left = list(challenges)
        self._asked: Demand | None = None
        self._faults: list[str] = []

    def check(self, request: Request) -> Demand | None:
        """Return what to demand of `request`, or None to let it pass."""
        if self._asked is not None:
            fault = fault_in(request, self._asked)
            if fault is None:
                self._left.pop(0)
            else:
                self._faults.append(fault)
        if not self._left:
            self._asked = None
            return None
        self._asked = Demand(self._left[0], secrets.token_hex(16))
        return self._asked

    def take_faults(self) -> list[str]:
        """Return what was wrong with credentials since the last time."""
        faults, self._faults = self._faults, []
        return faults


def fault_in(request: Request, demand: Demand) -> str | None:
    """Return what is wrong with the credentials of `request` as an answer to `demand`, None when they are right."""
    name = _HEADERS[demand.challenge.status][1]
    scheme, _, rest = request.header(name).partition(" ")
    if scheme.lower() != "digest":
        return f"{request.method} came again without {name}"
    given = {key.lower(): quoted or plain for key, quoted, plain in _PAIR.findall(rest)}
    algorithm = demand.challenge.algorithm
    expected = {
        "username": USERNAME,
        "realm": REALM,
        "nonce": demand.nonce,
        "uri": request.uri,
        "qop": "auth",
        "nc": "00000001",
    }
    if given.get("algorithm", "MD5").upper() != algorithm:
        return f"{name}: algorithm is not {algorithm}"
    wrong = [key for key, value in expected.items() if given.get(key) != value]
    if wrong or not given.get("cnonce"):
        return f"{name}: wrong or missing {', '.join(wrong) or 'cnonce'}"
    if given.get("response", "").lower() != _response(request, given, algorithm):
        return f"{name}: wrong response"
    return None


def answer_to_challenge(refusal: Response, method: str, uri: str, username: str, password: str) -> tuple[str, str]:
    """Return the credentials that answer the first challenge of a 401 whose hash is known. Raises `ValueError`."""
    lines = [value for name, value in refusal.headers if name.lower() == "www-authenticate"]
    for line in lines:
        asked = {key.lower(): quoted or plain for key, quoted, plain in _PAIR.findall(line.partition(" ")[2])}
        algorithm = asked.get("algorithm", "MD5").upper()
        if algorithm in _HASHES:
            nonce, cnonce, count = asked["nonce"], secrets.token_hex(8), "00000001"
            first = _digest(f"{username}:{asked['realm']}:{password}", algorithm)
            second = _digest(f"{method}:{uri}", algorithm)
            answer = _digest(f"{first}:{nonce}:{count}:{cnonce}:auth:{second}", algorithm)
            return (
                "Authorization",
                f'Digest username="{username}", realm="{asked["realm"]}", nonce="{nonce}", uri="{uri}", '
                f'algorithm={algorithm}, qop=auth, nc={count}, cnonce="{cnonce}", response="{answer}"',
            )
    raise ValueError("no challenge with MD5 or SHA-256")


def _digest(text: str, algorithm: str) -> str:
    return _HASHES[algorithm](text.encode()).hexdigest()


def _response(request: Request, given: dict[str, str], algorithm: str) -> str:
    first = _digest(f"{USERNAME}:{REALM}:{PASSWORD}", algorithm)
    second = _digest(f"{request.method}:{given['uri']}", algorithm)
    used = f"{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}"
    return _digest(f"{first}:{used}:{second}", algorithm)
