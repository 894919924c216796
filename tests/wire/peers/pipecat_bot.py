"""A pipecat bot as its makers would write it for Twilio; run by the interpreter of pipecat's own environment.

Transport, serializer, handshake parser, voice detection and interruption are pipecat's, unmodified; what would be
speech recognition, a model and a voice is `Mind`: it plays tones and does what keys say. The environment says how to
hang up, as for Twilio: `TWILIO_ACCOUNT_SID`, `TWILIO_AUTH_TOKEN`, and `TWILIO_BASE_URL` for ours.

`python pipecat_bot.py SECONDS` prints its port and serves `/bot`; the first words of each call are a tone of SECONDS.
Each thing that happens is printed as one line of JSON.
"""

import json
import math
import os
import socket
import struct
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    EndWorkerFrame,
    Frame,
    InputDTMFFrame,
    OutputAudioRawFrame,
    VADUserStartedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 8000
GOODBYE_S = 0.6

app = FastAPI()


def tell(event: str, **facts: object) -> None:
    """Print one thing that happened."""
    print(json.dumps({"event": event, **facts}), flush=True)


def tone(seconds: float, hertz: int) -> OutputAudioRawFrame:
    """Return a loud tone."""
    samples = (int(12_000 * math.sin(2 * math.pi * hertz * n / RATE)) for n in range(int(seconds * RATE)))
    return OutputAudioRawFrame(b"".join(struct.pack("<h", one) for one in samples), RATE, 1)


class Mind(FrameProcessor):
    """Says a goodbye and hangs up when 1 is pressed; is silent once somebody talks over it."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take what comes from the caller; pass all else on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputDTMFFrame):
            tell("key", digit=frame.button.value)
            await self.push_frame(tone(GOODBYE_S, 700))
            await self.push_frame(EndWorkerFrame())
        elif isinstance(frame, VADUserStartedSpeakingFrame) and direction is FrameDirection.DOWNSTREAM:
            tell("interrupted")
            await self.broadcast_interruption()
        else:
            await self.push_frame(frame, direction)


@app.websocket("/bot")
async def bot(websocket: WebSocket) -> None:
    """Serve one call."""
    await websocket.accept()
    provider, call = await parse_telephony_websocket(websocket)
    serializer = TwilioFrameSerializer(
        stream_sid=call.stream_id,
        call_sid=call.call_id,
        account_sid=os.environ["TWILIO_ACCOUNT_SID"],
        auth_token=os.environ["TWILIO_AUTH_TOKEN"],
        base_url=os.environ["TWILIO_BASE_URL"],
    )
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer)
    transport = FastAPIWebsocketTransport(websocket, params)
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(sample_rate=RATE))
    worker = PipelineWorker(
        Pipeline([transport.input(), vad, Mind(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
    )

    @transport.event_handler("on_client_connected")
    async def on_connected(_transport: object, _client: object) -> None:
        tell("connected", provider=provider, call=call.call_id, body=call.body)
        await worker.queue_frame(tone(float(sys.argv[1]), 500))

    @transport.event_handler("on_client_disconnected")
    async def on_disconnected(_transport: object, _client: object) -> None:
        tell("disconnected")
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    tell("finished")


def main() -> None:
    """Serve on a free port."""
    door = socket.create_server(("127.0.0.1", 0))
    tell("ready", port=door.getsockname()[1])
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([door])


if __name__ == "__main__":
    main()
