"""The sandbox's table of numbers, and the page drawn from it."""

from pathlib import Path

import pytest

from onhook.lines.sandbox.numbers import NUMBERS, Act, Number, markdown_table, number_of

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "failure-sandbox.md"


def test_the_page_shows_the_table_as_it_is() -> None:
    shown = PAGE.read_text().partition("<!-- numbers:begin -->\n")[2].partition("<!-- numbers:end -->")[0]
    assert shown == markdown_table()


def test_the_digits_run_from_00_to_27_without_a_gap() -> None:
    assert [number.digits for number in NUMBERS] == [f"{count:02}" for count in range(28)]


@pytest.mark.parametrize("user", ["+12025550102", "12025550102", "2025550102"])
def test_plus_and_country_code_may_be_left_out(user: str) -> None:
    assert number_of(user).digits == "02"


@pytest.mark.parametrize("user", ["+12025550199", "+12025550202", "+493012345602", "service", ""])
def test_whatever_is_not_in_the_table_is_an_echo(user: str) -> None:
    assert number_of(user).digits == "00"


@pytest.mark.parametrize("number", NUMBERS, ids=[number.digits for number in NUMBERS])
def test_a_script_answers_at_most_once_and_acts_in_the_dialog_only_after_it(number: Number) -> None:
    acts = [step.act for step in number.script]
    answers = [place for place, act in enumerate(acts) if act is Act.ANSWER]
    assert len(answers) <= 1
    later = {Act.HANG_UP, Act.HOLD, Act.RESUME}
    assert all(answers and place > answers[0] for place, act in enumerate(acts) if act in later)
    assert all((step.status >= 300) == (step.act is Act.REFUSE) for step in number.script)
