"""OpenSIPS in front of the host, both ways: back to back (MI and events), and as a proxy to the SIP server on its port."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import sound
from host import INSTANT, PLUGINS, Host, free_port
from phones import Baresip, Sipp
from stack import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Peers"))
from opensips_peer import SDP, OpenSIPS  # noqa: E402

# InstantTTS hums a tone of this pitch for as long as a person would need for the text, 15 characters a second.
HUM_HZ = 220
GREETING = "Good morning, what can I do for you?"
LONG = "This is a long sentence that goes on for a while so that there is time to interrupt it. " * 3
NEEDED = ("InstantSTT", "InstantLLM", "InstantTTS", "LLMRules", "TelephonyOpenSIPS", "TelephonySIP", "VADEnergy", "VADSilero")
BEHIND_OPENSIPS = INSTANT[:INSTANT.index("[telephony.sip]")] + """
[telephony.opensips]
plugin = TelephonyOpenSIPS
mi_port = {mi}
renew_s = {renew}
{telephony}
"""
# A directory of their own, from setUpModule.
PLUGINS_NEEDED = None


def putting_through(folder, target):
    """A template whose agent transfers every caller who says something."""
    knowledge = folder / "desk.knowledge"
    knowledge.write_text("[knowledge]\nlanguage = en\n\n[intent person]\nask = a person\n"
                         f"say = I will put you through.\ndo = transfer {target}\n")
    return (BEHIND_OPENSIPS.replace("plugin = InstantLLM", f"plugin = LLMRules\nknowledge = {knowledge}")
            .replace("plugin = InstantSTT", "plugin = InstantSTT\ntext = A person.")
            .replace("{profile}", "tools = end_call, transfer_call\n{profile}"))


def setUpModule():
    """Only what is used, since every host loads it."""
    global PLUGINS_NEEDED
    PLUGINS_NEEDED = pathlib.Path(tempfile.mkdtemp(prefix="opensips-plugins-"))
    for name in (*(f"{plugin}.so" for plugin in NEEDED), ".shipped.json"):
        shutil.copy2(PLUGINS / name, PLUGINS_NEEDED)


def tearDownModule():
    shutil.rmtree(PLUGINS_NEEDED, ignore_errors=True)


def host_behind(port, template=BEHIND_OPENSIPS, **values):
    """A host that subscribes at this management port."""
    return Host(template=template, plugins=PLUGINS_NEEDED, mi=port, **{"renew": 1, **values})


def end_of(call, host):
    return host.wait_for("ended", protocolCall=f"{call.port}@127.0.0.1")


class Calls(unittest.TestCase):
    """One host and one OpenSIPS for all of them, as in life."""

    @classmethod
    def setUpClass(cls):
        cls.peer = cls.enterClassContext(OpenSIPS())
        cls.running = cls.enterClassContext(host_behind(
            cls.peer.port, greeting=LONG, profile="no_input_ms = 60000", telephony="check_s = 1"))
        cls.peer.wait_for_subscription()

    def tearDown(self):
        self.assertEqual(self.peer.faults, [])

    def test_a_call_is_answered_and_the_agent_heard_and_a_bye_ends_it(self):
        """Events come from three ports. A BYE is OpenSIPS' own to answer: nothing is said of the session after it."""
        # Latin-1, as an old telephone system writes a name: no UTF-8.
        call = self.peer.answered("desk", display='"J\xfcrgen" ', headers="Subject: caf\xe9\r\n")
        wait_until(lambda: call.heard_bytes() > 12000, 10, "the agent is not heard")
        call.bye()
        said = len(self.peer.commands)
        ended = end_of(call, self.running)
        time.sleep(0.2)
        self.assertEqual(ended["end"], "farEnd.caller")
        self.assertEqual([command for command in self.peer.commands[said:] if command[1].get("key") == call.key], [])
        heard = call.heard()
        first, last = sound.spans(heard)[0]
        self.assertGreater(sound.share_of_pitch(heard[first + 800:last - 800], HUM_HZ), 0.9, "the agent's tone")

    def test_an_interruption_silences_the_agent(self):
        words = sound.voice(1.5)
        call = self.peer.answered()
        time.sleep(1)
        call.say(sound.mu_law(words))
        self.running.wait_for("bargeIn")
        call.bye()
        ended = end_of(call, self.running)
        self.assertEqual((ended["end"], ended["bargeIns"]), ("farEnd.caller", 1))
        # The greeting is 18 s long, and the first stretch of the tone is what was heard of it.
        first, last = sound.spans(call.heard())[0]
        self.assertLess((last - first) / 8000, 1 + len(words) / 8000 + 1)

    def test_hold_a_new_offer_digits_and_an_update(self):
        call = self.peer.answered()
        time.sleep(0.7)
        self.assertIn("a=recvonly", call.reinvite("sendonly"))
        time.sleep(0.3)
        held = call.heard_bytes()
        time.sleep(0.5)
        # A held caller hears nothing of the agent.
        during = call.heard()[held:]
        self.assertLess(max(sound.levels(during), default=0), sound.LOUD)
        self.assertIn("a=sendrecv", call.reinvite("sendrecv"))
        resumed = call.heard_bytes()
        wait_until(lambda: max(sound.levels(call.heard()[resumed:]), default=0) > sound.LOUD, 5, "the agent is not heard again")
        call.press("7")
        call.press("#")
        call.reinvite("sendrecv", method="UPDATE")
        call.request("OPTIONS")
        call.wait_for("OPTIONS", 200)
        call.bye()
        ended = end_of(call, self.running)
        self.assertEqual((ended["end"], ended["digits"]), ("farEnd.caller", "7#"))

    def test_a_restart_of_opensips_ends_its_calls_and_new_ones_come_in(self):
        """Nobody tells of the sessions that are gone: they are asked after."""
        lost = self.peer.answered()
        self.peer.restart()
        self.assertEqual(end_of(lost, self.running)["end"], "farEnd.network")
        self.peer.wait_for_subscription()
        call = self.peer.answered()
        call.bye()
        self.assertEqual(end_of(call, self.running)["end"], "farEnd.caller")

    def test_a_cancel_gets_487(self):
        """OpenSIPS answers the CANCEL, and the INVITE never: without our 487 the caller's phone goes on."""
        reply = self.peer.call(cancel="before").wait_for("INVITE")
        self.assertEqual((reply["code"], reply["reason"]), (487, "Request Terminated"))
        # On a machine that is busy the host may be faster than the second datagram.
        call = self.peer.call(cancel="after")
        if call.wait_for("INVITE")["code"] != 487:
            self.assertTrue(call.ended_by_us.wait(5), "no BYE for a call whose CANCEL crossed our 200")

    def test_a_call_that_comes_to_nothing_is_ended_for_whoever_watches(self):
        """Its codec is none of ours, so there is no conversation that would write a record."""
        call = self.peer.call(body=SDP.format(version=1, port=9, types="18", direction="sendrecv"))
        self.assertEqual(call.wait_for("INVITE")["code"], 488)
        self.assertEqual(end_of(call, self.running)["end"], "farEnd.network")

    def test_events_of_other_generations_and_nonsense_are_harmless(self):
        said = len(self.peer.commands)
        for data in [b"OAVC_CALL_EVENT:CALL_START:1:sip:a@b:sip:c@d", b"E_CALL_SETUP:1:v=0", b"Event=E_CALL_SETUP\ncall_id=1",
                     b'{"event":"call_start","call_id":"1"}', b"\xff\xfe", b"{", b"400 Parse_error"]:
            self.peer.send_raw(data)
        call = self.peer.answered()
        call.bye()
        self.assertEqual(end_of(call, self.running)["end"], "farEnd.caller")
        # Nothing was said of what was no call.
        commands = {command for command, _ in self.peer.commands[said:]}
        self.assertEqual(commands - {"event_subscribe", "ua_session_list"}, {"ua_session_reply"})


