#!/usr/bin/env python3
"""The existing gRPC services, rebuilt on grpcio from the messages in Plugins/*/*.proto: what the deployed ones do, and no more.

    grpc_peer.py [--token TOKEN] [--tls CERTIFICATE KEY] [--port PORT] [--hears FILE.wav]

It prints `{"event": "listening", "port": N}` once it listens, then a line for whatever happens, and ends when its standard
input closes. Lines of JSON on standard input change it: `{"text": "merhaba"}` is what the recogniser understands,
`{"answer": ["Evet", ". "]}` what the model says, `{"everyMs": 50}` and `{"audioEveryMs": 15}` how fast, `{"fault": {"method": "ProcessText", "kind":
"unavailable", "times": 1}}` what goes wrong:

    unavailable, exhausted, deadline   the call ends with that status, before its first message
    slow (ms)                          the first message is late
    stall                              nothing comes after the first message, until the client gives up
    break                              the call ends with INTERNAL after the first message
    nonsense                           bytes that are no message of the method
    said                               the service's own way to fail: `Error: ...`, SynthesisError, an empty final result

A voice of such a name fails that way, always.

It is strict: what the deployed servers would misunderstand is INVALID_ARGUMENT here. The recogniser understands only what
is like the recording that it `--hears`: a loudness curve over time, as Tests/EndToEnd/sound.py compares it.
"""

import argparse
import array
import concurrent.futures
import importlib
import json
import math
import pathlib
import sys
import tempfile
import threading
import time

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))
import sound  # noqa: E402  (the folder of the end-to-end tests)

MODEL_RATE_HZ = 22050
CHUNK_BYTES = 882  # 20 ms of it
STATUS = {"unavailable": grpc.StatusCode.UNAVAILABLE, "exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
          "deadline": grpc.StatusCode.DEADLINE_EXCEEDED}
FAULTS = [*STATUS, "slow", "stall", "break", "nonsense", "said"]
lock = threading.Lock()


def generated(*protos):
    """The modules of NAME_pb2, made now: nothing generated is kept."""
    folder = tempfile.mkdtemp(prefix="grpc-peer-")
    for proto in protos:
        if protoc.main(["", f"-I{proto.parent}", f"--python_out={folder}", str(proto)]) != 0:
            raise SystemExit(f"{proto} could not be read")
    sys.path.insert(0, folder)
    return [importlib.import_module(proto.stem + "_pb2") for proto in protos]


def tell(event, **members):
    with lock:
        print(json.dumps({"event": event, "at": time.monotonic(), **members}, ensure_ascii=False), flush=True)


class Peer:
    """What the three services share: the script, the token, and what goes wrong."""

    def __init__(self, token):
        self.token = token
        self.script = {"text": "merhaba dünya", "answer": ["Tabii", " efendim", "."], "everyMs": 0, "audioEveryMs": 0,
                       "msPerCharacter": 60}
        self.faults = {}

    def command(self, line):
        message = json.loads(line)
        fault = message.pop("fault", None)
        if fault:
            self.faults[fault["method"]] = dict({"times": 1}, **fault)
        self.script.update(message)
        tell("ok")

    def enter(self, method, context, kind=None):
        """Refuses who has no token, and what is to fail now; returns the fault that comes later."""
        metadata = dict(context.invocation_metadata())
        tell("called", method=method, agent=metadata.get("user-agent", ""))
        over = threading.Event()
        context.add_callback(over.set)

        def watch():
            over.wait()
            if not context.is_complete:
                tell("cancelled", method=method)
        context.is_complete = False
        threading.Thread(target=watch, daemon=True).start()
        if self.token and metadata.get("authorization") != "Bearer " + self.token:
            self.abort(context, grpc.StatusCode.UNAUTHENTICATED, "no or wrong token")
        fault = {"kind": kind, "times": 1} if kind in FAULTS else self.faults.get(method, {})
        if not fault or fault["times"] <= 0:
            return {}
        fault["times"] -= 1
        if fault["kind"] in STATUS:
            self.abort(context, STATUS[fault["kind"]], "as scripted: " + fault["kind"])
        if fault["kind"] == "slow":
            over.wait(fault.get("ms", 1000) / 1000)
        return fault

    def abort(self, context, code, words):
        context.is_complete = True
        context.abort(code, words)

    def after_first(self, fault, context):
        if fault.get("kind") == "stall":
            while context.is_active():
                time.sleep(0.01)
        if fault.get("kind") == "break":
            self.abort(context, grpc.StatusCode.INTERNAL, "as scripted: broken in mid-stream")

    def need(self, context, condition, words):
        if not condition:
            tell("refused", words=words)
            self.abort(context, grpc.StatusCode.INVALID_ARGUMENT, words)


