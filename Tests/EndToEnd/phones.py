"""Real peers that call the host: sipp for many calls at once, baresip for one that is listened to.

/usr/bin/sipp and baresip come from Debian (scripts/packages-test.txt). Each works in a directory of its own, which is
removed when its block ends; only processes that were started here are ended here.
"""

import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import sound
from host import free_port

SCENARIOS = pathlib.Path(__file__).resolve().parent / "sipp"


class Sipp:
    """One sipp, as caller. `finish()` gives its statistics; a call that failed is an error."""

    def __init__(self, scenario, port, calls=1, rate=10, media=None, service="desk", timeout=60, talk_ms=2000):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sipp-"))
        text = (SCENARIOS / f"{scenario}.xml").read_text().replace('"2000"', f'"{talk_ms}"')
        if media is not None:
            (self.folder / "media.raw").write_bytes(sound.mu_law(media))
            text = text.replace("MEDIA", str(self.folder / "media.raw"))
        (self.folder / "scenario.xml").write_text(text)
        self.process = subprocess.Popen(
            ["sipp", "-sf", "scenario.xml", "-s", service, f"127.0.0.1:{port}", "-i", "127.0.0.1", "-mi", "127.0.0.1",
             "-p", str(free_port()), "-m", str(calls), "-r", str(rate), "-l", str(calls), "-nostdin",
             "-timeout", str(timeout), "-timeout_error", "-trace_err", "-trace_stat", "-fd", "1"],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def finish(self, seconds=90):
        try:
            code = self.process.wait(seconds)
            rows = [line.split(";") for path in self.folder.glob("*.csv") for line in path.read_text().splitlines()]
            errors = "".join(path.read_text(errors="replace") for path in self.folder.glob("*errors.log"))
        finally:
            self.end()
        statistics = dict(zip(rows[0], rows[-1])) if rows else {}
        if code != 0:
            raise AssertionError(f"sipp ended with {code}: {errors[:1500]}\n{statistics}")
        return {name: int(value) for name, value in statistics.items() if value.isdigit()}

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


CONFIGURATION = """\
net_interface 127.0.0.1
sip_listen 127.0.0.1:{sip}
rtp_ports {rtp}-{rtp_end}
audio_player aufile,{folder}/played.wav
audio_source aufile,{folder}/microphone.wav
audio_alert aufile,{folder}/alert.wav
ausrc_srate {rate}
auplay_srate {rate}
ausrc_channels {channels}
auplay_channels {channels}
snd_path {folder}
ctrl_tcp_listen 127.0.0.1:{control}
module_path /usr/lib/baresip/modules
module stdio.so
module g711.so
module opus.so
module aufile.so
module sndfile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""


class Baresip:
    """A softphone that says `microphone` and keeps what it hears. Silence follows what it says, so that it does not hang up
    at the end of its file.

    Its two recordings begin when the first packet of their direction does, so neither tells the time. Their growth is
    watched, every 5 ms, and that is the clock by which the two can be compared.
    """

    # What a codec is called in an account, and the sound that baresip gives and takes for it.
    CODECS = {"g711": ("PCMU/8000/1,PCMA/8000/1", 8000, 1), "opus": ("opus/48000/2", 48000, 2)}

    def __init__(self, microphone=(), seconds=30, codec="g711"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="baresip-"))
        self.codec = codec
        _, rate, channels = self.CODECS[codec]
        (self.folder / "contacts").write_text("")
        sound.write(self.folder / "microphone.wav", sound.joined(microphone, sound.silence(seconds)))
        if rate != 8000:
            # baresip converts nothing: its microphone must be what the codec wants.
            subprocess.run(["sox", "microphone.wav", "-r", str(rate), "-c", str(channels), "converted.wav"],
                           cwd=self.folder, check=True)
            (self.folder / "converted.wav").rename(self.folder / "microphone.wav")
        self.events = []
        self._growth = {"enc": [], "dec": []}
        self._changed = threading.Condition()
        self._watching = True

    def __enter__(self):
        # A port that was free a moment ago may be somebody's when baresip comes to it.
        for _ in range(3):
            self._choose_ports()
            if self._start():
                break
        else:
            raise AssertionError("baresip did not start")
        self._link.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._watch_growth, daemon=True).start()
        return self

    def _choose_ports(self):
        codecs, rate, channels = self.CODECS[self.codec]
        self.sip, self.control, rtp = free_port(), free_port(socket.SOCK_STREAM), free_port() & ~1
        (self.folder / "config").write_text(CONFIGURATION.format(
            folder=self.folder, sip=self.sip, control=self.control, rtp=rtp, rate=rate, channels=channels, rtp_end=min(rtp + 20, 65534)))
        (self.folder / "accounts").write_text(
            f"<sip:tester@127.0.0.1:{self.sip};transport=udp>;regint=0;audio_codecs={codecs}\n")

    def _start(self):
        # Its keys come through a pipe: it does not read from a file or from /dev/null.
        self.process = subprocess.Popen(["baresip", "-f", self.folder], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self._link = socket.create_connection(("127.0.0.1", self.control), timeout=1)
                return True
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        return False

    def __exit__(self, *failure):
        self._watching = False
        with contextlib.suppress(OSError):
            self._say("quit")
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self._link.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What it does

    def dial(self, host, number="desk"):
        self._say("dial", f"sip:{number}@127.0.0.1:{host.sip}")
        self.wait_for("CALL_ESTABLISHED")

    def accept(self):
        self._say("accept")
        self.wait_for("CALL_ESTABLISHED")

    def hang_up(self):
        """Of a call that rings here: 486."""
        self._say("hangup")

    def press(self, keys):
        """Digits go out as RFC 4733; x holds, X resumes."""
        for key in keys:
            self.process.stdin.write(key.encode())
            self.process.stdin.flush()
            time.sleep(0.3)

    def wait_for(self, kind, seconds=10):
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for event in self.events:
                    if event.get("type") == kind:
                        return event
                if not self._changed.wait(max(0, deadline - time.monotonic())):
                    raise AssertionError(f"baresip did not say {kind} within {seconds} s: {self.events}")

    # What it heard and said

    def heard(self):
        return self._recording("dec")

    def said(self):
        return self._recording("enc")

    def time_of(self, direction, sample):
        """When the sample with this number was heard ("dec") or said ("enc"), on time.monotonic()."""
        for at, count in self._growth[direction]:
            if count >= sample:
                return at
        raise AssertionError(f"the recording has no sample {sample}")

    def _recording(self, direction):
        paths = sorted(self.folder.glob(f"dump-*-{direction}.wav"))
        if not paths:
            raise AssertionError(f"baresip recorded nothing ({direction})")
        # Read raw: the header is complete only when the call is over. 44 bytes of it, then samples.
        samples = sound.array.array("h")
        data = paths[-1].read_bytes()[44:]
        samples.frombytes(data[:len(data) & ~1])
        return samples

    def _watch_growth(self):
        while self._watching:
            now = time.monotonic()
            for direction, seen in self._growth.items():
                for path in self.folder.glob(f"dump-*-{direction}.wav"):
                    with contextlib.suppress(OSError):
                        count = (path.stat().st_size - 44) // 2
                        if count > 0 and (not seen or seen[-1][1] != count):
                            seen.append((now, count))
            time.sleep(0.005)

    def _say(self, command, parameters=""):
        text = json.dumps({"command": command, "params": parameters, "token": "t"})
        self._link.sendall(f"{len(text)}:{text},".encode())

    def _read(self):
        """Netstrings of JSON."""
        buffer = b""
        while True:
            try:
                more = self._link.recv(65536)
            except OSError:
                return
            if not more:
                return
            buffer += more
            while b":" in buffer:
                length, rest = buffer.split(b":", 1)
                if len(rest) <= int(length):
                    break
                event = json.loads(rest[:int(length)])
                buffer = rest[int(length) + 1:]
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()
