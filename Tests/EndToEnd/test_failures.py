"""What a caller and an operator notice when something is broken: never silence, and never a riddle."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import sound
from host import BUILT, INSTANT, PLUGINS, ROOT, Host
from phones import Baresip
from stack import Services

CLIPS = INSTANT.replace("[vchost]", f"[vchost]\nclips = {ROOT}/.cache/clips")
LONG = ("The engineer comes on Tuesday between nine and four. The visit costs ninety dollars. Parts are charged by what is "
        "used. Please do not open the cabinet. We will call you half an hour before. Is there anything else?")


class Providers(unittest.TestCase):
    def test_a_voice_that_is_killed_in_the_middle_of_a_call_is_followed_by_the_next(self):
        """Piper's process dies while it speaks: flite says the rest, and the caller waits for at most 1.5 s."""
        with Services("piper") as services:
            template = (CLIPS.replace("tts = tts.instant", "tts = tts.piper, tts.flite")
                        .replace("[tts.instant]\nplugin = InstantTTS",
                                 f"[tts.piper]\nplugin = TTSPiper\nurl = {services.url('piper')}/synthesize\n\n"
                                 "[tts.flite]\nplugin = TTSFlite"))
            with Host(template=template, greeting=LONG, profile="greeting_protected = yes") as host:
                with Baresip() as phone:
                    phone.dial(host)
                    host.wait_for("stage", stage="firstPacket")
                    services.kill("piper")
                    failover = host.wait_for("failover", to="tts.flite", seconds=20)
                    said = host.wait_for("agent", seconds=30)
                    phone.hang_up()
                    heard = phone.heard()
                ended = host.wait_for("ended")
        self.assertEqual(failover["from"], "tts.piper")
        self.assertFalse(said["interrupted"])
        self.assertTrue(said["heard"].endswith("Is there anything else?"), said["heard"])
        self.assertGreaterEqual(ended["failovers"], 1)
        spans = sound.spans(heard)
        gaps = [later[0] - earlier[1] for earlier, later in zip(spans, spans[1:])]
        print(f"\n  longest silence of the agent {max(gaps, default=0) / 8:.0f} ms", end=" ")
        self.assertLess(max(gaps, default=0), 1.5 * sound.RATE_HZ)

    def test_a_recogniser_that_is_down_costs_a_polite_goodbye_and_not_dead_air(self):
        """Nothing listens at its address, at the start and after it. The host starts, answers, and says that it cannot."""
        template = CLIPS.replace("plugin = InstantSTT", "plugin = STTFasterWhisper\n"
                                 "url = http://127.0.0.1:9/v1/audio/transcriptions")
        words = sound.recording_of_a_person("goodbye")
        with Host(template=template, greeting="Hello.") as host:
            # Once may be chance; whoever is not understood says it again.
            with Baresip(sound.joined(sound.silence(1.5), words, sound.silence(5), words)) as phone:
                phone.dial(host)
                phone.wait_for("CALL_CLOSED", seconds=25)
                said, heard = sound.spans(phone.said()), sound.spans(phone.heard(), pause_frames=40)
                spoken = [phone.time_of("enc", last) for _, last in said]
                answers = [phone.time_of("dec", first) for first, _ in heard]
            ended = host.wait_for("ended")
        self.assertEqual(ended["end"], "host.providersFailed")
        self.assertGreaterEqual(ended["failovers"], 1)
        self.assertEqual(len(spoken), 2)
        waited = [min((at - until for at in answers if at > until), default=99) for until in spoken]
        print(f"\n  answered {[round(seconds * 1000) for seconds in waited]} ms after the caller's last word", end=" ")
        self.assertLess(max(waited), 1.5)
        # Flite's "technicalGoodbye" of .cache/clips, said to its end.
        clip, rate = sound.read(ROOT / ".cache/clips/en/technicalGoodbye.wav")
        first, last = heard[-1]
        self.assertGreater((last - first) / 8000, 0.7 * len(clip) / rate)


    def test_a_profile_of_which_nothing_runs_refuses_its_callers_with_503_and_a_time(self):
        """A trunk takes its next route. That somebody is busy, or an answer and then a goodbye, would cost the caller the call."""
        template = INSTANT.replace("plugin = InstantLLM", "plugin = LLMRules\nknowledge = {folder}/there-is-none")
        with Host(template=template) as host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.bind(("127.0.0.1", 0))
            caller.settimeout(5)
            port = caller.getsockname()[1]
            lines = [f"INVITE sip:desk@127.0.0.1:{host.sip} SIP/2.0", f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK1;rport",
                     f"From: <sip:a@127.0.0.1:{port}>;tag=1", f"To: <sip:desk@127.0.0.1:{host.sip}>", "Call-ID: nobody@127.0.0.1",
                     "CSeq: 1 INVITE", f"Contact: <sip:a@127.0.0.1:{port}>", "Max-Forwards: 70", "Content-Length: 0", "", ""]
            caller.sendto("\r\n".join(lines).encode(), ("127.0.0.1", host.sip))
            answer = ""
            while not answer.startswith("SIP/2.0 ") or answer.startswith("SIP/2.0 1"):
                answer = caller.recv(65536).decode()
            said = host.said()
        self.assertTrue(answer.startswith("SIP/2.0 503 "), answer)
        self.assertRegex(answer, r"(?m)^Retry-After: \d+")
        self.assertIn("[profile.default] has no llm that runs", said)


