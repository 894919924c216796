"""An agent process whose agents misbehave, each as the option `act` of its definition says. A program of its own."""

import asyncio
import contextlib
import json
import time

from onhook.agents.agent import AgentError, CallMedia, QuietAgent
from onhook.agents.belongings import shared
from onhook.agents.definition import AgentKind
from onhook.agents.host import main
from onhook.agents.messages import CallInfo, Cue, Speech

SECRET = "+12025550123"


class EchoAgent(QuietAgent):
    """Well behaved: plays what it hears, marks what it is told, and says what it was told."""

    def __init__(self) -> None:
        self.media: CallMedia
        self.call: CallInfo

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        self.call, self.media = call, media

    def on_audio(self, mulaw: bytes) -> None:
        self.media.play(mulaw)

    def on_dtmf(self, digit: str) -> None:
        self.media.mark(f"key {digit}")

    def on_mark(self, name: str, *, cleared: bool) -> None:
        self.media.action("mark", json.dumps(name), json.dumps(cleared))

    def on_speech(self, speech: Speech) -> None:
        self.media.heard("words", speech.at_ms, speech.at_ms + speech.duration_ms)

    def on_interrupted(self, played_ms: int) -> None:
        self.media.say(f"stopped after {played_ms} ms")
        self.media.play(b"\x00" * 160)

    def on_cue(self, cue: Cue) -> None:
        self.media.send_dtmf("1#")
        self.media.hang_up(cue.text or "", drain=True)


class StartRaises(EchoAgent):
    async def start(self, call: CallInfo, media: CallMedia) -> None:
        raise AgentError("the provider refused the key")


class StartBreaks(EchoAgent):
    async def start(self, call: CallInfo, media: CallMedia) -> None:
        raise RuntimeError(SECRET)


class StartNever(EchoAgent):
    async def start(self, call: CallInfo, media: CallMedia) -> None:
        await asyncio.Event().wait()


class StartLetsGoSlowly(EchoAgent):
    """Cancelled, it takes its time: as a connection does that is undone while it is being made."""

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        media.mark("connecting")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.5)


class StartFailsWhenStopped(EchoAgent):
    """Cancelled, it says in words of its own why it did not start."""

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        media.mark("connecting")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise AgentError("stopped while connecting") from None


class StartsBusily(EchoAgent):
    """Computes when it starts, longer than a process that is to stop an agent has for its report."""

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        media.mark("starting")
        for _ in range(2):
            await asyncio.sleep(0)  # The mark gets out first.
        time.sleep(1.4)  # noqa: ASYNC251 - that is the point


class AudioRaises(EchoAgent):
    def on_audio(self, mulaw: bytes) -> None:
        raise RuntimeError(SECRET)


class AudioCancelled(EchoAgent):
    def on_audio(self, mulaw: bytes) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        future.result()


class StopHangs(EchoAgent):
    async def stop(self, reason: str) -> None:
        await asyncio.Event().wait()


class StopSwallows(EchoAgent):
    """Neither the limit nor `kill` ends it."""

    async def stop(self, reason: str) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


class StopAndKillRaise(EchoAgent):
    async def stop(self, reason: str) -> None:
        raise RuntimeError(SECRET)

    def kill(self) -> None:
        raise RuntimeError(SECRET)


class Forgetful(EchoAgent):
    """Leaves a task, a connection and a program behind; the tasks of what it shares are not its own."""

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        await super().start(call, media)
        loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(asyncio.Event().wait())
        await loop.create_connection(asyncio.Protocol, "127.0.0.1", call.definition.options["port"])
        await asyncio.create_subprocess_exec("sleep", "600")
        with shared():
            self.common = asyncio.create_task(asyncio.Event().wait())


class RunsProgram(EchoAgent):
    async def start(self, call: CallInfo, media: CallMedia) -> None:
        await super().start(call, media)
        self.program = await asyncio.create_subprocess_exec("sleep", "600")


class Busy(EchoAgent):
    """A key has it set a mark, and then compute for ever."""

    def on_dtmf(self, digit: str) -> None:
        self.media.mark("busy")
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._compute)  # The mark gets out first.

    def _compute(self) -> None:
        while True:
            pass


class Flooding(EchoAgent):
    """A key has it play tiny pieces without an end in sight."""

    def on_dtmf(self, digit: str) -> None:
        for _ in range(50_000):
            self.media.play(b"\x00")
        self.media.mark("flood")


ACTS: dict[str, type[EchoAgent]] = {
    act.__name__: act
    for act in (
        EchoAgent,
        StartRaises,
        StartBreaks,
        StartNever,
        StartLetsGoSlowly,
        StartFailsWhenStopped,
        StartsBusily,
        AudioRaises,
        AudioCancelled,
        StopHangs,
        StopSwallows,
        StopAndKillRaise,
        Forgetful,
        RunsProgram,
        Busy,
        Flooding,
    )
}


class ActingAgent(QuietAgent):
    """Becomes, when it starts, the agent that its call asks for."""

    async def start(self, call: CallInfo, media: CallMedia) -> None:
        self.__class__ = ACTS[call.definition.options["act"]]  # type: ignore[assignment]
        await self.start(call, media)


def components() -> dict[str, str]:
    return {"rudeness": "ok"}


async def warm() -> None:
    await asyncio.sleep(0)


if __name__ == "__main__":
    main({AgentKind.SCRIPTED: "__main__:ActingAgent", AgentKind.CHAIN: "no_such_module:Agent"})
