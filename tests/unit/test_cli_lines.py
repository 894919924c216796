"""One line for people: calls, ledgers, selectors, events."""

from typing import Any

import pytest

from onhook.cli.show import call_line, event_line, ledger_line, selector_words

pytestmark = pytest.mark.unit

REQUESTED_AT = "2026-11-20T15:00:00.000Z"
ITEM: dict[str, Any] = {
    "call_id": "call_1",
    "state_before": "answered",
    "first": True,
    "result": "confirmed",
    "state": "ended",
    "outcome": "completed",
    "confirmed_at": "2026-11-20T15:00:00.031Z",
}
SELECTOR: dict[str, Any] = {
    "agent_ids": [],
    "trunk_ids": [],
    "number_prefixes": [],
    "states": [],
    "older_than_ms": None,
    "metadata": {},
    "all": False,
}


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ({}, "call_1  answered   ended     completed  confirmed after 31 ms"),
        ({"first": False}, "call_1  answered   ended     completed  confirmed, not by this stop"),
        (
            {"state": "ending", "result": "pending", "confirmed_at": None},
            "call_1  answered   ending    completed  pending",
        ),
        (
            {"state": "answered", "result": "pending", "first": None, "outcome": None, "confirmed_at": None},
            "call_1  answered   answered  -          pending",
        ),
        ({"result": None, "first": None, "state": "answered"}, "call_1  answered"),
        ({"result": None, "state": None}, "call_1  answered   deleted since"),
    ],
)
def test_a_line_of_a_ledger_tells_how_the_call_stood_and_stands(item: dict[str, Any], line: str) -> None:
    assert ledger_line(ITEM | item, REQUESTED_AT) == line


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ({"all": True}, "--all"),
        ({"agent_ids": ["a", "b"], "trunk_ids": ["t"]}, "--agent a --agent b --trunk t"),
        ({"number_prefixes": ["+44", "+12025550100"]}, "--prefix +44 --prefix ********0100"),
        ({"states": ["ringing"], "older_than_ms": 90_500}, "--state ringing --older-than 90.5s"),
        ({"older_than_ms": 0}, "--older-than 0s"),
        (
            {"metadata": {"campaign": "spring", "to": "+12025550100"}},
            "--metadata campaign=spring --metadata to=********0100",
        ),
    ],
)
def test_a_selector_reads_as_the_options_that_make_it(selector: dict[str, Any], words: str) -> None:
    assert selector_words(SELECTOR | selector) == words


def test_numbers_are_hidden_unless_they_are_wanted() -> None:
    call: dict[str, Any] = {
        "created_at": REQUESTED_AT,
        "call_id": "call_1",
        "from_number": "+12025550100",
        "to_number": "+4930123456",
    }
    call |= {"state": "answered", "outcome": None, "cause": None}
    assert "********0100 -> *******3456" in call_line(call)
    assert "+12025550100 -> +4930123456" in call_line(call, numbers=True)
    turn = {"role": "user", "text": "Call me at +12025550100."}
    event = {"id": 7, "at": REQUESTED_AT, "call_id": "call_1", "type": "call.turn", "data": turn}
    assert event_line(event).endswith('caller: "Call me at ********0100."')
    assert event_line(event, numbers=True).endswith('caller: "Call me at +12025550100."')


def test_a_timer_tells_its_moment_and_who_set_it() -> None:
    data = {"at": "2026-11-20T16:00:00.000Z", "actor": "api_key:key_1"}
    for kind in ("call.stop_scheduled", "call.stop_unscheduled", "call.farewell_started"):
        event = {"id": 7, "at": REQUESTED_AT, "call_id": "call_1", "type": kind, "data": data}
        assert event_line(event).endswith("2026-11-20T16:00:00.000Z by api_key:key_1")
