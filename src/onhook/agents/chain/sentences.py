"""A stream of text, cut into sentences: each is spoken as soon as it is complete."""

import re

_END = re.compile(r"[.!?…]+[\"')\]]*\s+|[。！？]|\n+")  # noqa: RUF001 full-width marks are what is meant
_SHORT = 12
"""A sentence shorter than that is joined to the next: "Dr. " is none, and tiny pieces sound chopped."""


class Sentences:
    """Text goes in as it comes, sentences come out."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, piece: str) -> list[str]:
        """Return the sentences that `piece` completes."""
        self._text += piece
        complete = []
        begin = 0
        for end in _END.finditer(self._text):
            if end.end() - begin >= _SHORT:
                complete.append(self._text[begin : end.end()].strip())
                begin = end.end()
        self._text = self._text[begin:]
        return [sentence for sentence in complete if sentence]

    def rest(self) -> str:
        """Return what is left at the end."""
        rest, self._text = self._text.strip(), ""
        return rest
