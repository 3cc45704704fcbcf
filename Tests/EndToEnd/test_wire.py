"""What goes over the wire between each provider and its vendor, beside what it was when it was last looked at (Tests/Peers/golden).

One host with all providers, a call to each; between host and peers are taps (Tests/Peers/wire_tap.py) that keep every byte. The
text of it must be that of Tests/Peers/golden/NAME.txt. When a change is meant, the files are written anew, and read before they
are committed:

    RENEW_GOLDEN=1 Tests/EndToEnd/run wire
"""

import contextlib
import difflib
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import unittest
from concurrent import futures

import sound
import test_grpc
import test_language_models as models
import test_voices as voices
from host import INSTANT, ROOT, Host, free_port
from stack import wait_until
from test_combinations import MONKEYS, TURKISH, WORDS, section

sys.path.insert(0, str(ROOT / "Tests/Peers"))
# The only package of the peers' that is needed in this process.
sys.path += map(str, (ROOT / ".cache/venv-tests/lib").glob("python*/site-packages"))
import piper_http_peer  # noqa: E402
import whisper_peer  # noqa: E402
import wire_text  # noqa: E402
from deepgram_peer import DeepgramPeer  # noqa: E402
from heard_audio import Reference  # noqa: E402
from opensips_peer import OpenSIPS  # noqa: E402
from twilio_peer import Twilio  # noqa: E402
from vosk_peer import VoskPeer  # noqa: E402
from wire_tap import DatagramTap, Recording, Tap  # noqa: E402

GOLDEN = ROOT / "Tests/Peers/golden"
RENEW = "RENEW_GOLDEN"
ACCOUNT, PUBLIC, KEY = "AC" + "0123456789abcdef" * 2, "https://bot.example.com", "deepgram-test-key"
GREETING, ANSWER = "Good day.", "It comes tomorrow."
# What is asked and what is answered in each call; the last two have what is left to be heard of voices.
ROWS = [("flux", "ollama", "piperhttp"), ("nova", "llama", "piper2"), ("vosk", "openai", "piper3"), ("verbose", "groq", "piper5"),
        ("wyoming", "llamacpp", "cartesia"), ("grpc", "grpc", "google"), ("instant", "instant", "googlerest"), ("instant", "instant", "grpc")]
# The caller is quiet while the greeting is said, and begins with digital silence.
SPEECH = sound.mu_law(sound.joined(sound.silence(2.4), WORDS, sound.silence(5)))
PROTOS = {name: ROOT / "Plugins" / path for name, path in {
    "stt-grpc": "STTGrpc/asr.proto", "llm-grpc": "LLMGrpc/llm.proto", "tts-grpc": "TTSGrpc/tts.proto",
    "tts-google-grpc": "TTSGoogle/google_tts.proto"}.items()}
# What a person says, and what is made of it.
LIVE = {"stt-deepgram-flux": "<", "stt-deepgram-nova": "<", "stt-vosk": "<", "stt-whisper-verbose": "<", "stt-whisper-wyoming": "<",
        "stt-grpc": "<", "telephony-twilio": "<>"}
SCRUBS = [
    (r'("(?:iat|exp)": ?)\d+', r"\1TIME"),
    (r"(CA|MZ)[0-9a-f]{32}", r"\1SID"),
    (r"(x-twilio-signature: ).*", r"\1SIGNATURE"),
    (r"(/golden/media/)\w+", r"\1TOKEN"),
    (r'(name="token" value=)"[^"]+"', r'\1"TOKEN"'),
    (r"ya29\.token-\d+", "ya29.TOKEN"),
    (r"vc[0-9a-f]+-(?=\d)", "vcRUN-"),
    (r"B2B\.[\d.]+", "B2B.KEY"),
    (r"(Call-ID: |m=audio |o=\S+ |branch=z9hG4bK-|udp:127.0.0.1:)\d+( \d+)?", r"\1NUMBER"),
]
KNOWLEDGE = ("[knowledge]\nlanguage = en\n\n[intent goodbye]\nask = goodbye\nsay = Goodbye.\ndo = goodbye\n"
             "\n[intent transfer]\nask = transfer\nsay = One moment.\ndo = transfer +15559990000\n")


