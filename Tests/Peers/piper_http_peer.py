"""Piper's own HTTP server, as `python -m piper.http_server` answers: a whole WAV for each text, which is called text/html.

    with serve() as port: ...

Speech is a tone, 40 ms for each letter. The real server is what Tests/EndToEnd/test_local_stack.py and the others have behind
TTSPiper; this one says the same each time.
"""

import array
import contextlib
import io
import json
import math
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RATE_HZ, MS_PER_LETTER = 22050, 40
KNOWN = {"text", "voice", "speaker", "speaker_id", "length_scale", "noise_scale", "noise_w_scale"}


def spoken(text):
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1), wav.setsampwidth(2), wav.setframerate(RATE_HZ)
        wav.writeframes(array.array("h", (int(8000 * math.sin(2 * math.pi * 440 * at / RATE_HZ))
                                          for at in range(len(text) * MS_PER_LETTER * RATE_HZ // 1000))).tobytes())
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.split("?")[0] != "/synthesize" or not request.get("text", "").strip() or request.keys() - KNOWN:
            return self.answer(404 if "text" in request else 400, b"refused")
        self.answer(200, spoken(request["text"]))

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
