#!/usr/bin/env python3
"""Google's Text-to-Speech as far as it is spoken to here: streams over gRPC, single texts over REST, tokens for signed claims.

    google_tts_peer.py ACCOUNT.json [--port PORT] [--token TOKEN]

It writes a service account of its own into ACCOUNT.json, prints `{"event": "http", "port": N}` and `{"event": "listening", "port": N}`, and then
what happens; commands and faults are those of grpc_peer.py, the methods StreamingSynthesize, synthesize and token. A token
is good for `{"tokenSeconds": 3600}`; `--token` is one that was given out before.

Strict as Google is: the claim's signature, audience, scope and times; a bearer that was given out; the first message of a
stream is the configuration and no other is; PCM, MULAW, ALAW or OGG_OPUS; a Chirp 3 HD voice of the named language; at most
5,000 bytes of text; five seconds without input abort the stream.
"""

import argparse
import array
import base64
import http.server
import io
import json
import math
import pathlib
import queue
import sys
import threading
import time
import urllib.parse
import wave

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from grpc_peer import ROOT, Peer, encode, generated, serve, tell

VOICES = {"Leda": 660, "Kore": 550, "Puck": 330, "Orus": 220, "Charon": 240, "Fenrir": 260, "Aoede": 580, "Zephyr": 620}
LOCALES = ("en-US", "tr-TR", "de-DE")
INPUT_SECONDS = 5
LISTED = [{"languageCodes": [name[:5]], "name": name, "ssmlGender": gender, "naturalSampleRateHertz": 24000} for name, gender in (
    ("en-US-Chirp3-HD-Orus", "MALE"), ("tr-TR-Chirp3-HD-Kore", "FEMALE"), ("tr-TR-Wavenet-B", "MALE"))]