def number(row):
    return f"1555000{row:04d}"


class Exchanges:
    """All of the vendors, one host, and a call to each of its providers. `recordings` has what passed, by the name of its file."""

    def __init__(self):
        self.exits, self.recordings, self.sections = contextlib.ExitStack(), {}, ""
        self.enter = self.exits.enter_context
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wire-"))
        self.exits.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            self.run()
        except BaseException:
            self.exits.close()
            raise
        return self

    def __exit__(self, *failure):
        self.exits.close()

    def run(self):
        with futures.ThreadPoolExecutor() as pool:
            for done in [pool.submit(start) for start in (self.start_language_models, self.start_voices, self.start_services)]:
                done.result()
        self.start_recognisers()
        self.start_host()
        with futures.ThreadPoolExecutor() as pool:
            calls = [pool.submit(self.call, row) for row in range(len(ROWS))]
            calls += [pool.submit(self.call_by_twilio), pool.submit(self.call_by_opensips)]
            for done in calls:
                done.result()

    def tap(self, name, port, kind=Tap):
        """The port at which `port` is heard out."""
        return self.enter(kind(self.recordings.setdefault(name, Recording()), port)).port

    # The vendors

    def start_recognisers(self):
        flux, nova, vosk = (self.enter(peer([Reference.of(WORDS, text)])) for peer, text in (
            (DeepgramPeer, MONKEYS), (DeepgramPeer, TURKISH), (VoskPeer, MONKEYS)))
        verbose, wyoming = (self.enter(whisper_peer.serve(text=MONKEYS)).server.server_port for _ in range(2))
        deepgram = {"api_key": "${secret:DEEPGRAM_API_KEY}", "finalize_ms": 2300}
        self.sections += (
            section("stt", "flux", "STTDeepgram", url=f"ws://127.0.0.1:{self.tap('stt-deepgram-flux', flux.port)}",
                    keyterms="weasels, monkey business", **deepgram)
            + section("stt", "nova", "STTDeepgram", url=f"ws://127.0.0.1:{self.tap('stt-deepgram-nova', nova.port)}", **deepgram)
            + section("stt", "vosk", "STTVosk", url=f"ws://127.0.0.1:{self.tap('stt-vosk', vosk.port)}", finalize_ms=2300)
            + section("stt", "verbose", "STTFasterWhisper", form="verbose", model="Systran/faster-whisper-small",
                      url=f"http://127.0.0.1:{self.tap('stt-whisper-verbose', verbose)}/v1/audio/transcriptions")
            + section("stt", "wyoming", "STTFasterWhisper", form="wyoming",
                      url=f"http://127.0.0.1:{self.tap('stt-whisper-wyoming', wyoming)}/api/speech-to-text"))

    def start_language_models(self):
        for name, *command in (("ollama", "ollama"), ("llama", "llama_ws"), ("openai", "openai", "--flavour", "openai"),
                               ("groq", "openai", "--flavour", "groq"), ("llamacpp", "openai", "--flavour", "llama")):
            peer = self.enter(models.Peer(*command))
            peer.script(replies=[ANSWER], tokenMs=5, key="sk-test" if name in ("openai", "groq") else "")
            port = self.tap(f"llm-{name}", peer.port)
            self.sections += {
                "ollama": section("llm", name, "LLMOllama", url=f"http://127.0.0.1:{port}", model="llama3.2"),
                "llama": section("llm", name, "LLMLlama", url=f"ws://127.0.0.1:{port}"),
            }.get(name) or section("llm", name, "LLMOpenAI", url=f"http://127.0.0.1:{port}/v1", model="test-model",
                                   **{} if name == "llamacpp" else {"api_key": "${secret:OPENAI_API_KEY}"})

    def start_voices(self):
        piper = self.enter(piper_http_peer.serve())
        self.sections += section("tts", "piperhttp", "TTSPiper", url=f"http://127.0.0.1:{self.tap('tts-piper-http', piper)}/synthesize",
                                voice="en_US-lessac-medium", length_scale=0.9)
        self.socket_voices = self.enter(voices.Peer("piper_ws_peer", 4))
        for generation in (2, 3, 5):
            self.sections += section(
                "tts", f"piper{generation}", "TTSPiper", generation=generation, voice="en_US-lessac-medium",
                url=f"ws://127.0.0.1:{self.tap(f'tts-piper-generation-{generation}', self.socket_voices.port)}/tts")
        cartesia = self.enter(voices.Peer("cartesia_peer", 4))
        self.sections += section("tts", "cartesia", "TTSCartesia", url=f"ws://127.0.0.1:{self.tap('tts-cartesia', cartesia.port)}/tts/websocket")

    def start_services(self):
        sound.write(self.folder / "words.wav", WORDS)
        services = self.enter(test_grpc.Peer("--hears", self.folder / "words.wav"))
        services.say(text=MONKEYS, answer=["It ", "comes ", "tomorrow."], everyMs=5)
        for kind, plugin in (("stt", "STTGrpc"), ("llm", "LLMGrpc"), ("tts", "TTSGrpc")):
            self.sections += section(kind, "grpc", plugin, address=f"127.0.0.1:{self.tap(f'{kind}-grpc', services.port)}")
        google = self.enter(test_grpc.Peer(self.folder / "account.json", script="google_tts_peer.py"))
        for transport in ("grpc", "rest"):
            name = f"tts-google-{transport}"
            rest = self.tap(name, google.all("http")[0]["port"])
            self.sections += section(
                "tts", "google" if transport == "grpc" else "googlerest", "TTSGoogle", tls="no", transport=transport, voice="Kore",
                address=f"127.0.0.1:{self.tap(name, google.port)}", url=f"http://127.0.0.1:{rest}/v1",
                token_url=f"http://127.0.0.1:{rest}/token")

    # The calls

    def start_host(self):
        (self.folder / "desk.knowledge").write_text(KNOWLEDGE)
        port = free_port(socket.SOCK_STREAM)
        token = "the-auth-token-of-this-account"
        self.crowd = self.enter(Twilio(ACCOUNT, token, public=PUBLIC, local=f"http://127.0.0.1:{port}"))
        self.twilio = self.enter(Twilio(ACCOUNT, token, public=PUBLIC,
                                      local=f"http://127.0.0.1:{self.tap('telephony-twilio', port)}"))
        self.opensips = self.enter(OpenSIPS())
        profiles = "".join(
            f"\n[profile.row{row}]\nmatch = *{number(row)}\nlanguage = {'tr' if stt == 'nova' else 'en'}\ngreeting = {GREETING}\n"
            f"stt = stt.{stt}\nllm = llm.{llm}\ntts = tts.{tts}\nprompt = Answer in one sentence.\nearly_start = no\n"
            for row, (stt, llm, tts) in enumerate(ROWS))
        for profile, match in (("goodbye", "2000"), ("transfer", "*2001")):
            profiles += (f"\n[profile.{profile}]\nmatch = {match}\ngreeting = {GREETING}\nstt = stt.{profile}\nllm = llm.rules\n"
                         "tts = tts.instant\nearly_start = no\ntools = end_call, transfer_call\n")
        telephony = (
            self.sections
            + section("telephony", "crowd", "TelephonyTwilio", public_url=PUBLIC, account_sid=ACCOUNT, url=self.crowd.url)
            + section("telephony", "twilio", "TelephonyTwilio", public_url=PUBLIC, account_sid=ACCOUNT, voice_path="/golden/voice",
                      url=f"http://127.0.0.1:{self.tap('telephony-twilio', int(self.twilio.url.split(':')[-1]))}",
                      status_path="/golden/status", media_path="/golden/media/")
            + section("telephony", "opensips", "TelephonyOpenSIPS",
                      mi_port=self.tap("telephony-opensips", self.opensips.management.getsockname()[1], DatagramTap))
            + section("stt", "goodbye", "InstantSTT", text="Goodbye.") + section("stt", "transfer", "InstantSTT", text="Transfer.")
            + section("llm", "rules", "LLMRules", knowledge=self.folder / "desk.knowledge")
            + f"\n[server]\nlisten = 127.0.0.1:{port}\n"
            + f"\n[secrets]\nGOOGLE_CREDENTIALS = file:{self.folder}/account.json\nCARTESIA_API_KEY = env:TEST_CARTESIA_KEY\n")
        self.host = self.enter(Host(
            template=INSTANT.replace("[profile.default]", profiles + "\n[profile.default]"), telephony=telephony, environment={
                "TWILIO_AUTH_TOKEN": token, "DEEPGRAM_API_KEY": KEY, "OPENAI_API_KEY": "sk-test",
                "TEST_CARTESIA_KEY": voices.cartesia_peer.KEY}))
        self.opensips.wait_for_subscription()

    def of(self, profile, name):
        calls = {event["call"] for event in list(self.host.events)
                 if event["event"] == "incoming" and event["profile"] in (profile, f"profile.{profile}")}
        return [event for event in list(self.host.events) if event.get("call") in calls and event["event"] == name]

    def call(self, row):
        """A greeting, a question, an answer that is heard to its end."""
        call = self.crowd.call("+15551230001", "+" + number(row))
        assert call.webhook == 200 and call.is_connected.wait(10), call.error
        call.stream.say(SPEECH)
        wait_until(lambda: len(self.of(f"row{row}", "agent")) >= 2, 25, f"no answer in the call of {ROWS[row]}")
        call.hang_up()
        wait_until(lambda: self.of(f"row{row}", "ended"), 10, f"the call of {ROWS[row]} did not end")

    def call_by_twilio(self):
        """The agent sends the caller on, which is the REST API's."""
        call = self.twilio.call("+15551230001", "+2001", voice="/golden/voice", status="/golden/status")
        assert call.webhook == 200 and call.is_connected.wait(10), call.error
        call.stream.say(SPEECH)
        wait_until(lambda: call.dialled, 25, "the agent did not send the caller on")
        call.hang_up()

    def call_by_opensips(self):
        """The caller says goodbye, and the agent hangs up."""
        call = self.opensips.answered("2000")
        call.say(SPEECH)
        assert call.ended_by_us.wait(25), "the agent did not hang up"


@unittest.skipUnless(test_grpc.PYTHON.exists(), "scripts/test-clients has not installed grpcio")
class Wire(unittest.TestCase):
    def test_what_goes_over_the_wire_is_what_it_was(self):
        with Exchanges() as exchanges:
            texts = {name: wire_text.transcript(recording, [PROTOS[name]] if name in PROTOS else [], LIVE.get(name, ""), SCRUBS)
                     for name, recording in exchanges.recordings.items()}
        different = [line for name in sorted(texts) for line in self.compared(GOLDEN / f"{name}.txt", texts[name])]
        self.assertEqual([path.stem for path in sorted(GOLDEN.glob("*.txt"))], sorted(texts))
        if different:
            self.fail("\n" + "\n".join(different) + f"\n\nIf this is meant: {RENEW}=1 Tests/EndToEnd/run wire, and read what changed.")

    def compared(self, path, text):
        """The lines of the difference."""
        if os.environ.get(RENEW):
            path.write_text(text)
        golden = path.read_text() if path.exists() else ""
        return list(difflib.unified_diff(golden.split("\n"), text.split("\n"), f"golden/{path.name}", "on the wire", lineterm=""))


if __name__ == "__main__":
    unittest.main()
