"""The turn machine on judgements made up by hand: `v` voice, `l` loud but no voice, `.` neither; 32 ms each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.voice.turns import SPEAKING, TRANSITIONS, Hearing, Onset, Sign, Turn, TurnMachine
from onhook.voice.vad import WINDOW_MS

pytestmark = pytest.mark.unit

ONSET = Onset(sound_ms=96, voiced=2)


def changes(heard: str, onset: Onset = ONSET, hangover_ms: int = 320) -> list[tuple[int, bool, int, int]]:
    """Return for each change the window it came with, whether it is a begin, when the turn began, its last voice."""
    machine = TurnMachine(hangover_ms)
    found = []
    for index, kind in enumerate(heard):
        window = Hearing((index + 1) * WINDOW_MS, voiced=kind == "v", loud=kind in "vl")
        if machine.hear(window, onset):
            found.append((index, machine.speaking, machine.began_ms // WINDOW_MS, machine.last_voice_ms // WINDOW_MS))
    return found


def test_a_turn_begins_with_the_third_window_of_voice_and_is_dated_back() -> None:
    assert changes("....vvvv") == [(6, True, 4, 7)]


def test_a_turn_begins_where_its_sound_began_though_the_model_noticed_later() -> None:
    assert changes("....llvv") == [(7, True, 4, 8)]


def test_a_sound_long_before_the_voice_is_not_the_begin_of_it() -> None:
    assert changes("l" * 40 + "vvv") == [(41, True, 34, 42)]


def test_a_sound_that_has_stopped_before_the_voice_is_not_the_begin_of_it() -> None:
    assert changes("..lll.vvv") == [(8, True, 6, 9)]


def test_loudness_alone_begins_nothing() -> None:
    assert changes("l" * 50) == []


def test_one_window_of_voice_begins_nothing_however_long_the_sound() -> None:
    assert changes("llllvlll......") == []


def test_a_short_gap_within_the_first_windows_is_borne() -> None:
    assert changes("..v.v") == [(4, True, 2, 5)]


def test_a_voice_that_stops_at_once_is_forgotten() -> None:
    assert changes("..v....vv....") == []


def test_a_turn_ends_after_the_hangover_and_is_dated_back_to_its_last_voice() -> None:
    assert changes("vvvvv" + "." * 20) == [(2, True, 0, 3), (14, False, 0, 5)]


def test_a_pause_shorter_than_the_hangover_does_not_end_a_turn() -> None:
    assert changes("vvvv" + "." * 9 + "v" + "." * 10) == [(2, True, 0, 3), (23, False, 0, 14)]


def test_the_onset_asked_for_is_the_one_of_the_moment() -> None:
    assert changes("v" * 10, Onset(sound_ms=192, voiced=4)) == [(5, True, 0, 6)]


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(TRANSITIONS.values()) == set(Turn)
    assert all((state, Sign.ENOUGH_HUSH) in TRANSITIONS for state in (Turn.MAYBE_SPEECH, Turn.MAYBE_OVER))


@given(st.text(alphabet="vl.", max_size=200))
def test_begins_and_ends_alternate_and_each_turn_holds_voice(heard: str) -> None:
    found = changes(heard)
    assert [begin for _, begin, _, _ in found] == [index % 2 == 0 for index in range(len(found))]
    for _, begin, began, last in found:
        assert begin or "v" in heard[began:last]


@given(st.text(alphabet="vl.", max_size=200))
def test_a_long_hush_ends_every_turn(heard: str) -> None:
    machine = TurnMachine(320)
    for index, kind in enumerate(heard + "." * 20):
        machine.hear(Hearing((index + 1) * WINDOW_MS, voiced=kind == "v", loud=kind in "vl"), ONSET)
    assert machine.state is Turn.QUIET
    assert machine.state not in SPEAKING