class Google(Peer):
    def __init__(self):
        super().__init__(token="")
        self.script.update({"tokenSeconds": 3600, "firstByteMs": 30})
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.given = {}

    def account(self, port):
        return {"type": "service_account", "client_email": "voice@vchost-test.iam.gserviceaccount.com", "private_key_id": "key-1",
                "private_key": self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                      serialization.NoEncryption()).decode(),
                "token_uri": f"http://127.0.0.1:{port}/token"}

    def exchange(self, form):
        """RFC 7523: the answer of the token endpoint, as (status, JSON)."""
        fault = self.faults.get("token", {})
        if fault and fault["times"] > 0:
            fault["times"] -= 1
            return 503, {"error": "backend_error", "error_description": "as scripted"}
        try:
            if form["grant_type"] != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
                raise ValueError("grant_type")
            head, body, signature = form["assertion"][0].split(".")
            self.key.public_key().verify(unpadded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
            head, claims = json.loads(unpadded(head)), json.loads(unpadded(body))
            if head != {"alg": "RS256", "typ": "JWT", "kid": "key-1"}:
                raise ValueError(f"header {head}")
            now = time.time()
            if (claims["aud"] != "https://oauth2.googleapis.com/token" or claims["iss"] != self.account(0)["client_email"]
                    or claims["scope"] != "https://www.googleapis.com/auth/cloud-platform"
                    or abs(claims["iat"] - now) > 300 or not now < claims["exp"] <= claims["iat"] + 3600):
                raise ValueError(f"claims {claims}")
        except Exception as failure:  # Whatever is wrong with it, Google says the same.
            tell("refused", words=f"{type(failure).__name__}: {failure}")
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        token = f"ya29.token-{len(self.given) + 1}"
        self.given[token] = time.monotonic() + self.script["tokenSeconds"]
        tell("token", number=len(self.given))
        return 200, {"access_token": token, "expires_in": self.script["tokenSeconds"], "token_type": "Bearer"}

    def knows(self, bearer):
        return bearer.startswith("Bearer ") and self.given.get(bearer[7:], 0) > time.monotonic()

    def streaming_synthesize(self, requests, context):
        fault = self.enter("StreamingSynthesize", context)
        if not self.knows(dict(context.invocation_metadata()).get("authorization", "")):
            self.abort(context, grpc.StatusCode.UNAUTHENTICATED, "Request had invalid authentication credentials.")
        if fault.get("kind") == "unstreamed":
            self.abort(context, grpc.StatusCode.INVALID_ARGUMENT, "This voice does not support streaming synthesis.")
        incoming = queue.Queue()

        def read():
            try:
                for request in requests:
                    incoming.put(request)
            except Exception:
                pass  # The client has cancelled.
            incoming.put(None)
        threading.Thread(target=read, daemon=True).start()
        config, total = None, 0
        while True:
            try:
                request = incoming.get(timeout=INPUT_SECONDS)
            except queue.Empty:
                self.abort(context, grpc.StatusCode.ABORTED, "Stream aborted due to long duration elapsed without input sent")
            if request is None:
                break
            kind = request.WhichOneof("streaming_request")
            if config is None:
                self.need(context, kind == "streaming_config", "The first message must be streaming_config.")
                config = request.streaming_config
                audio = config.streaming_audio_config
                self.need(context, audio.audio_encoding in (3, 5, 6, 7), "Unsupported audio encoding for streaming.")
                self.need(context, audio.audio_encoding == 7, "this fake makes PCM only")
                self.check_voice(context, config.voice.language_code, config.voice.name)
                tell("config", voice=config.voice.name, rate=audio.sample_rate_hertz, speakingRate=audio.speaking_rate)
                continue
            self.need(context, kind == "input", "Only the first message may be streaming_config.")
            text = request.input.text
            total += len(text.encode())
            self.need(context, text and total <= 5000, "input must be 1 to 5000 bytes.")
            tell("spoke", text=text)
            time.sleep(self.script["firstByteMs"] / 1000)
            samples = tone(len(text) * self.script["msPerCharacter"], audio.sample_rate_hertz or 24000, pitch(config.voice.name))
            for at in range(0, len(samples), 4800):
                if not context.is_active():
                    return
                yield self.messages.StreamingSynthesizeResponse(audio_content=samples[at:at + 4800])
                time.sleep(self.script["audioEveryMs"] / 1000)
                self.after_first(fault, context)
        self.need(context, config is not None, "The stream had no messages.")
        context.is_complete = True

    def check_voice(self, context, language, name):
        parts = name.split("-")
        known = len(parts) == 5 and "-".join(parts[2:4]) == "Chirp3-HD" and parts[4] in VOICES and language in LOCALES
        self.need(context, known and name.startswith(language + "-"), f"Voice '{name}' does not exist. Is it misspelled?")

    def synthesize(self, body):
        """The answer of REST, as (status, JSON)."""
        fault = self.faults.get("synthesize", {})
        if fault and fault["times"] > 0:
            fault["times"] -= 1
            return 429, refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")
        text, voice, audio = body["input"]["text"], body["voice"], body["audioConfig"]
        if set(body) != {"input", "voice", "audioConfig"} or not text or len(text.encode()) > 5000:
            return 400, refusal(400, "INVALID_ARGUMENT", "input")
        if audio.get("audioEncoding") != "LINEAR16" or voice["name"].split("-")[:2] != voice["languageCode"].split("-"):
            return 400, refusal(400, "INVALID_ARGUMENT", "voice or encoding")
        tell("rest", text=text, voice=voice["name"], rate=audio.get("sampleRateHertz", 24000))
        rate = int(audio.get("sampleRateHertz", 24000))
        file = io.BytesIO()
        with wave.open(file, "wb") as wav:
            wav.setnchannels(1), wav.setsampwidth(2), wav.setframerate(rate)
            wav.writeframes(tone(len(text) * self.script["msPerCharacter"], rate, pitch(voice["name"])))
        return 200, {"audioContent": base64.b64encode(file.getvalue()).decode()}


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def refusal(code, status, words):
    return {"error": {"code": code, "message": words, "status": status}}


def pitch(voice):
    return VOICES.get(voice.split("-")[-1], 440)


def tone(ms, rate, hertz):
    return array.array("h", (int(8000 * math.sin(2 * math.pi * hertz * at / rate)) for at in range(ms * rate // 1000))).tobytes()


def handler(google):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path != "/v1/voices":
                return self.answer(404, refusal(404, "NOT_FOUND", "Not found."))
            if not google.knows(self.headers.get("Authorization", "")):
                return self.answer(401, refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."))
            return self.answer(200, {"voices": LISTED})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/token":
                return self.answer(*google.exchange(urllib.parse.parse_qs(body.decode())))
            if self.path != "/v1/text:synthesize":
                return self.answer(404, refusal(404, "NOT_FOUND", "Not found."))
            if not google.knows(self.headers.get("Authorization", "")):
                return self.answer(401, refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."))
            return self.answer(*google.synthesize(json.loads(body)))

        def answer(self, status, document):
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass
    return Handler


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("account", type=pathlib.Path)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--token")
    given = arguments.parse_args()
    google = Google()
    if given.token:
        google.given[given.token] = math.inf
    google.messages, = generated(ROOT / "Plugins/TTSGoogle/google_tts.proto")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(google))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    given.account.write_text(json.dumps(google.account(server.server_port)))
    tell("http", port=server.server_port)
    grpc_server = serve(given.port, [grpc.method_handlers_generic_handler("google.cloud.texttospeech.v1.TextToSpeech", {
        "StreamingSynthesize": grpc.stream_stream_rpc_method_handler(
            google.streaming_synthesize, google.messages.StreamingSynthesizeRequest.FromString, encode)})])
    for line in sys.stdin:
        google.command(line)
    grpc_server.stop(0)


if __name__ == "__main__":
    main()
