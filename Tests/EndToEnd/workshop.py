"""A directory of plugins with a stranger's voice in it that runs in a worker, and what its author and an operator do with it."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import sound
from host import BUILT, INSTANT, PLUGINS, ROOT, Host

EXAMPLE = ROOT / "Plugins/ExampleTTS/example_tts.c"
ID = "com.example.acme-voice"
STRAY = "vc-e2e-stray"
# The acme voice first, and one that ships with the host behind it. Workers get little memory, so that a hog ends soon.
TEMPLATE = INSTANT.replace("tts = tts.instant\n", "tts = tts.acme, tts.instant\n") \
    .replace("[vchost]\n", "[vchost]\ncontrol_socket = {folder}/control.sock\nstate = {folder}/state\nworker_memory_mib = 512\n") \
    .replace("plugin = InstantLLM\n", "plugin = InstantLLM\nreply = {reply}\n") \
    + "\n[tts.acme]\nplugin = acme-voice\nword_ms = 250\n"
REPLY = "The engineer comes on Tuesday between nine and four and the visit costs ninety dollars with all parts that are used."
# A turn every seven seconds. The agent talks for five of them, so what happens meets most calls in the middle of a word.
TURNS = sound.joined(sound.voice(0.5), sound.silence(6.5))

# What the voice does when there is a file `do-SHA256` for it; the session that finds it first removes it. Its copy lies in a
# folder that is named by its hash.
MISCHIEF = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
static void mischief(void) {
    char word[32] = "", path[512];
    Dl_info own;
    if (!dladdr((const void *)mischief, &own)) return;
    const char *end = strrchr(own.dli_fname, '/');
    if (end - own.dli_fname < 64) return;
    snprintf(path, sizeof path, FOLDER "/do-%.64s", end - 64);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    if (read(file, word, sizeof word - 1) < 0 || unlink(path) != 0) word[0] = 0;
    close(file);
    if (!strcmp(word, "segv")) *(volatile int *)8 = 1;
    if (!strcmp(word, "abort")) abort();
    if (!strcmp(word, "exit")) exit(0);
    if (!strcmp(word, "loop")) for (;;) __asm__ volatile("");
    if (!strcmp(word, "hog")) for (;;) memset(malloc(4 << 20), 1, 4 << 20);
    for (int i = 0; i < 2 && !strcmp(word, "stray"); i++) if (fork() == 0) {
        setsid();
        if (fork() != 0) _exit(0);
        prctl(PR_SET_NAME, STRAY);
        clearenv();
        for (;;) pause();
    }
}
"""


