"""Write the reference pages that are made from tables in the code; `--check` only compares.

python docs/generate.py
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import get_args, get_origin

import typer
from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from onhook.api.anunzi import payloads as anunzi
from onhook.api.anunzi.mapping import ANSWERED_END, UNANSWERED_END, End
from onhook.api.talkover import payloads as talkover
from onhook.api.talkover.mapping import ENDED_REASON
from onhook.calls.call import EventType
from onhook.calls.causes import BY_STATUS, REGISTRY
from onhook.calls.states import mermaid
from onhook.cli import app
from onhook.cli.common import MEANINGS
from onhook.metrics.catalog import CATALOG
from onhook.metrics.histogram import STOP_BOUNDS_S, TALK_BOUNDS_S, TICK_BOUNDS_S

REFERENCE = Path(__file__).parent / "reference"

STATES = """# The states of a call

Generated from `src/onhook/calls/states.py` by `docs/generate.py`.

```mermaid
{diagram}
```

`ending` means that a stop is durable and irrevocable: audio and agent are cut, the SIP exchange is under way.
`ended` means settled on the wire; it carries the proof.
"""

CAUSES = """# Why calls end

Generated from `src/onhook/calls/causes.py` and the tables of both dialects by `docs/generate.py`. How each of these
looks on a real call is in the [table of ends](ends.md).

## In onhook's own words

`cause.reason` in onhook's own API. An answered call that ends has the outcome `completed`; the column says what an
unanswered one has.

| reason | meaning | SIP statuses | unanswered outcome | Q.850 |
| --- | --- | --- | --- | --- |
{reasons}

## In the words of the two dialects

TalkOver's `ended_reason` is a field of the answer to end-call only. Retell's `call_status` and `disconnection_reason`
depend on whether the call had been answered.

| reason | TalkOver `ended_reason` | Retell, unanswered | Retell, answered |
| --- | --- | --- | --- |
{dialects}
"""

WEBHOOK_EVENTS = """# Which webhook is sent when

Generated from the tables of `src/onhook/api/*/payloads.py` by `docs/generate.py`. How to get them:
[Receive webhooks](../how-to/receive-webhooks.md).

## From the log

Each event of a call's log is one webhook of onhook's own, under the same name, and these of the two dialects, in this
order. Some are sent for some calls only: see below.

| onhook | TalkOver | Retell, Anunzi |
| --- | --- | --- |
{log}

`call.ended` comes once per call, when its end is settled on the wire. An answer that comes after a stop
(`call.answered_on_wire`) and later evidence (`proof.updated`) are told by onhook's own webhooks only.

## TalkOver's {talkover_count} events

