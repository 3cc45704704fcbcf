"""Files in the plugin directory: a foreign one that works, and everything that can be wrong with one."""

import json
import os
import shutil
import subprocess
import unittest

import sound
from host import BUILT, INSTANT, PLUGINS, ROOT, Host
from phones import Baresip
from workshop import PluginDirectory

EXAMPLE = ROOT / "Plugins/ExampleTTS/example_tts.c"
ID = "org.vchost.example-tts"
EM_AARCH64 = 183


class Directory(PluginDirectory):
    """With files of a stranger's in it."""

    def build(self, name, identity, changes=(), more="", arguments=()):
        """The example in C under another name and id, with gcc and the headers alone."""
        source = EXAMPLE.read_text().replace(ID, identity)
        for before, after in changes:
            self.assertIn(before, source)
            source = source.replace(before, after)
        path = self.folder / f"{name}.c"
        path.write_text(source + more)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-fvisibility=hidden", "-I", ROOT / "Sources/PluginABI/include",
                        path, "-o", self.plugins / f"{name}.so", *arguments], check=True, cwd=self.folder)
        return self.plugins / f"{name}.so"

    def list(self, *arguments):
        environment = dict(os.environ, XDG_CACHE_HOME=str(self.folder / "cache"))
        return subprocess.run([BUILT / "vchost", "plugins", "list", "--plugins", self.plugins, *arguments],
                              capture_output=True, text=True, env=environment, timeout=30)


class ForeignProvider(Directory):
    def test_a_provider_built_elsewhere_is_heard_after_a_restart_with_nothing_rebuilt(self):
        """Issue 2, "Done means" 4, first half."""
        before = subprocess.check_output(["sha256sum", BUILT / "vchost", *sorted(PLUGINS.glob("*.so"))])
        voice = "[tts.instant]\nplugin = InstantTTS"
        self.assertIn(voice, INSTANT)
        template = INSTANT.replace(voice, "[tts.instant]\nplugin = acme-voice\nword_ms = 300")
        with self.assertRaisesRegex(AssertionError, "acme-voice"):
            with Host(template=template, plugins=self.plugins, greeting="One two three four five."):
                self.fail("the host started without the plugin that its configuration names")
        self.build("acme-voice", "com.example.acme-voice")
        with Host(template=template, plugins=self.plugins, greeting="One two three four five.") as host:
            with Baresip() as phone:
                phone.dial(host)
                host.wait_for("agent")
                phone.hang_up()
                phone.wait_for("CALL_CLOSED")
                heard = phone.heard()
            ended = host.wait_for("ended")
        listing = json.loads(self.list("--json").stdout)
        row = next(row for row in listing["plugins"] if row["name"] == "acme-voice.so")
        self.assertEqual((row["state"], row["origin"], row["id"]), ("loaded", "foreign", "com.example.acme-voice"))
        # Five words of 300 ms, each a bell that dies away.
        loud = sum(level > sound.LOUD for level in sound.levels(heard))
        self.assertGreater(loud * 20, 800, "milliseconds of bells")
        self.assertEqual(ended["failovers"], 0)
        after = subprocess.check_output(["sha256sum", BUILT / "vchost", *sorted(PLUGINS.glob("*.so"))])
        self.assertEqual(before, after)


