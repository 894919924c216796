"""Draw a call: `python docs/waveform.py RECORDING.wav TIMELINE.json > picture.svg`.

The recording is the stereo WAV of `GET /v1/calls/{id}/recording`, the timeline the answer of
`GET /v1/calls/{id}/timeline`. Both voices are drawn over the seconds since the answer, with what was said and the
moment at which the call ended.
"""

import array
import datetime
import html
import json
import sys
import textwrap
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

WIDTH, MARGIN, LANE = 960, 8, 64
LABEL_LINES, LINE_HEIGHT, CHARACTER = 3, 14, 6.1
BUCKETS = 480
FULL_SCALE = 24_000


class Lane(NamedTuple):
    """One voice: its name as in the timeline, its channel, its colour, and where its waveform's middle is."""

    role: str
    title: str
    channel: int
    colour: str
    middle: float


LANES = (
    Lane("agent", "agent", 1, "#d9822b", MARGIN + 3 * LINE_HEIGHT + LANE / 2 + 8),
    Lane("user", "caller", 0, "#3a86c8", MARGIN + 6 * LINE_HEIGHT + 1.5 * LANE + 24),
)
HEIGHT = LANES[-1].middle + LANE / 2 + 22


def voices(path: Path) -> tuple[list[Sequence[int]], float]:
    """Return the samples of both channels, and how long they are in seconds."""
    with wave.open(str(path), "rb") as file:
        samples = array.array("h", file.readframes(file.getnframes()))
        return [samples[0::2], samples[1::2]], file.getnframes() / file.getframerate()


def outline(samples: Sequence[int], middle: float) -> str:
    """Return the path of a waveform: the loudest sample of each bucket, mirrored."""
    size = max(1, len(samples) // BUCKETS)
    peaks = [max(map(abs, samples[start : start + size])) for start in range(0, len(samples), size)]
    step = (WIDTH - 2 * MARGIN) / len(peaks)
    heights = [max(0.5, min(1.0, peak / FULL_SCALE) * LANE / 2) for peak in peaks]
    above = [f"{MARGIN + place * step:.1f},{middle - height:.1f}" for place, height in enumerate(heights)]
    below = [f"{MARGIN + place * step:.1f},{middle + height:.1f}" for place, height in enumerate(heights)]
    return f"M{' L'.join(above + below[::-1])} Z"


def labels(turns: list[dict[str, Any]], lane: Lane, seconds: float) -> list[str]:
    """Return what was said in a lane, each turn above its begin, as wide as the room until the next one."""
    spoken = [turn for turn in turns if turn["role"] == lane.role]
    found: list[str] = []
    for turn, following in zip(spoken, [*spoken[1:], None], strict=True):
        left = x_of(turn["start_ms"], seconds)
        right = x_of(following["start_ms"], seconds) - 6 if following else float(WIDTH)
        columns = max(8, int((right - left) / CHARACTER))
        lines = textwrap.wrap(turn["text"], columns, max_lines=LABEL_LINES, placeholder=" ...")
        left = min(left, WIDTH - 1.2 * CHARACTER * max(map(len, lines)) - MARGIN)
        bottom = lane.middle - LANE / 2 - 4
        for place, line in enumerate(reversed(lines)):
            y = bottom - place * LINE_HEIGHT
            found.append(f'<text x="{left:.0f}" y="{y:.0f}" fill="{lane.colour}">{html.escape(line)}</text>')
    return found


def x_of(at_ms: float, seconds: float) -> float:
    """Return where a moment is, in pixels."""
    return MARGIN + at_ms / 1000 / seconds * (WIDTH - 2 * MARGIN)


def end_of(events: list[dict[str, Any]]) -> tuple[float, str]:
    """Return when, in ms since the answer, and why the call ended."""
    moments = {event["type"]: event for event in events}
    answered, ended = moments["call.answered"]["at"], moments["call.ended"]
    spent = datetime.datetime.fromisoformat(ended["at"]) - datetime.datetime.fromisoformat(answered)
    return spent.total_seconds() * 1000, ended["data"]["cause"]["reason"]


def picture(recording: Path, timeline: dict[str, Any]) -> str:
    """Return the SVG."""
    channels, seconds = voices(recording)
    events = timeline["events"]
    turns = [event["data"] for event in events if event["type"] == "call.turn"]
    ended_ms, reason = end_of(events)
    seconds = max(seconds, ended_ms / 1000)
    end_x = x_of(ended_ms, seconds)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT:.0f}" font-family="sans-serif"'
        ' font-size="12">',
        f"<title>A call, drawn from its recording: it ended after {ended_ms / 1000:.1f} s, {reason}</title>",
    ]
    for lane in LANES:
        parts.append(f'<path d="{outline(channels[lane.channel], lane.middle)}" fill="{lane.colour}"/>')
        parts += labels(turns, lane, seconds)
    base = HEIGHT - 8
    for second in range(0, int(seconds) + 1, 2):
        parts.append(f'<text x="{x_of(second * 1000, seconds):.0f}" y="{base:.0f}" fill="#888">{second} s</text>')
    parts += [
        f'<line x1="{end_x:.0f}" x2="{end_x:.0f}" y1="{MARGIN}" y2="{base - 12:.0f}" stroke="#c0392b"/>',
        f'<text x="{end_x - 4:.0f}" y="{base - 14:.0f}" fill="#c0392b" text-anchor="end">{reason}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(picture(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())), end="")
