"""The state table: what it allows, and what nothing can undo."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.calls.states import LIVE, OVER, TRANSITIONS, Input, State, mermaid, next_state, sources, target

pytestmark = pytest.mark.unit

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "states.md"


def test_every_state_has_a_row_and_every_input_leads_to_one_state() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {happened: target(happened) for happened in Input} == {
        Input.DIAL: State.DIALING,
        Input.ARRIVE: State.RINGING,
        Input.RING: State.RINGING,
        Input.ANSWER: State.ANSWERED,
        Input.STOP: State.ENDING,
        Input.SETTLE: State.ENDED,
    }


def test_a_stop_is_possible_in_every_live_state_and_nowhere_else() -> None:
    assert sources(Input.STOP) == LIVE


def test_live_and_over_share_nothing_and_leave_nothing_out() -> None:
    assert not LIVE & OVER
    assert set(State) == LIVE | OVER


def test_ended_has_no_exit() -> None:
    assert all(next_state(State.ENDED, happened) is None for happened in Input)


def test_ending_leads_only_to_ended() -> None:
    after = {next_state(State.ENDING, happened) for happened in Input}
    assert after == {None, State.ENDED}


def test_a_scheduled_call_cannot_settle_without_a_stop() -> None:
    assert State.SCHEDULED not in sources(Input.SETTLE)


def test_a_200_without_a_180_answers_a_dialing_call() -> None:
    assert next_state(State.DIALING, Input.ANSWER) is State.ANSWERED


@given(
    st.sampled_from([State.SCHEDULED, State.DIALING, State.RINGING]),
    st.lists(st.sampled_from(list(Input)), max_size=30),
)
def test_any_order_of_inputs_ends_at_most_once_and_never_revives(state: State, inputs: list[Input]) -> None:
    entered_ended = 0
    was_over = False
    for happened in inputs:
        after = next_state(state, happened)
        if after is None:
            continue
        entered_ended += after is State.ENDED
        assert not (was_over and after in LIVE)
        was_over = was_over or after in OVER
        state = after
    assert entered_ended <= 1


def test_the_diagram_in_the_documentation_is_drawn_from_the_table() -> None:
    assert mermaid() in REFERENCE.read_text()
    for state, row in TRANSITIONS.items():
        for happened, after in row.items():
            assert f"{state} --> {after}: {happened}" in mermaid()
