"""What the fake voices share: one port for HTTP and WebSockets (RFC 6455, strict with its client), faults that a test
arms, and an account of all that came.

    POST /faults   {"name": "stall", "times": 1, ...}: the next that it concerns are hit by it
    GET /log       what was seen since the start, in order, each with the monotonic time
"""

import base64
import hashlib
import json
import math
import socket
import struct
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Closed(Exception):
    pass


def option(name, default):
    """A number from the command line."""
    return float(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


# How much faster than it is said speech is made: --faster.
FASTER = option("--faster", 8)


class Request:
    def __init__(self, file):
        self.method, self.target, _ = file.readline().decode("latin-1").split()
        self.headers = {}
        while line := file.readline().strip():
            name, value = line.decode("latin-1").split(":", 1)
            self.headers[name.lower()] = value.strip()
        parts = urlsplit(self.target)
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.body = file.read(int(self.headers.get("content-length", 0)))

    @property
    def wants_socket(self):
        return self.headers.get("upgrade", "").lower() == "websocket"


class WebSocket:
    """The server's side. `send` may be called by several threads."""

    def __init__(self, sock, file):
        self.sock = sock
        self.file = file
        self.sending = threading.Lock()
        self.is_over = threading.Event()

    def upgrade(self, request):
        key = request.headers.get("sec-websocket-key", "")
        if request.method != "GET" or request.headers.get("sec-websocket-version") != "13" or len(base64.b64decode(key)) != 16:
            raise Closed("no upgrade of RFC 6455")
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        self.sock.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())

    def send(self, opcode, payload=b""):
        size = len(payload)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([size])
        elif size < 1 << 16:
            head += bytes([126]) + struct.pack(">H", size)
        else:
            head += bytes([127]) + struct.pack(">Q", size)
        try:
            with self.sending:
                self.sock.sendall(head + payload)
        except OSError:
            self.is_over.set()
            raise Closed from None

    def send_json(self, value):
        self.send(TEXT, json.dumps(value, ensure_ascii=False).encode())

    def close(self, code, reason=""):
        self.send(CLOSE, struct.pack(">H", code) + reason.encode())

    def drop(self):
        """Without a close frame, as a process that was killed."""
        self.is_over.set()
        # Not close: the file that is read from holds the descriptor.
        self.sock.shutdown(socket.SHUT_RDWR)

    def _read(self, count):
        try:
            data = self.file.read(count)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if data is None or len(data) < count:
            self.is_over.set()
            raise Closed
        return data

    def _refuse(self, reason):
        self.close(1002, reason)
        self.is_over.set()
        raise Closed(reason)

    def message(self):
        """The next (opcode, payload)."""
        parts, kind = [], None
        while True:
            first, second = self._read(2)
            opcode, length = first & 0x0F, second & 0x7F
            if first & 0x70 or not second & 0x80:
                self._refuse("reserved bits, or no mask")
            if opcode >= 8 and (length > 125 or not first & 0x80):
                self._refuse("a control frame must be short and whole")
            if length >= 126:
                length = struct.unpack(">H", self._read(2))[0] if length == 126 else struct.unpack(">Q", self._read(8))[0]
            key = self._read(4) * (length // 4 + 1)
            payload = bytes(a ^ b for a, b in zip(self._read(length), key))
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                self.send(CLOSE, payload[:2])
                self.is_over.set()
                raise Closed
            elif opcode != PONG:
                if (opcode == 0) != (kind is not None):
                    self._refuse("fragments out of order")
                kind = kind or opcode
                parts.append(payload)
                if first & 0x80:
                    return kind, b"".join(parts)


class Server:
    """Runs `speak(request, socket)` for each WebSocket and `answer(request)` for each other request, which gives a status and
    what is sent as JSON, or as it is where it is bytes."""

    def __init__(self, refuse, speak, answer=lambda request: None):
        self.refuse, self.speak, self.answer = refuse, speak, answer
        self.log, self.faults = [], []
        self.lock = threading.Lock()

    def note(self, what, **members):
        with self.lock:
            self.log.append({"what": what, "at": time.monotonic(), **members})

    def fault(self, *names):
        """The first armed fault with one of these names, or None. It is used up when it has hit often enough."""
        with self.lock:
            for fault in self.faults:
                if fault["name"] in names:
                    fault["times"] = fault.get("times", 1) - 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    def run(self, port=0):
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        print("port", listener.getsockname()[1], flush=True)
        sys.stdin.read()

    def _accept(self, listener):
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            file = sock.makefile("rb")
            request = Request(file)
            if not request.wants_socket:
                return self._respond(sock, *self._control(request))
            if refusal := self.refuse(request):
                return self._respond(sock, *refusal)
            web_socket = WebSocket(sock, file)
            web_socket.upgrade(request)
            self.speak(request, web_socket)
        except (Closed, OSError, ValueError):
            pass
        finally:
            # Both: a thread that still sends must notice.
            for end in (lambda: sock.shutdown(socket.SHUT_RDWR), sock.close):
                try:
                    end()
                except OSError:
                    pass

    def _control(self, request):
        if request.path == "/log":
            with self.lock:
                return 200, list(self.log)
        if request.path == "/faults" and request.method == "POST":
            with self.lock:
                self.faults.append(json.loads(request.body))
            return 200, {}
        return self.answer(request) or (404, {"title": "Not found", "message": request.path})

    @staticmethod
    def _respond(sock, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} As asked", f"Content-Length: {len(data)}", "Connection: close", *headers]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)


def tone(hertz, first, count, rate_hz):
    """Samples `first` ... of an endless tone of -15 dBFS, swelling five times a second as a voice does, as s16le."""
    samples = []
    for index in range(first, first + count):
        at = index / rate_hz
        level = 0.6 + 0.4 * math.sin(2 * math.pi * 5 * at)
        samples.append(int(8000 * level * math.sin(2 * math.pi * hertz * at)))
    return struct.pack(f"<{count}h", *samples)
