"""Calls whose words come from Deepgram and Vosk: fakes that say only what they hear (Tests/Peers), behind the real host."""

import contextlib
import pathlib
import subprocess
import sys
import threading
import time
import unittest
from concurrent import futures

import sound
from host import INSTANT, ROOT, Host
from phones import Baresip
from stack import wait_until

sys.path.insert(0, str(ROOT / "Tests/Peers"))

from deepgram_peer import DeepgramPeer  # noqa: E402
from heard_audio import Ear, Reference, mu_law_decoded  # noqa: E402
from vosk_peer import VoskPeer  # noqa: E402

MONKEYS, APPOINTMENT = "They have been carried away by monkeys.", "Tuesday at two o'clock."
TURKISH = "Hı hı, tamam, İzmir'den Işıl arıyor."
KEY = "deepgram-test-key"
CLIENTS = ROOT / ".cache/venv-tests/bin/python"


def reference(name, text):
    return Reference.of(sound.recording_of_a_person(name), text)


def references():
    return [reference("monkeys", MONKEYS), reference("appointment", APPOINTMENT)]


def profile(number, *recognisers, language="en"):
    """Calls of this number have these recognisers, in this order."""
    return (f"\n[profile.{number}]\nmatch = {number}\nlanguage = {language}\nstt = {', '.join(recognisers)}\n"
            "llm = llm.instant\ntts = tts.instant\n")


def deepgram(name, peer, *lines):
    # On a busy machine the fake is behind by more than the vendor would be.
    common = ["plugin = STTDeepgram", f"url = {peer.url}", "api_key = ${{secret:DEEPGRAM_API_KEY}}", "finalize_ms = 2300"]
    return "\n".join([f"\n[stt.{name}]", *common, *lines, ""])


def vosk(name, peer, *lines):
    return "\n".join([f"\n[stt.{name}]", "plugin = STTVosk", f"url = {peer.url}", "finalize_ms = 2300", *lines, ""])


class Calls(unittest.TestCase):
    """One host with a recogniser for each number, and a call to each."""

    @classmethod
    def setUpClass(cls):
        cls.exits = contextlib.ExitStack()
        cls.starting = threading.Lock()
        start = cls.exits.enter_context
        cls.flux = start(DeepgramPeer(references()))
        cls.breaking = start(DeepgramPeer(references(), faults=[
            {"abort_after_words": 4}, {"close_after_words": 2, "close": (1011, "NET-0000")}]))
        cls.nova = start(DeepgramPeer([reference("monkeys", TURKISH)]))
        cls.strange = start(DeepgramPeer(references(), key="another"))
        cls.vosk = start(VoskPeer(references()))
        cls.breaking_vosk = start(VoskPeer(references(), faults=[{"abort_after_words": 2}]))
        # The first profile that fits takes the call.
        numbers = (profile("flux", "stt.flux") + profile("breaking", "stt.breaking")
                   + profile("turkish", "stt.nova", language="tr") + profile("refused", "stt.strange", "stt.vosk")
                   + profile("breakingvosk", "stt.breakingvosk"))
        template = (INSTANT.replace("[profile.default]", numbers + "\n[profile.default]")
                    + deepgram("flux", cls.flux, "keyterms = weasels, monkey business") + deepgram("breaking", cls.breaking)
                    + deepgram("nova", cls.nova) + deepgram("strange", cls.strange)
                    + vosk("vosk", cls.vosk, "sample_rate = 16000") + vosk("breakingvosk", cls.breaking_vosk))
        cls.host = start(Host(template=template, environment={"DEEPGRAM_API_KEY": KEY}))
        # All at once: what one vendor does must not matter to the others, and it is over sooner.
        numbers = {"flux": ["monkeys", "appointment"], "breaking": ["monkeys"], "turkish": ["monkeys"],
                   "refused": ["appointment"], "breakingvosk": ["monkeys"]}
        with futures.ThreadPoolExecutor() as pool:
            cls.calls = {number: pool.submit(cls.call, number, names) for number, names in numbers.items()}

    @classmethod
    def tearDownClass(cls):
        cls.exits.close()

    @classmethod
    def call(cls, number, recordings):
        """Says the recordings, with a pause after each, until the caller's turns and an answer were heard. Gives what the
        caller heard."""
        parts = [sound.silence(0.3)]
        for name in recordings:
            parts += [sound.recording_of_a_person(name), sound.silence(2)]
        with contextlib.ExitStack() as exits:
            # One after the other: each looks for free ports.
            with cls.starting:
                phone = exits.enter_context(Baresip(sound.joined(*parts)))
            phone.dial(cls.host, number)
            wait_until(lambda: len(cls.events(number, "caller")) >= len(recordings) and cls.events(number, "agent"), 25,
                       f"the caller of {number} was not understood and answered")
            heard = phone.heard()
            phone.hang_up()
            wait_until(lambda: cls.events(number, "ended"), 10, f"the call of {number} did not end")
        return heard

    @classmethod
    def events(cls, number, name):
        calls = {event["call"] for event in list(cls.host.events)
                 if event["event"] == "incoming" and event["profile"] in (number, f"profile.{number}")}
        return [event for event in list(cls.host.events) if event.get("call") in calls and event["event"] == name]

    def understood(self, number):
        """The caller's turns, once the call is over."""
        self.heard = self.calls[number].result()
        return [event["text"] for event in self.events(number, "caller")]

    def failovers(self, number):
        return [(event["from"], event["to"]) for event in self.events(number, "failover")]

    def log(self):
        return (self.host.folder / "host.log").read_text()

    def closed(self, stream):
        """The connection as it was when it was over: a fake on a busy machine is a little behind."""
        wait_until(lambda: stream.is_over, 10, "the recogniser's connection did not end")
        return stream

    def test_flux_is_understood_in_mu_law_and_its_turns_end_the_callers(self):
        self.assertEqual(self.understood("flux"), [MONKEYS, APPOINTMENT])
        self.assertEqual(self.failovers("flux"), [])
        self.assertTrue(sound.spans(self.heard), "the caller heard no answer")
        stream = self.closed(self.flux.connections[0])
        self.assertEqual(self.flux.violations, [])
        self.assertEqual((stream.path, stream.one("model"), stream.one("encoding"), stream.one("sample_rate")),
                         ("/v2/listen", "flux-general-en", "mulaw", "8000"))
        self.assertEqual(stream.query["keyterm"], ["weasels", "monkey business"])
        # In chunks of 80 ms, and what there is when the host asks.
        self.assertEqual(max(stream.audio_messages), 640)
        self.assertGreater(stream.audio_messages.count(640), 0.8 * len(stream.audio_messages))
        self.assertEqual(stream.texts, ["CloseStream"])
        transcripts = [(event["text"], event["final"]) for event in self.events("flux", "transcript")]
        self.assertIn((MONKEYS, True), transcripts)
        self.assertTrue([text for text, final in transcripts if not final and text.startswith("They have been")])

    def test_a_connection_that_breaks_in_the_middle_of_a_sentence_costs_no_word(self):
        self.assertEqual(self.understood("breaking"), [MONKEYS])
        self.assertEqual(self.failovers("breaking"), [])
        self.assertGreaterEqual(len(self.breaking.connections), 2)
        self.assertEqual(self.breaking.violations, [])
        self.assertIn("connecting again", self.log())

    def test_a_turkish_call_gets_nova_with_its_language(self):
        self.assertEqual(self.understood("turkish"), [TURKISH])
        stream = self.closed(self.nova.connections[0])
        self.assertEqual(self.nova.violations, [])
        self.assertEqual((stream.path, stream.one("model"), stream.one("language"), stream.one("encoding")),
                         ("/v1/listen", "nova-3", "tr", "mulaw"))
        self.assertIn("Finalize", stream.texts)
        self.assertEqual(stream.texts[-1], "CloseStream")

    def test_a_refused_key_is_told_once_and_the_next_recogniser_hears_the_call(self):
        self.assertEqual(self.understood("refused"), ["tuesday at two o'clock"])
        self.assertEqual(self.failovers("refused"), [("stt.strange", "stt.vosk")])
        self.assertEqual(self.strange.violations, ["a wrong Authorization"])
        log = self.log()
        # With Deepgram's own words.
        self.assertEqual(log.count("refused the credential with status 401"), 1, log)
        self.assertEqual(log.count("Invalid credentials."), 1, log)
        self.assertNotIn(KEY, log)
        stream = self.closed(self.vosk.connections[0])
        self.assertEqual(self.vosk.violations, [])
        self.assertEqual(stream.config, {"sample_rate": 16000, "words": 1, "max_alternatives": 0})
        # The end is said once, byte by byte, and nothing else but the configuration.
        self.assertEqual(stream.texts[1:], ['{"eof" : 1}'])

    def test_a_vosk_server_that_breaks_off_in_the_middle_of_a_sentence_costs_no_word(self):
        self.assertEqual(self.understood("breakingvosk"), ["they have been carried away by monkeys"])
        self.assertEqual(self.failovers("breakingvosk"), [])
        self.assertEqual(len(self.breaking_vosk.connections), 2)
        self.assertEqual(self.breaking_vosk.violations, [])