class Recogniser:
    def __init__(self, peer, asr, hears):
        self.peer, self.asr, self.hears = peer, asr, hears

    def streaming_recognize(self, requests, context):
        asr, peer = self.asr, self.peer
        fault = peer.enter("StreamingRecognize", context)
        rate, heard, said_partial = 16000, bytearray(), False
        for number, request in enumerate(requests):
            kind = request.WhichOneof("request_type")
            if kind == "config":
                peer.need(context, number == 0, "config must be the first message")
                peer.need(context, request.config.sample_rate in (8000, 16000), "sample_rate must be 8000 or 16000")
                peer.need(context, request.config.max_alternatives == 0, "alternatives yield empty texts")
                rate = int(request.config.sample_rate)
                tell("config", rate=rate, words=request.config.show_words, phrases=list(request.config.phrase_list))
                show_words = request.config.show_words
            elif kind == "audio_data":
                peer.need(context, number > 0, "the first message must be config")
                peer.need(context, request.audio_data and len(request.audio_data) % 2 == 0, "audio of half a sample")
                heard += request.audio_data
                if fault.get("kind") == "nonsense":
                    yield b"\x0a\xff"
                # One response for each message of audio, also when nothing was understood.
                is_loud = len(heard) > rate // 2 and max(array.array("h", bytes(heard[-640:])), default=0) > sound.LOUD
                text = peer.script["text"].split(" ")[0] if is_loud or said_partial else ""
                said_partial = said_partial or is_loud
                yield asr.StreamingRecognizeResponse(result=asr.RecognitionResult(text=text, confidence=0.7 if text else 0))
                peer.after_first(fault, context)
            elif kind == "control_message":
                peer.need(context, request.control_message == '{"eof":1}', "control_message must be {\"eof\":1}")
                text = self.understood(heard, rate)
                tell("heard", samples=len(heard) // 2, rate=rate, text=text)
                words = [asr.WordInfo(word=word, confidence=0.9, start=0.1 * at, end=0.1 * at + 0.1)
                         for at, word in enumerate(text.split())] if show_words else []
                if fault.get("kind") == "said":
                    text = ""
                context.is_complete = True
                yield asr.StreamingRecognizeResponse(
                    result=asr.RecognitionResult(text=text, confidence=0.9, words=words), is_final=True, end_of_utterance=True)
                return
            # A message without any member set is ignored, as the deployed server does.
        context.is_complete = True

    def understood(self, heard, rate):
        samples = array.array("h", bytes(heard))[::rate // 8000]
        if not self.hears:
            return self.peer.script["text"] if any(level > sound.LOUD for level in sound.levels(samples)) else ""
        likeness = sound.likeness(self.hears, samples)
        tell("likeness", value=round(likeness, 3))
        return self.peer.script["text"] if likeness > 0.8 else ""


class Model:
    def __init__(self, peer, llm):
        self.peer, self.llm = peer, llm

    def process_text(self, request, context):
        peer, llm = self.peer, self.llm
        fault = peer.enter("ProcessText", context)
        peer.need(context, request.text.strip(), "text is empty")
        tell("asked", text=request.text, prompt=request.system_prompt, temperature=round(request.temperature, 3),
             maxTokens=request.max_tokens, topP=round(request.top_p, 3), stop=list(request.stop))
        if fault.get("kind") == "said":
            context.is_complete = True
            yield llm.TextResponse(chunk="Error: model is not loaded", done=True)
            return
        if fault.get("kind") == "nonsense":
            yield b"\x0a\xff"
        for chunk in list(peer.script["answer"]):
            if not context.is_active():
                return
            yield llm.TextResponse(chunk=chunk)
            peer.after_first(fault, context)
            time.sleep(peer.script["everyMs"] / 1000)
        context.is_complete = True
        yield llm.TextResponse(chunk="", done=True)


class Voice:
    def __init__(self, peer, tts):
        self.peer, self.tts = peer, tts

    def synthesize_text(self, request, context):
        peer, tts = self.peer, self.tts
        fault = peer.enter("SynthesizeText", context, request.voice)
        tell("spoke", text=request.text, voice=request.voice, rate=request.sample_rate)
        if fault.get("kind") == "said" or not request.text.strip():
            code = "SYNTHESIS_ERROR" if request.text.strip() else "EMPTY_TEXT"
            context.is_complete = True
            yield tts.SynthesizeResponse(error=tts.SynthesisError(error_message="as scripted", error_code=code))
            return
        if fault.get("kind") == "nonsense":
            yield b"\x0a\xff"
        rate = request.sample_rate or MODEL_RATE_HZ  # What it says, and never does.
        yield tts.SynthesizeResponse(started=tts.SynthesisStarted(message="Starting audio stream", audio_info=tts.AudioInfo(
            sample_rate=rate, channels=1, bit_depth=16, format=f"PCM 16-bit mono, {rate} Hz")))
        audio = tone(len(request.text) * peer.script["msPerCharacter"])
        count = 0
        for at in range(0, len(audio), CHUNK_BYTES):
            if not context.is_active():
                return
            yield tts.SynthesizeResponse(audio_chunk=audio[at:at + CHUNK_BYTES])
            count += 1
            time.sleep(peer.script["audioEveryMs"] / 1000)
            if count == 5:
                peer.after_first(fault, context)
        context.is_complete = True
        yield tts.SynthesizeResponse(completed=tts.SynthesisCompleted(message="Audio stream complete", stats=tts.SynthesisStats(
            audio_duration_seconds=len(audio) / 2 / rate, total_bytes=len(audio), packet_count=count)))


def tone(ms, rate=MODEL_RATE_HZ, hertz=440):
    return array.array("h", (int(8000 * math.sin(2 * math.pi * hertz * at / rate)) for at in range(ms * rate // 1000))).tobytes()


def encode(message):
    return message if isinstance(message, bytes) else message.SerializeToString()


def handlers(peer, hears):
    asr, llm, tts = generated(*(ROOT / "Plugins" / name for name in (
        "STTGrpc/asr.proto", "LLMGrpc/llm.proto", "TTSGrpc/tts.proto")))
    return [
        grpc.method_handlers_generic_handler("opensips.ai.asr.ASRService", {
            "StreamingRecognize": grpc.stream_stream_rpc_method_handler(
                Recogniser(peer, asr, hears).streaming_recognize, asr.StreamingRecognizeRequest.FromString, encode)}),
        grpc.method_handlers_generic_handler("opensips.ai.llm.LLMService", {
            "ProcessText": grpc.unary_stream_rpc_method_handler(
                Model(peer, llm).process_text, llm.TextProcessingRequest.FromString, encode)}),
        grpc.method_handlers_generic_handler("opensips.ai.tts.TTSService", {
            "SynthesizeText": grpc.unary_stream_rpc_method_handler(
                Voice(peer, tts).synthesize_text, tts.SynthesizeRequest.FromString, encode)}),
    ]


def serve(port, handlers, tls=None):
    """A server on `port`, or one that is free; its port."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64))
    server.add_generic_rpc_handlers(handlers)
    address = f"127.0.0.1:{port}"
    if tls:
        certificate, key = (pathlib.Path(path).read_bytes() for path in tls)
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    tell("listening", port=port)
    return server


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--token", default="")
    arguments.add_argument("--tls", nargs=2)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--hears")
    given = arguments.parse_args()
    peer = Peer(given.token)
    server = serve(given.port, handlers(peer, sound.read(given.hears)[0] if given.hears else None), given.tls)
    for line in sys.stdin:
        peer.command(line)
    server.stop(0)


if __name__ == "__main__":
    main()
