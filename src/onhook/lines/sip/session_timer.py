"""Session timers (RFC 4028): the dead man's switch of a dialog. Decisions only; the engine owns the clocks.

One side refreshes the session at half of its interval with an UPDATE or a re-INVITE; the other side ends
the call when no refresh comes. So a call ends even when one side of it has died.

    our INVITE         request_headers(SESSION_EXPIRES)      -> headers
    422 came           retry_interval(min_se, interval)      -> the interval to try again with, or None
    2xx came           on_answer(session_expires, ...)       -> SessionTimer, or None: no timer runs
    our refresh        refresh_headers(timer)                -> headers; its 2xx goes through on_answer again
    peer's refresh     on_refresh(session_expires, ...)      -> accept with headers and a timer, or 422
"""

import re
from enum import StrEnum

import msgspec

MIN_SE_S = 90
"""The smallest interval that we accept from a peer's request, and what an absent Min-SE means (section 5)."""

_SHORTEST_S = 2
_LONGEST_S = 86_400 * 365
_DELTA_SECONDS = re.compile(r"\s*(\d{1,10})\s*(?:;|$)")
_REFRESHER = re.compile(r";\s*refresher\s*=\s*(uac|uas)\s*(?:;|$)", re.I)


class Refresher(StrEnum):
    """Who keeps the session alive, seen from us."""

    US = "us"
    PEER = "peer"


class SessionTimer(msgspec.Struct, frozen=True):
    """A running session timer. `method` is what our own refresh would be sent as."""

    refresher: Refresher
    interval_s: int
    method: str = "INVITE"

    @property
    def refresh_after_s(self) -> float:
        """Seconds from the last refresh to our next one; half of the interval (section 7.2)."""
        return self.interval_s / 2

    @property
    def dead_after_s(self) -> float:
        """Seconds from the last refresh after which whoever got none sends the BYE (section 10)."""
        return self.interval_s - min(32.0, self.interval_s / 3)


class RefreshAnswer(msgspec.Struct, frozen=True):
    """What to do with a peer's re-INVITE or UPDATE.

    `status` is 200 or 422; `headers` go into that response; `timer` runs from now on (None: no timer).
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    timer: SessionTimer | None = None


def request_headers(interval_s: int, min_se_s: int = MIN_SE_S) -> list[tuple[str, str]]:
    """Return the headers of an initial INVITE; the answering side chooses the refresher (section 7.1).

    `Supported: timer` is the engine's, with the rest of what it supports. Pass the Min-SE of a 422 on.
    """
    headers = [("Session-Expires", str(max(interval_s, min_se_s)))]
    return headers if min_se_s == MIN_SE_S else [*headers, ("Min-SE", str(min_se_s))]


def refresh_headers(timer: SessionTimer) -> list[tuple[str, str]]:
    """Return the headers of a re-INVITE or UPDATE of ours; it keeps the refresher where it is (section 7.4)."""
    role = "uac" if timer.refresher is Refresher.US else "uas"
    return [("Session-Expires", f"{timer.interval_s};refresher={role}")]


def retry_interval(min_se: str | None, interval_s: int) -> int | None:
    """Return the interval for the one retry after a 422, from its Min-SE; None when that makes no sense."""
    wanted = _seconds(min_se)
    return wanted if wanted is not None and wanted > interval_s else None


def on_answer(session_expires: str | None, *, allow: list[str]) -> SessionTimer | None:
    """Read the 2xx to our INVITE or refresh (section 7.2).

    Without a readable Session-Expires the session does not expire. Without a refresher parameter we
    refresh: that is right when the peer expects it and harmless when it does not. `allow` holds the methods
    of the peer's Allow headers.
    """
    interval_s = _seconds(session_expires)
    if session_expires is None or interval_s is None:
        return None
    refresher = Refresher.PEER if _role(session_expires) == "uas" else Refresher.US
    return SessionTimer(refresher, interval_s, refresh_method(allow))


def on_refresh(
    session_expires: str | None, *, min_se: str | None, supported: bool, allow: list[str], interval_s: int
) -> RefreshAnswer:
    """Decide on a peer's INVITE, re-INVITE or UPDATE (section 9, table 2).

    `supported` says whether its Supported header has `timer`, `interval_s` is what we would like. A peer that
    supports timers but asks for none gets ours; one that cannot have a timer keeps none, unless a proxy on
    the way asked for one: then the refreshing is ours.
    """
    asked = _seconds(session_expires)
    if asked is not None and asked < MIN_SE_S and supported:  # Without the extension nobody there could read a 422.
        return RefreshAnswer(422, (("Min-SE", str(MIN_SE_S)),))
    if asked is None:
        if not supported:
            return RefreshAnswer(200)
        asked = max(interval_s, MIN_SE_S, _seconds(min_se) or 0)
    peer_refreshes = supported and _role(session_expires or "") != "uas"
    refresher = Refresher.PEER if peer_refreshes else Refresher.US
    headers = [("Session-Expires", f"{asked};refresher={'uac' if peer_refreshes else 'uas'}")]
    if peer_refreshes:
        headers.append(("Require", "timer"))
    return RefreshAnswer(200, tuple(headers), SessionTimer(refresher, asked, refresh_method(allow)))


def refresh_method(allow: list[str]) -> str:
    """Return how to refresh: UPDATE where the peer allows it, for it carries no offer (section 7.4)."""
    return (
        "UPDATE" if "UPDATE" in {method.strip().upper() for value in allow for method in value.split(",")} else "INVITE"
    )


def _seconds(value: str | None) -> int | None:
    found = _DELTA_SECONDS.match(value or "")
    seconds = int(found.group(1)) if found else 0
    return seconds if _SHORTEST_S <= seconds <= _LONGEST_S else None


def _role(value: str) -> str | None:
    found = _REFRESHER.search(value)
    return found.group(1).lower() if found else None
