"""The local AI stack and a host in front of it, as `make run` has them, on free ports and in a folder of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import time

from host import BUILT, PLUGINS, ROOT, free_port


def wait_until(true, seconds, what):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} within {seconds} s")
        time.sleep(0.05)


def end(process, seconds=10):
    """SIGTERM, and SIGKILL if that is not heard."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


class Services:
    """Whisper, llama and Piper; `names` to have only some of them. `url("piper")` is where one answers."""

    def __init__(self, *names):
        self.ports = {name: free_port(socket.SOCK_STREAM) for name in names or ("whisper", "llama", "piper")}
        self.processes = {}

    def __enter__(self):
        logs = ROOT / ".cache/log"
        logs.mkdir(parents=True, exist_ok=True)
        for name, port in self.ports.items():
            with open(logs / f"{name}-test.log", "w") as log:
                self.processes[name] = subprocess.Popen(
                    [ROOT / ".cache/venv/bin/python", ROOT / "services" / name / "server.py"], stdout=log, stderr=log,
                    env={**os.environ, f"{name.upper()}_PORT": str(port), "HF_HUB_OFFLINE": "1"})
        try:
            for name in self.ports:
                wait_until(lambda: self._answers(name), 60, f"{name} did not answer")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure):
        for process in self.processes.values():
            end(process)

    def url(self, name):
        return f"http://127.0.0.1:{self.ports[name]}"

    def kill(self, name):
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def _answers(self, name):
        import urllib.error
        import urllib.request
        try:
            return urllib.request.urlopen(self.url(name) + "/health", timeout=2).status == 200
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def running(configuration, folder):
    """All three services and a host with `configuration`, which is started at the root of the tree."""
    with Services() as services:
        port = free_port()
        rtp = 10000 + 2 * (port % 5000)
        overrides = {
            "VCHOST__VCHOST__EVENTS_SOCKET": folder / "events.sock", "VCHOST__VCHOST__PLUGIN_CACHE": folder / "cache",
            "VCHOST__MEDIA__BIND_ADDRESS": "127.0.0.1", "VCHOST__MEDIA__PORT_MIN": rtp,
            "VCHOST__MEDIA__PORT_MAX": rtp + 199, "VCHOST__TELEPHONY_SIP__HOST": "127.0.0.1",
            "VCHOST__TELEPHONY_SIP__PORT": port, "VCHOST__TELEPHONY_SIP__USERS_FILE": "",
            "VCHOST__STT_LOCAL__URL": services.url("whisper") + "/v1/audio/transcriptions",
            "VCHOST__LLM_LOCAL__URL": services.url("llama") + "/v1",
            "VCHOST__TTS_PIPER__URL": services.url("piper") + "/synthesize",
        }
        log = open(folder / "host.log", "w")
        host = subprocess.Popen(
            [BUILT / "vchost", "--plugins", PLUGINS, "--config", configuration], cwd=ROOT, stdout=log, stderr=log,
            env={**os.environ, **{name: str(value) for name, value in overrides.items()}})
        try:
            wait_until(lambda: (folder / "events.sock").exists() or host.poll() is not None, 20, "the host did not start")
            if host.poll() is not None:
                raise AssertionError("the host did not start:\n" + (folder / "host.log").read_text()[-4000:])
            yield host, port
        finally:
            end(host)
            log.close()