class BrokenFiles(Directory):
    def test_every_broken_file_gets_its_own_sentence_and_the_host_answers_a_call(self):
        """Issue 2, section 2 and "Done means" 4, second half."""
        good = self.build("a-good", "com.example.good")
        image = bytearray(good.read_bytes())
        (self.plugins / "truncated.so").write_bytes(image[:len(image) // 2])
        image[18:20] = EM_AARCH64.to_bytes(2, "little")
        (self.plugins / "architecture.so").write_bytes(image)
        (self.plugins / "not-elf.so").write_text("This is a text.\n")
        (self.plugins / "empty.so").write_bytes(b"")
        shutil.copy(good, self.plugins / "b-same-id.so")
        shutil.copy(good, self.plugins / "writable.so")
        os.chmod(self.plugins / "writable.so", 0o777)
        subprocess.run(["objcopy", "--remove-section", ".vchost.manifest", good, self.plugins / "no-manifest.so"], check=True)
        self.build("newer", "com.example.newer", [('"minor": 0, "hostMinorMin": 0', '"minor": 9, "hostMinorMin": 9')])
        self.build("unknown-kind", "com.example.oracle", [('"kind": "vc.tts/1"', '"kind": "vc.oracle/1"')])
        self.build("undefined", "com.example.undefined", more="""
            extern int acme_missing(void);
            VC_EXPORT int uses_it(void) { return acme_missing(); }""")
        self.build("crashes", "com.example.crashes", more="""
            __attribute__((constructor)) static void crash(void) { *(volatile int *)8 = 1; }""")
        self.build("hangs", "com.example.hangs", more="""
            __attribute__((constructor)) static void hang(void) { for (;;) __asm__ volatile(""); }""")
        expected = {
            "truncated.so": ("truncated", "truncated: .* would end at byte"),
            "architecture.so": ("wrongArchitecture", "built for .*(arm64|aarch64).*this host runs on"),
            "not-elf.so": ("notELF", "not a shared library"),
            "empty.so": (None, "empty|not a shared library|truncated"),
            "b-same-id.so": ("duplicateID", "has the id com.example.good, which a-good.so has already"),
            "writable.so": ("fileWritable", "can be written by other users"),
            "no-manifest.so": ("noManifest", "no manifest"),
            "newer.so": ("newerABI", "1[.]9"),
            "unknown-kind.so": (None, "vc.oracle/1"),
            "undefined.so": ("undefinedSymbol", "acme_missing"),
            "crashes.so": ("crashed", "crashed .SIGSEGV. while it was opened"),
            "hangs.so": ("hung", "did not return within 5000 ms while it was opened"),
        }

        text, listing = self.list(), self.list("--json")
        self.assertEqual((text.returncode, listing.returncode), (1, 1))
        rows = {row["name"]: row for row in json.loads(listing.stdout)["plugins"]}
        sentences = text.stdout.split("\n\n", 1)[1]
        seen = set()
        for name, (code, pattern) in expected.items():
            with self.subTest(name):
                row = rows[name]
                self.assertIn(row["state"], ("ignored",) if name == "unknown-kind.so" else ("refused",))
                if code:
                    self.assertEqual(row["code"], code)
                self.assertRegex(row["reason"], pattern)
                if row["state"] == "refused":
                    self.assertTrue(row["mend"], "what to do about it")
                line = next((line for line in sentences.splitlines() if name in line and row["reason"] in line), None)
                self.assertIsNotNone(line, f"no sentence about {name} in:\n{sentences}")
                seen.add(line)
        self.assertEqual(len(seen), len(expected), "each file has a sentence of its own")
        for name in ("a-good.so", "InstantTTS.so", "TelephonySIP.so"):
            self.assertEqual(rows[name]["state"], "loaded")

        with Host(plugins=self.plugins, greeting="Hello, this is the desk.") as host:
            with Baresip() as phone:
                phone.dial(host)
                host.wait_for("agent")
                phone.hang_up()
            host.wait_for("ended")
            said = host.said()
        for name in ("crashes.so", "hangs.so", "undefined.so"):
            self.assertIn(name, said)

    def test_a_directory_that_everybody_can_write_is_refused_with_its_mend(self):
        os.chmod(self.plugins, 0o777)
        text, listing = self.list(), self.list("--json")
        self.assertEqual((text.returncode, listing.returncode), (1, 1))
        self.assertIn(f"{self.plugins} can be written by everybody (mode 0777). Run: chmod go-w {self.plugins}.", text.stdout)
        document = json.loads(listing.stdout)
        self.assertIn("chmod go-w", document["problem"])
        self.assertEqual({row["code"] for row in document["plugins"]}, {"directoryWritable"})
        with self.assertRaisesRegex(AssertionError, "can be written by everybody"):
            with Host(plugins=self.plugins):
                self.fail("the host loaded what everybody could have put there")


if __name__ == "__main__":
    unittest.main()
