"""docs/writing-a-plugin.md, followed to the letter: every block marked `sh`, in order, in one shell, in an empty directory,
once for each language; of the four blocks of code each reader types the one of the language.

A shell has a network of its own where the kernel allows it, so that the guide's fixed ports disturb nobody.
"""
import concurrent.futures
import ctypes
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import time
import unittest

from installation import ROOT, environment, scratch

GUIDE = ROOT / "docs/writing-a-plugin.md"
LANGUAGES = {"c": "In C", "cpp": "In C++", "swift": "In Swift", "rust": "In Rust"}
CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
SIOCSIFFLAGS = 0x8914


def steps(language):
    """(line, heading, text) of each block that a reader types whose plugin is in `language`."""
    lines = GUIDE.read_text().split("\n")
    heading, number = "", 0
    while number < len(lines):
        if found := re.match(r"##* (.*)", lines[number]):
            heading = found.group(1)
        if lines[number] == "```sh":
            end = lines.index("```", number)
            if heading not in LANGUAGES.values() or heading == LANGUAGES[language]:
                yield number + 2, heading, "\n".join(lines[number + 1:end]).replace("language=c", f"language={language}")
            number = end
        number += 1


def private_network():
    """Runs in the child. The loopback of a new network is down until somebody takes it up."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0 and libc.unshare(CLONE_NEWNET | CLONE_NEWUSER) != 0:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        up_and_running = 0x1 | 0x40
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", up_and_running))


def readers_at_once():
    """Two where each has a network, as many as the processors that tests may count on; else one after the other."""
    def network(**options):
        return subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True, **options).stdout

    return 1 if network(preexec_fn=private_network) == network() else 2


class Guide(unittest.TestCase):
    def test_in_each_language_a_reader_who_types_every_block_ends_with_a_proven_voice_that_is_heard(self):
        environment()
        with concurrent.futures.ThreadPoolExecutor(readers_at_once()) as pool:
            readers = {language: pool.submit(self.follow, language) for language in LANGUAGES}
        for language, reader in readers.items():
            with self.subTest(language):
                code, text, log = reader.result()
                self.assertEqual(code, 0, text[-6000:])
                self.assertRegex(text, r"(?m)^PASS .* badge resilient ")
                # Five beeps of the greeting and four of the answer.
                self.assertIn("the caller heard 9 beeps", text, text[-6000:])
                self.assertNotIn("plugin-fault", log)

    def follow(self, language):
        """Types all of it. Returns the exit code, what the shell said, and the log of the host that was called."""
        folder = scratch(f"guide-{language}")
        script = ["set -euo pipefail"]
        for line, heading, text in steps(language):
            script += [f'echo "--- {GUIDE.name}:{line}: {heading}"', text]
        began = time.monotonic()
        # Into a file and not a pipe: a server that outlives a step that failed would hold the pipe open.
        said = scratch("said") / language
        with open(said, "w") as output:
            shell = subprocess.Popen(["bash", "-c", "\n".join(script)], cwd=folder, env=environment(), stdout=output,
                                     stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=private_network)
        try:
            text, code = "", None
            while code is None:
                try:
                    code = shell.wait(0.2)
                except subprocess.TimeoutExpired:
                    pass
                known, text = text.count("\n"), said.read_text()
                for line in text.split("\n")[known:text.count("\n")]:
                    if line.startswith(("--- ", "PASS", "FAIL", "the caller heard")):
                        print(f"    {language:5} {time.monotonic() - began:5.1f} s  {line[:100]}", flush=True)
        finally:
            # What a step that failed has left running.
            try:
                os.killpg(shell.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        log = folder / "voices/host.log"
        return code, text, log.read_text() if log.exists() else ""

    def test_every_block_says_what_it_is(self):
        marks = re.findall(r"^```(.*)$", GUIDE.read_text(), re.M)[::2]
        self.assertEqual(set(marks) - {"sh", "text"}, set(), "a block that is typed is marked sh, one that is read text")
        self.assertGreater(marks.count("sh"), 12)
