"""The voices behind WebSockets in real calls: heard, interrupted, killed in the middle of a sentence, refused, and in Turkish."""

import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import time
import unittest
import urllib.request

import sound
from host import INSTANT, ROOT, Host
from phones import Baresip

sys.path.insert(0, str(ROOT / "Tests/Peers"))
import cartesia_peer  # noqa: E402
import piper_ws_peer  # noqa: E402

KATIE, JAMES = "f786b574-daa5-4673-aa0c-cbe3e8534c02", "b7d50908-b17c-442d-ad8d-810c63997ed9"
LONG = "The engineer comes on Tuesday. It costs ninety dollars."
REPLY = f"{LONG} Please keep your dog in the yard. Is there anything else?"
TURKISH = "Işığı açtım; İzmir'de hava bugün güneşliydi, öyle mi?"
FLITE = "\n[tts.flite]\nplugin = TTSFlite\n"
CARTESIA = """[tts.cartesia]
plugin = TTSCartesia
url = ws://127.0.0.1:{port}/tts/websocket
{more}

[secrets]
cartesia_api_key = env:TEST_CARTESIA_KEY
"""


class Peer:
    """A fake vendor in a process of its own, which can be killed."""

    def __init__(self, name, faster=8):
        self.process = subprocess.Popen([sys.executable, ROOT / f"Tests/Peers/{name}.py", "--faster", str(faster)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    kill = __exit__

    def log(self, what=None):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log") as answer:
            return [entry for entry in json.load(answer) if what in (None, entry["what"])]

    def arm(self, **fault):
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/faults", json.dumps(fault).encode()).close()

    def wait_for(self, what, count=1, seconds=5, **members):
        deadline = time.monotonic() + seconds
        while True:
            found = [entry for entry in self.log(what) if members.items() <= entry.items()]
            if len(found) >= count:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"not {count} {what} {members} within {seconds} s: {self.log()[-20:]}")
            time.sleep(0.05)


@contextlib.contextmanager
def hosted(voices, chain, key=cartesia_peer.KEY, reply="", profiles="", **values):
    # The first profile that matches counts, and the one of the template takes all numbers.
    template = (INSTANT.replace("tts = tts.instant", f"tts = {chain}").replace("[profile.default]", f"{profiles}\n[profile.default]")
                .replace("plugin = InstantLLM", f"plugin = InstantLLM\nreply = {reply}")
                .replace("[tts.instant]\nplugin = InstantTTS", voices.replace("{", "{{").replace("}", "}}")))
    with Host(template=template, environment={"TEST_CARTESIA_KEY": key}, **values) as host:
        yield host


def cartesia(peer, **settings):
    return CARTESIA.format(port=peer.port, more="\n".join(f"{name} = {value}" for name, value in settings.items()))


def agent(number, voices, greeting, more=""):
    """A profile for calls to `number`."""
    return f"[profile.{number}]\nmatch = {number}\ngreeting = {greeting}\nstt = stt.instant\nllm = llm.instant\ntts = {voices}\n{more}\n"


def share(heard, hertz, first, last):
    """How much of what is heard has this pitch, a quarter of a second at a time: each clause begins its tone anew."""
    shares = [sound.share_of_pitch(heard[at:at + 2000], hertz) for at in range(first, last - 2000, 2000)]
    return statistics.median(shares) if shares else 0.0


class Cartesia(unittest.TestCase):

    def test_a_greeting_and_a_reply_are_heard_and_an_interruption_cancels_on_the_wire(self):
        """Greeting, question, answer, and an interruption of it: one WebSocket, one context a turn, one cancel."""
        words = sound.voice(0.9)
        microphone = sound.joined(sound.silence(1.7), words, sound.silence(1.6), words)
        with Peer("cartesia_peer", faster=1.2) as peer:
            with hosted(cartesia(peer, voice="James", encoding="pcm_mulaw"), "tts.cartesia", reply=REPLY,
                        greeting="Good morning. How can I help?") as host:
                with Baresip(microphone) as phone:
                    phone.dial(host)
                    host.wait_for("agent", turn=0, heard="Good morning. How can I help?")
                    host.wait_for("caller")
                    barge_in = host.wait_for("bargeIn")
                    canceled = peer.wait_for("over", canceled=True)[-1]
                    time.sleep(0.3)
                    phone.hang_up()
                    heard = phone.heard()
                host.wait_for("ended")
            log = peer.log()
        spans = sound.spans(heard)
        self.assertGreaterEqual(len(spans), 2, "greeting and answer")
        first, last = spans[0]
        self.assertGreater(share(heard, cartesia_peer.pitch(JAMES), first, last), 0.7, "the tone of the chosen voice")
        self.assertEqual(sum(entry["what"] == "upgrade" for entry in log), 1, "one connection for the call")
        sent = [entry["message"] for entry in log if entry["what"] == "message"]
        self.assertEqual(len([message for message in sent if message.get("cancel")]), 1)
        self.assertEqual([message["transcript"] for message in sent if message["context_id"] == "turn-1"],
                         ["Good morning. ", "How can I help?", ""])
        self.assertFalse([entry for entry in log if entry["what"] == "refused"])
        # What the caller heard of the answer, by the vendor's word times: a beginning of it, in whole words.
        self.assertTrue(REPLY.startswith(barge_in["heard"]) and len(barge_in["heard"]) > 8, barge_in["heard"])
        late = [entry for entry in log if entry["what"] == "chunk" and entry["canceled"] and entry["context"] == canceled["context"]]
        print(f"\n  cancel at the vendor {(canceled['at'] - barge_in['receivedAt']) * 1000:.0f} ms after the barge-in was told", end=" ")
        self.assertLess(canceled["at"] - barge_in["receivedAt"], 1)
        self.assertTrue(late, "the fake sends a chunk after the cancel, as the vendor does")

    def test_a_refused_key_is_told_and_turkish_arrives_byte_by_byte_over_a_connection_that_broke_first(self):
        """Two agents: one whose key is wrong, so that the next voice speaks; and one whose first connection is dropped before any
        audio, so that the text is sent again, once."""
        with Peer("cartesia_peer") as refusing, Peer("cartesia_peer") as peer:
            voices = (cartesia(peer) + f"\n[tts.refused]\nplugin = TTSCartesia\nurl = ws://127.0.0.1:{refusing.port}/tts/websocket\n"
                      "api_key = sk_car_wrong\n" + FLITE)
            with hosted(voices, "tts.refused, tts.flite", greeting="Good morning.",
                        profiles=agent("tr", "tts.cartesia", TURKISH, "language = tr")) as host, Baresip() as one, Baresip() as other:
                one.dial(host)
                failover = host.wait_for("failover", to="tts.flite")
                host.wait_for("agent", heard="Good morning.")
                peer.arm(name="dropAfter", chunks=0)
                other.dial(host, "tr")
                host.wait_for("agent", heard=TURKISH)
                one.hang_up(), other.hang_up()
                host.wait_for("ended"), host.wait_for("ended")
                said = host.said()
            sent = [entry["message"] for entry in peer.log("message") if entry["message"]["transcript"]]
        self.assertEqual((failover["from"], failover["reason"].count("401")), ("tts.refused", 1))
        self.assertIn("401", said)
        self.assertNotIn("sk_car_wrong", said)
        self.assertEqual("".join(message["transcript"] for message in sent[-2:]), TURKISH)
        # The first clause was sent before the connection broke, and then all of them.
        self.assertEqual(sent[0]["transcript"], sent[-2]["transcript"])
        self.assertGreater(len(sent), 2)
        self.assertEqual({message["language"] for message in sent}, {"tr"})

    def test_the_fake_has_the_shape_that_the_vendors_own_client_expects(self):
        """Cartesia's client for Python: voices in pages, a context that is continued, word times, and a cancel."""
        python = ROOT / ".cache/venv-tests/bin/python"
        if not python.exists():
            self.skipTest("no .cache/venv-tests; run scripts/test-clients")
        with Peer("cartesia_peer") as peer:
            run = subprocess.run([python, pathlib.Path(__file__).with_name("cartesia_client.py"), str(peer.port)],
                                 capture_output=True, text=True, timeout=30)
        self.assertEqual(run.returncode, 0, run.stderr[-2000:])
        report = json.loads(run.stdout)
        self.assertEqual(report["voices"], [["Ada", "en"], ["Deniz", "tr"], ["Kaan", "tr"]])
        self.assertEqual(report["words"], ["Stay", "hungry,", "stay", "foolish."])
        self.assertEqual(report["bytes"], len("Stay hungry, stay foolish.") * cartesia_peer.MS_PER_LETTER * 8 * 2)
        self.assertEqual((report["flushed"], report["bytesBeforeCancel"]), (1, len("Merhaba.") * cartesia_peer.MS_PER_LETTER * 8 * 2))
        self.assertEqual(report["types"], ["chunk", "done", "timestamps"])


class PiperSocket(unittest.TestCase):
    # How the services of each generation write start and end.
    STYLES = {2: "greet=1&style=type", 3: "style=audio", 5: "style=status"}

    def test_every_generation_is_heard_in_its_own_messages(self):
        with Peer("piper_ws_peer") as peer:
            voices = "\n".join(f"[tts.piper{number}]\nplugin = TTSPiper\nurl = ws://127.0.0.1:{peer.port}/tts?{style}\n"
                               f"generation = {number}\nvoice = tr_TR-{number}\n" for number, style in self.STYLES.items())
            profiles = "".join(agent(number, f"tts.piper{number}", TURKISH, "language = tr") for number in self.STYLES)
            # Half samples at the ends of packets: heard from the wrong byte on, a tone is noise.
            peer.arm(name="odd", times=3)
            self.hear_each(peer, voices, profiles)
            requests = [entry["message"] for entry in peer.log("request")]
            self.assertFalse(peer.log("refused"))
        asked = {message["voice"][-1]: message for message in requests}
        self.assertEqual([asked[number].keys() for number in "23"], [{"text", "voice"}] * 2)
        self.assertEqual({key: asked["5"][key] for key in ("sample_rate", "format")}, {"sample_rate": 22050, "format": "pcm16"})
        for number in "235":
            self.assertEqual("".join(message["text"] for message in requests if message["voice"][-1] == number), TURKISH)

    def hear_each(self, peer, voices, profiles):
        """A call to each agent, all at once."""
        with hosted(voices, "tts.piper5", profiles=profiles) as host, contextlib.ExitStack() as stack:
            phones = {number: stack.enter_context(Baresip()) for number in self.STYLES}
            for number, phone in phones.items():
                phone.dial(host, str(number))
            for _ in phones:
                host.wait_for("agent", heard=TURKISH, seconds=15)
            for number, phone in phones.items():
                phone.hang_up()
                heard = phone.heard()
                first, last = sound.spans(heard)[0]
                self.assertGreater(share(heard, piper_ws_peer.pitch(f"tr_TR-{number}"), first, last), 0.7)

    def test_an_interruption_ends_the_connection_and_the_answer_goes_out_on_the_spare_one(self):
        words = sound.voice(0.9)
        with Peer("piper_ws_peer", faster=1.2) as peer:
            voice = f"[tts.piper]\nplugin = TTSPiper\nurl = ws://127.0.0.1:{peer.port}/tts\n"
            with hosted(voice, "tts.piper", greeting=REPLY) as host, Baresip(sound.joined(sound.silence(1.5), words)) as phone:
                phone.dial(host)
                host.wait_for("bargeIn")
                host.wait_for("agent", heard="What are your opening hours?", seconds=15)
                phone.hang_up()
                host.wait_for("ended")
            log = peer.log()
        requests = [entry for entry in log if entry["what"] == "request"]
        answer = next(entry for entry in requests if entry["message"]["text"].startswith("What are"))
        gone = next(entry for entry in log if entry["what"] == "gone")
        self.assertEqual(gone["connection"], requests[0]["connection"])
        self.assertNotEqual(answer["connection"], requests[0]["connection"])
        connected = {entry["connection"]: entry["at"] for entry in log if entry["what"] == "connected"}
        self.assertLess(connected[answer["connection"]], gone["at"], "the spare was there before it was needed")


class Killed(unittest.TestCase):
    def test_a_vendor_that_is_killed_in_the_middle_of_a_sentence_is_followed_by_the_next_voice(self):
        """Cartesia and Piper die while they speak: flite says the rest, from the first word that was not in the audio."""
        with Peer("cartesia_peer") as one, Peer("piper_ws_peer") as other:
            voices = cartesia(one) + FLITE + f"\n[tts.piper]\nplugin = TTSPiper\nurl = ws://127.0.0.1:{other.port}/tts\n"
            one.arm(name="stallAfter", chunks=9)
            other.arm(name="stallAfter", packets=45)
            with hosted(voices, "tts.cartesia, tts.flite", greeting=LONG, profile="greeting_protected = yes",
                        profiles=agent("piper", "tts.piper, tts.flite", LONG, "greeting_protected = yes")) as host:
                with Baresip() as first, Baresip() as second:
                    first.dial(host), second.dial(host, "piper")
                    host.wait_for("stage", stage="firstPacket"), host.wait_for("stage", stage="firstPacket")
                    time.sleep(0.4)
                    one.kill(), other.kill()
                    said = [host.wait_for("agent", seconds=25) for _ in range(2)]
                    heard = first.heard()
                    first.hang_up(), second.hang_up()
                failed = {event["from"] for event in host.events if event["event"] == "failover" and event["to"] == "tts.flite"}
        self.assertEqual(failed, {"tts.cartesia", "tts.piper"})
        self.assertEqual([(event["heard"], event["interrupted"]) for event in said], [(LONG, False)] * 2)
        spans = sound.spans(heard)
        self.assertGreater(share(heard, cartesia_peer.pitch(KATIE), spans[0][0], spans[0][0] + 4000), 0.7, "it began")
        self.assertLess(share(heard, cartesia_peer.pitch(KATIE), spans[-1][1] - 8000, spans[-1][1]), 0.3, "another ended it")
        self.assertLess(max((later[0] - earlier[1] for earlier, later in zip(spans, spans[1:])), default=0), 2 * sound.RATE_HZ)


if __name__ == "__main__":
    unittest.main()