class Ending(unittest.TestCase):
    def test_sigterm_ends_the_calls_and_then_the_host(self):
        with Host(greeting=LONG) as host, Baresip() as one, Baresip() as other:
            one.dial(host), other.dial(host)
            time.sleep(0.5)
            began = time.monotonic()
            host.process.terminate()
            for phone in (one, other):
                phone.wait_for("CALL_CLOSED", seconds=4)
            self.assertEqual(host.process.wait(5), 0)
            print(f"\n  {(time.monotonic() - began) * 1000:.0f} ms to end with two calls", end=" ")
            ended = [event["end"] for event in host.events if event["event"] == "ended"]
        self.assertEqual(ended, ["host.shutdown"] * 2)


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="commands-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def vchost(self, *words, **environment):
        return subprocess.run([BUILT / "vchost", *words], capture_output=True, text=True, cwd=self.folder, timeout=20,
                              env=dict(os.environ, XDG_CACHE_HOME=str(self.folder / "cache"), **environment))

    def write(self, text):
        path = self.folder / "vchost.ini"
        path.write_text(text)
        return path

    def test_a_configuration_with_errors_names_each_with_file_and_line_and_starts_nothing(self):
        path = self.write("[vchost]\ncals_max = 5\n\n[profile.default]\nmatch = *\nstt = stt.gone\nend_of_turn_ms = soon\n\n"
                          "[tts.voice]\nplugin = TTSFlit\n\n[stt.instant]\nplugin = InstantSTT\npartial_every_ms = -1\n")
        wanted = {2: "cals_max", 6: "stt.gone", 7: "end_of_turn_ms", 10: "TTSFlit", 14: "partial_every_ms"}
        check = self.vchost("config", "check", "--config", path, "--plugins", PLUGINS)
        run = self.vchost("--config", path, "--plugins", PLUGINS)
        listing = self.vchost("config", "check", "--config", path, "--plugins", PLUGINS, "--json")
        self.assertEqual((check.returncode, run.returncode, listing.returncode), (1, 1, 1))
        self.assertEqual({problem["severity"] for problem in json.loads(listing.stdout)} - {"error", "warning"}, set())
        for number, word in wanted.items():
            for output in (check.stdout, run.stderr):
                with self.subTest(line=number):
                    self.assertRegex(output, rf"vchost\.ini:{number}\b.*{word}")
        self.assertNotIn("ready", run.stderr)

    def test_config_check_of_a_good_file_is_quiet_and_show_names_every_source(self):
        path = self.write("[vchost]\ncalls_max = 7\n\n[profile.default]\nmatch = *\nstt = stt.a\nllm = llm.a\ntts = tts.a\n\n"
                          "[stt.a]\nplugin = InstantSTT\n\n[llm.a]\nplugin = InstantLLM\n\n[tts.a]\nplugin = InstantTTS\n")
        check = self.vchost("config", "check", "--config", path, "--plugins", PLUGINS)
        self.assertEqual((check.returncode, check.stderr), (0, ""))
        self.assertIn("0 errors", check.stdout)
        show = self.vchost("config", "show", "--config", path, "--plugins", PLUGINS, VCHOST__VCHOST__LOG_LEVEL="debug")
        self.assertEqual(show.returncode, 0)
        self.assertRegex(show.stdout, r"calls_max.*7.*vchost\.ini:2")
        self.assertRegex(show.stdout, r"log_level.*debug.*VCHOST__VCHOST__LOG_LEVEL")
        self.assertRegex(show.stdout, r"retry_after_s.*5.*default")
        self.assertIsInstance(json.loads(self.vchost("config", "show", "--config", path, "--plugins", PLUGINS, "--json").stdout),
                              (dict, list))

    def test_plugins_list_of_what_was_shipped_is_all_loaded(self):
        listing = self.vchost("plugins", "list", "--plugins", PLUGINS, "--json")
        self.assertEqual(listing.returncode, 0, listing.stdout + listing.stderr)
        rows = [row for row in json.loads(listing.stdout)["plugins"] if row["name"].endswith(".so")]
        self.assertEqual({(row["state"], row["origin"]) for row in rows}, {("loaded", "shipped")})

    def test_words_that_make_no_sense_are_status_2_with_a_hint(self):
        for words, hint in ((["plugin", "list"], "did you mean plugins"), (["plugins", "lst"], "not understood"),
                            (["--plugin", "x"], "did you mean --plugins"), (["config"], "config check"),
                            (["call"], "sip:USER@HOST"), (["call", "sip:a@127.0.0.1", "--ring", "soon"], "--ring"),
                            (["call", "sip:a@127.0.0.1", "--recrod", "x.wav"], "did you mean --record")):
            with self.subTest(" ".join(words)):
                result = self.vchost(*words)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                self.assertIn(hint, result.stderr)

    def test_a_call_that_nobody_answers_is_status_1_with_its_reason(self):
        sound.write(self.folder / "hello.wav", sound.voice(0.5))
        result = self.vchost("call", "sip:a@127.0.0.1:9", "--say", "hello.wav", "--ring", "1", "--plugins", PLUGINS)
        self.assertEqual(result.returncode, 1)
        self.assertIn("not answered", result.stderr)
        missing = self.vchost("call", "sip:a@127.0.0.1:9", "--say", "gone.wav", "--plugins", PLUGINS)
        self.assertEqual(missing.returncode, 1)
        self.assertIn("gone.wav", missing.stderr)


if __name__ == "__main__":
    unittest.main()
