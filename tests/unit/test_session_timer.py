"""Session timers: who refreshes, when, and when the call is dead (RFC 4028)."""

import pytest

from onhook.lines.sip.session_timer import (
    Refresher,
    SessionTimer,
    on_answer,
    on_refresh,
    refresh_headers,
    request_headers,
    retry_interval,
)

pytestmark = pytest.mark.unit


def test_an_invite_asks_for_the_interval_and_leaves_the_refresher_open() -> None:
    assert request_headers(1800) == [("Session-Expires", "1800")]


def test_an_invite_after_a_422_repeats_the_peers_minimum() -> None:
    assert request_headers(1800, min_se_s=3600) == [("Session-Expires", "3600"), ("Min-SE", "3600")]


@pytest.mark.parametrize(
    ("min_se", "interval"),
    [("3600", 3600), (" 3600;x=y", 3600), ("90", None), ("x", None), (None, None), ("9" * 11, None)],
)
def test_a_422_is_met_with_a_longer_interval_or_not_at_all(min_se: str | None, interval: int | None) -> None:
    assert retry_interval(min_se, 1800) == interval


@pytest.mark.parametrize(
    ("session_expires", "refresher"),
    [
        ("600;refresher=uac", Refresher.US),
        ("600;refresher=uas", Refresher.PEER),
        ("600 ; Refresher = UAS", Refresher.PEER),
        ("600;x=1;refresher=uas;y=2", Refresher.PEER),
        ("600", Refresher.US),
        ("600;refresher=nobody", Refresher.US),
    ],
)
def test_the_2xx_says_who_refreshes(session_expires: str, refresher: Refresher) -> None:
    timer = on_answer(session_expires, allow=[])
    assert timer == SessionTimer(refresher, 600, "INVITE")


@pytest.mark.parametrize("session_expires", [None, "", "0", "1", "soon", "-5", "9" * 12, "9999999999"])
def test_without_a_sensible_interval_the_session_does_not_expire(session_expires: str | None) -> None:
    assert on_answer(session_expires, allow=[]) is None


@pytest.mark.parametrize(
    ("allow", "method"),
    [(["INVITE, ACK, UPDATE"], "UPDATE"), (["INVITE", "update"], "UPDATE"), (["INVITE,ACK"], "INVITE"), ([], "INVITE")],
)
def test_refreshes_by_update_where_the_peer_allows_it(allow: list[str], method: str) -> None:
    timer = on_answer("600;refresher=uac", allow=allow)
    assert timer is not None
    assert timer.method == method


@pytest.mark.parametrize(("interval", "dead"), [(1800, 1768.0), (96, 64.0), (90, 60.0), (3, 2.0)])
def test_the_refresh_is_due_at_half_and_the_call_dead_shortly_before_the_end(interval: int, dead: float) -> None:
    timer = SessionTimer(Refresher.US, interval)
    assert timer.refresh_after_s == interval / 2
    assert timer.dead_after_s == dead
    assert timer.refresh_after_s < timer.dead_after_s < interval


@pytest.mark.parametrize(("refresher", "role"), [(Refresher.US, "uac"), (Refresher.PEER, "uas")])
def test_a_request_of_ours_keeps_the_refresher(refresher: Refresher, role: str) -> None:
    assert refresh_headers(SessionTimer(refresher, 600)) == [("Session-Expires", f"600;refresher={role}")]


def test_a_refreshing_peer_stays_the_refresher() -> None:
    answer = on_refresh("600;refresher=uac", min_se=None, supported=True, allow=["UPDATE"], interval_s=1800)
    assert answer.headers == (("Session-Expires", "600;refresher=uac"), ("Require", "timer"))
    assert (answer.status, answer.timer) == (200, SessionTimer(Refresher.PEER, 600, "UPDATE"))


def test_a_peer_may_make_us_the_refresher() -> None:
    answer = on_refresh("600;refresher=uas", min_se=None, supported=True, allow=[], interval_s=1800)
    assert answer.headers == (("Session-Expires", "600;refresher=uas"),)
    assert answer.timer == SessionTimer(Refresher.US, 600)


def test_an_open_refresher_becomes_the_peer() -> None:
    answer = on_refresh("600", min_se=None, supported=True, allow=[], interval_s=1800)
    assert answer.timer == SessionTimer(Refresher.PEER, 600)


def test_a_too_short_interval_is_refused_with_our_minimum() -> None:
    answer = on_refresh("60;refresher=uac", min_se=None, supported=True, allow=[], interval_s=1800)
    assert (answer.status, answer.headers, answer.timer) == (422, (("Min-SE", "90"),), None)


def test_a_timer_that_only_a_proxy_wants_is_kept_by_us() -> None:
    for asked in ("600", "600;refresher=uac", "60"):
        answer = on_refresh(asked, min_se=None, supported=False, allow=[], interval_s=1800)
        interval = int(asked.partition(";")[0])
        assert answer.headers == (("Session-Expires", f"{interval};refresher=uas"),)
        assert answer.timer == SessionTimer(Refresher.US, interval)


@pytest.mark.parametrize(("min_se", "interval"), [(None, 1800), ("3600", 3600), ("90", 1800)])
def test_a_peer_that_supports_timers_but_asks_for_none_gets_ours(min_se: str | None, interval: int) -> None:
    answer = on_refresh(None, min_se=min_se, supported=True, allow=[], interval_s=1800)
    assert answer.timer == SessionTimer(Refresher.PEER, interval)


def test_a_peer_without_timers_keeps_none() -> None:
    answer = on_refresh(None, min_se=None, supported=False, allow=[], interval_s=1800)
    assert (answer.status, answer.headers, answer.timer) == (200, (), None)
