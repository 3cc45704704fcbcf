"""docs/writing-a-plugin.md, followed to the letter: every block marked `sh`, in order, in one shell, in an empty directory.

The shell has a network of its own where the kernel allows it, so that the guide's fixed ports disturb nobody. Steps with
`vchost conform` are left out, with a line that says so, when the host does not know that command.
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

from installation import ROOT, environment, run, scratch

GUIDE = ROOT / "docs/writing-a-plugin.md"
CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
SIOCSIFFLAGS = 0x8914
SKIPPED = "echo 'SKIPPED: vchost conform is not there yet'"


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
        knows_conform = "there is no command conform" not in run("vchost", "conform", "--help", folder=folder, check=False).stderr
        script = ["set -euo pipefail"]
        for line, heading, text in steps():
            if not knows_conform:
                text = re.sub(r"^vchost conform .*$", SKIPPED, text, flags=re.M)
            script += [f'echo "--- {GUIDE.name}:{line}: {heading}"', text]
        began = time.monotonic()
        shell = subprocess.Popen(["bash", "-c", "\n".join(script)], cwd=folder, env=environment(), stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=private_network)
        try:
            said = []
            for line in shell.stdout:
                said.append(line)
                if line.startswith(("--- ", "SKIPPED", "the caller heard")):
                    print(f"    {time.monotonic() - began:5.1f} s  {line.rstrip()}", flush=True)
            code = shell.wait()
        finally:
            # What a step that failed has left running.
            try:
                os.killpg(shell.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            shell.stdout.close()
        text = "".join(said)
        self.assertEqual(code, 0, text[-6000:])
        # Five beeps of the greeting and four of the answer, by each of the four.
        self.assertEqual(re.findall(r"the caller heard (\d+) beeps", text), ["9"] * 4, text[-6000:])
        self.assertNotIn("plugin-fault", (folder / "voices/host.log").read_text())

    def test_every_block_says_what_it_is(self):
        marks = re.findall(r"^```(.*)$", GUIDE.read_text(), re.M)[::2]
        self.assertEqual(set(marks) - {"sh", "text"}, set(), "a block that is typed is marked sh, one that is read text")
        self.assertGreater(marks.count("sh"), 12)
