"""The peer of P1: an agent on pipecat with the same task as ours, its own Twilio serializer, Silero on every call and instant providers.

    pipecat_agent.py PORT      in a Python environment that has pipecat-ai[silero,websocket] (requirements-pipecat.txt)

Its turns end as ours do in the benchmark, by a timer: 200 ms of silence for the detector and 120 ms more. What it says is a tone
of two seconds. Nothing is logged and no metrics are taken, which is the kinder setting.
"""

import array
import json
import math
import os
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (LLMContextFrame, LLMFullResponseEndFrame, LLMFullResponseStartFrame, LLMTextFrame, TranscriptionFrame,
                                   TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame, TTSTextFrame, VADUserStoppedSpeakingFrame)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 8000
SECONDS = int(os.environ.get("PIPECAT_SECONDS", 2))
AMPLITUDE = 32767 * 10 ** (-30 / 20)
TONE = array.array("h", (int(AMPLITUDE * math.sin(2 * math.pi * 220 * i / RATE_HZ)) for i in range(RATE_HZ * SECONDS))).tobytes()
WORDS = "we are open from nine to five"


class InstantSTT(FrameProcessor):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            await self.push_frame(TranscriptionFrame("when are you open", "caller", "", finalized=True))


class InstantLLM(FrameProcessor):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            return await self.push_frame(frame, direction)
        await self.push_frame(LLMFullResponseStartFrame())
        for word in WORDS.split():
            await self.push_frame(LLMTextFrame(word + " "))
        await self.push_frame(LLMFullResponseEndFrame())


class InstantTTS(FrameProcessor):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame):
            return
        if isinstance(frame, LLMFullResponseEndFrame):
            await self.push_frame(TTSStartedFrame())
            await self.push_frame(TTSAudioRawFrame(audio=TONE, sample_rate=RATE_HZ, num_channels=1))
            await self.push_frame(TTSTextFrame(WORDS, text_type="sentence"))
            await self.push_frame(TTSStoppedFrame())
        await self.push_frame(frame, direction)


app = FastAPI()


@app.websocket("/media")
async def media(socket: WebSocket):
    await socket.accept()
    await socket.receive_text()
    start = json.loads(await socket.receive_text())["start"]
    serializer = TwilioFrameSerializer(
        stream_sid=start["streamSid"], call_sid=start["callSid"], params=TwilioFrameSerializer.InputParams(auto_hang_up=False))
    transport = FastAPIWebsocketTransport(
        websocket=socket, params=FastAPIWebsocketParams(
            audio_in_enabled=True, audio_out_enabled=True, add_wav_header=False, serializer=serializer))
    aggregators = LLMContextAggregatorPair(
        LLMContext([{"role": "system", "content": "You answer."}]), user_params=LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.2)),
            user_turn_strategies=UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.12)])))
    pipeline = Pipeline([
        transport.input(), InstantSTT(), aggregators.user(), InstantLLM(), InstantTTS(), transport.output(), aggregators.assistant()])
    worker = PipelineWorker(
        pipeline, params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ), idle_timeout_secs=None,
        enable_rtvi=False)

    @transport.event_handler("on_client_disconnected")
    async def gone(transport, client):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    logger.remove()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
