"""A fake of Deepgram's streaming recognition: Flux (/v2/listen) and Nova (/v1/listen).

Written from the vendor's interface and not from the plugin, and strict where the vendor is: a parameter that it does not
know or that belongs to the other interface is 400, a wrong key 401, text that is no order of its ends the stream, so do an
empty audio message, audio that comes too fast and ten seconds without any. What it says are the words of the recordings in
`references`, as far as it hears them (`heard_audio`).

    with DeepgramPeer([Reference.of(samples, "Hello there")], key="k", faults=[{}, {"refuse": 500}]) as peer:
        ...                          # peer.url; afterwards peer.connections and peer.violations

Each connection takes one fault from the list, in order; {} is none:

    {"refuse": 429, "headers": {"Retry-After": "7"}}   the upgrade gets that status
    {"abort_after_words": 3}     the connection is cut without a close frame when so many words were heard
    {"close_after_words": 2, "close": (1011, "NET-0000")}
    {"error_after_words": 1, "error": ("INTERNAL_SERVER_ERROR", "…")}
    {"garbage": 3}               so many messages that are no JSON, first
    {"deaf": True}               takes everything and says nothing
    {"slow_s": 1.0}              so long until it says that it listens
"""

import itertools
import json
import re
import threading
import time

from heard_audio import Ear, halved, mu_law_decoded
from vendor_socket import BINARY, Closed, VendorServer

import array

FLUX = {"model", "encoding", "sample_rate", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms", "keyterm", "language_hint",
        "profanity_filter", "numerals", "redact", "mip_opt_out", "tag"}
NOVA = {"model", "language", "language_hint", "encoding", "sample_rate", "channels", "multichannel", "interim_results",
        "endpointing", "utterance_end_ms", "vad_events", "punctuate", "smart_format", "numerals", "profanity_filter", "diarize",
        "diarize_model", "dictation", "filler_words", "redact", "replace", "search", "keyterm", "keywords", "detect_entities",
        "extra", "tag", "callback", "callback_method", "mip_opt_out", "version"}
FLUX_LANGUAGES = {"en", "es", "fr", "de", "hi", "ru", "pt", "ja", "it", "nl"}
FLAGS = {"interim_results", "punctuate", "smart_format", "numerals", "profanity_filter", "mip_opt_out", "vad_events"}
# Real time and a quarter, over what a client that has just connected may have kept for us.
PACE, BURST_S = 1.25, 2.0
IDLE_S = 10
# How often it thinks, in audio that it received.
STEP_S = 0.25


class Stream:
    """One connection, as a test looks at it afterwards."""

    def __init__(self, request, fault):
        self.path, self.query, self.headers, self.fault = request.path, request.query, request.headers, fault
        self.texts = []
        self.audio_messages = []
        self.bytes = 0
        self.close_code = None
        self.is_over = False
        self.said = []

    def one(self, name):
        return self.query.get(name, [""])[0]


class DeepgramPeer(VendorServer):
    def __init__(self, references, key="deepgram-test-key", faults=()):
        super().__init__()
        self.references, self.key = references, key
        self.connections = []
        # What the vendor would have been angry about without saying so.
        self.violations = []
        self._faults = itertools.chain(faults, itertools.repeat({}))
        self._next = threading.Lock()
        self._refused = {}

    # The upgrade

    def admit(self, request):
        with self._next:
            stream = Stream(request, next(self._faults))
            self.connections.append(stream)
            self._refused[id(request)] = stream
        if "refuse" in stream.fault:
            return stream.fault["refuse"], stream.fault.get("headers", {}), json.dumps({"err_code": "AS_ASKED"})
        if request.headers.get("authorization") not in (f"Token {self.key}", f"Bearer {self.key}"):
            self.violations.append("a wrong Authorization")
            return 401, {"dg-error": "Invalid credentials.", "dg-request-id": "fake"}, json.dumps(
                {"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."})
        if request.path not in ("/v1/listen", "/v2/listen"):
            return 404, {}, ""
        if wrong := (wrong_flux if request.path == "/v2/listen" else wrong_nova)(request.query):
            self.violations.append(wrong)
            return 400, {"dg-error": wrong}, json.dumps({"code": "INVALID_PARAMETER", "description": wrong})
        return None

    def serve(self, connection, request):
        stream = self._refused.pop(id(request))
        time.sleep(stream.fault.get("slow_s", 0))
        listener = (Flux if request.path == "/v2/listen" else Nova)(connection, stream, Ear(self.references))
        try:
            listener.run()
        except Closed as closed:
            stream.close_code = closed.code
            raise
        finally:
            self.violations += listener.violations
            stream.is_over = True


