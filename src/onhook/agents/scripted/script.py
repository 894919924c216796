"""Scripts of the scripted agent: what one may say (a small YAML state machine), and what is wrong with one.

`docs/reference/scripts.md` describes the format. A script that `parse_script` returns has no loose ends: every state
can be reached, and from every state some state that hangs up.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import yaml

from onhook.agents.definition import AgentDefinition, AgentKind, Consent, DefinitionError, MachinePolicy

DATA = Path(__file__).parents[2] / "data"
PHONE_KEYS = "0123456789*#"
HEARD = "<heard>"
"""Where our question whether an answer was meant names the answer."""

T = TypeVar("T")

_WORDS = re.compile(r"[a-z]+('[a-z]+)?( [a-z]+('[a-z]+)?){0,7}")

Text = str | dict[Annotated[str, msgspec.Meta(pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")], str]
"""What is said: one text for all languages, or one for each (`en`, `pt-BR`)."""


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to enter into the call's log, where webhooks and the event stream take it from."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One expected answer: any of these phrases, or any of these keys.

    `confirm` asks before it counts: True in our words, a text in yours; False never asks. Left out, a spoken answer
    with an action is asked for, and nothing else.
    """

    goto: str
    words: Annotated[tuple[str | bool, ...], msgspec.Meta(max_length=30)] = ()
    keys: str = ""
    action: Action | None = None
    confirm: bool | Text | None = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """The words, in lower case. YAML reads a bare `yes` or `no` as a truth value; meant are the words."""
        spelled = {True: "yes", False: "no"}
        return tuple(spelled[word] if isinstance(word, bool) else word.lower() for word in self.words)


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to say, and where to go, when something other than an expected answer comes."""

    say: Text | None = None
    goto: str | None = None


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step: says something, then waits for an answer (`expect`), goes on (`goto`), or hangs up."""

    say: Text = ""
    expect: Annotated[tuple[Answer, ...], msgspec.Meta(max_length=20)] = ()
    goto: str | None = None
    hang_up: bool = False
    action: Action | None = None
    retries: Annotated[int, msgspec.Meta(ge=0, le=9)] = 2
    on_silence: Reply = Reply()
    on_no_match: Reply = Reply()
    on_goodbye: Reply = Reply()

    def successors(self) -> Iterator[tuple[str, str]]:
        """Yield each state that may come next, after the field that names it."""
        if self.goto is not None:
            yield "goto", self.goto
        for index, answer in enumerate(self.expect):
            yield f"expect[{index}].goto", answer.goto
        for name in ("on_silence", "on_no_match", "on_goodbye"):
            target = getattr(self, name).goto
            if target is not None:
                yield f"{name}.goto", target


class Phrases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent says of its own accord, in one language."""

    still_there: str
    not_understood: str
    too_long: str
    keys_only: str
    give_up: str
    farewell: str
    confirm_goodbye: str
    confirm_answer: str
    recording_notice: str
    recording_question: str
    machine_message: str


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole script. `phrases` replaces single ones of our `Phrases`."""

    start: str
    states: Annotated[dict[str, State], msgspec.Meta(min_length=1, max_length=200)]
    greeting: Text = ""
    phrases: dict[str, Text] = msgspec.field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """Whether any state waits for an answer."""
        return any(state.expect for state in self.states.values())


def parse_script(given: Mapping[str, Any]) -> Script:
    """Return the script in `given`; `{say, hang_up: true}` alone is a script of one state.

    Raises `DefinitionError` that begins with the path of the fault, such as `script.states.question.goto: ...`.
    """
    if "states" not in given and "say" in given:
        given = {"start": "only", "states": {"only": dict(given)}}
    states = given.get("states")
    if isinstance(states, Mapping):
        for name, state in states.items():
            _convert(state, State, f"script.states.{name}")
    script = _convert(given, Script, "script")
    for fault in _faults(script):
        raise DefinitionError(fault)
    return script


def announcement(definition: AgentDefinition, text: str) -> AgentDefinition:
    """Return an agent with the language and voice of `definition` that says `text` at once and hangs up."""
    return AgentDefinition(
        kind=AgentKind.SCRIPTED,
        language=definition.language,
        voice=definition.voice,
        speed=definition.speed,
        consent=Consent.NONE,
        machine=MachinePolicy.OFF,
        drain_ms=definition.drain_ms,
        script={"say": text, "hang_up": True},
    )