Bodies, templates and signatures: [The TalkOver API](talkover.md#webhooks).

| event | in TalkOver's words | sent with | only for calls |
| --- | --- | --- | --- |
{talkover}

## Retell's {anunzi_count} events

Bodies and signatures: [The Anunzi/Retell API](anunzi.md#webhooks).

| event | sent with | without `webhook_events` |
| --- | --- | --- |
{anunzi}
"""

METRICS = """# Metrics

Generated from `src/onhook/metrics/catalog.py` by `docs/generate.py`. How to read them, and who may:
[Watch onhook](../how-to/watch-onhook.md). Rules for alerts: [alerts.yml](alerts.yml).

`GET /metrics` has these and, under `process_`, what the operating system says of the process. Times are in seconds.

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
{metrics}

Histograms have `_bucket`, `_sum` and `_count`. Their bounds:

| histogram | bounds (s) |
| --- | --- |
| stops | {stop} |
| replies, interruptions | {talk} |
| ticks | {tick} |

No label holds a phone number, an id or anything else that grows with the number of calls.
"""

CLI = """# The command line

Generated from `src/onhook/cli` by `docs/generate.py`. Every command has `--help`. Settings come from the environment
and a file: [onhook.toml](onhook.toml) lists them all.

Results go to standard output, complaints to standard error as one line that starts with `onhook: `.

With `--json` a command prints one JSON document in the words of onhook's own API (`/openapi/native.json`), or one on
each line where it prints as things happen. Without it phone numbers are hidden but for their last 4 digits; `--numbers`
shows them. Spans of time are written `500ms`, `5s`, `10m`, `1h30m`; a bare number counts seconds.

| exit code | meaning |
| --- | --- |
{codes}

{commands}"""


def states() -> str:
    """Return the page about states."""
    return STATES.format(diagram=mermaid())


def causes() -> str:
    """Return the page about causes."""
    reasons, dialects = [], []
    for reason, entry in REGISTRY.items():
        statuses = ", ".join(str(status) for status, one in BY_STATUS.items() if one is reason) or "-"
        reasons.append(f"| `{reason}` | {entry.meaning} | {statuses} | `{entry.unanswered}` | {entry.q850 or '-'} |")
        unanswered, answered = _end(UNANSWERED_END[reason]), _end(ANSWERED_END[reason])
        dialects.append(f"| `{reason}` | `{ENDED_REASON[reason]}` | {unanswered} | {answered} |")
    return CAUSES.format(reasons="\n".join(reasons), dialects="\n".join(dialects))


def webhook_events() -> str:
    """Return the page about webhook events."""
    log = [
        f"| `{kind}` | {_words(talkover.EMITTED.get(kind, ()))} | {_words(anunzi.EMITTED.get(kind, ()))} |"
        for kind in EventType
    ]
    theirs = [
        f"| `{name}` | {description} | {_sent_with(name, talkover.EMITTED)} | {_only_for(name)} |"
        for name, description in talkover.EVENTS.items()
    ]
    retell = [
        f"| `{name}` | {_sent_with(name, anunzi.EMITTED)} | {'yes' if name in anunzi.DEFAULT_EVENTS else '-'} |"
        for name in anunzi.EVENTS
    ]
    return WEBHOOK_EVENTS.format(
        log="\n".join(log),
        talkover_count=len(theirs),
        talkover="\n".join(theirs),
        anunzi_count=len(retell),
        anunzi="\n".join(retell),
    )


def metrics() -> str:
    """Return the page about metrics."""
    rows = [
        f"| `{name}` | {metric.kind} | {_words(metric.labels)} | {metric.meaning} |" for name, metric in CATALOG.items()
    ]
    bounds = {"stop": STOP_BOUNDS_S, "talk": TALK_BOUNDS_S, "tick": TICK_BOUNDS_S}
    texts = {name: ", ".join(f"{bound:g}" for bound in values) for name, values in bounds.items()}
    return METRICS.format(metrics="\n".join(rows), **texts)


def cli() -> str:
    """Return the page about the command line."""
    return CLI.format(
        codes="\n".join(f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()),
        commands="\n".join(_section(path, command) for path, command in commands(app, "onhook")),
    )


def commands(group: typer.Typer, path: str) -> Iterator[tuple[str, CommandInfo]]:
    """Yield every visible command with its full name."""
    for command in group.registered_commands:
        if not command.hidden:
            yield f"{path} {command.name or command.callback.__name__}", command
    for sub in group.registered_groups:
        yield from commands(sub.typer_instance, f"{path} {sub.name}")


def parameters(command: CommandInfo) -> Iterator[tuple[str, ArgumentInfo | OptionInfo]]:
    """Yield how each visible parameter of a command is written, and what is known of it."""
    for name, one in inspect.signature(command.callback).parameters.items():
        info = one.default
        if info.hidden:
            continue
        word = name.upper()
        if isinstance(info, ArgumentInfo):
            yield word + ("..." if get_origin(one.annotation) is list else ""), info
            continue
        option = info.param_decls[0] if info.param_decls else f"--{name.replace('_', '-')}"
        for choice in _types(one.annotation):
            if isinstance(choice, type) and issubclass(choice, StrEnum):
                word = "|".join(choice)
        yield option if one.annotation is bool else f"{option} {word}", info


def _types(annotation: object) -> Iterator[object]:
    """Yield an annotation and all types within it."""
    yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)


def _section(path: str, command: CommandInfo) -> str:
    rows, words = [], [path]
    for written, info in parameters(command):
        words.append(f"[{written}]" if isinstance(info, OptionInfo) else written)
        rows.append(f"- `{written}`: {info.help}{_default(info)}")
    text = inspect.cleandoc(command.callback.__doc__)
    return "\n".join([f"## {path}", "", f"`{' '.join(words)}`", "", text, "", *rows, *([""] if rows else [])])


def _default(info: ArgumentInfo | OptionInfo) -> str:
    value = info.default
    told = value is not None and value is not ... and not isinstance(value, bool)
    return (f" Default: `{value}`." if told else "") + (f" Environment: `{info.envvar}`." if info.envvar else "")


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


def _sent_with(name: str, emitted: dict[EventType, tuple[str, ...]]) -> str:
    return ", ".join(f"`{kind}`" for kind, names in emitted.items() if name in names) or "never"


def _only_for(name: str) -> str:
    """Say which calls a TalkOver event is kept for, if not for all."""
    if name in talkover.ONLY_FAILED:
        return "that failed"
    if name == "event_voicemail_detected":
        return "that a machine answered"
    if name in talkover.ONLY_UNANSWERED:
        return "that were never answered"
    return "that were answered" if name in talkover.ONLY_ANSWERED else "-"


def _end(end: End) -> str:
    return f"`{end.status}`, `{end.reason}`"


PAGES: dict[str, Callable[[], str]] = {
    "states.md": states,
    "causes.md": causes,
    "webhook-events.md": webhook_events,
    "cli.md": cli,
    "metrics.md": metrics,
}


def main() -> int:
    """Write or compare all pages; return 1 when a page is stale."""
    stale = []
    for name, page in PAGES.items():
        path = REFERENCE / name
        if not path.exists() or path.read_text() != page():
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(page())
    if stale and "--check" in sys.argv:
        print(f"stale: {', '.join(stale)}; run python docs/generate.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
