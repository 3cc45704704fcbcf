#!/usr/bin/env python3
"""An HTTP/1.1 server that behaves well or badly, by path. Standard library only.

It prints "port N" once it listens, and ends when its standard input closes, so that no test leaves one behind.
`--tls CERTIFICATE KEY` serves https.

    /echo             what it received, as JSON
    /sse?count=&ms=   server-sent events, each with the monotonic time at which it was sent
    /stall            takes the request and never answers
    /stall-body       answers with the head and one piece, and then nothing
    /half-close       promises 100 bytes, sends 10 and closes
    /garbage          answers with something that is not HTTP
    /status/429       that status; 429 and 503 with Retry-After: 7
    /huge-header      200 KB of headers
    /redirect         302 to /echo
    /bytes?n=         n bytes
    /counters         connections taken, requests served, clients that left while they were being served
"""

import json
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

counters = {"connections": 0, "requests": 0, "left": 0}
lock = threading.Lock()


def count(name):
    with lock:
        counters[name] += 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        count("connections")

    def log_message(self, *arguments):
        pass

    def serve(self):
        count("requests")
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = parts.path.strip("/").replace("-", "_")
        if name.startswith("status/"):
            return self.status(int(name[7:]))
        try:
            getattr(self, "serve_" + name, self.missing)(query, body)
        except (BrokenPipeError, ConnectionResetError):
            count("left")
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = serve

    def answer(self, body, kind="application/json", status=200, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for header in headers:
            self.send_header(*header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, query, body):
        self.answer(b"{}", status=404)

    def status(self, status):
        headers = [("Retry-After", "7")] if status in (429, 503) else []
        self.answer(b'{"error":"as asked"}', status=status, headers=headers)

    def serve_echo(self, query, body):
        received = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body.decode("utf-8", "replace"),
        }
        self.answer(json.dumps(received).encode())

    def serve_sse(self, query, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(int(query.get("count", 10))):
            time.sleep(float(query.get("ms", 20)) / 1000)
            event = f"data: {number} {time.monotonic_ns()}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def wait_until_client_leaves(self):
        self.close_connection = True
        self.connection.settimeout(30)
        try:
            if self.connection.recv(1) == b"":
                count("left")
        except (socket.timeout, ConnectionResetError):
            count("left")

    def serve_stall(self, query, body):
        self.wait_until_client_leaves()

    def serve_stall_body(self, query, body):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"one piece.")
        self.wait_until_client_leaves()

    def serve_half_close(self, query, body):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"one piece.")
        self.close_connection = True

    def serve_garbage(self, query, body):
        self.wfile.write(b"\x00\x01 this is not HTTP at all\r\n\r\n")
        self.close_connection = True

    def serve_huge_header(self, query, body):
        self.send_response(200)
        for number in range(200):
            self.send_header(f"X-Padding-{number}", "x" * 1000)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def serve_redirect(self, query, body):
        self.answer(b"", status=302, headers=[("Location", "/echo")])

    def serve_bytes(self, query, body):
        self.answer(bytes(int(query["n"])), kind="application/octet-stream")

    def serve_counters(self, query, body):
        with lock:
            self.answer(json.dumps(counters).encode())


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, address):
        pass


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 1 and sys.argv[1] == "--tls":
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("port", server.server_address[1], flush=True)
sys.stdin.read()
