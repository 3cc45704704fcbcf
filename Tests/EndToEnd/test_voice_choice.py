"""Which voice speaks: chosen by the profile, listed and previewed by `vchost voices`, against a fake Cartesia."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import wave

import test_grpc
from host import BUILT, PLUGINS
from phones import Baresip
from test_voices import FLITE, JAMES, KATIE, Peer, agent, cartesia, hosted

import cartesia_peer  # its folder is found by way of test_voices

NEEDED = (".shipped.json", "InstantSTT.so", "InstantLLM.so", "TelephonySIP.so", "TTSCartesia.so", "TTSFlite.so", "TTSGoogle.so", "TTSPiper.so")


def setUpModule():
    """Only the plugins that are needed: every file of the directory is hashed at each start."""
    global plugins
    plugins = pathlib.Path(tempfile.mkdtemp(prefix="voice-plugins-"))
    unittest.addModuleCleanup(shutil.rmtree, plugins, ignore_errors=True)
    for name in NEEDED:
        shutil.copy(PLUGINS / name, plugins)


class Chosen(unittest.TestCase):

    def test_two_profiles_share_a_section_and_speak_with_two_voices_and_the_next_of_the_chain_with_its_own(self):
        with Peer("cartesia_peer") as peer:
            profiles = agent("night", "tts.cartesia, tts.flite", "Good night.", "voice = tts.cartesia: James")
            profiles += agent("other", "tts.flite", "Good evening.")
            with hosted(cartesia(peer) + FLITE, "tts.cartesia, tts.flite", greeting="Good morning.", profiles=profiles,
                        profile="voice = katie", plugins=plugins) as host, Baresip() as one, Baresip() as other:
                one.dial(host), other.dial(host, "night")
                heard = {host.wait_for("agent")["heard"], host.wait_for("agent")["heard"]}
                # The same section again, after another voice was opened in it.
                one.hang_up(), other.hang_up()
                host.wait_for("ended"), host.wait_for("ended")
                with Baresip() as third:
                    third.dial(host)
                    host.wait_for("agent", heard="Good morning.")
                    peer.arm(name="refuse", status=500, times=20)
                    third.hang_up()
                with Baresip() as last:
                    last.dial(host, "night")
                    host.wait_for("failover", to="tts.flite")
                    host.wait_for("agent", heard="Good night.", seconds=20)
                    last.hang_up()
            said = {}
            for entry in peer.log("message"):
                if text := entry["message"].get("transcript"):
                    said.setdefault(entry["message"]["voice"]["id"], []).append(text.strip())
        self.assertEqual(heard, {"Good morning.", "Good night."})
        self.assertEqual(said, {KATIE: ["Good morning."] * 2, JAMES: ["Good night."]})

    def test_a_misspelt_voice_keeps_the_host_down_and_says_which_there_are(self):
        with Peer("cartesia_peer") as peer, self.assertRaises(AssertionError) as refused:
            with hosted(cartesia(peer), "tts.cartesia", profile="voice = Kati", plugins=plugins):
                pass
        said = str(refused.exception)
        self.assertIn('voice is "Kati"', said)
        self.assertIn("did you mean Katie? There are Katie, Aurora,", said)


class Command(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="vchost-voices-")))
        self.peer = self.enterContext(Peer("cartesia_peer"))
        self.configuration = configuration = self.folder / "vchost.ini"
        # Nobody listens there.
        configuration.write_text(cartesia(self.peer) + FLITE + "[tts.piper]\nplugin = TTSPiper\nurl = http://127.0.0.1:1/synthesize\n")
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "VCHOST__VCHOST__STATE": str(self.folder / "state"),
                            "TEST_CARTESIA_KEY": cartesia_peer.KEY}
        self.where = ["--config", configuration, "--plugins", plugins]

    def voices(self, *words, status=0):
        run = subprocess.run([BUILT / "vchost", "voices", *words, *self.where], capture_output=True, text=True, timeout=60,
                             env=self.environment)
        self.assertEqual(run.returncode, status, run.stderr)
        return run

    def test_all_voices_are_listed_with_language_and_gender_those_of_the_vendor_page_by_page(self):
        listed = json.loads(self.voices("--json").stdout)
        names = {voice["name"]: {**voice} for voice in listed["voices"]}
        self.assertEqual(len(names), len(listed["voices"]))
        self.assertEqual(names["Katie"], {"provider": "tts.cartesia", "id": KATIE, "name": "Katie", "language": "en", "gender": "female",
                                          "description": "professional, warm, for business; American", "source": "manifest"})
        theirs = {voice["name"]: voice for voice in cartesia_peer.VOICES}
        self.assertEqual({name for name, voice in names.items() if voice["source"] == "vendor"}, theirs.keys())
        deniz = names["Deniz"]
        self.assertEqual((deniz["id"], deniz["language"], deniz["gender"]), (theirs["Deniz"]["id"], "tr", "male"))
        # A server that is not there costs a line, and the manifest's list stands.
        self.assertIn("tr_TR-fahrettin-medium", names)
        remarks = {remark["provider"]: remark["text"] for remark in listed["remarks"]}
        self.assertEqual(remarks.keys(), {"tts.flite", "tts.piper"})
        self.assertIn("127.0.0.1", remarks["tts.piper"])
        turkish = self.voices("--offline", "--language", "tr").stdout
        self.assertIn("fahrettin", turkish)
        self.assertNotIn("en_US", turkish)
        self.assertNotIn("Kaan", turkish)
        self.environment["TEST_CARTESIA_KEY"] = "sk_car_wrong"
        refused = self.voices("cartesia").stdout
        self.assertIn("tts.cartesia: its list was refused with HTTP 401", refused)
        self.assertIn("Katie", refused)
        self.assertIn("did you mean tts.piper?", self.voices("pipr", status=2).stderr)

    def test_a_preview_is_spoken_once_and_then_served_from_the_disk(self):
        target = self.folder / "james.wav"
        preview = ["preview", "cartesia", "James", "--text", "Good evening.", "--json"]
        first = json.loads(self.voices(*preview, "--out", target).stdout)
        again = json.loads(self.voices(*preview).stdout)
        self.assertEqual((first["fromCache"], again["fromCache"]), (False, True))
        self.assertEqual(pathlib.Path(again["file"]).read_bytes(), target.read_bytes())
        with wave.open(str(target)) as file:
            self.assertEqual((file.getframerate(), file.getnchannels()), (24000, 1))
            self.assertEqual(file.getnframes(), len("Good evening.") * cartesia_peer.MS_PER_LETTER * 24)
        said = [entry["message"] for entry in self.peer.log("message") if entry["message"].get("transcript")]
        self.assertEqual([(message["voice"]["id"], message["transcript"]) for message in said], [(JAMES, "Good evening.")])
        # Another voice is another preview: the section's own.
        self.assertIn("spoken by tts.cartesia", self.voices("preview", "cartesia", "--text", "Good evening.").stdout)
        self.assertEqual(self.peer.log("message")[-1]["message"]["voice"]["id"], KATIE)
        self.assertEqual(len(list((self.folder / "state/previews").iterdir())), 2)
        # A vendor's refusal is told in its own words, and is no preview.
        self.environment["TEST_CARTESIA_KEY"] = "sk_car_wrong"
        refused = self.voices("preview", "cartesia", "Ryan", status=1).stderr
        self.assertIn("vchost: tts.cartesia cannot be heard: ", refused)
        self.assertIn("401", refused)
        self.assertNotIn("sk_car_wrong", refused)

    def test_google_lists_its_voices_for_a_token_and_previews_one_in_the_language_that_is_asked_for(self):
        if not test_grpc.PYTHON.exists():
            self.skipTest("no .cache/venv-tests; run scripts/test-clients")
        account = self.folder / "account.json"
        google = self.enterContext(test_grpc.Peer(account, "--token", "t-1", script="google_tts_peer.py"))
        http = google.all("http")[0]["port"]
        settings = {"tls": "no", "url": f"http://127.0.0.1:{http}/v1"}
        self.configuration.write_text(test_grpc.section("tts", "google", "TTSGoogle", google.port, token="${secret:GOOGLE_TOKEN}", **settings)
                                      + test_grpc.section("tts", "account", "TTSGoogle", google.port, **settings)
                                      + f"\n[secrets]\nGOOGLE_CREDENTIALS = file:{account}\n")
        self.environment["GOOGLE_TOKEN"] = "t-1"
        listed = json.loads(self.voices("--json").stdout)
        theirs = [(voice["id"], voice["language"], voice["gender"]) for voice in listed["voices"] if voice["source"] == "vendor"]
        self.assertEqual(theirs, [("en-US-Chirp3-HD-Orus", "en-US", "male"), ("tr-TR-Chirp3-HD-Kore", "tr-TR", "female"),
                                  ("tr-TR-Wavenet-B", "tr-TR", "male")])
        self.assertEqual([remark["provider"] for remark in listed["remarks"]], ["tts.account"])
        self.assertIn("`token`", listed["remarks"][0]["text"])
        preview = json.loads(self.voices("preview", "account", "kore", "--language", "tr", "--json").stdout)
        self.assertEqual((preview["sampleRateHz"], preview["language"]), (24000, "tr"))
        self.assertEqual([told["voice"] for told in google.all("config")], ["tr-TR-Chirp3-HD-Kore"])


if __name__ == "__main__":
    unittest.main()
