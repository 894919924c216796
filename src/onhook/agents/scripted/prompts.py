"""The prompts that ship as audio: all that the built-in script and our own phrases say, in each language.

With them a call with the built-in script speaks even where espeak-ng is not installed. `python -m
onhook.agents.scripted.prompts` speaks them anew (with espeak-ng) after a text has changed; the name of each file is
made from its text, so that a stale one is never played.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from hashlib import blake2s
from pathlib import Path

import msgspec

from onhook.agents.scripted.script import DATA, HEARD, Text, built_in_phrases, default_script
from onhook.agents.scripted.speech import Prompt, Synthesiser

PROMPTS = DATA / "prompts"


@cache
def stored_names() -> dict[tuple[str, str], str]:
    """Return the file below `PROMPTS` of each language and text that we ship."""
    return {(language, text): f"{language}/{_name(text)}.ulaw" for language, text in sorted(set(_texts()))}


def stored_prompt(language: str, text: str) -> bytes | None:
    """Return a text as mu-law at 8 kHz, if it is one of ours. Reads a file."""
    name = stored_names().get((language.lower().partition("-")[0], text))
    return None if name is None else (PROMPTS / name).read_bytes()


def _texts() -> Iterator[tuple[str, str]]:
    for language, phrases in built_in_phrases().items():
        yield from ((language, text) for text in msgspec.structs.astuple(phrases) if HEARD not in text)
        yield from ((language, text[language]) for text in _script_texts() if isinstance(text, dict))


def _script_texts() -> Iterator[Text]:
    script = default_script()
    yield script.greeting
    for state in script.states.values():
        yield state.say
        yield from (said for reply in (state.on_silence, state.on_no_match, state.on_goodbye) if (said := reply.say))


def _name(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z]+", plain)
    return f"{'-'.join(words[:4])}-{blake2s(text.encode(), digest_size=3).hexdigest()}"


def main(directory: Path = PROMPTS) -> int:
    """Speak all prompts into `directory`, and delete those that nothing says any more."""
    names = stored_names()
    synthesiser = Synthesiser(stored=None)
    for old in directory.glob("*/*.ulaw"):
        if str(old.relative_to(directory)) not in names.values():
            old.unlink()
    for (language, text), name in names.items():
        (directory / language).mkdir(exist_ok=True)
        audio = synthesiser.render(Prompt(text, language))
        if audio is None:
            print(f"not spoken: {text}", file=sys.stderr)
            return 1
        (directory / name).write_bytes(audio)
    synthesiser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
