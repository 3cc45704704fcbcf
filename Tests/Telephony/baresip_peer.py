"""A softphone for the driver: one baresip, scripted, that talks a tone and records what it hears."""
import array
import json
import math
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import wave

CONFIG = """\
net_interface 127.0.0.1
sip_listen 127.0.0.1:{sip}
rtp_ports {rtp}-{rtp_end}
audio_player aufile,{directory}/played.wav
audio_source aufile,{directory}/tone.wav
audio_alert aufile,{directory}/alert.wav
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
snd_path {directory}
ctrl_tcp_listen 127.0.0.1:{control}
module_path /usr/lib/baresip/modules
module stdio.so
module g711.so
module aufile.so
module sndfile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""


def write_tone(path, seconds):
    samples = array.array("h", (int(8000 * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(8000 * seconds)))
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1), out.setsampwidth(2), out.setframerate(8000)
        out.writeframes(samples.tobytes())


def heard(directory):
    """Seconds and mean level of the loudest recording of what came in."""
    best = (0.0, 0)
    for path in pathlib.Path(directory).glob("dump-*-dec.wav"):
        with wave.open(str(path), "rb") as recording:
            samples = array.array("h", recording.readframes(recording.getnframes()))
        if samples:
            level = int(math.sqrt(sum(s * s for s in samples) / len(samples)))
            best = max(best, (len(samples) / 8000, level))
    return best


def call(uri, free_port, seconds, keys=""):
    """Calls, presses the keys (x holds, X resumes, digits are RFC 4733), hangs up, and says what happened."""
    directory = tempfile.mkdtemp(prefix="baresip-")
    sip, control, rtp = free_port(), free_port(socket.SOCK_STREAM), free_port() & ~1
    pathlib.Path(directory, "config").write_text(
        CONFIG.format(directory=directory, sip=sip, control=control, rtp=rtp, rtp_end=min(rtp + 20, 65534)))
    pathlib.Path(directory, "accounts").write_text(
        f"<sip:tester@127.0.0.1:{sip};transport=udp>;regint=0;audio_codecs=PCMU/8000/1,PCMA/8000/1\n")
    pathlib.Path(directory, "contacts").write_text("")
    write_tone(pathlib.Path(directory, "tone.wav"), int(seconds) + 20)
    phone = subprocess.Popen(["baresip", "-f", directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    try:
        for _ in range(50):
            try:
                link = socket.create_connection(("127.0.0.1", control), timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        else:
            return {"established": False, "why": "baresip did not start"}
        say = lambda command, parameters="": link.sendall(
            (lambda text: f"{len(text)}:{text},".encode())(json.dumps({"command": command, "params": parameters, "token": "t"})))
        say("dial", uri)
        text, deadline = b"", time.monotonic() + 5
        link.settimeout(0.2)
        while b"CALL_ESTABLISHED" not in text and time.monotonic() < deadline:
            try:
                text += link.recv(65536)
            except OSError:
                pass
        time.sleep(seconds / 2)
        for key in keys:
            phone.stdin.write(key.encode())
            phone.stdin.flush()
            time.sleep(0.4)
        time.sleep(seconds / 2)
        say("hangup")
        time.sleep(0.3)
        say("quit")
        phone.wait(timeout=5)
        length, level = heard(directory)
        return {"established": b"CALL_ESTABLISHED" in text, "heard_seconds": length, "heard_level": level}
    finally:
        if phone.poll() is None:
            phone.kill()
        shutil.rmtree(directory, ignore_errors=True)
