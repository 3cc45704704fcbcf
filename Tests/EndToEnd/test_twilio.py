"""Calls by Twilio: the plugin in a real host, and a strict Twilio of our own in front of it (Tests/Peers/twilio_peer.py)."""

import contextlib
import json
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import sound
from host import INSTANT, ROOT, Host, free_port

sys.path.insert(0, str(ROOT / "Tests/Peers"))
from twilio_peer import Twilio, signature, sid  # noqa: E402
from twilio_stream import FRAME  # noqa: E402

ACCOUNT = "AC" + "0123456789abcdef" * 2
PUBLIC = "https://bot.example.com"
HUM_HZ = 220
GREETING = "Good morning."
LONG = "This is a long sentence that goes on for a while so that there is time to interrupt it. " * 3


# One host for all tests, because its start is dear: the called number chooses the agent.
GREETED, TALKED_AT, DISMISSED, SENT_ON = (f"+1555000000{number}" for number in range(1, 5))
HOST = f"""
[profile.talker]
match = {TALKED_AT}
greeting = {LONG}
stt = stt.instant
llm = llm.instant
tts = tts.instant

[profile.dismisser]
match = {DISMISSED}
stt = stt.goodbye
llm = llm.rules
tts = tts.instant

[profile.sender]
match = {SENT_ON}
tools = end_call, transfer_call
stt = stt.transfer
llm = llm.rules
tts = tts.instant

[stt.goodbye]
plugin = InstantSTT
text = Goodbye.

[stt.transfer]
plugin = InstantSTT
text = Transfer.

[llm.rules]
plugin = LLMRules
knowledge = {{knowledge}}

[telephony.twilio]
plugin = TelephonyTwilio
public_url = {PUBLIC}
account_sid = {ACCOUNT}
url = {{url}}
signing_key_id = SK-1
signing_key = ${{{{secret:TWILIO_SIGNING_KEY}}}}

[telephony.small]
plugin = TelephonyTwilio
public_url = {PUBLIC}
account_sid = {ACCOUNT}
url = {{url}}
voice_path = /small/voice
status_path = /small/status
media_path = /small/media/
calls_max = 1

[server]
listen = 127.0.0.1:{{port}}
"""
KNOWLEDGE = """[knowledge]
language = en

[intent goodbye]
ask = goodbye
say = Goodbye, thank you for calling.
do = goodbye

[intent transfer]
ask = transfer
say = One moment.
do = transfer +15559990000
"""


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="twilio-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        (cls.folder / "desk.knowledge").write_text(KNOWLEDGE)
        port, token = free_port(socket.SOCK_STREAM), secrets.token_hex(16)
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.twilio = stack.enter_context(Twilio(ACCOUNT, token, public=PUBLIC, local=f"http://127.0.0.1:{port}"))
        sections = HOST.format(knowledge=cls.folder / "desk.knowledge", url=cls.twilio.url, port=port)
        cls.host = stack.enter_context(Host(
            template=INSTANT.replace("match = *", f"match = {GREETED}"), greeting=GREETING, telephony=sections,
            recordings=cls.folder, environment={"TWILIO_AUTH_TOKEN": token, "TWILIO_SIGNING_KEY": "shared-secret"}))

    def setUp(self):
        self.twilio.algorithm, self.twilio.signing_key = "sha1", None

    def connected(self, to=GREETED, **faults):
        call = self.twilio.call("+15551230001", to, **faults)
        self.assertEqual(call.webhook, 200)
        self.assertTrue(call.is_connected.wait(5), call.error)
        return call

    def ended(self, call):
        return self.host.wait_for("ended", protocolCall=call.sid)

    def test_a_call_is_answered_and_both_hear_each_other(self):
        """The greeting, the caller's words, the answer, digits; then the caller hangs up. Nothing is outside the protocol."""
        call = self.connected()
        stream = call.stream
        incoming = self.host.wait_for("incoming", protocolCall=call.sid)
        self.assertEqual((incoming["from"], incoming["to"]), ("+15551230001", GREETED))
        self.host.wait_for("agent", heard=GREETING)
        words = sound.voice(1)
        stream.say(sound.mu_law(words))
        self.host.wait_for("caller", text="What are your opening hours?")
        self.host.wait_for("agent", heard="What are your opening hours?")
        time.sleep(0.2)
        # Digits are answered like words.
        heard = sound.from_mu_law(stream.heard)
        stream.press("159#")
        time.sleep(0.2)
        call.hang_up()
        ended = self.ended(call)
        self.assertEqual((ended["end"], ended["digits"]), ("farEnd.caller", "159#"))
        self.assertEqual(stream.violations, [])
        # 200 ms ahead, the frame that is being played, and what a busy machine needs.
        self.assertLessEqual(stream.most_ahead_ms, 280)
        spans = sound.spans(heard)
        self.assertEqual(len(spans), 2, f"greeting and answer: {spans}")
        for (first, last), characters in zip(spans, (13, 28)):
            self.assertGreater(sound.share_of_pitch(heard[first + 800:last - 800], HUM_HZ), 0.9, "the agent's tone")
            self.assertAlmostEqual((last - first) / 8000, characters / 15, delta=0.3)
        self.check_recording(ended["call"], words)

    def check_recording(self, call, words):
        path = self.folder / f"{call}.wav"
        deadline = time.monotonic() + 3
        caller = []
        while len(caller) == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
            with contextlib.suppress(EOFError, FileNotFoundError, sound.wave.Error):
                caller, _ = sound.read(path, 0)
        self.assertGreater(sound.likeness(words, caller), 0.95, "the caller's words in the host's recording")

    def test_an_interruption_clears_the_carriers_buffer_within_two_frames(self):
        """Two frames after the host gave up the floor at the latest; the caller hears nothing that was sent before."""
        call = self.connected(TALKED_AT)
        stream = call.stream
        time.sleep(1.2)
        began = time.monotonic()
        stream.say(sound.mu_law(sound.voice(1.2)))
        event = self.host.wait_for("bargeIn", protocolCall=call.sid)
        time.sleep(0.1)
        clears = [(at, dropped) for at, name, dropped in stream.events if name == "clear" and at > began]
        self.assertTrue(clears, "the carrier was not told to clear")
        # The pause comes before the floor is given up, and the clear with it.
        self.assertLess(clears[0][0] - event["receivedAt"], 0.04 + 0.02, "two frames, and what a busy machine needs")
        self.assertGreater(clears[0][1], 3 * FRAME, "the carrier held audio, which was thrown away")
        silent_from = len(stream.heard)
        time.sleep(0.2)
        after = sound.from_mu_law(stream.heard[silent_from:])
        self.assertLess(max(sound.levels(after), default=0), sound.LOUD, "the agent went on")
        call.hang_up()
        self.assertGreaterEqual(self.ended(call)["bargeIns"], 1)
        self.assertEqual(stream.violations, [])

    def test_the_agent_hangs_up_after_its_goodbye_was_heard_to_its_end(self):
        call = self.connected(DISMISSED)
        stream = call.stream
        time.sleep(0.3)
        stream.say(sound.mu_law(sound.voice(0.8)))
        self.assertEqual(self.ended(call)["end"], "host.agentDone")
        self.assertTrue(stream.wait(3) and call.is_over.wait(3))
        self.assertEqual((stream.close_code, call.status, stream.violations), (1000, "completed", []))
        first, last = sound.spans(sound.from_mu_law(stream.heard))[-1]
        self.assertAlmostEqual((last - first) / 8000, 31 / 15, delta=0.3)

    def test_a_caller_is_sent_to_somebody_else_by_a_new_document(self):
        """By the REST API; a refused transfer leaves the call as it was."""
        self.twilio.rest_faults = [(400, 21220)]
        self.twilio.refusals.clear()
        call = self.connected(SENT_ON)
        stream = call.stream
        time.sleep(0.3)
        stream.say(sound.mu_law(sound.voice(0.8)))
        self.host.wait_for("agent", heard="One moment.", protocolCall=call.sid)
        time.sleep(0.8)
        self.assertEqual((self.twilio.refusals, call.dialled, call.is_over.is_set()), ([(400, 21220)], None, False))
        stream.say(sound.mu_law(sound.voice(0.8)))
        self.assertEqual(self.ended(call)["end"], "host.transferred")
        self.assertEqual(call.dialled, ([("Number", "+15559990000")], {"timeout": "30"}))
        self.assertFalse(call.is_over.is_set(), "the caller's call goes on without us")
        self.assertTrue(stream.wait(2))
        self.assertEqual(stream.violations, [])

    def test_what_is_not_signed_by_the_account_is_refused_with_403(self):
        """Webhooks, streams, and a stream's second visitor."""
        post = self.twilio.post
        url, fields = PUBLIC + "/twilio/voice", [("AccountSid", ACCOUNT), ("CallSid", sid("CA")), ("From", "+1"), ("To", "+2")]
        self.assertEqual(post(url, fields, token="another")[0], 403)
        self.assertEqual(post(url, fields, headers={"X-Twilio-Signature": None})[0], 403)
        self.assertEqual(post(url, fields, sign="https://evil.example.com/twilio/voice")[0], 403)
        # One value more than was signed.
        good = signature(self.twilio.token, url, fields)
        self.assertEqual(post(url, fields + [("Digits", "1")], headers={"X-Twilio-Signature": good})[0], 403)
        unknown = {"X-Twilio-Webhooks-Signature-Settings": "key=K,algorithm=HMAC_MD5"}
        self.assertEqual(post(url, fields, headers=unknown)[0], 403)
        self.assertEqual(post(PUBLIC + "/twilio/status", fields, token="another")[0], 403)
        self.assertNotIn(fields[1][1], [event.get("protocolCall") for event in self.host.events])

        call = self.twilio.call("+1", GREETED, stream_token="another")
        self.assertTrue(call.is_connected.wait(5))
        self.assertEqual(call.error, "31920: refused with 403")
        call = self.connected()
        self.host.wait_for("agent", heard=GREETING, protocolCall=call.sid)
        again = self.connected()
        again.replace(call.document)
        deadline = time.monotonic() + 3
        while not again.error and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(again.error, "31920: refused with 403", "a ticket is good once")
        self.assertFalse(call.is_over.is_set(), "whoever came second has disturbed the first")
        call.hang_up()

    def test_a_stream_whose_token_is_not_the_calls_is_closed(self):
        call = self.connected(parameters={"token": "0" * 32})
        self.assertTrue(call.stream.wait(3))
        self.assertEqual(call.stream.close_code, 1008)
        self.assertEqual(self.ended(call)["agentTurns"], 0)

    def test_signatures_of_every_form_are_taken(self):
        """By SHA-256 with a shared key, with a port, by GET, over a slash that was added."""
        post = self.twilio.post
        url, fields = PUBLIC + "/twilio/status", [("AccountSid", ACCOUNT), ("CallSid", sid("CA")), ("CallStatus", "completed")]
        self.twilio.algorithm, self.twilio.signing_key = "sha256", ("SK-1", "shared-secret")
        self.assertEqual(post(url, fields)[0], 204, "SHA-256")
        self.twilio.signing_key = ("SK-2", "shared-secret")
        self.assertEqual(post(url, fields)[0], 403, "another key's id")
        self.twilio.algorithm, self.twilio.signing_key = "sha1", None
        self.assertEqual(post(url, fields)[0], 204, "SHA-1")
        self.assertEqual(post(url, fields, sign="https://bot.example.com:443/twilio/status")[0], 204, "with a port")
        self.assertEqual(post(url, fields, method="GET")[0], 204, "by GET")
        self.assertEqual(post(url, fields, method="PUT")[0], 405)
        call = self.connected(signed_slash="/")
        self.host.wait_for("agent", heard=GREETING, protocolCall=call.sid)
        call.hang_up()
        self.assertEqual(self.ended(call)["end"], "farEnd.caller")

    def test_a_stream_that_breaks_or_talks_nonsense_ends_its_call_and_no_other(self):
        other, broken, mad = (self.connected(TALKED_AT) for _ in range(3))
        time.sleep(0.3)
        broken.stream.socket.cut()
        self.assertEqual(self.ended(broken)["end"], "farEnd.network")
        bad_media = {"event": "media", "streamSid": mad.stream.sid, "media": {"payload": "###"}}
        mad.stream.garbage(b"{", b'{"event":', b"[]", b"\x00" * 9, b'{"event":"media","streamSid":"MZ"}',
                           json.dumps(bad_media).encode())
        time.sleep(0.2)
        self.assertFalse(mad.is_over.is_set(), "a few messages of nonsense are counted, and no reason to hang up")
        mad.stream.garbage(*[b"?"] * 60)
        self.assertEqual(self.ended(mad)["end"], "farEnd.network")
        self.assertFalse(other.is_over.is_set())
        self.assertGreater(max(sound.levels(sound.from_mu_law(other.stream.heard))), sound.LOUD)
        self.assertEqual(other.stream.violations, [])
        other.hang_up()

    def test_a_call_for_which_there_is_no_room_hears_busy(self):
        """In a second section, with paths of its own."""
        first = self.twilio.call("+15551230001", GREETED, voice="/small/voice", status="/small/status")
        self.assertTrue(first.is_connected.wait(5))
        second = self.twilio.call("+15551230003", GREETED, voice="/small/voice", status="/small/status")
        self.assertTrue(second.is_over.wait(3))
        self.assertEqual((second.webhook, second.status, first.is_over.is_set()), (200, "busy", False))
        first.hang_up()

    def test_a_status_callback_alone_ends_a_call(self):
        """A stream that dies without `stop`, and the status says that the call is over."""
        call = self.connected(TALKED_AT)
        self.host.wait_for("incoming", protocolCall=call.sid)
        time.sleep(0.2)
        call.status = "completed"
        call.tell_status(CallDuration="3")
        self.assertEqual(self.ended(call)["end"], "farEnd.caller")


