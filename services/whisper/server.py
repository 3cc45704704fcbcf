#!/usr/bin/env python3
"""The recogniser's server: one utterance in, its text out. The shapes are in ../README.md.

It speaks OpenAI's transcription form, so that anything written for that works with it, and a raw form without
multipart or RIFF around the samples, so that a host can send what lies in its ring.

Settings (environment): WHISPER_HOST (127.0.0.1), WHISPER_PORT (8101), WHISPER_MODEL (a folder; default
.cache/models/whisper-tiny.en), WHISPER_LICENCE (what /health shows for another model), WHISPER_THREADS (1),
WHISPER_WORKERS (1), WHISPER_QUEUE (8).
"""

import email.message
import os
import sys
from urllib.parse import parse_qs, urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import pcm
from http_service import ClientGone, Refusal, Service, serve, setting
from recogniser import Recogniser

MAX_BODY_BYTES = 24 << 20  # 120 s of 48 kHz stereo.
MAX_AUDIO_SECONDS = 120.0
SHIPPED_MODELS = ("whisper-tiny.en", "whisper-base")
DEFAULT_MODEL = os.path.join(HERE, "../../.cache/models/whisper-tiny.en")


class Whisper(Service):
    name = "whisper"

    def __init__(self):
        self.folder = os.path.abspath(os.environ.get("WHISPER_MODEL") or DEFAULT_MODEL)
        self.model_name = os.path.basename(self.folder)
        self.licence = os.environ.get("WHISPER_LICENCE") or (
            "MIT" if self.model_name in SHIPPED_MODELS else "see the model's card")
        self.threads = setting("WHISPER_THREADS", 1, 1, 64)
        super().__init__(setting("WHISPER_WORKERS", 1, 1, 64), setting("WHISPER_QUEUE", 8, 0, 1000))

    def load(self):
        if not os.path.isfile(os.path.join(self.folder, "model.bin")):
            raise FileNotFoundError(f"no model.bin in {self.folder}")
        self.recogniser = Recogniser(self.folder, self.threads, self.gate.workers)

    def describe(self):
        return {"model": self.model_name, "licence": self.licence, "languages": self.recogniser.languages}

    def routes(self):
        return {("POST", "/v1/audio/transcriptions"): self.transcribe, ("GET", "/v1/models"): self.list_models}

    def list_models(self, request):
        model = {"id": self.model_name, "object": "model", "created": 0, "owned_by": "local"}
        request.answer_json({"object": "list", "data": [model]})

    def transcribe(self, request):
        samples, rate_hz, fields = self._read(request)
        form = fields.get("response_format", "json")
        if form not in ("json", "verbose_json", "text"):
            raise Refusal(400, "bad_request", f"response_format is '{form}'; this service has json, verbose_json, text")
        language = self._language(fields.get("language", ""))
        if len(samples) == 0:
            raise Refusal(400, "empty_audio", "the request has no audio; send at least one sample")
        if len(samples) / rate_hz > MAX_AUDIO_SECONDS:
            raise Refusal(413, "audio_too_long", f"the audio has {len(samples) / rate_hz:.1f} s and the limit is "
                          f"{MAX_AUDIO_SECONDS:.0f} s; send one utterance in each request")
        queue_ms = self.gate.enter(request.is_gone)
        try:
            transcript = self.recogniser.transcribe(samples, rate_hz, language, request.is_gone)
        finally:
            self.gate.leave()
        if transcript is None:
            raise ClientGone()
        request.note = f"{transcript.duration:.1f} s of audio, waited {queue_ms:.0f} ms"
        if form == "text":
            request.answer(transcript.text.encode(), "text/plain; charset=utf-8")
        else:
            request.answer_json(answer_of(transcript, queue_ms, form == "verbose_json"))

    def _language(self, name):
        name = name.strip().lower().partition("-")[0]  # `en-GB` is English to Whisper.
        if name in ("", "auto"):
            return None if self.recogniser.multilingual else "en"
        if name not in self.recogniser.languages:
            raise Refusal(400, "language_unsupported", f"{self.model_name} does not know '{name}' but "
                          f"{', '.join(self.recogniser.languages)}; set WHISPER_MODEL to a model that does "
                          "(services/setup --with whisper-base)")
        return name

    def _read(self, request):
        """`(samples, rateHz, fields)` of any of the three forms."""
        kind, options = header_options(request.headers.get("Content-Type", ""))
        query = {name: values[-1] for name, values in parse_qs(urlsplit(request.path).query).items()}
        body = request.read_body(MAX_BODY_BYTES)
        try:
            if kind == "audio/l16":
                return *decode_raw(body, options), query
            if kind in ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"):
                return *pcm.decode_wav(body), query
            if kind == "multipart/form-data":
                fields = parse_form(body, options.get("boundary", ""))
                if "file" not in fields:
                    raise Refusal(400, "bad_request", "the form has no field 'file'; put a WAV file there")
                texts = {name: value.decode(errors="replace") for name, value in fields.items() if name != "file"}
                return *pcm.decode_wav(fields["file"]), {**query, **texts}
        except pcm.BadAudio as error:
            raise Refusal(400, "bad_audio", str(error)) from None
        raise Refusal(415, "unsupported_media_type", f"Content-Type is '{kind}'; send audio/L16;rate=8000, audio/wav, "
                      "or multipart/form-data with a WAV in 'file'")


