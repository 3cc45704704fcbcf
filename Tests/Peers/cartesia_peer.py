#!/usr/bin/env python3
"""Cartesia's text to speech over WebSocket, as its documentation has it, strict where it is. Standard library only.

It prints "port N" once it listens, and ends when its standard input closes. Speech is a tone, 40 ms for each letter,
as high as the voice's id says (`pitch`), made eight times as fast as it is said (`--faster 8`).
`--idle 300`: seconds without a message after which a connection is closed.

    /tts/websocket   the key in Authorization, X-API-Key or ?api_key=, the version in Cartesia-Version or ?cartesia_version=
    /voices          the list, in pages
    /faults, /log    as in voice_server.py

Faults: refuse {status}, slow {ms}, stall, stallAfter {chunks}, dropAfter {chunks}, closeAfter {chunks, code}, halfClose,
garbage, binary, odd (chunks of an odd number of bytes), error {status, code, message, withoutContext}, noFlushDone.
"""

import base64
import itertools
import json
import re
import socket
import threading
import time

from voice_server import BINARY, FASTER, TEXT, Closed, Server, option, tone

KEY = "sk_car_test"
RATES = (8000, 16000, 22050, 24000, 44100, 48000)
ENCODINGS = {"pcm_f32le": 4, "pcm_s16le": 2, "pcm_mulaw": 1, "pcm_alaw": 1}
LANGUAGES = set("en fr de es pt zh ja hi it ko nl pl ru sv tr tl bg ro ar cs el fi hr ms sk da ta uk hu no vi bn th he ka id te gu "
                "kn ml mr pa".split())
# What may stand in a generation, and of what type.
FIELDS = {
    "model_id": str, "transcript": str, "voice": dict, "language": str, "context_id": str, "output_format": dict, "continue": bool,
    "flush": bool, "max_buffer_delay_ms": int, "add_timestamps": bool, "add_phoneme_timestamps": bool,
    "use_normalized_timestamps": bool, "generation_config": dict, "pronunciation_dict_id": str, "speed": str, "duration": (int, float),
}
MS_PER_LETTER, CHUNK_MS = 40, 100
# Contexts at a time, as an account on the third plan has them.
CONTEXTS_MAX = 5
EXPIRY_S = 1.0
# Fewer than anybody asks for, so that every client has to turn the page.
VOICES_A_PAGE = 2
VOICES = [{"id": f"{number:08x}-0000-4000-8000-00000000000{number}", "name": name, "language": language, "gender": gender,
           "description": "", "tagline": "", "country": None, "access": "public", "visibility": "public", "is_owner": False,
           "created_at": "2026-01-01T00:00:00Z", "locales": [], "accent": None}
          for number, name, language, gender in ((1, "Ada", "en", "feminine"), (2, "Deniz", "tr", "masculine"),
                                                 (3, "Kaan", "tr", "masculine"))]


def pitch(voice):
    """What a test listens for."""
    return 300 + 50 * (sum(voice.encode()) % 12)


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def need(condition, code, message, status=400):
    if not condition:
        raise Refused(status, code, message)


