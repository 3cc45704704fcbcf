"""Every template: made, built with one command, listed as loaded; and those that a call can use, heard in one."""
import array
import concurrent.futures
import http.server
import json
import math
import os
import shutil
import socket
import subprocess
import threading
import time
import unittest
import wave

from installation import ROOT, environment, installed, run, scratch

LANGUAGES = {"c": "tts stt llm vad turn telephony", "cpp": "tts stt llm", "swift": "tts stt llm", "rust": "tts stt llm"}
STRESS = ROOT / "Tests/Author/stress.c"
HEARD = "What are your opening hours?"
ANSWER = "We are open from nine to five, naïve one."


class Vendor(http.server.BaseHTTPRequestHandler):
    """The three servers that the templates ask, as their READMEs describe them. Remembers what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, _, query = self.path.partition("?")
        self.server.asked.append((path, query, body))
        if path == "/say":
            # The words, as tones; in pieces that cut a sample in two.
            rate = int(query.removeprefix("rate="))
            samples = array.array("h", (int(8000 * math.sin(i * 2 * math.pi * 500 / rate)) for i in range(rate * 3 // 10)))
            self.answer([samples.tobytes()[:1001], samples.tobytes()[1001:]])
        elif path == "/listen":
            self.answer([HEARD.encode()])
        elif path == "/answer":
            # Cut within a character.
            text = ANSWER.encode() + b"\n"
            cut = text.index("ï".encode()) + 1
            self.answer([text[:cut], text[cut:]])
        else:
            self.send_error(404)

    def answer(self, pieces):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(0.03)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


CONFIGURATION = """
[vchost]
events_socket = {folder}/events.sock
plugin_cache = {folder}/cache

[media]
bind_address = 127.0.0.1
realtime = no
port_min = {rtp}
port_max = {rtp_end}

[profile.default]
match = *
greeting = Hello.
{chain}

[stt.own]
plugin = own-{language}-stt
url = http://127.0.0.1:{port}/listen

[llm.own]
plugin = own-{language}-llm
url = http://127.0.0.1:{port}/answer

[tts.own]
plugin = own-{language}-tts
url = http://127.0.0.1:{port}/say

{more}

