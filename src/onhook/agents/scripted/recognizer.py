"""The recogniser's process: whole utterances in, phrases of a small grammar out, by pocketsphinx.

Run by `onhook.agents.scripted.recognition` as `python -m onhook.agents.scripted.recognizer PARENT`. Both ways go
frames of a 4-byte length (big endian) and a msgpack body: first a `Ready` comes out, then one `Result` for each
`Request`. The end of the input is the end of the process.

pocketsphinx holds Python's lock while it decodes (13 ms for a phrase), which is why it does not live with the agents.
"""

import signal
import struct
import sys
from collections import OrderedDict
from typing import BinaryIO

import msgspec

LENGTH = struct.Struct(">I")
RATE = 16_000
"""What the acoustic model hears at, in Hz."""

_FRAMES_PER_SECOND = 100
_GRAMMARS = 64
_DITHER = 10 ** (-58 / 20) * 32768
"""Line noise to add, -58 dBFS: the model does badly on words that stand in digital silence."""


class Ready(msgspec.Struct, frozen=True):
    """The decoder is loaded."""


class Request(msgspec.Struct, frozen=True):
    """An utterance, mu-law at 8 kHz, and what may have been said."""

    phrases: tuple[str, ...]
    audio: bytes


class Spoken(msgspec.Struct, frozen=True):
    """One word, in ms from the begin of the audio."""

    word: str
    start_ms: int
    end_ms: int


class Result(msgspec.Struct, frozen=True):
    """The phrase that fits best, None when none does. `unknown` are words that are not in the dictionary."""

    phrase: str | None
    words: tuple[Spoken, ...] = ()
    unknown: tuple[str, ...] = ()


class Recognizer:
    """A pocketsphinx decoder with a grammar for each set of phrases. Loading takes 0.2 s and 40 MB."""

    def __init__(self) -> None:
        import numpy as np  # noqa: PLC0415 (our parent only wants the messages)
        from pocketsphinx import Config, Decoder  # noqa: PLC0415

        from onhook.agents.scripted.resample import resample  # noqa: PLC0415
        from onhook.lines.media.g711 import mulaw_to_linear  # noqa: PLC0415

        self._np, self._resample, self._linear = np, resample, mulaw_to_linear
        # Without a language model's weight and without the second pass over the lattice, which throws whole answers
        # away: 432 utterances of 12 phrases are 94 to 95 % right, 87 % with the defaults.
        self._decoder = Decoder(Config(lm=None, lw=1.0, bestpath=False, loglevel="FATAL"))
        self._grammars: OrderedDict[tuple[str, ...], str] = OrderedDict()
        self._made = 0

    def recognise(self, request: Request) -> Result:
        """Return which of the phrases was said."""
        known = {word: self._decoder.lookup_word(word) is not None for word in " ".join(request.phrases).split()}
        unknown = tuple(word for word, is_known in known.items() if not is_known)
        phrases = tuple(phrase for phrase in request.phrases if all(known[word] for word in phrase.split()))
        if not phrases:
            return Result(None, (), unknown)
        self._decoder.activate_search(self._grammar(phrases))
        self._decoder.start_utt()
        self._decoder.process_raw(self._prepared(request.audio), no_search=False, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        if hypothesis is None or hypothesis.hypstr not in phrases:
            return Result(None, (), unknown)
        ms = 1000 // _FRAMES_PER_SECOND
        words = tuple(
            Spoken(segment.word.partition("(")[0], segment.start_frame * ms, (segment.end_frame + 1) * ms)
            for segment in self._decoder.seg()
            if not segment.word.startswith(("<", "[", "("))
        )
        return Result(hypothesis.hypstr, words, unknown)

    def _prepared(self, audio: bytes) -> bytes:
        np = self._np
        samples = self._resample(np.frombuffer(self._linear(audio), "=i2").astype(np.float64), 8000, RATE)
        noisy = samples + np.random.default_rng(len(samples)).normal(0, _DITHER, len(samples))
        pcm: bytes = np.clip(np.rint(noisy), -32768, 32767).astype("=i2").tobytes()
        return pcm

    def _grammar(self, phrases: tuple[str, ...]) -> str:
        name = self._grammars.get(phrases)
        if name is None:
            self._made += 1
            name = self._grammars[phrases] = f"g{self._made}"
            text = f"#JSGF V1.0; grammar {name}; public <{name}> = {' | '.join(phrases)};"
            self._decoder.add_jsgf_string(name, text)
        self._grammars.move_to_end(phrases)
        if len(self._grammars) > _GRAMMARS:
            _, dropped = self._grammars.popitem(last=False)
            self._decoder.remove_search(dropped)
        return name


def read_exactly(stream: BinaryIO, size: int) -> bytes | None:
    """Return `size` bytes, None at the end of the stream."""
    data = stream.read(size)
    return data if len(data) == size else None


def main() -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    recognizer = Recognizer()
    answer: Ready | Result = Ready()
    while True:
        body = msgspec.msgpack.encode(answer)
        sink.write(LENGTH.pack(len(body)) + body)
        sink.flush()
        length = read_exactly(source, LENGTH.size)
        request = None if length is None else read_exactly(source, *LENGTH.unpack(length))
        if request is None:
            return
        answer = recognizer.recognise(msgspec.msgpack.decode(request, type=Request))


if __name__ == "__main__":
    from onhook.agents.host import die_with

    die_with(int(sys.argv[1]))
    main()