def in_language(text: Text, language: str) -> str:
    """Return the text for a tag such as `pt-BR`: that of the tag, of its language, English, or the first there is."""
    if isinstance(text, str):
        return text
    by_tag = {tag.lower(): said for tag, said in text.items()}
    tag = language.lower()
    for candidate in (tag, tag.partition("-")[0], "en", *by_tag):
        if candidate in by_tag:
            return by_tag[candidate]
    return ""


def phrases_for(language: str, replaced: Mapping[str, Text] | None = None) -> Phrases:
    """Return what the agent says of its own accord, in English when we have none for the language."""
    ours = built_in_phrases()
    phrases = ours.get(language.lower().partition("-")[0], ours["en"])
    own = {name: in_language(text, language) for name, text in (replaced or {}).items()}
    return msgspec.structs.replace(phrases, **own)


@cache
def built_in_phrases() -> dict[str, Phrases]:
    """Return `data/prompts/phrases.yaml`, by language."""
    text = (DATA / "prompts" / "phrases.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), dict[str, Phrases])


@cache
def default_script() -> Script:
    """Return the script of agents without one of their own."""
    return parse_script(yaml.safe_load((DATA / "scripts" / "default.yaml").read_text(encoding="utf-8")))


def _convert(given: object, wanted: type[T], path: str) -> T:
    try:
        return msgspec.convert(given, wanted)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise DefinitionError(f"{path}{where.rstrip('`')}: {message}") from None


def _faults(script: Script) -> Iterator[str]:
    """Yield what is wrong with a script whose fields are sound, each with its path."""
    states = script.states
    if script.start not in states:
        yield f"script.start: there is no state {script.start!r}"
        return
    for name in script.phrases:
        if name not in Phrases.__struct_fields__:
            yield f"script.phrases.{name}: no such phrase; there are {', '.join(Phrases.__struct_fields__)}"
    for name, state in states.items():
        for fault in _faults_of_state(state, states):
            yield f"script.states.{name}{fault}"
    reached = _closure(states, {script.start}, backwards=False)
    for name in (name for name in states if name not in reached):
        yield f"script.states.{name}: cannot be reached from the start"
    ends = {name for name, state in states.items() if state.hang_up}
    ending = _closure(states, ends, backwards=True)
    for name in (name for name in states if name not in ending):
        yield f"script.states.{name}: no way out: no state that hangs up can be reached from here"
    yield from _endless_talk(states)


def _faults_of_state(state: State, states: Mapping[str, State]) -> Iterator[str]:
    ways = [bool(state.expect), state.goto is not None, state.hang_up]
    if ways.count(True) != 1:
        yield ": must have exactly one of expect, goto and hang_up: true"
    for field, target in state.successors():
        if target not in states:
            yield f".{field}: there is no state {target!r}"
    taken: set[str] = set()
    for index, answer in enumerate(state.expect):
        path = f".expect[{index}]"
        if not answer.words and not answer.keys:
            yield f"{path}: needs words or keys"
        for phrase in answer.phrases:
            if not _WORDS.fullmatch(phrase):
                yield f"{path}.words: {phrase!r}: only English words, at most 8, letters and apostrophes"
        for key in answer.keys:
            if key not in PHONE_KEYS:
                yield f"{path}.keys: {key!r} is on no phone"
        for sign in (*answer.phrases, *answer.keys):
            if sign in taken:
                yield f"{path}: {sign!r} is expected twice"
            taken.add(sign)


def _closure(states: Mapping[str, State], found: set[str], *, backwards: bool) -> set[str]:
    """Return what can be reached from the states in `found`, or from where these can be reached."""
    steps = [(name, target) for name, state in states.items() for _, target in state.successors()]
    if backwards:
        steps = [(target, name) for name, target in steps]
    while more := {target for name, target in steps if name in found} - found:
        found = found | more
    return found


def _endless_talk(states: Mapping[str, State]) -> Iterator[str]:
    """Yield each state of a ring of states that go on by themselves: the agent would talk for ever."""
    for name in states:
        seen: set[str] = set()
        at: str | None = states[name].goto
        while at is not None and at not in seen:
            seen.add(at)
            at = states[at].goto
        if name in seen:
            yield f"script.states.{name}.goto: leads back here without waiting for an answer"
