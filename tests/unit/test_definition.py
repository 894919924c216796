"""What each dialect's words about an agent mean, and what cannot be put on a call."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.agents import placeholders
from onhook.agents.definition import (
    AgentDefinition,
    AgentKind,
    BargeIn,
    DefinitionError,
    IdleRules,
    MachinePolicy,
    Sensitivity,
)
from onhook.agents.placeholders import fill, variables_of
from onhook.agents.reading import LIMITS, OWN, BotUrls, definition_of, unknown_settings
from onhook.agents.words import RETELL, TALKOVER
from onhook.calls.call import CallDetails, Dialect, Direction
from onhook.store.store import Agent
from onhook.testing.calls import sample_call

pytestmark = pytest.mark.unit

BOTS = BotUrls(("wss://bots.example.com/voice/",))


def agent(dialect: Dialect, settings: dict[str, Any], kind: str = "scripted") -> Agent:
    return Agent("agent_1", "env_1", dialect, "Ada", "Ada", 0, 0, kind=kind, settings=settings)


def talkover(**settings: Any) -> AgentDefinition:
    return definition_of(agent(Dialect.TALKOVER, settings), None)


def retell(**settings: Any) -> AgentDefinition:
    return definition_of(agent(Dialect.ANUNZI, settings), None)


def native(**settings: Any) -> AgentDefinition:
    return definition_of(agent(Dialect.NATIVE, settings), None)


def refusal(dialect: Dialect, settings: dict[str, Any], kind: str = "scripted", bots: BotUrls = BOTS) -> str:
    with pytest.raises(DefinitionError) as caught:
        definition_of(agent(dialect, settings, kind), None, bots)
    return str(caught.value)


def test_every_word_of_a_talkover_agent_means_what_it_says() -> None:
    given = {
        "language": "pt-BR",
        "voice_id": "ines",
        "conversation_speed": 1.25,
        "description": "Be kind.",
        "initial_message": "Olá!",
        "initial_message_delay": 2,
        "who_speaks_first": "user",
        "interrupt_sensitivity": "low",
        "ask_if_human_present_on_idle": False,
        "idle_time_seconds": 7,
        "max_idle_check_count": 4,
        "initial_idle_time_seconds": 9,
        "initial_max_idle_check_count": 0,
        "user_inactivity_timeout_seconds": 60,
        "say_goodbye_on_max_duration": True,
        "llm_temperature": 0.5,
        "enable_recording": True,
    }
    assert given.keys() == TALKOVER.keys()
    kept_only = {"endpointing_sensitivity": "auto", "ivr_navigation_mode": "off", "ambient_volume": 1.0}
    assert talkover(**given, **kept_only) == AgentDefinition(
        AgentKind.SCRIPTED,
        language="pt-BR",
        voice="ines",
        speed=1.25,
        prompt="Be kind.",
        initial_message="Olá!",
        initial_delay_ms=2000,
        agent_speaks_first=False,
        temperature=0.5,
        sensitivity=Sensitivity.LOW,
        idle=IdleRules(7000, 4, ask=False, first_after_ms=9000, first_max_checks=0, inactivity_ms=60_000),
        goodbye_on_max_duration=True,
        record=True,
    )


def test_every_word_of_a_retell_agent_means_what_it_says() -> None:
    given = {
        "language": ["es-ES", "en-US"],
        "voice_id": "11labs-Adrian",
        "voice_speed": 0.75,
        "interruption_sensitivity": 0,
        "allow_dtmf_interruption": True,
        "begin_message_delay_ms": 1500,
        "reminder_trigger_ms": 8000.5,
        "reminder_max_count": 3,
        "end_call_after_silence_ms": 700_000,
        "voicemail_option": {"action": {"type": "static_text", "text": "Call us back."}},
    }
    assert given.keys() == RETELL.keys()
    assert retell(**given, response_engine={"type": "retell-llm", "llm_id": "x"}) == AgentDefinition(
        AgentKind.SCRIPTED,
        language="es-ES",
        voice="11labs-Adrian",
        speed=0.75,
        initial_delay_ms=1500,
        barge_in=BargeIn.DTMF,
        sensitivity=Sensitivity.HIGH,
        idle=IdleRules(8000, 3, inactivity_ms=700_000, ends_call=False),
        machine=MachinePolicy.LEAVE_MESSAGE,
        voicemail_message="Call us back.",
        both_silent_ms=700_000,
    )


def test_a_retell_agent_without_a_word_has_retells_own_defaults() -> None:
    definition = retell()
    assert definition.idle == IdleRules(10_000, 1, inactivity_ms=600_000, ends_call=False)
    assert (definition.sensitivity, definition.barge_in) == (Sensitivity.HIGH, BargeIn.VAD)


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.1, Sensitivity.LOW), (0.4, Sensitivity.MEDIUM), (0.79, Sensitivity.MEDIUM), (0.8, Sensitivity.HIGH)],
)
def test_retells_sensitivity_is_a_scale(value: float, word: Sensitivity) -> None:
    assert (retell(interruption_sensitivity=value).sensitivity, retell().barge_in) == (word, BargeIn.VAD)


@pytest.mark.parametrize(
    ("option", "policy"),
    [
        (None, MachinePolicy.OFF),
        ({"action": {"type": "hangup"}}, MachinePolicy.HANG_UP),
        ({"action": {"type": "prompt", "text": "Say who we are."}}, MachinePolicy.LEAVE_MESSAGE),
        ({"action": {"type": "bridge_transfer"}}, MachinePolicy.REPORT),
    ],
)
def test_retells_voicemail_option_is_a_policy(option: object, policy: MachinePolicy) -> None:
    assert retell(voicemail_option=option).machine is policy


def test_whoever_calls_us_is_no_answering_machine() -> None:
    leaver = agent(Dialect.NATIVE, {"machine": "hang_up"})
    assert definition_of(leaver, sample_call()).machine is MachinePolicy.HANG_UP
    assert definition_of(leaver, sample_call(direction=Direction.INBOUND)).machine is MachinePolicy.OFF


def test_a_language_that_names_none_leaves_the_default() -> None:
    assert retell(language="multi").language == "en-US"
    assert retell(language=[]).language == "en-US"
    assert retell(language="de-DE").language == "de-DE"


def test_native_settings_are_the_fields_of_a_definition() -> None:
    definition = native(
        prompt="p", idle={"after_ms": 5000, "ends_call": False}, machine="hang_up", options={"model": 1}
    )
    assert definition == AgentDefinition(
        AgentKind.SCRIPTED,
        prompt="p",
        idle=IdleRules(5000, ends_call=False),
        machine=MachinePolicy.HANG_UP,
        options={"model": 1},
    )


def test_another_api_that_changes_an_agent_is_understood() -> None:
    settings = {"prompt": "old", "speed": 1.0, "description": "new", "voice_speed": 1.5}
    assert (native(**settings).prompt, native(**settings).speed) == ("new", 1.5)
    assert talkover(initial_message="Hi", apology="Sorry").apology == "Sorry"


def test_names_that_no_definition_has_are_found() -> None:
    settings = {"prompt": "", "kind": "echo", "Prompt": "", "idle": {"ask": True, "asks": 1}}
    assert unknown_settings(settings) == ["kind", "Prompt", "idle.asks"]
    assert unknown_settings({"idle": 5}) == ["idle"]
    assert unknown_settings(dict.fromkeys(name for name in OWN if "." not in name)) == []


@pytest.mark.parametrize(
    ("dialect", "settings", "message"),
    [
        (Dialect.NATIVE, {"speed": "fast"}, "speed: Expected `float`, got `str`"),
        (Dialect.NATIVE, {"idle": {"after_ms": "soon"}}, "idle.after_ms: Expected `int`, got `str`"),
        (Dialect.NATIVE, {"machine": "shout"}, "machine: Invalid enum value 'shout'"),
        (Dialect.NATIVE, {"record": 1}, "record: Expected `bool`, got `int`"),
        (Dialect.ANUNZI, {"voice_speed": "x"}, "voice_speed: Expected `float`, got `str`"),
        (Dialect.TALKOVER, {"interrupt_sensitivity": "extreme"}, "interrupt_sensitivity: Invalid enum value 'extreme'"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_field(
    dialect: Dialect, settings: dict[str, Any], message: str
) -> None:
    assert refusal(dialect, settings) == message


@pytest.mark.parametrize("name", LIMITS)
def test_a_number_beyond_its_bounds_is_refused(name: str) -> None:
    least, most = LIMITS[name]
    for value in (least - 1, most + 1):
        outer, _, inner = name.partition(".")
        settings = {outer: {inner: value}} if inner else {outer: value}
        assert refusal(Dialect.NATIVE, settings) == f"{name}: must be between {least} and {most}"


def test_a_kind_that_does_not_exist_is_refused() -> None:
    assert refusal(Dialect.NATIVE, {}, "telepathy").startswith("kind: there is no 'telepathy'; there are greeting, ")


def test_a_bot_must_have_a_url_that_is_allowed() -> None:
    assert refusal(Dialect.NATIVE, {}, "websocket") == "url: a websocket agent needs the URL of its bot"
    elsewhere = {"url": "wss://bots.example.com.evil.net/voice/"}
    assert refusal(Dialect.NATIVE, elsewhere, "websocket").startswith("url: ")
    here = agent(Dialect.NATIVE, {"url": "wss://bots.example.com/voice/ada"}, "websocket")
    assert definition_of(here, None, BOTS).url == "wss://bots.example.com/voice/ada"
    with pytest.raises(DefinitionError):
        definition_of(here, None)


@pytest.mark.parametrize("consent", ["notice", "ask"])
@pytest.mark.parametrize("kind", ["websocket", "greeting", "echo", "silence"])
def test_who_can_be_told_nothing_to_say_cannot_tell_of_a_recording(kind: str, consent: str) -> None:
    settings = {"record": True, "consent": consent, "url": "wss://bots.example.com/voice/ada"}
    message = f"consent: a {kind} agent cannot be told what to say; it has to be none"
    with pytest.raises(DefinitionError, match=re.escape(message)):
        definition_of(agent(Dialect.NATIVE, settings, kind), None, BOTS)
    assert not definition_of(agent(Dialect.NATIVE, settings | {"record": False}, kind), None, BOTS).record


def test_a_script_with_a_fault_is_refused() -> None:
    assert refusal(Dialect.NATIVE, {"script": {"states": 5}})


# --- placeholders --------------------------------------------------------------------------------------


DETAILS = CallDetails(
    payload={"name": "Zoë", "order": {"id": 7, "open": True}, "list": [1]}, dynamic_variables={"when": "{{name}}"}
)


def test_what_a_call_was_made_with_fills_the_texts() -> None:
    texts = {
        "prompt": "{{name}} {{ order.id }} {{order.open}} {{list}} {{nobody}}.",
        "initial_message": "Hello {{name}}!",
        "voicemail_message": "{{when}}",
        "goodbye_message": "{{order}}",
        "parameters": {"customer": "{{name}}"},
    }
    definition = definition_of(agent(Dialect.NATIVE, texts), sample_call(details=DETAILS))
    assert definition.prompt == "Zoë 7 true [1] ."
    assert definition.initial_message == "Hello Zoë!"
    assert definition.voicemail_message == "{{name}}"
    assert definition.goodbye_message == '{"id":7,"open":true}'
    assert definition.parameters == {"customer": "Zoë"}


def test_without_a_call_placeholders_stay() -> None:
    assert native(initial_message="Hello {{name}}!").initial_message == "Hello {{name}}!"


def test_a_bots_url_is_never_filled() -> None:
    maker = agent(Dialect.NATIVE, {"url": "wss://bots.example.com/voice/{{name}}"}, "websocket")
    call = sample_call(details=CallDetails(payload={"name": "../x"}))
    assert definition_of(maker, call, BOTS).url == "wss://bots.example.com/voice/{{name}}"


def test_the_texts_of_a_script_are_filled() -> None:
    script = {"say": {"en": "Hi {{name}}"}, "expect": [{"words": ["{{name}}"], "retries": 2}]}
    filled = {"say": {"en": "Hi Bo"}, "expect": [{"words": ["Bo"], "retries": 2}]}
    assert fill(script, {"name": "Bo"}) == filled


@given(st.text(st.sampled_from("{} a.b"), max_size=60), st.text(max_size=20))
def test_what_is_inserted_is_not_read_again(text: str, value: str) -> None:
    variables = {"a": value, "b": "{{a}}", "a.b": "{{b}}"}
    twice = fill(text, variables)
    assert twice.count("{{a}}") <= text.count("b") + text.count("{{a}}") + value.count("{{a}}") * text.count("a")
    assert fill("{{ b }}", variables) == "{{a}}"


def test_a_filled_text_is_bounded_whatever_was_asked_for() -> None:
    variables = variables_of(sample_call(details=CallDetails(payload={"a": "x" * 1_000_000})))
    assert len(variables["a"]) == placeholders.MAX_VALUE
    assert len(fill("{{a}}" * 10_000, variables)) == placeholders.MAX_TEXT
