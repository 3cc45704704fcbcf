#!/usr/bin/env python3
"""The gRPC plugins under `vchost conform`, each against its peer on loopback: the bench plays vendors of `vc.http/1` and `vc.ws/1`
only, and gRPC brings its own sockets.

    conform_grpc.py VCHOST [OPTION...]        of the plugins in plugins.d; options are those of `vchost conform run`

What no rule of the bench does, vendors that fail, is done in Tests/EndToEnd/test_grpc.py.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".cache/venv-tests/bin/python"
TOKEN = "canary-of-the-bench"
PLUGINS = ("STTGrpc", "LLMGrpc", "TTSGrpc", "TTSGoogle")


def start(script, *arguments):
    """The peer, and the port on which it listens."""
    peer = subprocess.Popen([PYTHON, ROOT / "Tests/Peers" / script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    # Short answers: the slopes of memory are measured over hundreds of them, and gRPC's own pools fill slowly.
    peer.stdin.write('{"msPerCharacter": 10, "firstByteMs": 5}\n')
    peer.stdin.flush()
    for line in peer.stdout:
        told = json.loads(line)
        if told["event"] == "listening":
            break
    else:
        raise SystemExit(f"{script} did not start")
    # What it goes on to say is read by nobody, and must not hold it up.
    subprocess.Popen(["cat"], stdin=peer.stdout, stdout=subprocess.DEVNULL)
    return peer, told["port"]


def main():
    vchost, *words = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        services, port = start("grpc_peer.py")
        google, google_port = start("google_tts_peer.py", folder / "account.json", "--token", TOKEN)
        settings = {f"org.vchost.{name}": {"address": f"127.0.0.1:{port}"} for name in ("stt-grpc", "llm-grpc", "tts-grpc")}
        settings["org.vchost.tts-google"] = {
            "address": f"127.0.0.1:{google_port}", "tls": False, "transport": "grpc", "token": "${secret:GOOGLE_TOKEN}"}
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "secrets").write_text(f"GOOGLE_TOKEN={TOKEN}\n")
        try:
            status = subprocess.run(
                [vchost, "conform", "run", *(ROOT / f"plugins.d/{name}.so" for name in PLUGINS), "--level", "3",
                 "--config", folder / "settings.json", "--secrets", folder / "secrets", *words]).returncode
        finally:
            for peer in (services, google):
                peer.stdin.close()
                peer.wait()
    return status


if __name__ == "__main__":
    sys.exit(main())
