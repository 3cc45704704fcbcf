"""A plugin's whole life in a running host, with calls up: dropped in, half written, upgraded, downgraded, broken, removed.

In process, where an operator trusts it so far; what a worker adds to that is in test_isolation.py.
"""

import contextlib
import os
import signal
import socket
import time
import unittest

import sound
from host import INSTANT, Host
from phones import Baresip, Sipp
from workshop import ID, AcmeVoice

# The acme voice first, and one that ships with the host behind it.
TEMPLATE = INSTANT.replace("tts = tts.instant\n", "tts = tts.acme, tts.instant\n") \
    .replace("[vchost]\n", "[vchost]\ncontrol_socket = {folder}/control.sock\nstate = {folder}/state\n") \
    + "\n[tts.acme]\nplugin = acme-voice\nisolation = inprocess\nword_ms = 60\n"
# A turn every two seconds for as long as the call lasts.
TURNS = sound.joined(sound.voice(0.5), sound.silence(1.5))
CALLS = 20
# As many as fit into continuous integration; RELOADS=100 in the environment makes it the full hundred.
RELOADS = int(os.environ.get("RELOADS", 60))


class LivePlugins(AcmeVoice):
    def host(self, **values):
        return Host(template=TEMPLATE, plugins=self.plugins, greeting="Hello there.",
                    profile="end_of_turn_ms = 200", **values)

    # With calls up

    def test_with_20_calls_up_a_voice_is_dropped_in_upgraded_downgraded_broken_and_removed_and_no_call_drops(self):
        """Issue 3, section 3 and "Done means" 3, for what runs in process."""
        with self.host(calls_max=60) as host:
            self.assertEqual(self.rows(host), [])
            talk = Sipp("talk", host.sip, calls=CALLS, rate=CALLS, media=TURNS, timeout=90, talk_ms=30000)
            try:
                self.life(host)
            finally:
                counts = talk.finish()
            self.assertEqual((counts["SuccessfulCall(C)"], counts["FailedCall(C)"]), (CALLS, 0))
            deadline = time.monotonic() + 10
            while len(ended := [event for event in host.events if event["event"] == "ended"]) < CALLS:
                self.assertLess(time.monotonic(), deadline, f"{len(ended)} calls have ended")
                time.sleep(0.05)
            self.assertEqual({event["end"] for event in ended}, {"farEnd.caller"})
            self.assertGreater(min(event["agentTurns"] for event in ended), 5)
            self.assertEqual(sum(event["failovers"] for event in ended), 0)
            voices = {turn["voice"] for event in ended for turn in event["turns"] if turn["voice"]}
            print(f"\n  {CALLS} calls, none dropped; voices heard: {sorted(voices)}", end=" ")
            self.assertEqual(voices, {"tts.acme", "tts.instant"})
            # The last sessions of the version that was removed are gone, and it with them.
            self.wait_for(host, "the end of all generations", lambda rows: rows == [])

    def life(self, host):
        time.sleep(2)
        # Half of it first, as a slow copy does. It is no error while somebody may still be writing.
        first = self.version(1)
        with open(self.acme, "wb") as file:
            file.write(first[:len(first) // 2])
            file.flush()
            time.sleep(1)
            self.assertEqual(self.rows(host), [], "half of a file was judged")
            file.write(first[len(first) // 2:])
        self.wait_for(host, "the drop in", self.running("1.001.0"))
        # A writer that closes in between.
        self.acme.write_bytes(self.version(2)[:5000])
        time.sleep(1.5)
        self.assertTrue(self.running("1.001.0")(self.rows(host)))
        self.assertNotIn("refused", {row["state"] for row in self.rows(host)})
        self.acme.write_bytes(self.version(2))
        self.wait_for(host, "the upgrade", self.running("1.002.0"))
        self.install(self.version(1))
        self.wait_for(host, "the downgrade", self.running("1.001.0"))

        crashes = self.build(lambda source: source + "__attribute__((constructor)) static void crash(void) { *(volatile int *)8 = 1; }\n")
        self.install(self.version(3, crashes))
        rows = self.wait_for(host, "the refusal", lambda rows: any(row["state"] == "refused" for row in rows))
        refused = next(row for row in rows if row["state"] == "refused")
        self.assertRegex(refused["reason"], 'breaks VC-LOAD-01 .*SIGSEGV')
        self.assertTrue(self.running("1.001.0")(rows), "the old version goes on")
        said = [line for line in host.said().splitlines() if "SIGSEGV" in line]
        self.assertEqual(len(said), 1, said)
        self.assertIn("version 1.001.0 goes on", said[0])

        # Settings that a new version does not take are a reason to keep the old one.
        self.install(self.version(4).replace(b'"word_ms"', b'"word_xy"'))
        self.wait_for(host, "the refusal of settings", lambda rows: any("word_ms" in row["reason"] for row in rows))
        self.install(self.version(5))
        rows = self.wait_for(host, "the mended version", self.running("1.005.0"))
        self.assertNotIn("refused", {row["state"] for row in rows})

        self.acme.unlink()
        self.wait_for(host, "the removal", lambda rows: all(row["state"] in ("retiring", "draining") for row in rows))
        self.assertIn("removed; open sessions of version 1.005.0 go on to their end", host.said())
        # Long enough for a turn with the next voice in the chain.
        time.sleep(4)

    def test_reloads_under_calls_drop_none_and_memory_grows_by_what_was_measured(self):
        self.install(self.version(0))
        with self.host(calls_max=100, rtp=2000, rtp_end=2000 + 8000) as host:
            talk = Sipp("talk", host.sip, calls=8 * RELOADS, rate=10, media=TURNS, timeout=200)
            figures, began = [], time.monotonic()
            for number in range(1, RELOADS + 1):
                self.install(self.version(number))
                answer = self.command(host, "reload")
                self.assertEqual(answer.returncode, 0, answer.stderr)
                rows = self.wait_for(host, f"reload {number}", self.running("1.%03d.0" % number))
                self.assertLessEqual(sum(row["generation"] > 0 for row in rows), 4, rows)
                if number % 10 == 0:
                    figures.append((number, host.memory_kib(), host.descriptors()))
            took = time.monotonic() - began
            during = len([event for event in host.events if event["event"] == "incoming"])
            counts = talk.finish(200)
            self.assertEqual(counts["FailedCall(C)"], 0)
            self.assertEqual(counts["SuccessfulCall(C)"], 8 * RELOADS)
            self.assertGreater(during, 5 * RELOADS, "calls that came in during the reloads")
            ended = [event for event in host.events if event["event"] == "ended"]
            self.assertEqual({event["end"] for event in ended}, {"farEnd.caller"})
            self.assertEqual(sum(event["failovers"] for event in ended), 0)
            self.wait_for(host, "one generation", lambda rows: len(rows) == 1)
            first, last = figures[len(figures) // 2 - 1], figures[-1]
            slope = (last[1] - first[1]) / (last[0] - first[0])
            print(f"\n  {RELOADS} reloads in {took:.0f} s, {during} calls; (reload, KiB, descriptors): {figures}; "
                  f"{slope:.0f} KiB a reload", end=" ")
            # A library of 27 kB stays mapped for each, with its tables and its copy's lock.
            self.assertLess(slope, 400)

    # The telephony plugin

    def test_a_telephony_plugin_is_replaced_in_a_moment_without_calls_and_nobody_is_refused(self):
        sip = self.plugins / "TelephonySIP.so"
        image = sip.read_bytes()
        self.assertEqual(image.count(b'"version": "0.1.0"'), 1)
        # In process, as the one that it replaces: it is none of the files that the build made.
        with self.host(telephony="isolation = inprocess") as host:
            with Baresip() as first:
                first.dial(host)
                host.wait_for("agent")
                self.install(image.replace(b'"version": "0.1.0"', b'"version": "0.1.1"'), sip)
                self.wait_for(host, "the wait", lambda rows: {row["state"] for row in rows} == {"running", "waiting"},
                              file=sip.name)
                with Baresip() as second:
                    second.dial(host)  # The old version takes calls as long as it has some.
                    second.hang_up()
                    second.wait_for("CALL_CLOSED")
                self.assertTrue(self.running("0.1.0")(self.rows(host, sip.name)))
                first.hang_up()
                first.wait_for("CALL_CLOSED")
                began, gap = time.monotonic(), self.longest_gap(host.sip, seconds=3)
            self.wait_for(host, "the change", self.running("0.1.1"), file=sip.name)
            print(f"\n  OPTIONS was not answered with 200 for {gap * 1000:.0f} ms", end=" ")
            # Less than T1, after which a caller's INVITE is sent again (RFC 3261 section 17.1.1.1).
            self.assertLess(gap, 0.5)
            self.assertGreater(time.monotonic() - began, 3)
            with Baresip() as phone:
                phone.dial(host)
                phone.hang_up()
                phone.wait_for("CALL_CLOSED")

    def longest_gap(self, port, seconds):
        """The longest time between two answers of 200 to OPTIONS, asked every 5 ms."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.connect(("127.0.0.1", port))
            asker.settimeout(0.005)
            own, end = asker.getsockname()[1], time.monotonic() + seconds
            last, gap, number = time.monotonic(), 0, 0
            while time.monotonic() < end:
                number += 1
                text = (
                    f"OPTIONS sip:a@127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKo{number};rport"
                    f"\r\nMax-Forwards: 70\r\nFrom: <sip:p@127.0.0.1>;tag=o{number}\r\nTo: <sip:a@127.0.0.1:{port}>\r\n"
                    f"Call-ID: o{number}@probe\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
                with contextlib.suppress(OSError):
                    asker.send(text.encode())
                    if asker.recv(2048).startswith(b"SIP/2.0 200"):
                        gap, last = max(gap, time.monotonic() - last), time.monotonic()
                time.sleep(0.005)
        return gap

    # An operator

    def test_reload_pardon_and_list_by_the_control_socket_and_sighup(self):
        self.install(self.version(1))
        with self.host() as host:
            self.assertEqual(os.stat(host.folder / "control.sock").st_mode & 0o777, 0o600)
            self.assertEqual(self.command(host, "reload").stdout, "nothing has changed\n")
            self.install(self.version(2))
            self.assertIn("version 1.002.0 is used for new calls", self.command(host, "reload").stdout)
            text = self.command(host, "list").stdout
            self.assertRegex(text, r"acme-voice.so +running +2 +vc.tts/1 +com.example.acme-voice +1.002.0 +inprocess +0 +\d+ +0 ")
            self.assertIn(f"{ID}: version 1.002.0 is used for new calls", text)
            pardon = self.command(host, "pardon", "acme-voice")
            self.assertEqual(pardon.returncode, 1)
            self.assertIn("nothing is remembered against acme-voice", pardon.stderr)
            # A directory that everybody can write is no source of code, from that moment on.
            os.chmod(self.plugins, 0o777)
            self.install(self.version(3))
            rows = self.wait_for(host, "the refusal", lambda rows: any(row["state"] == "refused" for row in rows))
            self.assertTrue(self.running("1.002.0")(rows))
            self.assertIn("can be written by everybody", next(row["reason"] for row in rows if row["reason"]))
            os.chmod(self.plugins, 0o755)
            host.process.send_signal(signal.SIGHUP)
            self.wait_for(host, "SIGHUP", self.running("1.003.0"))


if __name__ == "__main__":
    unittest.main()
