"""What a stranger's plugin can do to a host that runs it in a worker, with calls up: everything but end one of them."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import sound
from host import BUILT, INSTANT, PLUGINS, ROOT, Host
from phones import Sipp

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
CALLS = 20
# Long enough for all that happens to them; some of it waits for a turn.
CALL_S = 150
# As many as fit into continuous integration; RELOADS=100 in the environment makes it the full hundred.
RELOADS = int(os.environ.get("RELOADS", 60))
P12_MS = 1500

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


class Workshop(unittest.TestCase):
    """A plugin directory of its own, and what an author and an operator do with it."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="isolation-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.plugins = self.folder / "plugins.d"
        self.plugins.mkdir(mode=0o755)
        for name in ("InstantSTT", "InstantLLM", "InstantTTS", "TelephonySIP"):
            shutil.copy(PLUGINS / f"{name}.so", self.plugins)
        shutil.copy(PLUGINS / ".shipped.json", self.plugins)
        self.acme = self.plugins / "acme-voice.so"
        self.image = self.build()

    def build(self, edit=lambda source: source):
        """The example in C with mischief in it, as bytes; its version is 1.000.0."""
        source = EXAMPLE.read_text().replace("org.vchost.example-tts", ID).replace('"1.0.0"', '"1.000.0"')
        source = MISCHIEF.split("static void", 1)[0] + source.replace(
            "static vc_status speak(", "static void" + MISCHIEF.split("static void", 1)[1] + "static vc_status speak(")
        source = source.replace("    session *s = self;\n    request **place", "    mischief();\n    session *s = self;\n    request **place")
        self.assertIn("    mischief();\n", source)
        (self.folder / "acme.c").write_text(edit(source))
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wno-unused-result", "-fvisibility=hidden", "-I",
                        ROOT / "Sources/PluginABI/include", f'-DFOLDER="{self.folder}"', f'-DSTRAY="{STRAY}"',
                        "acme.c", "-o", "acme.so"], check=True, cwd=self.folder)
        return (self.folder / "acme.so").read_bytes()

    def version(self, number, image=None):
        """Another build: the version stands in the manifest, so the hash is another too."""
        image = image or self.image
        self.assertEqual(image.count(b"1.000.0"), 1)
        return image.replace(b"1.000.0", b"1.%03d.0" % number)

    def install(self, image):
        """As packages do: written beside, then renamed in."""
        beside = self.acme.with_name("." + self.acme.name)
        beside.write_bytes(image)
        beside.chmod(0o755)
        beside.rename(self.acme)

    def host(self, **values):
        settings = dict(greeting="Hello there.", profile="end_of_turn_ms = 200\nbarge_in = no", calls_max=60, reply=REPLY)
        settings.update(values)
        return Host(template=TEMPLATE, plugins=self.plugins, **settings)

    def command(self, host, *words):
        return subprocess.run([BUILT / "vchost", "plugins", *words, "--host", host.folder / "control.sock"],
                              capture_output=True, text=True, timeout=60)

    def rows(self, host):
        answer = json.loads(self.command(host, "list", "--json").stdout)
        return [row for row in answer["plugins"] if row["file"] == self.acme.name or row["id"] == ID]

    def wait_for(self, host, what, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            rows = self.rows(host)
            if condition(rows):
                return rows
            self.assertLess(time.monotonic(), deadline, f"{what} did not come about: {rows}\n{host.said()}")
            time.sleep(0.1)

    def running(self, version):
        return lambda rows: any(row["state"] == "running" and row["version"] == version for row in rows)

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


class Isolation(Workshop):
    def test_with_20_calls_up_a_voice_in_a_worker_is_changed_crashed_hung_and_killed_and_every_call_goes_on(self):
        """Issue 3, "Done means" 3."""
        recordings = self.folder / "recordings"
        recordings.mkdir()
        with self.host(recordings=recordings) as host:
            self.assertEqual(self.rows(host), [])
            talk = Sipp("talk", host.sip, calls=CALLS, rate=CALLS, media=TURNS, timeout=CALL_S + 60, talk_ms=CALL_S * 1000)
            try:
                crashes = self.life(host)
            finally:
                counts = talk.finish(CALL_S + 60)
            self.assertEqual((counts["SuccessfulCall(C)"], counts["FailedCall(C)"]), (CALLS, 0))
            deadline = time.monotonic() + 10
            while len(ended := [event for event in host.events if event["event"] == "ended"]) < CALLS:
                self.assertLess(time.monotonic(), deadline, f"{len(ended)} calls have ended")
                time.sleep(0.05)
            self.assertEqual({event["end"] for event in ended}, {"farEnd.caller"})
            self.assertEqual({turn["voice"] for event in ended for turn in event["turns"] if turn["voice"]}, {"tts.acme", "tts.instant"})
            self.check_p12(host, ended, crashes, recordings)
            self.wait_for(host, "the end of all generations", lambda rows: rows == [])

    def life(self, host):
        time.sleep(3)
        rows = self.upgrade(host, 1)
        self.assertEqual([row["isolation"] for row in rows], ["worker"])
        self.assertEqual([row["origin"] for row in rows], ["foreign"])
        self.upgrade(host, 2)
        self.upgrade(host, 1)
        self.speaking(host)

        crashes, number = [], 1
        for word, how in [("segv", r"crashed \(SIGSEGV in speak, session of call \S+\)"),
                          ("abort", r"crashed \(SIGABRT in speak, session of call \S+\)"),
                          ("exit", r"ended itself \(exit\(0\) in speak, session of call \S+\)"),
                          ("loop", r"hung \(speak did not return within \d+ ms; in speak, session of call \S+\)"),
                          ("hog", # A busy machine takes so long to give that much memory that the voice is found hanging.
                          r"(?:crashed \(SIG\w+ in|hung \(speak did not return within \d+ ms;.* in|was killed \(SIGKILL in) speak, "
                           r"session of call \S+[;)]")]:
            # Another file each time: three crashes of one would be its quarantine.
            number += 1
            self.upgrade(host, number)
            row = self.busiest(host)
            at = self.ask_for(word, row)
            with self.subTest(word):
                found = self.wait_for_line(host, rf"{ID} tts.acme {row['version']} (?:{how})")
                self.assertEqual(len(found), 1)
                self.assertRegex(found[0], r", is started again, \d+ sessions? failed over$|, \d+ sessions? failed over$")
                rows = self.wait_for(host, "the crash in the list", lambda rows: any(re.search(how, row["lastEvent"]) for row in rows))
                self.assertIn(1, {row["crashes"] for row in rows})
                print("\n  " + found[0], end="")
            crashes.append((word, at))
            self.speaking(host)

        number += 1
        self.upgrade(host, number)
        self.speaking(host)
        row = self.busiest(host)
        self.assertGreater(row["memoryBytes"], 1 << 20)
        at = time.monotonic()
        os.kill(row["processes"][0], signal.SIGKILL)
        found = self.wait_for_line(host, rf"{ID} tts.acme (?:\S+ )?was killed .SIGKILL")
        self.assertEqual(len(found), 1)
        print("\n  " + found[0], end="")
        crashes.append(("kill -9", at))
        self.speaking(host)

        self.acme.unlink()
        self.wait_for_line(host, "removed; open sessions of version 1.%03d.0 go on to their end" % number)
        return crashes

    def speaking(self, host):
        """Waits until the voice has sessions of most calls again, of whatever version."""
        self.wait_for(host, "sessions of the voice", lambda rows: sum(row["sessions"] for row in rows) >= CALLS - 3)

    def check_p12(self, host, ended, crashes, recordings):
        """Whoever lost a session in the middle of an answer hears the agent again in time, by his own recording."""
        waits, gaps, lost = [], [], {word: 0 for word, _ in crashes}
        ends = {event["call"]: event for event in ended}
        for event in host.events:
            if event["event"] != "failover" or "worker" not in event["reason"] and "hung" not in event["reason"]:
                continue
            word = max((crash for crash in crashes if crash[1] <= event["receivedAt"]), key=lambda crash: crash[1])[0]
            lost[word] += 1
            end = ends[event["call"]]
            at = event["receivedAt"] - (end["receivedAt"] - end["durationMs"] / 1000)
            heard, rate = sound.read(recordings / f"{event['call']}.wav", channel=1)
            frame, first = rate // 50, int(at * rate)
            loud = next((place for place in range(first, len(heard) - frame, frame)
                         if max(map(abs, heard[place:place + frame])) > sound.LOUD), None)
            self.assertIsNotNone(loud, f"{event['call']} is silent after {event}")
            # What is heard at once may be what was made before; so the longest silence of the next seconds is told, too.
            silent = longest = 0
            for place in range(first, min(first + 3 * rate, len(heard) - frame), frame):
                silent = 0 if max(map(abs, heard[place:place + frame])) > sound.LOUD else silent + 20
                # The silence at the end of an answer is not over in time.
                longest = max(longest, silent if place + 2 * frame < first + 3 * rate else 0)
            gaps.append(longest if silent < longest else 0)
            waits.append(((loud - first) / rate * 1000, word, event["call"]))
        answers = sorted(turn["stagesMs"]["firstPacket"] for event in ended for turn in event["turns"]
                         if "firstPacket" in turn["stagesMs"] and turn["turn"] > 0)
        waits.sort(), gaps.sort()
        print(f"\n  {len(waits)} answers lost their voice in the middle {lost}; heard again after: median "
              f"{waits[len(waits) // 2][0]:.0f} ms, worst {waits[-1][0]:.0f} ms ({waits[-1][1]}); silences within the next 3 s: median "
              f"{gaps[len(gaps) // 2]} ms, worst {gaps[-1]} ms; first packets of "
              f"{len(answers)} answers: median {answers[len(answers) // 2]} ms, worst {answers[-1]} ms", end=" ")
        for word, count in lost.items():
            self.assertGreater(count, 0, f"{word} met nobody")
        self.assertLess(waits[-1][0], P12_MS)
        self.assertLess(answers[-1], P12_MS)

    def test_three_crashes_are_quarantine_and_a_version_that_fails_its_smoke_rules_changes_nothing(self):
        self.install(self.version(1))
        with self.host() as host:
            talk = Sipp("talk", host.sip, calls=4, rate=4, media=TURNS, timeout=160, talk_ms=100_000)
            try:
                # It emits an event after CLOSED, which is a rule of the smoke run.
                broken = self.build(lambda source: source.replace(
                    "    emit_plain(s, VC_EVENT_CLOSED, 0);", "    emit_plain(s, VC_EVENT_CLOSED, 0);\n    emit_plain(s, VC_EVENT_CLOSED, 0);"))
                began = time.monotonic()
                self.install(self.version(2, broken))
                rows = self.wait_for(host, "the refusal", lambda rows: any(row["state"] == "refused" for row in rows))
                print(f"\n  refused after {time.monotonic() - began:.1f} s", end=" ")
                refused = next(row for row in rows if row["state"] == "refused")
                self.assertRegex(refused["reason"], r'acme-voice.so 1.002.0 breaks VC-LIFE-03 \("A session emits CLOSED exactly once."\)')
                self.assertTrue(self.running("1.001.0")(rows))
                self.assertEqual(len(self.lines(host, "VC-LIFE-03")), 1)
                self.assertRegex(self.lines(host, "VC-LIFE-03")[0], "version 1.001.0 goes on")
                # What the mend says is what the operator sees.
                again = subprocess.run([BUILT / "vchost", "conform", "run", self.acme, "--smoke"], capture_output=True, text=True)
                self.assertEqual(again.returncode, 1)
                self.assertIn("VC-LIFE-03", again.stdout)

                self.upgrade(host, 3)
                # The calls that are up keep the version that they have, until it dies under them.
                self.wait_for(host, "a session", lambda rows: any(row["sessions"] for row in rows))
                self.ask_for("segv", self.busiest(host))
                for crash in range(1, 4):
                    self.wait_for(host, "a session", lambda rows: any(row["sessions"] and row["version"] == "1.003.0" for row in rows))
                    self.ask_for("segv", next(row for row in self.rows(host) if row["version"] == "1.003.0"))
                    self.wait_for(host, f"crash {crash}", lambda rows: any(row["version"] == "1.003.0" and row["crashes"] == crash for row in rows))
                    if crash < 3:
                        self.wait_for(host, "the restart", lambda rows: any(row["processes"] for row in rows))
                rows = self.wait_for(host, "the quarantine", lambda rows: {row["state"] for row in rows} == {"quarantined"})
                self.assertIn("vchost plugins pardon", rows[0]["mend"])
                said = self.lines(host, "acme-voice.so is in quarantine")
                self.assertEqual(len(said), 1, said)
                # The same bytes under another name are the same file.
                other = self.plugins / "acme-other.so"
                shutil.copy(self.acme, other)
                self.acme.unlink()
                self.wait_for(host, "the other name", lambda rows: [(row["file"], row["state"]) for row in rows] == [(other.name, "quarantined")])
                other.rename(self.acme)
                self.wait_for(host, "the name again", lambda rows: [(row["file"], row["state"]) for row in rows] == [(self.acme.name, "quarantined")])
                store = json.loads((host.folder / "state/quarantine.json").read_text())
                crash = list(store["plugins"].values())[0]["crashes"][-1]
                self.assertEqual(crash["signal"], "SIGSEGV")
                self.assertIn("acme-voice.so", crash["backtrace"])
                self.assertEqual(self.command(host, "pardon", ID).returncode, 0)
                self.wait_for(host, "the pardon", self.running("1.003.0"))
            finally:
                counts = talk.finish(CALL_S + 60)
            self.assertEqual((counts["SuccessfulCall(C)"], counts["FailedCall(C)"]), (4, 0))

    def test_reloads_under_calls_drop_none_and_leave_neither_memory_nor_processes(self):
        self.install(self.version(0))
        with self.host(calls_max=150, rtp=2000, rtp_end=2000 + 8000, reply="Yes, of course.") as host:
            talk = Sipp("talk", host.sip, calls=9 * RELOADS, rate=4, media=TURNS, timeout=300)
            figures, began = [], time.monotonic()
            for number in range(1, RELOADS + 1):
                self.install(self.version(number))
                answer = self.command(host, "reload")
                self.assertEqual(answer.returncode, 0, answer.stderr)
                rows = self.wait_for(host, f"reload {number}", self.running("1.%03d.0" % number))
                if number % 10 == 0:
                    figures.append((number, host.memory_kib(), host.descriptors(), host.threads(), len(workers(host))))
            took = time.monotonic() - began
            during = len([event for event in host.events if event["event"] == "incoming"])
            counts = talk.finish(300)
            self.assertEqual((counts["SuccessfulCall(C)"], counts["FailedCall(C)"]), (9 * RELOADS, 0))
            self.assertGreater(during, RELOADS, "calls that came in during the reloads")
            ended = [event for event in host.events if event["event"] == "ended"]
            self.assertEqual({event["end"] for event in ended}, {"farEnd.caller"})
            self.assertEqual(sum(event["failovers"] for event in ended), 0)
            rows = self.wait_for(host, "one generation", lambda rows: len(rows) == 1)
            self.assertEqual(len(workers(host)), 2, "a worker and its guardian")
            # With calls up the memory swings by some MiB from one look to the next.
            first, last = figures[:3], figures[-3:]
            slope = sum(late[1] - early[1] for early, late in zip(first, last)) / sum(late[0] - early[0] for early, late in zip(first, last))
            print(f"\n  {RELOADS} reloads in {took:.0f} s, {during} calls; (reload, KiB, descriptors, threads, workers): "
                  f"{figures}; {slope:.0f} KiB a reload", end=" ")
            # Nothing of the library is ever in this process; what is kept is what is known of it.
            self.assertLess(slope, 100)
            self.assertLess(last[-1][2] - first[0][2], RELOADS + 40)


class Orphans(Workshop):
    """Who starts a worker is sure to end it, and whatever it started."""

    def start(self, host):
        """A call that is spoken to, and children of the voice that ran away as far as they can."""
        talk = Sipp("talk", host.sip, calls=1, media=TURNS, timeout=60, talk_ms=30_000)
        self.addCleanup(talk.end)
        self.wait_for(host, "the session", lambda rows: sum(row["sessions"] for row in rows) == 1)
        self.ask_for("stray", self.busiest(host))
        deadline = time.monotonic() + 15
        while len(strays()) < 2:
            self.assertLess(time.monotonic(), deadline, "the voice started no children")
            time.sleep(0.05)
        return workers(host)

    def gone(self, processes, seconds=5):
        deadline = time.monotonic() + seconds
        while left := [process for process in processes if alive(process)] + strays():
            self.assertLess(time.monotonic(), deadline, f"{left} live on")
            time.sleep(0.02)

    def test_a_host_that_is_killed_leaves_no_worker_and_no_child_of_one(self):
        self.install(self.version(1))
        with self.host() as host:
            processes = self.start(host)
            self.assertGreaterEqual(len(processes), 2, "a worker and its guardian")
            host.process.kill()
            host.process.wait()
            self.gone(processes)

    def test_a_worker_or_a_guardian_that_is_killed_leaves_nothing_of_the_worker(self):
        self.install(self.version(1))
        with self.host() as host:
            before = self.start(host)
            worker = next(row for row in self.rows(host) if row["processes"])["processes"][0]
            os.kill(worker, signal.SIGKILL)
            self.gone([worker])
            self.wait_for(host, "the restart", lambda rows: any(process != worker for row in rows for process in row["processes"]))
            self.assertFalse([process for process in before if alive(process)])
            guardian = next(process for process in workers(host) if comm(process) == "vchost-guardian")
            os.kill(guardian, signal.SIGKILL)
            left = workers(host)
            self.wait_for(host, "another restart", lambda rows: any(row["crashes"] == 2 and row["processes"] for row in rows))
            self.gone([process for process in left if process not in workers(host)])

    def test_a_host_that_is_stopped_leaves_nothing(self):
        self.install(self.version(1))
        with self.host() as host:
            processes = self.start(host)
            host.process.terminate()
            self.assertEqual(host.process.wait(10), 0)
            self.gone(processes)


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


if __name__ == "__main__":
    unittest.main()