class Fake(unittest.TestCase):
    def test_twilios_own_validator_takes_the_signatures_of_the_fake(self):
        """The official Python package, where scripts/test-clients has installed it."""
        python = ROOT / ".cache/venv-tests/bin/python"
        program = """if True:
            import sys
            sys.path.insert(0, "Tests/Peers")
            from twilio_peer import signature
            from twilio.request_validator import RequestValidator
            url = "https://bot.example.com/twilio/voice?x=1"
            fields = [("To", "+2"), ("From", "+1"), ("Empty", ""), ("City", "M\\u00dcNCHEN"), ("Zip", "1 2+3&")]
            validator = RequestValidator("12345")
            assert validator.validate(url, dict(fields), signature("12345", url, fields))
            assert not validator.validate(url, dict(fields), signature("12346", url, fields))
            wss = "wss://bot.example.com/twilio/media"
            assert validator.validate(wss, {}, "xfHDfpT47+GGEe+HqDnVlPDvUCM=")
            assert signature("12345", wss) == "xfHDfpT47+GGEe+HqDnVlPDvUCM="
        """
        if not python.exists() or subprocess.run([python, "-c", "import twilio"], capture_output=True).returncode:
            self.skipTest("the package twilio is not installed; run scripts/test-clients")
        run = subprocess.run([python, "-c", program], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)


if __name__ == "__main__":
    unittest.main()
