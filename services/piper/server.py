#!/usr/bin/env python3
"""The voice's server: a text in, its sound out, whole or sentence by sentence. The shapes are in ../README.md.

Piper is GPL and this process is the whole of its reach: the host talks to it through a socket. Piper's own server
holds back the answer until the last sentence is made, answers faults with HTML, and takes every core; this one
streams, has bounds, and runs the model on two threads that sleep when idle instead of spinning (a third faster
than spinning on two cores, and the host's media threads keep theirs).

Settings (environment): PIPER_HOST (127.0.0.1), PIPER_PORT (8103), PIPER_MODEL (a voice's .onnx with its .onnx.json;
default .cache/models/en_US-joe-medium.onnx), PIPER_LICENCE (the name that /health shows for another voice),
PIPER_THREADS (2), PIPER_WORKERS (1), PIPER_QUEUE (8), PIPER_VOLUME_PERCENT (70: Piper peaks at full scale, and a
telephone codec wants 3 dB of headroom).
"""

import json
import os
import sys
from urllib.parse import parse_qs, urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE)]

import numpy
import onnxruntime
from piper import PiperConfig, PiperVoice, SynthesisConfig  # The installed package: this folder has no __init__.py.

import pcm
from http_service import ClientGone, Refusal, Service, serve, setting

MAX_BODY_BYTES = 64 << 10
MAX_TEXT_CHARACTERS = 2000  # About two minutes of speech; an agent's turn is a few sentences.
SAMPLE_RATES_HZ = (8000, 16000, 22050, 24000, 48000)
# Piper's own parameters, with the bounds past which it stops sounding like speech.
SCALES = {"length_scale": (0.25, 4.0), "noise_scale": (0.0, 2.0), "noise_w_scale": (0.0, 2.0)}
DEFAULT_MODEL = os.path.join(HERE, "../../.cache/models/en_US-joe-medium.onnx")
DEFAULT_LICENCE = "CC0 recordings, fine-tuned from the voice lessac; engine GPL-3.0-or-later"


class Piper(Service):
    name = "piper"

    def __init__(self):
        self.model = os.path.abspath(os.environ.get("PIPER_MODEL") or DEFAULT_MODEL)
        self.threads = setting("PIPER_THREADS", 2, 1, 64)
        self.volume = setting("PIPER_VOLUME_PERCENT", 70, 1, 100) / 100
        is_default = self.model == os.path.abspath(DEFAULT_MODEL)
        self.licence = os.environ.get("PIPER_LICENCE") or (DEFAULT_LICENCE if is_default else "see the voice's card")
        super().__init__(setting("PIPER_WORKERS", 1, 1, 64), setting("PIPER_QUEUE", 8, 0, 1000))

    def load(self):
        with open(self.model + ".json", encoding="utf-8") as file:
            config = PiperConfig.from_dict(json.load(file))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        self.voice = PiperVoice(config=config, session=session)
        # The first sentences pay for memory and for espeak's tables; nobody should hear that.
        for text in ("Hello.", "One moment, please; I am looking for the answer to your question."):
            for _ in self.sentences(text, SynthesisConfig()):
                pass

    def describe(self):
        return {"model": os.path.basename(self.model).removesuffix(".onnx"), "licence": self.licence,
                "sampleRateHz": self.voice.config.sample_rate}

    def routes(self):
        return {("POST", "/synthesize"): self.synthesize}

    def sentences(self, text, config):
        for chunk in self.voice.synthesize(text, config):
            yield chunk.audio_float_array

    def synthesize(self, request):
        text, config, rate_hz = self._read(request)
        stream = parse_qs(urlsplit(request.path).query).get("stream", ["0"])[-1] not in ("0", "false", "")
        queue_ms = self.gate.enter(request.is_gone)
        try:
            pieces = self._pieces(request, text, config, rate_hz)
            seconds = self._stream(request, pieces, rate_hz) if stream else self._whole(request, pieces, rate_hz)
        finally:
            self.gate.leave()
        request.note = f"{seconds:.1f} s of speech, waited {queue_ms:.0f} ms"

    def _pieces(self, request, text, config, rate_hz):
        for sentence in self.sentences(text, config):
            if request.is_gone():
                raise ClientGone()
            yield pcm.resample(sentence, self.voice.config.sample_rate, rate_hz)

    def _stream(self, request, pieces, rate_hz):
        samples = 0
        first = next(pieces, numpy.zeros(0, numpy.float32))  # Before the status: a fault here is still a 500.
        request.begin_stream(f"audio/L16;rate={rate_hz};channels=1",
                             [("X-Sample-Rate", str(rate_hz)), ("X-Channels", "1")])
        piece = first
        while piece is not None:
            if len(piece):  # A chunk of length zero would end the body.
                request.send_piece(pcm.encode_s16(piece))
            samples += len(piece)
            piece = next(pieces, None)
        request.end_stream()
        return samples / rate_hz

    def _whole(self, request, pieces, rate_hz):
        samples = numpy.concatenate([numpy.zeros(0, numpy.float32), *pieces])
        request.answer(pcm.encode_wav(samples, rate_hz), "audio/wav", headers=[("X-Sample-Rate", str(rate_hz))])
        return len(samples) / rate_hz

    def _read(self, request):
        try:
            wish = json.loads(request.read_body(MAX_BODY_BYTES))
        except ValueError as error:
            raise Refusal(400, "bad_json", f"the body is no JSON ({error}); send {{\"text\":\"Hello.\"}}") from None
        text = wish.get("text") if isinstance(wish, dict) else None
        if not isinstance(text, str):
            raise Refusal(400, "bad_request", "the body has no string 'text'; send {\"text\":\"Hello.\"}")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise Refusal(413, "text_too_long", f"the text has {len(text)} characters and the limit is "
                          f"{MAX_TEXT_CHARACTERS}; send it sentence by sentence")
        if not any(character.isalnum() for character in text):
            raise Refusal(400, "empty_text", "the text has nothing to say; send at least one word")
        scales = {}
        for name, (low, high) in SCALES.items():
            value = wish.get(name)
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                    raise Refusal(400, "bad_request", f"{name} is {value!r}; it must be a number from {low} to {high}")
                scales[name] = value
        rate_hz = wish.get("sample_rate") or self.voice.config.sample_rate
        if rate_hz != self.voice.config.sample_rate and rate_hz not in SAMPLE_RATES_HZ:
            raise Refusal(400, "bad_request", f"sample_rate is {rate_hz!r}; it must be one of "
                          f"{', '.join(map(str, SAMPLE_RATES_HZ))}")
        return text, SynthesisConfig(volume=self.volume, **scales), rate_hz


if __name__ == "__main__":
    sys.exit(serve(Piper(), os.environ.get("PIPER_HOST") or "127.0.0.1", setting("PIPER_PORT", 8103, 0, 65535)))