class Fakes(unittest.TestCase):
    """That the fakes say nothing that they have not heard, and have the shape of the real thing."""

    def hear(self, samples):
        ear = Ear(references())
        for at in range(0, len(samples), 2000):
            ear.take(samples[at:at + 2000])
            ear.words()
        return [word.text for word in ear.words()]

    def test_words_come_from_the_recording_alone(self):
        spoken, pause = sound.recording_of_a_person("monkeys"), sound.silence(1)
        coded = mu_law_decoded(sound.mu_law(sound.joined(sound.silence(0.51), spoken, pause)))
        self.assertEqual(self.hear(coded), MONKEYS.split())
        self.assertEqual(self.hear(sound.joined(spoken[len(spoken) // 2:], pause)), ["away", "by", "monkeys."])
        for what, other in (("another voice", sound.voice(3)), ("half the rate", spoken[::2]),
                            ("another person", sound.recording_of_a_person("weasels")), ("silence", sound.silence(3)),
                            ("a hole of half a second", sound.joined(pause, spoken[:8000], spoken[12000:], pause))):
            with self.subTest(what):
                self.assertEqual(self.hear(other), [])

    def test_deepgrams_own_client_understands_the_fake(self):
        if not CLIENTS.exists():
            self.skipTest(f"{CLIENTS} is not there; scripts/test-clients makes it")
        recording = pathlib.Path(sound.__file__).parents[2] / ".cache/demo"
        path = sorted(recording.glob("*-monkeys.wav"))[0]
        with DeepgramPeer(references()) as peer:
            began = time.monotonic()
            client = subprocess.run(
                [CLIENTS, ROOT / "Tests/Peers/clients/deepgram_client.py", peer.url.replace("ws", "http", 1), KEY, path],
                capture_output=True, text=True, timeout=40)
            self.assertEqual(client.returncode, 0, client.stderr[-3000:])
        self.assertEqual(peer.violations, [])
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(client.stdout.splitlines(), [f"flux {MONKEYS}", f"nova {MONKEYS}"])


if __name__ == "__main__":
    unittest.main()