[telephony.sip]
plugin = TelephonySIP
host = 127.0.0.1
port = {sip}
trusted_peers = 127.0.0.1
"""


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Templates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = scratch("templates")
        cls.plugins = cls.folder / "plugins.d"
        environment()
        # One compiler after the other of a language, the languages side by side.
        cls.built = {}
        with concurrent.futures.ThreadPoolExecutor(len(LANGUAGES)) as pool:
            for built in pool.map(cls.build_language, LANGUAGES):
                cls.built.update(built)
        shutil.copytree(installed() / "lib/vchost/plugins.d", cls.plugins)
        os.chmod(cls.plugins, 0o755)
        for (language, kind), (name, done) in cls.built.items():
            if done.returncode == 0:
                shutil.copy(cls.folder / name / f"{name}.so", cls.plugins)

    @classmethod
    def build_language(cls, language):
        built = {}
        for kind in LANGUAGES[language].split():
            name = f"own-{language}-{kind}"
            run("vchost", "plugins", "new", name, "--kind", kind, "--language", language, folder=cls.folder)
            built[language, kind] = name, run("make", "-C", name, folder=cls.folder, check=False)
        return built

    def test_each_is_built_by_make_without_a_warning(self):
        for name, done in self.built.values():
            with self.subTest(name):
                said = done.stdout + done.stderr
                self.assertEqual(done.returncode, 0, said)
                self.assertNotRegex(said, "(?i)warning")

    def test_each_is_listed_as_loaded_under_its_own_id(self):
        listing = json.loads(run("vchost", "plugins", "list", "--json", "--plugins", self.plugins, folder="/").stdout)
        rows = {row["name"]: row for row in listing["plugins"]}
        for (language, kind), (name, _) in self.built.items():
            with self.subTest(name):
                row = rows[f"{name}.so"]
                self.assertEqual((row["state"], row["id"], row["kinds"], row["origin"]),
                                 ("loaded", f"org.example.{name}", [f"vc.{kind}/1"], "foreign"), row["reason"])

    def test_each_exports_the_entry_and_nothing_else_and_is_bound_at_once_for_ever(self):
        for name, _ in self.built.values():
            with self.subTest(name):
                library = self.folder / name / f"{name}.so"
                symbols = run("nm", "-D", "--defined-only", library, folder="/").stdout.split()[2::3]
                self.assertEqual(symbols, ["vc_plugin_entry_v1"])
                flags = run("readelf", "-d", library, folder="/").stdout
                self.assertRegex(flags, r"FLAGS_1.*NOW.*NODELETE")
                self.assertNotIn("libswift", flags)

    def test_each_marks_the_places_to_fill(self):
        for name, _ in self.built.values():
            with self.subTest(name):
                sources = [path for path in (self.folder / name).rglob("*") if path.suffix in (".c", ".cpp", ".rs", ".swift")]
                self.assertIn("Yours:", "".join(path.read_text() for path in sources if ".build" not in path.parts))
                whole = "".join(path.read_text() for path in (self.folder / name).glob("*") if path.suffix in (".md", ".json"))
                self.assertNotIn("plugin-name", whole)

    def test_each_passes_make_check_as_it_is(self):
        for name, _ in self.built.values():
            with self.subTest(name):
                done = run("make", "-s", "-C", name, "check", folder=self.folder, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertRegex(done.stdout, r"(?m)^PASS .* badge resilient ")

    def test_each_that_asks_a_server_keeps_the_contract_in_any_order_of_calls(self):
        sanitizers = "-g -O1 -fsanitize=address,undefined"
        programs = {}
        for name, flags in (("plain", "-g -O1"), ("sanitized", sanitizers)):
            programs[name] = self.folder / f"stress-{name}"
            run("cc", "-std=gnu11", *flags.split(), f"-I{installed()}/include", STRESS, "-o", programs[name], folder="/")
        for (language, kind), (name, _) in self.built.items():
            if kind not in ("tts", "stt", "llm"):
                continue
            with self.subTest(name):
                library, program = self.folder / name / f"{name}.so", programs["plain"]
                if language in ("c", "cpp"):
                    # Its own sources, with whatever the compiler can watch.
                    copy = self.folder / f"{name}-sanitized"
                    shutil.copytree(self.folder / name, copy)
                    run("make", "-B", f"CFLAGS={sanitizers}", f"CXXFLAGS={sanitizers}", folder=copy)
                    library, program = copy / f"{name}.so", programs["sanitized"]
                said = run(program, library, kind, 500, 1, folder="/", timeout=60).stdout
                self.assertRegex(said, r"500 sequences kept the contract, [1-9]\d+ events were put off")

    def test_in_each_language_the_three_together_hold_a_call(self):
        caller = self.folder / "caller.wav"
        with wave.open(str(caller), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(array.array("h", (int(9000 * math.sin(i * 0.3)) for i in range(12000))).tobytes())
        # At once: a call is mostly waiting.
        with concurrent.futures.ThreadPoolExecutor(len(LANGUAGES)) as pool:
            calls = {language: pool.submit(self.hold_a_call, language, caller,
                                           "vad.own\nturn = turn.own" if language == "c" else "") for language in LANGUAGES}
        for language, call in calls.items():
            with self.subTest(language):
                call.result()

    def hold_a_call(self, language, caller, vad):
        folder = self.folder / f"call-{language}"
        # What the call needs and no more: a host that starts reads all that is there.
        plugins = folder / "plugins.d"
        plugins.mkdir(parents=True, mode=0o755)
        for kind in LANGUAGES[language].split():
            shutil.copy(self.plugins / f"own-{language}-{kind}.so", plugins)
        for name in ("TelephonySIP.so", ".shipped.json"):
            shutil.copy(self.plugins / name, plugins)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        chain = "stt = stt.own\nllm = llm.own\ntts = tts.own" + (f"\nvad = {vad}" if vad else "")
        more = "[vad.own]\nplugin = own-c-vad\n\n[turn.own]\nplugin = own-c-turn" if vad else ""
        sip = free_port()
        # A range of its own for each host.
        rtp = 20000 + 100 * (sip % 120)
        configuration = folder / "vchost.ini"
        configuration.write_text(CONFIGURATION.format(
            folder=folder, language=language, chain=chain, more=more, port=server.server_port, sip=sip, rtp=rtp,
            rtp_end=rtp + 99))
        with open(folder / "log", "w") as log:
            host = subprocess.Popen(["vchost", "--plugins", str(plugins)], cwd=folder, env=environment(), stderr=log)
        try:
            for _ in range(1200):
                if (folder / "events.sock").exists() or host.poll() is not None:
                    break
                time.sleep(0.05)
            done = run("vchost", "call", f"sip:test@127.0.0.1:{sip}", "--plugins", plugins, "--say", caller, "--record",
                       "call.wav", "--watch", "events.sock", folder=folder, check=False, timeout=60)
        finally:
            host.terminate()
            host.wait(10)
        said = done.stdout + done.stderr + (folder / "log").read_text()
        self.assertEqual(done.returncode, 0, said)
        self.assertIn(HEARD, done.stdout, said)
        self.assertIn(ANSWER, done.stdout, said)
        # That a slot took long is the load of the machine, where four hosts and four callers share it.
        self.assertNotRegex((folder / "log").read_text(), "plugin-fault|ERROR|WARNING .*own-(?!.*must answer at once)")
        paths = {path for path, _, _ in server.asked}
        self.assertEqual(paths, {"/say", "/listen", "/answer"}, said)
        questions = [json.loads(body) for path, _, body in server.asked if path == "/answer"]
        self.assertEqual(questions[-1]["messages"][-1], {"role": "user", "content": HEARD})
        with wave.open(str(folder / "call.wav")) as file:
            agent = array.array("h", file.readframes(file.getnframes()))[::file.getnchannels()]
            rate = file.getframerate()
        loud = sum(max(map(abs, agent[at:at + rate // 50])) > 1000 for at in range(0, len(agent) - rate // 50, rate // 50))
        # The greeting and at least one clause of the answer, 300 ms each.
        self.assertGreater(loud * 20, 500, said)


class Refusals(unittest.TestCase):
    """`vchost plugins new` says in one sentence what is wrong, and writes nothing."""

    def refused(self, *arguments, code=1):
        folder = scratch("refusals")
        done = run("vchost", "plugins", "new", *arguments, folder=folder, check=False)
        self.assertEqual(done.returncode, code, done.stdout)
        self.assertEqual(list(folder.iterdir()), [])
        return done.stderr

    def test_a_template_that_is_not_there_is_refused_with_those_that_are(self):
        said = self.refused("x", "--kind", "vad", "--language", "rust")
        self.assertIn("there is no vad template in rust: c has tts, stt, llm, vad, turn and telephony; cpp has tts, stt and llm",
                      said)
        self.assertIn("--kind is one of", self.refused("x", "--kind", "sst", "--language", "c"))
        self.assertIn("--language is one of", self.refused("x", "--kind", "stt", "--language", "go"))

    def test_a_name_that_is_none_is_refused(self):
        for name in ("Acme", "9lives", "a/b", "../up", "a--b", "a-", "a_b", "x" * 65):
            self.assertIn("is no name for a plugin", self.refused(name, "--kind", "tts", "--language", "c"))

    def test_a_directory_with_something_in_it_is_left_alone(self):
        folder = scratch("taken")
        (folder / "x").mkdir()
        (folder / "x" / "mine").write_text("mine")
        done = run("vchost", "plugins", "new", "x", "--kind", "tts", "--language", "c", folder=folder, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not empty", done.stderr)
        self.assertEqual([path.name for path in (folder / "x").iterdir()], ["mine"])

    def test_a_directory_without_templates_is_refused(self):
        self.assertIn("holds no templates", self.refused("x", "--kind", "tts", "--language", "c", "--templates", "/var"))
        self.assertIn("needs --kind", self.refused("x", code=2))
