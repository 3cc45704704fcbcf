"""Calls that the host makes: over SIP to a softphone, over OpenSIPS' and Twilio's fakes, in one host with all three."""

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
from host import BUILT, INSTANT, PLUGINS, ROOT, Host, free_port
from phones import Baresip
from stack import wait_until

sys.path.insert(0, str(ROOT / "Tests/Peers"))
from opensips_peer import OpenSIPS  # noqa: E402
from twilio_peer import Twilio  # noqa: E402

ACCOUNT = "AC" + "0123456789abcdef" * 2
PUBLIC = "https://bot.example.com"
# InstantTTS hums a tone of this pitch for as long as a person would need for the text, 15 characters a second.
HUM_HZ = 220
GREETING = "Good morning."
WORDS = "Hello?"
CALLS_MAX = 4
INSTANT_SIP = ("InstantSTT", "InstantLLM", "InstantTTS", "TelephonySIP")
SECTIONS = f"""
[telephony.opensips]
plugin = TelephonyOpenSIPS
mi_port = {{mi}}
renew_s = 1
outbound_socket = udp:127.0.0.1:5060

[telephony.twilio]
plugin = TelephonyTwilio
public_url = {PUBLIC}
account_sid = {ACCOUNT}
url = {{url}}
from = +15550001111

[server]
listen = 127.0.0.1:{{port}}
"""


def some_plugins(folder, *names):
    """Only what is used, since every host loads whatever there is."""
    plugins = folder / "plugins.d"
    plugins.mkdir()
    for name in (*(f"{plugin}.so" for plugin in names), ".shipped.json"):
        shutil.copy2(PLUGINS / name, plugins)
    return plugins


