"""Digest authentication as a client (RFC 2617, RFC 7616, in SIP: RFC 3261 section 22 and RFC 8760).

A `DigestSession` answers challenges with one account. It keeps a cnonce and a count for each nonce, so that
later requests of the dialog can carry credentials at once. Challenges come from the network: whatever they
hold, the worst result is `None`.
"""

import hashlib
import re
import secrets
from collections.abc import Callable

import msgspec

_MAX_CHALLENGE_CHARS = 4096
_MAX_NONCES = 16

_SCHEME = re.compile(r"\s*digest\s+", re.I)
_PARAMETER = re.compile(r'\s*([A-Za-z0-9_.!%*+`\'~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')

ALGORITHMS: dict[str, Callable[[bytes], str]] = {
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}
"""Hash functions by their registered name, strongest first; each has a `-sess` variant."""

if "sha512_256" not in hashlib.algorithms_available:
    del ALGORITHMS["SHA-512-256"]

_STRENGTH = list(ALGORITHMS)


class Challenge(msgspec.Struct, frozen=True):
    """One challenge that we can answer.

    `realm`, `nonce` and `opaque` stand as they came between the quotes, escapes included: that is what is
    hashed and sent back (RFC 7616 section 3.4). `algorithm` is the name to echo, or None when none was given.
    `qop` is `auth`, `auth-int`, or None for the old form of RFC 2069.
    """

    realm: str
    nonce: str
    hash_name: str
    sess: bool
    algorithm: str | None
    qop: str | None
    opaque: str | None
    stale: bool


class _NonceUse(msgspec.Struct):
    cnonce: str
    count: int = 0


class DigestSession:
    """The credentials of one account and what has been used of them."""

    def __init__(
        self, username: str, password: str, *, new_cnonce: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._username = username
        self._password = password
        self._new_cnonce = new_cnonce
        self._uses: dict[str, _NonceUse] = {}
        self._current: tuple[Challenge, bool] | None = None

    def answer(
        self, challenges: list[str], *, proxy: bool, method: str, uri: str, body: bytes
    ) -> tuple[str, str] | None:
        """Answer the strongest challenge that we support.

        `challenges` are the values of the WWW-Authenticate headers, or of Proxy-Authenticate with `proxy`.
        Returns the name and value of the header to send, or None when there is nothing to answer.
        """
        challenge = strongest(challenges)
        if challenge is None:
            return None
        self._current = (challenge, proxy)
        return self.preemptive(method, uri, body)

    def is_stale(self, challenges: list[str]) -> bool:
        """Return True when the server only wants a fresh nonce, our password was right."""
        challenge = strongest(challenges)
        return challenge is not None and challenge.stale

    def preemptive(self, method: str, uri: str, body: bytes) -> tuple[str, str] | None:
        """Return a header for a further request with the nonce of the last challenge; None before the first."""
        if self._current is None:
            return None
        challenge, proxy = self._current
        use = self._use_of(challenge.nonce)
        use.count += 1
        value = _credentials(challenge, use, self._username, self._password, method, uri, body)
        return ("Proxy-Authorization" if proxy else "Authorization"), value

    def _use_of(self, nonce: str) -> _NonceUse:
        if nonce not in self._uses:
            while len(self._uses) >= _MAX_NONCES:
                del self._uses[next(iter(self._uses))]
            self._uses[nonce] = _NonceUse(self._new_cnonce())
        return self._uses[nonce]


def strongest(challenges: list[str]) -> Challenge | None:
    """Return the challenge with the strongest hash that we support, the first of equals; None if there is none."""
    usable = [challenge for value in challenges if (challenge := parse_challenge(value)) is not None]
    return min(usable, key=lambda challenge: _STRENGTH.index(challenge.hash_name), default=None)


def parse_challenge(value: str) -> Challenge | None:
    """Read one header value; None when it is no Digest challenge, not readable, or of an unknown kind."""
    parameters = digest_parameters(value)
    if parameters is None or "realm" not in parameters or not parameters.get("nonce"):
        return None
    algorithm = parameters.get("algorithm")
    name, dash, suffix = (algorithm or "MD5").upper().rpartition("-SESS")
    hash_name = name if dash else suffix
    if hash_name not in ALGORITHMS or (dash and suffix):
        return None
    offered = parameters.get("qop", "").lower().replace(" ", "").split(",")
    qop = next((known for known in ("auth", "auth-int") if known in offered), None)
    if qop is None and any(offered):
        return None
    return Challenge(
        realm=parameters["realm"],
        nonce=parameters["nonce"],
        hash_name=hash_name,
        sess=bool(dash),
        algorithm=algorithm,
        qop=qop,
        opaque=parameters.get("opaque"),
        stale=parameters.get("stale", "").lower() == "true",
    )


def digest_parameters(value: str) -> dict[str, str] | None:
    """Split `Digest a="b", c=d`, names in lower case.

    None for other schemes, broken syntax and characters that could split a header.
    """
    scheme = _SCHEME.match(value)
    if scheme is None or len(value) > _MAX_CHALLENGE_CHARS or not value.strip().isprintable():
        return None
    text, position = value.strip(), len(scheme.group().lstrip())
    parameters: dict[str, str] = {}
    while position < len(text):
        found = _PARAMETER.match(text, position)
        if found is None:
            return None
        name, quoted, token = found.groups()
        parameters.setdefault(name.lower(), token if quoted is None else quoted)
        position = found.end()
    return parameters


def _credentials(
    challenge: Challenge, use: _NonceUse, username: str, password: str, method: str, uri: str, body: bytes
) -> str:
    count = f"{use.count:08x}"
    response = digest_response(
        challenge, username=username, password=password, method=method, uri=uri, body=body, nc=count, cnonce=use.cnonce
    )
    escaped = username.replace("\\", "\\\\").replace('"', '\\"')
    parts = [f'username="{escaped}"', f'realm="{challenge.realm}"', f'nonce="{challenge.nonce}"', f'uri="{uri}"']
    parts.append(f'response="{response}"')
    if challenge.algorithm is not None:
        parts.append(f"algorithm={challenge.algorithm}")
    if challenge.qop is not None:
        parts += [f"qop={challenge.qop}", f"nc={count}"]
    if challenge.qop is not None or challenge.sess:
        parts.append(f'cnonce="{use.cnonce}"')
    if challenge.opaque is not None:
        parts.append(f'opaque="{challenge.opaque}"')
    return "Digest " + ", ".join(parts)


def digest_response(
    challenge: Challenge, *, username: str, password: str, method: str, uri: str, body: bytes, nc: str, cnonce: str
) -> str:
    """Compute the `response` of RFC 7616 section 3.4.1; without qop that of RFC 2069. `nc` is 8 hexadecimal digits."""

    def digest(data: str) -> str:
        return ALGORITHMS[challenge.hash_name](data.encode())

    a1 = f"{username}:{challenge.realm}:{password}"
    if challenge.sess:
        a1 = f"{digest(a1)}:{challenge.nonce}:{cnonce}"
    a2 = f"{method}:{uri}"
    if challenge.qop == "auth-int":
        a2 = f"{a2}:{ALGORITHMS[challenge.hash_name](body)}"
    if challenge.qop is None:
        return digest(f"{digest(a1)}:{challenge.nonce}:{digest(a2)}")
    return digest(f"{digest(a1)}:{challenge.nonce}:{nc}:{cnonce}:{challenge.qop}:{digest(a2)}")