class Losses(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="opensips-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.peer = OpenSIPS()
        self.addCleanup(lambda: self.assertEqual(self.peer.faults, []))
        self.addCleanup(self.peer.__exit__)

    def test_opensips_is_started_after_the_host_and_loses_datagrams(self):
        # Renewals are rare here: none is to be lost in the place of an answer.
        with host_behind(self.peer.port, greeting=GREETING, renew=30) as host:
            time.sleep(1.2)
            self.peer.start()
            self.peer.wait_for_subscription()
            # The first 200 is lost on its way, an answer to a command on its way back.
            self.peer.lose_commands = 1
            call = self.peer.call()
            reply = call.wait_for("INVITE", 200)
            call.ack()
            call.connect(reply["body"])
            host.wait_for("agent", heard=GREETING)
            first, last = sound.spans(call.heard())[0]
            self.assertAlmostEqual((last - first) / 8000, len(GREETING) / 15, delta=0.5)
            self.peer.lose_answers = 1
            call.press("1")
            call.bye()
            self.assertEqual(end_of(call, host)["end"], "farEnd.caller")
            # The 200 is lost, the CANCEL comes, and the repeated 200 answers the call: only a BYE ends it now.
            self.peer.lose_commands = 1
            crossed = self.peer.call()
            wait_until(lambda: self.peer.lose_commands == 0, 5, "no command came")
            crossed.cancel()
            crossed.wait_for("INVITE", 200)
            self.assertTrue(crossed.ended_by_us.wait(5), "no BYE for a call whose CANCEL crossed our 200")
            self.assertEqual(end_of(crossed, host)["end"], "farEnd.caller")

    def test_a_transfer_is_a_refer_and_its_notify_ends_the_call(self):
        self.peer.start()
        with host_behind(self.peer.port, template=putting_through(self.folder, "sip:desk@example.com")) as host:
            self.peer.wait_for_subscription()
            call = self.peer.answered()
            time.sleep(0.5)
            call.say(sound.mu_law(sound.voice(0.8)))
            refer = call.wait_for_request("REFER", 15)
            self.assertIn("Refer-To: <sip:desk@example.com>\r\n", refer["headers"])
            self.assertEqual(refer["body"], "")
            call.answer_request("REFER", 202, "Accepted")
            call.notify("SIP/2.0 100 Trying", "active;expires=60")
            call.notify("SIP/2.0 200 OK", "terminated;reason=noresource")
            self.assertTrue(call.ended_by_us.wait(5), "the call goes on after its transfer")
            self.assertIn("transferred", host.wait_for("ended")["end"])
        # A host that ends takes its subscription with it.
        wait_until(lambda: self.peer.commands[-1] == ("event_subscribe", {**self.peer.commands[-1][1], "expire": 0}), 5, "no farewell")


# The binary of OpenSIPS 3.4 or later and the folder of its modules. It is not in Debian 12.
REAL = os.environ.get("VCHOST_OPENSIPS", shutil.which("opensips") or "")
MODULES = os.environ.get("VCHOST_OPENSIPS_MODULES", "/usr/lib/x86_64-linux-gnu/opensips/modules/")


@unittest.skipUnless(REAL, "there is no opensips here; VCHOST_OPENSIPS and VCHOST_OPENSIPS_MODULES name one that was built")
class RealOpenSIPS(unittest.TestCase):
    """The same with a real one between a softphone and the host."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="opensips-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.sip, self.mi, self.process = free_port(), free_port(), None
        text = (pathlib.Path(__file__).parent / "opensips.cfg").read_text()
        (self.folder / "opensips.cfg").write_text(text.format(sip=self.sip, mi=self.mi, modules=MODULES))
        self.log = open(self.folder / "opensips.log", "w")
        self.addCleanup(self.log.close)
        self.addCleanup(self.stop)

    def start(self):
        self.process = subprocess.Popen([REAL, "-F", "-f", self.folder / "opensips.cfg", "-w", self.folder, "-P", self.folder / "pid"],
                                        stdout=self.log, stderr=self.log, cwd=self.folder)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(15)
        self.process = None

    def subscribed(self, seconds=15):
        """Asked on the management interface itself."""
        deadline = time.monotonic() + seconds
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            while True:
                client.sendto(b'{"jsonrpc":"2.0","id":"s","method":"subscribers_list","params":["E_UA_SESSION"]}', ("127.0.0.1", self.mi))
                try:
                    if b'"socket"' in client.recv(65535):
                        return
                except OSError:
                    pass
                self.assertLess(time.monotonic(), deadline, (self.folder / "opensips.log").read_text()[-3000:])
                time.sleep(0.1)

    def test_a_conversation_with_a_softphone_hold_digits_and_a_restart(self):
        with host_behind(self.mi, greeting=GREETING, profile="no_input_ms = 60000", telephony="check_s = 1") as host:
            # It is started after the host.
            self.start()
            self.subscribed()
            with Baresip(sound.silence(1)) as phone:
                phone.dial(self)
                host.wait_for("agent", heard=GREETING)
                phone.press("159#")
                phone.press("xX")
                time.sleep(0.3)
                phone.hang_up()
                ended = host.wait_for("ended")
                self.assertEqual((ended["end"], ended["digits"]), ("farEnd.caller", "159#"))
                first, last = sound.spans(phone.heard())[0]
                self.assertGreater(sound.share_of_pitch(phone.heard()[first + 800:last - 800], HUM_HZ), 0.9)
            with Baresip(sound.silence(1)) as phone:
                phone.dial(self)
                host.wait_for("incoming")
                self.stop()
                self.start()
                self.assertEqual(host.wait_for("ended", seconds=20)["end"], "farEnd.network")
            self.subscribed()
            counts = Sipp("talk", self.sip, calls=20, rate=10, media=sound.voice(0.5), talk_ms=500).finish()
            self.assertEqual((counts["SuccessfulCall(C)"], counts["FailedCall(C)"]), (20, 0))

    def test_a_transfer_goes_to_the_softphone_and_its_notify_comes_back(self):
        self.start()
        # To the same host again, as another call.
        with host_behind(self.mi, template=putting_through(self.folder, f"sip:desk@127.0.0.1:{self.sip}")) as host:
            self.subscribed()
            with Baresip(sound.joined(sound.silence(1), sound.voice(0.8))) as phone:
                phone.dial(self)
                ended = host.wait_for("ended", seconds=20)
                self.assertIn("transferred", ended["end"])

    def test_the_agent_hangs_up_and_a_cancel_is_answered_with_487(self):
        self.start()
        with host_behind(self.mi, profile="no_input_ms = 1000") as host:
            self.subscribed()
            with Baresip(sound.silence(1)) as phone:
                phone.dial(self)
                self.assertIn("host.", host.wait_for("ended", seconds=20)["end"])
                phone.wait_for("CALL_CLOSED")
            # CANCEL as soon as the INVITE is known.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
                caller.bind(("127.0.0.1", 0))
                caller.settimeout(5)
                port = caller.getsockname()[1]
                body = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {free_port()} RTP/AVP 0\r\n"

                def send(method, content="", to=f"<sip:desk@127.0.0.1:{self.sip}>"):
                    kind = "Content-Type: application/sdp\r\n" if content else ""
                    caller.sendto((f"{method} sip:desk@127.0.0.1:{self.sip} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKc1\r\n"
                                   f"Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=a\r\nTo: {to}\r\n"
                                   f"Call-ID: cancel-1\r\nCSeq: 1 {method}\r\nContact: <sip:a@127.0.0.1:{port}>\r\n{kind}"
                                   f"Content-Length: {len(content)}\r\n\r\n{content}").encode(), ("127.0.0.1", self.sip))

                def wait_for(start):
                    while not re.match(start, text := caller.recv(65535).decode()):
                        pass
                    return text

                send("INVITE", body)
                wait_for("SIP/2.0 100")
                send("CANCEL")
                wait_for("SIP/2.0 200 canceling")
                final = wait_for("SIP/2.0 (487|200 OK)")
                if final.startswith("SIP/2.0 200"):
                    # On a machine that is busy the host may be faster; the call is up then, and only a BYE ends it.
                    send("ACK", to=re.search(r"^To: (.*)\r$", final, re.M)[1])
                    wait_for("BYE ")


class Proxied(unittest.TestCase):
    """The deployments in containers: OpenSIPS relays the INVITE to a SIP server on its port, which is TelephonySIP."""

    def test_a_call_through_the_proxy_as_those_deployments_have_it(self):
        with Host(greeting=GREETING, telephony="transports = udp", plugins=PLUGINS_NEEDED) as host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as proxy:
            proxy.bind(("127.0.0.1", 0))
            proxy.settimeout(5)
            port, rtp = proxy.getsockname()[1], free_port()
            body = (f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {rtp} RTP/AVP 0 8 101\r\n"
                    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n")

            def send(method, branch, cseq, to="<sip:desk@ai-voice-backend:8089>", uri="sip:desk@ai-voice-backend:8089", extra="", body=""):
                route = f"Record-Route: <sip:127.0.0.1:{port};lr>\r\n" if method == "INVITE" else ""
                proxy.sendto((f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch}.0\r\n"
                              f"Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK{branch}\r\nMax-Forwards: 9\r\n{route}"
                              f"From: \"Caller\" <sip:alice@192.0.2.1>;tag=a1\r\nTo: {to}\r\nCall-ID: proxied-1\r\nCSeq: {cseq} {method}\r\n"
                              f"Contact: <sip:alice@127.0.0.1:{port}>\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}").encode(),
                             ("127.0.0.1", host.sip))

            def answer():
                while True:
                    text = proxy.recv(65535).decode()
                    if not text.startswith("SIP/2.0 1"):
                        return text

            send("OPTIONS", "o", 1)
            self.assertTrue(answer().startswith("SIP/2.0 200"))
            send("INVITE", "i", 2, extra="X-AI-Processing: enabled\r\nX-Call-ID: proxied-1\r\nContent-Type: application/sdp\r\n", body=body)
            ok = answer()
            self.assertTrue(ok.startswith("SIP/2.0 200"), ok)
            # What the connector before forgot: the route back through the proxy, and both Vias in their order.
            self.assertIn(f"Record-Route: <sip:127.0.0.1:{port};lr>", ok)
            self.assertEqual(len(re.findall(r"^(?:Via|v):", ok, re.M)), 2)
            to = re.search(r"^To: (.*)\r$", ok, re.M)[1]
            contact = re.search(r"^(?:Contact|m): <([^>]+)>", ok, re.M)[1]
            self.assertIn(f":{host.sip}", contact)
            send("ACK", "k", 2, to=to, uri=contact)
            host.wait_for("agent", heard=GREETING)
            send("BYE", "b", 3, to=to, uri=contact)
            self.assertTrue(answer().startswith("SIP/2.0 200"))
            self.assertEqual(host.wait_for("ended")["end"], "farEnd.caller")


if __name__ == "__main__":
    unittest.main()
