"""Calls through the gRPC plugins and the services that they were written for, rebuilt on grpcio (Tests/Peers/grpc_peer.py)."""

import json
import pathlib
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import sound
import host as hosts
from host import INSTANT, PLUGINS, ROOT, free_port
from phones import Baresip

PYTHON = ROOT / ".cache/venv-tests/bin/python"
ANSWER = ["Faturanız ", "iki yüz elli lira, ", "son ödeme günü ", "Çarşamba. ", "Başka ", "bir isteğiniz var mı?"]
QUESTION = "Iğdır'daki faturam ne kadar, şu İzmir'deki değil"


def setUpModule():
    """Only the plugins that are needed: a host tries out whatever is in its directory."""
    global plugins
    plugins = pathlib.Path(tempfile.mkdtemp(prefix="grpc-plugins-"))
    unittest.addModuleCleanup(shutil.rmtree, plugins, ignore_errors=True)
    for name in ("STTGrpc", "LLMGrpc", "TTSGrpc", "TTSGoogle", "InstantSTT", "InstantLLM", "InstantTTS", "TelephonySIP", "VADEnergy"):
        shutil.copy(PLUGINS / f"{name}.so", plugins)
    shutil.copy(PLUGINS / ".shipped.json", plugins)


def Host(**settings):
    return hosts.Host(plugins=plugins, **settings)