class PluginDirectory(unittest.TestCase):
    """A copy of plugins.d with what a call needs and the list of what was shipped, and a workshop outside the tree."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="plugins-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.plugins = self.folder / "plugins.d"
        self.plugins.mkdir(mode=0o755)
        for name in ("InstantSTT", "InstantLLM", "InstantTTS", "TelephonySIP"):
            shutil.copy(PLUGINS / f"{name}.so", self.plugins)
        shutil.copy(PLUGINS / ".shipped.json", self.plugins)


class AcmeVoice(PluginDirectory):
    """The example in C as a voice of somebody else's, in many versions: what its author and an operator do with it."""

    def setUp(self):
        super().setUp()
        self.acme = self.plugins / "acme-voice.so"
        self.image = self.build()

    def build(self, edit=lambda source: source, *arguments):
        """Version 1.000.0, as bytes."""
        source = EXAMPLE.read_text().replace("org.vchost.example-tts", ID).replace('"1.0.0"', '"1.000.0"')
        (self.folder / "acme.c").write_text(edit(source))
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wno-unused-result", "-fvisibility=hidden", "-I",
                        ROOT / "Sources/PluginABI/include", *arguments, "acme.c", "-o", "acme.so"], check=True, cwd=self.folder)
        return (self.folder / "acme.so").read_bytes()

    def version(self, number, image=None):
        """Another build: the version stands in the manifest, so the hash is another too."""
        image = image or self.image
        self.assertEqual(image.count(b"1.000.0"), 1)
        return image.replace(b"1.000.0", b"1.%03d.0" % number)

    def install(self, image, path=None):
        """As packages do: written beside, then renamed in."""
        path = path or self.acme
        beside = path.with_name("." + path.name)
        beside.write_bytes(image)
        beside.chmod(0o755)
        beside.rename(path)

    def command(self, host, *words):
        return subprocess.run([BUILT / "vchost", "plugins", *words, "--host", host.folder / "control.sock"],
                              capture_output=True, text=True, timeout=60)

    def rows(self, host, file=None):
        """What the host says of a file; of the voice, also under the names that it had."""
        answer = json.loads(self.command(host, "list", "--json").stdout)
        return [row for row in answer["plugins"] if row["file"] == (file or self.acme.name) or not file and row["id"] == ID]

    def wait_for(self, host, what, condition, seconds=60, file=None):
        deadline = time.monotonic() + seconds
        while True:
            rows = self.rows(host, file)
            if condition(rows):
                return rows
            self.assertLess(time.monotonic(), deadline, f"{what} did not come about: {rows}\n{host.said()}")
            time.sleep(0.1)

    def running(self, version):
        return lambda rows: any(row["state"] == "running" and row["version"] == version for row in rows)


class Workshop(AcmeVoice):
    """The voice in a worker, with mischief in it."""

    def build(self, edit=lambda source: source):
        def with_mischief(source):
            head, body = MISCHIEF.split("static void", 1)
            source = head + source.replace("static vc_status speak(", "static void" + body + "static vc_status speak(")
            source = source.replace("    session *s = self;\n    request **place",
                                    "    mischief();\n    session *s = self;\n    request **place")
            self.assertIn("    mischief();\n", source)
            return edit(source)
        return super().build(with_mischief, f'-DFOLDER="{self.folder}"', f'-DSTRAY="{STRAY}"')

    def host(self, **values):
        settings = dict(greeting="Hello there.", profile="end_of_turn_ms = 200\nbarge_in = no", calls_max=60, reply=REPLY)
        settings.update(values)
        return Host(template=TEMPLATE, plugins=self.plugins, **settings)

    def upgrade(self, host, number, image=None):
        self.install(self.version(number, image))
        return self.wait_for(host, f"version {number}", self.running("1.%03d.0" % number))

    def ask_for(self, word, row):
        """Has the version of this row do something when it speaks next."""
        beside = self.folder / "do.new"
        beside.write_text(word)
        beside.rename(self.folder / f"do-{row['sha256']}")
        return time.monotonic()

    def busiest(self, host):
        """The version with most sessions, of those that did not crash yet."""
        return max((row for row in self.rows(host) if row["crashes"] == 0), key=lambda row: row["sessions"])

    def lines(self, host, pattern):
        return [line for line in (host.folder / "host.log").read_text().splitlines() if re.search(pattern, line)]

    def wait_for_line(self, host, pattern, seconds=15):
        deadline = time.monotonic() + seconds
        while not (found := self.lines(host, pattern)):
            self.assertLess(time.monotonic(), deadline, f"no line like {pattern}\n{host.said()}")
            time.sleep(0.02)
        return found


def workers(host):
    """The processes that this host's workers are, guardians among them, wherever they are in the tree."""
    mark = f"VCHOST_WORKER={host.process.pid}-".encode()
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and mark in pathlib.Path("/proc", name, "environ").read_bytes() and alive(int(name)):
                found.append(int(name))
    # The environment of a process that was cloned before its exec is the host's; so a guardian is known by its name.
    return found


def alive(process):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def comm(process):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{process}/comm").read_text().strip()
    return ""


def strays():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and comm(int(name)) == STRAY and alive(int(name))]
