"""The parts of the Realtime agent that need no socket: responses, what is said, keys, session settings."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from onhook.agents.messages import Speech, Word
from onhook.agents.openai_events import ErrorBody
from onhook.agents.openai_responses import ModelSpeech, Responses
from onhook.agents.providers.deadlines import Deadline, Limits
from onhook.agents.turns import Hearing, Keypad, Said, Speaking
from tests.providers.line import FakeLine

pytestmark = pytest.mark.unit

FRAME = b"\x20" * 160
"""20 ms."""


class Sent:
    """What was sent to the provider."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


def _responses(sent: Sent) -> Responses:
    return Responses(sent, Deadline(lambda _: None), Limits())


async def test_a_response_is_asked_for_when_the_present_one_is_done() -> None:
    sent = Sent()
    responses = _responses(sent)
    responses.begun()

    responses.ask({"instructions": "first"})
    responses.ask({"instructions": "second"})
    assert sent.events == []

    assert responses.done() is True
    assert [event["response"] for event in sent.events] == [{"instructions": "second"}]


async def test_a_response_is_not_asked_for_twice_before_it_begins() -> None:
    sent = Sent()
    responses = _responses(sent)

    responses.ask({"n": 1})
    responses.ask({"n": 2})

    assert sent.types == ["response.create"]
    responses.begun()
    assert responses.done() is True
    assert sent.events[-1]["response"] == {"n": 2}


async def test_a_refusal_that_is_none_of_ours_is_told_apart() -> None:
    responses = _responses(Sent())

    assert responses.refused() is False


async def test_only_a_response_that_is_made_is_cancelled() -> None:
    sent = Sent()
    responses = _responses(sent)

    responses.cancel()
    responses.begun()
    responses.cancel()

    assert sent.types == ["response.cancel"]


async def test_a_deadline_that_was_moved_passes_once() -> None:
    passed: list[float] = []
    deadline = Deadline(passed.append)

    deadline.set(5)
    deadline.set(0)
    await asyncio.sleep(0.01)

    assert passed == [0]


async def test_a_text_that_comes_after_its_audio_is_told() -> None:
    line = FakeLine()
    speech = ModelSpeech(line, Sent())

    speech.audio("a", FRAME)
    speech.text_done("a", "Hello there")
    speech.end()

    assert line.wishes == [("say", ""), ("say", "Hello there"), ("mark", "said-1")]


async def test_an_item_that_was_cut_is_neither_played_nor_told_any_more() -> None:
    line, sent = FakeLine(), Sent()
    speech = ModelSpeech(line, sent)
    speech.audio("a", FRAME * 10)
    speech.cut(60)
    told = len(line.wishes)

    speech.audio("a", FRAME)
    speech.text("a", "More.")
    speech.text_done("a", "More and more.")

    assert len(line.wishes) == told
    assert len(line.played) == 1600
    assert sent.events == [
        {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 60}
    ]


async def test_what_was_played_before_counts_as_heard_of_an_interrupted_item() -> None:
    line, sent = FakeLine(), Sent()
    speech = ModelSpeech(line, sent)
    speech.text("a", "One sentence.")
    speech.audio("a", FRAME * 5)
    speech.text("a", " And another.")
    speech.audio("a", FRAME * 5)
    speech.on_mark("said-1", cleared=False)

    speech.cut(40)

    assert sent.events[0]["audio_end_ms"] == 140


async def test_of_two_things_that_were_said_each_is_cut_where_it_was_heard() -> None:
    speaking = Speaking[str](FakeLine())
    speaking.begin("first", "one two three four")
    speaking.play(FRAME * 10)
    speaking.begin("second", "five six")
    speaking.play(FRAME * 10)
    speaking.end()

    assert speaking.interrupted(100) == [Said("first", "one two", 100), Said("second", "", 0)]
    assert speaking.is_silent


async def test_more_than_there_was_cannot_be_heard() -> None:
    speaking = Speaking[str](FakeLine())
    speaking.begin("a", "one two")
    speaking.play(FRAME * 10)

    assert speaking.interrupted(5_000) == [Said("a", "one two", 200)]


async def test_words_without_audio_were_not_heard() -> None:
    speaking = Speaking[str](FakeLine())
    speaking.begin("a", "one two")

    assert speaking.interrupted(0) == [Said("a", "", 0)]


async def test_a_cleared_mark_is_no_proof_of_hearing() -> None:
    speaking = Speaking[str](FakeLine())
    speaking.begin("a", "one two")
    speaking.play(FRAME * 10)
    speaking.end()

    speaking.on_mark("said-1", cleared=True)
    assert not speaking.is_silent
    speaking.on_mark("said-1", cleared=False)
    assert speaking.is_silent


async def test_keys_are_told_together_after_a_pause() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    keypad = Keypad(told.put_nowait, pause_s=0.01)

    keypad.press("1")
    keypad.press("2")

    assert await told.get() == "12"
    keypad.press("3")
    keypad.press("#")
    assert told.get_nowait() == "3#"


def test_words_are_moved_to_where_the_line_heard_the_turn() -> None:
    line = FakeLine()
    hearing = Hearing(line)
    hearing.note(Speech(started=True, at_ms=5_000))
    hearing.note(Speech(started=False, at_ms=5_800, duration_ms=800))

    hearing.heard("a b", [Word("a", 70_000, 70_200), Word("b", 70_300, 70_500)])

    assert line.all("heard") == [("a b", 5_000, 5_800, (Word("a", 5_000, 5_200), Word("b", 5_300, 5_500)))]


@pytest.mark.parametrize(
    ("error", "is_fatal"),
    [
        (ErrorBody("invalid_request_error", "response_cancel_not_active"), False),
        (ErrorBody("invalid_request_error", "session_expired"), True),
        (ErrorBody("server_error", None), True),
        (ErrorBody("authentication_error", "invalid_api_key"), True),
    ],
)
def test_most_errors_are_about_one_event_only(error: ErrorBody, is_fatal: bool) -> None:
    assert error.is_fatal is is_fatal
