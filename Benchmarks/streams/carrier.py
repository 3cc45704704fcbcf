"""What the benchmarks over Media Streams share: a host or pipecat on one core, the callers behind a carrier on the other.

The carrier signs its webhook and its upgrade as Twilio does, reads the TwiML for the stream's address and parameters, and hands
both to `streams.c`. pipecat's agent has no webhook: its streams are opened at once.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree

import load

HERE = pathlib.Path(__file__).resolve().parent
ROOT = load.ROOT
ACCOUNT, TOKEN = "AC" + "0" * 31 + "1", "conform-not-a-secret"
PUBLIC = "https://bot.example.test"
PIPECAT = ROOT / ".cache" / "venv-pipecat"

TEMPLATE = """
[vchost]
events_socket = {folder}/events.sock
plugin_cache = {folder}/cache
calls_max = {calls_max}
recordings = {recordings}

[server]
listen = 127.0.0.1:{http}
connections_max = 2000
connections_per_address_max = 2000

[profile.default]
match = *
greeting = {greeting}
stt = stt.instant
llm = llm.instant
tts = {tts}
no_input_ms = 120000
{profile}

[stt.instant]
plugin = InstantSTT

[llm.instant]
plugin = InstantLLM
reply = {reply}

[tts.instant]
plugin = InstantTTS

[vad.silero]
plugin = VADSilero

[telephony.twilio]
plugin = TelephonyTwilio
public_url = """ + PUBLIC + """
account_sid = """ + ACCOUNT + """

{more}
"""

# Thirty characters are two seconds of the instant voice.
ANSWER = "we are open from nine to five."


def signature(url, parameters=None):
    text = url + "".join(key + value for key, value in sorted((parameters or {}).items()))
    return base64.b64encode(hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()


@contextlib.contextmanager
def host(**values):
    """A host that answers Twilio's webhook, alone on its core."""
    port = load.endtoend.free_port(load.socket.SOCK_STREAM)
    settings = dict(http=port, tts="tts.instant", reply=ANSWER, more="", profile="", calls_max=2000)
    settings.update(values)
    one = load.endtoend.Host(template=TEMPLATE, environment={"TWILIO_AUTH_TOKEN": TOKEN}, **settings)
    one.http = port
    with load.on_core(load.HOST_CORE):
        one.__enter__()
    try:
        yield one
    finally:
        one.__exit__(None, None, None)


class Pipecat:
    """pipecat's agent on the host's core."""

    def __init__(self):
        if not (PIPECAT / "bin" / "python").exists():
            raise load.NotMeasured("there is no pipecat: run Benchmarks/streams/pipecat-setup")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        self.http = load.endtoend.free_port(load.socket.SOCK_STREAM)

    def __enter__(self):
        self.log = open(self.folder / "pipecat.log", "w")
        with load.on_core(load.HOST_CORE):
            self.process = subprocess.Popen(
                [PIPECAT / "bin" / "python", HERE / "pipecat_agent.py", str(self.http)], stdout=self.log, stderr=self.log,
                env=dict(os.environ, OMP_NUM_THREADS="1"))
        for _ in range(600):
            with contextlib.suppress(OSError), contextlib.closing(load.socket.create_connection(("127.0.0.1", self.http), 1)):
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise load.NotMeasured("pipecat did not start:\n" + self.said())

    def __exit__(self, *_):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def said(self):
        return (self.folder / "pipecat.log").read_text()[-4000:]


class Streams:
    """`with Streams(host, track) as streams:`, then `streams.add(10)`, `streams.measure(4)`."""

    built = None

    def __init__(self, one, track, calls_max=1000):
        if Streams.built is None:
            Streams.built = pathlib.Path(tempfile.mkdtemp(prefix="streams-")) / "streams"
            subprocess.check_call(["cc", "-O2", "-Wall", "-o", Streams.built, HERE / "streams.c", "-pthread"])
        self.host, self.opened = one, 0
        self.events_file = one.folder / "streams.events"
        self.command = [Streams.built, str(one.http), track.ulaw, track.marks, str(calls_max), self.events_file]

    def __enter__(self):
        with load.on_core(load.CALLERS_CORE):
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    __exit__, say, hear, ask, events = load.Callers.__exit__, load.Callers.say, load.Callers.hear, load.Callers.ask, load.Callers.events

    def open(self):
        """One call: webhook, TwiML, upgrade."""
        self.opened += 1
        call = f"CA{self.opened:032x}"
        if isinstance(self.host, Pipecat):
            answer = self.ask(f"open /media - {call} {ACCOUNT} -")
        else:
            fields = {"AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "CallSid": call, "CallStatus": "ringing",
                      "Direction": "inbound", "From": "+15005550006", "To": "+15005550001"}
            connection = http.client.HTTPConnection("127.0.0.1", self.host.http, timeout=10)
            connection.request("POST", "/twilio/voice", urllib.parse.urlencode(fields), {
                "Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature(PUBLIC + "/twilio/voice", fields)})
            response = connection.getresponse()
            body = response.read().decode()
            connection.close()
            if response.status != 200:
                raise load.NotMeasured(f"the webhook was answered with {response.status}: {body}")
            stream = xml.etree.ElementTree.fromstring(body).find("./Connect/Stream")
            url = stream.get("url")
            token = next((one.get("value") for one in stream.findall("Parameter") if one.get("name") == "token"), "-")
            answer = self.ask(f"open {urllib.parse.urlsplit(url).path} {signature(url)} {call} {ACCOUNT} {token}")
        if "call" not in answer:
            raise load.NotMeasured(f"the stream of call {self.opened} was refused: {json.dumps(answer)}")
        return call

    def add(self, calls):
        for _ in range(calls):
            self.open()

    def measure(self, seconds):
        """One window: what the callers heard, and the share of its core that the host used meanwhile."""
        cpu, began = load.processor_seconds(self.host.process.pid), time.monotonic()
        window = self.ask(f"measure {int(seconds * 1000)}")
        used = load.processor_seconds(self.host.process.pid) - cpu
        window["host_cpu"] = round(used / (time.monotonic() - began), 4)
        return window