def wrong_common(query, known):
    for name, values in query.items():
        if name not in known:
            return f"Unknown parameter {name}"
        if "" in values:
            return f"{name} is empty"
        if name in FLAGS and not set(values) <= {"true", "false"}:
            return f"{name} is not true or false"
        if name not in ("keyterm", "language_hint", "tag", "redact", "replace", "search", "keywords", "extra") and len(values) > 1:
            return f"{name} is given twice"
    if query.get("encoding", [""])[0] not in ("linear16", "mulaw") or query.get("sample_rate", [""])[0] not in ("8000", "16000"):
        return "encoding and sample_rate are required for raw audio"
    return None


def wrong_flux(query):
    if wrong := wrong_common(query, FLUX):
        return wrong
    model = query.get("model", [""])[0]
    if model not in ("flux-general-en", "flux-general-multi"):
        return f"No such model {model} on this endpoint"
    hints = query.get("language_hint", [])
    if hints and model != "flux-general-multi":
        return f"language_hint is not supported for model {model}"
    if not set(hints) <= FLUX_LANGUAGES:
        return "language_hint is not a language of this model"
    end = float(query.get("eot_threshold", ["0.7"])[0])
    eager = float(query.get("eager_eot_threshold", ["0.3"])[0])
    if not 0.5 <= end <= 1 or not 0.3 <= eager <= 0.9 or eager > end:
        return "a threshold is out of range"
    if not 500 <= int(query.get("eot_timeout_ms", ["5000"])[0]) <= 10000:
        return "eot_timeout_ms is out of range"
    if len(query.get("keyterm", [])) > 100 or any(re.search(r":\d", term) for term in query.get("keyterm", [])):
        return "keyterm: at most 100, without weights"
    return None


def wrong_nova(query):
    if wrong := wrong_common(query, NOVA):
        return wrong
    model = query.get("model", [""])[0]
    if not model.startswith(("nova", "enhanced", "base")):
        return f"No such model {model} on this endpoint"
    if "utterance_end_ms" in query and (int(query["utterance_end_ms"][0]) < 1000 or query.get("interim_results") != ["true"]):
        return "utterance_end_ms needs 1000 and more, and interim_results"
    if "keyterm" in query and not model.startswith("nova-3"):
        return "keyterm is not supported for this model"
    if "keywords" in query and model.startswith("nova-3"):
        return "keywords is not supported for this model"
    return None


class Listener:
    def __init__(self, connection, stream, ear):
        self.connection, self.stream, self.ear = connection, stream, ear
        self.violations = []
        self.received_s = 0.0
        self._thought_s = 0.0
        self._began = time.monotonic()
        # Words before this moment belong to a turn that is over.
        self.done_s = -1.0

    def run(self):
        for _ in range(self.stream.fault.get("garbage", 0)):
            self.connection.send_text("<html>busy</html>")
        self.greet()
        while True:
            try:
                opcode, payload = self.connection.message(IDLE_S)
            except TimeoutError:
                self.connection.close(1011, "NET-0001")
            if opcode == BINARY:
                self.audio(payload)
            else:
                self.order(payload)

    def greet(self):
        pass

    def say(self, message):
        if "deaf" not in self.stream.fault:
            self.stream.said.append(message)
            self.connection.send_json(message)

    def fail(self, code, description):
        self.say({"type": "Error", "code": code, "description": description})
        self.connection.close(1011, code)

    def audio(self, payload):
        stream = self.stream
        if not payload:
            self.violations.append("an empty audio message")
            self.connection.close(1008, "DATA-0000")
        stream.audio_messages.append(len(payload))
        stream.bytes += len(payload)
        if stream.one("encoding") == "mulaw":
            samples = mu_law_decoded(payload)
        else:
            if len(payload) % 2:
                self.violations.append("half a sample")
                self.connection.close(1008, "DATA-0000")
            samples = array.array("h", payload)
        self.received_s += len(samples) / int(stream.one("sample_rate"))
        if self.received_s > BURST_S + PACE * (time.monotonic() - self._began):
            self.violations.append(f"{self.received_s:.1f} s of audio in {time.monotonic() - self._began:.1f} s")
            self.connection.close(1008, "DATA-0001")
        self.ear.take(halved(samples) if stream.one("sample_rate") == "16000" else samples)
        if self.received_s - self._thought_s >= STEP_S:
            self._thought_s = self.received_s
            words = [word for word in self.ear.words() if word.start >= self.done_s]
            self.break_if_asked(len(words))
            self.think(words)

    def break_if_asked(self, words):
        fault = self.stream.fault
        if words >= fault.get("abort_after_words", 10**9):
            self.connection.abort()
        if words >= fault.get("close_after_words", 10**9):
            self.connection.close(*fault["close"])
        if words >= fault.get("error_after_words", 10**9):
            self.fail(*fault["error"])

    def order(self, payload):
        try:
            order = json.loads(payload)
            kind = order["type"]
        except (ValueError, KeyError, TypeError):
            self.violations.append("a text that is no order")
            self.fail("UNPARSABLE_CLIENT_MESSAGE", "not a message of this interface")
        self.stream.texts.append(kind)
        if not self.obey(kind, order):
            self.violations.append(f"the order {kind}")
            self.fail("UNPARSABLE_CLIENT_MESSAGE", f"{kind} is not a message of this interface")