def ask(path, **request):
    """One request of the control socket, and its answer."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as control:
        control.settimeout(20)
        control.connect(str(path))
        control.sendall(json.dumps(request).encode() + b"\n")
        with control.makefile() as answers:
            return json.loads(answers.readline())


class Outbound(unittest.TestCase):
    """One host for all, because its start is dear, and because all telephony is to live in one."""

    @classmethod
    def setUpClass(cls):
        folder = cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="outbound-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        plugins = some_plugins(folder, *INSTANT_SIP, "TelephonyOpenSIPS", "TelephonyTwilio")
        port, token = free_port(socket.SOCK_STREAM), secrets.token_hex(16)
        cls.opensips = cls.enterClassContext(OpenSIPS())
        cls.twilio = cls.enterClassContext(Twilio(ACCOUNT, token, public=PUBLIC, local=f"http://127.0.0.1:{port}"))
        cls.control = folder / "control.sock"
        cls.host = cls.enterClassContext(Host(
            template=INSTANT.replace("plugin = InstantSTT", f"plugin = InstantSTT\ntext = {WORDS}"), plugins=plugins,
            greeting=GREETING, calls_max=CALLS_MAX, recordings=folder,
            telephony=SECTIONS.format(mi=cls.opensips.port, url=cls.twilio.url, port=port),
            environment={"TWILIO_AUTH_TOKEN": token, "VCHOST__VCHOST__CONTROL_SOCKET": str(cls.control)}))
        cls.opensips.wait_for_subscription()

    def tearDown(self):
        self.assertEqual(self.opensips.faults, [])

    def dial(self, provider, to, **more):
        answer = ask(self.control, command="dial", provider=provider, to=to, **more)
        self.assertTrue(answer["ok"], answer)
        return answer["call"]

    def command(self, *words):
        return subprocess.Popen([BUILT / "vchost", "dial", *words, "--host", self.control], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def ended(self, call, seconds=10):
        return self.host.wait_for("ended", seconds=seconds, call=call)

    def happened(self, call):
        return [event["event"] for event in self.host.events if event.get("call") == call]

    def sessions(self):
        """Of each plugin that has some open."""
        rows = ask(self.control, command="plugins")["plugins"]
        return {pathlib.Path(row["file"]).name: row["sessions"] for row in rows if row["sessions"]}

    def conversation(self, call, say, heard):
        """From the answer on it is a call like any other: the greeting, words, an answer. `heard` gives samples."""
        self.host.wait_for("agent", call=call, heard=GREETING)
        say(sound.mu_law(sound.voice(1)))
        self.host.wait_for("caller", call=call, text=WORDS)
        self.host.wait_for("agent", call=call, heard=WORDS)
        spans = sound.spans(heard())
        self.assertGreaterEqual(len(spans), 2, "greeting and answer")
        first, last = spans[0]
        self.assertGreater(sound.share_of_pitch(heard()[first + 800:last - 800], HUM_HZ), 0.9, "the agent's tone")

    # SIP, to a softphone

    def test_a_softphone_rings_is_answered_greeted_and_understood(self):
        """While it rings the providers' sessions are opened, and nothing is said, listened to or recorded."""
        with Baresip(sound.joined(sound.silence(1.6), sound.voice(1))) as phone:
            command = self.command("telephony.sip", f"sip:tester@127.0.0.1:{phone.sip}", "--profile", "default")
            phone.wait_for("CALL_INCOMING")
            out, error = command.communicate(timeout=10)
            self.assertEqual((command.returncode, error), (0, ""))
            call = out.strip()
            outgoing = self.host.wait_for("outgoing", call=call)
            self.assertEqual((outgoing["provider"], outgoing["profile"]), ("telephony.sip", "default"))
            self.host.wait_for("ringing", call=call)
            time.sleep(0.5)
            self.assertEqual(self.happened(call), ["outgoing", "ringing"])
            # Those of another test may still be closing.
            wait_until(lambda: self.sessions() == {f"{plugin}.so": 1 for plugin in INSTANT_SIP}, 5, "they are not opened")
            self.assertFalse((self.folder / f"{call}.wav").exists(), "it is recorded while it rings")
            answered = time.monotonic()
            phone.accept()
            self.host.wait_for("answered", call=call)
            self.host.wait_for("agent", call=call, heard=GREETING)
            self.host.wait_for("caller", call=call, text=WORDS)
            self.host.wait_for("agent", call=call, heard=WORDS)
            phone.hang_up()
            ended = self.ended(call)
            lasted = time.monotonic() - answered
            heard = phone.heard()
        self.assertEqual((ended["end"], ended["callerTurns"]), ("farEnd.caller", 1))
        self.assertLessEqual(ended["durationMs"], lasted * 1000, "its length counts from the answer")
        self.assertEqual(len(sound.spans(heard)), 2, "greeting and answer")
        wait_until((self.folder / f"{call}.wav").exists, 5, "no recording")

    def test_a_wideband_callee_is_spoken_to(self):
        """The rate of a call is settled before the callee has chosen a codec."""
        with Baresip(codec="opus") as phone:
            call = self.dial("telephony.sip", f"sip:tester@127.0.0.1:{phone.sip}")
            phone.wait_for("CALL_INCOMING")
            phone.accept()
            self.host.wait_for("agent", call=call, heard=GREETING)
            phone.hang_up()
            self.assertEqual(self.ended(call)["end"], "farEnd.caller")

    def test_a_busy_callee_is_told_of_by_its_code(self):
        with Baresip() as phone:
            command = self.command("telephony.sip", f"sip:tester@127.0.0.1:{phone.sip}", "--wait")
            phone.wait_for("CALL_INCOMING")
            phone.hang_up()
            out, error = command.communicate(timeout=10)
        self.assertEqual((command.returncode, error), (1, ""))
        call, end, code, *_ = out.split()
        self.assertEqual((end, code), ("farEnd.busy", "486"))
        ended = self.ended(call)
        self.assertEqual((ended["end"], ended["code"], ended["durationMs"]), ("farEnd.busy", 486, 0))

    def test_a_callee_who_does_not_answer_stops_ringing(self):
        with Baresip() as phone:
            call = self.dial("telephony.sip", f"sip:tester@127.0.0.1:{phone.sip}", ringTimeoutMs=1000)
            phone.wait_for("CALL_INCOMING")
            ended = self.ended(call)
            phone.wait_for("CALL_CLOSED")
        self.assertEqual((ended["end"], ended["code"], ended["agentTurns"]), ("farEnd.noAnswer", 408, 0))

    def test_a_place_that_is_none_is_unreachable(self):
        answer = ask(self.control, command="dial", provider="telephony.sip", to="4930123", wait=True)
        self.assertEqual((answer["ok"], answer["answered"], answer["end"], answer["code"]), (True, False, "farEnd.unreachable", 404))
        self.assertIn("outbound_proxy", answer["reason"])
        self.ended(answer["call"])
        self.assertEqual(self.happened(answer["call"]), ["outgoing", "ended"])

    def test_what_cannot_be_dialled_is_refused_with_what_is_wrong(self):
        good = {"provider": "telephony.sip", "to": "sip:x@127.0.0.1"}
        for change, said in (({"provider": "telephony.none"}, "there is no telephony provider telephony.none"),
                             ({"provider": ""}, "\"provider\""), ({"profile": "none"}, "there is no profile none"),
                             ({"to": " "}, "\"to\""), ({"to": 7}, "is no text"), ({"to": "sip:a\r\nX: y"}, "characters"),
                             ({"ringTimeoutMs": 5}, "ringTimeoutMs"), ({"ringTimeout": 5}, "knows no \"ringTimeout\"")):
            with self.subTest(change=change):
                answer = ask(self.control, command="dial", **{**good, **change})
                self.assertFalse(answer["ok"])
                self.assertIn(said, answer["error"])
        command = self.command("telephony.none", "+90555")
        out, error = command.communicate(timeout=10)
        self.assertEqual((command.returncode, out), (1, ""))
        usage = self.command("telephony.sip")
        self.assertIn("whom to call", usage.communicate(timeout=10)[1])
        self.assertEqual(usage.returncode, 2)
        self.assertIn("there are: telephony.opensips, telephony.sip, telephony.twilio", error)

    # OpenSIPS

    def dialled_by_opensips(self, **more):
        call = self.dial("telephony.opensips", "sip:bob@127.0.0.1", **more)
        return call, self.opensips.outbound.get(timeout=5)

    def test_opensips_calls_and_both_hear_each_other(self):
        call, callee = self.dialled_by_opensips()
        self.assertEqual(callee.dialed, "sip:bob@127.0.0.1")
        callee.answer_request("INVITE", 180, "Ringing")
        self.host.wait_for("ringing", call=call)
        callee.answer_request("INVITE", 200, "OK", callee.sdp(), "application/sdp")
        callee.state = callee.ESTABLISHED
        callee.connect(callee.offer)
        self.host.wait_for("answered", call=call)
        self.conversation(call, callee.say, callee.heard)
        callee.bye()
        self.assertEqual(self.ended(call)["end"], "farEnd.caller")

    def test_opensips_tells_of_a_callee_who_is_busy_and_of_one_who_is_not_there(self):
        call, callee = self.dialled_by_opensips()
        callee.answer_request("INVITE", 486, "Busy Here")
        ended = self.ended(call)
        self.assertEqual((ended["end"], ended["code"]), ("farEnd.busy", 486))
        call, callee = self.dialled_by_opensips(ringTimeoutMs=1000)
        self.assertEqual(self.ended(call)["end"], "farEnd.noAnswer")
        self.assertTrue(callee.ended_by_us.wait(5), "it rings on")

    def test_a_host_that_is_full_calls_nobody(self):
        calls = [self.dialled_by_opensips(ringTimeoutMs=1500)[0] for _ in range(CALLS_MAX)]
        answer = ask(self.control, command="dial", provider="telephony.opensips", to="sip:bob@127.0.0.1")
        self.assertEqual((answer["ok"], answer["error"]), (False, f"the host is full: calls_max = {CALLS_MAX} calls are there"))
        wait_until(lambda: all("ended" in self.happened(call) for call in calls), 10, "they ring on")
        self.dialled_by_opensips()[1].answer_request("INVITE", 603, "Decline")
        self.host.wait_for("ended", end="farEnd.rejected", code=603)

    # Twilio

    def dialled_by_twilio(self, **more):
        known = set(self.twilio.calls)
        call = self.dial("telephony.twilio", "+15559990000", **more)
        wait_until(lambda: self.twilio.calls.keys() - known, 5, "the REST API was not asked for a call")
        placed = self.twilio.calls[next(iter(self.twilio.calls.keys() - known))]
        placed.status = "ringing"
        placed.tell_status()
        self.host.wait_for("ringing", call=call)
        return call, placed

    def test_twilio_calls_and_both_hear_each_other(self):
        call, placed = self.dialled_by_twilio()
        self.assertEqual((placed.sender, placed.to), ("+15550001111", "+15559990000"))
        self.assertEqual(self.happened(call), ["outgoing", "ringing"])
        placed.execute(placed.document)
        self.assertTrue(placed.is_connected.wait(5), placed.error)
        self.host.wait_for("answered", call=call)
        self.conversation(call, placed.stream.say, lambda: sound.from_mu_law(placed.stream.heard))
        placed.hang_up()
        self.assertEqual(self.ended(call)["end"], "farEnd.caller")
        self.assertEqual(placed.stream.violations, [])

    def test_twilio_tells_of_a_callee_who_is_busy_and_of_one_who_is_not_there(self):
        call, placed = self.dialled_by_twilio()
        placed.over("busy")
        ended = self.ended(call)
        self.assertEqual((ended["end"], ended["code"]), ("farEnd.busy", 486))
        call, placed = self.dialled_by_twilio(ringTimeoutMs=1000)
        self.assertEqual(dict(self.twilio.requests[-1][1])["Timeout"], "1")
        self.assertEqual(self.ended(call)["end"], "farEnd.noAnswer")
        self.assertTrue(placed.is_over.wait(5), "it rings on")

    def test_a_status_that_comes_before_the_rest_api_says_whose_it_is_is_not_lost(self):
        """They come by two connections, and the plugin dropped what it could not place: the host never heard of it."""
        self.twilio.early_statuses = ["ringing", "busy"]
        call = self.dial("telephony.twilio", "+15559990000")
        self.host.wait_for("ringing", call=call)
        self.assertEqual(self.ended(self.dial("telephony.twilio", "+15559990000"))["end"], "farEnd.busy")
        self.twilio.calls[list(self.twilio.calls)[-2]].over("no-answer")
        self.assertEqual(self.ended(call)["end"], "farEnd.noAnswer")

    def test_a_number_that_twilio_does_not_take_is_unreachable(self):
        self.twilio.rest_faults.append((400, 21211))
        answer = ask(self.control, command="dial", provider="telephony.twilio", to="+1", wait=True)
        self.assertEqual((answer["answered"], answer["end"], answer["code"]), (False, "farEnd.unreachable", 400))
        self.assertIn("21211", answer["reason"])


class Ending(unittest.TestCase):
    def test_a_host_that_stops_lets_nobodys_telephone_ring_on(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="outbound-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        control = folder / "control.sock"
        environment = {"VCHOST__VCHOST__CONTROL_SOCKET": str(control)}
        with Host(plugins=some_plugins(folder, *INSTANT_SIP), environment=environment) as host, Baresip() as phone:
            call = ask(control, command="dial", provider="telephony.sip", to=f"sip:tester@127.0.0.1:{phone.sip}")["call"]
            phone.wait_for("CALL_INCOMING")
            host.wait_for("ringing", call=call)
            host.process.terminate()
            phone.wait_for("CALL_CLOSED", seconds=5)
            self.assertEqual(host.process.wait(10), 0)
            self.assertIn("host.shutdown", host.said())


if __name__ == "__main__":
    unittest.main()
