"""The course of a scripted conversation: what was heard or pressed goes in, what to say and do comes out.

No audio, no clock, no tasks. At any time one `Question` stands: one of the script's states, or one of our own (a
goodbye, an answer or a recording to confirm).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial

from onhook.agents.definition import AgentDefinition, Consent, MachinePolicy
from onhook.agents.scripted.script import HEARD, Action, Answer, Script, State, Text, in_language, phrases_for

GOODBYE = ("goodbye", "bye bye", "bye")
REPEAT = ("repeat", "repeat that")
DECOYS = ("hello", "who is this")
"""What people say on the phone without answering. Were these not in the grammar, they would be heard as answers."""
GOODBYE_KEY, REPEAT_KEY = "#", "*"
YES, NO = ("yes", "yes please", "sure"), ("no", "no thank you")
"""A `yeah` is heard as yes, a `nope` as no."""
YES_KEY, NO_KEY = "1", "2"

_OWN_RETRIES = 2
_MISSES_IN_ALL = 12
"""Beyond these the agent gives up: a television in the room must not keep the call."""


class Miss(Enum):
    """Why an answer does not count."""

    NOT_UNDERSTOOD = "not_understood"
    TOO_LONG = "too_long"
    KEYS_ONLY = "keys_only"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the agent does next: enter `actions` and `consent` into the log, say `texts`, then perhaps hang up.

    A `notice` of the recording is said before all of them.
    """

    texts: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    consent: bool | None = None
    notice: str | None = None
    hang_up: str | None = None
    """Why the call ends after the texts."""

    def after(self, *texts: str) -> "Turn":
        """Return this turn with texts before its own."""
        return replace(self, texts=(*texts, *self.texts))


NOTHING = Turn()


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer that is understood: its words, its keys, and what follows, given what it was and whether by voice."""

    words: tuple[str, ...]
    keys: str
    take: Callable[[str, bool], Turn]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what follows from whatever comes."""

    text: str
    choices: tuple[Choice, ...]
    retries: int
    on_miss: Callable[[Miss], Turn]
    on_silence: Callable[[], Turn]
    on_goodbye: Callable[[], Turn]
    give_up: Callable[[], Turn]


class Phase(Enum):
    """Where the conversation is."""

    LISTENING = auto()
    """The caller speaks first."""
    ASKING = auto()
    MACHINE = auto()
    """An answering machine talks; its beep is awaited."""
    OVER = auto()
    """The last words are said."""