def decode_raw(body, options):
    try:
        rate_hz, channels = int(options["rate"]), int(options.get("channels", "1"))
    except (KeyError, ValueError):
        raise pcm.BadAudio("audio/L16 needs its rate as a number: audio/L16;rate=8000;channels=1") from None
    if not pcm.MIN_RATE_HZ <= rate_hz <= pcm.MAX_RATE_HZ or channels not in (1, 2):
        raise pcm.BadAudio(f"audio/L16 has rate {rate_hz} and {channels} channel(s); the rate must be from "
                           f"{pcm.MIN_RATE_HZ} to {pcm.MAX_RATE_HZ}, with 1 or 2 channels")
    order = options.get("endianness", "little-endian")
    if order not in ("little-endian", "big-endian"):
        raise pcm.BadAudio(f"endianness is '{order}'; it must be little-endian or big-endian")
    return pcm.decode_s16(body, channels, order == "big-endian"), rate_hz


def header_options(value):
    """`("audio/l16", {"rate": "8000"})` of a header value with parameters (RFC 9110 section 5.6.6)."""
    message = email.message.Message()
    message["Content-Type"] = value or "none/none"
    options = {name.lower(): text for name, text in message.get_params()[1:]}
    return message.get_content_type() if value else "", options


def parse_form(body, boundary):
    """`{name: bytes}` of a multipart form (RFC 7578)."""
    mark = b"--" + boundary.encode()
    if not boundary or not body.startswith((mark, b"\r\n" + mark)):
        raise Refusal(400, "bad_request", "the multipart body does not begin with the boundary of its Content-Type")
    if b"\r\n" + mark + b"--" not in body:
        raise Refusal(400, "bad_request", "the multipart body does not end with its closing boundary: it was cut off")
    fields = {}
    for part in (b"\r\n" + body).split(b"\r\n" + mark)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        for line in head.decode(errors="replace").split("\r\n"):
            name, _, value = line.partition(":")
            if name.strip().lower() == "content-disposition":
                fields[header_options(value.strip())[1].get("name", "")] = content
    return fields


def answer_of(transcript, queue_ms, verbose):
    main = max(transcript.segments, key=lambda segment: segment.end - segment.start)
    answer = {
        "text": transcript.text, "language": transcript.language, "duration": round(transcript.duration, 3),
        "confidence": round(transcript.confidence, 3),
        "timing": {"queueMs": round(queue_ms, 1), "decodeMs": round(transcript.decode_ms, 1),
                   "windowSeconds": round(main.window_seconds, 2), "fallback": main.fallback or None},
    }
    if verbose:
        answer["task"] = "transcribe"
        answer["segments"] = [
            {"id": index, "start": round(s.start, 3), "end": round(s.end, 3), "text": s.text,
             "avg_logprob": round(s.score, 3), "no_speech_prob": round(s.no_speech_probability, 3)}
            for index, s in enumerate(transcript.segments)]
    return answer


if __name__ == "__main__":
    sys.exit(serve(Whisper(), os.environ.get("WHISPER_HOST") or "127.0.0.1", setting("WHISPER_PORT", 8101, 0, 65535)))