class Peer:
    """A peer in a process of its own. `told` is what it said so far; `wait_for` what it says from now on."""

    def __init__(self, *arguments, script="grpc_peer.py"):
        self.command = [PYTHON, ROOT / "Tests/Peers" / script, *map(str, arguments)]

    def __enter__(self):
        self.told, self._news = [], queue.Queue()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        self.port = self.wait_for("listening", 15)["port"]
        return self

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def say(self, **members):
        self.process.stdin.write(json.dumps(members) + "\n")
        self.process.stdin.flush()
        self.wait_for("ok")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def wait_for(self, event, seconds=10):
        deadline = time.monotonic() + seconds
        while True:
            try:
                told = self._news.get(timeout=max(0.001, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the peer did not tell {event} within {seconds} s: {self.told[-10:]}")
            if told["event"] == event:
                return told

    def all(self, event):
        return [told for told in self.told if told["event"] == event]

    def _read(self):
        for line in self.process.stdout:
            told = json.loads(line)
            self.told.append(told)
            self._news.put(told)


def section(kind, name, plugin, port, **settings):
    return (f"\n[{kind}.{name}]\nplugin = {plugin}\naddress = 127.0.0.1:{port}\n"
            + "".join(f"{key} = {value}\n" for key, value in settings.items()))


def chain_of(port, settings=None, **ports):
    """gRPC providers before the instant ones, all three at `port` but for those that have one of their own."""
    template = INSTANT.replace("[profile.default]", "[profile.default]\nlanguage = tr")
    # The voice comes last, so that a test may add to its section.
    for kind, plugin in (("stt", "STTGrpc"), ("llm", "LLMGrpc"), ("tts", "TTSGrpc")):
        template = template.replace(f"{kind} = {kind}.instant", f"{kind} = {kind}.grpc, {kind}.instant")
        template += section(kind, "grpc", plugin, ports.get(kind, port), **(settings or {}))
    return template


class Logic(unittest.TestCase):
    def test_what_the_model_says_stops_where_it_should_and_it_is_told_what_was_said(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "logic"
            plugin = ROOT / "Plugins/LLMGrpc"
            subprocess.run(["c++", "-std=c++17", "-Wall", "-Wextra", ROOT / "Tests/EndToEnd/grpc_logic.cpp", plugin / "conversation.cpp",
                            plugin / "stop_text.cpp", "-lprotobuf", "-o", program], check=True)
            run = subprocess.run([program], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout)


@unittest.skipUnless(PYTHON.exists(), "scripts/test-clients has not installed grpcio")
class Grpc(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="grpc-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.voice = sound.voice(1.6)
        sound.write(self.folder / "voice.wav", self.voice)

    def certificate(self):
        """A certificate that nobody but this test trusts."""
        paths = self.folder / "certificate.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=speech.test",
                        "-addext", "subjectAltName=DNS:speech.test", "-out", paths[0], "-keyout", paths[1]],
                       check=True, capture_output=True)
        return paths

    def test_turkish_is_heard_asked_and_spoken_over_tls_with_a_token(self):
        certificate, key = self.certificate()
        with Peer("--tls", certificate, key, "--token", "ab-cd-ef-gh", "--hears", self.folder / "voice.wav") as peer:
            peer.say(text=QUESTION, answer=ANSWER, msPerCharacter=20)
            common = dict(tls="yes", tls_certificates=certificate, tls_name="speech.test", token="${{secret:GRPC_TOKEN}}")
            template = chain_of(peer.port, common)
            with Host(template=template, profile="prompt = Kısa konuş.", environment={"GRPC_TOKEN": "ab-cd-ef-gh"}) as host:
                with Baresip(sound.joined(sound.silence(0.5), self.voice), seconds=20) as phone:
                    phone.dial(host)
                    caller = host.wait_for("caller", 12)
                    agent = host.wait_for("agent", 20)
                    phone.hang_up()
                    heard = phone.heard()
                host.wait_for("ended")
                said = host.said()
        self.assertEqual(caller["text"], QUESTION)
        self.assertEqual(agent["heard"].split(), "".join(ANSWER).split())
        asked = peer.all("asked")[-1]
        self.assertEqual((asked["text"], asked["prompt"]), (QUESTION, "Kısa konuş."))
        # Two clauses are asked for at once, and come to two threads there.
        spoken = " ".join(told["text"] for told in peer.all("spoke"))
        self.assertEqual(sorted(spoken.split()), sorted("".join(ANSWER).split()))
        # 440 Hz of 22.05 kHz is 440 Hz on the telephone, or the rate was believed.
        first, last = sound.spans(heard)[0]
        self.assertGreater(sound.share_of_pitch(heard[first + 800:first + 4000], 440), 0.7)
        self.assertGreater(peer.all("likeness")[-1]["value"], 0.8)
        self.assertNotIn("ab-cd-ef-gh", said)

    def test_a_barge_in_cancels_the_call_of_the_voice(self):
        with Peer() as peer:
            peer.say(answer=["Bir iki üç dört beş altı yedi sekiz dokuz on, on bir on iki on üç on dört. "] * 3, msPerCharacter=90, audioEveryMs=15)
            with Host(template=chain_of(peer.port)) as host:
                talk = sound.joined(sound.silence(0.5), self.voice, sound.silence(3), sound.voice(1.6, seed=3))
                with Baresip(talk, seconds=20) as phone:
                    phone.dial(host)
                    barge = host.wait_for("bargeIn", 20)
                    agent = host.wait_for("agent", 5)
                    gone = [told for told in peer.all("cancelled") if told["method"] == "SynthesizeText"]
                    if not gone:
                        gone = [peer.wait_for("cancelled", 3)]
                    phone.hang_up()
                host.wait_for("ended")
                said = host.said()
        self.assertTrue(agent["interrupted"])
        # From the host's decision to the server's knowledge; 100 ms is what the contract gives a plugin.
        print(f"\n  the server knew {(gone[0]['at'] - barge['receivedAt']) * 1000:.0f} ms after the barge-in", end=" ")
        self.assertLess(gone[0]["at"] - barge["receivedAt"], 1)
        self.assertNotRegex(said, "FAULT|contract")

    def test_a_model_that_is_killed_in_the_middle_of_a_turn_is_followed_by_the_next(self):
        with Peer() as speech, Peer() as model:
            model.say(fault={"method": "ProcessText", "kind": "slow", "ms": 8000})
            template = chain_of(speech.port, llm=model.port)
            with Host(template=template) as host, Baresip(sound.joined(sound.silence(0.5), self.voice), seconds=20) as phone:
                phone.dial(host)
                model.wait_for("called", 15)
                model.kill()
                failover = host.wait_for("failover", 10, to="llm.instant")
                agent = host.wait_for("agent", 15)
                phone.hang_up()
                host.wait_for("ended")
        self.assertEqual((failover["from"], failover["vendorCode"]), ("llm.grpc", "UNAVAILABLE"))
        self.assertTrue(agent["heard"])

    def test_every_way_to_fail_is_told_with_the_servers_own_code_and_the_next_voice_goes_on(self):
        codes = {"exhausted": "RESOURCE_EXHAUSTED", "unavailable": "UNAVAILABLE", "deadline": "DEADLINE_EXCEEDED", "nonsense": "",
                 "said": "SYNTHESIS_ERROR", "slow": "DEADLINE_EXCEEDED", "stall": "DEADLINE_EXCEEDED", "break": "INTERNAL"}
        # Several calls, because a turn tries only so many providers.
        groups = [list(codes)[at:at + 2] for at in range(0, len(codes), 2)]
        greeting = "Merhaba, size nasıl yardımcı olabilirim?"
        with Peer() as peer:
            peer.say(msPerCharacter=20)
            profiles = "".join(
                f"[profile.number{at}]\nmatch = number{at}\nstt = stt.instant\nllm = llm.instant\ngreeting = {greeting}\n"
                f"tts = {', '.join('tts.' + kind for kind in group)}, tts.instant\n\n" for at, group in enumerate(groups))
            template = INSTANT.replace("[profile.default]", profiles + "[profile.default]") + "".join(
                section("tts", kind, "TTSGrpc", peer.port, voice=kind, retries=0, first_audio_ms=300, next_audio_ms=300)
                for kind in codes)
            with Host(template=template, greeting=greeting) as host:
                for at in range(len(groups)):
                    with Baresip(seconds=8) as phone:
                        phone.dial(host, f"number{at}")
                        said = host.wait_for("agent", 15)
                        phone.hang_up()
                    host.wait_for("ended")
                    self.assertTrue(said["heard"].endswith("olabilirim?"), said["heard"])
                told = {event["from"][4:]: event["vendorCode"] for event in host.events if event["event"] == "failover"}
        self.assertEqual(told, codes)

    def test_a_refused_token_and_a_server_that_is_not_there_stop_nothing_and_it_is_used_once_it_is(self):
        port = free_port(socket.SOCK_STREAM)
        with Peer("--token", "right") as peer:
            template = (chain_of(port).replace("tts = tts.grpc", "tts = tts.refused, tts.grpc") + "reconnect_max_ms = 300\n"
                        + section("tts", "refused", "TTSGrpc", peer.port, token="${{secret:GRPC_TOKEN}}", retries=0))
            # What has failed three times is left alone by all calls for so long.
            template = template.replace("[vchost]\n", "[vchost]\nprovider_pause_s = 1\n")
            with Host(template=template, greeting="Merhaba.", environment={"GRPC_TOKEN": "wrong-token"}) as host:
                with Baresip(seconds=6) as phone:
                    phone.dial(host)
                    refused = host.wait_for("failover", 10, to="tts.grpc")
                    absent = host.wait_for("failover", 10, to="tts.instant")
                    phone.hang_up()
                host.wait_for("ended")
                self.assertEqual((refused["vendorCode"], absent["vendorCode"]), ("UNAUTHENTICATED", "UNAVAILABLE"))
                with Peer("--port", port) as late:
                    # gRPC tries again by itself; the host asks a provider that failed when its pause is over.
                    deadline = time.monotonic() + 15
                    while not late.all("spoke") and time.monotonic() < deadline:
                        with Baresip(seconds=4) as phone:
                            phone.dial(host)
                            host.wait_for("agent", 10)
                            phone.hang_up()
                        host.wait_for("ended")
                    self.assertTrue(late.all("spoke"))
                self.assertNotIn("wrong-token", host.said())


OFFICIAL = """
import json, sys
import grpc
from google.cloud import texttospeech_v1 as tts
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcTransport
from google.oauth2 import service_account
import google.auth.transport.requests

account, port = sys.argv[1:]
credentials = service_account.Credentials.from_service_account_file(
    account, scopes=["https://www.googleapis.com/auth/cloud-platform"])
credentials.refresh(google.auth.transport.requests.Request())
client = tts.TextToSpeechClient(transport=TextToSpeechGrpcTransport(channel=grpc.insecure_channel("127.0.0.1:" + port)))
requests = [tts.StreamingSynthesizeRequest(streaming_config=tts.StreamingSynthesizeConfig(
    voice=tts.VoiceSelectionParams(language_code="tr-TR", name="tr-TR-Chirp3-HD-Kore"),
    streaming_audio_config=tts.StreamingAudioConfig(audio_encoding=tts.AudioEncoding.PCM, sample_rate_hertz=8000)))]
requests += [tts.StreamingSynthesizeRequest(input=tts.StreamingSynthesisInput(text=text)) for text in ("Merhaba. ", "Nasılsınız?")]
answers = client.streaming_synthesize(iter(requests), metadata=[("authorization", "Bearer " + credentials.token)])
print(json.dumps({"bytes": sum(len(answer.audio_content) for answer in answers)}))
"""


@unittest.skipUnless(PYTHON.exists(), "scripts/test-clients has not installed grpcio")
class GoogleVoices(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="google-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.account = self.folder / "account.json"

    def peer(self):
        return Peer(self.account, script="google_tts_peer.py")

    def template(self, peer, **settings):
        http = peer.all("http")[0]["port"]
        return (INSTANT.replace("tts = tts.instant", "tts = tts.google, tts.instant\nlanguage = tr")
                + section("tts", "google", "TTSGoogle", peer.port, tls="no", url=f"http://127.0.0.1:{http}/v1", voice="Kore", **settings)
                + f"\n[secrets]\nGOOGLE_CREDENTIALS = file:{self.account}\n")

    def greeted(self, host, seconds=6):
        """A call that is greeted and says nothing; what it heard."""
        with Baresip(seconds=seconds) as phone:
            phone.dial(host)
            agent = host.wait_for("agent", 10)
            phone.hang_up()
            heard = phone.heard()
        host.wait_for("ended")
        return agent["heard"], heard

    def test_the_official_client_is_served_as_by_google(self):
        with self.peer() as peer:
            output = subprocess.run([PYTHON, "-c", OFFICIAL, self.account, str(peer.port)], capture_output=True, text=True, timeout=30)
            self.assertEqual(output.returncode, 0, output.stderr[-2000:])
            self.assertEqual(json.loads(output.stdout)["bytes"], len("Merhaba. Nasılsınız?") * 60 * 8 * 2)
            self.assertEqual(peer.all("config")[0]["voice"], "tr-TR-Chirp3-HD-Kore")

    def test_a_stream_speaks_turkish_with_one_token_for_all_calls_and_rest_where_there_is_no_stream(self):
        greeting = "Merhaba, size nasıl yardımcı olabilirim?"
        with self.peer() as peer, Host(template=self.template(peer), greeting=greeting) as host:
            peer.say(msPerCharacter=20)
            for _ in range(2):
                said, heard = self.greeted(host)
                self.assertEqual(said, greeting)
                first, last = sound.spans(heard)[0]
                self.assertGreater(sound.share_of_pitch(heard[first + 800:first + 4000], 550), 0.7)
            self.assertEqual({(told["voice"], told["rate"]) for told in peer.all("config")}, {("tr-TR-Chirp3-HD-Kore", 8000)})
            self.assertEqual((peer.all("refused"), peer.all("rest")), ([], []))
            peer.say(fault={"method": "StreamingSynthesize", "kind": "unstreamed", "times": 9})
            said, heard = self.greeted(host)
            self.assertEqual(said, greeting)
            self.assertEqual("".join(told["text"] for told in peer.all("rest")).split(), greeting.split())
            first, last = sound.spans(heard)[0]
            self.assertGreater(sound.share_of_pitch(heard[first + 800:first + 4000], 550), 0.7)
            self.assertEqual(len(peer.all("token")), 1)
            self.assertEqual([event for event in host.events if event["event"] == "failover"], [])
            self.assertNotIn("ya29", host.said())


if __name__ == "__main__":
    unittest.main()