class Dialogue:
    """One conversation. Every method returns the `Turn` that follows, `NOTHING` when all stays as it is."""

    def __init__(self, script: Script, definition: AgentDefinition) -> None:
        self._script = script
        self._definition = definition
        self._phrases = phrases_for(definition.language, script.phrases)
        self._greeting = definition.initial_message or self._say(script.greeting)
        self._question: Question | None = None
        self._missed = 0
        self._missed_in_all = 0
        self.phase = Phase.LISTENING

    @property
    def opening(self) -> tuple[str, ...]:
        """What will be said first, the recording's notice aside."""
        return self._greeting, self._say(self._script.states[self._script.start].say)

    @property
    def expected(self) -> tuple[str, ...]:
        """All that may be said now and would be understood."""
        if self.phase is not Phase.ASKING or self._question is None:
            return ()
        own = [word for choice in self._question.choices for word in choice.words]
        return tuple(dict.fromkeys((*own, *GOODBYE, *REPEAT, *DECOYS)))

    def begin(self) -> Turn:
        """Greet, and ask the first question."""
        definition = self._definition
        notice = definition.recording_notice
        if not definition.record or definition.consent is Consent.NONE:
            return self._greet()
        if definition.consent is Consent.NOTICE:
            return replace(self._greet(), notice=notice or self._phrases.recording_notice)
        return self._ask_whether(
            notice or self._phrases.recording_question,
            yes=lambda: self._consent(granted=True),
            no=lambda: self._consent(granted=False),
        )

    def heard(self, phrase: str | None) -> Turn:
        """Take one of the `expected` phrases, or None for anything else."""
        match self.phase, self._question:
            case Phase.LISTENING, _:
                return self.begin()
            case Phase.ASKING, Question() as question:
                return self._answered(question, phrase)
        return NOTHING

    def pressed(self, key: str) -> Turn:
        """Take a key. One that comes while we wait for a machine's beep shows that there is a person."""
        match self.phase, self._question:
            case ((Phase.LISTENING | Phase.MACHINE), _):
                return self.begin()
            case Phase.ASKING, Question() as question:
                choice = next((choice for choice in question.choices if key in choice.keys), None)
                if choice is not None:
                    return choice.take(key, False)
                if key in (REPEAT_KEY, GOODBYE_KEY):
                    return self._answered(question, REPEAT[0] if key == REPEAT_KEY else GOODBYE[0])
                return self.missed(Miss.NOT_UNDERSTOOD)
        return NOTHING

    def missed(self, why: Miss) -> Turn:
        """Take an answer that cannot be understood."""
        question = self._question
        if self.phase is not Phase.ASKING or question is None:
            return self.heard(None)
        self._missed += 1
        self._missed_in_all += 1
        if self._missed_in_all > _MISSES_IN_ALL:
            return self._end("not understood", self._phrases.give_up)
        return question.give_up() if self._missed > question.retries else question.on_miss(why)

    def silent(self) -> Turn:
        """Ask into the silence."""
        match self.phase, self._question:
            case Phase.LISTENING, _:
                return self.begin()
            case Phase.ASKING, Question() as question:
                return question.on_silence()
        return NOTHING

    def machine(self) -> bool:
        """An answering machine answered. Return whether to be quiet until its beep, since a message is to be left."""
        if self._definition.machine is MachinePolicy.LEAVE_MESSAGE and self.phase is not Phase.OVER:
            self.phase = Phase.MACHINE
        return self.phase is Phase.MACHINE

    def human(self) -> Turn:
        """A person answered after all."""
        return self.begin() if self.phase is Phase.MACHINE else NOTHING

    def leave_message(self, text: str | None) -> Turn:
        """Speak to the machine and hang up."""
        return self._end("message left", text or self._phrases.machine_message)

    def farewell(self, text: str | None) -> Turn:
        """Say farewell and hang up."""
        return self._end("farewell", text or self._definition.goodbye_message or self._phrases.farewell)

    # --- turns ----------------------------------------------------------------------------------------

    def _greet(self) -> Turn:
        return self._enter(self._script.start).after(self._greeting)

    def _consent(self, *, granted: bool) -> Turn:
        return replace(self._greet(), consent=granted)

    def _end(self, reason: str, text: str) -> Turn:
        if self.phase is Phase.OVER:
            return NOTHING
        self.phase = Phase.OVER
        return Turn((text,), hang_up=reason)

    def _answered(self, question: Question, phrase: str | None) -> Turn:
        choice = next((choice for choice in question.choices if phrase in choice.words), None)
        if phrase is not None and choice is not None:
            return choice.take(phrase, True)
        if phrase in GOODBYE:
            return question.on_goodbye()
        if phrase in REPEAT or phrase in DECOYS:
            return Turn((question.text,))
        return self.missed(Miss.NOT_UNDERSTOOD)

    def _enter(self, name: str) -> Turn:
        """Come to a state, and through those that only say something."""
        texts: list[str] = []
        actions: list[Action] = []
        while True:
            state = self._script.states[name]
            texts.append(self._say(state.say))
            actions += [] if state.action is None else [state.action]
            if state.goto is None:
                break
            name = state.goto
        if state.hang_up:
            self.phase = Phase.OVER
            return Turn(tuple(texts), tuple(actions), hang_up=f"script ended in {name}")
        self._ask(self._question_of(name, state))
        return Turn(tuple(texts), tuple(actions))

    def _ask(self, question: Question) -> None:
        self._question, self._missed, self.phase = question, 0, Phase.ASKING

    # --- questions ------------------------------------------------------------------------------------

    def _question_of(self, name: str, state: State) -> Question:
        """Return the question that a state of the script asks."""
        text = self._say(state.say)

        def silence() -> Turn:
            said = self._say(state.on_silence.say) or self._phrases.still_there
            target = state.on_silence.goto
            return self._enter(target).after(said) if target else Turn((said, text))

        def miss(why: Miss) -> Turn:
            own = self._say(state.on_no_match.say)
            return Turn((own,)) if own else Turn((self._excuse(why), text))

        def give_up() -> Turn:
            target = state.on_no_match.goto
            return self._enter(target) if target else self._end("not understood", self._phrases.give_up)

        def goodbye() -> Turn:
            target = state.on_goodbye.goto
            return self._ask_whether(
                self._say(state.on_goodbye.say) or self._phrases.confirm_goodbye,
                yes=lambda: self._enter(target) if target else self.farewell(None),
                no=lambda: self._enter_again(name),
                goodbye_is_yes=True,
            )

        choices = tuple(
            Choice(answer.phrases, answer.keys, partial(self._take, name, answer)) for answer in state.expect
        )
        return Question(text, choices, state.retries, miss, silence, goodbye, give_up)

    def _take(self, name: str, answer: Answer, said: str, spoken: bool) -> Turn:
        """Take an answer of the state `name`, or ask whether it was meant."""
        asks = spoken and answer.action is not None if answer.confirm is None else answer.confirm is not False
        if not asks:
            return self._follow(answer)
        own = "" if isinstance(answer.confirm, bool) else self._say(answer.confirm)
        return self._ask_whether(
            own or self._phrases.confirm_answer.replace(HEARD, said),
            yes=lambda: self._follow(answer),
            no=lambda: self._enter_again(name),
        )

    def _follow(self, answer: Answer) -> Turn:
        turn = self._enter(answer.goto)
        return turn if answer.action is None else replace(turn, actions=(answer.action, *turn.actions))

    def _enter_again(self, name: str) -> Turn:
        """Ask a state's question anew; what it logs on entering is logged already."""
        state = self._script.states[name]
        self._ask(self._question_of(name, state))
        return Turn((self._say(state.say),))

    def _ask_whether(
        self, text: str, yes: Callable[[], Turn], no: Callable[[], Turn], *, goodbye_is_yes: bool = False
    ) -> Turn:
        """Ask a question of our own; no clear answer is a no. A goodbye is confirmed once, not twice."""

        def goodbye() -> Turn:
            again = partial(self._ask_whether, text, yes, no)
            return self._ask_whether(
                self._phrases.confirm_goodbye, lambda: self.farewell(None), again, goodbye_is_yes=True
            )

        self._ask(
            Question(
                text,
                (Choice(YES, YES_KEY, lambda _said, _spoken: yes()), Choice(NO, NO_KEY, lambda _said, _spoken: no())),
                _OWN_RETRIES,
                on_miss=lambda why: Turn((self._excuse(why), text)),
                on_silence=lambda: Turn((self._phrases.still_there, text)),
                on_goodbye=yes if goodbye_is_yes else goodbye,
                give_up=no,
            )
        )
        return Turn((text,))

    def _excuse(self, why: Miss) -> str:
        return str(getattr(self._phrases, why.value))

    def _say(self, text: Text | None) -> str:
        return "" if text is None else in_language(text, self._definition.language)
