"""docs/writing-a-plugin.md, followed to the letter: every block marked `sh`, in order, in one shell, in an empty directory.

The shell has a network of its own where the kernel allows it, so that the guide's fixed ports disturb nobody.
"""
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
CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
SIOCSIFFLAGS = 0x8914


def steps():
    """(line, heading, text) of each block that a reader types."""
    text = GUIDE.read_text()
    heading, number = "", 0
    lines = text.split("\n")
    while number < len(lines):
        if found := re.match(r"##* (.*)", lines[number]):
            heading = found.group(1)
        if lines[number] == "```sh":
            end = lines.index("```", number)
            yield number + 2, heading, "\n".join(lines[number + 1:end])
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


class Guide(unittest.TestCase):
    def test_a_reader_who_types_every_block_ends_with_four_voices_that_are_heard(self):
        folder = scratch("guide")
        script = ["set -euo pipefail"]
        for line, heading, text in steps():
            script += [f'echo "--- {GUIDE.name}:{line}: {heading}"', text]
        began = time.monotonic()
        # Into a file and not a pipe: a server that outlives a step that failed would hold the pipe open.
        with open(folder / "said", "w") as output:
            shell = subprocess.Popen(["bash", "-c", "\n".join(script)], cwd=folder, env=environment(), stdout=output,
                                     stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=private_network)
        try:
            text, code = "", None
            while code is None:
                try:
                    code = shell.wait(0.2)
                except subprocess.TimeoutExpired:
                    pass
                known, text = text.count("\n"), (folder / "said").read_text()
                for line in text.split("\n")[known:text.count("\n")]:
                    if line.startswith(("--- ", "PASS", "FAIL", "the caller heard")):
                        print(f"    {time.monotonic() - began:5.1f} s  {line}", flush=True)
        finally:
            # What a step that failed has left running.
            try:
                os.killpg(shell.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        self.assertEqual(code, 0, text[-6000:])
        # The template and the four that speak with the vendor.
        self.assertEqual(len(re.findall(r"^PASS .* badge resilient ", text, re.M)), 5, text[-6000:])
        # Five beeps of the greeting and four of the answer, by each of the four.
        self.assertEqual(re.findall(r"the caller heard (\d+) beeps", text), ["9"] * 4, text[-6000:])
        self.assertNotIn("plugin-fault", (folder / "voices/host.log").read_text())

    def test_every_block_says_what_it_is(self):
        marks = re.findall(r"^```(.*)$", GUIDE.read_text(), re.M)[::2]
        self.assertEqual(set(marks) - {"sh", "text"}, set(), "a block that is typed is marked sh, one that is read text")
        self.assertGreater(marks.count("sh"), 12)