def check(message):
    """Everything about a generation that needs no memory."""
    for name, value in message.items():
        need(name in FIELDS, "invalid_request", f"unknown field {name}")
        # A flag is an integer for Python and not for JSON.
        need(isinstance(value, FIELDS[name]) and (FIELDS[name] is not int or not isinstance(value, bool)), "invalid_request",
             f"{name} has the wrong type")
    for name in ("model_id", "transcript", "voice", "output_format", "context_id"):
        need(name in message, "missing_field", f"{name} is missing")
    need(re.fullmatch(r"sonic(-[\w.]+)*", message["model_id"]), "model_not_found", f"no model {message['model_id']}", 404)
    voice, form = message["voice"], message["output_format"]
    need(voice.keys() == {"mode", "id"} and voice["mode"] == "id", "invalid_request", "voice has no mode id")
    need(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", voice["id"]), "voice_not_found", f"no voice {voice['id']}", 404)
    need(form.keys() == {"container", "encoding", "sample_rate"} and form["container"] == "raw", "invalid_request",
         "only raw over a WebSocket")
    need(form["encoding"] in ENCODINGS and form["sample_rate"] in RATES, "invalid_request", "no such encoding or rate")
    need(message.get("language", "en") in LANGUAGES, "invalid_request", f"no language {message.get('language')}")
    need(0 <= message.get("max_buffer_delay_ms", 3000) <= 5000, "invalid_request", "max_buffer_delay_ms is 0 to 5000")
    config = message.get("generation_config", {})
    need(config.keys() <= {"speed", "volume", "emotion"}, "invalid_request", "unknown member of generation_config")
    need(0.6 <= config.get("speed", 1) <= 1.5 and 0.5 <= config.get("volume", 1) <= 2, "invalid_request", "speed or volume")


class Context(threading.Thread):
    """Speaks what is put into it, in order, until it is told that no more comes, or for a second nothing does."""

    def __init__(self, line, name, fixed):
        super().__init__(daemon=True)
        self.line, self.name_, self.fixed = line, name, fixed
        self.texts, self.changed = [], threading.Condition()
        self.is_ended = self.is_canceled = self.is_over = False
        self.samples = 0
        self.flush = 1
        form = fixed["output_format"]
        self.rate_hz, self.encoding = form["sample_rate"], form["encoding"]

    def put(self, text, is_last, flush):
        with self.changed:
            if text or flush:
                self.texts.append((text, flush))
            self.is_ended = self.is_ended or is_last
            self.changed.notify()

    def cancel(self):
        with self.changed:
            self.is_canceled = True
            self.changed.notify()

    def say(self, **message):
        self.line.socket.send_json({**message, "context_id": self.name_})

    def run(self):
        try:
            while text := self.next():
                self.speak(*text)
            if not self.is_canceled:
                self.say(type="done", done=True, status_code=206)
        except Closed:
            pass
        finally:
            self.is_over = True
            self.line.server.note("over", context=self.name_, canceled=self.is_canceled)

    def next(self):
        """The next text, or None when none comes any more. Text without an end is waited with, as the buffer does."""
        delay_s = self.fixed.get("max_buffer_delay_ms", 3000) / 1000
        with self.changed:
            self.changed.wait_for(lambda: self.texts or self.is_ended or self.is_canceled, timeout=EXPIRY_S if self.samples else 60)
            if self.is_canceled or not self.texts:
                return None
            if delay_s == 0:
                text, _ = self.texts.pop(0)
                return text, True
            whole = lambda: "".join(text for text, _ in self.texts)
            self.changed.wait_for(lambda: self.is_ended or self.is_canceled or any(flush for _, flush in self.texts)
                                  or whole().rstrip().endswith((".", "!", "?")), timeout=delay_s)
            text, flush = whole(), any(flush for _, flush in self.texts)
            self.texts.clear()
            return text, flush

    def speak(self, text, flushes):
        server = self.line.server
        fault = server.fault("slow", "stall", "stallAfter", "dropAfter", "closeAfter", "halfClose", "garbage", "binary", "odd", "error",
                             "noFlushDone")
        kind = fault["name"] if fault else ""
        server.note("generation", context=self.name_, transcript=text, fault=kind)
        if kind == "error":
            answer = refusal(Refused(fault["status"], fault.get("code", ""), fault.get("message", "as asked")), self.name_)
            if fault.get("withoutContext"):
                del answer["context_id"]
            self.line.socket.send_json(answer)
            self.is_canceled = True
            return
        if kind == "stall":
            return self.line.socket.is_over.wait(60)
        time.sleep(0.04 + fault["ms"] / 1000 if kind == "slow" else 0.04)
        if kind == "garbage":
            return self.line.socket.send(TEXT, b"<html>no message</html>")
        if kind == "binary":
            return self.line.socket.send(BINARY, bytes(320))
        if fault and fault.get("chunks") == 0:
            return self.end(fault)
        self.tell_words(text)
        left = len(text) * MS_PER_LETTER * self.rate_hz // 1000 if any(letter.isalnum() for letter in text) else 0
        rest = b""
        for number in itertools.count(1):
            if left <= 0 or self.is_canceled:
                break
            count = min(left, CHUNK_MS * self.rate_hz // 1000)
            data = rest + self.coded(tone(pitch(self.fixed["voice"]["id"]), self.samples, count, self.rate_hz))
            rest = b""
            if kind == "odd" and left > count:
                data, rest = data[:-1], data[-1:]
            self.chunk(data)
            self.samples += count
            left -= count
            if fault and number == fault.get("chunks"):
                return self.end(fault)
            if kind == "halfClose":
                self.line.socket.sock.shutdown(socket.SHUT_WR)
                raise Closed
            time.sleep(count / self.rate_hz / FASTER)
        if self.is_canceled:
            # What was made already goes out all the same.
            time.sleep(0.02)
            return self.chunk(self.coded(tone(pitch(self.fixed["voice"]["id"]), self.samples, 800, self.rate_hz)))
        if flushes and kind != "noFlushDone":
            self.say(type="flush_done", done=False, flush_done=True, flush_id=self.flush, status_code=206)
            self.flush += 1

    def chunk(self, data):
        self.line.server.note("chunk", context=self.name_, canceled=self.is_canceled)
        self.say(type="chunk", data=base64.b64encode(data).decode(), done=False, status_code=206, step_time=12.5, flush_id=self.flush)

    def end(self, fault):
        if fault["name"] == "stallAfter":
            self.line.socket.is_over.wait(60)
        elif fault["name"] == "closeAfter":
            self.line.socket.close(fault.get("code", 1011), "as asked")
        else:
            self.line.socket.drop()
        raise Closed

    def tell_words(self, text):
        if not self.fixed.get("add_timestamps"):
            return
        found = [match for match in re.finditer(r"\S+", text) if any(letter.isalnum() for letter in match.group())]
        if not found:
            return
        begin = self.samples / self.rate_hz
        seconds = MS_PER_LETTER / 1000
        self.say(type="timestamps", done=False, status_code=206, flush_id=self.flush, word_timestamps={
            "words": [match.group() for match in found],
            "start": [round(begin + match.start() * seconds, 3) for match in found],
            "end": [round(begin + match.end() * seconds, 3) for match in found]})

    def coded(self, linear):
        samples = memoryview(linear).cast("h")
        if self.encoding == "pcm_s16le":
            return linear
        if self.encoding == "pcm_f32le":
            import array
            return array.array("f", (sample / 32768 for sample in samples)).tobytes()
        need(self.encoding == "pcm_mulaw", "invalid_request", "this fake has no A-law")
        coded = bytearray()
        for sample in samples:
            sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
            magnitude = min(magnitude, 32635) + 132
            exponent = magnitude.bit_length() - 8
            coded.append(~(sign | exponent << 4 | magnitude >> exponent + 3 & 15) & 0xFF)
        return bytes(coded)


def refusal(refused, context):
    return {"type": "error", "done": True, "status_code": refused.status, "title": "Refused", "message": refused.message,
            "error_code": refused.code, "doc_url": "https://docs.cartesia.ai", "request_id": "req-1", "context_id": context}


class Line:
    """One WebSocket and its contexts."""

    def __init__(self, server, socket_, idle_s):
        self.server, self.socket = server, socket_
        self.contexts = {}
        socket_.sock.settimeout(idle_s)

    def run(self):
        while True:
            kind, payload = self.socket.message()
            context = None
            try:
                need(kind == TEXT, "invalid_request", "only text is taken")
                try:
                    message = json.loads(payload)
                except ValueError:
                    message = None
                need(isinstance(message, dict), "invalid_request", "not a JSON object")
                context = message.get("context_id")
                self.server.note("message", message=message)
                self.take(message)
            except Refused as refused:
                answer = refusal(refused, context)
                if context is None:
                    del answer["context_id"]
                self.server.note("refused", message=refused.message)
                self.socket.send_json(answer)

    def take(self, message):
        if "cancel" in message:
            need(message.keys() == {"context_id", "cancel"} and message["cancel"] is True, "invalid_request", "a cancel has no more")
            if context := self.contexts.get(message["context_id"]):
                context.cancel()
            return
        check(message)
        name = message["context_id"]
        fixed = {key: value for key, value in message.items() if key not in ("transcript", "continue", "flush", "context_id")}
        context = self.contexts.get(name)
        if context is None:
            active = sum(not other.is_over for other in self.contexts.values())
            need(active < CONTEXTS_MAX, "concurrency_limited", f"{active} contexts are active", 429)
            context = self.contexts[name] = Context(self, name, fixed)
            context.start()
        need(not context.is_over and not context.is_ended and not context.is_canceled, "context_expired", f"{name} is over")
        need(context.fixed == fixed, "invalid_request", "within a context only the transcript changes")
        context.put(message["transcript"], not message.get("continue", False), message.get("flush", False))


def main():
    server = Server(lambda request: refuse(request), lambda request, socket_: speak(request, socket_), lambda request: answer(request))

    def refuse(request):
        if fault := server.fault("refuse"):
            server.note("upgrade", status=fault["status"])
            return fault["status"], {"title": "Refused", "message": "as asked", "error_code": "as_asked"}
        if problem := unauthorized(request):
            server.note("upgrade", status=problem[0])
            return problem
        return None if request.path == "/tts/websocket" else (404, {"title": "Not found"})

    def unauthorized(request):
        bearer = request.headers.get("authorization", "")
        key = bearer[7:] if bearer.startswith("Bearer ") else request.headers.get("x-api-key") or request.query.get("api_key")
        if key != KEY:
            return 401, {"title": "Unauthorized", "message": "Invalid API key.", "error_code": "invalid_api_key"}
        version = request.headers.get("cartesia-version") or request.query.get("cartesia_version") or ""
        if not re.fullmatch(r"20\d\d-\d\d-\d\d", version):
            return 400, {"title": "Bad request", "message": "Cartesia-Version is missing.", "error_code": "missing_version"}
        return None

    def speak(request, socket_):
        server.note("upgrade", status=101, version=request.headers.get("cartesia-version"))
        try:
            Line(server, socket_, option("--idle", 300)).run()
        except TimeoutError:
            socket_.close(1000, "idle")

    def answer(request):
        if request.path != "/voices":
            return None
        if problem := unauthorized(request):
            return problem
        first = next((i + 1 for i, voice in enumerate(VOICES) if voice["id"] == request.query.get("starting_after")), 0)
        page = VOICES[first:first + min(int(request.query.get("limit", 10)), VOICES_A_PAGE)]
        has_more = first + len(page) < len(VOICES)
        return 200, {"data": page, "has_more": has_more, "next_page": page[-1]["id"] if has_more else None}, (
            "Content-Type: application/json",)

    server.run()


if __name__ == "__main__":
    main()
