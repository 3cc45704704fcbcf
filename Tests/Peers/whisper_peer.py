#!/usr/bin/env python3
"""A transcription server with OpenAI's interface as speaches has it, and Wyoming's HTTP wrapper. Standard library only.

    with whisper_peer.serve(text="hello", faults=["half-close", 500]) as peer:
        peer.url, peer.requests

It understands `text` in whatever is louder than a whisper, and nothing in silence. It refuses what a vendor refuses: another path or
method, a form without a file or a model, a file that is no WAV of 16 bits, a missing key. Each request uses up one of `faults`:
None, a status, "half-close" (promises more than it sends), "garbage" (no HTTP), "no-json", "stall".

Run by itself it prints "port N" and ends when its standard input closes.
"""

import contextlib
import email.parser
import email.policy
import json
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

FORMATS = ("json", "text", "verbose_json", "srt", "vtt")


def wav(data):
    """Rate and samples of a WAV file of one channel and 16 bits. Raises ValueError with what is wrong with it."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("the file is no WAV")
    if struct.unpack("<I", data[4:8])[0] != len(data) - 8:
        raise ValueError("the WAV file has another length than it says")
    form, channels, rate, _, _, bits = struct.unpack("<HHIIHH", data[20:36])
    if (form, channels, bits) != (1, 1, 16) or data[36:40] != b"data":
        raise ValueError("the WAV file is not PCM of one channel and 16 bits")
    length = struct.unpack("<I", data[40:44])[0]
    return rate, struct.unpack(f"<{length // 2}h", data[44:44 + length])


def form(content_type, body):
    """Fields of multipart/form-data; those that come again are lists. The file is bytes."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise ValueError("the body is no form")
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if part.get_filename() is None:
            value = value.decode()
        fields.setdefault(name, []).append(value)
    return fields


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def reply(self, status, value, kind="application/json"):
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/health":
            return self.reply(200, {"message": "OK"})
        self.reply(404, {"detail": "Not Found"})

    def do_HEAD(self):
        self.reply(404, "")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        peer = self.server.peer
        fault = peer.faults.pop(0) if peer.faults else None
        if fault is not None:
            return self.fail(fault)
        parts = urlsplit(self.path)
        if peer.key and self.headers.get("Authorization") != f"Bearer {peer.key}":
            return self.reply(401, {"error": {"message": "Incorrect API key provided.", "type": "invalid_request_error",
                                              "param": None, "code": "invalid_api_key"}})
        try:
            if parts.path == "/v1/audio/transcriptions":
                return self.transcribe(form(self.headers.get("Content-Type", ""), body))
            if parts.path == "/api/speech-to-text":
                return self.wyoming(parse_qs(parts.query), body)
        except (ValueError, struct.error) as wrong:
            return self.reply(422, {"detail": [{"msg": str(wrong), "type": "value_error"}]})
        self.reply(404, {"detail": "Not Found"})

    def fail(self, fault):
        if isinstance(fault, int):
            return self.reply(fault, {"detail": f"told to answer {fault}"})
        self.close_connection = True
        if fault == "stall":
            return time.sleep(30)
        if fault == "no-json":
            return self.reply(200, "<html>welcome</html>", "text/html")
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"te" if fault == "half-close" else b"\0\1\2\r\n\r\n")

    def heard(self, file, fields):
        rate, samples = wav(file)
        loudest = max((abs(sample) for sample in samples), default=0)
        peer = self.server.peer
        peer.requests.append({"path": self.path, "rate": rate, "seconds": len(samples) / rate, "fields": fields,
                              "authorization": self.headers.get("Authorization", "")})
        return (peer.text if loudest > 500 else ""), len(samples) / rate

    def wyoming(self, query, body):
        if self.headers.get("Content-Type") != "audio/wav":
            raise ValueError("the body must be audio/wav")
        text, _ = self.heard(body, {name: values[0] for name, values in query.items()})
        self.reply(200, {"text": text})

    def transcribe(self, fields):
        for needed in ("file", "model"):
            if not fields.get(needed, [""])[0]:
                raise ValueError(f"Field required: {needed}")
        shape = fields.get("response_format", ["json"])[0]
        if shape not in FORMATS:
            raise ValueError(f"response_format must be one of {FORMATS}")
        text, seconds = self.heard(fields.pop("file")[0], fields)
        if shape == "json":
            return self.reply(200, {"text": text})
        if shape != "verbose_json":
            return self.reply(200, text, "text/plain")
        parts = text.split()
        step = seconds / max(1, len(parts) + 1)
        segments = [{"id": 1, "seek": 0, "start": 0.0, "end": seconds - step, "text": " " + text, "tokens": [], "temperature": 0.0,
                     "avg_logprob": -0.25, "compression_ratio": 0.9, "no_speech_prob": 0.01}] * bool(text)
        # What a model makes of the noise behind the words.
        segments += [{**segment, "id": 2, "start": seconds - step, "end": seconds, "text": " Thanks for watching!",
                      "avg_logprob": -1.6, "no_speech_prob": 0.93} for segment in segments]
        words = [{"word": " " + word, "start": round(index * step, 2), "end": round((index + 1) * step, 2)}
                 for index, word in enumerate(parts)]
        self.reply(200, {"task": "transcribe", "language": fields.get("language", ["en"])[0], "duration": seconds,
                         "text": "".join(segment["text"] for segment in segments), "segments": segments,
                         "words": words if "word" in fields.get("timestamp_granularities[]", []) else None})


class Peer:
    def __init__(self, text, key, faults):
        self.text, self.key, self.faults, self.requests = text, key, list(faults), []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.peer = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextlib.contextmanager
def serve(text="Where is my order?", key="", faults=()):
    peer = Peer(text, key, faults)
    threading.Thread(target=peer.server.serve_forever, daemon=True).start()
    try:
        yield peer
    finally:
        peer.server.shutdown()
        peer.server.server_close()


if __name__ == "__main__":
    with serve() as alone:
        print("port", alone.server.server_address[1], flush=True)
        sys.stdin.read()
