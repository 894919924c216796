"""The picture of a call is drawn from its recording and its timeline."""

import math
import wave
from array import array
from pathlib import Path
from xml.etree import ElementTree

import pytest
from docs.waveform import picture

pytestmark = pytest.mark.unit

SVG = "{http://www.w3.org/2000/svg}"
TIMELINE = {
    "events": [
        {"type": "call.answered", "at": "2026-01-01T00:00:00.000Z", "data": {}},
        {"type": "call.turn", "data": {"role": "agent", "text": "Will you <come>?", "start_ms": 0}},
        {"type": "call.turn", "data": {"role": "user", "text": "yes", "start_ms": 1000}},
        {"type": "call.ended", "at": "2026-01-01T00:00:02.000Z", "data": {"cause": {"reason": "agent_hangup"}}},
    ]
}


def _recording(path: Path) -> Path:
    """The agent (right) speaks for the first second, the caller (left) for the next."""
    tone = [round(20_000 * math.sin(place / 3)) for place in range(8000)]
    quiet = [0] * 8000
    left, right = quiet + tone, tone + quiet
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(array("h", [sample for pair in zip(left, right, strict=True) for sample in pair]).tobytes())
    return path


def test_each_voice_is_drawn_where_it_spoke_with_what_it_said(tmp_path: Path) -> None:
    root = ElementTree.fromstring(picture(_recording(tmp_path / "call.wav"), TIMELINE))
    agent, caller = (path.attrib["d"].removesuffix(" Z")[1:].split(" L") for path in root.iter(f"{SVG}path"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[:2] == ["Will you <come>?", "yes"]
    assert texts[-1] == "agent_hangup"
    assert _height(agent[60]) > 20 > 1 > _height(agent[360])
    assert _height(caller[360]) > 20 > 1 > _height(caller[60])


def test_words_at_the_very_end_are_not_cut_off(tmp_path: Path) -> None:
    late = {"type": "call.turn", "data": {"role": "agent", "text": "Goodbye.", "start_ms": 1990}}
    drawn = picture(_recording(tmp_path / "call.wav"), {"events": [*TIMELINE["events"], late]})
    goodbye = next(text for text in ElementTree.fromstring(drawn).iter(f"{SVG}text") if text.text == "Goodbye.")
    assert float(goodbye.attrib["x"]) + 6 * len("Goodbye.") <= 960


def _height(point: str) -> float:
    """How far a point of the upper outline is above the middle of its lane."""
    y = float(point.split(",")[1])
    return min(abs(y - middle) for middle in (90.0, 212.0))
