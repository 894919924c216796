"""Which calls a selector means, and which selectors nobody can have meant."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.calls.call import CallDetails
from onhook.calls.selector import CallSelector, SelectorError, check, check_new, matches, matches_new
from onhook.calls.states import LIVE, State
from onhook.testing.calls import sample_call

pytestmark = pytest.mark.unit

NOW = 1_800_000_000_000
METADATA = {"team": "blue", "batch": 7, "paid": True, "note": None, "rate": 0.5, "tags": ["a", "b"]}
CALL = sample_call(
    agent_id="agent_1",
    trunk_id="trunk_1",
    to_number="+442071838750",
    state=State.RINGING,
    created_at=NOW - 60_000,
    details=CallDetails(metadata=METADATA),
)

IDENTITY: list[tuple[dict[str, Any], bool]] = [
    ({"all": True}, True),
    ({}, False),
    ({"agent_ids": ("agent_1",)}, True),
    ({"agent_ids": ("agent_2", "agent_1")}, True),
    ({"agent_ids": ("agent_2",)}, False),
    ({"agent_ids": ("agent_",)}, False),
    ({"trunk_ids": ("trunk_1",)}, True),
    ({"trunk_ids": ("trunk_2",)}, False),
    ({"number_prefixes": ("+44",)}, True),
    ({"number_prefixes": ("+1", "+4420")}, True),
    ({"number_prefixes": ("+1", "44")}, False),
    ({"number_prefixes": ("+442071838750",)}, True),
    ({"metadata": {"team": "blue"}}, True),
    ({"metadata": {"team": "red"}}, False),
    ({"metadata": {"team": "blue", "batch": "7"}}, True),
    ({"metadata": {"team": "blue", "batch": "8"}}, False),
    ({"metadata": {"batch": "7.0"}}, False),
    ({"metadata": {"paid": "true"}}, True),
    ({"metadata": {"paid": "True"}}, False),
    ({"metadata": {"note": "null"}}, True),
    ({"metadata": {"rate": "0.5"}}, True),
    ({"metadata": {"tags": '["a","b"]'}}, True),
    ({"metadata": {"missing": ""}}, False),
    ({"agent_ids": ("agent_1",), "number_prefixes": ("+44",), "metadata": {"team": "blue"}}, True),
    ({"agent_ids": ("agent_1",), "number_prefixes": ("+33",)}, False),
    ({"agent_ids": ("agent_2",), "number_prefixes": ("+44",)}, False),
    ({"agent_ids": ("agent_1",), "trunk_ids": ("trunk_2",)}, False),
]


@pytest.mark.parametrize(("conditions", "expected"), IDENTITY)
def test_what_a_call_is_counts_before_and_after_it_was_dialled(conditions: dict[str, Any], expected: bool) -> None:
    selector = CallSelector(**conditions)
    assert matches(selector, CALL, NOW) is expected
    assert matches_new(selector, CALL) is expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"states": (State.RINGING,)}, True),
        ({"states": (State.ANSWERED, State.DIALING)}, False),
        ({"older_than_ms": 60_000}, True),
        ({"older_than_ms": 60_001}, False),
        ({"older_than_ms": 0}, True),
        ({"states": (State.RINGING,), "older_than_ms": 60_001}, False),
        ({"states": (State.ANSWERED,), "older_than_ms": 0}, False),
    ],
)
def test_states_and_age_count_for_a_call_that_is_there_and_mean_no_new_one(
    conditions: dict[str, Any], expected: bool
) -> None:
    assert matches(CallSelector(**conditions), CALL, NOW) is expected
    assert not matches_new(CallSelector(**conditions), CALL)
    with_agent = CallSelector(agent_ids=("agent_1",), **conditions)
    assert matches(with_agent, CALL, NOW) is expected
    assert matches_new(with_agent, CALL)


@given(
    state=st.sampled_from(State),
    age=st.integers(0, 10**9),
    older_than_ms=st.integers(0, 10**9),
    states=st.lists(st.sampled_from(State), min_size=1).map(tuple),
)
def test_all_conditions_hold_together(state: State, age: int, older_than_ms: int, states: tuple[State, ...]) -> None:
    call = msgspec.structs.replace(CALL, state=state, created_at=NOW - age)
    by_state, by_age = CallSelector(states=states), CallSelector(older_than_ms=older_than_ms)
    both = CallSelector(states=states, older_than_ms=older_than_ms)
    assert matches(both, call, NOW) is (matches(by_state, call, NOW) and matches(by_age, call, NOW))


@pytest.mark.parametrize(
    ("conditions", "complaint"),
    [
        ({}, "say so with `all`"),
        ({"all": True, "agent_ids": ("agent_1",)}, "no other condition"),
        ({"all": True, "states": (State.RINGING,)}, "no other condition"),
        ({"all": True, "older_than_ms": 0}, "no other condition"),
        ({"states": (State.RINGING, State.ENDED)}, "only live calls"),
        ({"states": (State.ENDING,)}, "only live calls"),
        ({"older_than_ms": -1}, "at least 0"),
        ({"agent_ids": ("",)}, "at least one character"),
        ({"trunk_ids": ("trunk_1", "")}, "at least one character"),
        ({"number_prefixes": ("",)}, "at least one character"),
    ],
)
def test_a_selector_that_nobody_can_have_meant_is_refused(conditions: dict[str, Any], complaint: str) -> None:
    for refuse in (check, check_new):
        with pytest.raises(SelectorError, match=complaint):
            refuse(CallSelector(**conditions))


@pytest.mark.parametrize(
    "conditions",
    [{"all": True}, {"agent_ids": ("a",)}, {"metadata": {"k": ""}}, {"number_prefixes": ("+1",), "older_than_ms": 5}],
)
def test_a_selector_that_says_something_is_taken(conditions: dict[str, Any]) -> None:
    check(CallSelector(**conditions))
    check_new(CallSelector(**conditions))


@pytest.mark.parametrize("conditions", [{"states": tuple(LIVE)}, {"older_than_ms": 0}])
def test_a_block_must_say_something_of_calls_that_are_not_dialled_yet(conditions: dict[str, Any]) -> None:
    check(CallSelector(**conditions))
    with pytest.raises(SelectorError, match="not dialled yet"):
        check_new(CallSelector(**conditions))
