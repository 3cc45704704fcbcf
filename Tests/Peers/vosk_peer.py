"""A fake of vosk-server's WebSocket (asr_server.py), in lock-step: one answer to each message of audio, to a reset and to the
end, and byte-exact about the two orders. Any other text is audio to the real one, which garbles it; here it is an error.

    with VoskPeer([Reference.of(samples, "hello there")], faults=[{"abort_after_words": 2}]) as peer: ...

Faults, one for each connection: `refuse` (a status), `abort_after_words`, `garbage` (that many answers that are no JSON),
`deaf_after_words` (it stands still), `lag_s` (before each answer).
"""

import array
import itertools
import json
import re
import threading
import time

from heard_audio import Ear, halved
from vendor_socket import BINARY, Closed, VendorServer

KEYS = {"sample_rate", "words", "max_alternatives", "phrase_list", "model", "num_channels", "format"}
# Kaldi's rule 2, half a second of silence after words.
END_S = 0.5


class Stream:
    def __init__(self, fault):
        self.fault = fault
        self.config = None
        self.texts = []
        self.audio_messages = []
        self.said = []
        self.close_code = None
        self.is_over = False


class VoskPeer(VendorServer):
    def __init__(self, references, faults=(), takes_reset=True):
        super().__init__()
        self.references, self.takes_reset = references, takes_reset
        self.connections, self.violations = [], []
        self._faults = itertools.chain(faults, itertools.repeat({}))
        self._lock = threading.Lock()

    def admit(self, request):
        with self._lock:
            stream = Stream(next(self._faults))
            self.connections.append(stream)
        request.headers["x-stream"] = stream
        return (stream.fault["refuse"], {}, "") if "refuse" in stream.fault else None

    def serve(self, connection, request):
        stream = request.headers["x-stream"]
        try:
            Recogniser(self, connection, stream).run()
        except Closed as closed:
            stream.close_code = closed.code
            raise
        finally:
            stream.is_over = True


class Recogniser:
    def __init__(self, peer, connection, stream):
        self.peer, self.connection, self.stream = peer, connection, stream
        self.ear = Ear(peer.references)
        self.rate = 8000
        self.done_s = -1.0

    def run(self):
        while True:
            opcode, payload = self.connection.message(30)
            if opcode == BINARY:
                self.audio(payload)
            else:
                self.text(payload.decode())

    def text(self, text):
        stream = self.stream
        stream.texts.append(text)
        if "config" in text:
            if stream.config is not None or stream.audio_messages:
                self.offence("a configuration that is not the first message")
            stream.config = json.loads(text)["config"]
            if unknown := set(stream.config) - KEYS:
                self.offence(f"unknown keys {unknown}")
            self.rate = stream.config.get("sample_rate", 8000)
        elif text == '{"eof" : 1}':
            self.answer(self.result(self.words()))
            self.connection.close(1000)
        elif text == '{"reset" : 1}' and self.peer.takes_reset:
            self.answer(self.result(self.words()))
        else:
            self.offence(f"the text {text!r}, which is audio to the decoder")

    def offence(self, what):
        self.peer.violations.append(what)
        self.connection.close(1011, "internal error")

    def words(self):
        return [word for word in self.ear.words() if word.start >= self.done_s]

    def audio(self, payload):
        stream, fault = self.stream, self.stream.fault
        if not payload or len(payload) % 2:
            self.offence("audio that is empty, or half a sample")
        stream.audio_messages.append(len(payload))
        samples = array.array("h", payload)
        self.ear.take(halved(samples) if self.rate == 16000 else samples)
        if fault.get("garbage", 0) >= len(stream.audio_messages):
            return self.connection.send_text("Traceback (most recent call last)")
        time.sleep(fault.get("lag_s", 0))
        words = self.words()
        if len(words) >= fault.get("abort_after_words", 10**9):
            self.connection.abort()
        if len(words) >= fault.get("deaf_after_words", 10**9):
            return
        if words and self.ear.silence_s() >= END_S:
            self.answer(self.result(words))
        else:
            self.answer({"partial": plain(words)})

    def result(self, words):
        if words:
            self.done_s = words[-1].end
        config = self.stream.config or {}
        listed = [{"conf": 0.98, "start": w.start, "end": w.end, "word": plain([w])} for w in words]
        if config.get("max_alternatives"):
            best = {"confidence": 291.2, "text": plain(words)}
            return {"alternatives": [{**best, "result": listed} if config.get("words") else best]}
        result = {"text": plain(words)}
        return {"result": listed, **result} if config.get("words") and words else result

    def answer(self, message):
        self.stream.said.append(message)
        # As Kaldi prints it.
        self.connection.send_text(json.dumps(message, indent=2, separators=(",", " : "), ensure_ascii=False))


def plain(words):
    return " ".join(re.sub(r"[.,?!]", "", word.text).lower() for word in words)