class Flux(Listener):
    """Turns: idle, speaking, pending (an eager end was told)."""

    EAGER_S, END_S = 0.3, 0.6

    def greet(self):
        self.sequence = itertools.count()
        self.turn, self.told, self.state = 0, "", "idle"
        self.tell({"type": "Connected"})

    def tell(self, message):
        self.say({**message, "request_id": "00000000-0000-4000-8000-000000000001", "sequence_id": next(self.sequence)})

    def info(self, event, words, **more):
        languages = {"languages": [self.stream.one("language_hint") or "en"],
                     "languages_hinted": self.stream.query.get("language_hint", [])}
        self.tell({
            "type": "TurnInfo", "event": event, "turn_index": self.turn, "audio_window_start": max(0.0, round(self.done_s, 2)),
            "audio_window_end": round(self.received_s, 2), "transcript": " ".join(word.text for word in words),
            "words": [{"word": w.text, "confidence": 0.96, "start": w.start, "end": w.end} for w in words],
            "end_of_turn_confidence": 0.86 if event == "EndOfTurn" else 0.55 if event == "EagerEndOfTurn" else 0.1, **more,
            **(languages if self.stream.one("model") == "flux-general-multi" else {})})

    def think(self, words):
        text, silent = " ".join(word.text for word in words), self.ear.silence_s()
        if not words:
            self.info("Update", [])
        elif self.state == "idle":
            self.state = "speaking"
            self.info("StartOfTurn", words)
        elif text != self.told:
            if self.state == "pending":
                self.state = "speaking"
                self.info("TurnResumed", words)
            self.info("Update", words)
        elif silent >= self.END_S:
            self.end(words, "model")
        elif silent >= self.EAGER_S and self.state == "speaking" and "eager_eot_threshold" in self.stream.query:
            self.state = "pending"
            self.info("EagerEndOfTurn", words)
        else:
            self.info("Update", words)
        self.told = text

    def end(self, words, trigger):
        self.info("EndOfTurn", words, trigger=trigger)
        self.turn, self.state, self.done_s = self.turn + 1, "idle", words[-1].end

    def obey(self, kind, order):
        words = [word for word in self.ear.words() if word.start >= self.done_s]
        if kind == "CloseStream":
            if words:
                self.end(words, "manual")
            self.connection.close(1000)
        elif kind == "ForceEndTurn":
            if words:
                self.end(words, "manual")
            else:
                self.tell({"type": "Warning", "code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "no turn is active"})
        elif kind == "Configure":
            self.tell({"type": "ConfigureSuccess", "thresholds": order.get("thresholds", {}), "keyterms": order.get("keyterms", [])})
        else:
            return False
        return True


class Nova(Listener):
    """Segments: interim results, frozen by a pause or by Finalize."""

    def greet(self):
        self.segment_s = 0.0

    def results(self, words, **flags):
        self.say({
            "type": "Results", "channel_index": [0, 1], "start": round(self.segment_s, 3),
            "duration": round(self.received_s - self.segment_s, 3), "is_final": False, "speech_final": False,
            "from_finalize": False, **flags,
            "channel": {"alternatives": [{
                "transcript": " ".join(w.text for w in words), "confidence": 0.97 if words else 0,
                "words": [{"word": re.sub(r"[.,?!]", "", w.text).lower(), "punctuated_word": w.text, "start": w.start,
                           "end": w.end, "confidence": 0.97} for w in words]}]},
            "metadata": {"request_id": "00000000-0000-4000-8000-000000000002", "model_uuid": "0", "model_info": {
                "name": "general-nova-3", "version": "2025", "arch": "nova-3"}}})

    def think(self, words):
        pause = self.stream.one("endpointing") or "10"
        if words and pause != "false" and self.ear.silence_s() >= int(pause) / 1000:
            self.freeze(words, speech_final=True)
        elif self.stream.one("interim_results") == "true" and (words or self.received_s - self.segment_s > 3):
            if words:
                self.results(words)
            else:
                self.freeze(words)

    def freeze(self, words, **flags):
        self.results(words, is_final=True, **flags)
        self.segment_s = self.received_s
        if words:
            self.done_s = words[-1].end

    def obey(self, kind, order):
        words = [word for word in self.ear.words() if word.start >= self.done_s]
        if kind == "Finalize":
            self.freeze(words, from_finalize=True)
        elif kind == "CloseStream":
            if words:
                self.freeze(words)
            self.say({"type": "Metadata", "transaction_key": "deprecated", "request_id": "0", "sha256": "0", "created":
                      "2026-11-21T00:00:00.000Z", "duration": self.received_s, "channels": 1})
            self.connection.close(1000)
        elif kind == "KeepAlive":
            if not self.received_s:
                self.violations.append("KeepAlive before any audio")
        else:
            return kind == "Configure"
        return True
