"""Scripts of the scripted agent: what is read, and how faults are told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from onhook.agents.definition import AgentDefinition, AgentKind, Consent, DefinitionError
from onhook.agents.scripted.script import (
    DATA,
    Phrases,
    announcement,
    built_in_phrases,
    default_script,
    in_language,
    parse_script,
    phrases_for,
)

pytestmark = pytest.mark.unit

END = {"say": "Bye.", "hang_up": True}


def script(**states: dict[str, Any]) -> dict[str, Any]:
    return {"start": "a", "states": {"a": {"expect": [{"keys": "1", "goto": "end"}]}, "end": END, **states}}


def asking(**answer: Any) -> dict[str, Any]:
    return script(a={"expect": [{"goto": "end", **answer}]})


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "script: Object missing required field `start`"),
    ({"start": "b", "states": {"a": END}}, "script.start: there is no state 'b'"),
    ({"start": "a", "states": {}}, "script.states: Expected `object` of length >= 1"),
    ({"start": "a", "states": {"a": END}, "begin": "a"}, "script: Object contains unknown field `begin`"),
    ({"start": "a", "states": {"a": END}, "phrases": {"hello": "x"}}, "script.phrases.hello: no such phrase"),
    (script(a={"say": 1}), "script.states.a.say: Expected `str | object`, got `int`"),
    (script(a={"say": {"english": "x"}, "hang_up": True}), "script.states.a: Expected `str` matching regex"),
    (script(a={"hangup": True}), "script.states.a: Object contains unknown field `hangup`"),
    (script(a={"say": "x"}), "script.states.a: must have exactly one of expect, goto and hang_up"),
    (script(a={"goto": "end", "hang_up": True}), "script.states.a: must have exactly one of"),
    (script(a={"goto": "z"}), "script.states.a.goto: there is no state 'z'"),
    (script(b=END), "script.states.b: cannot be reached from the start"),
    (asking(), "script.states.a.expect[0]: needs words or keys"),
    (asking(keys=1), "script.states.a.expect[0].keys: Expected `str`, got `int`"),
    (asking(keys="1x"), "script.states.a.expect[0].keys: 'x' is on no phone"),
    (asking(keys="11"), "script.states.a.expect[0]: '1' is expected twice"),
    (asking(words=["yes", True]), "script.states.a.expect[0]: 'yes' is expected twice"),
    (asking(words=["sí"]), "script.states.a.expect[0].words: 'sí': only English words"),
    (asking(words=["yes; public <x> = no"]), "script.states.a.expect[0].words: "),
    (asking(keys="1", action={"name": ""}), "script.states.a.expect[0].action.name: Expected `str` of length >= 1"),
    (script(a={"retries": 10, **END}), "script.states.a.retries: Expected `int` <= 9"),
    (script(a={**asking(keys="1")["states"]["a"], "on_silence": {"goto": "z"}}), "script.states.a.on_silence.goto: "),
    ({"start": "a", "states": {"a": {"goto": "b"}, "b": {"goto": "a"}}}, "script.states.a: no way out"),
    ({"start": "a", "states": {"a": {"expect": [{"keys": "1", "goto": "a"}]}}}, "script.states.a: no way out"),
    ({"say": "x"}, "script.states.only: must have exactly one of"),
]


@pytest.mark.parametrize(("given", "message"), FAULTS)
def test_a_fault_is_told_with_its_path(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_script(given)
    assert str(caught.value).startswith(message)


def test_states_that_talk_in_a_ring_are_a_fault_even_beside_a_way_out() -> None:
    ring = {"goto": "c", "on_silence": {"goto": "end"}}
    with pytest.raises(DefinitionError, match="leads back here without waiting"):
        parse_script(script(a={"goto": "b"}, b=ring, c={"goto": "b"}))


def test_a_bare_yes_of_yaml_means_the_word() -> None:
    answers = yaml.safe_load("[{words: [yes, Yes please], goto: end}, {words: [no], goto: end}]")
    parsed = parse_script(script(a={"expect": answers}))
    assert [answer.phrases for answer in parsed.states["a"].expect] == [("yes", "yes please"), ("no",)]


def test_a_line_alone_is_a_script_of_one_state() -> None:
    parsed = parse_script({"say": "Sorry, goodbye.", "hang_up": True})
    assert not parsed.asks
    assert parsed.states[parsed.start].say == "Sorry, goodbye."


def test_an_announcement_keeps_the_voice_and_leaves_all_that_would_delay_it() -> None:
    agent = AgentDefinition(
        kind=AgentKind.WEBSOCKET,
        language="pt-BR",
        voice="pt-br+f2",
        initial_message="Hello",
        initial_delay_ms=5000,
        agent_speaks_first=False,
        record=True,
        consent=Consent.ASK,
    )
    said = announcement(agent, "Desculpe.")
    assert (said.kind, said.language, said.voice) == (AgentKind.SCRIPTED, "pt-BR", "pt-br+f2")
    assert (said.initial_message, said.initial_delay_ms, said.agent_speaks_first) == (None, 0, True)
    assert said.consent is Consent.NONE
    assert said.script is not None
    assert parse_script(said.script).states["only"].say == "Desculpe."


@pytest.mark.parametrize(
    ("language", "said"), [("pt-BR", "b"), ("pt-PT", "p"), ("PT", "p"), ("en-US", "e"), ("fr-FR", "e")]
)
def test_a_text_is_chosen_by_tag_then_language_then_english(language: str, said: str) -> None:
    assert in_language({"en": "e", "pt": "p", "pt-BR": "b"}, language) == said


def test_a_text_without_english_falls_back_to_the_first() -> None:
    assert in_language({"es": "hola", "pt": "olá"}, "fr") == "hola"


def test_a_script_replaces_single_phrases() -> None:
    phrases = phrases_for("es-MX", {"farewell": {"es": "Chao."}})
    assert phrases.farewell == "Chao."
    assert phrases.still_there == built_in_phrases()["es"].still_there


def test_the_reference_shows_the_built_in_script_and_all_phrases() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "scripts.md").read_text(encoding="utf-8")
    shown = page.rpartition("```text\n")[2].partition("```")[0]
    assert yaml.safe_load(shown) == yaml.safe_load((DATA / "scripts" / "default.yaml").read_text(encoding="utf-8"))
    assert all(f"`{name}`" in page for name in Phrases.__struct_fields__)


def test_the_built_in_script_speaks_three_languages_whole() -> None:
    spoken = [default_script().greeting, *(state.say for state in default_script().states.values())]
    for text in spoken:
        assert isinstance(text, dict)
        assert set(text) == set(built_in_phrases()) == {"en", "es", "pt"}
