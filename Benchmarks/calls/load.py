"""What the benchmarks with calls share: a host on one core, the callers on the other, and what the callers say.

The callers are recordings of a person (.cache/recordings, made by services/recordings), cut to their speech and joined
with silence; which frames are speech is decided here by level, and when a detector that is fed without any delay would
have noticed its end is decided by the host's own detector, offline (Benchmarks/detector-floor).
"""

import array
import audioop
import contextlib
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time
import wave

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT / "Tests" / "EndToEnd")]

import host as endtoend  # noqa: E402

RECORDINGS = ROOT / ".cache" / "recordings" / "en"
SPEECH_LEVEL = 328  # -40 dBFS: softer is silence, as services/demo/build has it.
FRAME = 160
HOST_CORE, CALLERS_CORE = 0, 1


class NotMeasured(Exception):
    """The run cannot count; the message says why."""


def frames_of(samples):
    return [samples[i:i + FRAME] for i in range(0, len(samples) - FRAME + 1, FRAME)]


def clips(shortest=1.2, longest=3.2, pause=0.2):
    """Recorded prompts whose inner pauses are shorter than an end of turn, in an order that never changes."""
    found = []
    for path in sorted(RECORDINGS.glob("*.wav")):
        with wave.open(str(path)) as file:
            if file.getframerate() != 8000 or file.getsampwidth() != 2 or file.getnchannels() != 1:
                continue
            samples = array.array("h", file.readframes(file.getnframes()))
        loud = [max(map(abs, frame)) > SPEECH_LEVEL for frame in frames_of(samples)]
        if True not in loud:
            continue
        first, last = loud.index(True), len(loud) - 1 - loud[::-1].index(True)
        loud = loud[first:last + 1]
        quiet = run = 0
        for one in loud:
            run = 0 if one else run + 1
            quiet = max(quiet, run)
        if shortest <= len(loud) * 0.02 <= longest and quiet * 0.02 <= pause:
            found.append(samples[first * FRAME:(last + 1) * FRAME])
    if len(found) < 20:
        raise NotMeasured("there are no recordings: run services/recordings")
    random.Random(7).shuffle(found)
    return found


class Track:
    """What a caller says for ever: `utterances` clips, each followed by its silence of `silences` seconds in turn."""

    def __init__(self, folder, utterances, silences):
        samples, marks = array.array("h"), bytearray()
        for number, clip in enumerate(clips()[:utterances]):
            samples += clip
            marks += b"1" * (len(clip) // FRAME)
            # Eight frames are five windows of the detector: the loop joins without changing their alignment.
            quiet = int(silences[number % len(silences)] * 50)
            quiet += -(len(marks) + quiet) % 8 if number == utterances - 1 else 0
            samples += array.array("h", bytes(2 * FRAME * quiet))
            marks += b"0" * quiet
        self.seconds = len(samples) / 8000
        self.speech = marks.count(b"1") / len(marks)
        self.ulaw, self.marks, self.pcm = folder / "track.ulaw", folder / "track.marks", folder / "track.s16"
        encoded = audioop.lin2ulaw(samples.tobytes(), 2)
        self.ulaw.write_bytes(encoded)
        self.marks.write_bytes(bytes(marks))
        self.pcm.write_bytes(audioop.ulaw2lin(encoded, 2))
        self.text = marks.decode()


@contextlib.contextmanager
def on_core(core):
    """Children started within run on this core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core % os.cpu_count()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def host(**values):
    """A real host with instant providers, alone on its core."""
    settings = dict(calls_max=2000)
    settings.update(values)
    settings["profile"] = "no_input_ms = 120000\n" + settings.get("profile", "")
    template = settings.pop("template", endtoend.INSTANT)
    one = endtoend.Host(template=template, **settings)
    with on_core(HOST_CORE):
        one.__enter__()
    try:
        yield one
    finally:
        one.__exit__(None, None, None)


def unwatch(one):
    """Closes the event socket: a host that nobody watches makes no lines, and reading them is no part of a call."""
    one._socket.shutdown(socket.SHUT_RDWR)


def processor_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Callers:
    """`with Callers(host, track) as callers:` then `callers.ask("add 10 50")`."""

    built = None

    def __init__(self, one, track, calls_max=1000, name="caller"):
        if Callers.built is None:
            Callers.built = pathlib.Path(tempfile.mkdtemp(prefix="callers-")) / "callers"
            subprocess.check_call(["cc", "-O2", "-Wall", "-o", Callers.built, HERE / "callers.c", "-pthread"])
        self.host, self.name = one, name
        self.events_file = one.folder / f"{name}.events"
        self.command = [Callers.built, str(one.sip), track.ulaw, track.marks, str(calls_max), self.events_file, name]

    def __enter__(self):
        with on_core(CALLERS_CORE):
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise NotMeasured(f"the callers ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, command):
        self.say(command)
        return self.hear()

    def add(self, calls, per_second=50):
        answer = self.ask(f"add {calls} {per_second}")
        if answer["failed"] or answer["waiting"]:
            raise NotMeasured(f"{answer['failed']} calls were refused, {answer['waiting']} not answered\n{self.host.said()}")
        return answer

    def measure(self, seconds):
        """One window: what the callers saw, and the share of its core that the host used meanwhile."""
        cpu, began = processor_seconds(self.host.process.pid), time.monotonic()
        window = self.ask(f"measure {int(seconds * 1000)}")
        used = processor_seconds(self.host.process.pid) - cpu
        window["host_cpu"] = round(used / (time.monotonic() - began), 4)
        return window

    def events(self):
        """(call, kind, nanoseconds), in the order in which they happened."""
        out = []
        for line in self.events_file.read_text().splitlines():
            fields = line.split()
            if len(fields) == 3:
                out.append((int(fields[0]), fields[1], int(fields[2])))
        return out
