"""The reference page of the TalkOver API names every endpoint, every event and every limit that the code has."""

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from onhook.api.talkover.payloads import EMITTED, EVENTS, NEVER_EMITTED
from onhook.api.talkover.routes import ROUTERS
from onhook.webhooks.retries import DIALECT_DELAYS_S

pytestmark = pytest.mark.dialect

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "talkover.md").read_text()


def section(title: str) -> str:
    """Return what stands under a heading."""
    return re.split(r"^#+ ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_endpoint_is_listed_and_no_other() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    listed = set(re.findall(r"(/[a-z][^`\s]*)`", section("Endpoints").partition("| --- |")[2]))

    assert listed == {route.path.removeprefix("/api/v1") for route in routes}


def test_every_event_is_listed_as_sent_or_never_sent() -> None:
    sent, never = section("Which events are sent").split("Can be subscribed to, and are never sent:")

    assert set(re.findall(r"event_[a-z_]+", sent)) == {name for names in EMITTED.values() for name in names}
    assert tuple(re.findall(r"event_[a-z_]+", never)) == NEVER_EMITTED
    assert set(re.findall(r"event_[a-z_]+", PAGE)) == set(EVENTS)


def test_the_delays_are_those_of_the_courier() -> None:
    assert "5 s, 30 s, 2 min, 10 min, 30 min, then 1 h" in PAGE
    assert DIALECT_DELAYS_S == (5, 30, 120, 600, 1800, 3600)
