#!/usr/bin/env python3
"""The WebSocket service of Piper, as the clients of three generations were served. Standard library only.

It prints "port N" once it listens, and ends when its standard input closes. Speech is a tone at 22,050 Hz, 40 ms for each
letter, as high as the voice's name says (`pitch`), in packets of 20 ms, made eight times as fast as it is said (`--faster 8`).
One text at a time; what is sent meanwhile waits. There is no cancel: who is not interested any more hangs up.

    /tts?style=      how start and end are written: type, audio, status, or both (the default)
    /tts?greet=1     a greeting after the upgrade
    /tts?rate=       another rate, which the start says
    /faults, /log    as in voice_server.py

Faults: refuse {status}, slow {ms}, stall, stallAfter {packets}, dropAfter {packets}, garbage, odd (packets of an odd number
of bytes), error {message, bare}.
"""

import json
import threading
import time

from voice_server import BINARY, FASTER, TEXT, Closed, Server, tone

RATE_HZ, MS_PER_LETTER, PACKET_MS = 22050, 40, 20
MARKERS = {
    "type": ({"type": "start", "message": "Starting audio stream"}, {"type": "end", "message": "Audio stream complete"}),
    "audio": ({"type": "audio_start"}, {"type": "audio_end"}),
    "status": ({"status": "started"}, {"status": "completed"}),
    "both": ({"type": "start", "status": "started"}, {"type": "end", "status": "completed"}),
}


def pitch(voice):
    """What a test listens for."""
    return 300 + 50 * (sum(voice.encode()) % 12)


def problem(kind, payload):
    """Why a request is refused, or None."""
    if kind != TEXT:
        return "a request is a text"
    try:
        request = json.loads(payload)
    except ValueError:
        return "a request is JSON"
    if not isinstance(request, dict) or not isinstance(request.get("text"), str) or not request["text"].strip():
        return "a request has a text"
    if unknown := request.keys() - {"text", "voice", "sample_rate", "format"}:
        return f"unknown: {sorted(unknown)}"
    if request.get("format", "pcm16") != "pcm16" or not isinstance(request.get("sample_rate", 1), int):
        return "format is pcm16, and sample_rate a number"
    return None


class Line:
    def __init__(self, server, request, socket, number):
        self.server, self.socket, self.number = server, socket, number
        self.start, self.end = MARKERS[request.query.get("style", "both")]
        self.rate_hz = int(request.query.get("rate", RATE_HZ))
        if self.rate_hz != RATE_HZ:
            self.start = {**self.start, "sample_rate": self.rate_hz}
        if "greet" in request.query:
            socket.send_json({"type": "connected", "message": "Connected to the voice"})

    def run(self):
        waiting, changed = [], threading.Condition()

        def speak():
            try:
                while True:
                    with changed:
                        changed.wait_for(lambda: waiting or self.socket.is_over.is_set(), timeout=60)
                        if not waiting:
                            return
                        message = waiting.pop(0)
                    self.speak(message)
            except Closed:
                pass

        threading.Thread(target=speak, daemon=True).start()
        try:
            while True:
                kind, payload = self.socket.message()
                if reason := problem(kind, payload):
                    self.server.note("refused", reason=reason, connection=self.number)
                    self.socket.send_json({"type": "error", "message": reason, "error": reason})
                    continue
                self.server.note("request", message=json.loads(payload), connection=self.number)
                with changed:
                    waiting.append(json.loads(payload))
                    changed.notify()
        finally:
            self.server.note("gone", connection=self.number)
            self.socket.is_over.set()
            with changed:
                changed.notify()

    def speak(self, message):
        fault = self.server.fault("slow", "stall", "stallAfter", "dropAfter", "garbage", "odd", "error") or {"name": ""}
        kind = fault["name"]
        if kind == "error":
            words = fault.get("message", "as asked")
            return self.socket.send_json({"error": words} if fault.get("bare") else {"type": "error", "message": words})
        if kind == "stall":
            return self.socket.is_over.wait(60)
        time.sleep(0.05 + fault["ms"] / 1000 if kind == "slow" else 0.05)
        if kind == "garbage":
            return self.socket.send(TEXT, b"<html>no message</html>")
        self.socket.send_json(self.start)
        left = len(message["text"]) * MS_PER_LETTER * self.rate_hz // 1000
        sent, packets, rest = 0, 0, b""
        while sent < left:
            count = min(left - sent, PACKET_MS * self.rate_hz // 1000)
            data = rest + tone(pitch(message.get("voice", "")), sent, count, self.rate_hz)
            rest = b""
            if kind == "odd" and sent + count < left:
                data, rest = data[:-1], data[-1:]
            self.socket.send(BINARY, data)
            sent, packets = sent + count, packets + 1
            if packets == fault.get("packets"):
                if kind == "stallAfter":
                    return self.socket.is_over.wait(60)
                self.socket.drop()
                raise Closed
            time.sleep(PACKET_MS / 1000 / FASTER)
        self.socket.send_json(self.end)
        self.server.note("said", text=message["text"], connection=self.number)


def main():
    count = 0

    def refuse(request):
        if fault := server.fault("refuse"):
            return fault["status"], {"error": "as asked"}
        return None if request.path == "/tts" else (404, {"error": "the service is at /tts"})

    def speak(request, socket):
        nonlocal count
        with server.lock:
            count += 1
            number = count
        server.note("connected", connection=number)
        Line(server, request, socket, number).run()

    server = Server(refuse, speak)
    server.run()


if __name__ == "__main__":
    main()
