"""`make install`: what is put where works from there, and `make uninstall` takes away that and nothing else."""
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import unittest

from installation import PREFIX, environment, installed, make, run, scratch

CONFIGURATION = """
[vchost]
events_socket = {folder}/events.sock
plugin_cache = {folder}/cache
clips = {prefix}/share/vchost/clips

[media]
bind_address = 127.0.0.1

[profile.default]
match = *
stt = stt.instant
llm = llm.instant
tts = tts.flite

[stt.instant]
plugin = InstantSTT

[llm.instant]
plugin = InstantLLM

[tts.flite]
plugin = TTSFlite

[telephony.sip]
plugin = TelephonySIP
host = 127.0.0.1
port = 0
"""


class Installation(unittest.TestCase):
    def test_the_installed_program_says_its_version_and_uses_the_runtime_beside_it(self):
        self.assertRegex(run("vchost", "--version", folder="/").stdout, r"^vchost \d+\.\d+\.\d+\n$")
        libraries = run("ldd", installed() / "bin/vchost", folder="/").stdout
        swift = [line for line in libraries.splitlines() if "libswift" in line]
        self.assertTrue(swift)
        for line in swift:
            self.assertIn(str(installed()), line)

    def test_the_shipped_plugins_are_listed_as_loaded_and_shipped_from_any_directory(self):
        listing = json.loads(run("vchost", "plugins", "list", "--json", folder="/").stdout)
        self.assertEqual(listing["directory"].split("/lib/")[1], "vchost/plugins.d")
        self.assertGreater(len(listing["plugins"]), 8)
        for row in listing["plugins"]:
            if row["name"].endswith(".conform"):
                continue
            self.assertEqual((row["name"], row["state"], row["origin"]), (row["name"], "loaded", "shipped"))

    def test_a_host_starts_from_the_installation_and_stops(self):
        folder = scratch("host")
        (folder / "vchost.ini").write_text(CONFIGURATION.format(folder=folder, prefix=installed()))
        with open(folder / "log", "w") as log:
            host = subprocess.Popen(["vchost", "run"], cwd=folder, env=environment(), stderr=log)
        try:
            for _ in range(200):
                if (folder / "events.sock").exists() or host.poll() is not None:
                    break
                time.sleep(0.05)
            with socket.socket(socket.AF_UNIX) as events:
                events.connect(str(folder / "events.sock"))
        finally:
            host.send_signal(signal.SIGTERM)
            code = host.wait(10)
        said = (folder / "log").read_text()
        self.assertEqual(code, 0, said)
        self.assertIn("ready: 4 of 4 providers", said)

    def test_the_flags_lead_to_headers_templates_and_pluginkit(self):
        flags = run("pkg-config", "--cflags", "--libs", "vchost-plugin", folder="/").stdout.split()
        include = next(pathlib.Path(flag[2:]) for flag in flags if flag.startswith("-I"))
        self.assertTrue((include / "vchost/vchost.h").is_file())
        for variable, below in (("plugindir", "TelephonySIP.so"), ("pluginkit", "Package.swift")):
            path = run("pkg-config", f"--variable={variable}", "vchost-plugin", folder="/").stdout.strip()
            self.assertTrue((pathlib.Path(path) / below).is_file(), f"{variable} is {path}")
        self.assertFalse([path for path in installed().rglob("*") if path.is_symlink()], "an installation has no links")

    def test_uninstall_leaves_what_others_put_there_and_nothing_else(self):
        destination = scratch("uninstall")
        make("install", f"PREFIX={PREFIX}", f"DESTDIR={destination}")
        foreign = destination / PREFIX.lstrip("/") / "lib/vchost/plugins.d/acme.so"
        shutil.copy(foreign.parent / "TTSFlite.so", foreign)
        make("uninstall", f"PREFIX={PREFIX}", f"DESTDIR={destination}")
        left = [path for path in destination.rglob("*") if not path.is_dir()]
        self.assertEqual(left, [foreign])
        foreign.unlink()
        again = subprocess.run(["make", "-s", "uninstall", f"PREFIX={PREFIX}", f"DESTDIR={destination}"],
                               cwd=pathlib.Path(__file__).parents[2], capture_output=True, text=True)
        self.assertNotEqual(again.returncode, 0)
        self.assertIn("nothing is installed", again.stderr)
