"""A real host for the end-to-end tests: started as an operator would, watched through its event socket.

Every test starts its own on free ports, so that two never share state and several can run on one machine.
"""

import contextlib
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = ROOT / ".build" / os.environ.get("VCHOST_CONFIGURATION", "release")
PLUGINS = ROOT / "plugins.d"

INSTANT = """
[vchost]
events_socket = {folder}/events.sock
plugin_cache = {folder}/cache
calls_max = {calls_max}
recordings = {recordings}

[media]
bind_address = 127.0.0.1
port_min = {rtp}
port_max = {rtp_end}

[profile.default]
match = *
greeting = {greeting}
stt = stt.instant
llm = llm.instant
tts = tts.instant
{profile}

[stt.instant]
plugin = InstantSTT

[llm.instant]
plugin = InstantLLM

[tts.instant]
plugin = InstantTTS

[telephony.sip]
plugin = TelephonySIP
host = 127.0.0.1
port = {sip}
trusted_peers = 127.0.0.1
{telephony}
"""


def free_port(kind=socket.SOCK_DGRAM):
    with contextlib.closing(socket.socket(socket.AF_INET, kind)) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Host:
    """`with Host(...) as host:` runs a host until the block ends. `host.events` has what its socket said so far."""

    def __init__(self, template=INSTANT, plugins=PLUGINS, environment=None, **values):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vchost-"))
        self.sip = free_port()
        # A range of its own for each host: the kernel hands out ports above these.
        rtp = 10000 + 2 * (self.sip % 5000)
        settings = dict(folder=self.folder, sip=self.sip, rtp=rtp, rtp_end=rtp + 2399, calls_max=1000, recordings="",
                        greeting="", profile="", telephony="")
        settings.update(values)
        self.configuration = self.folder / "vchost.ini"
        self.configuration.write_text(template.format(**settings))
        self.plugins = plugins
        # What a host remembers of plugins is its own: a quarantine of one test would keep a plugin from all others.
        self.environment = dict(os.environ, VCHOST__VCHOST__STATE=str(self.folder / "state"), **(environment or {}))
        self.events = []
        self._news = queue.Queue()
        self._watches = threading.Event()

    def __enter__(self):
        self.log = open(self.folder / "host.log", "w")
        self.process = subprocess.Popen(
            [BUILT / "vchost", "--plugins", self.plugins, "--config", self.configuration],
            stdout=self.log, stderr=subprocess.STDOUT, env=self.environment)
        path = self.folder / "events.sock"
        self._socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                self._socket.connect(str(path))
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                failure = AssertionError("the host did not start:\n" + self.said())
                self.__exit__(type(failure))
                raise failure
            time.sleep(0.02)
        threading.Thread(target=self._watch, daemon=True).start()
        # A call that begins before the host has taken the watcher in would be one of which it hears nothing.
        if not self._watches.wait(20):
            failure = AssertionError("the host does not let a watcher in:\n" + self.said())
            self.__exit__(type(failure))
            raise failure
        return self

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                if not any(failure):
                    raise AssertionError("the host did not end within 10 s of SIGTERM:\n" + self.said())
        self.log.close()
        self._socket.close()
        # What a failure left behind is kept, for whoever looks into it.
        if not any(failure):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _watch(self):
        with self._socket.makefile() as lines, contextlib.suppress(OSError, ValueError):
            for line in lines:
                event = json.loads(line)
                if event["event"] == "watching":
                    self._watches.set()
                    continue
                event["receivedAt"] = time.monotonic()
                self.events.append(event)
                self._news.put(event)

    def wait_for(self, name, seconds=10, **members):
        """The first event from now on with this name and these members."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                event = self._news.get(timeout=max(0.001, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {name} {members} within {seconds} s; events: {self.events[-20:]}\n{self.said()}")
            if event["event"] == name and all(event.get(key) == value for key, value in members.items()):
                return event

    def said(self):
        return (self.folder / "host.log").read_text()[-6000:]

    def memory_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("VmRSS"):
                    return int(line.split()[1])
        raise AssertionError("the host has no memory: it has ended")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))
