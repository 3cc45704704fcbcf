"""Every pair of a telephony plugin, a recogniser, a language model and a voice in one of 25 calls, all of them in one host.

Five recognisers, five models and five voices make 25 rows in which every pair meets once (an orthogonal array over the field of
five); the three ways into the host go round. In each row the call is answered, the greeting and an answer are heard, and the caller
interrupts. A fake recogniser understands only audio that is like what the caller said; Whisper, llama.cpp and Piper are the real
ones. Nova's rows are Turkish. The table is printed; afterwards a voice is killed in mid-turn.
"""

import contextlib
import json
import pathlib
import re
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
import unittest
from concurrent import futures

import sound
import test_grpc
import test_language_models as models
import test_voices as voices
from host import INSTANT, ROOT, Host, free_port
from phones import Baresip, Sipp
from stack import Services, wait_until

sys.path.insert(0, str(ROOT / "Tests/Peers"))
from deepgram_peer import DeepgramPeer  # noqa: E402
from heard_audio import Reference  # noqa: E402
from opensips_peer import OpenSIPS  # noqa: E402
from twilio_peer import Twilio  # noqa: E402
from vosk_peer import VoskPeer  # noqa: E402

TELEPHONY = ["SIP", "Twilio", "OpenSIPS", "SIP", "Twilio"]
RECOGNISERS = ["flux", "nova", "vosk", "grpcear", "whisper"]
MODELS = ["ollama", "llama", "groq", "grpcmind", "llamacpp"]
VOICES = ["piper", "piperws", "cartesia", "grpcvoice", "google"]
ROWS = [(TELEPHONY[(i + 2 * j) % 5], RECOGNISERS[i], MODELS[j], VOICES[(i + j) % 5]) for i in range(5) for j in range(5)]
AT_ONCE = 5

MONKEYS = "They have been carried away by monkeys."
TURKISH = "Hı hı, tamam, İzmir'den Işıl arıyor."
ANSWER = "We will look into it tomorrow morning, and one of us will call you back as soon as there is any news of them. "
ACCOUNT, PUBLIC, KEY = "AC" + "0123456789abcdef" * 2, "https://bot.example.com", "deepgram-test-key"
WORDS = sound.recording_of_a_person("monkeys")
# Greeting, question, answer, interruption.
SPEECH = sound.joined(sound.silence(2.2), WORDS, sound.silence(4), WORDS, sound.silence(4))


def number(row):
    return f"1555000{row:04d}"


def profile(row, telephony, recogniser, model, voice):
    return (f"\n[profile.row{row}]\nmatch = *{number(row)}\nlanguage = {'tr' if recogniser == 'nova' else 'en'}\n"
            f"greeting = Good day.\nstt = stt.{recogniser}, stt.instant\nllm = llm.{model}, llm.instant\n"
            f"tts = tts.{voice}, tts.instant\nprompt = Answer in one sentence.\n")


def section(kind, name, plugin, **settings):
    return f"\n[{kind}.{name}]\nplugin = {plugin}\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


def letters(text):
    return "".join(character for character in text.lower() if character.isalpha())


class SIPCaller:
    def __init__(self, test, row, speech=SPEECH):
        with test.starting:
            self.phone = test.enter(Baresip(speech, seconds=40))
        self.phone.dial(test.host, number(row))
        self.hang_up, self.heard = self.phone.hang_up, self.phone.heard


class TwilioCaller:
    def __init__(self, test, row, speech=SPEECH):
        self.call = test.twilio.call("+15551230001", "+" + number(row))
        assert self.call.webhook == 200 and self.call.is_connected.wait(5), self.call.error
        self.call.stream.say(sound.mu_law(speech))
        self.hang_up = self.call.hang_up

    def heard(self):
        return sound.array.array("h", map(LINEAR.__getitem__, self.call.stream.heard))


class OpenSIPSCaller:
    def __init__(self, test, row, speech=SPEECH):
        self.call = test.opensips.answered(number(row))
        self.call.say(sound.mu_law(speech))
        self.hang_up, self.heard = self.call.bye, self.call.heard


CALLERS = {"SIP": SIPCaller, "Twilio": TwilioCaller, "OpenSIPS": OpenSIPSCaller}


def linear(code):
    bits = ~code & 0xFF
    magnitude = (((bits & 15) << 3) + 0x84 << (bits >> 4 & 7)) - 0x84
    return -magnitude if bits & 0x80 else magnitude


LINEAR = [linear(code) for code in range(256)]


@unittest.skipUnless(test_grpc.PYTHON.exists(), "scripts/test-clients has not installed grpcio")
class Combinations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.starting = threading.Lock()
        cls.exits = contextlib.ExitStack()
        cls.addClassCleanup(cls.exits.close)
        cls.enter = cls.exits.enter_context
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="combinations-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        sound.write(cls.folder / "words.wav", WORDS)

        cls.local = cls.enter(Services("whisper", "llama", "piper"))
        cls.flux = cls.enter(DeepgramPeer([Reference.of(WORDS, MONKEYS)]))
        cls.nova = cls.enter(DeepgramPeer([Reference.of(WORDS, TURKISH)]))
        cls.vosk = cls.enter(VoskPeer([Reference.of(WORDS, MONKEYS)]))
        cls.grpc = cls.enter(test_grpc.Peer("--hears", cls.folder / "words.wav"))
        cls.grpc.say(text=MONKEYS, answer=[word + " " for word in ANSWER.split()], everyMs=5)
        cls.ollama, cls.groq = cls.enter(models.Peer("ollama")), cls.enter(models.Peer("openai", "--flavour", "groq"))
        cls.llama = cls.enter(models.Peer("llama_ws"))
        for peer in (cls.ollama, cls.groq, cls.llama):
            peer.script(replies=[ANSWER], tokenMs=5)
        cls.cartesia, cls.piper = cls.enter(voices.Peer("cartesia_peer", 4)), cls.enter(voices.Peer("piper_ws_peer", 4))
        account = cls.folder / "account.json"
        cls.google = cls.enter(test_grpc.Peer(account, script="google_tts_peer.py"))
        cls.opensips = cls.enter(OpenSIPS())
        port, token = free_port(socket.SOCK_STREAM), secrets.token_hex(16)
        cls.twilio = cls.enter(Twilio(ACCOUNT, token, public=PUBLIC, local=f"http://127.0.0.1:{port}"))

        address = f"127.0.0.1:{cls.grpc.port}"
        sections = (
            section("stt", "flux", "STTDeepgram", url=cls.flux.url, api_key="${secret:DEEPGRAM_API_KEY}")
            + section("stt", "nova", "STTDeepgram", url=cls.nova.url, api_key="${secret:DEEPGRAM_API_KEY}")
            + section("stt", "vosk", "STTVosk", url=cls.vosk.url)
            + section("stt", "grpcear", "STTGrpc", address=address)
            + section("stt", "whisper", "STTFasterWhisper", url=cls.local.url("whisper") + "/v1/audio/transcriptions")
            + section("llm", "ollama", "LLMOllama", url=f"http://{cls.ollama.authority}", model="llama3.2")
            + section("llm", "llama", "LLMLlama", url=f"ws://{cls.llama.authority}")
            + section("llm", "groq", "LLMOpenAI", url=f"http://{cls.groq.authority}/v1", model="test-model")
            + section("llm", "grpcmind", "LLMGrpc", address=address)
            + section("llm", "llamacpp", "LLMOpenAI", url=cls.local.url("llama") + "/v1", max_tokens=40)
            + section("tts", "piper", "TTSPiper", url=cls.local.url("piper") + "/synthesize")
            + section("tts", "piperws", "TTSPiper", url=f"ws://127.0.0.1:{cls.piper.port}/tts")
            + section("tts", "cartesia", "TTSCartesia", url=f"ws://127.0.0.1:{cls.cartesia.port}/tts/websocket")
            + section("tts", "grpcvoice", "TTSGrpc", address=address)
            + section("tts", "google", "TTSGoogle", address=f"127.0.0.1:{cls.google.port}", tls="no", voice="Kore",
                      url=f"http://127.0.0.1:{cls.google.all('http')[0]['port']}/v1")
            + section("telephony", "twilio", "TelephonyTwilio", public_url=PUBLIC, account_sid=ACCOUNT, url=cls.twilio.url)
            + section("telephony", "opensips", "TelephonyOpenSIPS", mi_port=cls.opensips.port, renew_s=1)
            + f"\n[server]\nlisten = 127.0.0.1:{port}\n"
            + f"\n[secrets]\nGOOGLE_CREDENTIALS = file:{account}\nCARTESIA_API_KEY = env:TEST_CARTESIA_KEY\n")
        rows = "".join(profile(row, *names) for row, names in enumerate(ROWS))
        cls.host = cls.enter(Host(
            template=INSTANT.replace("[profile.default]", rows + "\n[profile.default]"), telephony=sections, environment={
                "TWILIO_AUTH_TOKEN": token, "DEEPGRAM_API_KEY": KEY, "TEST_CARTESIA_KEY": voices.cartesia_peer.KEY}))
        cls.opensips.wait_for_subscription()

    def told(self, row):
        """The events of the row's last call."""
        calls = [event["call"] for event in self.host.events if event["event"] == "incoming" and event["profile"] == f"row{row}"]
        return [event for event in list(self.host.events) if calls and event.get("call") == calls[-1]]

    def of(self, row, name):
        """Those of one kind."""
        return [event for event in self.told(row) if event["event"] == name]

    def call(self, row):
        """One row: a line of the table, and what is wrong with it."""
        telephony, recogniser, model, voice = ROWS[row]
        wrong = []
        caller = CALLERS[telephony](self, row)
        # The caller speaks by the clock; two turns of hers, and what the agent says to them.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.of(row, "ended") or len(self.of(row, "caller")) >= 2 and len(self.of(row, "agent")) >= 2, 30, "")
        heard = caller.heard()
        caller.hang_up()
        try:
            wait_until(lambda: self.of(row, "ended"), 10, f"the call of row {row} did not end")
        except AssertionError as failure:
            raise AssertionError(f"{failure}; {self.told(row)}\n{self.host.said()}") from None
        said = [event["text"] for event in self.of(row, "caller")]
        answers = [event["heard"] for event in self.of(row, "agent") if event["turn"] > 0]
        expected = TURKISH if recogniser == "nova" else MONKEYS
        if not said or letters(said[0]) != letters(expected) and not (recogniser == "whisper" and "monkeys" in said[0].lower()):
            wrong.append(f"understood {said}")
        if not any(answers):
            wrong.append("no answer was heard")
        if model != "llamacpp" and answers and letters(answers[0])[:6] not in letters(ANSWER):
            wrong.append(f"another answer: {answers}")
        if len(sound.spans(heard)) < 2:
            wrong.append(f"greeting and answer are not both audible: {sound.spans(heard)}")
        if failovers := [(event["from"], event["reason"]) for event in self.of(row, "failover")]:
            wrong.append(f"failed over: {failovers}")
        # What the real model says may be too short to be interrupted.
        if model != "llamacpp" and not self.of(row, "bargeIn"):
            wrong.append("no barge-in")
        # The greeting's stages bear the number of the turn that follows it.
        told = [event for event in self.of(row, "stage") if event["turn"] == 1]
        spoken = next((event["atNs"] for event in told if event["stage"] == "endOfSpeech"), 0)
        stages = {event["stage"]: round((event["atNs"] - spoken) / 1e6) for event in reversed(told) if event["atNs"] >= spoken > 0}
        line = (f"{row + 1:3}  {telephony:9}{recogniser:9}{model:10}{voice:11}{'tr' if recogniser == 'nova' else 'en'}  "
                + "".join(f"{stages.get(name, '-'):>8}" for name in ("endOfTurn", "firstToken", "firstAudio", "firstPacket"))
                + f"  {'barge-in' if self.of(row, 'bargeIn') else '-':9}")
        return line, wrong

    def test_1_every_pair_meets_in_a_call(self):
        with futures.ThreadPoolExecutor(AT_ONCE) as pool:
            lines = list(pool.map(self.call, range(len(ROWS))))
        print("\n     telephony  stt      llm       tts        in  turn ms   token   audio  packet")
        for line, wrong in lines:
            print(line + ("; ".join(wrong) or "ok"))
        self.assertEqual([f"{line.split()[:5]}: {wrong}" for line, wrong in lines if wrong], [])
        for peer in (self.flux, self.nova, self.vosk, self.opensips):
            self.assertEqual(getattr(peer, "violations", None) or getattr(peer, "faults", []), [])
        self.assertTrue(all(question["text"] for question in self.grpc.all("asked")))
        self.assertIn(TURKISH, json.dumps(self.ollama.log, ensure_ascii=False))

    def test_2_fifty_calls_over_all_doors_at_once(self):
        """Instant providers, so that what is looked at is the host: 20 by SIP, 15 by Twilio, 15 by OpenSIPS."""
        before = len([event for event in self.host.events if event["event"] == "ended"])
        talk = Sipp("talk", self.host.sip, calls=20, rate=10, media=sound.voice(1.2), timeout=60)
        words = sound.mu_law(sound.joined(sound.silence(1), sound.voice(1), sound.silence(5)))
        with futures.ThreadPoolExecutor(30) as pool:
            carried = [pool.submit(self.twilio.call, "+15551230001", "+19990000000") for _ in range(15)]
            relayed = [pool.submit(self.opensips.answered, "desk") for _ in range(15)]
            carried, relayed = [one.result() for one in carried], [one.result() for one in relayed]
            for call in carried:
                self.assertTrue(call.is_connected.wait(10), call.error)
                call.stream.say(words)
            for call in relayed:
                call.say(words)
        time.sleep(7)
        for call in carried:
            self.assertTrue(sound.spans([LINEAR[code] for code in call.stream.heard]), "no answer over Twilio")
            call.hang_up()
        for call in relayed:
            self.assertTrue(sound.spans(call.heard()), "no answer over OpenSIPS")
            call.bye()
        self.assertEqual(talk.finish()["FailedCall(C)"], 0)
        ended = lambda: [event for event in list(self.host.events) if event["event"] == "ended"][before:]  # noqa: E731
        wait_until(lambda: len(ended()) >= 50, 20, f"{len(ended())} of 50 calls ended")
        self.assertEqual({event["end"] for event in ended()}, {"farEnd.caller"})
        self.assertEqual(sum(event["failovers"] for event in ended()), 0)

    def test_3_a_provider_that_is_killed_in_mid_turn_costs_no_call(self):
        """Cartesia dies while it speaks, and the next voice goes on."""
        row = next(row for row, names in enumerate(ROWS) if names[3] == "cartesia" and names[2] == "ollama")
        caller = CALLERS[ROWS[row][0]](self, row)
        wait_until(lambda: any(stage["stage"] == "firstAudio" for stage in self.of(row, "stage") if stage["turn"] == 1), 20,
                   "the voice did not begin")
        self.cartesia.kill()
        wait_until(lambda: self.of(row, "failover"), 10, "nobody noticed")
        wait_until(lambda: len(self.of(row, "agent")) >= 2, 20, "the agent did not end its turn")
        caller.hang_up()
        wait_until(lambda: self.of(row, "ended"), 10, "the call did not end")
        # The vendor is asked once more, and then the next.
        failover = self.of(row, "failover")[-1]
        self.assertEqual((failover["from"], failover["to"]), ("tts.cartesia", "tts.instant"))
        self.assertTrue(re.search(r"\w", self.of(row, "agent")[-1]["heard"]))
        self.assertEqual(self.of(row, "ended")[0]["end"], "farEnd.caller")


if __name__ == "__main__":
    unittest.main()
